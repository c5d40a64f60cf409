"""Claims: files by which a process says that it holds a trial or a sweep."""

from mopoe_core.storage.folders import listed
from mopoe_core.storage.paths import AnyPath
from orchestrator.errors import DamagedError
from orchestrator.ledger import records
from orchestrator.ledger.layout import SWEEPS, Layout
from orchestrator.ledger.leases import heartbeat
from orchestrator.ledger.leases.holder import Holder, surely_lives
from orchestrator.ledger.records import Identity


def held_by(storage: AnyPath, folder: AnyPath, but: str = "") -> Holder | None:
    """Who holds the trial or sweep of that folder. If nobody does, the claims of the dead are removed. The token `but` does not count."""
    others = [path for path in _claims_on(storage, folder) if path.stem != but]
    for path in others:
        holder = _holder_of(path)
        if not heartbeat.watcher(storage).is_dead(holder):
            return holder
    for path in others:
        _remove(storage, path)
    return None


def living(storage: AnyPath, folder: AnyPath) -> Holder | None:
    """Who holds the trial or sweep of that folder, as far as one look tells: for those who only show it."""
    holders = map(_holder_of, _claims_on(storage, folder))
    return next((holder for holder in holders if not heartbeat.watcher(storage).seems_dead(holder)), None)


def tokens_here(storage: AnyPath) -> set[str]:
    """The tokens of processes on this machine that hold something and are there, running or stopped."""
    return {path.stem for path in Layout(storage).all_claims() if surely_lives(_holder_of(path))}


def release(storage: AnyPath, folder: AnyPath, driver: str) -> None:
    """Remove the claims of a driver's workers, which it has stopped."""
    for path in _claims_on(storage, folder):
        if _holder_of(path).driver == driver:
            _remove(storage, path)


def identity_of(claim: AnyPath) -> Identity:
    """The identity of the claim at that place."""
    folder = claim.parent.parent if claim.parent.name == "claims" else claim.parent
    return Identity("claim", folder=f"{folder.parent.name}/{folder.name}", key=claim.stem)


def _remove(storage: AnyPath, claim: AnyPath) -> None:
    """Remove a claim, and before it its holder's heartbeat: if the holder lives after all, it must find out first."""
    Layout(storage).heartbeat(claim.stem).unlink(missing_ok=True)
    claim.unlink(missing_ok=True)


def _claims_on(storage: AnyPath, folder: AnyPath) -> list[AnyPath]:
    """The claims on the trial or sweep of that folder. A driver of an earlier version may still run, and has its claim in the folder."""
    before = listed(folder / "claims", "*.json") if folder.parent.name == SWEEPS else []
    return [*listed(Layout(storage).claims_on(folder), "*.json"), *before]


def _holder_of(claim: AnyPath) -> Holder:
    """Who made a claim. Returns only the token if the claim is damaged, is on another folder, or was withdrawn in this moment."""
    try:
        return Holder(**records.read(claim, identity_of(claim), bare=True))
    except (OSError, DamagedError, TypeError):
        return Holder(claim.stem, "unknown", 0, 0)
