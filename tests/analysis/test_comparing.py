"""Fronts seed by seed and differences between series, against counting, inclusion-exclusion and enumeration."""

import itertools
import math
import re
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from orchestrator.analysis.attainment import SeedFront, attainments, knee, level, surfaces
from orchestrator.analysis.fronts import front
from orchestrator.analysis.significance.exact_tests import EXACT_PAIRS, holm, sign_flip_p, smallest_p
from orchestrator.analysis.significance.paired_difference import Difference, NotRanked
from orchestrator.analysis.significance.pairwise import cell_differences, differences, hypervolume_differences, hypervolumes
from orchestrator.report.render.difference_sentences import sentence
from orchestrator.spec.sections import Objective
from tests.support.builders import COHERENCE, LIKELIHOOD, cell, result
from tests.support.naming import names, names_in_order

THIRD = "probe/mnist"
METRICS = (COHERENCE, LIKELIHOOD, THIRD)
GOALS = list(itertools.product(("max", "min"), repeat=2))


def axes(goals, references=(None, None, None)):
    """An objective a goal."""
    return [Objective(metric=m, goal=g, reference=r) for m, g, r in zip(METRICS, goals, references, strict=False)]


def trials(cells, values_CSO):
    """A completed trial a cell and seed."""
    return [
        result(one, seed, dict(zip(METRICS, map(float, values_CSO[c, seed]), strict=False)))
        for c, one in enumerate(cells)
        for seed in range(values_CSO.shape[1])
    ]


def line(model, count):
    """Cells of one model."""
    return [cell(model, beta) for beta in range(1, count + 1)]


def as_good(a, b, goals):
    """Whether a equals or beats b on every objective."""
    return all(x >= y if goal == "max" else x <= y for x, y, goal in zip(a, b, goals, strict=True))


def beaten(point, others, goals):
    """Whether some other point is as good everywhere and better somewhere."""
    return any(as_good(other, point, goals) and not as_good(point, other, goals) for other in others)


def inclusion_exclusion(points, references, goals):
    """Volume of the union of the boxes between points and reference: those of all intersections, added and taken off."""
    sides = [
        [max(0.0, (x - r) * (1 if goal == "max" else -1)) for x, r, goal in zip(point, references, goals, strict=True)]
        for point in points
    ]
    chosen = (some for k in range(1, len(sides) + 1) for some in itertools.combinations(sides, k))
    return sum((-1) ** (len(some) + 1) * math.prod(map(min, zip(*some, strict=True))) for some in chosen)


@pytest.mark.parametrize("goals", GOALS)
@pytest.mark.parametrize("n", [1, 2, 3, 5, 10, 11])
def test_a_surface_bounds_what_enough_seeds_attain(n, goals):
    """On a grid finer than the points, a place is beyond a corner exactly if at least q % of the seeds, counted, attain it."""
    cells, values = line("mopoe", 4), np.random.default_rng(n).integers(0, 7, (4, n, 2))
    (found,) = attainments(axes(goals), cells, range(n), trials(cells, values))
    assert [surface.percent for surface in found.surfaces] == [10, 50, 90]
    for surface in found.surfaces:
        for place in itertools.product(np.arange(-0.5, 7, 0.5), repeat=2):
            count = sum(any(as_good(point, place, goals) for point in values[:, seed]) for seed in range(n))
            assert any(as_good(corner, place, goals) for corner in surface.corners) == (100 * count >= surface.percent * n)
        assert list(surface.corners) == sorted(set(surface.corners))
        assert not any(beaten(corner, surface.corners, goals) for corner in surface.corners)


def test_levels_are_those_of_the_docstring_and_of_moocore():
    """q % of n seeds is the smallest whole number of them that is as much: by the table, by fractions, and where moocore puts it."""
    table = {1: (1, 1, 1), 2: (1, 1, 2), 3: (1, 2, 3), 5: (1, 3, 5), 10: (1, 5, 9), 11: (2, 6, 10)}
    assert {n: tuple(level(q, n) for q in (10, 50, 90)) for n in table} == table
    for n in range(1, 61):
        nested = [SeedFront(seed, ("c",), ((float(seed), float(seed)),), None) for seed in range(n)]  # seed 0 attains most
        for surface in surfaces(axes(("min", "min")), nested):
            assert surface.level == math.ceil(Fraction(surface.percent * n, 100))
            assert surface.corners == ((surface.level - 1, surface.level - 1),)


