"""Fronts against brute force."""

import itertools

import numpy as np
import pytest

from orchestrator.analysis.dominance import non_dominated
from orchestrator.analysis.front_probability import front_probability
from orchestrator.analysis.fronts import front
from orchestrator.spec.sections import Objective
from tests.support.builders import COHERENCE, LIKELIHOOD, cell, grid_results, result

OBJECTIVES = (Objective(metric=COHERENCE, goal="max", reference=0), Objective(metric=LIKELIHOOD, goal="max", reference=-2200))
CELLS = [cell(model, beta) for model in ("mvae", "mmvae", "mopoe") for beta in (0.5, 2.5, 10)]
BOTH = np.array([True, True])


def beaten(point, others, maximise):
    """Whether some other point is as good everywhere and better somewhere."""
    sign = np.where(maximise, 1, -1)
    return any(((o - point) * sign >= 0).all() and ((o - point) * sign > 0).any() for o in others)


@pytest.mark.parametrize("maximise", list(itertools.product([True, False], repeat=2)))
def test_the_front_is_what_no_point_beats(maximise):
    """Over random points with ties, the members are those of a loop over all pairs."""
    maximise = np.array(maximise)
    for seed in range(20):
        points = np.random.default_rng(seed).integers(0, 6, (12, 2)).astype(float)
        expected = [not beaten(point, points, maximise) for point in points]
        assert non_dominated(points, maximise).tolist() == expected


@pytest.mark.parametrize("seeds", [2, 3, 4])
def test_the_probability_is_that_of_all_resamples(seeds):
    """The exact share equals a loop over all n^n ways to draw n seeds."""
    values = np.random.default_rng(seeds).normal(size=(5, seeds, 2))
    share, ways = np.zeros(5), list(itertools.product(range(seeds), repeat=seeds))
    for drawn in ways:
        means = values[:, list(drawn)].mean(1)
        share += [not beaten(point, means, BOTH) for point in means]
    np.testing.assert_allclose(front_probability(values, BOTH), share / len(ways))


def test_many_seeds_are_resampled_at_random_close_to_the_exact_share():
    """With seven seeds, 10,000 resamples agree with all 7^7 of them, weighted, to 2 %."""
    values = np.random.default_rng(1).normal(size=(3, 7, 2))
    counts = [np.bincount(drawn, minlength=7) for drawn in itertools.combinations_with_replacement(range(7), 7)]
    from math import factorial, prod

    weights = np.array([factorial(7) / prod(factorial(c) for c in count) for count in counts]) / 7**7
    exact = sum(w * non_dominated(np.einsum("s,cso->co", c / 7, values), BOTH) for c, w in zip(counts, weights, strict=True))
    np.testing.assert_allclose(front_probability(values, BOTH), exact, atol=0.02)


def test_hypervolume_is_the_area_of_the_union_of_rectangles():
    """Two points against (0, -2200), by hand: 0.5 x 100 and 0.2 x 300 overlap in 0.2 x 100."""
    cells = [cell("mvae"), cell("mopoe")]
    results = [result(cells[0], 0, {COHERENCE: 0.2, LIKELIHOOD: -1900}), result(cells[1], 0, {COHERENCE: 0.5, LIKELIHOOD: -2100})]
    found = front(OBJECTIVES, cells, [0], results)
    assert found.hypervolume == pytest.approx(0.5 * 100 + 0.2 * 300 - 0.2 * 100)
    assert [point.probability for point in found.points] == [None, None]


def test_a_point_worse_than_the_reference_adds_no_hypervolume():
    """Below the reference on one axis there is no rectangle."""
    cells = [cell("mvae")]
    found = front(OBJECTIVES, cells, [0], [result(cells[0], 0, {COHERENCE: 0.9, LIKELIHOOD: -2300})])
    assert found.hypervolume == 0


def test_without_a_reference_there_is_no_hypervolume():
    """An objective that states no reference makes it None, not a guess."""
    objectives = (OBJECTIVES[0], Objective(metric=LIKELIHOOD, goal="max"))
    assert front(objectives, CELLS, range(2), grid_results(CELLS, 2)).hypervolume is None


def test_incomplete_cells_are_left_out_and_named():
    """A cell without all its seeds joins no front, however good the seeds that are there."""
    results = [r for r in grid_results(CELLS, 2) if not (r.trial.cell == CELLS[-1] and r.trial.seed == 1)]
    found = front(OBJECTIVES, CELLS, range(2), results)
    assert [(out.label, out.n, out.n_planned) for out in found.left_out] == [("mopoe beta=10", 1, 2)]
    assert CELLS[-1].id not in {point.cell_id for point in found.points}


def test_goals_may_point_down():
    """With goal min the smaller value is on the front."""
    cells = [cell("mvae"), cell("mopoe")]
    objectives = (OBJECTIVES[0], Objective(metric="probe/mnist", goal="min"))
    results = [result(c, 0, {COHERENCE: 0.5, "probe/mnist": v}) for c, v in zip(cells, (0.9, 0.8), strict=True)]
    assert [point.on_front for point in front(objectives, cells, [0], results).points] == [False, True]


def test_an_empty_sweep_has_an_empty_front():
    """No result: no point, hypervolume 0, every cell left out."""
    found = front(OBJECTIVES, CELLS, range(2), [])
    assert (found.points, found.hypervolume, len(found.left_out)) == ((), 0.0, 9)


def test_equal_cells_share_the_front():
    """Two cells with the same values are both members, in whatever order their seeds have them."""
    cells = [cell("mvae"), cell("mopoe")]
    values = [(0.1, -1.0), (0.2, -1.1), (0.3, -1.3)]
    results = [
        result(c, seed, {COHERENCE: a, LIKELIHOOD: b})
        for c, ordered in zip(cells, (values, values[::-1]), strict=True)
        for seed, (a, b) in enumerate(ordered)
    ]
    assert [point.on_front for point in front(OBJECTIVES, cells, range(3), results).points] == [True, True]


def test_what_an_incomplete_cell_has_is_kept_for_showing():
    """Its mean over surviving seeds is there, apart from the points; a cell without any has none."""
    cells = [cell("mvae"), cell("mopoe")]
    found = front(OBJECTIVES, cells, range(2), [result(cells[0], 0, {COHERENCE: 0.2, LIKELIHOOD: -1900})])
    assert [out.means for out in found.left_out] == [(0.2, -1900), ()]
    assert found.series == ("mvae", "mopoe")
