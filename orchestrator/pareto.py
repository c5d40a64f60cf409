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

from orchestrator.aggregate import completed_of_each, summary
from orchestrator.spec import Objective
from orchestrator.trial import Cell, TrialResult, labels, series

ENUMERATED_SEEDS = 6  # 6^6 = 46,656 resamples are 462 distinct ones; beyond, 10,000 are drawn
RESAMPLES = 10_000

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
    """Share of resamples of the seeds in which the cell is on the front; None for a single seed."""


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


def front(objectives: Sequence[Objective], cells: Sequence[Cell], seeds: Sequence[int], results: Sequence[TrialResult]) -> Front:
    """The front of a sweep's cells.

    The probability that a cell is on the front is a paired bootstrap over seeds: seeds are drawn with replacement, the same for
    every cell (they are shared), means and front are taken again. It assumes that the seeds are an independent random sample; it
    says nothing of the test set, which all cells share. With few seeds it is coarse and too sure of itself (two seeds give three
    different resamples), and with one it says nothing.
    """
    short, lines = labels(cells), series(cells)
    found = completed_of_each(cells, seeds, results)
    complete = [cell for cell in cells if len(found[cell.id]) == len(seeds)]
    left_out = tuple(
        LeftOut(c.id, short[c.id], lines[c.id], c.config.beta, len(found[c.id]), len(seeds), _means(found[c.id], objectives))
        for c in cells
        if len(found[c.id]) < len(seeds)
    )
    values_CSO = np.array(
        [[[_value(result, o.metric) for o in objectives] for result in found[cell.id]] for cell in complete], dtype=np.float64
    ).reshape(len(complete), len(seeds), len(objectives))
    maximise = np.array([objective.goal == "max" for objective in objectives])
    means_CO = np.array([_means(found[cell.id], objectives) for cell in complete], dtype=np.float64)
    means_CO = means_CO.reshape(len(complete), len(objectives))
    member = non_dominated(means_CO, maximise)
    probability = front_probability(values_CSO, maximise)
    points = []
    for i, cell in enumerate(complete):
        parts = [summary(values_CSO[i, :, o].tolist()) for o in range(len(objectives))]
        mean, sd, low, high = (tuple(part[key] for part in parts) for key in ("mean", "sd", "low", "high"))
        likely = None if probability is None else float(probability[i])
        points.append(
            Point(
                cell.id,
                short[cell.id],
                lines[cell.id],
                cell.config.beta,
                len(seeds),
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
    seeds = values_CSO.shape[1]
    if seeds < 2 or len(values_CSO) == 0:
        return None
    counts_RS, weights_R = _resamples(seeds)
    means_RCO = np.einsum("rs,cso->rco", counts_RS / seeds, values_CSO)
    share: Floats = np.zeros(len(values_CSO))
    for means_CO, weight in zip(means_RCO, weights_R, strict=True):
        share += weight * non_dominated(means_CO, maximise)
    return share


def _resamples(seeds: int) -> tuple[Floats, Floats]:
    """How often each seed is drawn (R, S), and each resample's probability (R,): all of them, or 10,000 at random."""
    if seeds > ENUMERATED_SEEDS:
        drawn = np.random.default_rng(0).multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES)
        return drawn.astype(np.float64), np.full(RESAMPLES, 1 / RESAMPLES)
    multisets = [Counter(drawn) for drawn in combinations_with_replacement(range(seeds), seeds)]
    counts = np.array([[multiset[s] for s in range(seeds)] for multiset in multisets], dtype=np.float64)
    ways = [math.factorial(seeds) / math.prod(math.factorial(c) for c in multiset.values()) for multiset in multisets]
    return counts, np.array(ways) / seeds**seeds


def _hypervolume(values_CO: Floats, objectives: Sequence[Objective], maximise: NDArray[np.bool_]) -> float | None:
    references = [objective.reference for objective in objectives]
    if any(reference is None for reference in references):
        return None
    if len(values_CO) == 0:
        return 0.0
    return float(moocore.hypervolume(values_CO, ref=np.array(references, dtype=np.float64), maximise=maximise.tolist()))


def _means(results: Sequence[TrialResult], objectives: Sequence[Objective]) -> tuple[float, ...]:
    """Of each objective, with fsum, as the tables: a tie does not depend on the order of the seeds. Empty for no results."""
    if not results:
        return ()
    return tuple(math.fsum(_value(result, o.metric) for result in results) / len(results) for o in objectives)


def _value(result: TrialResult, metric: str) -> float:
    value = result.value(metric)
    assert value is not None, f"{result.trial.id} has no {metric}"  # the spec admits only metrics that every trial reports
    return value
