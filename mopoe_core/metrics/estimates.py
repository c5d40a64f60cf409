"""Computes a metric and its Monte-Carlo error from one number for each example.

Every measurement is a vector, so that it can be averaged with others before it is reported. For classes the vector holds the numbers of
all examples, and the metric is their mean. For attributes it holds an average precision and its jackknife replicates.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, triu
from sklearn.metrics import average_precision_score

Floats = NDArray[np.float64]
GROUPS = 10
"""Groups of examples that the jackknife leaves out in turn."""


@dataclass(frozen=True)
class Estimate:
    """A metric and its standard error, from n examples or draws."""

    value: float
    error: float
    n: int


@dataclass(frozen=True)
class Sharing:
    """Which examples share a unit, such as an image. Those examples are not independent."""

    pairs_NN: csr_array
    """1 above the diagonal for each pair of examples that share a unit."""
    units: int
    """Number of distinct units, of the modality that has the fewest."""

    @classmethod
    def of(cls, units_NM: NDArray[np.int64]) -> "Sharing":
        """Builds it from the number of each example's unit in each modality. One number is one unit, in every modality."""
        n, modalities = units_NM.shape
        numbers, unit_NM = np.unique(units_NM, return_inverse=True)
        ones = np.ones(unit_NM.size, dtype=np.float64)
        example_NM = np.repeat(np.arange(n), modalities)
        has_unit_NU = csr_array((ones, (example_NM, unit_NM.reshape(-1))), shape=(n, len(numbers)))
        pairs_NN = csr_array(triu(has_unit_NU @ has_unit_NU.T, k=1))
        pairs_NN.data[:] = 1.0
        return cls(pairs_NN, min(len(np.unique(unit_M)) for unit_M in unit_NM.reshape(n, modalities).T))


def mean(values_N: Floats, sharing: Sharing | None = None) -> Estimate:
    """Returns the mean and its standard error.

    The squared error is the sum of e_i e_j over all pairs (i, j) of examples that share a unit, divided by N^2. Here e_i is the deviation
    of example i from the mean, and each example is also paired with itself. For two modalities whose images are paired at random this is
    V1 + V2 - V12: the variances clustered by the first image, by the second and by both (Cameron, Gelbach and Miller 2011). For examples
    that share no unit it is the textbook error. It is scaled by G / (G - 1) for G units. It is never smaller than for independent
    examples: deviations that cancel by chance would make it too small.
    Raises FloatingPointError if a value is not finite.
    """
    _check_finite(values_N)
    n = len(values_N)
    deviations_N = values_N - values_N.mean()
    squares = float((deviations_N**2).sum())
    variance = squares / (n * (n - 1))
    if sharing is not None and sharing.units > 1:
        pair_products = squares + 2 * float(deviations_N @ (sharing.pairs_NN @ deviations_N))
        variance = max(variance, sharing.units / (sharing.units - 1) * pair_products / n**2)
    return Estimate(float(values_N.mean()), math.sqrt(variance), n)


def jackknifed(replicates: Floats, n: int) -> Estimate:
    """Returns the estimate of a jackknife over n examples.

    The first replicate is the value over all examples; each other one leaves out one group of examples.
    """
    leave_one_out = replicates[1:]
    groups = len(leave_one_out)
    variance = (groups - 1) / groups * float(((leave_one_out - leave_one_out.mean()) ** 2).sum())
    return Estimate(float(replicates[0]), math.sqrt(variance), n)


def average_precisions(scores_NA: NDArray[np.floating], labels_NA: NDArray[np.integer]) -> Floats:
    """Returns each attribute's average precision over all examples and without each tenth of them, (A, 1 + GROUPS).

    An attribute that no example has gets 0, which is also its chance level (the share of examples that have it). Raises
    FloatingPointError if a score is not finite.
    """
    _check_finite(scores_NA)
    n = len(labels_NA)
    group_N = np.arange(n) % GROUPS
    selections = [np.ones(n, dtype=bool), *(group_N != group for group in range(GROUPS))]
    precisions_AG = np.zeros((labels_NA.shape[1], 1 + GROUPS))
    for a in range(labels_NA.shape[1]):
        for g, rows in enumerate(selections):
            has_attribute = labels_NA[rows, a]
            if has_attribute.any():
                precisions_AG[a, g] = average_precision_score(has_attribute, scores_NA[rows, a])
    return precisions_AG


def mean_over_attributes(precisions_AG: Floats, labels_NA: NDArray[np.integer]) -> Floats:
    """Returns the mean over the attributes that at least one example has, (1 + GROUPS,)."""
    means_G: Floats = precisions_AG[labels_NA.any(0)].mean(0) if labels_NA.any() else np.zeros(1 + GROUPS)
    return means_G


def _check_finite(numbers: NDArray[np.floating]) -> None:
    if not np.isfinite(numbers).all():
        raise FloatingPointError("a number that enters a metric is not finite: the model has diverged")
