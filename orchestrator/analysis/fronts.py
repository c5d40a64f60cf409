"""Fronts: which cells no other cell beats on every objective, how much they dominate, and how sure that is. Pure.

Dominance and hypervolume are moocore's (exact). Only complete cells take part: a mean over surviving seeds is not the cell's mean.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import moocore
import numpy as np
from numpy.typing import NDArray

from orchestrator.analysis.aggregation import Seeds, completed_of_each, planned, summary
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.sections import Objective
from orchestrator.spec.trial import Cell, labels, series, spelled

ENUMERATED_SEEDS = 6  # 6^6 = 46,656 resamples are 462 distinct ones; beyond, 10,000 are drawn
RESAMPLES = 10_000
RESAMPLES_AT_ONCE = 100
"""Means of all resamples of two thousand cells would take 320 MB."""

Floats = NDArray[np.float64]


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
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    on_front: bool
    probability: float | None
    """How sure it is that the cell is on the front; None where there is but a single seed. See `front`."""


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


def front(
    objectives: Sequence[Objective], cells: Sequence[Cell], seeds: Seeds, results: Sequence[TrialResult], pooled: bool = False
) -> Front:
    """The front of a sweep's cells.

    The probability that a cell is on the front is a paired bootstrap over seeds: seeds are drawn with replacement, the same for
    every cell (they are shared), means and front are taken again. It assumes that the seeds are an independent random sample; it
    says nothing of the test set, which all cells share. With few seeds it is coarse and too sure of itself (two seeds give three
    different resamples), and with one it says nothing. Where cells differ in their seeds, or may come to
    (`pooled`), see `spread_probability`.
    """
    short, lines = labels(cells), series(cells)
    found, wanted = completed_of_each(cells, seeds, results), planned(cells, seeds)
    complete = [cell for cell in cells if len(found[cell.id]) == len(wanted[cell.id])]
    left_out = tuple(
        LeftOut(
            c.id, short[c.id], lines[c.id], c.config.beta, len(found[c.id]), len(wanted[c.id]), means(found[c.id], objectives)
        )
        for c in cells
        if len(found[c.id]) < len(wanted[c.id])
    )
    values_SO = [_values(found[cell.id], objectives) for cell in complete]
    maximise = np.array([objective.goal == "max" for objective in objectives])
    means_CO = np.array([means(found[cell.id], objectives) for cell in complete], dtype=np.float64)
    means_CO = means_CO.reshape(len(complete), len(objectives))
    member = non_dominated(means_CO, maximise)
    alike = not pooled and len({tuple(own) for own in wanted.values()}) <= 1
    probability = front_probability(np.array(values_SO), maximise) if alike else spread_probability(values_SO, maximise)
    points = []
    for i, cell in enumerate(complete):
        parts = [summary(values_SO[i][:, o].tolist()) for o in range(len(objectives))]
        mean, sd, low, high = (tuple(part[key] for part in parts) for key in ("mean", "sd", "low", "high"))
        likely = None if probability is None else float(probability[i])
        points.append(
            Point(
                cell.id,
                short[cell.id],
                lines[cell.id],
                cell.config.beta,
                len(wanted[cell.id]),
                mean,
                sd,
                low,
                high,
                bool(member[i]),
                likely,
            )
        )
    volume = _hypervolume(means_CO, objectives, maximise)
    return Front(tuple(objectives), tuple(points), volume, left_out, tuple(dict.fromkeys(lines.values())))


def non_dominated(values_CO: Floats, maximise: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(C,): cells that no other cell equals or beats everywhere and beats somewhere; equal cells stay together."""
    if len(values_CO) == 0:
        return np.zeros(0, dtype=bool)
    kept: NDArray[np.bool_] = moocore.is_nondominated(values_CO, maximise=maximise.tolist(), keep_weakly=True)
    return kept


def front_probability(values_CSO: Floats, maximise: NDArray[np.bool_]) -> Floats | None:
    """(C,): in what share of the resamples of the S seeds each cell is on the front; None for fewer than two seeds."""
    if len(values_CSO) == 0 or values_CSO.shape[1] < 2:
        return None
    seeds = values_CSO.shape[1]
    counts_RS, weights_R = _resamples(seeds)
    share: Floats = np.zeros(len(values_CSO))
    for start in range(0, len(weights_R), RESAMPLES_AT_ONCE):
        now = slice(start, start + RESAMPLES_AT_ONCE)
        means_RCO = np.einsum("rs,cso->rco", counts_RS[now] / seeds, values_CSO)
        for means_CO, weight in zip(means_RCO, weights_R[now], strict=True):
            share += weight * non_dominated(means_CO, maximise)
    return share


