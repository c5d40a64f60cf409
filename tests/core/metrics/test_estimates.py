"""Monte-Carlo errors against brute force, and average precisions against scikit-learn."""

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from mopoe_core.metrics.estimates import GROUPS, Sharing, average_precisions, jackknifed, mean, mean_over_attributes


def clustered(seed=0, items=60):
    """Examples of which from 1 to 9 share an item, and a value that is mostly the item's."""
    rng = np.random.default_rng(seed)
    item_N = np.repeat(np.arange(items) * 7, rng.integers(1, 10, items))
    values_N = rng.normal(3.0, 2.0, items)[item_N // 7] + rng.normal(0, 0.5, len(item_N))
    order = rng.permutation(len(item_N))
    return values_N[order], item_N[order]


def bootstrapped(values_N, item_N, repeats=4000):
    """Standard deviation of the mean, where whole items are drawn with replacement."""
    rng, groups = np.random.default_rng(1), [values_N[item_N == item] for item in np.unique(item_N)]
    sums, sizes = np.array([g.sum() for g in groups]), np.array([len(g) for g in groups])
    drawn = rng.integers(0, len(groups), (repeats, len(groups)))
    return float(np.std(sums[drawn].sum(1) / sizes[drawn].sum(1)))


def sharing(*items_N):
    """Examples that share the items of one modality or several; an item of one is none of another."""
    return Sharing.of(np.stack([1000 * place + np.asarray(items) for place, items in enumerate(items_N)], 1))


def test_the_error_of_independent_examples_is_the_textbooks():
    """sd / sqrt(n), with the sample's standard deviation."""
    values = np.random.default_rng(0).normal(size=50)
    found = mean(values)
    assert found.value == pytest.approx(values.mean())
    assert found.error == pytest.approx(values.std(ddof=1) / math.sqrt(50))
    assert found.n == 50


def test_every_example_a_cluster_of_its_own_is_independence():
    """A clustering in which nothing is shared gives the same error as none."""
    values = np.random.default_rng(0).normal(size=50)
    assert mean(values, sharing(np.arange(50)[::-1] + 3)).error == pytest.approx(mean(values).error)


def test_the_error_of_shared_items_is_that_of_a_bootstrap_over_items():
    """Where examples share items, the error is that of drawing whole items anew, and well above the one of independence."""
    for seed in range(3):
        values, items = clustered(seed)
        found = mean(values, sharing(items)).error
        assert found == pytest.approx(bootstrapped(values, items), rel=0.1)
        assert found > 1.8 * mean(values).error


def test_copies_of_an_example_add_nothing():
    """Each example five times over has the error of the examples themselves."""
    values = np.random.default_rng(0).normal(size=40)
    assert mean(np.repeat(values, 5), sharing(np.repeat(np.arange(40), 5))).error == pytest.approx(mean(values).error)


def paired(images, pairings, seed=0):
    """Images of two kinds matched at random some times over, as MNIST-SVHN-Text's: rows (N, 2)."""
    rng = np.random.default_rng(seed)
    return np.concatenate([np.stack([rng.permutation(images), rng.permutation(images)], 1) for _ in range(pairings)])


def values_of(rows, rng):
    """A number of each pair that depends on both its images, and on nothing else but noise."""
    first, second = rng.normal(0, 1.0, rows.max() + 1), rng.normal(0, 0.8, rows.max() + 1)
    return first[rows[:, 0]] + second[rows[:, 1]] + rng.normal(0, 0.7, len(rows))


def test_pairs_that_share_images_on_both_sides_spread_as_their_error_says():
    """With images drawn 2,000 times anew, the mean over pairs has the spread of its error; that by one side is too small."""
    rows, rng = paired(50, 8), np.random.default_rng(0)
    both, sides = sharing(*rows.T), [sharing(side) for side in rows.T]
    found = [
        (mean(values, both), max(mean(values, side).error for side in sides))
        for values in (values_of(rows, rng) for _ in range(2000))
    ]
    truth = float(np.std([estimate.value for estimate, _ in found]))
    assert math.sqrt(np.mean([estimate.error**2 for estimate, _ in found])) == pytest.approx(truth, rel=0.05)
    assert math.sqrt(np.mean([by_one_side**2 for _, by_one_side in found])) < 0.9 * truth


def test_the_error_of_pairs_is_the_sum_of_both_clusters_less_that_of_pairs():
    """V1 + V2 - V12, each by its own sum over clusters, but for the factor G / (G - 1); pairs that occur twice count as clusters."""
    rows = paired(12, 9, seed=3)
    values = values_of(rows, np.random.default_rng(4))
    assert len(np.unique(rows, axis=0)) < len(rows)
    deviations = values - values.mean()

    def by_clusters(keys):
        groups = {}
        for key, deviation in zip(keys, deviations, strict=True):
            groups[tuple(np.atleast_1d(key))] = groups.get(tuple(np.atleast_1d(key)), 0.0) + deviation
        return sum(total**2 for total in groups.values()) / len(values) ** 2

    expected = by_clusters(rows[:, 0]) + by_clusters(rows[:, 1]) - by_clusters(rows)
    assert mean(values, sharing(*rows.T)).error == pytest.approx(math.sqrt(12 / 11 * expected))


def test_the_error_is_the_sum_over_all_pairs_that_share_a_unit():
    """Written out example by example, where one image stands in several modalities, as PolyMNIST's digits do."""
    rng = np.random.default_rng(1)
    units = np.stack([rng.permutation(np.repeat(np.arange(15), 2)) for _ in range(3)], 1)
    values = rng.normal(size=15)[units].sum(1)
    deviations, total = values - values.mean(), 0.0
    for i in range(30):
        for j in range(30):
            if set(units[i]) & set(units[j]):
                total += deviations[i] * deviations[j]
    assert mean(values, Sharing.of(units)).error == pytest.approx(math.sqrt(15 / 14 * total) / 30)


def test_the_error_is_never_below_that_of_independent_examples():
    """Deviations that cancel within shared items, or a single item for all, promise nothing."""
    alternating = np.tile([1.0, -1.0], 20)
    for items in (np.arange(40) // 2, np.zeros(40, dtype=int)):
        assert mean(alternating, sharing(items)).error == mean(alternating).error > 0


def scored(n=203, seed=0):
    """Scores with many ties, and four attributes: rare, common, nobody's, everybody's."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, 4)) < [0.05, 0.6, 0.0, 1.1]).astype(np.uint8)
    scores = np.round(rng.normal(size=(n, 4)) + labels, 1)
    assert len(np.unique(scores[:, 0])) < n / 2
    return scores, labels


def test_average_precisions_are_scikit_learns():
    """Each attribute's value over all examples, and without each tenth of them, is scikit-learn's, ties included."""
    scores, labels = scored()
    found = average_precisions(scores, labels)
    assert found.shape == (4, 1 + GROUPS)
    for a in (0, 1, 3):
        assert found[a, 0] == pytest.approx(average_precision_score(labels[:, a], scores[:, a]))
        for group in range(10):
            rows = [i for i in range(len(labels)) if i % 10 != group]
            assert found[a, 1 + group] == pytest.approx(average_precision_score(labels[rows, a], scores[rows, a]))


def test_an_attribute_that_nobody_has_is_zero_and_not_in_the_mean():
    """It has average precision 0, without a warning, and the mean is over the other attributes."""
    scores, labels = scored()
    found = average_precisions(scores, labels)
    assert not found[2].any()
    by_hand = [(found[0, g] + found[1, g] + found[3, g]) / 3 for g in range(1 + GROUPS)]
    assert mean_over_attributes(found, labels) == pytest.approx(by_hand)
    nobody = np.zeros_like(labels)
    assert not mean_over_attributes(average_precisions(scores, nobody), nobody).any()


def test_an_attribute_of_one_group_alone_does_not_fail():
    """Where the one example that has it is left out, that replicate is 0."""
    labels = np.zeros((30, 1), dtype=np.uint8)
    labels[4] = 1
    found = average_precisions(np.linspace(0, 1, 30)[:, None], labels)
    assert found[0, 1 + 4] == 0
    assert (found[0, [1, 2, 3, 4, 6, 7, 8, 9, 10]] > 0).all()


def test_the_jackknife_of_a_mean_is_its_standard_error():
    """For a plain mean over groups of one size the jackknife's error is that of the groups' means."""
    values = np.random.default_rng(0).normal(size=200)
    groups = [values[np.arange(200) % 10 == g].mean() for g in range(10)]
    replicates = np.array([values.mean(), *(values[np.arange(200) % 10 != g].mean() for g in range(10))])
    found = jackknifed(replicates, 200)
    assert (found.value, found.n) == (pytest.approx(values.mean()), 200)
    assert found.error == pytest.approx(np.std(groups, ddof=1) / math.sqrt(10))


def test_the_jackknifes_error_is_about_a_bootstraps():
    """On average over data sets the error of an average precision is within a quarter of a bootstrap's."""
    ours, theirs = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        labels = (rng.random(400) < 0.3).astype(np.uint8)
        scores = rng.normal(size=400) + labels
        ours.append(jackknifed(average_precisions(scores[:, None], labels[:, None])[0], 400).error)
        draws = [rng.integers(0, 400, 400) for _ in range(60)]
        theirs.append(np.std([average_precision_score(labels[rows], scores[rows]) for rows in draws], ddof=1))
    assert np.mean(ours) == pytest.approx(np.mean(theirs), rel=0.25)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_an_error(wrong):
    """One example whose number is not finite makes no metric, neither as a mean nor as a score."""
    numbers = np.array([0.5, wrong, 0.25])
    with pytest.raises(FloatingPointError, match="not finite"):
        mean(numbers)
    with pytest.raises(FloatingPointError, match="not finite"):
        average_precisions(numbers[:, None], np.array([[1], [0], [1]]))
