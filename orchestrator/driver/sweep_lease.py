"""Makes sure that a sweep has only one driver, by a lease on the sweep's folder."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mopoe_core.storage.paths import AnyPath
from mopoe_core.terminal import say
from orchestrator.errors import SweepHeldError
from orchestrator.ledger.layout import Layout
from orchestrator.ledger.leases import overlaps
from orchestrator.ledger.leases.holder import Holder, is_stopped
from orchestrator.ledger.leases.lease import Lease, LeaseLost
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.sweep_spec import SweepSpec


def sweep_folder(storage: AnyPath, spec: SweepSpec) -> AnyPath:
    """Returns the folder of a sweep in storage."""
    return Layout(storage).sweep(spec.name).path


@contextmanager
def only_driver(spec: SweepSpec, ledger: Ledger) -> Iterator[Lease]:
    """Hold the sweep's lease. Raises SweepHeldError if another process drives the sweep, or has taken it over."""
    folder = sweep_folder(ledger.storage, spec)
    with Lease(ledger.storage) as lease:
        _claim(lease, spec, folder)
        try:
            yield lease
        except LeaseLost:
            with suppress(OSError):
                overlaps.note(folder, lease.holder, "one that took over")
            raise SweepHeldError(
                f"{spec.name}: this command was suspended for so long that another may drive the sweep now; this one has stopped, and "
                "nothing is lost; type it again when the other has ended"
            ) from None


def _claim(lease: Lease, spec: SweepSpec, folder: AnyPath) -> None:
    """Claim the sweep. If its last driver may be alive, watch that driver's heartbeat first."""
    watched: list[str] = []

    def say_waiting(holder: Holder) -> None:
        watched.append(str(holder))
        say(f"{spec.name}: was being run by {holder}; waiting to see whether that is still alive")

    if (holder := lease.claim_or_wait(folder, say_waiting)) is not None:
        stopped = ", which is stopped (`fg` lets it go on)" if is_stopped(holder) else ""
        raise SweepHeldError(
            f"{spec.name}: is being run by {holder}{stopped}; wait for it, or stop that process and type the same command again"
        )
    if watched:  # the last driver may only have been suspended
        overlaps.note(folder, lease.holder, watched[0])
