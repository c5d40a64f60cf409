"""Computes the probability that each cell is on the front, from the spread over seeds. Pure."""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from orchestrator.analysis.dominance import Floats, non_dominated

ENUMERATED_SEEDS = 6
"""Up to this many seeds, all resamples are used: 6^6 = 46,656, of which 462 are distinct. For more seeds, `RESAMPLES` are drawn."""
RESAMPLES = 10_000
RESAMPLES_AT_ONCE = 100
"""The means of all resamples at once would take 320 MB for two thousand cells."""


def front_probability(values_CSO: Floats, maximise: NDArray[np.bool_]) -> Floats | None:
    """Returns (C,): the share of the resamples of the S seeds in which each cell is on the front; None for fewer than two seeds.

    This is a paired bootstrap: seeds are drawn with replacement, the same for every cell, because cells share their seeds. Then the means
    and the front are computed from the drawn seeds. It assumes that the seeds are an independent random sample. It does not cover the
    choice of the test set, which all cells share. With few seeds it is coarse and overconfident: two seeds give three distinct resamples.
    """
    if len(values_CSO) == 0 or values_CSO.shape[1] < 2:
        return None
    seeds = values_CSO.shape[1]
    counts_RS, weights_R = _resamples(seeds)
    share_C: Floats = np.zeros(len(values_CSO))
    for start in range(0, len(weights_R), RESAMPLES_AT_ONCE):
        batch = slice(start, start + RESAMPLES_AT_ONCE)
        means_RCO = np.einsum("rs,cso->rco", counts_RS[batch] / seeds, values_CSO)
        for means_CO, weight in zip(means_RCO, weights_R[batch], strict=True):
            share_C += weight * non_dominated(means_CO, maximise)
    return share_C


def spread_probability(values_SO: Sequence[Floats], maximise: NDArray[np.bool_]) -> Floats | None:
    """Returns (C,): the probability that each cell is on the front, for cells with different seeds. Each cell has an array (S, O).

    The mean of a cell with n seeds is taken as normal with the variance over seeds divided by n. The variance is taken as the same for
    all cells, because the few seeds of one cell do not determine it, and the seeds of all cells together do. Objectives are taken as
    independent over seeds. Uses 10,000 draws with Student's t for the pooled variance. Returns None if no cell has two seeds.
    """
    degrees_of_freedom = sum(len(values) - 1 for values in values_SO)
    if degrees_of_freedom < 1:
        return None
    means_CO = np.array([values.mean(0) for values in values_SO])
    squares_CO = np.array([((values - values.mean(0)) ** 2).sum(0) for values in values_SO])
    scale_CO = np.sqrt(squares_CO.sum(0) / degrees_of_freedom / np.array([[len(values)] for values in values_SO]))
    rng = np.random.default_rng(0)
    share_C: Floats = np.zeros(len(values_SO))
    for _ in range(RESAMPLES):
        noise_CO = rng.standard_normal(means_CO.shape) / np.sqrt(rng.chisquare(degrees_of_freedom) / degrees_of_freedom)
        share_C += non_dominated(means_CO + scale_CO * noise_CO, maximise)
    return share_C / RESAMPLES


def _resamples(seeds: int) -> tuple[Floats, Floats]:
    """Returns how often each resample draws each seed (R, S), and each resample's probability (R,)."""
    if seeds > ENUMERATED_SEEDS:
        counts_RS = np.random.default_rng(0).multinomial(seeds, np.full(seeds, 1 / seeds), RESAMPLES).astype(np.float64)
        return counts_RS, np.full(RESAMPLES, 1 / RESAMPLES)
    multisets = [Counter(drawn) for drawn in combinations_with_replacement(range(seeds), seeds)]
    counts_RS = np.array([[multiset[seed] for seed in range(seeds)] for multiset in multisets], dtype=np.float64)
    ways = [math.factorial(seeds) / math.prod(math.factorial(count) for count in multiset.values()) for multiset in multisets]
    return counts_RS, np.array(ways) / seeds**seeds
