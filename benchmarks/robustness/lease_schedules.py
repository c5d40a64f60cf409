"""Random schedules of workers that compete for one trial, with pauses, deaths, wrong clocks and late listings.

    python -m benchmarks.robustness.lease_schedules --schedules 30000

The code of leases, attempts and ledger is the real one; storage and time are simulated (`simulated_storage`). Each worker is two
coroutines: its work and its heartbeat. Once or twice in a schedule, a worker stands still for minutes.

Every schedule is checked: exactly one result is kept; the remaining checkpoint is the one that the result names; no checkpoint is
replaced by one with fewer epochs; and every worker that is alive ends.
"""

import argparse
import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from benchmarks.robustness.simulated_storage import WORLDS, Actor, Faults, MemoryPath, World
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.storage.file_facts import Digest
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
CELL = Cell(TrainingConfig.model_validate({"dataset": "mnist_svhn_text", "networks": "small", "model": "mopoe"}))
TRIAL = Trial(CELL, 0)


@dataclass(frozen=True)
class _HeartbeatCoroutine:
    """Replaces the heartbeat thread of a lease."""

    world: World
    beat: Callable[[], None]

    def start(self) -> None:
        """Starts the heartbeat."""
        self.world.start_beat(self.beat)

    def join(self) -> None:
        """Does nothing: the coroutine ends by itself."""


class SimulatedLease(Lease):
    """A lease whose heartbeat is a coroutine."""

    def __enter__(self) -> "SimulatedLease":
        world = WORLDS[self.storage.base]  # type: ignore[union-attr]
        self._thread = _HeartbeatCoroutine(world, lambda: self._beat_in(world))  # type: ignore[assignment]
        super().__enter__()
        return self

    def _beat_in(self, world: World) -> None:
        while not self._stop.is_set() and self._last_beat >= 0:
            world.sleep(heartbeat.beat_seconds(self.storage))
            if not self._stop.is_set() and self._last_beat >= 0:
                self._beat()


@dataclass
class Outcome:
    """The outcome of a schedule."""

    broken: list[str]
    """Violations of what must always hold."""
    kept: int = 0
    """Results that were kept."""
    trained: int = 0
    """Epochs that all workers trained."""
    lost: int = 0
    """How many times a worker lost its lease to another."""
    refused: int = 0
    """Results that were refused because another was there already."""


def every_order(begin: Callable[[World, MemoryPath], None]) -> Iterator[World]:
    """Yields the world after each possible order of the accesses to storage of the coroutines that `begin` starts.

    No time passes in these worlds.
    """
    choices: list[int] = []  # counts through all orders, like a number whose digits have different bases
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
    """Runs one schedule; returns its outcome."""
    rng = random.Random(seed)
    world = World(rng, faults)
    storage = MemoryPath(f"memory://{id(world)}")
    WORLDS[storage.base] = world
    outcome = Outcome(world.broken)
    world.pauses_at = {rng.randrange(150): rng.uniform(0.5, 1.5) * faults.pause_seconds for _ in range(faults.pauses)}
    world.deaths_at = {rng.randrange(150) for _ in range(faults.deaths)}
    actors = [Actor(number, rng.uniform(-1, 1) * faults.skew_seconds) for number in range(faults.actors)]
    try:
        with patched(world):
            for actor in actors:
                actor.watcher = heartbeat.Watcher(storage)
                world.start(actor, lambda: _work(world, storage, outcome))
            world.run()
    finally:
        del WORLDS[storage.base]
    _check(world, outcome, all(actor.dead for actor in actors))
    return outcome


@contextmanager
def patched(world: World) -> Iterator[None]:
    """Replaces what the real code knows of time, machine and process by the world's, while the context is active."""
    replacements: list[tuple[Any, str, Callable[..., Any]]] = [
        (heartbeat, "now", lambda: world.now + world.actor.skew),
        (heartbeat, "sleep", world.sleep),
        (heartbeat, "watcher", lambda storage: world.actor.watcher),
        (holder, "machine", lambda: f"machine {world.actor.number}"),
        (holder, "birth", lambda process: "0"),
        (attempts, "_epochs", _epochs_in),
    ]
    originals = [(module, name, getattr(module, name)) for module, name, _ in replacements]
    try:
        for module, name, function in replacements:
            setattr(module, name, function)
        yield
    finally:
        for module, name, function in originals:
            setattr(module, name, function)


