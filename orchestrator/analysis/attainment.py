"""Fronts seed by seed: the values that each series attains in some, half and most of its seeds, and the knee of a front. Pure.

A seed is complete for a series if all cells of the series completed with it. Only complete seeds have a front here. If one cell diverged
with a seed, a front of the other cells would not stand for the series. All cells should belong to one group (`model_groups.ModelGroup`).

Attainment surfaces: Grunert da Fonseca, Fonseca and Hall (EMO 2001), computed exactly by moocore.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import moocore
import numpy as np

from orchestrator.analysis.aggregation import completed_of_each
from orchestrator.analysis.dominance import Floats, maximised, non_dominated, rows
from orchestrator.analysis.fronts import Front, Point, objective_value
from orchestrator.analysis.hypervolume import have_references, hypervolume
from orchestrator.analysis.model_groups import Sample
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.sections import Objective
from orchestrator.spec.trial import Cell, series

PERCENTS = (10, 50, 90)
STRAIGHT = 1e-9
"""Distance in scaled objectives up to which a point counts as on the line."""


@dataclass(frozen=True)
class SeedFront:
    """The cells of one series that no other cell of the series beats with this seed."""

    seed: int
    cell_ids: tuple[str, ...]
    points: tuple[tuple[float, ...], ...]
    """The objectives of each of `cell_ids`, in the units of the metrics; ascending in the first objective."""
    hypervolume: float | None
    """In the product of the objectives' units; None if an objective states no reference."""


@dataclass(frozen=True)
class Surface:
    """The border of the region of values that at least `level` of the seeds equal or beat on both objectives."""

    percent: int
    level: int
    corners: tuple[tuple[float, float], ...]
    """Corners of the staircase, in the units of the metrics, ascending in the first. What a corner equals or beats is attained."""


@dataclass(frozen=True)
class Attainment:
    """One series over its complete seeds."""

    series: str
    objectives: tuple[Objective, ...]
    cells: int
    """The number of cells of the series."""
    fronts: tuple[SeedFront, ...]
    """The front of each complete seed, ascending."""
    n_planned: int
    surfaces: tuple[Surface, ...]
    """A surface for each of `PERCENTS`; empty without a complete seed, and for three objectives."""

    @property
    def n(self) -> int:
        """How many seeds are complete."""
        return len(self.fronts)

    @property
    def hypervolumes(self) -> Sample | None:
        """The hypervolume of each complete seed; None if an objective states no reference."""
        if not have_references(self.objectives):
            return None
        return {front.seed: front.hypervolume for front in self.fronts if front.hypervolume is not None}


@dataclass(frozen=True)
class Knee:
    """Where a front bends most."""

    point: Point
    distance: float
    """Distance from the line through the extremes, in objectives scaled to [0, 1] over the front: above 0, at most 1/sqrt(2)."""


def attainments(
    objectives: Sequence[Objective], cells: Sequence[Cell], seeds: Sequence[int], results: Sequence[TrialResult]
) -> tuple[Attainment, ...]:
    """Returns each series of the cells, in the order of a legend, with its front in each complete seed and its attainment surfaces."""
    by_id = {cell.id: cell for cell in cells}
    completed = completed_of_each(cells, seeds, results)
    cells_by_series: dict[str, list[Cell]] = {}
    for cell_id, name in series(cells).items():
        cells_by_series.setdefault(name, []).append(by_id[cell_id])
    return tuple(_attainment(name, objectives, members, seeds, completed) for name, members in cells_by_series.items())


