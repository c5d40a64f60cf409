"""Claims: files in which a process states that it holds a trial or a sweep."""

from mopoe_core.storage.folders import listed
from mopoe_core.storage.paths import AnyPath
from orchestrator.errors import DamagedError
from orchestrator.ledger import records
from orchestrator.ledger.layout import SWEEPS, Layout
from orchestrator.ledger.leases import heartbeat
from orchestrator.ledger.leases.holder import Holder, surely_lives
from orchestrator.ledger.records import Identity


def holder_or_clear_claims(storage: AnyPath, folder: AnyPath, excluded_token: str = "") -> Holder | None:
    """Returns who holds the trial or sweep with this folder; None if nobody does, and then removes the claims of dead processes.

    The claim of the token `excluded_token` is neither read nor removed.
    """
    claims = [path for path in _claims_on(storage, folder) if path.stem != excluded_token]
    for claim in claims:
        holder = _holder_of(claim)
        if not heartbeat.watcher(storage).is_dead(holder):
            return holder
    for claim in claims:
        _remove(storage, claim)
    return None


def apparent_holder(storage: AnyPath, folder: AnyPath) -> Holder | None:
    """Returns who seems to hold the trial or sweep with this folder, from a single reading; None if nobody does. Removes nothing."""
    holders = map(_holder_of, _claims_on(storage, folder))
    return next((holder for holder in holders if not heartbeat.watcher(storage).seems_dead(holder)), None)


def tokens_here(storage: AnyPath) -> set[str]:
    """Returns the tokens of processes on this machine that hold claims and still exist, running or stopped."""
    return {path.stem for path in Layout(storage).all_claims() if surely_lives(_holder_of(path))}


def release(storage: AnyPath, folder: AnyPath, driver: str) -> None:
    """Remove the claims of a driver's workers. Call it after the driver has stopped them."""
    for path in _claims_on(storage, folder):
        if _holder_of(path).driver == driver:
            _remove(storage, path)


def identity_of(claim: AnyPath) -> Identity:
    """Returns the identity of the record at a claim's path."""
    folder = claim.parent.parent if claim.parent.name == "claims" else claim.parent
    return Identity("claim", folder=f"{folder.parent.name}/{folder.name}", key=claim.stem)


def _remove(storage: AnyPath, claim: AnyPath) -> None:
    """Remove the holder's heartbeat, then the claim. In this order, because a holder that lives after all must notice its loss first."""
    Layout(storage).heartbeat(claim.stem).unlink(missing_ok=True)
    claim.unlink(missing_ok=True)


def _claims_on(storage: AnyPath, folder: AnyPath) -> list[AnyPath]:
    """Returns the claims on the trial or sweep with this folder.

    A driver of an earlier version may still run; it has its claim in the sweep's folder.
    """
    of_earlier_version = listed(folder / "claims", "*.json") if folder.parent.name == SWEEPS else []
    return [*listed(Layout(storage).claims_on(folder), "*.json"), *of_earlier_version]


def _holder_of(claim: AnyPath) -> Holder:
    """Returns who made a claim; only its token is known if the claim is damaged, is on another folder, or was withdrawn just now."""
    try:
        return Holder(**records.read(claim, identity_of(claim), bare=True))
    except (OSError, DamagedError, TypeError):
        return Holder(claim.stem, "unknown", 0, 0)
