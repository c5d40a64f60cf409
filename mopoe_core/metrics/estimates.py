"""From numbers an example to a metric and its Monte-Carlo error.

Every measurement is a vector that can be averaged with others before it is reported: the numbers of all examples where a metric is
their mean, and an average precision with its jackknife replicates where labels are attributes.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, triu
from sklearn.metrics import average_precision_score

Floats = NDArray[np.float64]
GROUPS = 10  # of the jackknife


@dataclass(frozen=True)
class Estimate:
    """A metric with its standard error, from n examples or draws."""

    value: float
    error: float
    n: int


@dataclass(frozen=True)
class Sharing:
    """Which examples share a unit, such as an image: they are not independent."""

    pairs_NN: csr_array
    """1 above the diagonal for two examples that share a unit."""
    units: int
    """The fewest distinct units that a modality shows."""

    @classmethod
    def of(cls, units_NM: NDArray[np.int64]) -> "Sharing":
        """From each example's unit in each modality. One number is one unit, in whichever modality it stands."""
        n, modalities = units_NM.shape
        numbers, unit_NM = np.unique(units_NM, return_inverse=True)
        ones, example_NM = np.ones(unit_NM.size, dtype=np.float64), np.repeat(np.arange(n), modalities)
        shows = csr_array((ones, (example_NM, unit_NM.reshape(-1))), shape=(n, len(numbers)))
        pairs_NN = csr_array(triu(shows @ shows.T, k=1))
        pairs_NN.data[:] = 1.0
        return cls(pairs_NN, min(len(np.unique(unit_M)) for unit_M in unit_NM.reshape(n, modalities).T))


def mean(values_N: Floats, sharing: Sharing | None = None) -> Estimate:
    """The mean, with its standard error.

    The squared error is the sum of e_i e_j over all pairs of examples, each with itself too, that share a unit, over N^2; e are the
    deviations from the mean. For two modalities whose images are paired at random this is V1 + V2 - V12, the errors of clusters by either
    image and by both (Cameron, Gelbach and Miller 2011), and for examples that share nothing the textbook's. It is scaled by G / (G - 1)
    for G units, and is never below the error of independent examples, because deviations that cancel by chance would promise too much.
    Raises FloatingPointError where a value is not finite.
    """
    _check_finite(values_N)
    n = len(values_N)
    deviations_N = values_N - values_N.mean()
    squares = float((deviations_N**2).sum())
    variance = squares / (n * (n - 1))
    if sharing is not None and sharing.units > 1:
        shared = squares + 2 * float(deviations_N @ (sharing.pairs_NN @ deviations_N))
        variance = max(variance, sharing.units / (sharing.units - 1) * shared / n**2)
    return Estimate(float(values_N.mean()), math.sqrt(variance), n)


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
