"""Simulated storage, time and processes, for `benchmarks.robustness.lease_schedules`.

Storage is a dictionary, time is a number, and a process is a few coroutines. Before each access to storage a coroutine waits for a random
time, so that others may come first. A schedule takes milliseconds, and its seed repeats it.
"""

import fnmatch
import heapq
import itertools
import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from greenlet import getcurrent, greenlet

from mopoe_core.storage.remote_path import RemotePath

START, LONGEST = 10_000.0, 3_600.0
"""The time at which a schedule begins, and the virtual seconds after which it counts as hanging."""


@dataclass(frozen=True)
class Faults:
    """The faults of a schedule."""

    actors: int = 2
    pauses: int = 1
    """How many times a process stands still."""
    pause_seconds: float = 120.0
    deaths: int = 0
    late_seconds: float = 0.0
    """The longest time for which a listing may miss a new file or still show a deleted one."""
    skew_seconds: float = 0.0
    """The largest deviation of a clock."""


class Killed(BaseException):
    """Ends the coroutines of a process that has died."""


@dataclass
class Actor:
    """A process. `skew` is how far its clock is ahead, in seconds."""

    number: int
    skew: float
    watcher: Any = None
    dead: bool = False
    still_until: float = 0.0


@dataclass
class World:
    """Storage and time."""

    random: random.Random
    faults: Faults
    now: float = START
    files: dict[str, tuple[bytes, float]] = field(default_factory=dict)
    """Content and time of writing, by path."""
    gone: dict[str, float] = field(default_factory=dict)
    """Time of deletion, by path."""
    broken: list[str] = field(default_factory=list)
    """Violations of what must always hold."""
    accesses: int = 0
    """Accesses to storage so far."""
    pauses_at: dict[int, float] = field(default_factory=dict)
    """Seconds for which the process stands still before an access, by the access's number."""
    deaths_at: set[int] = field(default_factory=set)
    """Numbers of the accesses before which the process dies."""
    _waiting: list[tuple[float, int, greenlet]] = field(default_factory=list)
    _actors: dict[greenlet, Actor] = field(default_factory=dict)
    _order: Iterator[int] = field(default_factory=itertools.count)
    _main: greenlet = field(default_factory=getcurrent)

    @property
    def actor(self) -> Actor:
        """The process that runs now."""
        return self._actors[getcurrent()]

    def start(self, actor: Actor, work: Callable[[], None]) -> None:
        """Starts a coroutine of a process now."""
        coroutine = greenlet(self._until_killed(work), self._main)
        self._actors[coroutine] = actor
        self._put(coroutine, self.now)

    def start_beat(self, beat: Callable[[], None]) -> None:
        """Starts the heartbeat of the process that runs now."""
        self.start(self.actor, beat)

    def run_in_order(self, choices: Sequence[int]) -> list[int]:
        """Runs all coroutines to their ends, in a given order; returns how many were waiting at each step.

        At step i, `choices[i]` is the index of the next coroutine among those that wait, ordered by process. After the last choice it is
        always the first.
        """
        options: list[int] = []
        while self._waiting:
            index = choices[len(options)] if len(options) < len(choices) else 0
            options.append(len(self._waiting))
            entry = sorted(self._waiting, key=lambda waiting: self._actors[waiting[2]].number)[index]
            self._waiting.remove(entry)
            entry[2].switch()
        return options

    def run(self) -> None:
        """Runs all coroutines to their ends, in the order of their times."""
        while self._waiting:
            when, _, coroutine = heapq.heappop(self._waiting)
            actor = self._actors[coroutine]
            if actor.still_until > when:
                self._put(coroutine, actor.still_until + self.random.random())
                continue
            self.now = max(self.now, when)
            if self.now > START + LONGEST:
                self.broken.append("it hangs")
                return
            coroutine.switch()

    def sleep(self, seconds: float) -> None:
        """Lets other coroutines run until the time has passed. Raises Killed if the process has died meanwhile."""
        self._put(getcurrent(), self.now + seconds)
        self._main.switch()
        if self.actor.dead:
            raise Killed

    def access(self) -> None:
        """Waits before an access to storage: for a short time, or for a pause; or lets the process die."""
        number, self.accesses = self.accesses, self.accesses + 1
        if number in self.deaths_at:
            self.actor.dead = True
        if number in self.pauses_at:
            self.actor.still_until = self.now + self.pauses_at[number]
        self.sleep(self.random.random() * 0.2)

    def listed(self) -> list[str]:
        """Returns the paths that a listing shows now: it may miss new files and still show deleted ones."""
        late = self.faults.late_seconds
        present = [path for path, (_, since) in self.files.items() if not late or self.now - since > self.random.random() * late]
        ghosts = [path for path, at in self.gone.items() if late and self.now - at < self.random.random() * late]
        return sorted({*present, *ghosts})

    def write(self, path: str, content: bytes) -> None:
        """Writes a whole file. Records a violation if a checkpoint is replaced by one with fewer epochs."""
        name = path.rpartition("/")[2]
        if name.startswith("checkpoint.") and name.endswith(".pt"):
            before, after = _epochs(self.files.get(path, (b"", 0.0))[0]), _epochs(content)
            if after < before:
                self.broken.append(f"{path}: {before} epochs were replaced by {after}")
        self.files[path] = (content, self.now)
        self.gone.pop(path, None)

    def _put(self, coroutine: greenlet, when: float) -> None:
        heapq.heappush(self._waiting, (when, next(self._order), coroutine))

    def _until_killed(self, work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            with suppress(Killed):
                work()

        return run


def _epochs(checkpoint: bytes) -> int:
    """Returns the epochs of a simulated checkpoint, -1 for none."""
    return int(json.loads(checkpoint)["epochs"]) if checkpoint else -1


WORLDS: dict[str, World] = {}
"""The worlds that run now, by the base of their paths."""


class MemoryPath(RemotePath):
    """A file of a world's storage. Each access is one step, and other coroutines may run before it."""

    @property
    def _world(self) -> World:
        return WORLDS[self.base]

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def parent(self) -> "MemoryPath":
        return MemoryPath(self.base, self.path.rpartition("/")[0])

    def __truediv__(self, more: str) -> "MemoryPath":
        return MemoryPath(self.base, f"{self.path}/{more}" if self.path else more)

    @property
    def is_exclusive(self) -> bool:
        return True

    def exists(self) -> bool:
        self._world.access()
        return self.path in self._world.files or any(path.startswith(f"{self.path}/") for path in self._world.files)

    def modified(self) -> float | None:
        self._world.access()
        file = self._world.files.get(self.path)
        return None if file is None else file[1]

    def size(self) -> int:
        self._world.access()
        return len(self._world.files.get(self.path, (b"", 0))[0])

    def read_bytes(self) -> bytes:
        self._world.access()
        if self.path not in self._world.files:
            raise FileNotFoundError(self.path)
        return self._world.files[self.path][0]

    def write_bytes(self, content: bytes | memoryview) -> None:
        self._world.access()
        self._world.write(self.path, bytes(content))

    def create(self, content: bytes) -> bool:
        self._world.access()
        if self.path in self._world.files:
            return False
        self._world.write(self.path, content)
        return True

    def copy(self, target: RemotePath) -> None:
        target.write_bytes(self.read_bytes())

    def unlink(self, missing_ok: bool = False) -> None:
        self._world.access()
        if self._world.files.pop(self.path, None) is not None:
            self._world.gone[self.path] = self._world.now
        elif not missing_ok:
            raise FileNotFoundError(self.path)

    def glob(self, pattern: str) -> Iterator["MemoryPath"]:
        self._world.access()
        patterns = pattern.split("/")
        for path in self._world.listed():
            parts = path.removeprefix(f"{self.path}/" if self.path else "").split("/")
            if path.startswith(self.path) and len(parts) == len(patterns) and all(map(fnmatch.fnmatchcase, parts, patterns)):
                yield MemoryPath(self.base, path)