def surfaces(objectives: Sequence[Objective], fronts: Sequence[SeedFront]) -> tuple[Surface, ...]:
    """Returns the surfaces that at least 10, 50 and 90 % of the seeds attain, the best first. Empty unless there are two objectives.

    Of n seeds, q % are exactly ceil(n q / 100) seeds (moocore's rule). With 1 seed, all three surfaces are its front. With 2 seeds they
    are attained by 1, 1 and 2 seeds, with 3 by 1, 2 and 3, with 5 by 1, 3 and 5, with 10 by 1, 5 and 9, with 11 by 2, 6 and 10. So with
    fewer than ten seeds, 10 % means any seed and 90 % means every seed: the surfaces are the extremes, and no tenth is cut off. For even
    n the median is the better of the two middle surfaces, attained by n / 2 seeds.
    """
    if not fronts or len(objectives) != 2:
        return ()
    sign_O = np.where(maximised(objectives), -1.0, 1.0)  # moocore minimises
    points_PO = np.concatenate([np.array(front.points) for front in fronts]) * sign_O
    sets_P = np.repeat(np.arange(len(fronts)), [len(front.points) for front in fronts])
    surface_PO: Floats = moocore.eaf(points_PO, sets_P, percentiles=PERCENTS)  # with the percentage as a last column
    return tuple(
        Surface(percent, level(percent, len(fronts)), _ascending(surface_PO[surface_PO[:, 2] == percent, :2] * sign_O))
        for percent in PERCENTS
    )


def level(percent: int, n: int) -> int:
    """Returns the smallest number of seeds that is at least this percentage of n; at least one."""
    return max(1, -(-n * percent // 100))  # a division that rounds up


def knee(front: Front) -> Knee | None:
    """Returns the point of a front of two objectives that is farthest beyond the line through its two extremes.

    The objectives are scaled to [0, 1] over the front, and 1 is the better end. The extremes are then (0, 1) and (1, 0). The distance of
    a point is (x + y - 1) / sqrt(2), negative on the worse side of the line. Das (Structural Optimization 18, 1999) measures from the
    same line. If several points are equally far, it is the first in the order of the cells. Returns None if the front has fewer than
    three different points, if no point is beyond the line, or if there are three objectives.
    """
    members = front.members
    if len(front.objectives) != 2 or len({point.means for point in members}) < 3:
        return None
    means_PO = np.array([point.means for point in members])
    low, high = means_PO.min(0), means_PO.max(0)
    scaled_PO = (means_PO - low) / (high - low)
    distance_P = (np.where(maximised(front.objectives), scaled_PO, 1 - scaled_PO).sum(1) - 1) / math.sqrt(2)
    best = int((distance_P >= distance_P.max() - STRAIGHT).argmax())
    return Knee(members[best], float(distance_P[best])) if distance_P[best] > STRAIGHT else None


def _attainment(
    name: str,
    objectives: Sequence[Objective],
    cells: Sequence[Cell],
    seeds: Sequence[int],
    completed: Mapping[str, Sequence[TrialResult]],
) -> Attainment:
    by_seed = {cell.id: {result.trial.seed: result for result in completed[cell.id]} for cell in cells}
    complete_seeds = [seed for seed in sorted(seeds) if all(seed in by_seed[cell.id] for cell in cells)]
    fronts = tuple(_seed_front(seed, objectives, [by_seed[cell.id][seed] for cell in cells]) for seed in complete_seeds)
    return Attainment(name, tuple(objectives), len(cells), fronts, len(seeds), surfaces(objectives, fronts))


def _seed_front(seed: int, objectives: Sequence[Objective], results: Sequence[TrialResult]) -> SeedFront:
    """Returns the front of the results of one seed."""
    values = [tuple(objective_value(result, objective) for objective in objectives) for result in results]
    on_front = non_dominated(rows(values, objectives), maximised(objectives))
    members = [(result.trial.cell.id, value) for result, value, is_on in zip(results, values, on_front, strict=True) if is_on]
    members.sort(key=lambda member: member[1])
    cell_ids = tuple(cell_id for cell_id, _ in members)
    points = tuple(value for _, value in members)
    return SeedFront(seed, cell_ids, points, hypervolume(values, objectives))


def _ascending(corners: Iterable[Iterable[float]]) -> tuple[tuple[float, float], ...]:
    return tuple(sorted((float(x), float(y)) for x, y in corners))
