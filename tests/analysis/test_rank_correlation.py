"""Rank correlations over seeds, and their p-values, against scipy and against every order."""

import itertools

import numpy as np
import pytest
from scipy import stats

from orchestrator.analysis.significance.hypotheses import Measured, compare_with_claim
from orchestrator.analysis.significance.rank_correlation import tau, tau_p


@pytest.mark.parametrize(("seeds", "betas"), [(2, 3), (3, 3), (2, 6)])
def test_noise_seldom_decides_the_trend(seeds, betas):
    """Of 2000 comparisons of random numbers with few seeds at most 2.5 % fall on either side, as the level says."""
    chance = np.random.default_rng(2)
    outcomes = []
    for _ in range(2000):
        values = chance.normal(size=(seeds, betas)).tolist()
        sample = {seed: tau(own) for seed, own in enumerate(values)}
        outcomes.append(compare_with_claim(Measured("x", "tau", sample, p=tau_p(values)), seeds, 1).outcome)
    for outcome in ("supported", "contradicted"):
        assert outcomes.count(outcome) / len(outcomes) <= 0.035  # three standard errors above 2.5 %


@pytest.mark.parametrize("samples", [[[3, 1, 2]], [[1, 1, 2], [3, 2, 1]], [[0, 0, 0], [1, 2, 3]], [[1, 2, 2, 1], [4, 3, 1, 2]]])
def test_the_exact_p_is_a_count_of_all_orders(samples):
    """With ties and without, against every permutation of every sample, each as likely."""
    observed = sum(tau(values) for values in samples)
    null = [sum(map(tau, orders)) for orders in itertools.product(*(itertools.permutations(values) for values in samples))]
    high, low = (np.mean([sign * found >= sign * observed - 1e-9 for found in null]) for sign in (1, -1))
    assert tau_p(samples) == pytest.approx((high, low))


def test_tau_and_its_p_are_scipys_for_one_sample_without_ties():
    """Over random orders of six and nine values, with scipy's exact test."""
    chance = np.random.default_rng(3)
    for size in (6, 9):
        values = chance.permutation(size).tolist()
        greater, less = (stats.kendalltau(range(size), values, method="exact", alternative=side) for side in ("greater", "less"))
        assert tau(values) == pytest.approx(greater.statistic)
        assert tau_p([values]) == pytest.approx((greater.pvalue, less.pvalue))
