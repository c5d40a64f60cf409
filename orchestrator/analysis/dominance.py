"""Finds the points that no other point dominates. Computed by moocore. Pure."""

from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import NDArray

from orchestrator.spec.sections import Objective

Floats = NDArray[np.float64]


def maximised(objectives: Sequence[Objective]) -> NDArray[np.bool_]:
    """Returns (O,): whether a larger value of each objective is better."""
    return np.array([objective.goal == "max" for objective in objectives])


def non_dominated(values_CO: Floats, maximise: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Returns (C,): whether no other cell dominates the cell, that is equals or beats it on every objective and beats it on one.

    Cells with equal values are all on the front, or all off it.
    """
    if len(values_CO) == 0:
        return np.zeros(0, dtype=bool)
    on_front: NDArray[np.bool_] = moocore.is_nondominated(values_CO, maximise=maximise.tolist(), keep_weakly=True)
    return on_front


def front_of(values: Sequence[tuple[float, ...]], objectives: Sequence[Objective]) -> list[tuple[float, ...]]:
    """Returns the points that no other point dominates, in their order."""
    on_front = non_dominated(rows(values, objectives), maximised(objectives))
    return [value for value, is_on in zip(values, on_front, strict=True) if is_on]


def rows(values: Sequence[Sequence[float]], objectives: Sequence[Objective]) -> Floats:
    """Returns the values as an array (C, O), also if there are no cells."""
    return np.array(values, dtype=np.float64).reshape(len(values), len(objectives))


def dominated_count(front_A2: Floats, others_B2: Floats) -> int:
    """Returns how many of the others are dominated by a point of the front. Larger is better on both axes."""
    front_A2 = front_A2[np.argsort(-front_A2[:, 0], kind="stable")]
    highest_A = np.concatenate([[-np.inf], np.maximum.accumulate(front_A2[:, 1])])  # second value among the first k points
    x_A, (x_B, y_B) = -front_A2[:, 0], others_B2.T
    farther_B = highest_A[np.searchsorted(x_A, -x_B, side="left")]
    as_far_B = highest_A[np.searchsorted(x_A, -x_B, side="right")]
    return int(((farther_B >= y_B) | (as_far_B > y_B)).sum())


def net_dominance(first_A2: Floats, second_B2: Floats) -> float:
    """Returns the share of pairs in which the first's point dominates, minus the share in which the second's does. Larger is better.

    For two sets of points around the same mean it is 0 on average, however far each set scatters. A count of dominated points would
    instead favour the set that scatters more, because its best points lie further out.
    """
    first_A12, second_1B2 = first_A2[:, None], second_B2[None]
    at_least_AB, at_most_AB = (first_A12 >= second_1B2).all(-1), (first_A12 <= second_1B2).all(-1)
    return float(at_least_AB.mean() - at_most_AB.mean())  # equal points are in both
