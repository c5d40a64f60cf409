"""Closed-form likelihoods against torch.distributions."""

import pytest
import torch
from torch import distributions as dist

from mopoe_core.likelihoods import Bernoulli, Categorical, Laplace, Normal

RAW, X = torch.randn(5, 2, 3, 4), torch.rand(5, 2, 3, 4)
CASES = {
    "laplace": (Laplace(), lambda raw: dist.Laplace(raw, 0.75)),
    "laplace in [0, 1]": (Laplace(sigmoid=True), lambda raw: dist.Laplace(torch.sigmoid(raw), 0.75)),
    "normal": (Normal(), lambda raw: dist.Normal(raw, 0.75)),
    "bernoulli": (Bernoulli(), lambda raw: dist.Bernoulli(logits=raw, validate_args=False)),
}


@pytest.mark.parametrize("case", CASES)
def test_image_likelihoods_are_those_of_torch(case):
    """The log-probability, summed over an image, and the mean agree with torch.distributions."""
    ours, theirs = CASES[case]
    torch.testing.assert_close(ours.log_prob(RAW, X, 3), theirs(RAW).log_prob(X).sum((1, 2, 3)))
    torch.testing.assert_close(ours.mean(RAW), theirs(RAW).mean)


def test_the_categorical_is_that_of_torch():
    """Text is one categorical a position, from logits."""
    symbols = torch.randint(4, (5, 6))
    x, raw = torch.nn.functional.one_hot(symbols, 4).float(), torch.randn(5, 6, 4)
    torch.testing.assert_close(Categorical().log_prob(raw, x, 2), dist.Categorical(logits=raw).log_prob(symbols).sum(1))


def test_samples_share_one_observation():
    """Leading axes of the parameters broadcast against the batch: K samples of an example are judged against it."""
    many = torch.randn(7, 5, 2, 3, 4)
    torch.testing.assert_close(Laplace().log_prob(many, X, 3)[3], Laplace().log_prob(many[3], X, 3))
