"""Leases: who trains a trial, and who drives a sweep, whatever dies or stands still when.

    <storage>/alive/<token>                        a number that the process of that token makes larger every few seconds: its beat
    <storage>/claims/trials/<id>/<token>.json      who claims a trial
    <storage>/claims/sweeps/<name>/<token>.json    who claims a sweep

To claim, a process writes a claim of its own and then reads the others. If one is of a process that lives, it withdraws its own. What the
dead have left it removes. Of two that come at once each sees the other, or one sees the other, so that never both go on.

Who is dead, a process decides so:

1. The beat is gone: the process has ended, or was taken over.
2. The process is on this machine: it is dead when there is no such process, and alive when there is, even if it is stopped.
3. Otherwise this process watches the beat, and by its own clock. A beat that has not changed for `STALE_SECONDS` is a dead one's. No
   two clocks are compared.

Watching cannot tell a dead process from one that stands still for long. So a lease saves work and decides nothing: a process that was
taken over, and wakes, can still harm nothing, because every attempt has files of its own, and of all results of a trial the first one
counts (`orchestrator.ledger.attempts`).
"""

import os
import platform
import random
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from pathlib import Path

from mopoe_core.storage.files import AnyPath, listed, modified, write_text
from mopoe_core.storage.remote_path import RemotePath
from orchestrator.errors import DamagedError
from orchestrator.ledger import records
from orchestrator.ledger.records import Identity

BEAT_SECONDS = 5.0
STALE_SECONDS = 30.0  # six missed beats: a worker that is alive but starved of CPU still beats by then
REMOTE_BEAT_SECONDS = 15.0  # a request each, which object stores bill
LATENESS = 1.0
"""Seconds that a claimer waits beyond `stale_seconds`."""
MOST_COLLISIONS = 5
"""Times that a holder on this machine is found alive before it is believed: two that start at once each see the other, and withdraw."""


class LeaseLost(RuntimeError):
    """What this process held was taken over, because it was not heard of: another goes on with it."""


@dataclass(frozen=True)
class Holder:
    """A process that holds leases."""

    token: str
    host: str
    process: int
    started_ms: int
    machine: str = ""
    """Boot and process namespace: process numbers mean something within these only."""
    birth: str = ""
    """When the process began, in the kernel's ticks: numbers are given out again."""
    driver: str = ""
    """The token of the driver that a worker works for."""

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.started_ms / 1000))
        return f"process {self.process} on {self.host}, since {since}"


class Lease:
    """What this process holds. Alive from entering the context to leaving it; a thread of its own beats."""

    def __init__(self, storage: AnyPath, driver: str = "") -> None:
        self.holder = Holder(
            token=uuid.uuid4().hex,
            host=platform.node(),
            process=os.getpid(),
            started_ms=int(time.time() * 1000),
            machine=_machine(),
            birth=_birth(os.getpid()) or "",
            driver=driver,
        )
        self.storage = storage
        self._alive = _beat_path(storage, self.holder)
        self._claims: list[AnyPath] = []
        self._heard = _now()
        self._beats = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, daemon=True, name="lease")

    def __enter__(self) -> "Lease":
        self._heard = _now()
        write_text(self._alive, _spelled(self._beats), durable=False)  # before the first claim, which without it is a dead one's
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        for path in (*self._claims, self._alive):
            with suppress(OSError):  # a disk that is full or away: the others find out by themselves
                path.unlink(missing_ok=True)

    def claim(self, folder: AnyPath) -> Holder | None:
        """Take what `folder` is about. Returns None, or who holds it, and then nothing has changed."""
        mine = _claims_folder(self.storage, folder) / f"{self.holder.token}.json"
        records.write(mine, _identity(mine), asdict(self.holder))
        if (holder := held_by(self.storage, folder, but=self.holder.token)) is not None:
            mine.unlink(missing_ok=True)
            return holder
        self._claims.append(mine)
        return None

    def let_go(self, folder: AnyPath) -> None:
        """Hold what `folder` is about no longer."""
        mine = _claims_folder(self.storage, folder) / f"{self.holder.token}.json"
        mine.unlink(missing_ok=True)
        self._claims = [path for path in self._claims if path != mine]

    def claim_patiently(self, folder: AnyPath, tell: Callable[[Holder], None] = lambda holder: None) -> Holder | None:
        """As `claim`, but where it cannot be seen at once whether a holder lives, wait for its beat: up to `stale_seconds`.

        `tell` is called once, with the holder that is waited for.
        """
        deadline = _now() + stale_seconds(self.storage) + LATENESS
        collisions, told, first_beats = 0, False, dict[str, str]()
        while (holder := self.claim(folder)) is not None:
            beat = _beat_of(self.storage, holder) or ""
            beats = first_beats.setdefault(holder.token, beat) != beat
            collisions += surely_lives(holder)
            if beats or collisions > MOST_COLLISIONS or _now() > deadline:
                return holder
            if not told and not collisions:
                tell(holder)
                told = True
            _sleep(random.uniform(0.2, 0.6))
        return None

    def check(self) -> None:
        """Raise LeaseLost where others may have taken over."""
        if _now() - self._heard > stale_seconds(self.storage) / 2:  # no beat for so long: this process, or its disk, stood still
            self._beat()
        if self.is_lost:
            raise LeaseLost(f"{self.storage}: this process was not heard of in time; another may have taken over")

    @property
    def is_lost(self) -> bool:
        """Whether others may have taken over, as far as is known without a look at storage."""
        return self._heard < 0 or _now() - self._heard > stale_seconds(self.storage)

    def _beat_on(self) -> None:
        while not self._stop.wait(_beat_seconds(self.storage)) and self._heard >= 0:
            self._beat()

    def _beat(self) -> None:
        """Say that this process lives. What is gone is not made again: whoever took over has removed it."""
        now = _now()  # before the beat is written: a process that stands still in between has not been heard of since
        try:
            self._beats += 1
            _write_beat(self._alive, _spelled(self._beats))
        except FileNotFoundError:
            self._heard = -1.0
        except Exception:  # a store may raise anything, and the next beat may succeed; `check` minds how long it lasts
            return
        else:
            self._heard = max(self._heard, now) if self._heard >= 0 else self._heard


