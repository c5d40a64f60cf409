"""The front of a sweep that is not over, without what takes long: no probabilities. Pure."""

from collections.abc import Sequence

import numpy as np

from orchestrator import outcomes, pareto
from orchestrator.aggregate import completed_of_each, planned
from orchestrator.spec import SweepSpec, seeds_of
from orchestrator.trial import TrialResult, labels


def front_lines(spec: SweepSpec, found: Sequence[TrialResult]) -> list[str]:
    """A line a cell that has all its seeds and that no other beats, and the hypervolume where the spec states references."""
    cells, seeds = outcomes.feasible(spec, found), seeds_of(spec)
    wanted, completed = planned(cells, seeds), completed_of_each(cells, seeds, found)
    complete = [cell for cell in cells if len(completed[cell.id]) == len(wanted[cell.id])]
    if not complete:
        return []
    means = [pareto.means(completed[cell.id], spec.objectives) for cell in complete]
    member = pareto.non_dominated(np.array(means), np.array([objective.goal == "max" for objective in spec.objectives]))
    names, lines = labels(cells), []
    for cell, own, is_on in zip(complete, means, member, strict=True):
        if is_on:
            values = ", ".join(f"{o.metric} {mean:.4g}" for o, mean in zip(spec.objectives, own, strict=True))
            lines.append(f"{names[cell.id]}: {values}")
    volume = pareto.hypervolume_of(means, spec.objectives) if len(spec.objectives) > 1 else None
    return lines if volume is None else [*lines, f"hypervolume {volume:.4g}"]
