"""The lease of a command that changes trials and drives no sweep, such as `rerun` and `gc`."""

from collections.abc import Iterator
from contextlib import contextmanager

from mopoe_core.storage.paths import AnyPath
from orchestrator.errors import LedgerError
from orchestrator.ledger.leases.lease import Lease, LeaseLost


@contextmanager
def command_lease(storage: AnyPath, advice: str) -> Iterator[Lease]:
    """Gives a lease.

    Raises LedgerError, which ends with `advice`, if this process was suspended for so long that another may have taken over its trials.
    """
    with Lease(storage) as lease:
        try:
            yield lease
        except LeaseLost as error:
            raise LedgerError(f"{error}; {advice}") from None
