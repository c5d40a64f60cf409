"""Leases: at most one process trains a trial, and one drives a sweep, whatever dies when.

    <storage>/alive/<token>            touched every few seconds by the process that made the token
    <folder>/claims/<token>.json       who claims what the folder is about: a trial, or a sweep

To claim, a process writes a claim of its own and then reads the others. A claim whose holder is dead is removed; if one of a living
holder is there, the own one is withdrawn. Of two that come at once each sees the other, or one sees the other, so that never both go on:
this needs no more than that a listing shows what was written before, which file systems and today's object stores give. Not all of them
have a compare-and-swap.

A holder is dead when its process on this machine is gone, or when it has not been heard of for `STALE_SECONDS` by the clock of the
storage, so that clocks that differ between machines do no harm.
"""

import os
import platform
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from mopoe_core.files import AnyPath, listed, modified, write_text
from mopoe_core.remote import RemotePath
from orchestrator import records
from orchestrator.errors import DamagedError
from orchestrator.records import Identity

BEAT_SECONDS = 5.0
STALE_SECONDS = 30.0  # six missed beats: a worker that is alive but starved of CPU still beats by then
REMOTE_BEAT_SECONDS = 15.0  # a request each, which object stores bill


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
        self._storage = storage
        self._alive = storage / "alive" / self.holder.token
        self._claims: list[AnyPath] = []
        self._heard = _now()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, daemon=True, name="lease")

    def __enter__(self) -> "Lease":
        write_text(self._alive, "")  # before the first claim, which without it is a dead one's
        self._heard = _now()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        for path in (*self._claims, self._alive):
            with suppress(OSError):  # a disk that is full or away: the others find out by themselves
                path.unlink(missing_ok=True)

    def claim(self, folder: AnyPath) -> Holder | None:
        """Take what `folder` is about; returns None, or who holds it, and then nothing has changed."""
        mine = folder / "claims" / f"{self.holder.token}.json"
        records.write(mine, _identity(mine), asdict(self.holder))
        now = modified(mine) or time.time()
        others = [path for path in _claims(folder) if path.name != mine.name]
        for path in others:
            holder = _holder(path)
            if not is_dead(self._storage, holder, now):
                mine.unlink(missing_ok=True)
                return holder
        for path in others:
            _remove(self._storage, path)
        self._claims.append(mine)
        return None

    def check(self) -> None:
        """Raise LeaseLost where others may have taken over."""
        if _now() - self._heard > stale_seconds(self._storage) / 2:  # no beat for so long: this process, or its disk, stood still
            self._beat()
        if self._heard < 0 or _now() - self._heard > stale_seconds(self._storage):
            raise LeaseLost(f"{self._alive.parent.parent}: not heard of in time; another may go on with these trials")

    def _beat_on(self) -> None:
        while not self._stop.wait(_beat_seconds(self._storage)) and self._heard >= 0:
            self._beat()

    def _beat(self) -> None:
        """Say that this process lives. What is gone is not made again: whoever took over has removed it."""
        try:
            if isinstance(self._alive, Path):
                os.utime(self._alive)
            elif self._alive.exists():
                self._alive.write_bytes(b"")
            else:
                raise FileNotFoundError
            self._heard = _now()
        except FileNotFoundError:
            self._heard = -1.0
        except OSError:
            return  # a hiccup of the network; `check` minds how long it lasts


def stale_seconds(storage: AnyPath) -> float:
    """How long a process may not be heard of before it counts as dead."""
    return STALE_SECONDS * _beat_seconds(storage) / BEAT_SECONDS


def living(storage: AnyPath, folder: AnyPath) -> Holder | None:
    """Who holds what `folder` is about now, for those who only want to know."""
    holders = (_holder(path) for path in _claims(folder))
    return next((holder for holder in holders if not is_dead(storage, holder, time.time())), None)


def is_dead(storage: AnyPath, holder: Holder, now: float) -> bool:
    """Whether a holder's process has ended, or has not been heard of for long. `now` is by the clock of the storage."""
    if _runs_here(holder) is False:
        return True
    last = heard(storage, holder)
    return last is None or now - last > stale_seconds(storage)


def surely_lives(holder: Holder) -> bool:
    """Whether a holder's process is on this machine and runs."""
    return _runs_here(holder) is True


def _runs_here(holder: Holder) -> bool | None:
    """Whether a holder's process runs; None where that cannot be seen from this machine."""
    here = holder.machine and holder.machine == _machine()
    return _birth(holder.process) == holder.birth if here else None


def heard(storage: AnyPath, holder: Holder) -> float | None:
    """When a holder last beat."""
    return modified(storage / "alive" / holder.token)


def release(storage: AnyPath, folder: AnyPath, driver: str) -> None:
    """Remove the claims of a driver's workers, which it has stopped."""
    for path in _claims(folder):
        if _holder(path).driver == driver:
            _remove(storage, path)


def _remove(storage: AnyPath, claim: AnyPath) -> None:
    """A claim, with its holder's sign of life."""
    claim.unlink(missing_ok=True)
    (storage / "alive" / claim.stem).unlink(missing_ok=True)


def _claims(folder: AnyPath) -> list[AnyPath]:
    return listed(folder / "claims", "*.json")


def _holder(claim: AnyPath) -> Holder:
    """Who made a claim; of one that is damaged, was made of another folder, or was withdrawn in this moment, no more than the token."""
    try:
        return Holder(**records.read(claim, _identity(claim), bare=True))
    except (OSError, DamagedError, TypeError):
        return Holder(claim.stem, "unknown", 0, 0)


def _identity(claim: AnyPath) -> Identity:
    """Of the claim at that place."""
    folder = claim.parent.parent
    return Identity("claim", folder=f"{folder.parent.name}/{folder.name}", key=claim.stem)


def _beat_seconds(storage: AnyPath) -> float:
    return REMOTE_BEAT_SECONDS if isinstance(storage, RemotePath) else BEAT_SECONDS


def _now() -> float:
    """Seconds by a clock that also runs while the machine sleeps, where there is one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@cache
def _machine() -> str:
    """Empty where the kernel does not tell: then only beats show who lives."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip() + os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _birth(process: int) -> str | None:
    """None if there is no such process, or only what is left of one that has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace").rpartition(") ")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
