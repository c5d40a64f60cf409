"""Kendall's tau of a sequence with its own order, and how probable such a tau is by chance. Pure.

Time grows with the number of values n as n log n. The exact distribution takes n^4, and the square of the pairs over all samples, so it
is used for at most `MOST_PAIRS` pairs. The number of falls among more pairs is as good as normal.
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
"""Pairs over all samples. For so many, the exact distribution takes a tenth of a second."""


@dataclass(frozen=True)
class OrderedPairs:
    """How many pairs of a sequence rise, and how many fall; the others tie."""

    rising: int
    falling: int


def ordered_pairs(values: Sequence[float]) -> OrderedPairs:
    """Counts the pairs of the sequence in which the later value is higher, and in which it is lower."""
    rising = falling = 0
    before: list[float] = []
    for value in values:
        rising += bisect_left(before, value)
        falling += len(before) - bisect_right(before, value)
        insort(before, value)
    return OrderedPairs(rising, falling)


def tau(values: Sequence[float]) -> float:
    """Kendall's tau-a between the values and their order: pairs that rise less pairs that fall, as a share of all pairs."""
    pairs = ordered_pairs(values)
    return (pairs.rising - pairs.falling) / math.comb(len(values), 2)


def is_exact(samples: Sequence[Sequence[float]]) -> bool:
    """Whether `tau_p` is exact for these samples, and not approximate."""
    return sum(math.comb(len(values), 2) for values in samples) <= MOST_PAIRS


def tau_p(samples: Sequence[Sequence[float]]) -> tuple[float, float]:
    """The probabilities of a mean tau at least as high, and of one at least as low, if every order of each sample is equally likely.

    The samples have one length and are independent of one another. Values that tie in a sample tie in all its orders.
    """
    falls = sum(ordered_pairs(values).falling for values in samples)
    if not is_exact(samples):
        return _normal_p(samples, falls)
    null = reduce(np.convolve, [_falls(values) for values in samples])
    return min(1.0, float(null[: falls + 1].sum())), min(1.0, float(null[falls:].sum()))


def _normal_p(samples: Sequence[Sequence[float]], falls: int) -> tuple[float, float]:
    """`tau_p` from the mean and variance of the number of falls (Kendall, Rank Correlation Methods), with half a fall for continuity."""
    mean = sum(_untied(values) for values in samples) / 2
    sd = math.sqrt(sum(_variance(values) for values in samples))
    if sd == 0:
        return 1.0, 1.0
    return float(special.ndtr((falls + 0.5 - mean) / sd)), float(special.ndtr(-(falls - 0.5 - mean) / sd))


def _untied(values: Sequence[float]) -> int:
    """How many pairs do not tie."""
    return math.comb(len(values), 2) - sum(math.comb(count, 2) for count in Counter(values).values())


def _variance(values: Sequence[float]) -> float:
    """The variance of the number of falls over all orders of the values."""
    sizes = Counter(values).values()
    return (_cubic(len(values)) - sum(_cubic(count) for count in sizes)) / 72


def _cubic(n: int) -> int:
    return n * (n - 1) * (2 * n + 5)


def _falls(values: Sequence[float]) -> NDArray[np.floating]:
    """(P + 1,): probabilities of 0 to P falling pairs among all orders of the values, P being the pairs that do not tie."""
    return _falls_of(len(values), tuple(count for count in Counter(values).values() if count > 1))


@cache
def _falls_of(n: int, ties: tuple[int, ...]) -> NDArray[np.floating]:
    """`_falls` of n values. `ties` has the size of each set of equal values.

    Among different values the number of falls is a sum of independent numbers: the falls before the first value, the second, and so on.
    Then the sets of equal values are put among them one by one. Where these fall is independent of the falls so far.
    """
    different = n - sum(ties)
    counts = _orders(different)
    probabilities: NDArray[np.floating] = counts / counts.sum()
    for alike in ties:
        probabilities = np.convolve(probabilities, _between(different, alike))
        different += alike
    return probabilities


def _orders(n: int) -> NDArray[np.floating]:
    """(n (n - 1) / 2 + 1,): how many orders of n different values have 0, 1, ... falling pairs. Whole numbers, so exact."""
    return reduce(np.convolve, [np.ones(k) for k in range(1, n + 1)], np.ones(1))


def _between(others: int, alike: int) -> NDArray[np.floating]:
    """(others * alike + 1,): probabilities of falling pairs between equal values and others that are all higher, in a random order.

    The last value is either one of the equal ones, and all other values before it exceed it, or another one, which changes nothing. These
    are sums of positive numbers alone, so that no digit is lost. A quotient of two polynomials was wrong for thirty values.
    """
    row: list[NDArray[np.floating]] = [np.ones(1)]  # an entry for each number of equal ones among the first values
    for length in range(1, others + alike + 1):
        row = [_last(row, length, equal) if 0 < equal < length else np.ones(1) for equal in range(min(length, alike) + 1)]
    return row[alike]


def _last(row: Sequence[NDArray[np.floating]], length: int, equal: int) -> NDArray[np.floating]:
    """Probabilities of falling pairs among `length` values, `equal` of which are equal; `row` has those among one value fewer."""
    falls: NDArray[np.floating] = np.zeros(equal * (length - equal) + 1)
    before = row[equal - 1]
    falls[length - equal :] += before * (equal / length)
    falls[: len(row[equal])] += row[equal] * (1 - equal / length)
    return falls
