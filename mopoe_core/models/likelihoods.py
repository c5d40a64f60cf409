"""Likelihoods of one modality in closed form. Source: Appendix B and the released code; all in nats, summed over a modality's elements.

A decoder's raw output becomes the parameter through a link, so that a network ends in a plain linear layer.

Those of images are autograd functions of their own: a step passes over (S, B, pixels) numbers as rarely as it can, and keeps none of
its own between forward and backward. They have a gradient to raw alone, once differentiable; x is data.
"""

import math
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

SCALE = 0.75
"""Scale of Laplace and Normal, as released."""

_TINY = 1e-30
"""Where |x - mean| turns from a parabola into a line: below what float32 tells from zero, so that the derivative there is 0."""


class Likelihood(Protocol):
    """p(x|raw) for raw of shape (..., B, *event) and x of a shape that broadcasts to it, (B, *event) or with further leading axes."""

    def log_prob(self, raw: Tensor, x: Tensor, event_dims: int) -> Tensor:
        """log p(x|raw) in nats, summed over the last `event_dims` axes."""

    def mean(self, raw: Tensor) -> Tensor:
        """What is shown and judged: the distribution's mean."""


class _Summed(torch.autograd.Function):
    """A function of raw (..., B, *event) and x, element by element, summed over the event: (..., B)."""

    @staticmethod
    def value(raw: Tensor, x: Tensor) -> Tensor:
        """Of each element, in memory of its own."""
        raise NotImplementedError

    @staticmethod
    def slope(upstream: Tensor, raw: Tensor, x: Tensor) -> Tensor:
        """The derivative to each element of raw, times what comes from above, (..., B, *ones)."""
        raise NotImplementedError

    @classmethod
    def of(cls, raw: Tensor, x: Tensor, event_dims: int) -> Tensor:
        """The sums, differentiable to raw."""
        assert not x.requires_grad, "x is data and gets no gradient"
        # Convolutions give channels last: one copy costs less than three passes over two orders.
        return cast(Tensor, cls.apply(raw.contiguous(), x, event_dims))

    @classmethod
    def forward(cls, ctx: Any, raw: Tensor, x: Tensor, event_dims: int) -> Tensor:
        """raw and x are kept, which are there anyway."""
        ctx.save_for_backward(raw, x)
        ctx.event_dims = event_dims
        return cls.value(raw, x).flatten(-event_dims).sum(-1)

    @classmethod
    @once_differentiable
    def backward(cls, ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        """The upstream gradient may differ from example to example."""
        raw, x = ctx.saved_tensors
        return cls.slope(upstream[(..., *[None] * ctx.event_dims)], raw, x), None, None


class _Absolute(_Summed):
    """|raw - x|."""

    @staticmethod
    def value(raw: Tensor, x: Tensor) -> Tensor:
        """Two passes, the second in place."""
        return (raw - x).abs_()

    @staticmethod
    def slope(upstream: Tensor, raw: Tensor, x: Tensor) -> Tensor:
        """The sign, zero at zero, in one pass; without `grad_input`, torch would first fill it with zeros."""
        gradient = torch.empty_like(raw)
        torch.ops.aten.smooth_l1_loss_backward.grad_input(upstream, raw, x, 0, _TINY, grad_input=gradient)
        return gradient


class _Squared(_Summed):
    """(raw - x)^2."""

    @staticmethod
    def value(raw: Tensor, x: Tensor) -> Tensor:
        """Two passes, the second in place."""
        return (raw - x).square_()

    @staticmethod
    def slope(upstream: Tensor, raw: Tensor, x: Tensor) -> Tensor:
        """Twice the difference."""
        return (raw - x).mul_(2 * upstream)


class _Logits(_Summed):
    """x log p + (1 - x) log(1 - p) = x raw - max(raw, 0) + log sigmoid |raw|."""

    @staticmethod
    def value(raw: Tensor, x: Tensor) -> Tensor:
        """softplus and log-sigmoid of torch take ten times as long: their log1p is not vectorised."""
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
        return -_Absolute.of(self.mean(raw), x, event_dims) / self.scale - _elements(raw, event_dims) * math.log(2 * self.scale)


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
        return -squared / (2 * self.scale**2) - _elements(raw, event_dims) * math.log(self.scale * math.sqrt(2 * math.pi))


@dataclass(frozen=True)
class Bernoulli:
    """Bernoulli with logits; x in [0, 1] is allowed, as is usual for grey values."""

    def mean(self, raw: Tensor) -> Tensor:
        """Probabilities."""
        return torch.sigmoid(raw)

    def log_prob(self, raw: Tensor, x: Tensor, event_dims: int) -> Tensor:
        """x log p + (1 - x) log(1 - p), from logits."""
        return _Logits.of(raw, x, event_dims)


@dataclass(frozen=True)
class Categorical:
    """One symbol a position; x is one-hot over the last axis."""

    def mean(self, raw: Tensor) -> Tensor:
        """Probabilities of the symbols."""
        return torch.softmax(raw, -1)

    def log_prob(self, raw: Tensor, x: Tensor, event_dims: int) -> Tensor:
        """log p of the symbol that is there, from logits."""
        return (x * torch.log_softmax(raw, -1)).flatten(-event_dims).sum(-1)


def _elements(raw: Tensor, event_dims: int) -> int:
    """Numbers in one event."""
    return math.prod(raw.shape[-event_dims:])


def numeric_likelihood(name: str, sigmoid: bool) -> Likelihood:
    """`laplace`, `normal` or `bernoulli`; `sigmoid` for modalities whose decoder is bounded (MNIST's)."""
    if name == "bernoulli":
        return Bernoulli()
    if name == "laplace":
        return Laplace(sigmoid)
    if name == "normal":
        return Normal(sigmoid)
    raise ValueError(f"likelihood: {name!r} is not offered; allowed: laplace, normal, bernoulli")
