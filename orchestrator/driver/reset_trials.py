"""Resets trials: moves their files aside, so that the next sweep trains them from the start."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mopoe_core.storage.paths import AnyPath
from mopoe_core.terminal import say
from orchestrator.errors import LedgerError
from orchestrator.ledger.leases.holder import Holder
from orchestrator.ledger.leases.lease import Lease
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.trial import Trial


@dataclass(frozen=True)
class ResetTrial:
    """A trial that was reset, or that had ended before it could be."""

    trial: Trial
    aside: AnyPath | None = None
    """The folder with its old files; None if it had no files."""
    has_changed: bool = False
    """Whether the trial was no longer as the caller saw it when it was claimed. It was not reset then."""


def reset(
    trials: Sequence[Trial], ledger: Ledger, lease: Lease, folder_name: str, still_wanted: Callable[[Trial], bool]
) -> list[ResetTrial]:
    """Move the files of these trials to the folder `folder_name` of storage.

    The lease holds all trials until all are moved, so that no sweep trains one in the meantime. Another process may have ended a trial
    before it was claimed. So `still_wanted` is asked about each claimed trial. Raises LedgerError, and changes nothing, if one of them is
    being trained. Raises LeaseLost if another process may have taken over.
    """
    folders = {trial: ledger.folder(trial) for trial in trials}
    for folder in folders.values():
        lease.claim(folder)  # starts to watch the heartbeats of all holders at once; `claim_or_wait` then waits only once
    for trial, folder in folders.items():
        if (holder := lease.claim_or_wait(folder, _say_waiting)) is not None:
            raise LedgerError(
                f"trial {trial.id} ({trial.label}): is being trained by {holder}; wait for it, or stop that sweep, and type this "
                "again; nothing was changed"
            )
    reset_trials = [_reset(trial, ledger, lease, folder_name, still_wanted) for trial in trials]
    for folder in folders.values():
        lease.release(folder)
    return reset_trials


def _reset(trial: Trial, ledger: Ledger, lease: Lease, folder_name: str, still_wanted: Callable[[Trial], bool]) -> ResetTrial:
    if not still_wanted(trial):
        return ResetTrial(trial, has_changed=True)
    lease.confirm()
    return ResetTrial(trial, ledger.set_aside(trial, folder_name, lease.check) if ledger.folder(trial).exists() else None)


def _say_waiting(holder: Holder) -> None:
    say(f"a trial was being trained by {holder}; waiting to see whether that is still alive")
