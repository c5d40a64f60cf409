"""One number a seed against what was claimed of its mean: effect, interval, outcome. Pure.

Intervals are Student's t over seeds, and assume that the seeds' numbers are roughly normal. A claim of several comparisons is
supported only if each one is: asking that of uncorrected 95 % intervals errs in at most 2.5 % of cases, however many there are
(intersection-union). It is contradicted if a single one is, so there the k intervals are Bonferroni's, 1 - 5 %/k. Different claims,
and different data, are not corrected for one another.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from orchestrator.aggregate import CONFIDENCE
from orchestrator.groups import Sample

SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"


@dataclass(frozen=True)
class Measured:
    """One quantity of each seed, and where its mean is claimed to be."""

    what: str
    unit: str
    sample: Sample
    side: int = 1
    """1: above zero; -1: below. Without meaning where there is a margin."""
    margin: float | None = None
    """Claimed is a mean within ± this of zero: two one-sided tests at 2.5 % each, by the same 95 % interval."""
    counts: bool = True
    """Whether it enters its claim's verdict, or is only shown."""


@dataclass(frozen=True)
class Comparison:
    """A mean over seeds with its interval, and what that says of the claim."""

    what: str
    unit: str
    claimed: str
    """`> 0`, `< 0` or `within ± 38`."""
    effect: float
    """Mean over the seeds; NaN without any."""
    low: float
    """Of the 95 % interval; NaN for fewer than two seeds."""
    high: float
    n: int
    """Seeds behind it."""
    n_planned: int
    counts: bool
    outcome: str
    """`supported`, `contradicted` or `undecided`; always the last where planned seeds are missing: survivors are no random sample."""
    clearance: float
    """How far the effect is on the claimed side (of zero, or of the margin), in half widths of the interval; above 1 is supported."""


def judge(measured: Measured, planned: int, among: int) -> Comparison:
    """The comparison, where `planned` seeds were to be had and `among` comparisons decide together."""
    numbers = list(measured.sample.values())
    effect = math.fsum(numbers) / len(numbers) if numbers else math.nan
    low, high = interval(numbers, CONFIDENCE)
    corrected = interval(numbers, 1 - (1 - CONFIDENCE) / among)
    outcome = UNDECIDED
    if len(numbers) >= max(2, planned):
        outcome = _outcome(_inside(measured, low, high), _inside(measured, *corrected))
    distance = _inside(measured, effect, effect)[0]
    clearance = distance / ((high - low) / 2) if high > low else math.copysign(math.inf, distance) if high == low else 0.0
    return Comparison(
        measured.what,
        measured.unit,
        _claimed(measured),
        effect,
        low,
        high,
        len(numbers),
        planned,
        measured.counts,
        outcome,
        clearance,
    )


def interval(numbers: Sequence[float], confidence: float) -> tuple[float, float]:
    """Student's t interval of the mean; NaN for fewer than two numbers."""
    n = len(numbers)
    if n < 2:
        return math.nan, math.nan
    mean = math.fsum(numbers) / n
    sd = math.sqrt(math.fsum((number - mean) ** 2 for number in numbers) / (n - 1))
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * sd / math.sqrt(n)
    return mean - half, mean + half


def verdict(comparisons: Sequence[Comparison]) -> str:
    """Supported if every comparison that counts is; contradicted if one of them is; else undecided."""
    outcomes = {comparison.outcome for comparison in comparisons if comparison.counts}
    if CONTRADICTED in outcomes:
        return CONTRADICTED
    return SUPPORTED if outcomes == {SUPPORTED} else UNDECIDED


def least_p(n: int) -> float:
    """The smallest p-value of a two-sided sign test on n pairs: all differences on one side, 2 * 0.5^n."""
    return min(1.0, 2 * 0.5**n)


def limit(n: int) -> str:
    """What a test on n paired seeds can and cannot show, as a sentence."""
    if n < 2:
        return f"n = {n}: no spread over seeds is known, so there is no interval and nothing is decided."
    reach = "cannot be significant at 5 %" if least_p(n) > 1 - CONFIDENCE else "is significant at 5 % if all seeds agree"
    return (
        f"n = {n}: a two-sided sign test has p ≥ {least_p(n):.4g} and {reach}; the t intervals go further only by assuming that "
        "differences between seeds are normal, and speak of seeds alone, on one test set."
    )


def _inside(measured: Measured, low: float, high: float) -> tuple[float, float]:
    """How far the worst and the best end of an interval are on the claimed side; negative on the other."""
    if measured.margin is None:
        return (low, high) if measured.side > 0 else (-high, -low)
    worst = measured.margin - max(abs(low), abs(high))
    best = measured.margin - (0.0 if low <= 0 <= high else min(abs(low), abs(high)))
    return worst, best


def _outcome(ends: tuple[float, float], corrected: tuple[float, float]) -> str:
    if ends[0] > 0:
        return SUPPORTED
    return CONTRADICTED if corrected[1] < 0 else UNDECIDED


def _claimed(measured: Measured) -> str:
    if measured.margin is not None:
        return f"within ± {measured.margin:.3g}"
    return "> 0" if measured.side > 0 else "< 0"