@pytest.mark.parametrize("goals", GOALS)
def test_a_seeds_front_is_what_no_cell_of_its_series_beats_in_that_seed(goals):
    """By a loop over all pairs of cells within a series and seed; the other series' cells, which are better, count for nothing."""
    ours, theirs = line("mvae", 6), line("mopoe", 2)
    values = np.random.default_rng(3).integers(0, 5, (6, 4, 2))
    better = np.where(np.array(goals) == "max", 100, -100) * np.ones((2, 4, 2))
    results = trials(ours, values) + trials(theirs, better)
    found = {one.series: one for one in attainments(axes(goals), ours + theirs, range(4), results)}
    assert [one.seed for one in found["mvae"].fronts] == [0, 1, 2, 3]
    for one in found["mvae"].fronts:
        of = values[:, one.seed]
        expected = {c.id: tuple(point) for c, point in zip(ours, of, strict=True) if not beaten(point, of, goals)}
        assert dict(zip(one.cell_ids, one.points, strict=True)) == expected


@pytest.mark.parametrize("goals", [*GOALS, ("max", "min", "max")])
def test_hypervolumes_are_those_of_inclusion_and_exclusion(goals):
    """For every seed, of two and of three objectives, with some cells worse than the reference."""
    references = [1.5 if goal == "max" else 8.5 for goal in goals]
    cells, values = line("mopoe", 5), np.random.default_rng(4).uniform(0, 10, (5, 3, len(goals)))
    (found,) = hypervolumes(attainments(axes(goals, references), cells, range(3), trials(cells, values)))
    expected = {seed: inclusion_exclusion(values[:, seed], references, goals) for seed in range(3)}
    assert found.by_seed == pytest.approx(expected)
    assert max(expected.values()) > 0


def test_a_hypervolumes_mean_and_interval_are_scipys():
    """Mean, sd and 95 % t interval of the seeds' hypervolumes; a single seed has a mean alone."""
    cells, values = line("mopoe", 2), np.random.default_rng(5).uniform(1, 9, (2, 4, 2))
    objectives, results = axes(("max", "max"), (0, 0)), trials(cells, values)
    (found,) = hypervolumes(attainments(objectives, cells, range(4), results))
    numbers = [inclusion_exclusion(values[:, seed], (0, 0), ("max", "max")) for seed in range(4)]
    interval = stats.ttest_1samp(numbers, 0).confidence_interval(0.95)
    expected = (np.mean(numbers), np.std(numbers, ddof=1), interval.low, interval.high)
    assert tuple(found.over_seeds) == pytest.approx(expected)
    (single,) = hypervolumes(attainments(objectives, cells, [2], results))
    assert single.over_seeds.mean == pytest.approx(numbers[2])
    assert np.isnan(single.over_seeds[1:]).all()


def test_without_a_reference_there_are_fronts_but_no_hypervolumes():
    """One objective that states none is enough; the surfaces need none."""
    cells = [*line("mvae", 2), *line("mopoe", 2)]
    found = attainments(axes(("max", "max"), (0, None)), cells, range(2), trials(cells, np.ones((4, 2, 2))))
    assert hypervolumes(found) == ()
    assert all(len(one.surfaces) == 3 for one in found)


def test_three_objectives_have_no_surfaces_and_no_knee():
    """Both are defined for two."""
    cells, objectives = line("mopoe", 3), axes(("max", "max", "max"))
    results = trials(cells, np.eye(3)[:, None])
    assert attainments(objectives, cells, [0], results)[0].surfaces == ()
    assert knee(front(objectives, cells, [0], results)) is None


def lacking(results, *missing):
    """The results, those of (cell, seed) having diverged."""
    gone = {(one.id, seed) for one, seed in missing}
    return [result(r.trial.cell, r.trial.seed, {}, "diverged") if (r.trial.cell.id, r.trial.seed) in gone else r for r in results]


MVAE, MOPOE = line("mvae", 2), line("mopoe", 2)
FIVE = trials(MVAE + MOPOE, np.random.default_rng(6).uniform(1, 9, (4, 5, 2)))


def compared(results, seeds=5, **asked):
    """MVAE's hypervolume against MoPoE's."""
    found = attainments(axes(("max", "max"), (0, 0)), MVAE + MOPOE, range(seeds), results)
    (one,) = hypervolume_differences(hypervolumes(found), **asked)
    return one


