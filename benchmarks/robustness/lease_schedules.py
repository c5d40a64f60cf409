"""Many orders in which the steps of workers that want one trial can fall, with pauses, deaths, clocks that differ and late listings.

    python -m benchmarks.robustness.lease_schedules --schedules 30000

The code of leases, attempts and ledger is the real one. Storage is a dictionary, time is a number, and each worker is two coroutines, its
work and its beat. Before every access to storage a worker waits for a random time, and once or twice it stands still for minutes. So a
schedule takes milliseconds, and its seed repeats it.

Of every schedule is checked: one worker's result is kept and no other's; the checkpoint that is left is the one that the result names; no
file of checkpoints is replaced by one with fewer epochs; and whoever is alive ends.
"""

import argparse
import fnmatch
import heapq
import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from greenlet import getcurrent, greenlet

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.storage.file_facts import Digest
from mopoe_core.storage.remote_path import RemotePath
from mopoe_core.storage.whole_files import copy
from orchestrator.ledger import attempts
from orchestrator.ledger.attempts import Attempt
from orchestrator.ledger.layout import CHECKPOINTS
from orchestrator.ledger.leases import heartbeat, holder
from orchestrator.ledger.leases.lease import Lease, LeaseLost
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.trial import Cell, Trial

EPOCHS, EPOCH_SECONDS, EVALUATION_SECONDS = 3, 25.0, 10.0
START, LONGEST = 10_000.0, 3_600.0
"""When a schedule begins, and the virtual seconds after which something hangs."""
CELL = Cell(TrainingConfig.model_validate({"dataset": "mnist_svhn_text", "networks": "small", "model": "mopoe"}))
TRIAL = Trial(CELL, 0)


@dataclass(frozen=True)
class Faults:
    """What befalls a schedule."""

    actors: int = 2
    pauses: int = 1
    """Times that somebody stands still."""
    pause_seconds: float = 120.0
    deaths: int = 0
    late_seconds: float = 0.0
    """For so long, at most, a listing does not show a new file, or still shows one that is gone."""
    skew_seconds: float = 0.0
    """How far clocks differ, at most."""


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


@dataclass
class Actor:
    """A process."""

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
    """Path to content, and since when it has been there."""
    gone: dict[str, float] = field(default_factory=dict)
    """Path to when it was deleted."""
    broken: list[str] = field(default_factory=list)
    """What must not happen, and did."""
    accesses: int = 0
    pauses_at: dict[int, float] = field(default_factory=dict)
    """Number of an access to storage, and how long whoever makes it stands still before it."""
    deaths_at: set[int] = field(default_factory=set)
    _waiting: list[tuple[float, int, greenlet]] = field(default_factory=list)
    _actors: dict[greenlet, Actor] = field(default_factory=dict)
    _order: Iterator[int] = field(default_factory=itertools.count)
    _main: greenlet = field(default_factory=getcurrent)

    @property
    def actor(self) -> Actor:
        """Who runs now."""
        return self._actors[getcurrent()]

    def start(self, actor: Actor, work: Callable[[], None]) -> None:
        """Let a coroutine of a process begin now."""
        started = greenlet(self._quietly(work), self._main)
        self._actors[started] = actor
        self._put(started, self.now)

    def start_beat(self, beat: Callable[[], None]) -> None:
        """Let the process that runs now beat."""
        self.start(self.actor, beat)

    def run_in_order(self, choices: Sequence[int]) -> list[int]:
        """Until nobody waits, whoever `choices` says next, and then always the first; returns among how many was chosen each time."""
        options: list[int] = []
        while self._waiting:
            place = choices[len(options)] if len(options) < len(choices) else 0
            options.append(len(self._waiting))
            waiting = sorted(self._waiting, key=lambda one: self._actors[one[2]].number)[place]
            self._waiting.remove(waiting)
            waiting[2].switch()
        return options

    def run(self) -> None:
        """Until nobody waits."""
        while self._waiting:
            when, _, waiting = heapq.heappop(self._waiting)
            actor = self._actors[waiting]
            if actor.still_until > when:
                self._put(waiting, actor.still_until + self.random.random())
                continue
            self.now = max(self.now, when)
            if self.now > START + LONGEST:
                self.broken.append("it hangs")
                return
            waiting.switch()

    def sleep(self, seconds: float) -> None:
        """Let others run meanwhile."""
        self._put(getcurrent(), self.now + seconds)
        self._main.switch()
        if self.actor.dead:
            raise Killed

    def access(self) -> None:
        """What precedes an access to storage: a short wait, a long one, or death."""
        number, self.accesses = self.accesses, self.accesses + 1
        if number in self.deaths_at:
            self.actor.dead = True
        if number in self.pauses_at:
            self.actor.still_until = self.now + self.pauses_at[number]
        self.sleep(self.random.random() * 0.2)

    def listed(self) -> list[str]:
        """The paths that a listing shows now."""
        late = self.faults.late_seconds
        there = [path for path, (_, since) in self.files.items() if not late or self.now - since > self.random.random() * late]
        ghosts = [path for path, at in self.gone.items() if late and self.now - at < self.random.random() * late]
        return sorted({*there, *ghosts})

    def write(self, path: str, content: bytes) -> None:
        """Write a file, whole."""
        if path.rpartition("/")[2].startswith("checkpoint."):
            was, new = (json.loads(raw)["epochs"] if raw else -1 for raw in (self.files.get(path, (b"", 0))[0], content))
            if new < was and path.endswith(".pt"):
                self.broken.append(f"{path}: {was} epochs were replaced by {new}")
        self.files[path] = (content, self.now)
        self.gone.pop(path, None)

    def _put(self, waiting: greenlet, when: float) -> None:
        heapq.heappush(self._waiting, (when, next(self._order), waiting))

    def _quietly(self, work: Callable[[], None]) -> Callable[[], None]:
        def quietly() -> None:
            with suppress(Killed):
                work()

        return quietly


