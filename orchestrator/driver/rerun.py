"""Trains trials again: resets them for the next sweep, or trains one of them in the foreground."""

from collections.abc import Mapping, Sequence

from mopoe_core.errors import UserError
from mopoe_core.metric_names import Epoch
from mopoe_core.spelling import nearest
from mopoe_core.storage.paths import AnyPath
from mopoe_core.terminal import say
from orchestrator.driver import reset_trials
from orchestrator.driver.reset_trials import ResetTrial
from orchestrator.execution import foreground, provenance
from orchestrator.ledger.leases.command_lease import command_lease
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial

ASIDE = "aside"
"""The folder of storage to which the files of reset trials are moved."""


def named(ids: Sequence[str], trials: Sequence[Trial]) -> list[Trial]:
    """Returns the trials with these ids. Raises UserError if the sweep has no trial with one of the ids."""
    by_id = {trial.id: trial for trial in trials}
    for trial_id in ids:
        if trial_id not in by_id:
            raise UserError(
                f"--trial: {trial_id!r} is no trial of this sweep{nearest(trial_id, by_id)}; allowed: one of its {len(by_id)} ids, "
                "which `status --trials` lists"
            )
    return [by_id[trial_id] for trial_id in dict.fromkeys(ids)]


def reset(stamps: Mapping[Trial, str], ledger: Ledger) -> list[ResetTrial]:
    """Move the files of these trials aside, but not of those whose result has changed since its stamp (`Ledger.stamp`) was taken.

    Raises LedgerError, and changes nothing, if one of them is being trained. Raises it also if this process was suspended for so long
    that another may train them: trials that were reset before stay reset.
    """
    with command_lease(ledger.storage, "see with `status --trials` which trials were reset, and type this again") as lease:
        return reset_trials.reset([*stamps], ledger, lease, ASIDE, lambda trial: ledger.stamp(trial) == stamps[trial])


def train_in_foreground(trial: Trial, spec: SweepSpec, storage: AnyPath) -> TrialResult:
    """Train a trial in the foreground and print its epochs. Nothing in storage changes.

    Raises whatever the trial raises. A UserError becomes the cause of a RuntimeError, so that its traceback is printed: the user of this
    command wants to see where the trial failed.
    """
    resources = spec.resources
    with foreground.beside(storage, resources.data_folder, provenance.commit()) as trainer:
        try:
            return trainer.train(trial, resources.cpu, resources.gpu, lambda epoch: _print_epoch(epoch, trial), rehearse=True)
        except UserError as error:
            raise RuntimeError(f"trial {trial.id} failed") from error


def _print_epoch(epoch: Epoch, trial: Trial) -> None:
    values = epoch.values
    say(f"epoch {epoch.epoch}/{trial.config.epochs}  loss {values['train/loss']:.6g}  {values['train/seconds']:.1f} s")
