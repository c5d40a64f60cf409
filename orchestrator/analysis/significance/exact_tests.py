"""Exact tests of paired numbers, and Holm's correction. Pure."""

import math
from collections.abc import Sequence

import numpy as np

from orchestrator.analysis.dominance import Floats
from orchestrator.analysis.significance.hypotheses import least_p

EXACT_PAIRS = 40
"""Up to this many pairs, the sign-flip test is exact. The two halves then have at most 2^20 sums each."""
FLIPS = 10_000
"""Random choices of signs for more pairs."""
ROUNDING = 1e-12
"""Relative difference up to which two numbers count as equal."""


def sign_flip_p(pairs: Sequence[tuple[float, float]]) -> float:
    """Returns the two-sided p-value of the pairs' mean difference, if all 2^n choices of signs are equally likely; 1 for no pair.

    Choices whose means differ only by rounding count as equal. The count is exact up to `EXACT_PAIRS` pairs: every sum of one half is
    looked up among the sorted sums of the other half. For more pairs, the p-value is estimated from random choices of signs and the
    observed signs (Phipson and Smyth, Statistical Applications in Genetics and Molecular Biology 9, 2010).

    SciPy's `permutation_test` measures ties by the mean, not by the numbers: in 90 of 300 samples of nats near -1900 with one decimal, it
    missed ties. It takes 5 s for 20 pairs, and this function 0.2 ms.
    """
    differences, n = gaps(pairs), len(pairs)
    threshold = abs(math.fsum(differences)) - ROUNDING * math.fsum(abs(a) + abs(b) for a, b in pairs)
    if n > EXACT_PAIRS:
        signs_FN = np.random.default_rng(0).choice([-1.0, 1.0], (FLIPS, n))
        as_far = int((np.abs(signs_FN @ np.array(differences)) >= threshold).sum())
        return (1 + as_far) / (FLIPS + 1)
    left, right = _signed_sums(differences[: n // 2]), np.sort(_signed_sums(differences[n // 2 :]))
    choices = len(left) * len(right)
    as_high = choices - int(np.searchsorted(right, threshold - left).sum())
    return min(1.0, 2 * as_high / choices)  # as many are as low, because each choice has an opposite


def holm(p: Sequence[float]) -> list[float]:
    """Returns p-values with Holm's step-down correction (Scandinavian Journal of Statistics 6, 1979), in their order.

    The smallest of m is multiplied by m, the next by m - 1, and so on. No corrected value is below that of a smaller p-value, or above 1.
    """
    corrected, largest = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - rank) * p[index]))
        corrected[index] = largest
    return corrected


def gaps(pairs: Sequence[tuple[float, float]]) -> list[float]:
    """Returns first - second of each pair; 0 if the two differ only by rounding."""
    return [0.0 if math.isclose(a, b, rel_tol=ROUNDING) else a - b for a, b in pairs]


def smallest_p(n: int) -> float:
    """Returns the smallest value that `sign_flip_p` can have for n pairs: 2 / 2^n where it is exact, and 1 for fewer than two pairs."""
    return least_p(n) if n <= EXACT_PAIRS else 1 / (FLIPS + 1)


def _signed_sums(numbers: Sequence[float]) -> Floats:
    """Returns (2^n,): the sums of the numbers with each choice of signs."""
    sums: Floats = np.zeros(1)
    for number in numbers:
        sums = np.concatenate([sums - number, sums + number])
    return sums
