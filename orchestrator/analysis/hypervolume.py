"""Hypervolumes: the volume of the objectives' space that a set of points dominates. Computed exactly by moocore. Pure."""

from collections.abc import Mapping, Sequence

import moocore
import numpy as np
from numpy.typing import NDArray

from orchestrator.analysis.dominance import Floats, maximised
from orchestrator.spec.sections import Objective
from orchestrator.spec.trial import spelled


def have_references(objectives: Sequence[Objective]) -> bool:
    """Whether every objective states a reference. Otherwise there is no hypervolume."""
    return all(objective.reference is not None for objective in objectives)


def hypervolume(points: Sequence[Sequence[float]] | Floats, objectives: Sequence[Objective]) -> float | None:
    """Returns the hypervolume of the points, in the product of the objectives' units; None if an objective states no reference."""
    if not have_references(objectives):
        return None
    if len(points) == 0:
        return 0.0
    references = np.array([objective.reference for objective in objectives], dtype=np.float64)
    return _dominated_volume(np.array(points, dtype=np.float64), references, maximised(objectives))


def shares_of_the_box(point_sets: Mapping[str, Mapping[int, Floats]]) -> dict[str, dict[int, float]]:
    """Returns the hypervolume of each model's points (P, 2) with each seed. Larger is better on both axes.

    The reference is the worst value of all points on each axis. The unit is the area of the box between the worst and the best values.
    """
    arrays = [points for by_seed in point_sets.values() for points in by_seed.values()]
    if not arrays:
        return {model: {} for model in point_sets}
    worst, best = np.concatenate(arrays).min(0), np.concatenate(arrays).max(0)
    box = np.where(best > worst, best - worst, 1.0)
    origin, larger_is_better = np.zeros(2), np.ones(2, dtype=bool)
    return {
        model: {seed: _dominated_volume((points - worst) / box, origin, larger_is_better) for seed, points in by_seed.items()}
        for model, by_seed in point_sets.items()
    }


def references_text(objectives: Sequence[Objective]) -> str:
    """Returns the references of all objectives as a caption shows them: `0, -2600`."""
    return ", ".join(spelled(objective.reference) for objective in objectives if objective.reference is not None)


def _dominated_volume(points_PO: Floats, reference_O: Floats, maximise_O: NDArray[np.bool_]) -> float:
    return float(moocore.hypervolume(points_PO, ref=reference_O, maximise=maximise_O.tolist()))
