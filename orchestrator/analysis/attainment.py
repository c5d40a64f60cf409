"""Fronts seed by seed: what each series attains in some, half and most of its seeds, and the knee of a front. Pure.

A seed is complete for a series if every one of its cells completed in it. Only complete seeds have a front here: without a cell that
diverged, a series would be compared by what its other cells do. All cells should be of one group (`groups.Group`).

Attainment surfaces: Grunert da Fonseca, Fonseca and Hall (EMO 2001); computed by moocore, exact.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import moocore
import numpy as np

from orchestrator.analysis.fronts import Floats, Front, Point, front
from orchestrator.analysis.model_groups import Sample
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.sections import Objective
from orchestrator.spec.trial import Cell, series

PERCENTS = (10, 50, 90)
STRAIGHT = 1e-9  # of the scaled objectives: points as near to the line as this lie on it


@dataclass(frozen=True)
class SeedFront:
    """The cells of one series that none of its other cells beats within one seed."""

    seed: int
    cell_ids: tuple[str, ...]
    points: tuple[tuple[float, ...], ...]
    """A value an objective for each of `cell_ids`, in the metrics' own units; ascending in the first objective."""
    hypervolume: float | None
    """In the product of the objectives' units; None if an objective states no reference."""


@dataclass(frozen=True)
class Surface:
    """The border of what at least `level` of the seeds attain: equal or beat on both objectives."""

    percent: int
    level: int
    corners: tuple[tuple[float, float], ...]
    """Of the staircase, in the metrics' own units; ascending in the first objective. What a corner equals or beats is attained."""


@dataclass(frozen=True)
class Attainment:
    """One series over its complete seeds."""

    series: str
    objectives: tuple[Objective, ...]
    cells: int
    """How many the series has: each is in every seed's front, or beaten there."""
    fronts: tuple[SeedFront, ...]
    """One a complete seed, ascending."""
    n_planned: int
    surfaces: tuple[Surface, ...]
    """For each of `PERCENTS`; empty without a complete seed, and for three objectives."""

    @property
    def n(self) -> int:
        """Complete seeds."""
        return len(self.fronts)

    @property
    def hypervolumes(self) -> Sample | None:
        """Of each complete seed; None if an objective states no reference."""
        if any(objective.reference is None for objective in self.objectives):
            return None
        return {found.seed: found.hypervolume for found in self.fronts if found.hypervolume is not None}


@dataclass(frozen=True)
class Knee:
    """Where a front bends most."""

    point: Point
    distance: float
    """From the line through the extremes, in objectives scaled to [0, 1] over the front: above 0, at most 1/sqrt(2)."""


def attainments(
    objectives: Sequence[Objective], cells: Sequence[Cell], seeds: Sequence[int], results: Sequence[TrialResult]
) -> tuple[Attainment, ...]:
    """Each series of the cells, in the order of a legend, with its front in each complete seed and its attainment surfaces."""
    members: dict[str, list[Cell]] = {}
    for cell_id, line in series(cells).items():
        members.setdefault(line, []).extend(cell for cell in cells if cell.id == cell_id)
    return tuple(_attainment(line, objectives, own, seeds, results) for line, own in members.items())


def surfaces(objectives: Sequence[Objective], fronts: Sequence[SeedFront]) -> tuple[Surface, ...]:
    """What at least 10, 50 and 90 % of the seeds attain, so the first is the best of the three; for two objectives.

    Of n seeds q % are ceil(n q / 100) seeds, exactly (moocore's rule). With 1 seed all three are its front; with 2 they are attained
    by 1, 1 and 2 seeds, with 3 by 1, 2 and 3, with 5 by 1, 3 and 5, with 10 by 1, 5 and 9, with 11 by 2, 6 and 10. So for fewer than
    ten seeds 10 % means any seed and 90 % every seed: the extremes, not a tenth cut off. For even n the median is the better of the
    two middle surfaces, attained by n / 2.
    """
    if not fronts or len(objectives) != 2:
        return ()
    sign_O = np.array([-1.0 if objective.goal == "max" else 1.0 for objective in objectives])  # moocore minimises
    points_PO = np.concatenate([np.array(found.points) for found in fronts]) * sign_O
    sets_P = np.repeat(np.arange(len(fronts)), [len(found.points) for found in fronts])
    rows: Floats = moocore.eaf(points_PO, sets_P, percentiles=PERCENTS)
    return tuple(
        Surface(percent, level(percent, len(fronts)), _ascending(rows[rows[:, 2] == percent, :2] * sign_O))
        for percent in PERCENTS
    )


def level(percent: int, n: int) -> int:
    """How many of n seeds are at least that many percent of them, and one at the least."""
    return max(1, -(-n * percent // 100))


def knee(found: Front) -> Knee | None:
    """The point of a front of two objectives that is farthest beyond the line through its two extremes.

    The objectives are scaled to [0, 1] over the front, 1 being the better end; the extremes are then (0, 1) and (1, 0), and a point's
    distance is (x + y - 1) / sqrt(2), negative on the worse side of the line. (Das, Structural Optimization 18, 1999, measures from the
    same line.) None for fewer than three different points on the front, where no point is beyond the line, and for three objectives.
    Of points equally far it is the first in the order of the cells.
    """
    members = [point for point in found.points if point.on_front]
    if len(found.objectives) != 2 or len({point.means for point in members}) < 3:
        return None
    means_PO = np.array([point.means for point in members])
    low, high = means_PO.min(0), means_PO.max(0)
    scaled_PO = (means_PO - low) / (high - low)
    down = np.array([objective.goal == "min" for objective in found.objectives])
    distance_P = (np.where(down, 1 - scaled_PO, scaled_PO).sum(1) - 1) / math.sqrt(2)
    best = int((distance_P >= distance_P.max() - STRAIGHT).argmax())
    return Knee(members[best], float(distance_P[best])) if distance_P[best] > STRAIGHT else None


def _attainment(
    line: str, objectives: Sequence[Objective], cells: Sequence[Cell], seeds: Sequence[int], results: Sequence[TrialResult]
) -> Attainment:
    ids = {cell.id for cell in cells}
    own = [result for result in results if result.trial.cell.id in ids]
    within = ((seed, front(objectives, cells, [seed], own)) for seed in sorted(seeds))
    fronts = tuple(_seed_front(seed, found) for seed, found in within if not found.left_out)
    return Attainment(line, tuple(objectives), len(cells), fronts, len(seeds), surfaces(objectives, fronts))


def _seed_front(seed: int, found: Front) -> SeedFront:
    members = sorted((point for point in found.points if point.on_front), key=lambda point: point.means)
    return SeedFront(seed, tuple(point.cell_id for point in members), tuple(point.means for point in members), found.hypervolume)


def _ascending(corners: Iterable[Iterable[float]]) -> tuple[tuple[float, float], ...]:
    return tuple(sorted((float(x), float(y)) for x, y in corners))