def test_a_seed_in_which_a_cell_diverged_has_no_front_and_no_number():
    """The series' other cell is there, but the seed is in neither fronts, hypervolumes nor surfaces."""
    whole, less = (attainments(axes(("max", "max"), (0, 0)), MVAE, range(5), r) for r in (FIVE, lacking(FIVE, (MVAE[1], 3))))
    assert [one.seed for one in less[0].fronts] == [0, 1, 2, 4]
    assert (less[0].n, less[0].n_planned) == (4, 5)
    assert less[0].hypervolumes == {seed: v for seed, v in whole[0].hypervolumes.items() if seed != 3}
    of_four = [other for other in whole[0].fronts if other.seed != 3]
    assert less[0].surfaces == surfaces(less[0].objectives, of_four)


def test_series_with_different_seeds_are_not_ranked_unless_asked():
    """The reason names both counts and the seed; when asked, the numbers are those of the seeds that both have."""
    results = lacking(FIVE, (MVAE[0], 3))
    refused = compared(results)
    assert isinstance(refused, NotRanked)
    assert names_in_order(sentence(refused), "mvae", 4, 5, "mopoe", 5, 3)
    asked, whole = compared(results, unequal=True), compared(FIVE)
    by_seed = [compared([r for r in FIVE if r.trial.seed == seed], 5, unequal=True).over_seeds.mean for seed in range(5)]
    assert (asked.seeds, whole.seeds) == ((0, 1, 2, 4), (0, 1, 2, 3, 4))
    assert whole.over_seeds.mean == pytest.approx(np.mean(by_seed))
    assert asked.over_seeds.mean == pytest.approx(np.mean(np.delete(by_seed, 3)))
    assert names_in_order(sentence(asked), 4, 5, "seeds", "not shown")
    assert names(sentence(asked), LACKING)
    assert not names(sentence(whole), LACKING)


LACKING = "no random sample"
"""The warning of a comparison that is of some of the planned seeds."""


def test_as_many_seeds_are_not_the_same_seeds():
    """Four of five each, but others: not ranked. The same four each: ranked, with a word on the fifth."""
    assert isinstance(compared(lacking(FIVE, (MVAE[0], 3), (MOPOE[0], 2))), NotRanked)
    same = compared(lacking(FIVE, (MVAE[0], 3), (MOPOE[1], 3)))
    assert same.seeds == (0, 1, 2, 4)
    assert names(sentence(same), LACKING)


def test_without_a_common_seed_nothing_is_compared_even_when_asked():
    """Whether each has seeds of its own or one has none at all."""
    apart = lacking(FIVE, *((MVAE[0], seed) for seed in (0, 1)), *((MOPOE[0], seed) for seed in (2, 3, 4)))
    nothing = lacking(FIVE, *((MVAE[0], seed) for seed in range(5)))
    for results in (apart, nothing, []):
        refused = compared(results, unequal=True)
        assert isinstance(refused, NotRanked)
        assert names(sentence(refused), "mvae", "mopoe", "no seed")


def test_cells_are_ranked_by_the_same_rules():
    """Pairs of cells in one metric: a cell with a diverged seed is refused, and the others' difference is that of their means."""
    values = np.random.default_rng(7).uniform(1, 9, (3, 5, 2))
    cells = line("mopoe", 3)
    first, *refused = cell_differences(LIKELIHOOD, cells, range(5), lacking(trials(cells, values), (cells[2], 0)))
    assert first.over_seeds.mean == pytest.approx(values[0, :, 1].mean() - values[1, :, 1].mean())
    assert (first.first, first.second, first.pairs) == ("mopoe beta=1", "mopoe beta=2", 1)
    assert [type(one) for one in refused] == [NotRanked, NotRanked]


def enumerated(pairs):
    """Two-sided p-value by all choices of signs, in fractions of the decimals as they are written."""
    gaps = [Fraction(str(a)) - Fraction(str(b)) for a, b in pairs]
    sums = [
        abs(sum(s * gap for s, gap in zip(signs, gaps, strict=True))) for signs in itertools.product((1, -1), repeat=len(gaps))
    ]
    return sum(total >= abs(sum(gaps)) for total in sums) / len(sums)


