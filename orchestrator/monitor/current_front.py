"""The front of a sweep that is not over, without probabilities, which take long. Pure."""

from collections.abc import Collection, Mapping, Sequence

from orchestrator.analysis import fronts
from orchestrator.analysis.aggregation import completed_of_each
from orchestrator.analysis.comparable_groups import FrontGroup, groups_of
from orchestrator.analysis.dominance import maximised, non_dominated, rows
from orchestrator.analysis.hypervolume import hypervolume
from orchestrator.ledger.result import TrialResult
from orchestrator.search import outcomes
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import labels


def front_lines(spec: SweepSpec, results: Sequence[TrialResult]) -> list[str]:
    """A line for each cell that has all its seeds and that no other cell of its group beats; then the hypervolume, where the spec states
    references.

    Where the sweep has several groups of cells that may be compared, each line begins with the label of its group.
    """
    grouped, seeds = groups_of(spec, results), spec.seeds_by_cell
    feasible = {cell.id for cell in outcomes.feasible(spec, grouped.results)}
    lines = []
    for group in grouped.groups:
        heading = f"{group.label}: " if group.label else ""
        lines += [heading + line for line in _lines(spec, group, seeds, feasible)]
    return lines


def _lines(spec: SweepSpec, group: FrontGroup, seeds: Mapping[str, Sequence[int]], feasible: Collection[str]) -> list[str]:
    cells = [cell for cell in group.cells if cell.id in feasible]
    completed = completed_of_each(cells, {cell.id: seeds[cell.id] for cell in cells}, group.results)
    complete = [cell for cell in cells if len(completed[cell.id]) == len(seeds[cell.id])]
    if not complete:
        return []
    means = [fronts.means(completed[cell.id], spec.objectives) for cell in complete]
    member = non_dominated(rows(means, spec.objectives), maximised(spec.objectives))
    names, lines = labels(cells), []
    for cell, cell_means, on_front in zip(complete, means, member, strict=True):
        if on_front:
            values = ", ".join(f"{o.metric} {mean:.4g}" for o, mean in zip(spec.objectives, cell_means, strict=True))
            lines.append(f"{names[cell.id]}: {values}")
    volume = hypervolume(means, spec.objectives) if len(spec.objectives) > 1 else None
    return lines if volume is None else [*lines, f"hypervolume {volume:.4g}"]