class _Watcher:
    """Watches the beats of processes on other machines, by this process's clock."""

    def __init__(self, storage: AnyPath) -> None:
        self._storage = storage
        self._seen: dict[str, tuple[str, float]] = {}
        """Token to a beat, and since when it is known not to have changed."""

    def is_dead(self, holder: Holder) -> bool:
        """Whether a holder's process has ended, or its beat has not changed for long."""
        before = _now()
        beat = _beat_of(self._storage, holder)
        after = _now()
        if beat is None:
            self._seen.pop(holder.token, None)
            return True
        here = _runs_here(holder)
        if here is not None:
            return not here
        last, since = self._seen.get(holder.token, ("", 0.0))
        if last != beat:
            self._seen[holder.token] = (beat, after)  # after, and above before: this process may have stood still meanwhile
            return False
        return before - since > stale_seconds(self._storage)

    def seems_dead(self, holder: Holder) -> bool:
        """A guess at `is_dead` by one look, for those who only show it: the clocks of this machine and of the storage are compared."""
        if self.is_dead(holder):
            return True
        if _runs_here(holder):
            return False
        last = modified(_beat_path(self._storage, holder))
        return last is not None and time.time() - last > stale_seconds(self._storage)


@lru_cache(maxsize=8)
def _watcher(storage: AnyPath) -> _Watcher:
    """One a process, because watching takes time."""
    return _Watcher(storage)


def stale_seconds(storage: AnyPath) -> float:
    """How long a beat may stay the same before its process counts as dead."""
    return STALE_SECONDS * _beat_seconds(storage) / BEAT_SECONDS


def held_by(storage: AnyPath, folder: AnyPath, but: str = "") -> Holder | None:
    """Who holds what `folder` is about; what the dead have left is removed where nobody does. `but` is a token that does not count."""
    others = [path for path in _claims(storage, folder) if path.stem != but]
    for path in others:
        holder = _holder(path)
        if not _watcher(storage).is_dead(holder):
            return holder
    for path in others:
        _remove(storage, path)
    return None


def living(storage: AnyPath, folder: AnyPath) -> Holder | None:
    """Who holds what `folder` is about now, as far as one look tells: for those who only show it."""
    holders = (_holder(path) for path in _claims(storage, folder))
    return next((holder for holder in holders if not _watcher(storage).seems_dead(holder)), None)


def tokens_here(storage: AnyPath) -> set[str]:
    """The tokens of processes on this machine that hold something and are there, if only stopped."""
    return {path.stem for path in listed(storage / "claims", "*/*/*.json") if surely_lives(_holder(path))}


