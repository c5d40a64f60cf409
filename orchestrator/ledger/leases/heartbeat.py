"""Heartbeats: by these a process sees whether processes on other machines live.

A heartbeat is a file with a number that its process makes larger every few seconds. Who watches it compares no two clocks: it measures
by its own clock how long the number has stayed the same.
"""

import time
from functools import lru_cache
from pathlib import Path

from mopoe_core.storage.file_facts import modified
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.remote_path import RemotePath
from orchestrator.ledger.layout import Layout
from orchestrator.ledger.leases.holder import Holder, runs_here

BEAT_SECONDS = 5.0
STALE_SECONDS = 30.0  # six missed beats: a worker that is alive but starved of CPU still beats by then
REMOTE_BEAT_SECONDS = 15.0  # each is a request, which object stores bill


class Watcher:
    """Watches the heartbeats of processes on other machines, by this process's clock."""

    def __init__(self, storage: AnyPath) -> None:
        self._storage = storage
        self._last_seen: dict[str, tuple[str, float]] = {}
        """Token to a beat, and since when it is known not to have changed."""

    def is_dead(self, holder: Holder) -> bool:
        """Whether a holder's process has ended, or its beat has not changed for too long."""
        before = now()
        beat = beat_of(self._storage, holder)
        after = now()
        if beat is None:
            self._last_seen.pop(holder.token, None)
            return True
        is_here = runs_here(holder)
        if is_here is not None:
            return not is_here
        last, since = self._last_seen.get(holder.token, ("", 0.0))
        if last != beat:
            self._last_seen[holder.token] = (beat, after)  # `after`, and `before` below: this process may stand still in between
            return False
        return before - since > stale_seconds(self._storage)

    def seems_dead(self, holder: Holder) -> bool:
        """A guess at `is_dead` from one look, for those who only show it. It compares the clocks of this machine and of the storage."""
        if self.is_dead(holder):
            return True
        if runs_here(holder):
            return False
        last = modified(Layout(self._storage).heartbeat(holder.token))
        return last is not None and time.time() - last > stale_seconds(self._storage)


@lru_cache(maxsize=8)
def watcher(storage: AnyPath) -> Watcher:
    """This process's watcher of a storage. There is one, because watching takes time."""
    return Watcher(storage)


def beat_of(storage: AnyPath, holder: Holder) -> str | None:
    """A holder's beat; None if it is gone. Earlier versions wrote no number, so that only the file's time changed."""
    path = Layout(storage).heartbeat(holder.token)
    try:
        return path.read_bytes().decode(errors="replace") or str(modified(path))
    except FileNotFoundError:
        return None


def write_beat(path: AnyPath, beat: str) -> None:
    """Write over the beat before. Raises FileNotFoundError if there is none: whoever took over has removed it."""
    if isinstance(path, Path):
        with path.open("r+b", buffering=0) as file:
            file.write(beat.encode())
    elif path.exists():
        path.write_bytes(beat.encode())
    else:
        raise FileNotFoundError


def beat_text(count: int) -> str:
    """A beat. All are of one length, so that each is written over the one before in one piece."""
    return f"{count:016d}"


def beat_seconds(storage: AnyPath) -> float:
    """Seconds between two beats."""
    return REMOTE_BEAT_SECONDS if isinstance(storage, RemotePath) else BEAT_SECONDS


def stale_seconds(storage: AnyPath) -> float:
    """How long a beat may stay the same before its process counts as dead."""
    return STALE_SECONDS * beat_seconds(storage) / BEAT_SECONDS


def now() -> float:
    """Seconds by a clock that also runs while the machine sleeps, where there is one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def sleep(seconds: float) -> None:
    """As `time.sleep`, by the clock of `now`."""
    time.sleep(seconds)
