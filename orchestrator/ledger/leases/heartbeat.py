"""Heartbeats show whether processes on other machines are alive.

A heartbeat is a file with a number that its process increases every few seconds. A watcher measures by its own clock how long the number
has stayed the same. So no two clocks are compared.
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
        """By token: the last beat, and when by this clock it was first seen."""

    def is_dead(self, holder: Holder) -> bool:
        """Returns whether a holder's process has ended, or its beat has not changed for too long."""
        before_reading = now()
        beat = beat_of(self._storage, holder)
        after_reading = now()
        if beat is None:
            self._last_seen.pop(holder.token, None)
            return True
        is_here = runs_here(holder)
        if is_here is not None:
            return not is_here
        last_beat, first_seen = self._last_seen.get(holder.token, ("", 0.0))
        if last_beat != beat:
            # The later time here and the earlier one below: this process may be suspended while it reads, which must not count.
            self._last_seen[holder.token] = (beat, after_reading)
            return False
        return before_reading - first_seen > stale_seconds(self._storage)

    def seems_dead(self, holder: Holder) -> bool:
        """Guesses `is_dead` from a single reading. Unlike `is_dead`, compares the clock of this machine with that of the storage."""
        if self.is_dead(holder):
            return True
        if runs_here(holder):
            return False
        last_beat_at = modified(Layout(self._storage).heartbeat(holder.token))
        return last_beat_at is not None and time.time() - last_beat_at > stale_seconds(self._storage)


@lru_cache(maxsize=8)
def watcher(storage: AnyPath) -> Watcher:
    """Returns this process's only watcher of a storage. A watcher must be kept: it learns from beats that it read earlier."""
    return Watcher(storage)


def beat_of(storage: AnyPath, holder: Holder) -> str | None:
    """Returns a holder's beat; None if its file is gone. Earlier versions wrote no number: then the beat is the file's time."""
    path = Layout(storage).heartbeat(holder.token)
    try:
        return path.read_bytes().decode(errors="replace") or str(modified(path))
    except FileNotFoundError:
        return None


def write_beat(path: AnyPath, beat: str) -> None:
    """Overwrite the last beat. Raises FileNotFoundError if there is none: a process that took over has removed it."""
    if isinstance(path, Path):
        with path.open("r+b", buffering=0) as file:
            file.write(beat.encode())
    elif path.exists():
        path.write_bytes(beat.encode())
    else:
        raise FileNotFoundError


def beat_text(count: int) -> str:
    """Returns the text of a beat. All have the same length, so that each overwrites the last in one piece."""
    return f"{count:016d}"


def beat_seconds(storage: AnyPath) -> float:
    """Returns the seconds between two beats."""
    return REMOTE_BEAT_SECONDS if isinstance(storage, RemotePath) else BEAT_SECONDS


def stale_seconds(storage: AnyPath) -> float:
    """Returns how many seconds a beat may stay the same before its process counts as dead."""
    return STALE_SECONDS * beat_seconds(storage) / BEAT_SECONDS


def now() -> float:
    """Returns seconds by a clock that also runs while the machine sleeps, if the system has one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def sleep(seconds: float) -> None:
    """Sleep. A function of this module, so that tests can replace it together with `now`."""
    time.sleep(seconds)
