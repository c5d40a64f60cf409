"""Likelihoods of one modality in closed form. Source: Appendix B and the released code; all in nats, summed over a modality's elements.

A decoder's raw output becomes the parameter through a link, so that a network ends in a plain linear layer.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

SCALE = 0.75
"""Scale of Laplace and Normal, as released."""


class Likelihood(Protocol):
    """p(x|raw) for raw of shape (..., *event) and x of shape (B, *event), broadcast over the leading axes."""

    def log_prob(self, raw: Tensor, x: Tensor, event_dims: int) -> Tensor:
        """log p(x|raw) in nats, summed over the last `event_dims` axes."""

    def mean(self, raw: Tensor) -> Tensor:
        """What is shown and judged: the distribution's mean."""


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
        # The mean first: its gradient then needs no pass of its own to change sign.
        distance = (self.mean(raw) - x).abs().flatten(-event_dims)
        return -distance.sum(-1) / self.scale - distance.shape[-1] * math.log(2 * self.scale)


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
        squared = ((self.mean(raw) - x) ** 2).flatten(-event_dims)
        return -squared.sum(-1) / (2 * self.scale**2) - squared.shape[-1] * math.log(self.scale * math.sqrt(2 * math.pi))


@dataclass(frozen=True)
class Bernoulli:
    """Bernoulli with logits; x in [0, 1] is allowed, as is usual for grey values."""

    def mean(self, raw: Tensor) -> Tensor:
        """Probabilities."""
        return torch.sigmoid(raw)

    def log_prob(self, raw: Tensor, x: Tensor, event_dims: int) -> Tensor:
        """x log p + (1 - x) log(1 - p), from logits."""
        return (x * raw - F.softplus(raw)).flatten(-event_dims).sum(-1)


@dataclass(frozen=True)
class Categorical:
    """One symbol a position; x is one-hot over the last axis."""

    def mean(self, raw: Tensor) -> Tensor:
        """Probabilities of the symbols."""
        return torch.softmax(raw, -1)

    def log_prob(self, raw: Tensor, x: Tensor, event_dims: int) -> Tensor:
        """log p of the symbol that is there, from logits."""
        return (x * torch.log_softmax(raw, -1)).flatten(-event_dims).sum(-1)


def numeric_likelihood(name: str, sigmoid: bool) -> Likelihood:
    """`laplace`, `normal` or `bernoulli`; `sigmoid` for modalities whose decoder is bounded (MNIST's)."""
    if name == "bernoulli":
        return Bernoulli()
    return Laplace(sigmoid) if name == "laplace" else Normal(sigmoid)