@pytest.mark.parametrize("n", range(1, 10))
def test_the_p_value_is_that_of_all_sign_flips(n):
    """Of shares with three decimals and of nats with one, whose many ties floating point would break."""
    for seed in range(20):
        rng = np.random.default_rng(100 * n + seed)
        shares = [(round(0.5 + a / 1000, 3), round(0.5 + b / 1000, 3)) for a, b in rng.integers(-4, 5, (n, 2))]
        nats = [(round(-1900 + a / 10, 1), round(-1900 + b / 10, 1)) for a, b in rng.integers(-4, 5, (n, 2))]
        assert sign_flip_p(shares) == enumerated(shares)
        assert sign_flip_p(nats) == enumerated(nats)


def test_the_p_value_is_scipys():
    """Of continuous numbers, SciPy's exact permutation test of the mean by flipping signs."""
    for n in (2, 5, 8, 11):
        pairs = np.random.default_rng(n).normal((0.4, 0), 1, (n, 2))
        exact = stats.permutation_test((pairs[:, 0] - pairs[:, 1],), np.mean, permutation_type="samples", n_resamples=np.inf)
        assert sign_flip_p(pairs.tolist()) == pytest.approx(exact.pvalue)


@pytest.mark.parametrize("n", [30, EXACT_PAIRS, EXACT_PAIRS + 10])
def test_many_seeds_agree_with_the_binomial_test(n):
    """Differences of one size make it a sign test: exact up to `EXACT_PAIRS`, and drawn to within its error beyond."""
    rises = n // 2 + 5
    p = sign_flip_p([(1.0, 0.0)] * rises + [(0.0, 1.0)] * (n - rises))
    assert p == pytest.approx(stats.binomtest(rises, n).pvalue, abs=1e-12 if n <= EXACT_PAIRS else 0.02)


def test_the_smallest_p_value_is_that_of_seeds_that_agree():
    """2 / 2^n for n seeds on one side, and never less; drawn flips have their own smallest."""
    for n in (1, 2, 5, 6, EXACT_PAIRS):
        assert sign_flip_p([(float(seed + 1), 0.0) for seed in range(n)]) == smallest_p(n) == 2 / 2**n
    assert sign_flip_p([(1.0, 0.0)] * (EXACT_PAIRS + 20)) == smallest_p(EXACT_PAIRS + 20) == 1 / 10_001
    assert sign_flip_p([]) == 1


