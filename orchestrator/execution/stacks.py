"""Which trials make a stack. Reads the ledger and writes nothing.

A stack that was begun is formed again from the same trials, so that an interrupted sweep has the same results as one that was not. Other
trials are stacked by shape, and by model where possible. The stacks of a shape differ in size by one at most, and leave no worker idle.
Seeds of one cell are in one stack where possible, so that cells are complete early and the front grows while the sweep runs.
"""

from collections.abc import Mapping, Sequence

from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.trial import Trial


def form(
    todo: Sequence[Trial], every: Sequence[Trial], sizes: Mapping[str, int], slots: int, ledger: Ledger
) -> list[tuple[Trial, ...]]:
    """Returns stacks of the trials in `todo`, in the order of their first trials.

    Stacks are made from all trials of the sweep (`every`), and trials that have ended are then left out. So the stacks do not depend on
    when the sweep was interrupted. `sizes` has the largest stack by shape; shapes that it lacks are not stacked. `slots` is how many
    workers there are.
    """
    if not sizes:
        return [(trial,) for trial in todo]
    place = {trial: i for i, trial in enumerate(todo)}
    stacks = _begun(todo, sizes, ledger)
    in_begun_stack = {trial for stack in stacks for trial in stack}
    by_shape: dict[str, list[Trial]] = {}
    for trial in every:
        by_shape.setdefault(trial.config.shape, []).append(trial)
    for shape, trials in by_shape.items():
        for stack in _cut(trials, sizes.get(shape, 1), slots):
            left = tuple(trial for trial in stack if trial in place and trial not in in_begun_stack)
            if left:
                stacks.append(left)
    return sorted(stacks, key=lambda stack: min(place[trial] for trial in stack))


def _begun(todo: Sequence[Trial], sizes: Mapping[str, int], ledger: Ledger) -> list[tuple[Trial, ...]]:
    """Returns the stacks that an earlier command has begun, each with those of its trials that are in `todo`."""
    begun: dict[tuple[str, ...], list[Trial]] = {}
    for trial in todo:
        stack_ids = ledger.stack(trial) if sizes.get(trial.config.shape, 1) > 1 else ()
        if stack_ids:
            begun.setdefault(stack_ids, []).append(trial)
    return [tuple(sorted(trials, key=lambda trial: ids.index(trial.id))) for ids, trials in begun.items()]


def _cut(trials: Sequence[Trial], size: int, slots: int) -> list[tuple[Trial, ...]]:
    """Returns stacks of at most `size` trials: a multiple of `slots` stacks if there are enough trials, so that no worker is idle."""
    if size == 1:
        return [(trial,) for trial in trials]
    cells = {cell: place for place, cell in enumerate(dict.fromkeys(trial.cell for trial in trials))}
    by_model = sorted(trials, key=lambda trial: (trial.config.model, trial.config.estimator, trial.config.kl, cells[trial.cell]))
    fewest = -(-len(trials) // size)  # rounded up
    count = min(len(trials), -(-fewest // slots) * slots)
    bounds = [len(trials) * i // count for i in range(count + 1)]
    return [tuple(by_model[a:b]) for a, b in zip(bounds, bounds[1:], strict=False)]
