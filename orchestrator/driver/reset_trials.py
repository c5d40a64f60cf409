"""Putting trials back to the start: what storage has of them is moved aside, once no other process trains them."""

from collections.abc import Sequence
from dataclasses import dataclass

from mopoe_core.storage.paths import AnyPath
from mopoe_core.terminal import say
from orchestrator.errors import LedgerError
from orchestrator.ledger.leases.holder import Holder
from orchestrator.ledger.leases.lease import Lease
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.trial import Trial


@dataclass(frozen=True)
class PutBack:
    """A trial that the next sweep trains from the start."""

    trial: Trial
    aside: AnyPath | None
    """Where its files are now; None where it had none."""


def put_back(trials: Sequence[Trial], ledger: Ledger, lease: Lease, among: str) -> list[PutBack]:
    """Move everything about these trials to the folder `among` of storage. The lease holds them until all are moved, so that no sweep
    trains one meanwhile.

    Raises LedgerError, and changes nothing, where one of them is being trained.
    """
    folders = {trial: ledger.folder(trial) for trial in trials}
    for folder in folders.values():
        lease.claim(folder)  # the first look at each: holders on other machines are watched from here on, all at once
    for trial, folder in folders.items():
        if (holder := lease.claim_patiently(folder, _tell)) is not None:
            raise LedgerError(
                f"trial {trial.id} ({trial.label}): is being trained by {holder}; wait for it, or stop that sweep, and type this "
                "again; nothing was changed"
            )
    moved = [PutBack(trial, ledger.set_aside(trial, among) if folder.exists() else None) for trial, folder in folders.items()]
    for folder in folders.values():
        lease.let_go(folder)
    return moved


def _tell(holder: Holder) -> None:
    say(f"a trial was being trained by {holder}; waiting to see whether that is still alive")
