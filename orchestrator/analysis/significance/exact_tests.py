"""Exact tests of paired numbers, and Holm's correction. Pure."""

import math
from collections.abc import Sequence

import numpy as np

from orchestrator.analysis.dominance import Floats
from orchestrator.analysis.significance.hypotheses import least_p

EXACT_PAIRS = 40  # two halves of 2^20 sums each
FLIPS = 10_000  # drawn where there are more pairs
ROUNDING = 1e-12  # relative: numbers this close are equal, so that ties count as ties


def sign_flip_p(pairs: Sequence[tuple[float, float]]) -> float:
    """Two-sided p-value of the mean difference of the pairs, if all 2^n choices of its signs are equally likely; 1 for no pair.

    Choices whose means differ by rounding count as equal. The count is exact up to `EXACT_PAIRS` pairs: every sum of one half is looked
    up among the sorted sums of the other. For more pairs, it is taken from random flips and the signs as they are (Phipson and Smyth,
    Statistical Applications in Genetics and Molecular Biology 9, 2010).

    SciPy's `permutation_test` measures ties by the mean, not by the numbers: of 300 samples of nats near -1900 with one decimal
    it missed ties in 90. And 20 pairs take it 5 s, against 0.2 ms here.
    """
    signed, n = gaps(pairs), len(pairs)
    threshold = abs(math.fsum(signed)) - ROUNDING * math.fsum(abs(a) + abs(b) for a, b in pairs)
    if n > EXACT_PAIRS:
        signs_FN = np.random.default_rng(0).choice([-1.0, 1.0], (FLIPS, n))
        return (1 + int((np.abs(signs_FN @ np.array(signed)) >= threshold).sum())) / (FLIPS + 1)
    left, right = _signed_sums(signed[: n // 2]), np.sort(_signed_sums(signed[n // 2 :]))
    ways = len(left) * len(right)
    as_high = ways - int(np.searchsorted(right, threshold - left).sum())
    return min(1.0, 2 * as_high / ways)  # as many are as low: the signs' mirror image


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Scandinavian Journal of Statistics 6, 1979) of p-values, in their order.

    The smallest of m is multiplied by m, the next by m - 1, ...; none becomes smaller than one before it, or larger than 1.
    """
    corrected, largest = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = largest
    return corrected


def gaps(pairs: Sequence[tuple[float, float]]) -> list[float]:
    """first - second of each pair; 0 where they differ by rounding."""
    return [0.0 if math.isclose(a, b, rel_tol=ROUNDING) else a - b for a, b in pairs]


def smallest_p(n: int) -> float:
    """The smallest value that `sign_flip_p` can have for n pairs: 2 / 2^n where it is exact, and 1 for fewer than two."""
    return least_p(n) if n <= EXACT_PAIRS else 1 / (FLIPS + 1)


def _signed_sums(numbers: Sequence[float]) -> Floats:
    """(2^n,): the sums of the numbers with each choice of signs."""
    sums: Floats = np.zeros(1)
    for number in numbers:
        sums = np.concatenate([sums - number, sums + number])
    return sums