def test_holm_by_hand():
    """0.005 x 4, 0.01 x 3, 0.03 x 2, and 0.04 x 1 raised to the one before; none above 1, none for none."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([]) == []


def test_holm_is_bonferroni_closed():
    """Each p-value is the largest that Bonferroni gives in any set of hypotheses that has it."""
    for seed in range(20):
        p = np.random.default_rng(seed).choice([0.001, 0.01, 0.02, 0.03, 0.2], 5)
        families = [family for k in range(1, 6) for family in itertools.combinations(range(5), k)]
        closed = [max(len(f) * min(p[list(f)]) for f in families if i in f) for i in range(5)]
        assert holm(p.tolist()) == pytest.approx(np.minimum(closed, 1))


def test_all_pairs_are_corrected_together():
    """Three series make three pairs; the pair that is refused is no test, and leaves the others' correction smaller."""
    rng = np.random.default_rng(8)
    samples = {name: {seed: shift + rng.normal() for seed in range(8)} for name, shift in (("a", 0), ("b", 3), ("c", 3.2))}
    found = differences(samples, "x", 8)
    assert [(one.first, one.second) for one in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    p = [enumerated([(samples[one.first][s], samples[one.second][s]) for s in range(8)]) for one in found]
    assert [one.p for one in found] == pytest.approx(p)
    assert p[0] == p[1] == 2 / 2**8 < p[2]
    assert [one.p_holm for one in found] == pytest.approx([3 * p[0], 3 * p[1], p[2]])
    del samples["c"][0]
    kept = [one for one in differences(samples, "x", 8) if isinstance(one, Difference)]
    assert [(one.pairs, one.p_holm) for one in kept] == [(1, p[0])]


def test_least_is_what_agreement_reaches_and_nothing_goes_below():
    """Samples in strict order in every seed reach it in each pair; random ones are at or above it."""
    for n, count in ((5, 2), (6, 3), (8, 3)):
        ordered = {name: {seed: 10.0 * i + 0.1 * seed * i for seed in range(n)} for i, name in enumerate("abc"[:count])}
        chance = {name: dict(enumerate(np.random.default_rng(n).normal(size=n).tolist())) for name in ordered}
        assert all(one.p_holm == pytest.approx(one.least) for one in differences(ordered, "x", n))
        assert all(one.p_holm >= one.least for one in differences(chance, "x", n))


def said(*gaps, planned=None, others=()):
    """The sentence on mopoe - mvae with these differences, where other series may raise the number of pairs."""
    base = dict.fromkeys(range(len(gaps)), 100.0)
    samples = {"mopoe": {seed: 100.0 + gap for seed, gap in enumerate(gaps)}, "mvae": base, **dict.fromkeys(others, base)}
    return sentence(differences(samples, "hypervolume", planned or len(gaps))[0])


def test_the_sentence_in_full():
    """Mean 12, t interval by SciPy, p-value by counting, and why five seeds cannot show it."""
    gaps = (10.0, 11.0, 12.0, 13.0, 14.0)
    low, high = stats.ttest_1samp(gaps, 0).confidence_interval(0.95)
    assert said(*gaps) == (
        f"mopoe's hypervolume is higher than mvae's by 12.0 (95 % interval {low:.1f} to {high:.1f}, p = 0.0625 exact, 5 seeds): "
        "not shown at 5 %; 5 seeds cannot show it, as their smallest possible p is 0.0625; "
        "the interval excludes 0, but assumes normal differences."
    )


def test_a_sentence_turned_round_says_the_same_of_the_other():
    """With the differences negated, higher is lower, and the size, the interval and the p-value stay."""
    gaps = (10.0, 11.0, -2.0, 13.0, 14.0, 3.0)
    assert said(*gaps).replace("higher than", "lower than") == said(*(-gap for gap in gaps))
    assert names_in_order(said(*gaps), "mopoe", "hypervolume", "higher", "mvae", 8.2)


@pytest.mark.parametrize(("n", "others", "reason"), [
    (2, (), ("2 seeds cannot", 0.5)),
    (5, (), ("5 seeds cannot", 0.0625)),
    (5, ("mmvae",), ("5 seeds cannot", 0.0625)),
    (6, ("mmvae",), ("6 seeds cannot", 3, "Holm", 0.0938)),
])  # fmt: skip
def test_too_few_seeds_are_said_to_be_too_few(n, others, reason):
    """Even where all of them agree: 2 / 2^n, times the pairs, is above 5 %."""
    text = said(*np.linspace(10, 11, n), others=others)
    assert names(text, "not shown", "5 %")
    assert names_in_order(text, *reason)
    assert ("pair alone" in text) == bool(others)


def test_a_difference_is_shown_where_the_corrected_p_is_at_most_5_percent():
    """Six seeds that agree show it of one pair, seven of three; six of three do not."""
    one = said(1, 2, 3, 4, 5, 6)
    assert names_in_order(one, "p = 0.0312", 6, "shown", "5 %")
    of_three = said(1, 2, 3, 4, 5, 6, 7, others=("mmvae",))
    assert names_in_order(of_three, "p = 0.0156", 0.0469, "Holm", 3, 7, "shown", "5 %")
    assert not any(names(text, "not shown") for text in (one, of_three))
    assert "not shown" in said(1, 2, 3, 4, 5, 6, others=("mmvae",))


def test_an_interval_with_zero_in_it_is_said_to_have_it():
    """Where it agrees with the p-value and where, for one far seed, it does not."""
    assert names_in_order(said(5, -4, 6, -5, 3, 1, -2), "not shown", "includes 0")
    far = said(1, 1, 1, 1, 1, 100)
    assert names_in_order(far, "shown", "includes 0")
    assert not names(far, "not shown")
    assert "includes 0" not in said(1, 2, 3, 4, 5, 6)


def test_a_single_seed_is_no_test():
    """No interval, no p-value, and not shown, however large the difference; of five planned it says so."""
    alone, one_of_five = said(1000.0), said(1000.0, planned=5)
    for text in (alone, one_of_five):
        assert names_in_order(text, "mopoe", "hypervolume", "higher", "mvae", 1000, "not shown", "5 %", "one seed")
        assert not re.search(r"95 %|p = \d", text)
    assert names_in_order(one_of_five, 1, 5, "seeds", LACKING)
    assert not names(alone, LACKING)


def test_no_difference_is_neither_higher_nor_lower():
    """Equal numbers, and opposite differences that cancel but for rounding."""
    for gaps in ((0.0, 0.0, 0.0), (0.1, 0.2, -0.3), (0.0,)):
        assert names_in_order(said(*gaps), "mopoe", "hypervolume", "as high as", "mvae")


def test_rounding_is_no_difference():
    """0.1 + 0.2 is 0.3, in the mean and in the words."""
    (one,) = differences({"a": {0: 0.1 + 0.2, 1: 0.3}, "b": {0: 0.3, 1: 0.1 + 0.2}}, "x", 2)
    assert (*one.over_seeds[:2], one.p) == (0, 0, 1)
    assert "as high as" in sentence(differences({"a": {0: 0.1 + 0.2}, "b": {0: 0.3}}, "x", 1)[0])


def test_more_cells_are_an_advantage_that_is_named():
    """A series with a cell more than the other can only have gained by it."""
    cells = [*line("mvae", 1), *MOPOE]
    results = [r for r in FIVE if r.trial.cell in cells]
    (one,) = hypervolume_differences(hypervolumes(attainments(axes(("max", "max"), (0, 0)), cells, range(5), results)))
    assert names_in_order(sentence(one), "mvae", "1 cell", "mopoe", 2)
    assert "cell" not in sentence(compared(FIVE))


def bent(points, goals=("max", "max")):
    """The knee's values and distance of a front of these points."""
    cells = line("mopoe", len(points))
    found = knee(front(axes(goals), cells, [0], trials(cells, np.array(points, dtype=float)[:, None])))
    return found and (found.point.means, found.distance)


@pytest.mark.parametrize("goals", GOALS)
def test_the_knee_is_farthest_from_the_line_through_the_extremes(goals):
    """By the cross product with that line, whatever the goals and units; beaten points count for nothing."""
    sign = np.where(np.array(goals) == "max", 1, -1)
    for seed in range(10):
        angles = np.random.default_rng(seed).uniform(0, math.pi / 2, 6)
        front_P2 = np.stack([np.cos(angles), np.sin(angles)], 1)
        low, high = front_P2.min(0), front_P2.max(0)
        scaled = (front_P2 - low) / (high - low)
        a, b = scaled[scaled[:, 0].argmax()], scaled[scaled[:, 1].argmax()]
        distance = [((b - a)[1] * (p - a)[0] - (b - a)[0] * (p - a)[1]) / np.linalg.norm(b - a) for p in scaled]
        shown = np.concatenate([front_P2, [[-5.0, -5.0]]]) * sign * [0.3, 700]
        means, found = bent(shown, goals)
        assert means == pytest.approx(shown[int(np.argmax(distance))])
        assert found == pytest.approx(max(distance))


def test_a_knee_by_hand():
    """(0.9, 0.9) beyond the line from (0, 1) to (1, 0) is 0.8 / sqrt(2) from it."""
    assert bent([(0, 1), (0.9, 0.9), (1, 0)]) == ((0.9, 0.9), pytest.approx(0.8 / math.sqrt(2)))


@pytest.mark.parametrize("points", [
    [(0, 1)], [(0, 1), (1, 0)], [(0, 1), (1, 0), (1, 0)], [(0, 1), (0.3, 0.7), (0.6, 0.4), (1, 0)], [(0, 1), (0.2, 0.2), (1, 0)],
])  # fmt: skip
def test_no_knee(points):
    """Of one or two different points, of a straight front, and of one that bends the other way."""
    assert bent(points) is None


def test_of_points_equally_far_the_first_cell_is_the_knee():
    """Mirror images of one another, in either order, also where rounding sets them apart."""
    for start in (0, 0.1, 0.7, -1900.3, -2013.7):
        first, second = (0.3 + start, 0.9), (0.9 + start, 0.3)
        assert bent([(start, 1), first, second, (1 + start, 0)])[0] == first
        assert bent([(start, 1), second, first, (1 + start, 0)])[0] == second


def test_comparing_loads_no_training_scheduling_or_plotting():
    """A page of comparisons needs neither torch nor Ray, MLflow, Optuna or matplotlib."""
    heavy = ("torch", "ray", "mlflow", "optuna", "matplotlib")
    code = f"import sys, orchestrator.analysis.significance.pairwise\nprint([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
