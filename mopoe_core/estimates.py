"""From numbers an example to a metric and its Monte-Carlo error.

Every measurement is a vector that can be averaged with others before it is reported: the numbers of all examples where a metric is
their mean, and an average precision with its jackknife replicates where labels are attributes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

Floats = NDArray[np.float64]
GROUPS = 10  # of the jackknife


@dataclass(frozen=True)
class Estimate:
    """A metric with its standard error, from n examples or draws."""

    value: float
    error: float
    n: int


def mean(values_N: Floats, clusterings: Sequence[NDArray[np.int64]] = ()) -> Estimate:
    """The mean, with the largest of the standard errors that the clusterings give, and that of independent examples.

    A clustering (N,) says which item an example has: examples that share an image are not independent. With G clusters the squared
    error is G / (G - 1) times the sum of squares of the clusters' summed deviations over N^2. Raises FloatingPointError where a value
    is not finite.
    """
    _check_finite(values_N)
    n = len(values_N)
    deviations_N = values_N - values_N.mean()
    errors = [math.sqrt(float((deviations_N**2).sum()) / (n * (n - 1)))]
    for items_N in clusterings:
        _, cluster_N = np.unique(items_N, return_inverse=True)
        sums_G = np.bincount(cluster_N, weights=deviations_N)
        if len(sums_G) > 1:
            errors.append(math.sqrt(len(sums_G) / (len(sums_G) - 1) * float((sums_G**2).sum())) / n)
    return Estimate(float(values_N.mean()), max(errors), n)


def jackknifed(replicates: Floats, n: int) -> Estimate:
    """The first entry is the value, the others are it without one group of examples each."""
    left_out = replicates[1:]
    groups = len(left_out)
    spread = (groups - 1) / groups * float(((left_out - left_out.mean()) ** 2).sum())
    return Estimate(float(replicates[0]), math.sqrt(spread), n)


def average_precisions(scores_NA: NDArray[np.floating], labels_NA: NDArray[np.integer]) -> Floats:
    """(A, 1 + GROUPS): each attribute's average precision, over all examples and without each tenth of them.

    An attribute that no example has is given 0, which is also its chance level, the share of examples that have it. Raises
    FloatingPointError where a score is not finite.
    """
    _check_finite(scores_NA)
    n = len(labels_NA)
    group_N = np.arange(n) % GROUPS
    kept = [np.ones(n, dtype=bool), *(group_N != group for group in range(GROUPS))]
    precisions = np.zeros((labels_NA.shape[1], 1 + GROUPS))
    for a in range(labels_NA.shape[1]):
        for place, rows in enumerate(kept):
            wanted = labels_NA[rows, a]
            precisions[a, place] = average_precision_score(wanted, scores_NA[rows, a]) if wanted.any() else 0.0
    return precisions


def mean_over_attributes(precisions_AG: Floats, labels_NA: NDArray[np.integer]) -> Floats:
    """(1 + GROUPS): the mean over the attributes that some example has."""
    found: Floats = precisions_AG[labels_NA.any(0)].mean(0) if labels_NA.any() else np.zeros(1 + GROUPS)
    return found


def _check_finite(numbers: NDArray[np.floating]) -> None:
    if not np.isfinite(numbers).all():
        raise FloatingPointError("what a metric is an average of is not finite: the model has diverged")
