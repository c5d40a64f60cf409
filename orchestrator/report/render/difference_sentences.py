"""Writes a paired difference as a sentence. Pure."""

from orchestrator.analysis.significance.exact_tests import EXACT_PAIRS, FLIPS, smallest_p
from orchestrator.analysis.significance.hypotheses import ERROR
from orchestrator.analysis.significance.paired_difference import Difference, NotRanked
from orchestrator.report.render.numbers import three_digits


def sentence(pair: Difference | NotRanked) -> str:
    """Returns a sentence on a pair: direction, size, interval, p-values, n, and whether a difference is shown; or why it is not ranked.

    A mean that rounds to 0 with the digits of its interval is called neither higher nor lower.
    """
    if isinstance(pair, NotRanked):
        return f"{pair.first} and {pair.second} are not ranked: {pair.reason}."
    mean, _, low, high = pair.over_seeds
    ends = (low, high) if mean >= 0 else (-high, -low)
    size, low_text, high_text = three_digits(abs(mean), *ends)
    equal = float(size) == 0
    relation = "on average as high as" if equal else "higher than" if mean > 0 else "lower than"
    comparison = f"{pair.first}'s {pair.quantity} is {relation} {pair.second}'s{'' if equal else f' by {size}'}"
    seeds = f"{pair.n} seed{'s' if pair.n > 1 else ''}" if pair.n == pair.n_planned else f"{pair.n} of {pair.n_planned} seeds"
    details = [seeds] if pair.n == 1 else [f"95 % interval {low_text} to {high_text}", *_p_values(pair), seeds]
    clauses = ["shown at 5 %" if pair.shown else "not shown at 5 %", *_limits(pair), *_about_zero(pair), *_caveats(pair)]
    return f"{comparison} ({', '.join(details)}): {'; '.join(clauses)}."


def _p_values(pair: Difference) -> list[str]:
    how = "exact" if pair.n <= EXACT_PAIRS else f"by {FLIPS:,} random sign flips"
    holm = [f"{pair.p_holm:.3g} after Holm over {pair.pairs} pairs"] if pair.pairs > 1 else []
    return [f"p = {pair.p:.3g} {how}", *holm]


def _limits(pair: Difference) -> list[str]:
    """Returns why so few seeds cannot show any difference; empty if they can."""
    smallest = smallest_p(pair.n)
    if pair.n == 1:
        return ["one seed has no spread, so there is neither an interval nor a test"]
    if smallest > ERROR:
        return [f"{pair.n} seeds cannot show it, as their smallest possible p is {smallest:.3g}"]
    if pair.least > ERROR:
        return [
            f"{pair.n} seeds cannot show it among {pair.pairs} pairs, as the smallest possible p after Holm is {pair.least:.3g}"
        ]
    return []


def _about_zero(pair: Difference) -> list[str]:
    """Returns whether the interval includes 0, and why it may seem to contradict the p-value; empty for a single seed."""
    if pair.over_seeds.low <= 0 <= pair.over_seeds.high:
        return ["but the interval includes 0" if pair.shown else "the interval includes 0"]
    if pair.n > 1 and not pair.shown:
        alone = " and is of this pair alone" if pair.pairs > 1 else ""
        return [f"the interval excludes 0, but assumes normal differences{alone}"]
    return []


def _caveats(pair: Difference) -> list[str]:
    missing = "seeds that one or both lack are left out, so these are no random sample"
    return [*([missing] if pair.n < pair.n_planned else []), *([pair.caveat] if pair.caveat else [])]
