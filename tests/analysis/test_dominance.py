"""Dominance and hypervolumes, counted point by point."""

import numpy as np
import pytest

from orchestrator.analysis.dominance import dominated_count, net_dominance
from orchestrator.analysis.hypervolume import shares_of_the_box

MODELS = ("mvae", "mmvae", "mopoe")


def test_hypervolumes_are_areas_of_unions_and_share_one_box():
    """Against a grid that counts cells, with the worst value of all points as reference."""
    chance = np.random.default_rng(1)
    points = {model: {0: chance.integers(0, 11, (4, 2)).astype(float)} for model in MODELS}
    every = np.concatenate([array[0] for array in points.values()])
    low, high = every.min(0), every.max(0)
    centres = [np.arange(a, b) + 0.5 for a, b in zip(low, high, strict=True)]
    for model, volume in shares_of_the_box(points).items():
        hit = [any(p[0] > x and p[1] > y for p in points[model][0]) for x in centres[0] for y in centres[1]]
        assert volume[0] == pytest.approx(np.mean(hit))


def test_dominated_points_are_counted_as_by_a_loop():
    """Over random points with ties."""
    for seed in range(20):
        front, others = np.random.default_rng(seed).integers(0, 4, (2, 6, 2)).astype(float)
        expected = sum(any((f >= o).all() and (f > o).any() for f in front) for o in others)
        assert dominated_count(front, others) == expected


def test_net_dominance_is_a_count_of_pairs():
    """Over random points with ties: pairs in which the first is as good on both axes and better on one, less the reverse."""
    for seed in range(20):
        first, second = (
            np.random.default_rng([seed, place]).integers(0, 4, (size, 2)).astype(float) for place, size in ((0, 3), (1, 5))
        )
        pairs = [(a, b) for a in first for b in second]
        wins, losses = (sum((x >= y).all() and (x > y).any() for x, y in order) for order in (pairs, [(b, a) for a, b in pairs]))
        assert net_dominance(first, second) == pytest.approx((wins - losses) / 15)
        assert net_dominance(second, first) == pytest.approx((losses - wins) / 15)


def test_sets_that_scatter_differently_dominate_each_other_as_often():
    """Around one mean, ten times the scatter wins no pairs on average, although its best points dominate more of the others."""
    rng = np.random.default_rng(0)
    draws = [(rng.normal(0, 10, (6, 2)), rng.normal(0, 1, (6, 2))) for _ in range(2000)]
    net = [net_dominance(wide, narrow) for wide, narrow in draws]
    assert abs(np.mean(net)) < 4 * np.std(net) / len(net) ** 0.5
    wide_best, narrow_best = (np.mean([dominated_count(*pair) for pair in order]) for order in (draws, [d[::-1] for d in draws]))
    assert wide_best > 2 * narrow_best