def surely_lives(holder: Holder) -> bool:
    """Whether a holder's process is on this machine and runs, or is stopped and can go on."""
    return _runs_here(holder) is True


def is_stopped(holder: Holder) -> bool:
    """Whether a holder's process on this machine is stopped, by Ctrl-Z for example."""
    return surely_lives(holder) and _stat(holder.process)[:1] == ["T"]


def _runs_here(holder: Holder) -> bool | None:
    """Whether a holder's process is there; None where that cannot be seen from this machine."""
    if not holder.machine or holder.machine != _machine():
        return None
    try:
        os.kill(holder.process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's, whom /proc may hide
    birth = _birth(holder.process)
    if birth is None:
        return None
    return birth == holder.birth


def release(storage: AnyPath, folder: AnyPath, driver: str) -> None:
    """Remove the claims of a driver's workers, which it has stopped."""
    for path in _claims(storage, folder):
        if _holder(path).driver == driver:
            _remove(storage, path)


def _remove(storage: AnyPath, claim: AnyPath) -> None:
    """A claim, and before it its holder's beat: a holder that lives after all is to find out first."""
    (storage / "alive" / claim.stem).unlink(missing_ok=True)
    claim.unlink(missing_ok=True)


def _claims_folder(storage: AnyPath, folder: AnyPath) -> AnyPath:
    """Not in the folder itself: that may be moved while it is claimed."""
    place = storage / "claims"
    for name in filter(None, (folder.parent.name, folder.name)):  # a bucket's own folder has no name
        place = place / name
    return place


def _claims(storage: AnyPath, folder: AnyPath) -> list[AnyPath]:
    """Of earlier versions, which put claims in the folder, a driver may still run."""
    before = listed(folder / "claims", "*.json") if folder.parent.name == "sweeps" else []
    return [*listed(_claims_folder(storage, folder), "*.json"), *before]


def _holder(claim: AnyPath) -> Holder:
    """Who made a claim; of one that is damaged, was made of another folder, or was withdrawn in this moment, no more than the token."""
    try:
        return Holder(**records.read(claim, _identity(claim), bare=True))
    except (OSError, DamagedError, TypeError):
        return Holder(claim.stem, "unknown", 0, 0)


def _identity(claim: AnyPath) -> Identity:
    """Of the claim at that place."""
    folder = claim.parent.parent if claim.parent.name == "claims" else claim.parent
    return Identity("claim", folder=f"{folder.parent.name}/{folder.name}", key=claim.stem)


def _beat_path(storage: AnyPath, holder: Holder) -> AnyPath:
    return storage / "alive" / holder.token


def _spelled(beats: int) -> str:
    """Always as long, so that a beat is written over the one before in one piece."""
    return f"{beats:016d}"


def _write_beat(path: AnyPath, beat: str) -> None:
    """Raises FileNotFoundError where there is no beat to write over."""
    if isinstance(path, Path):
        with path.open("r+b", buffering=0) as file:
            file.write(beat.encode())
    elif path.exists():
        path.write_bytes(beat.encode())
    else:
        raise FileNotFoundError


def _beat_of(storage: AnyPath, holder: Holder) -> str | None:
    """A holder's beat; None where it is gone. Earlier versions wrote no number, and only the file's time changed."""
    path = _beat_path(storage, holder)
    try:
        return path.read_bytes().decode(errors="replace") or str(modified(path))
    except FileNotFoundError:
        return None


def _beat_seconds(storage: AnyPath) -> float:
    return REMOTE_BEAT_SECONDS if isinstance(storage, RemotePath) else BEAT_SECONDS


def _now() -> float:
    """Seconds by a clock that also runs while the machine sleeps, where there is one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _sleep(seconds: float) -> None:
    time.sleep(seconds)


@cache
def _machine() -> str:
    """Empty where the kernel does not tell: then only beats show who lives."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip() + os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _birth(process: int) -> str | None:
    """When a process began; `ended` of one that has only not been waited for; None where /proc does not show it."""
    fields = _stat(process)
    if not fields:
        return None
    return "ended" if fields[0] in "ZX" else fields[19]


def _stat(process: int) -> list[str]:
    """State and numbers of a process, from its third field on as proc(5) counts them; empty where /proc does not show it."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace").rpartition(") ")[2].split()
    except OSError:
        return []