WORLDS: dict[str, World] = {}


class MemoryPath(RemotePath):
    """A file of a world's storage. Each access is one step, and others may come before it."""

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
        found = self._world.files.get(self.path)
        return None if found is None else found[1]

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
        wanted = pattern.split("/")
        for path in self._world.listed():
            parts = path.removeprefix(f"{self.path}/" if self.path else "").split("/")
            if path.startswith(self.path) and len(parts) == len(wanted) and all(map(fnmatch.fnmatchcase, parts, wanted)):
                yield MemoryPath(self.base, path)


@dataclass(frozen=True)
class _Beating:
    """In place of a lease's thread."""

    world: World
    beat: Callable[[], None]

    def start(self) -> None:
        """Beat from now on."""
        self.world.start_beat(self.beat)

    def join(self) -> None:
        """It ends by itself."""


class SimulatedLease(Lease):
    """A lease whose beat is a coroutine."""

    def __enter__(self) -> "SimulatedLease":
        world = WORLDS[self.storage.base]  # type: ignore[union-attr]
        self._thread = _Beating(world, lambda: self._beat_in(world))  # type: ignore[assignment]
        super().__enter__()
        return self

    def _beat_in(self, world: World) -> None:
        while not self._stop.is_set() and self._last_beat >= 0:
            world.sleep(heartbeat.beat_seconds(self.storage))
            if not self._stop.is_set() and self._last_beat >= 0:
                self._beat()


@dataclass
class Outcome:
    """What came of a schedule."""

    broken: list[str]
    kept: int
    """Results that were kept."""
    trained: int
    """Epochs that were trained, by all."""
    lost: int
    """Times that somebody found itself taken over."""
    refused: int
    """Results that came second."""


def every_order(begin: Callable[[World, MemoryPath], None]) -> Iterator[World]:
    """The worlds after every order in which the accesses of what `begin` starts can fall. No time passes, and nobody beats."""
    choices: list[int] = []
    while True:
        world = World(random.Random(0), Faults())
        storage = MemoryPath(f"memory://{id(world)}")
        WORLDS[storage.base] = world
        with patched(world):
            begin(world, storage)
            options = world.run_in_order(choices)
        del WORLDS[storage.base]
        yield world
        choices += [0] * (len(options) - len(choices))
        while choices and choices[-1] + 1 >= options[len(choices) - 1]:
            choices.pop()
        if not choices:
            return
        choices[-1] += 1


def simulate(seed: int, faults: Faults) -> Outcome:
    """One schedule."""
    chance = random.Random(seed)
    world = World(chance, faults)
    storage = MemoryPath(f"memory://{id(world)}")
    WORLDS[storage.base] = world
    outcome = Outcome(world.broken, 0, 0, 0, 0)
    world.pauses_at = {chance.randrange(150): chance.uniform(0.5, 1.5) * faults.pause_seconds for _ in range(faults.pauses)}
    world.deaths_at = {chance.randrange(150) for _ in range(faults.deaths)}
    actors = [Actor(number, chance.uniform(-1, 1) * faults.skew_seconds) for number in range(faults.actors)]
    try:
        with patched(world):
            for actor in actors:
                actor.watcher = heartbeat.Watcher(storage)
                world.start(actor, lambda: _wants_the_trial(world, storage, outcome))
            world.run()
    finally:
        del WORLDS[storage.base]
    _check(world, outcome, all(actor.dead for actor in actors))
    return outcome


