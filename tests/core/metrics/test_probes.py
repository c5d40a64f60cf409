"""Probes against scikit-learn itself, on the pixels of digits and on attributes."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from mopoe_core.metrics.probes import fit_probes


@pytest.fixture(scope="module")
def digits(dataset):
    """Means of three subsets, (3, 1000, 20): projections of MNIST digits, of different scales; and the digits."""
    items, labels = dataset.train.items["mnist"], dataset.train.item_labels["mnist"]
    chosen = torch.randperm(len(items), generator=torch.Generator().manual_seed(0))[:1000]
    onto = torch.randn(3, 784, 20, generator=torch.Generator().manual_seed(1)) * torch.tensor([0.3, 0.02, 0.004])[:, None, None]
    return items[chosen].flatten(1).float().div(255) @ onto, labels[chosen]


def expected(means, labels):
    """A regression fitted here on the first 500 examples."""
    return LogisticRegression(max_iter=1000).fit(means[:500].numpy(), labels[:500].numpy())


@pytest.mark.parametrize(
    "missing", [(), (7,), (0, 9), tuple(range(2, 10))], ids=["ten classes", "no 7", "no 0 and 9", "two classes"]
)
def test_a_probe_is_right_where_scikit_learns_is(digits, missing):
    """Whatever classes occur among those that it is fitted to; an example of a class that does not is never right."""
    means, labels = digits
    kept = ~torch.isin(labels, torch.tensor(missing, dtype=labels.dtype))
    fit_means, fit_labels = means[:, kept][:, :500], labels[kept][:500]
    right = fit_probes(fit_means, fit_labels).correct_or_scores(means, labels)
    for ours, of_subset, fitted in zip(right, means, fit_means, strict=True):
        theirs = expected(fitted, fit_labels).predict(of_subset.numpy())
        assert (ours.numpy() == (theirs == labels.numpy())).all()
    assert not right[:, ~kept].any()


def test_the_only_class_is_always_said(digits):
    """Where the examples have one class, it is what the probe says of everything."""
    means, labels = digits
    right = fit_probes(means[:, :500], torch.full((500,), 4)).correct_or_scores(means, labels)
    assert (right == (labels == 4)).all()


def test_attributes_are_scored_as_by_scikit_learn(digits):
    """Each has its own regression; one that all examples have, or none, has the same score everywhere."""
    means, labels = digits
    columns = [labels % 2, labels > 6, torch.ones_like(labels), torch.zeros_like(labels)]
    has = torch.stack([column.to(torch.uint8) for column in columns], -1)
    scores = fit_probes(means[:, :500], has[:500]).correct_or_scores(means, has)
    assert scores.shape == (3, 1000, 4)
    for ours, of_subset in zip(scores, means, strict=True):
        for a in range(2):
            theirs = expected(of_subset, has[:, a]).decision_function(of_subset.numpy())
            np.testing.assert_allclose(ours[:, a].numpy(), theirs, rtol=1e-4, atol=1e-4)
    assert (scores[..., 2] == 1).all()
    assert (scores[..., 3] == 0).all()


def test_threads_change_nothing(digits):
    """Fits side by side are those of one after the other."""
    means, labels = digits
    before = torch.get_num_threads()
    alone = fit_probes(means[:, :500], labels[:500])
    try:
        torch.set_num_threads(3)
        together = fit_probes(means[:, :500], labels[:500])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(alone.weights_SDA, together.weights_SDA)
