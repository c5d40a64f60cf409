"""Training trials again: put back to the start for the next sweep, or one of them here in the foreground."""

from collections.abc import Sequence

from mopoe_core.errors import UserError
from mopoe_core.metric_names import Epoch
from mopoe_core.spelling import nearest
from mopoe_core.storage.paths import AnyPath
from mopoe_core.terminal import say
from orchestrator.driver import reset_trials
from orchestrator.driver.reset_trials import PutBack
from orchestrator.execution import foreground, provenance
from orchestrator.ledger.leases.lease import Lease
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial

ASIDE = "aside"
"""The folder of storage that takes what is moved away of trials that are put back."""


def named(ids: Sequence[str], every: Sequence[Trial]) -> list[Trial]:
    """The trials with these ids. Raises UserError where the sweep has no trial of such an id."""
    by_id = {trial.id: trial for trial in every}
    for trial_id in ids:
        if trial_id not in by_id:
            raise UserError(
                f"--trial: {trial_id!r} is no trial of this sweep{nearest(trial_id, by_id)}; allowed: one of its {len(by_id)} ids, "
                "which `status --trials` lists"
            )
    return [by_id[trial_id] for trial_id in dict.fromkeys(ids)]


def put_back(trials: Sequence[Trial], ledger: Ledger) -> list[PutBack]:
    """Set everything about these trials aside. Raises LedgerError, and changes nothing, where one of them is being trained."""
    with Lease(ledger.storage) as lease:
        return reset_trials.put_back(trials, ledger, lease, ASIDE)


def here(trial: Trial, spec: SweepSpec, storage: AnyPath) -> TrialResult:
    """Train a trial in the foreground, and print its epochs; nothing in storage changes.

    Raises whatever the trial raises. A UserError is raised as the cause of a RuntimeError, so that its traceback is shown: here the
    error of the trial is what the user wants to see.
    """
    with foreground.beside(storage, spec.resources.data_folder, provenance.commit()) as place:
        try:
            return place.train(trial, spec.resources.cpu, spec.resources.gpu, lambda epoch: _tell(epoch, trial), rehearse=True)
        except UserError as error:
            raise RuntimeError(f"trial {trial.id} failed") from error


def _tell(epoch: Epoch, trial: Trial) -> None:
    values = epoch.values
    say(f"epoch {epoch.epoch}/{trial.config.epochs}  loss {values['train/loss']:.6g}  {values['train/seconds']:.1f} s")
