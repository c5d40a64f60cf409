"""What one number per seed says of a claim, against scipy's own tests."""

import itertools

import numpy as np
import pytest
from scipy import stats

from orchestrator.analysis.intervals import summary
from orchestrator.analysis.significance.hypotheses import (
    BELOW,
    CONDITION,
    SHOWN,
    Measured,
    Region,
    compare_with_claim,
    least_p,
    limit,
    verdict,
)


def numbers(values, seeds=5, spread=0.01):
    """Seed to number, with a fixed spread whose mean is nought."""
    wiggle = np.linspace(-spread, spread, seeds)
    return {seed: values + float(wiggle[seed]) for seed in range(seeds)}


def test_contradiction_alone_is_corrected_for_several_comparisons():
    """An interval just below nought contradicts by itself and not among nine; support is the same either way."""
    sample = numbers(-0.01)
    assert summary(list(sample.values())).high < 0 < summary(list(sample.values()), 1 - 0.05 / 9).high
    assert [compare_with_claim(Measured("x", "share", sample), 5, k).outcome for k in (1, 9)] == ["contradicted", "undecided"]
    assert [compare_with_claim(Measured("x", "share", sample, BELOW), 5, k).outcome for k in (1, 9)] == ["supported", "supported"]


def test_a_verdict_needs_all_to_support_and_one_to_contradict():
    """Over all pairs of outcomes."""
    comparisons = [compare_with_claim(Measured("x", "share", numbers(mean)), 5, 1) for mean in (1.0, 0.0, -1.0)]
    table = {(a.outcome, b.outcome): verdict([a, b]) for a in comparisons for b in comparisons}
    for pair, said in table.items():
        expected = "contradicted" if "contradicted" in pair else "undecided" if "undecided" in pair else "supported"
        assert said == expected


@pytest.mark.parametrize(("seeds", "expected"), [(2, "undecided"), (3, "undecided"), (4, "supported"), (5, "supported")])
def test_few_seeds_that_agree_to_the_digit_decide_nothing(seeds, expected):
    """An interval of no width from two or three seeds is no certainty, on either side."""
    outcomes = {
        side: compare_with_claim(Measured("x", "share", numbers(side, seeds, 0.0)), seeds, 1).outcome for side in (0.1, -0.1)
    }
    assert outcomes[0.1] == expected
    assert outcomes[-0.1] == ("contradicted" if expected == "supported" else "undecided")


@pytest.mark.parametrize(
    ("mean", "expected"), [(5.0, "supported"), (-0.05, "supported"), (-0.1, "undecided"), (-0.2, "contradicted")]
)
def test_not_being_inferior_is_one_one_sided_test(mean, expected):
    """Above minus the margin, however far, is supported; scipy's one-sided test agrees."""
    sample = numbers(mean)
    comparison = compare_with_claim(Measured("x", "nats", sample, Region(low=-0.1)), 5, 1)
    p = stats.ttest_1samp(list(sample.values()), -0.1, alternative="greater").pvalue
    assert (comparison.outcome, str(comparison.claimed)) == (expected, "> −0.1")
    assert (p < 0.025) == (expected == "supported")


def test_the_sign_test_limit_is_that_of_scipys_binomial_test():
    """All of n differences on one side is the most that a sign test can see; the sentence says whether that is enough."""
    for n in range(2, 9):
        assert least_p(n) == pytest.approx(stats.binomtest(n, n).pvalue)
        assert ("cannot" in limit(n)) == (n < 6)
    assert "p ≥ 0.0625" in limit(5)
    assert limit(1) != limit(2)


@pytest.mark.parametrize(
    ("mean", "gains", "is_flat"),
    [
        (0.05, "supported", "contradicted"),
        (0.025, "undecided", "undecided"),
        (0.005, "undecided", "supported"),
        (-0.005, "undecided", "supported"),
        (-0.05, "contradicted", "supported"),
    ],
)
def test_a_claim_of_more_than_a_margin_is_contradicted_below_zero_alone(mean, gains, is_flat):
    """A gain of more than 0.02 is contradicted by a loss; less than 0.02 by more than 0.02. scipy's one-sided tests agree."""
    sample = numbers(mean)
    outcomes = [
        compare_with_claim(Measured("x", "share", sample, region), 5, 1).outcome
        for region in (Region(low=0.02), Region(high=0.02))
    ]
    assert outcomes == [gains, is_flat]

    def p(border, side):
        return stats.ttest_1samp(list(sample.values()), border, alternative=side).pvalue

    assert (p(0.02, "greater") < 0.025, p(0, "less") < 0.025) == (gains == "supported", gains == "contradicted")
    assert (p(0.02, "less") < 0.025, p(0.02, "greater") < 0.025) == (is_flat == "supported", is_flat == "contradicted")


@pytest.mark.parametrize(("opposed", "expected"), [((-1, -1), "contradicted"), ((-1, 1), "undecided"), ((1, 1), "undecided")])
def test_all_opposed_quantities_are_needed_to_contradict(opposed, expected):
    """Where a claim names what contradicts it, every one of them must lie outside."""
    samples = tuple(numbers(mean) for mean in opposed)
    assert compare_with_claim(Measured("x", "share", numbers(-1.0), opposed=samples), 5, 1).outcome == expected


def test_a_condition_is_needed_for_support_and_contradicts_nothing():
    """Over all pairs of a comparison that decides and a condition, each clearly above, at or clearly below its border."""
    means = {"supported": 1.0, "undecided": 0.0, "contradicted": -1.0}
    for (decided, first), (_, second) in itertools.product(means.items(), means.items()):
        pair = [
            compare_with_claim(Measured("x", "share", numbers(first)), 5, 1),
            compare_with_claim(Measured("y", "share", numbers(second), role=CONDITION), 5, 1),
        ]
        assert pair[1].outcome == ("supported" if second > 0 else "undecided")
        assert verdict(pair) == ("undecided" if decided == "supported" and second <= 0 else decided)


def test_what_is_only_shown_changes_no_verdict():
    """With a comparison that is only shown on the other side, the verdict stays."""
    shown = compare_with_claim(Measured("y", "share", numbers(-1.0), role=SHOWN), 5, 1)
    assert shown.outcome == "contradicted"
    assert verdict([compare_with_claim(Measured("x", "share", numbers(1.0)), 5, 1), shown]) == "supported"


def test_where_nothing_is_claimed_nothing_is_decided():
    """A quantity without a claim has its effect and interval, and no outcome on either side."""
    for mean in (1.0, -1.0):
        comparison = compare_with_claim(Measured("x", "share", numbers(mean), Region(), role=SHOWN), 5, 1)
        assert (comparison.outcome, str(comparison.claimed)) == ("undecided", "–")
        assert comparison.effect == pytest.approx(mean)
        assert comparison.low < comparison.effect < comparison.high
