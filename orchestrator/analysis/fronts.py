"""Fronts: which cells no other cell beats on every objective, how much they dominate, and how sure that is. Pure.

Dominance and hypervolume are moocore's (exact). Only complete cells take part: a mean over surviving seeds is not the cell's mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.analysis.aggregation import Seeds, completed_of_each, planned
from orchestrator.analysis.dominance import Floats, maximised, non_dominated, rows
from orchestrator.analysis.front_probability import front_probability, spread_probability
from orchestrator.analysis.hypervolume import hypervolume
from orchestrator.analysis.intervals import mean, summary
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.sections import Objective
from orchestrator.spec.trial import Cell, labels, series

FEWEST_SEEDS = 4
"""Seeds below which no probability of being on the front is shown: three seeds have ten different resamples, two have three."""


@dataclass(frozen=True)
class Point:
    """A complete cell among the objectives."""

    cell_id: str
    label: str
    series: str
    beta: float
    n: int
    means: tuple[float, ...]
    sds: tuple[float, ...]
    on_front: bool
    probability: float | None
    """How sure it is that the cell is on the front (`front_probability`); None for a single seed, and where it was not asked for."""

    @property
    def shown_probability(self) -> float | None:
        """The probability for a reader; None below `FEWEST_SEEDS` seeds. A search decides on further seeds by the other one."""
        return self.probability if self.n >= FEWEST_SEEDS else None


@dataclass(frozen=True)
class LeftOut:
    """A cell that does not have all its seeds."""

    cell_id: str
    label: str
    series: str
    beta: float
    n: int
    n_planned: int
    means: tuple[float, ...]
    """Over the seeds it has, an objective each; empty if it has none. For showing, never for comparing."""


@dataclass(frozen=True)
class Front:
    """All complete cells, with those on the front marked."""

    objectives: tuple[Objective, ...]
    points: tuple[Point, ...]
    hypervolume: float | None
    """Of the front, against the references that the spec states; None if an objective states none."""
    left_out: tuple[LeftOut, ...]
    series: tuple[str, ...]
    """Every line of a figure, in the order of its legend."""

    @property
    def members(self) -> tuple[Point, ...]:
        """The points on the front."""
        return tuple(point for point in self.points if point.on_front)


def front(
    objectives: Sequence[Objective],
    cells: Sequence[Cell],
    seeds: Seeds,
    results: Sequence[TrialResult],
    pooled: bool = False,
    probabilities: bool = True,
) -> Front:
    """The front of a sweep's cells.

    How probable it is that each cell is on the front is a bootstrap over the seeds that all cells share (`front_probability`). Where
    cells differ in their seeds, or may come to (`pooled`), it is taken from the spread of all cells (`spread_probability`).
    `probabilities` leaves it out: with more than six seeds it takes most of the time.
    """
    short, lines = labels(cells), series(cells)
    completed, wanted = completed_of_each(cells, seeds, results), planned(cells, seeds)
    complete = [cell for cell in cells if len(completed[cell.id]) == len(wanted[cell.id])]
    incomplete = [cell for cell in cells if len(completed[cell.id]) < len(wanted[cell.id])]
    values_CSO = [_values(completed[cell.id], objectives) for cell in complete]
    means_CO = rows([means(completed[cell.id], objectives) for cell in complete], objectives)
    on_front_C = non_dominated(means_CO, maximised(objectives))
    same_seeds = not pooled and len({tuple(own) for own in wanted.values()}) <= 1
    probability_C = _probability(values_CSO, objectives, same_seeds) if probabilities else None
    points = []
    for place, cell in enumerate(complete):
        summaries = [summary(column.tolist()) for column in values_CSO[place].T]
        points.append(
            Point(
                cell_id=cell.id,
                label=short[cell.id],
                series=lines[cell.id],
                beta=cell.config.beta,
                n=len(wanted[cell.id]),
                means=tuple(one.mean for one in summaries),
                sds=tuple(one.sd for one in summaries),
                on_front=bool(on_front_C[place]),
                probability=None if probability_C is None else float(probability_C[place]),
            )
        )
    left_out = tuple(
        LeftOut(
            cell_id=cell.id,
            label=short[cell.id],
            series=lines[cell.id],
            beta=cell.config.beta,
            n=len(completed[cell.id]),
            n_planned=len(wanted[cell.id]),
            means=means(completed[cell.id], objectives),
        )
        for cell in incomplete
    )
    volume = hypervolume(means_CO, objectives)
    return Front(tuple(objectives), tuple(points), volume, left_out, tuple(dict.fromkeys(lines.values())))


def means(results: Sequence[TrialResult], objectives: Sequence[Objective]) -> tuple[float, ...]:
    """The mean of each objective over the results; empty for no results."""
    if not results:
        return ()
    return tuple(mean([objective_value(result, objective) for result in results]) for objective in objectives)


def objective_value(result: TrialResult, objective: Objective) -> float:
    """The objective's value of a completed trial: the spec admits only metrics that every trial reports."""
    value = result.value(objective.metric)
    assert value is not None, f"{result.trial.id} has no {objective.metric}"
    return value


def _probability(values_CSO: Sequence[Floats], objectives: Sequence[Objective], same_seeds: bool) -> Floats | None:
    if same_seeds:
        return front_probability(np.array(values_CSO), maximised(objectives))
    return spread_probability(values_CSO, maximised(objectives))


def _values(results: Sequence[TrialResult], objectives: Sequence[Objective]) -> Floats:
    """(S, O)."""
    values = [[objective_value(result, objective) for objective in objectives] for result in results]
    return np.array(values, dtype=np.float64)
