"""The front of a sweep that may still run. Without probabilities, which take long to compute. Pure."""

from collections.abc import Collection, Mapping, Sequence

from orchestrator.analysis import fronts
from orchestrator.analysis.aggregation import completed_of_each
from orchestrator.analysis.comparable_groups import FrontGroup, groups_of
from orchestrator.analysis.dominance import maximised, non_dominated, rows
from orchestrator.analysis.hypervolume import hypervolume
from orchestrator.ledger.result import TrialResult
from orchestrator.monitor.shown_front import FrontCell, ShownFront
from orchestrator.search import outcomes
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import labels


def current_fronts(spec: SweepSpec, results: Sequence[TrialResult]) -> list[ShownFront]:
    """Returns the front of each group of comparable cells: the cells with all their seeds that no other such cell beats.

    Groups without a complete cell are left out.
    """
    grouped, seeds = groups_of(spec, results), spec.seeds_by_cell
    feasible = {cell.id for cell in outcomes.feasible(spec, grouped.results)}
    fronts = [_front(spec, group, seeds, feasible) for group in grouped.groups]
    return [front for front in fronts if front is not None]


def _front(
    spec: SweepSpec, group: FrontGroup, seeds: Mapping[str, Sequence[int]], feasible: Collection[str]
) -> ShownFront | None:
    cells = [cell for cell in group.cells if cell.id in feasible]
    completed = completed_of_each(cells, {cell.id: seeds[cell.id] for cell in cells}, group.results)
    complete = [cell for cell in cells if len(completed[cell.id]) == len(seeds[cell.id])]
    if not complete:
        return None
    means = [fronts.means(completed[cell.id], spec.objectives) for cell in complete]
    is_on_front = non_dominated(rows(means, spec.objectives), maximised(spec.objectives))
    names = labels(cells)
    metrics = [objective.metric for objective in spec.objectives]
    front_cells = [
        FrontCell(cell.id, names[cell.id], len(seeds[cell.id]), dict(zip(metrics, cell_means, strict=True)))
        for cell, cell_means, on_front in zip(complete, means, is_on_front, strict=True)
        if on_front
    ]
    return ShownFront(group.label, front_cells, hypervolume(means, spec.objectives) if len(spec.objectives) > 1 else None)
