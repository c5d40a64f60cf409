"""Kendall's tau between the values of a sequence and their positions, and its p-values. Pure.

The pairs of n values are counted in a time that grows as n log n. The exact distribution takes n^4 for each sample, and the square of the
number of pairs for all samples together. So it is used for at most `MOST_PAIRS` pairs. Among more pairs, the number of falling pairs is
practically normal.
"""

import math
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, reduce

import numpy as np
from numpy.typing import NDArray
from scipy import special

MOST_PAIRS = 20_000
"""Largest number of pairs, over all samples, with an exact distribution. For this number it takes a tenth of a second."""


@dataclass(frozen=True)
class OrderedPairs:
    """How many pairs of a sequence rise (the later value is higher), and how many fall; the others tie."""

    rising: int
    falling: int


def ordered_pairs(values: Sequence[float]) -> OrderedPairs:
    """Returns how many pairs of the sequence rise, and how many fall."""
    rising = falling = 0
    before: list[float] = []
    for value in values:
        rising += bisect_left(before, value)
        falling += len(before) - bisect_right(before, value)
        insort(before, value)
    return OrderedPairs(rising, falling)


def tau(values: Sequence[float]) -> float:
    """Returns Kendall's tau-a between the values and their positions: (rising pairs - falling pairs) / all pairs."""
    pairs = ordered_pairs(values)
    return (pairs.rising - pairs.falling) / math.comb(len(values), 2)


def is_exact(samples: Sequence[Sequence[float]]) -> bool:
    """Whether `tau_p` is exact for these samples; otherwise it is approximate."""
    return sum(math.comb(len(values), 2) for values in samples) <= MOST_PAIRS


def tau_p(samples: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Returns the probabilities of a mean tau at least as high, and of one at least as low, if all orders of a sample are equally likely.

    The samples have the same length and are independent of one another. Values that tie in a sample tie in all its orders.
    """
    falls = sum(ordered_pairs(values).falling for values in samples)
    if not is_exact(samples):
        return _normal_p(samples, falls)
    probabilities = reduce(np.convolve, [_falls(values) for values in samples])  # of 0, 1, ... falls over all samples
    return min(1.0, float(probabilities[: falls + 1].sum())), min(1.0, float(probabilities[falls:].sum()))


def _normal_p(samples: Sequence[Sequence[float]], falls: int) -> tuple[float, float]:
    """Returns `tau_p` from the mean and variance of the number of falls (Kendall, Rank Correlation Methods).

    Half a fall is added as a correction for continuity.
    """
    mean = sum(_untied(values) for values in samples) / 2
    sd = math.sqrt(sum(_variance(values) for values in samples))
    if sd == 0:
        return 1.0, 1.0
    return float(special.ndtr((falls + 0.5 - mean) / sd)), float(special.ndtr(-(falls - 0.5 - mean) / sd))


def _untied(values: Sequence[float]) -> int:
    """Returns how many pairs do not tie."""
    return math.comb(len(values), 2) - sum(math.comb(count, 2) for count in Counter(values).values())


def _variance(values: Sequence[float]) -> float:
    """Returns the variance of the number of falls over all orders of the values."""
    sizes = Counter(values).values()
    return (_cubic(len(values)) - sum(_cubic(count) for count in sizes)) / 72


def _cubic(n: int) -> int:
    return n * (n - 1) * (2 * n + 5)


def _falls(values: Sequence[float]) -> NDArray[np.floating]:
    """Returns (P + 1,): the probabilities of 0 to P falling pairs over all orders of the values. P pairs do not tie."""
    return _falls_of(len(values), tuple(count for count in Counter(values).values() if count > 1))


@cache
def _falls_of(n: int, ties: tuple[int, ...]) -> NDArray[np.floating]:
    """Returns `_falls` of n values. `ties` has the size of each set of equal values.

    Among distinct values, the number of falls is a sum of independent numbers: the falls that end at the first value, at the second, and
    so on. Then the sets of equal values are added one by one. The positions of a set are independent of the falls among the values that
    were there before.
    """
    placed = n - sum(ties)
    counts = _orders(placed)
    probabilities: NDArray[np.floating] = counts / counts.sum()
    for size in ties:
        probabilities = np.convolve(probabilities, _between(placed, size))
        placed += size
    return probabilities


def _orders(n: int) -> NDArray[np.floating]:
    """Returns (n (n - 1) / 2 + 1,): how many orders of n distinct values have 0, 1, ... falling pairs. Exact whole numbers."""
    return reduce(np.convolve, [np.ones(k) for k in range(1, n + 1)], np.ones(1))


def _between(others: int, equal: int) -> NDArray[np.floating]:
    """Returns (others * equal + 1,): the probabilities of 0, 1, ... falling pairs between equal values and higher ones in a random order.

    There are `equal` equal values and `others` higher ones. If the last value is one of the equal ones, it makes a fall with each higher
    value. If it is a higher one, it makes none. So the probabilities for a length follow from those for one value fewer. They are sums of
    positive numbers, so that no digit is lost. A quotient of two polynomials was wrong for thirty values.
    """
    row: list[NDArray[np.floating]] = [np.ones(1)]  # row[k]: probabilities if k of the values are equal ones
    for length in range(1, others + equal + 1):
        row = [_last(row, length, k) if 0 < k < length else np.ones(1) for k in range(min(length, equal) + 1)]
    return row[equal]


def _last(row: Sequence[NDArray[np.floating]], length: int, equal: int) -> NDArray[np.floating]:
    """Returns the probabilities for `length` values, `equal` of which are equal. `row` has the probabilities for one value fewer."""
    falls: NDArray[np.floating] = np.zeros(equal * (length - equal) + 1)
    falls[length - equal :] += row[equal - 1] * (equal / length)  # the last value is an equal one
    falls[: len(row[equal])] += row[equal] * (1 - equal / length)  # the last value is a higher one
    return falls
