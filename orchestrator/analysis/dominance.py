"""Dominance: which points no other point beats. Computed by moocore. Pure."""

from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import NDArray

from orchestrator.spec.sections import Objective

Floats = NDArray[np.float64]


def maximised(objectives: Sequence[Objective]) -> NDArray[np.bool_]:
    """(O,): whether more of each objective is better."""
    return np.array([objective.goal == "max" for objective in objectives])


def non_dominated(values_CO: Floats, maximise: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(C,): cells that no other cell equals or beats everywhere and beats somewhere; equal cells stay together."""
    if len(values_CO) == 0:
        return np.zeros(0, dtype=bool)
    on_front: NDArray[np.bool_] = moocore.is_nondominated(values_CO, maximise=maximise.tolist(), keep_weakly=True)
    return on_front


def front_of(values: Sequence[tuple[float, ...]], objectives: Sequence[Objective]) -> list[tuple[float, ...]]:
    """The points with these objectives that no other equals or beats everywhere and beats somewhere, in their order."""
    on_front = non_dominated(rows(values, objectives), maximised(objectives))
    return [value for value, is_on in zip(values, on_front, strict=True) if is_on]


def rows(values: Sequence[Sequence[float]], objectives: Sequence[Objective]) -> Floats:
    """(C, O), also of no point."""
    return np.array(values, dtype=np.float64).reshape(len(values), len(objectives))


def dominated_count(front_A2: Floats, others_B2: Floats) -> int:
    """How many of the others some point of the front equals or beats on both axes and beats on one; larger is better."""
    front_A2 = front_A2[np.argsort(-front_A2[:, 0], kind="stable")]
    highest_A = np.concatenate([[-np.inf], np.maximum.accumulate(front_A2[:, 1])])  # second value among the first k points
    x_A, (x_B, y_B) = -front_A2[:, 0], others_B2.T
    farther_B = highest_A[np.searchsorted(x_A, -x_B, side="left")]
    as_far_B = highest_A[np.searchsorted(x_A, -x_B, side="right")]
    return int(((farther_B >= y_B) | (as_far_B > y_B)).sum())


def net_dominance(first_A2: Floats, second_B2: Floats) -> float:
    """Returns the share of pairs in which the first's point dominates, less that in which the second's does; larger is better.

    Of points that scatter around one mean it is 0 on average, however far each set scatters. Counts of points that some other dominates
    favour the set that scatters more, because its best points lie further out.
    """
    first_A12, second_1B2 = first_A2[:, None], second_B2[None]
    at_least_AB, at_most_AB = (first_A12 >= second_1B2).all(-1), (first_A12 <= second_1B2).all(-1)
    return float(at_least_AB.mean() - at_most_AB.mean())  # equal points are in both
