"""Which trials make a stack. Pure but for reading the ledger.

A stack that was begun is formed again of the same trials, so that a sweep that was cut ends as one that was not. Other trials are stacked
with those of their shape, of one model as far as may be, in stacks that differ in size by one at most and leave no worker idle.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from mopoe_core.config.roles import Role
from mopoe_core.config.training_config import TrainingConfig, fields_with
from mopoe_core.storage.files import AnyPath
from orchestrator.errors import DamagedError
from orchestrator.ledger import records
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import Identity
from orchestrator.spec.trial import Trial


@dataclass(frozen=True)
class Measured:
    """How fast stacks of one shape are on one kind of machine, as storage remembers it."""

    size: int
    """The fastest; 1 where none is worth it."""
    gain: dict[str, float]
    """Size to the time of its trials one after another over that of the stack."""
    most: int
    """The largest size that was asked for."""
    limit: str
    """Why no larger size was tried: `most`, `slower`, `memory`, or the layer that does not stack."""
    machine: str

    def answers(self, most: int) -> bool:
        """Whether it says what is best for stacks of up to this size."""
        return most <= self.most or self.limit != "most"


def form(
    todo: Sequence[Trial], every: Sequence[Trial], sizes: Mapping[str, int], slots: int, ledger: Ledger
) -> list[tuple[Trial, ...]]:
    """Stacks of what is to do, in the order of their first trials.

    Stacks are made of `every` trial of the sweep, and those that have ended are then left out: so they do not depend on when the sweep
    was cut. `sizes` is the largest stack by shape, 1 for shapes that it does not have; `slots` is how many workers there are.
    """
    if not sizes:
        return [(trial,) for trial in todo]
    place = {trial: i for i, trial in enumerate(todo)}
    begun: dict[tuple[str, ...], list[Trial]] = {}
    for trial in todo:
        together = ledger.stack(trial) if sizes.get(trial.config.shape, 1) > 1 else ()
        if together:
            begun.setdefault(together, []).append(trial)
    stacks = [tuple(sorted(members, key=lambda trial: ids.index(trial.id))) for ids, members in begun.items()]
    taken = {trial for stack in stacks for trial in stack}
    alike: dict[str, list[Trial]] = {}
    for trial in every:
        alike.setdefault(trial.config.shape, []).append(trial)
    for shape, members in alike.items():
        whole = _cut(members, sizes.get(shape, 1), slots)
        stacks += [left for stack in whole if (left := tuple(trial for trial in stack if trial in place and trial not in taken))]
    return sorted(stacks, key=lambda stack: min(place[trial] for trial in stack))


def _cut(members: Sequence[Trial], size: int, slots: int) -> list[tuple[Trial, ...]]:
    """Stacks of at most `size`, as many as keep all workers busy to the end."""
    if size == 1:
        return [(member,) for member in members]
    one_model = sorted(members, key=lambda trial: (trial.config.model, trial.config.estimator, trial.config.kl))
    fewest = -(-len(members) // size)
    count = min(len(members), -(-fewest // slots) * slots)
    bounds = [len(members) * i // count for i in range(count + 1)]
    return [tuple(one_model[a:b]) for a, b in zip(bounds, bounds[1:], strict=False)]


def remembered(storage: AnyPath, config: TrainingConfig, machine: str) -> Measured | None:
    """What storage knows of a shape on a machine; None where it was not measured, or what is there cannot be read."""
    path = _path(storage, config, machine)
    try:
        return Measured(**records.read(path, Identity("stack size", key=path.stem), bare=True))
    except (DamagedError, TypeError):
        return None


def remember(storage: AnyPath, config: TrainingConfig, measured: Measured) -> None:
    """Keep what was measured."""
    path = _path(storage, config, measured.machine)
    records.write(path, Identity("stack size", key=path.stem), asdict(measured))


def _path(storage: AnyPath, config: TrainingConfig, machine: str) -> AnyPath:
    speedless = fields_with(Role.SPEEDLESS)
    shape = {name: value for name, value in json.loads(config.shape).items() if name not in speedless}
    key = hashlib.sha256(json.dumps([shape, config.model, machine], sort_keys=True).encode()).hexdigest()[:16]
    return storage / "stacks" / f"{key}.json"
