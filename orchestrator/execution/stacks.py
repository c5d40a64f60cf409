"""Which trials make a stack. Pure but for reading the ledger.

A stack that was begun is formed again of the same trials, so that a sweep that was cut ends as one that was not. Other trials are stacked
with those of their shape, of one model as far as may be, in stacks that differ in size by one at most and leave no worker idle. Seeds of
one cell stand together, so that cells are complete early, and the front grows while the sweep runs.
"""

from collections.abc import Mapping, Sequence

from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.trial import Trial


def form(
    todo: Sequence[Trial], every: Sequence[Trial], sizes: Mapping[str, int], slots: int, ledger: Ledger
) -> list[tuple[Trial, ...]]:
    """Returns stacks of what is to do, in the order of their first trials.

    Stacks are made of `every` trial of the sweep, and those that have ended are then left out: so they do not depend on when the sweep
    was cut. `sizes` is the largest stack by shape, 1 for shapes that it does not have; `slots` is how many workers there are.
    """
    if not sizes:
        return [(trial,) for trial in todo]
    place = {trial: i for i, trial in enumerate(todo)}
    stacks = _begun(todo, sizes, ledger)
    taken = {trial for stack in stacks for trial in stack}
    by_shape: dict[str, list[Trial]] = {}
    for trial in every:
        by_shape.setdefault(trial.config.shape, []).append(trial)
    for shape, members in by_shape.items():
        for stack in _cut(members, sizes.get(shape, 1), slots):
            left = tuple(trial for trial in stack if trial in place and trial not in taken)
            stacks += [left] if left else []
    return sorted(stacks, key=lambda stack: min(place[trial] for trial in stack))


def _begun(todo: Sequence[Trial], sizes: Mapping[str, int], ledger: Ledger) -> list[tuple[Trial, ...]]:
    """Returns the stacks that an earlier sweep has begun, of the trials that are left of them."""
    begun: dict[tuple[str, ...], list[Trial]] = {}
    for trial in todo:
        stack_ids = ledger.stack(trial) if sizes.get(trial.config.shape, 1) > 1 else ()
        if stack_ids:
            begun.setdefault(stack_ids, []).append(trial)
    return [tuple(sorted(members, key=lambda trial: ids.index(trial.id))) for ids, members in begun.items()]


def _cut(members: Sequence[Trial], size: int, slots: int) -> list[tuple[Trial, ...]]:
    """Returns stacks of at most `size`, as many as keep all workers busy to the end."""
    if size == 1:
        return [(member,) for member in members]
    cells = {cell: place for place, cell in enumerate(dict.fromkeys(trial.cell for trial in members))}
    by_model = sorted(members, key=lambda trial: (trial.config.model, trial.config.estimator, trial.config.kl, cells[trial.cell]))
    fewest = -(-len(members) // size)
    count = min(len(members), -(-fewest // slots) * slots)
    bounds = [len(members) * i // count for i in range(count + 1)]
    return [tuple(by_model[a:b]) for a, b in zip(bounds, bounds[1:], strict=False)]
