"""Which cells of a finished search get one more seed. Pure."""

from collections.abc import Sequence

from orchestrator.analysis import fronts
from orchestrator.analysis.comparable_groups import groups_of
from orchestrator.ledger.result import TrialResult
from orchestrator.search.outcomes import feasible
from orchestrator.spec.sections import Replicates
from orchestrator.spec.sweep_spec import SweepSpec


def undecided_cells(spec: SweepSpec, results: Sequence[TrialResult]) -> list[str]:
    """Returns the ids of cells that may or may not be on the front, by their seeds so far, and that have fewer than the most seeds."""
    limits = spec.seeds
    if not isinstance(limits, Replicates):
        return []
    seeds, comparable = spec.seeds_by_cell, groups_of(spec, results).results
    front = fronts.front(spec.objectives, feasible(spec, comparable), seeds, comparable, pooled=True)
    return [
        point.cell_id
        for point in front.points
        if point.probability is not None
        and 1 - limits.until < point.probability < limits.until
        and len(seeds[point.cell_id]) < limits.max
    ]
