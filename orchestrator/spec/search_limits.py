"""When a search proposes no further cell. Pure. The engine, the plan and the shown progress ask the same functions."""

from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import Protocol

from orchestrator.spec.search_block import Search, Stop
from orchestrator.spec.search_space import Space
from orchestrator.spec.sections import Objective
from orchestrator.spec.trial import spelled

MOST_REPEATS = 100
"""A search ends after this number of proposals of known cells in a row: its space is then taken to be exhausted."""

Means = tuple[float, ...]
"""The mean over a cell's seeds of each objective; empty if the cell did not complete, or breaks a constraint."""


class Proposed(Protocol):
    """What the limits read of a proposal."""

    @property
    def cell_id(self) -> str:
        """Empty if the draw was no valid cell."""

    @property
    def same_as(self) -> int | None:
        """None only if the proposal is the first of its cell."""

    @property
    def source(self) -> str:
        """The sweep of `warm_start` that had the cell; empty if none had it."""


def own_cells(proposals: Iterable[Proposed]) -> int:
    """Returns how many cells a search has found itself. Cells of `warm_start`, repeated cells and impossible draws do not count."""
    return sum(proposal.same_as is None and not proposal.source for proposal in proposals)


def cells_to_come(search: Search, own: int) -> int:
    """Returns how many cells a search may still propose after `own` cells, unless it ends early. A grid has no more cells than points."""
    most = min(search.cells, Space(search).grid_size()) if search.sampler == "grid" else search.cells
    return max(0, most - own)


def why_exhausted(proposals: Sequence[Proposed]) -> str:
    """Returns why the space is taken to be exhausted; empty if it is not. Impossible draws are passed over."""
    possible = (proposal for proposal in reversed(proposals) if proposal.cell_id)
    repeats = sum(1 for _ in takewhile(lambda proposal: proposal.same_as is not None, possible))
    return f"{repeats} proposals were known cells" if repeats >= MOST_REPEATS else ""


def why_stopped(stop: Stop, objectives: Sequence[Objective], trial_hours: float, ended: Sequence[Means]) -> str:
    """Returns which limit of `stop` a search has reached; empty if none.

    `trial_hours` is what its trials have taken. `ended` has the means of each cell that has ended, in the order of the proposals.
    """
    if stop.trial_hours is not None and trial_hours >= stop.trial_hours:
        return f"{trial_hours:.3g} of {spelled(stop.trial_hours)} trial hours are used"
    if stop.no_gain and (count := cells_without_gain(ended, objectives)) >= stop.no_gain:
        return f"{count} cells have not raised the hypervolume"
    return ""


def cells_without_gain(ended: Sequence[Means], objectives: Sequence[Objective]) -> int:
    """Returns how many cells have ended since the hypervolume last rose; 0 if it has never risen. Every objective has a reference.

    A cell raises it if the cell is better than the reference in every objective, and no earlier cell is as good in every one.
    """
    signs = [1.0 if objective.goal == "max" else -1.0 for objective in objectives]
    reference = [sign * (objective.reference or 0.0) for sign, objective in zip(signs, objectives, strict=True)]
    front: list[list[float]] = []
    last_gain: int | None = None
    for place, means in enumerate(ended):
        values = [sign * mean for sign, mean in zip(signs, means, strict=True)] if means else []
        if values and _is_better(values, reference) and not any(_is_as_good(other, values) for other in front):
            front = [*(other for other in front if not _is_as_good(values, other)), values]
            last_gain = place
    return 0 if last_gain is None else len(ended) - 1 - last_gain


def _is_better(values: Sequence[float], others: Sequence[float]) -> bool:
    return all(value > other for value, other in zip(values, others, strict=True))


def _is_as_good(values: Sequence[float], others: Sequence[float]) -> bool:
    return all(value >= other for value, other in zip(values, others, strict=True))