def spread_probability(values_SO: Sequence[Floats], maximise: NDArray[np.bool_]) -> Floats | None:
    """(C,): how probable it is that each cell is on the front, for cells with seeds of their own, an array (S, O) each.

    The mean of a cell with n seeds is taken as normal with the variance over seeds divided by n, and that variance as the same for
    all cells: few seeds a cell say little of it, and all together say enough. Objectives are taken as independent over seeds.
    10,000 draws with Student's t for the pooled variance; None where no cell has two seeds.
    """
    spare = sum(len(values) - 1 for values in values_SO)
    if spare < 1:
        return None
    means_CO = np.array([values.mean(0) for values in values_SO])
    squares_CO = np.array([((values - values.mean(0)) ** 2).sum(0) for values in values_SO])
    scale_CO = np.sqrt(squares_CO.sum(0) / spare / np.array([[len(values)] for values in values_SO]))
    drawn = np.random.default_rng(0)
    share: Floats = np.zeros(len(values_SO))
    for _ in range(RESAMPLES):
        noise_CO = drawn.standard_normal(means_CO.shape) / np.sqrt(drawn.chisquare(spare) / spare)
        share += non_dominated(means_CO + scale_CO * noise_CO, maximise)
    return share / RESAMPLES


def _resamples(seeds: int) -> tuple[Floats, Floats]:
    """How often each seed is drawn (R, S), and each resample's probability (R,): all of them, or 10,000 at random."""
    if seeds > ENUMERATED_SEEDS:
        drawn = np.random.default_rng(0).multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES)
        return drawn.astype(np.float64), np.full(RESAMPLES, 1 / RESAMPLES)
    multisets = [Counter(drawn) for drawn in combinations_with_replacement(range(seeds), seeds)]
    counts = np.array([[multiset[s] for s in range(seeds)] for multiset in multisets], dtype=np.float64)
    ways = [math.factorial(seeds) / math.prod(math.factorial(c) for c in multiset.values()) for multiset in multisets]
    return counts, np.array(ways) / seeds**seeds


def hypervolume_of(values: Sequence[Sequence[float]], objectives: Sequence[Objective]) -> float | None:
    """Of points with these objectives, against the references; None if an objective states none."""
    maximise = np.array([objective.goal == "max" for objective in objectives])
    return _hypervolume(np.array(values, dtype=np.float64).reshape(-1, len(objectives)), objectives, maximise)


def front_of(values: Sequence[tuple[float, ...]], objectives: Sequence[Objective]) -> list[tuple[float, ...]]:
    """The points with these objectives that no other equals or beats everywhere and beats somewhere, in their order."""
    maximise = np.array([objective.goal == "max" for objective in objectives])
    kept = non_dominated(np.array(values, dtype=np.float64).reshape(-1, len(objectives)), maximise)
    return [value for value, member in zip(values, kept, strict=True) if member]


def references_said(objectives: Sequence[Objective]) -> str:
    """The references of all objectives, as a caption has them: `0, -2600`."""
    return ", ".join(spelled(objective.reference) for objective in objectives if objective.reference is not None)


def _hypervolume(values_CO: Floats, objectives: Sequence[Objective], maximise: NDArray[np.bool_]) -> float | None:
    references = [objective.reference for objective in objectives]
    if any(reference is None for reference in references):
        return None
    if len(values_CO) == 0:
        return 0.0
    return float(moocore.hypervolume(values_CO, ref=np.array(references, dtype=np.float64), maximise=maximise.tolist()))


def means(results: Sequence[TrialResult], objectives: Sequence[Objective]) -> tuple[float, ...]:
    """Of each objective, with fsum, as the tables: a tie does not depend on the order of the seeds. Empty for no results."""
    if not results:
        return ()
    return tuple(math.fsum(_value(result, o.metric) for result in results) / len(results) for o in objectives)


def _values(results: Sequence[TrialResult], objectives: Sequence[Objective]) -> Floats:
    """(S, O)."""
    return np.array([[_value(result, objective.metric) for objective in objectives] for result in results], dtype=np.float64)


def _value(result: TrialResult, metric: str) -> float:
    value = result.value(metric)
    assert value is not None, f"{result.trial.id} has no {metric}"  # the spec admits only metrics that every trial reports
    return value
