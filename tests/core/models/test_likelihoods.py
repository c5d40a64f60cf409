"""Closed-form likelihoods against torch.distributions, and their gradients against numbers and plain formulas."""

import pytest
import torch
from torch import distributions as dist

from mopoe_core.models.likelihoods import Bernoulli, Categorical, Laplace, Normal

RAW, X = torch.randn(5, 2, 3, 4), torch.rand(5, 2, 3, 4)
CASES = {
    "laplace": (Laplace(), lambda raw: dist.Laplace(raw, 0.75)),
    "laplace in [0, 1]": (Laplace(sigmoid=True), lambda raw: dist.Laplace(torch.sigmoid(raw), 0.75)),
    "normal": (Normal(), lambda raw: dist.Normal(raw, 0.75)),
    "normal in [0, 1]": (Normal(sigmoid=True), lambda raw: dist.Normal(torch.sigmoid(raw), 0.75)),
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


BROADCAST = {
    "a batch": ((5, 2, 3), (5, 2, 3)),
    "samples": ((4, 5, 2, 3), (5, 2, 3)),
    "stacked trials, each with its own data": ((3, 4, 5, 2, 3), (3, 1, 5, 2, 3)),
}
"""Shapes of raw and x, with events of (2, 3)."""


def in_float64(*shape, seed=0):
    """Standard normal numbers."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shapes", BROADCAST)
@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_finite_differences(case, shapes):
    """In float64 the gradient to raw is that of the value, with an upstream gradient of its own for every example."""
    raw_shape, x_shape = BROADCAST[shapes]
    raw, x = in_float64(*raw_shape).requires_grad_(), torch.sigmoid(in_float64(*x_shape, seed=1))
    assert CASES[case][0].log_prob(raw, x, 2).shape == raw_shape[:-2]
    assert torch.autograd.gradcheck(lambda raw: CASES[case][0].log_prob(raw, x, 2), raw)


@pytest.mark.parametrize("shapes", BROADCAST)
@pytest.mark.parametrize("case", CASES)
def test_gradients_in_float32_are_those_of_torch_distributions(case, shapes):
    """Weighted example by example, autograd of torch.distributions gives the same gradient."""
    raw_shape, x_shape = BROADCAST[shapes]
    raw, x = (4 * in_float64(*raw_shape)).float().requires_grad_(), torch.sigmoid(in_float64(*x_shape, seed=1)).float()
    weight = in_float64(*raw_shape[:-2], seed=2).float()
    ours, theirs = CASES[case]
    (found,) = torch.autograd.grad((weight * ours.log_prob(raw, x, 2)).sum(), raw)
    (expected,) = torch.autograd.grad((weight * theirs(raw).log_prob(x).sum((-1, -2))).sum(), raw)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("case", CASES)
def test_the_order_of_memory_does_not_matter(case):
    """Raw parameters that a convolution gives channels last have the value and the gradient of the same numbers in the other order.

    To float32's rounding and not to the bit: torch's sigmoid may round what stands at the end of the memory otherwise.
    """
    likelihood, results = CASES[case][0], []
    for order in (torch.contiguous_format, torch.channels_last):
        raw = RAW.to(memory_format=order).requires_grad_()
        value = likelihood.log_prob(raw, X, 3)
        results.append((value, *torch.autograd.grad(value.sum(), raw)))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_where_the_mean_is_the_observation_laplace_has_no_slope():
    """|raw - x| has the subgradient 0 there, as torch's abs has."""
    raw = X.clone().requires_grad_()
    Laplace().log_prob(raw, X, 3).sum().backward()
    assert not raw.grad.any()


@pytest.mark.parametrize("case", CASES)
def test_a_gradient_taken_twice_is_the_same(case):
    """What is kept for the backward pass is not used up by it, and to the bit the gradient does not vary."""
    raw = RAW.clone().requires_grad_()
    total = CASES[case][0].log_prob(raw, X, 3).sum()
    first, second = (torch.autograd.grad(total, raw, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_learnt_about_the_data(case):
    """An observation that asks for a gradient is refused: it would silently get none."""
    with pytest.raises(AssertionError, match="x is data"):
        CASES[case][0].log_prob(RAW, X.clone().requires_grad_(), 3)


def test_extreme_logits_are_exact_and_finite():
    """Bernoulli's logits may be as large as float32 has them: log p is then 0, or minus the logit, and slopes are 0 or 1."""
    raw, x = torch.tensor([[-200.0, 200.0, -200.0, 200.0, 0.0]], requires_grad=True), torch.tensor([[0.0, 1.0, 1.0, 0.0, 1.0]])
    value = Bernoulli().log_prob(raw, x, 1)
    value.sum().backward()
    torch.testing.assert_close(value, torch.tensor([-400.0 - 0.693147]))
    torch.testing.assert_close(raw.grad, torch.tensor([[0.0, 0.0, 1.0, -1.0, 0.5]]))
