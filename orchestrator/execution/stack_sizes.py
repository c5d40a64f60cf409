"""How many trials of one shape a worker trains at once: the user's number, or the fastest as measured on this machine."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mopoe_core.config.roles import Role
from mopoe_core.config.training_config import TrainingConfig, fields_with
from mopoe_core.storage.paths import AnyPath
from orchestrator.errors import DamagedError
from orchestrator.execution.events import Observer, StackSizeChosen
from orchestrator.execution.queue.job import in_order
from orchestrator.ledger import records
from orchestrator.ledger.layout import Layout
from orchestrator.ledger.records import Identity
from orchestrator.spec.sections import Resources
from orchestrator.spec.trial import Trial


@dataclass(frozen=True)
class Measured:
    """How fast stacks of one shape are on one kind of machine; storage keeps it."""

    size: int
    """The fastest size; 1 if no stack is faster than single trials."""
    gain: dict[str, float]
    """By size, the time of its trials one after another divided by the time of the stack."""
    most: int
    """The largest size that was asked for."""
    limit: str
    """Why no larger size was tried: `most`, `slower`, `memory`, or the layer that does not stack."""
    machine: str

    def answers(self, most: int) -> bool:
        """Whether this measurement tells the best size of stacks of up to `most` trials."""
        return most <= self.most or self.limit != "most"


@dataclass(frozen=True)
class StackSizes:
    """Chooses the largest stack by shape."""

    resources: Resources
    why_unstackable: Callable[[dict[str, Any]], str]
    """Takes a configuration; returns why such trials do not stack, or an empty text if they do."""
    measure: Callable[[dict[str, Any], int], Measured]
    """Takes a configuration and the largest size in question; returns the best size on a worker's machine."""
    observer: Observer

    def choose(self, todo: Sequence[Trial], every: Sequence[Trial], slots: int) -> dict[str, int]:
        """Returns the largest stack by shape, for the shapes of `todo`; empty if nothing is to be stacked.

        Stacks are small enough that each of the `slots` workers gets some of the trials of that shape in `every`.
        """
        if self.resources.stack == 1:
            return {}
        counts = Counter(trial.config.shape for trial in every)
        first = {trial.config.shape: trial for trial in reversed(in_order(every))}
        shapes = dict.fromkeys(trial.config.shape for trial in todo)
        most = {shape: -(-counts[shape] // slots) for shape in shapes}  # divided by `slots` and rounded up
        return {shape: self._size(first[shape], largest) for shape, largest in most.items() if largest > 1}

    def _size(self, trial: Trial, most: int) -> int:
        config = trial.config.model_dump()
        if self.resources.stack != "auto":
            why_not = self.why_unstackable(config)
            size = 1 if why_not else self.resources.stack
            self.observer.notify(StackSizeChosen(trial.label, size, why_not=why_not))
            return size
        measured = self.measure(config, most)
        self.observer.notify(StackSizeChosen(trial.label, measured.size, measured.gain))
        return measured.size


def read(storage: AnyPath, config: TrainingConfig, machine: str) -> Measured | None:
    """Returns what was measured for a shape on a machine; None if nothing was, or if the record cannot be read."""
    path = _path(storage, config, machine)
    try:
        return Measured(**records.read(path, Identity("stack size", key=path.stem), bare=True))
    except (DamagedError, TypeError):
        return None


def write(storage: AnyPath, config: TrainingConfig, measured: Measured) -> None:
    """Write a measurement to storage."""
    path = _path(storage, config, measured.machine)
    records.write(path, Identity("stack size", key=path.stem), asdict(measured))


def _path(storage: AnyPath, config: TrainingConfig, machine: str) -> AnyPath:
    no_effect_on_speed = fields_with(Role.NO_EFFECT_ON_SPEED)
    shape = {name: value for name, value in json.loads(config.shape).items() if name not in no_effect_on_speed}
    key = hashlib.sha256(json.dumps([shape, config.model, machine], sort_keys=True).encode()).hexdigest()[:16]
    return Layout(storage).stack_size(key)
