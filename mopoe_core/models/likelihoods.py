"""Likelihoods of one modality in closed form, in nats, summed over the modality's elements. Source: Appendix B and the released code.

Each likelihood maps a decoder's raw output to its parameter, so that a network ends in a plain linear layer.

The likelihoods of images use autograd functions defined here: they pass over (S, B, pixels) numbers as rarely as possible and store no
such numbers between forward and backward, except raw and x. Only raw gets a gradient, which is once differentiable; x is data.
"""

import math
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

SCALE = 0.75
"""Scale of Laplace and Normal, as in the released code."""

_TINY = 1e-30
"""Half-width of the parabola that torch's smooth L1 loss has at 0: so narrow that the derivative is the sign, and 0 at 0."""


class Likelihood(Protocol):
    """p(x|raw) for raw of shape (..., B, *event). The shape of x, (B, *event) or with further leading axes, broadcasts to it."""

    def log_prob(self, raw: Tensor, x: Tensor, event_dims: int) -> Tensor:
        """log p(x|raw) in nats, summed over the last `event_dims` axes."""

    def mean(self, raw: Tensor) -> Tensor:
        """The distribution's mean: pictures show it, and classifiers see it."""


class _Summed(torch.autograd.Function):
    """An elementwise function of raw (..., B, *event) and x, summed over the event: (..., B)."""

    @staticmethod
    def value(raw: Tensor, x: Tensor) -> Tensor:
        """The function of each element, in newly allocated memory."""
        raise NotImplementedError

    @staticmethod
    def slope(upstream: Tensor, raw: Tensor, x: Tensor) -> Tensor:
        """The derivative with respect to each element of raw, times the upstream gradient (..., B, *ones)."""
        raise NotImplementedError

    @classmethod
    def of(cls, raw: Tensor, x: Tensor, event_dims: int) -> Tensor:
        """The sums, differentiable with respect to raw."""
        assert not x.requires_grad, "x is data and gets no gradient"
        # Convolutions return channels-last tensors: one copy costs less than three passes over two memory orders.
        return cast(Tensor, cls.apply(raw.contiguous(), x, event_dims))

    @classmethod
    def forward(cls, ctx: Any, raw: Tensor, x: Tensor, event_dims: int) -> Tensor:
        """The sums. Saving raw and x costs no memory, because both exist anyway."""
        ctx.save_for_backward(raw, x)
        ctx.event_dims = event_dims
        return cls.value(raw, x).flatten(-event_dims).sum(-1)

    @classmethod
    @once_differentiable
    def backward(cls, ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        """The gradient with respect to raw, from one upstream number for each example."""
        raw, x = ctx.saved_tensors
        return cls.slope(upstream[(..., *[None] * ctx.event_dims)], raw, x), None, None


class _Absolute(_Summed):
    """|raw - x|."""

    @staticmethod
    def value(raw: Tensor, x: Tensor) -> Tensor:
        """The absolute difference, in two passes, the second in place."""
        return (raw - x).abs_()

    @staticmethod
    def slope(upstream: Tensor, raw: Tensor, x: Tensor) -> Tensor:
        """The sign, 0 at 0, in one pass. Without `grad_input`, torch would first fill the result with zeros."""
        gradient = torch.empty_like(raw)
        torch.ops.aten.smooth_l1_loss_backward.grad_input(upstream, raw, x, 0, _TINY, grad_input=gradient)
        return gradient


class _Squared(_Summed):
    """(raw - x)^2."""

    @staticmethod
    def value(raw: Tensor, x: Tensor) -> Tensor:
        """The squared difference, in two passes, the second in place."""
        return (raw - x).square_()

    @staticmethod
    def slope(upstream: Tensor, raw: Tensor, x: Tensor) -> Tensor:
        """Twice the difference."""
        return (raw - x).mul_(2 * upstream)


class _Logits(_Summed):
    """x log p + (1 - x) log(1 - p) = x raw - max(raw, 0) + log sigmoid |raw|."""

    @staticmethod
    def value(raw: Tensor, x: Tensor) -> Tensor:
        """The Bernoulli log-likelihood. torch's softplus and log-sigmoid take ten times as long: their log1p is not vectorised."""
        return raw.abs().sigmoid_().log_().addcmul_(raw, x).sub_(raw.relu())

    @staticmethod
    def slope(upstream: Tensor, raw: Tensor, x: Tensor) -> Tensor:
        """x - p."""
        return torch.sigmoid(raw).sub_(x).mul_(-upstream)


@dataclass(frozen=True)
class Laplace:
    """Laplace with a fixed scale; `sigmoid` keeps the location in [0, 1]."""

    sigmoid: bool = False
    scale: float = SCALE

    def mean(self, raw: Tensor) -> Tensor:
        """The location."""
        return torch.sigmoid(raw) if self.sigmoid else raw

    def log_prob(self, raw: Tensor, x: Tensor, event_dims: int) -> Tensor:
        """-|x - mean| / scale - log(2 scale)."""
        absolute = _Absolute.of(self.mean(raw), x, event_dims)
        return -absolute / self.scale - _elements(raw, event_dims) * math.log(2 * self.scale)


@dataclass(frozen=True)
class Normal:
    """Normal with a fixed standard deviation; `sigmoid` keeps the mean in [0, 1]."""

    sigmoid: bool = False
    scale: float = SCALE

    def mean(self, raw: Tensor) -> Tensor:
        """The mean."""
        return torch.sigmoid(raw) if self.sigmoid else raw

    def log_prob(self, raw: Tensor, x: Tensor, event_dims: int) -> Tensor:
        """-(x - mean)^2 / (2 scale^2) - log(scale sqrt(2 pi))."""
        squared = _Squared.of(self.mean(raw), x, event_dims)
        log_norm = math.log(self.scale * math.sqrt(2 * math.pi))
        return -squared / (2 * self.scale**2) - _elements(raw, event_dims) * log_norm


@dataclass(frozen=True)
class Bernoulli:
    """Bernoulli with logits; x may be any number in [0, 1], which is usual for grey values."""

    def mean(self, raw: Tensor) -> Tensor:
        """Probabilities."""
        return torch.sigmoid(raw)

    def log_prob(self, raw: Tensor, x: Tensor, event_dims: int) -> Tensor:
        """x log p + (1 - x) log(1 - p), computed from logits."""
        return _Logits.of(raw, x, event_dims)


@dataclass(frozen=True)
class Categorical:
    """One symbol at each position; x is one-hot over the last axis."""

    def mean(self, raw: Tensor) -> Tensor:
        """Probabilities of the symbols."""
        return torch.softmax(raw, -1)

    def log_prob(self, raw: Tensor, x: Tensor, event_dims: int) -> Tensor:
        """log p of the symbols in x, computed from logits."""
        return (x * torch.log_softmax(raw, -1)).flatten(-event_dims).sum(-1)


def _elements(raw: Tensor, event_dims: int) -> int:
    """The number of elements in one event."""
    return math.prod(raw.shape[-event_dims:])


def numeric_likelihood(name: str, sigmoid: bool) -> Likelihood:
    """The likelihood `laplace`, `normal` or `bernoulli`. `sigmoid` is for modalities whose decoder is bounded (MNIST's)."""
    if name == "bernoulli":
        return Bernoulli()
    if name == "laplace":
        return Laplace(sigmoid)
    if name == "normal":
        return Normal(sigmoid)
    raise ValueError(f"likelihood: {name!r} is not offered; allowed: laplace, normal, bernoulli")