def _epochs_in(trial: Trial, folder: MemoryPath) -> int:
    """Returns the epochs of the newest checkpoint in a folder, -1 for none."""
    epochs = -1
    for name in CHECKPOINTS:
        with suppress(FileNotFoundError):
            epochs = max(epochs, json.loads((folder / name).read_bytes())["epochs"])
    return epochs


def _work(world: World, storage: MemoryPath, outcome: Outcome) -> None:
    """Claims and trains the trial as a worker does, until the trial has a result."""
    ledger = Ledger(storage)
    while ledger.result(TRIAL) is None:
        try:
            with SimulatedLease(storage) as lease:
                if lease.claim(ledger.folder(TRIAL)) is None and ledger.result(TRIAL) is None:
                    _attempt(world, ledger, lease, outcome)
        except LeaseLost:
            outcome.lost += 1
        except FileNotFoundError:
            outcome.lost += 1  # the worker that took over has removed the file
        world.sleep(4.0)


def _attempt(world: World, ledger: Ledger, lease: Lease, outcome: Outcome) -> None:
    worker = lease.holder.token
    attempt = Attempt.of(ledger.folder(TRIAL), ledger.begin(TRIAL, worker), worker)
    attempts.adopt(TRIAL, attempt, ledger.folder(TRIAL))
    content = _train(world, attempt, lease, outcome)
    world.sleep(EVALUATION_SECONDS)
    lease.confirm()
    result = TrialResult(TRIAL, "completed", (), (), None, 0.0, 0.0, attempt.number, {}, Digest.of(content))
    if ledger.record(result, attempt):
        outcome.kept += 1
    else:
        outcome.refused += 1


def _train(world: World, attempt: Attempt, lease: Lease, outcome: Outcome) -> bytes:
    """Trains to the last epoch, from the attempt's checkpoint if there is one; returns the last checkpoint's content."""
    worker = lease.holder.token
    epochs = 0
    with suppress(FileNotFoundError):
        epochs = json.loads(attempt.checkpoint.read_bytes())["epochs"]
    content = b""
    while epochs < EPOCHS or not content:
        if epochs < EPOCHS:
            world.sleep(EPOCH_SECONDS)
            epochs, outcome.trained = epochs + 1, outcome.trained + 1
        content = json.dumps({"epochs": epochs, "by": worker}).encode()
        with suppress(FileNotFoundError):
            copy(attempt.checkpoint, attempt.folder / "checkpoint.before")
        attempt.checkpoint.write_bytes(content)
        lease.check()
    return content


def _check(world: World, outcome: Outcome, all_dead: bool) -> None:
    """Records a violation if the trial does not have exactly one result and the checkpoint that the result names."""
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
    paths = (f"{folder}/checkpoint.pt", f"{folder}/{record['files']}/checkpoint.pt")
    checkpoint = next((world.files[path][0] for path in paths if path in world.files), b"")
    if Digest.of(checkpoint).sha256 != record["checkpoint"]["sha256"]:
        world.broken.append("the checkpoint is not the one that the result names")


KINDS = {
    "one pause of two minutes": Faults(),
    "three workers, two pauses": Faults(actors=3, pauses=2),
    "late listings": Faults(pauses=2, late_seconds=20.0),
    "clocks an hour apart": Faults(pauses=2, skew_seconds=3600.0),
    "pauses and a death": Faults(actors=3, pauses=2, deaths=1, late_seconds=5.0, skew_seconds=60.0),
}


def main() -> None:
    """Runs schedules of each kind and prints how many were broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schedules", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    count = options.schedules // len(KINDS)
    for kind, faults in KINDS.items():
        broken, taken_over, refused = 0, 0, 0
        for seed in range(options.seed, options.seed + count):
            outcome = simulate(seed, faults)
            broken += bool(outcome.broken)
            taken_over += outcome.lost > 0
            refused += outcome.refused > 0
            if outcome.broken:
                print(f"  seed {seed}: {'; '.join(outcome.broken)}")
        print(
            f"{kind}: {count} schedules, {broken} broken; in {taken_over} a worker lost its lease to another, "
            f"in {refused} a second result was refused"
        )


if __name__ == "__main__":
    main()
