"""Fronts: the cells that no other cell beats on every objective, their hypervolume, and how sure the front is. Pure.

Moocore computes dominance and hypervolume exactly. Only complete cells take part: the mean over the seeds that survived is not the mean
of the cell.
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
"""With fewer seeds, no probability of being on the front is shown: three seeds have ten different resamples, two have three."""


@dataclass(frozen=True)
class Point:
    """A complete cell, with its mean of each objective."""

    cell_id: str
    label: str
    series: str
    beta: float
    n: int
    means: tuple[float, ...]
    sds: tuple[float, ...]
    on_front: bool
    probability: float | None
    """The probability that the cell is on the front (`front_probability`); None for a single seed, or if it was not computed."""

    @property
    def shown_probability(self) -> float | None:
        """The probability as reports show it; None for fewer than `FEWEST_SEEDS` seeds. A search uses `probability` for any number."""
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
    """The mean of each objective over the completed seeds; empty if there are none. To be shown, and never to be compared."""


@dataclass(frozen=True)
class Front:
    """All complete cells, with those on the front marked."""

    objectives: tuple[Objective, ...]
    points: tuple[Point, ...]
    hypervolume: float | None
    """The front's hypervolume against the references of the objectives; None if an objective has no reference."""
    left_out: tuple[LeftOut, ...]
    series: tuple[str, ...]
    """The series of all cells, in the order of a figure's legend."""

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
    """Returns the front of a sweep's cells.

    If all cells share their seeds, the probability that a cell is on the front is a bootstrap over these seeds (`front_probability`). If
    cells have different seeds, or may get some later (`pooled`), it comes from the spread of all cells (`spread_probability`).
    Without `probabilities` it is not computed: with more than six seeds it takes most of the time.
    """
    label_of, series_of = labels(cells), series(cells)
    completed, planned_seeds = completed_of_each(cells, seeds, results), planned(cells, seeds)
    complete = [cell for cell in cells if len(completed[cell.id]) == len(planned_seeds[cell.id])]
    incomplete = [cell for cell in cells if len(completed[cell.id]) < len(planned_seeds[cell.id])]
    values_CSO = [_values(completed[cell.id], objectives) for cell in complete]
    means_CO = rows([means(completed[cell.id], objectives) for cell in complete], objectives)
    on_front_C = non_dominated(means_CO, maximised(objectives))
    same_seeds = not pooled and len({tuple(of_cell) for of_cell in planned_seeds.values()}) <= 1
    probability_C = _probabilities(values_CSO, objectives, same_seeds) if probabilities else [None] * len(complete)
    points = [
        _point(cell, label_of[cell.id], series_of[cell.id], values_SO, bool(on_front), probability)
        for cell, values_SO, on_front, probability in zip(complete, values_CSO, on_front_C, probability_C, strict=True)
    ]
    left_out = [
        _left_out(cell, label_of[cell.id], series_of[cell.id], completed[cell.id], len(planned_seeds[cell.id]), objectives)
        for cell in incomplete
    ]
    return Front(
        objectives=tuple(objectives),
        points=tuple(points),
        hypervolume=hypervolume(means_CO, objectives),
        left_out=tuple(left_out),
        series=tuple(dict.fromkeys(series_of.values())),
    )


def means(results: Sequence[TrialResult], objectives: Sequence[Objective]) -> tuple[float, ...]:
    """Returns the mean of each objective over the results; empty if there are no results."""
    if not results:
        return ()
    return tuple(mean([objective_value(result, objective) for result in results]) for objective in objectives)


def objective_value(result: TrialResult, objective: Objective) -> float:
    """Returns the objective's value of a completed trial. Every completed trial has one: the spec allows no other metrics."""
    value = result.value(objective.metric)
    assert value is not None, f"{result.trial.id} has no {objective.metric}"
    return value


def _point(cell: Cell, label: str, series_name: str, values_SO: Floats, on_front: bool, probability: float | None) -> Point:
    """Returns the point of a complete cell, from the objectives of its seeds."""
    summaries = [summary(column.tolist()) for column in values_SO.T]
    return Point(
        cell_id=cell.id,
        label=label,
        series=series_name,
        beta=cell.config.beta,
        n=len(values_SO),
        means=tuple(over_seeds.mean for over_seeds in summaries),
        sds=tuple(over_seeds.sd for over_seeds in summaries),
        on_front=on_front,
        probability=probability,
    )


def _left_out(
    cell: Cell, label: str, series_name: str, results: Sequence[TrialResult], n_planned: int, objectives: Sequence[Objective]
) -> LeftOut:
    """Returns a cell that does not have all its seeds, from the results of those that completed."""
    return LeftOut(
        cell_id=cell.id,
        label=label,
        series=series_name,
        beta=cell.config.beta,
        n=len(results),
        n_planned=n_planned,
        means=means(results, objectives),
    )


def _probabilities(values_CSO: Sequence[Floats], objectives: Sequence[Objective], same_seeds: bool) -> list[float | None]:
    """Returns for each complete cell the probability that it is on the front; None for each if it cannot be computed."""
    if same_seeds:
        probability_C = front_probability(np.array(values_CSO), maximised(objectives))
    else:
        probability_C = spread_probability(values_CSO, maximised(objectives))
    return [None] * len(values_CSO) if probability_C is None else probability_C.tolist()


def _values(results: Sequence[TrialResult], objectives: Sequence[Objective]) -> Floats:
    """Returns the objectives of each result, an array (S, O)."""
    values = [[objective_value(result, objective) for objective in objectives] for result in results]
    return np.array(values, dtype=np.float64)
