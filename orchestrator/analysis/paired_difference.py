"""A paired difference over seeds, and what it says in a sentence. Pure."""

import math
from dataclasses import dataclass

from orchestrator.analysis.effects import ERROR
from orchestrator.analysis.exact_tests import EXACT_PAIRS, FLIPS, smallest_p


@dataclass(frozen=True)
class NotRanked:
    """A pair that is not compared, and why not."""

    first: str
    second: str
    reason: str

    @property
    def sentence(self) -> str:
        """Names the pair and the reason."""
        return f"{self.first} and {self.second} are not ranked: {self.reason}."


@dataclass(frozen=True)
class Difference:
    """first - second over the seeds that both have complete, in the quantity's unit."""

    first: str
    second: str
    quantity: str
    seeds: tuple[int, ...]
    n_planned: int
    mean: float
    sd: float
    """With n - 1; NaN for a single seed."""
    low: float
    """Of the 95 % t interval of the mean; NaN for a single seed."""
    high: float
    p: float
    """Two-sided, by flipping signs: exact for up to `EXACT_PAIRS` seeds. 1 for a single seed."""
    p_holm: float
    """Corrected over the `pairs` that were compared together; pairs that are not ranked do not count."""
    pairs: int
    least: float
    """The smallest that `p_holm` could be with this many pairs and seeds, whatever the numbers."""
    caveat: str = ""

    @property
    def n(self) -> int:
        """Seeds that both have complete."""
        return len(self.seeds)

    @property
    def shown(self) -> bool:
        """Whether the corrected p-value is at most 5 %."""
        return self.p_holm <= ERROR

    @property
    def sentence(self) -> str:
        """Direction, size, interval, p-values and n, and whether a difference is shown."""
        return _sentence(self)


def _sentence(one: Difference) -> str:
    """A mean that is 0 to the digits of its interval is called neither higher nor lower."""
    low, high = (one.low, one.high) if one.mean >= 0 else (-one.high, -one.low)
    size, *ends = _spelled(abs(one.mean), low, high)
    is_ = "on average as high as" if float(size) == 0 else "higher than" if one.mean > 0 else "lower than"
    said = f"{one.first}'s {one.quantity} is {is_} {one.second}'s" + ("" if float(size) == 0 else f" by {size}")
    seeds = f"{one.n} seed{'s' if one.n > 1 else ''}" if one.n == one.n_planned else f"{one.n} of {one.n_planned} seeds"
    details = [seeds] if one.n == 1 else [f"95 % interval {ends[0]} to {ends[1]}", *_p_said(one), seeds]
    clauses = ["shown at 5 %" if one.shown else "not shown at 5 %", *_limits(one), *_interval_said(one), *_doubts(one)]
    return f"{said} ({', '.join(details)}): {'; '.join(clauses)}."


def _spelled(*numbers: float) -> list[str]:
    """With the decimals that give the largest three digits; NaN is not among the largest."""
    largest = max((abs(number) for number in numbers if number and not math.isnan(number)), default=1.0)
    decimals = max(0, 2 - math.floor(math.log10(largest)))
    return [f"{number:.{decimals}f}".replace("-", "−") for number in numbers]


def _p_said(one: Difference) -> list[str]:
    how = "exact" if one.n <= EXACT_PAIRS else f"by {FLIPS:,} random sign flips"
    return [f"p = {one.p:.3g} {how}", *([f"{one.p_holm:.3g} after Holm over {one.pairs} pairs"] if one.pairs > 1 else [])]


def _limits(one: Difference) -> list[str]:
    """What so few seeds could not show, whatever the numbers."""
    alone = smallest_p(one.n)
    if one.n == 1:
        return ["one seed has no spread, so there is neither an interval nor a test"]
    if alone > ERROR:
        return [f"{one.n} seeds cannot show it, as their smallest possible p is {alone:.3g}"]
    if one.least > ERROR:
        return [f"{one.n} seeds cannot show it among {one.pairs} pairs, as the smallest possible p after Holm is {one.least:.3g}"]
    return []


def _interval_said(one: Difference) -> list[str]:
    """Where the interval adds to the p-value, or seems to contradict it; nothing for a single seed."""
    if one.low <= 0 <= one.high:
        return ["but the interval includes 0" if one.shown else "the interval includes 0"]
    if one.n > 1 and not one.shown:
        alone = " and is of this pair alone" if one.pairs > 1 else ""
        return [f"the interval excludes 0, but assumes normal differences{alone}"]
    return []


def _doubts(one: Difference) -> list[str]:
    missing = "seeds that one or both lack are left out, so these are no random sample"
    return [*([missing] if one.n < one.n_planned else []), *([one.caveat] if one.caveat else [])]
