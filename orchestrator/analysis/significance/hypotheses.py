"""One number per seed against what is claimed of its mean: effect, interval, outcome. Pure.

Intervals are Student's t over seeds. They assume that the seeds' numbers are roughly normal.

A claim of several comparisons is supported if every comparison is. With uncorrected 95 % intervals this errs in at most 2.5 % of cases,
however many comparisons there are (intersection-union). A claim is contradicted if a single comparison is. There the k intervals are
Bonferroni's, 1 - 5 %/k. Different claims, and different data, are not corrected for one another.

A comparison may also be a condition without which the claim says nothing, such as that a model is above chance. If the condition is not
established, the claim is undecided. A condition contradicts nothing.

A t interval collapses where numbers are few and coarse. Of pure noise, three seeds have the same rank correlation over three betas in
one case of twelve, and then an interval of no width. Rank correlations are therefore decided by p-values (`rank_correlation.tau_p`), at
the same levels. Two or three seeds that agree to the last digit decide nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.analysis.intervals import CONFIDENCE, summary
from orchestrator.analysis.model_groups import Sample

SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"
OUTCOMES = (CONTRADICTED, UNDECIDED, SUPPORTED)
"""In order: the least favourable to a claim first."""
DECIDES, CONDITION, SHOWN = "decides", "condition", "shown"
"""Roles of a comparison: it supports or contradicts its claim; it is needed for support and contradicts nothing; it is only shown."""
ERROR = 1 - CONFIDENCE
FEWEST_ALIKE = 4  # seeds whose agreement to the last digit counts as a spread of zero


@dataclass(frozen=True)
class Region:
    """Where a mean is claimed to be: above `low`, or below `high`. Without either, nothing is claimed."""

    low: float = -math.inf
    high: float = math.inf

    def __str__(self) -> str:
        """`> 0` or `< 0.02`; a dash if nothing is claimed."""
        if not self.is_bounded:
            return "–"
        text = f"> {self.low:.3g}" if math.isinf(self.high) else f"< {self.high:.3g}"
        return text.replace("-", "−")

    @property
    def is_bounded(self) -> bool:
        """Whether anything is claimed."""
        return not (math.isinf(self.low) and math.isinf(self.high))

    def room(self, low: float, high: float) -> float:
        """How far inside the region the worse end of an interval is; negative outside."""
        return min(low - self.low, self.high - high)

    def reach(self, low: float, high: float) -> float:
        """How far an interval reaches into the region or to zero, whichever is nearer; negative if it reaches neither.

        So a claim of more than 0.02 is contradicted by less than 0, and not by 0.01.
        """
        return min(high - min(self.low, 0.0), max(self.high, 0.0) - low)


ABOVE, BELOW, ANYWHERE = Region(low=0.0), Region(high=0.0), Region()


@dataclass(frozen=True)
class Measured:
    """One quantity, a number per seed, and where its mean is claimed to be."""

    what: str
    unit: str
    sample: Sample
    claimed: Region = ABOVE
    opposed: tuple[Sample, ...] = ()
    """The quantities that contradict the claim if all of them lie outside; empty if the quantity itself does."""
    p: tuple[float, float] | None = None
    """One-sided p-values of a mean as high, and of a mean as low. Where they are given, they decide and not the interval."""
    role: str = DECIDES
    exact: bool = True
    """Whether the p-values are counted, and not approximated."""

    @property
    def counts(self) -> bool:
        """Whether the verdict on the claim depends on it."""
        return self.role != SHOWN


@dataclass(frozen=True)
class Comparison:
    """A mean over seeds with its interval, and what that says of the claim."""

    what: str
    unit: str
    claimed: Region
    effect: float
    """Mean over the seeds; NaN without any."""
    low: float
    """Of the 95 % interval; NaN for fewer than two seeds."""
    high: float
    p: float
    """One-sided p-value of an effect as far on its own side of zero, where the p-value decides; NaN where the interval does."""
    n: int
    """Seeds behind it."""
    n_planned: int
    role: str
    """`decides`, `condition` or `shown`."""
    outcome: str
    """`supported`, `contradicted` or `undecided`. Undecided if planned seeds are missing: the others are no random sample. Also
    undecided if nothing is claimed."""
    clearance: float
    """How far the effect is on the claimed side of the nearest border, in half widths of the interval: above 1 where an interval
    supports. 0 at the border and without an interval."""
    exact: bool = True
    """Whether `p` is counted, and not approximated."""

    @property
    def counts(self) -> bool:
        """Whether the verdict on the claim depends on it."""
        return self.role != SHOWN

    @property
    def lacks_seeds(self) -> bool:
        """Whether fewer seeds are behind it than were planned."""
        return self.n < self.n_planned

    @property
    def favour(self) -> tuple[int, bool, float]:
        """Sorts comparisons, the least favourable to their claim first; among undecided ones, those that lack seeds first."""
        return OUTCOMES.index(self.outcome), not self.lacks_seeds, self.clearance


def judge(measured: Measured, planned: int, among: int) -> Comparison:
    """The comparison of a quantity with its claim. `planned` seeds were planned; `among` comparisons can contradict the claim."""
    numbers = list(measured.sample.values())
    effect, _, low, high = summary(numbers)
    outcome = UNDECIDED
    if measured.claimed.is_bounded and len(numbers) >= max(2, planned):
        outcome = _by_interval(measured, among) if measured.p is None else _by_p(measured.claimed, measured.p, among)
    return Comparison(
        what=measured.what,
        unit=measured.unit,
        claimed=measured.claimed,
        effect=effect,
        low=low,
        high=high,
        p=math.nan if measured.p is None else min(measured.p),
        n=len(numbers),
        n_planned=planned,
        role=measured.role,
        outcome=outcome,
        clearance=_clearance(measured.claimed.room(effect, effect), (high - low) / 2),
        exact=measured.exact,
    )


def verdict(comparisons: Sequence[Comparison]) -> str:
    """Contradicted if one of the comparisons that count is; supported if all of them are; else undecided."""
    outcomes = {comparison.outcome for comparison in comparisons if comparison.counts}
    if CONTRADICTED in outcomes:
        return CONTRADICTED
    return SUPPORTED if outcomes == {SUPPORTED} else UNDECIDED


def least_p(n: int) -> float:
    """The smallest p-value that a two-sided sign test on n pairs can have, with all differences on one side: 2 * 0.5^n."""
    return min(1.0, 2 * 0.5**n)


def limit(n: int) -> str:
    """What a test on n paired seeds can and cannot show, as a sentence."""
    if n < 2:
        return f"n = {n}: no spread over seeds is known, so there is no interval and nothing is decided."
    reach = "cannot be significant at 5 %" if least_p(n) > ERROR else "is significant at 5 % if all seeds agree"
    return (
        f"n = {n}: a two-sided sign test has p ≥ {least_p(n):.4g} and {reach}; the t intervals go further only by assuming that "
        "differences between seeds are normal, and speak of seeds alone, on one test set."
    )


def _by_interval(measured: Measured, among: int) -> str:
    supports = list(measured.sample.values())
    opposes = [list(sample.values()) for sample in measured.opposed] or [supports]
    if any(len(numbers) < FEWEST_ALIKE and _alike(numbers) for numbers in (supports, *opposes)):
        return UNDECIDED
    supporting = summary(supports)
    if measured.claimed.room(supporting.low, supporting.high) > 0:
        return SUPPORTED
    opposing = [summary(numbers, 1 - ERROR / among) for numbers in opposes]
    if measured.role != CONDITION and all(measured.claimed.reach(ends.low, ends.high) < 0 for ends in opposing):
        return CONTRADICTED
    return UNDECIDED


def _by_p(claimed: Region, p: tuple[float, float], among: int) -> str:
    supports, opposes = p if claimed == ABOVE else reversed(p)
    if supports <= ERROR / 2:
        return SUPPORTED
    return CONTRADICTED if opposes <= ERROR / 2 / among else UNDECIDED


def _alike(numbers: Sequence[float]) -> bool:
    """Whether the numbers differ by no more than rounding."""
    return math.isclose(min(numbers), max(numbers), rel_tol=1e-9, abs_tol=1e-12)


def _clearance(distance: float, half: float) -> float:
    if math.isnan(half) or distance == 0:
        return 0.0
    return distance / half if half > 0 else math.copysign(math.inf, distance)