@contextmanager
def patched(world: World) -> Iterator[None]:
    """The parts of the real code that are a process's own, or time, are the world's."""
    parts: list[tuple[Any, str, Callable[..., Any]]] = [
        (heartbeat, "now", lambda: world.now + world.actor.skew),
        (heartbeat, "sleep", world.sleep),
        (heartbeat, "watcher", lambda storage: world.actor.watcher),
        (holder, "machine", lambda: f"machine {world.actor.number}"),
        (holder, "birth", lambda process: "0"),
        (attempts, "_epochs", _epochs_in),
    ]
    real = [(module, name, getattr(module, name)) for module, name, _ in parts]
    try:
        for module, name, function in parts:
            setattr(module, name, function)
        yield
    finally:
        for module, name, function in real:
            setattr(module, name, function)


def _epochs_in(trial: Trial, folder: MemoryPath) -> int:
    found = -1
    for name in CHECKPOINTS:
        with suppress(FileNotFoundError):
            found = max(found, json.loads((folder / name).read_bytes())["epochs"])
    return found


def _wants_the_trial(world: World, storage: MemoryPath, outcome: Outcome) -> None:
    """What a worker does, again and again, until the trial has a result."""
    ledger = Ledger(storage)
    while ledger.result(TRIAL) is None:
        try:
            with SimulatedLease(storage) as lease:
                if lease.claim(ledger.folder(TRIAL)) is None and ledger.result(TRIAL) is None:
                    _attempt(world, ledger, lease, outcome)
        except LeaseLost:
            outcome.lost += 1
        except FileNotFoundError:
            outcome.lost += 1  # of a file that whoever took over has removed
        world.sleep(4.0)


def _attempt(world: World, ledger: Ledger, lease: Lease, outcome: Outcome) -> None:
    worker = lease.holder.token
    attempt = Attempt.of(ledger.folder(TRIAL), ledger.begin(TRIAL, worker), worker)
    attempts.adopt(TRIAL, attempt, ledger.folder(TRIAL))
    place, before = attempt.checkpoint, attempt.folder / "checkpoint.before"
    epochs = 0
    with suppress(FileNotFoundError):
        epochs = json.loads(place.read_bytes())["epochs"]
    content = b""
    while epochs < EPOCHS or not content:
        if epochs < EPOCHS:
            world.sleep(EPOCH_SECONDS)
            epochs, outcome.trained = epochs + 1, outcome.trained + 1
        content = json.dumps({"epochs": epochs, "by": worker}).encode()
        with suppress(FileNotFoundError):
            copy(place, before)
        place.write_bytes(content)
        lease.check()
    world.sleep(EVALUATION_SECONDS)
    lease.check()
    result = TrialResult(TRIAL, "completed", (), (), None, 0.0, 0.0, attempt.number, {}, Digest.of(content))
    if ledger.record(result, attempt):
        outcome.kept += 1
    else:
        outcome.refused += 1


def _check(world: World, outcome: Outcome, all_dead: bool) -> None:
    """That the trial has one result, and the checkpoint that it names."""
    if outcome.kept > 1:
        world.broken.append(f"{outcome.kept} results were kept")
    if all_dead:
        return
    folder = f"trials/{TRIAL.id}"
    raw = world.files.get(f"{folder}/result.json")
    if raw is None:
        world.broken.append("there is no result")
        return
    record = json.loads(raw[0])
    places = (f"{folder}/checkpoint.pt", f"{folder}/{record['files']}/checkpoint.pt")
    found = next((world.files[place][0] for place in places if place in world.files), b"")
    if Digest.of(found).sha256 != record["checkpoint"]["sha256"]:
        world.broken.append("the checkpoint is not the one that the result names")


KINDS = {
    "one pause of two minutes": Faults(),
    "three workers, two pauses": Faults(actors=3, pauses=2),
    "late listings": Faults(pauses=2, late_seconds=20.0),
    "clocks an hour apart": Faults(pauses=2, skew_seconds=3600.0),
    "pauses and a death": Faults(actors=3, pauses=2, deaths=1, late_seconds=5.0, skew_seconds=60.0),
}


def main() -> None:
    """Run schedules of each kind, and say what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schedules", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    each = options.schedules // len(KINDS)
    for kind, faults in KINDS.items():
        total: Counter[str] = Counter()
        for seed in range(options.seed, options.seed + each):
            outcome = simulate(seed, faults)
            found = {"broken": bool(outcome.broken), "taken over": outcome.lost > 0, "second result": outcome.refused > 0}
            total.update(name for name, is_so in found.items() if is_so)
            if outcome.broken:
                print(f"  seed {seed}: {'; '.join(outcome.broken)}")
        print(
            f"{kind}: {each} schedules, {total['broken']} broken; in {total['taken over']} somebody was taken over, "
            f"in {total['second result']} a second result was refused"
        )


if __name__ == "__main__":
    main()
