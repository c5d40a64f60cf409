"""Compares a quantity, with one number for each seed, with a claim about its mean: effect, interval, outcome. Pure.

Intervals are Student's t over seeds. They assume that the seeds' numbers are roughly normal.

A claim with several comparisons is supported if every comparison is. With uncorrected 95 % intervals this errs in at most 2.5 % of cases,
for any number of comparisons (intersection-union). A claim is contradicted if a single comparison is. For this, the k intervals are
Bonferroni's, 1 - 5 %/k. There is no correction over several claims or several data sets.

A comparison may also be a condition, without which the claim has no meaning, such as that a model is above chance. If the condition is
not established, the claim is undecided. A condition cannot contradict a claim.

A t interval can collapse if numbers are few and coarse. With pure noise, three seeds have the same rank correlation over three betas in
one case of twelve, and the interval then has no width. Therefore p-values (`rank_correlation.tau_p`) at the same levels decide on rank
correlations. Two or three seeds that agree to the last digit decide nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.analysis.intervals import CONFIDENCE, summary
from orchestrator.analysis.model_groups import Sample

SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"
OUTCOMES = (CONTRADICTED, UNDECIDED, SUPPORTED)
"""The outcomes in order, the least favourable to a claim first."""
DECIDES, CONDITION, SHOWN = "decides", "condition", "shown"
"""Roles of a comparison: it supports or contradicts its claim; it is needed for support and cannot contradict; it is only shown."""
ERROR = 1 - CONFIDENCE
FEWEST_ALIKE = 4
"""Only from this many seeds on, agreement to the last digit counts as a spread of zero."""


@dataclass(frozen=True)
class Region:
    """The values that a mean is claimed to have: above `low`, or below `high`. With neither bound, nothing is claimed."""

    low: float = -math.inf
    high: float = math.inf

    def __str__(self) -> str:
        """Returns `> 0` or `< 0.02`; a dash if nothing is claimed."""
        if not self.is_bounded:
            return "–"
        text = f"> {self.low:.3g}" if math.isinf(self.high) else f"< {self.high:.3g}"
        return text.replace("-", "−")

    @property
    def is_bounded(self) -> bool:
        """Whether anything is claimed."""
        return not (math.isinf(self.low) and math.isinf(self.high))

    def room(self, low: float, high: float) -> float:
        """Returns how far the worse end of an interval is inside the region; negative if it is outside."""
        return min(low - self.low, self.high - high)

    def reach(self, low: float, high: float) -> float:
        """Returns how far an interval reaches into the region, or beyond zero if zero is nearer; negative if it reaches neither.

        So a claim of more than 0.02 is contradicted by an interval below 0, and not by one around 0.01.
        """
        return min(high - min(self.low, 0.0), max(self.high, 0.0) - low)


ABOVE, BELOW, ANYWHERE = Region(low=0.0), Region(high=0.0), Region()


@dataclass(frozen=True)
class Measured:
    """A quantity with a number for each seed, and the claim about its mean."""

    what: str
    unit: str
    sample: Sample
    claimed: Region = ABOVE
    opposed: tuple[Sample, ...] = ()
    """Quantities that together contradict the claim if the means of all are outside the region; empty if `sample` alone decides."""
    p: tuple[float, float] | None = None
    """One-sided p-values of a mean at least as high, and of one at least as low. If given, they decide in place of the interval."""
    role: str = DECIDES
    exact: bool = True
    """Whether the p-values are exact, and not approximate."""

    @property
    def counts(self) -> bool:
        """Whether the verdict on the claim depends on this quantity."""
        return self.role != SHOWN


@dataclass(frozen=True)
class Comparison:
    """A mean over seeds with its interval, and its outcome for the claim."""

    what: str
    unit: str
    claimed: Region
    effect: float
    """The mean over the seeds; NaN without seeds."""
    low: float
    """Lower end of the 95 % interval; NaN for fewer than two seeds."""
    high: float
    """Upper end of the 95 % interval; NaN for fewer than two seeds."""
    p: float
    """One-sided p-value of an effect at least as far from zero on the same side. NaN if the interval decides."""
    n: int
    """Number of seeds with a value."""
    n_planned: int
    role: str
    """`decides`, `condition` or `shown`."""
    outcome: str
    """`supported`, `contradicted` or `undecided`. Undecided if planned seeds are missing, because the others are no random sample. Also
    undecided if nothing is claimed."""
    clearance: float
    """Distance of the effect from the nearest border of the region, in half widths of the interval: positive inside, and above 1 if the
    interval supports the claim. 0 at the border and without an interval."""
    exact: bool = True
    """Whether `p` is exact, and not approximate."""

    @property
    def counts(self) -> bool:
        """Whether the verdict on the claim depends on this comparison."""
        return self.role != SHOWN

    @property
    def lacks_seeds(self) -> bool:
        """Whether there are fewer seeds than planned."""
        return self.n < self.n_planned

    @property
    def favour(self) -> tuple[int, bool, float]:
        """A key that sorts the least favourable to the claim first. Of undecided comparisons, those that lack seeds come first."""
        return OUTCOMES.index(self.outcome), not self.lacks_seeds, self.clearance


def compare_with_claim(measured: Measured, planned: int, among: int) -> Comparison:
    """Returns the comparison of a quantity with its claim. `planned` is the number of planned seeds.

    `among` is the number of comparisons that can contradict the claim.
    """
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
    """Returns the verdict on a claim from the comparisons that count: contradicted if one is, supported if all are, else undecided."""
    outcomes = {comparison.outcome for comparison in comparisons if comparison.counts}
    if CONTRADICTED in outcomes:
        return CONTRADICTED
    return SUPPORTED if outcomes == {SUPPORTED} else UNDECIDED


def least_p(n: int) -> float:
    """Returns the smallest p-value that a two-sided sign test on n pairs can have, 2 * 0.5^n: all differences have the same sign."""
    return min(1.0, 2 * 0.5**n)


def limit(n: int) -> str:
    """Returns a sentence on what a test on n paired seeds can and cannot show."""
    if n < 2:
        return f"n = {n}: no spread over seeds is known, so there is no interval and nothing is decided."
    reach = "cannot be significant at 5 %" if least_p(n) > ERROR else "is significant at 5 % if all seeds agree"
    return (
        f"n = {n}: a two-sided sign test has p ≥ {least_p(n):.4g} and {reach}; the t intervals go further only by assuming that "
        "differences between seeds are normal, and speak of seeds alone, on one test set."
    )


def _by_interval(measured: Measured, among: int) -> str:
    """Returns the outcome that the t intervals decide."""
    numbers = list(measured.sample.values())
    opposed = [list(sample.values()) for sample in measured.opposed] or [numbers]
    if any(len(sample) < FEWEST_ALIKE and _alike(sample) for sample in (numbers, *opposed)):
        return UNDECIDED
    supporting = summary(numbers)
    if measured.claimed.room(supporting.low, supporting.high) > 0:
        return SUPPORTED
    opposing = [summary(sample, 1 - ERROR / among) for sample in opposed]
    if measured.role != CONDITION and all(measured.claimed.reach(ends.low, ends.high) < 0 for ends in opposing):
        return CONTRADICTED
    return UNDECIDED


def _by_p(claimed: Region, p: tuple[float, float], among: int) -> str:
    """Returns the outcome that the p-values decide."""
    p_high, p_low = p
    supporting, opposing = (p_high, p_low) if claimed == ABOVE else (p_low, p_high)
    if supporting <= ERROR / 2:
        return SUPPORTED
    return CONTRADICTED if opposing <= ERROR / 2 / among else UNDECIDED


def _alike(numbers: Sequence[float]) -> bool:
    """Whether the numbers differ by no more than rounding."""
    return math.isclose(min(numbers), max(numbers), rel_tol=1e-9, abs_tol=1e-12)


def _clearance(distance: float, half_width: float) -> float:
    if math.isnan(half_width) or distance == 0:
        return 0.0
    return distance / half_width if half_width > 0 else math.copysign(math.inf, distance)
