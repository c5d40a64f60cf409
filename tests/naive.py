"""The objective again, written independently: one example and one subset at a time, with torch.distributions.

Follows protocol section 5 and the released code's description, not `mopoe_core.objective`, and shares no function with it.
"""

import itertools
import math

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Laplace, Normal, OneHotCategorical, kl_divergence

from mopoe_core.data.types import Modality
from mopoe_core.model import MultimodalVAE


def product_of_experts(experts: list[Normal]) -> Normal:
    """Multiply Gaussian densities pairwise: precisions add, means average by precision."""
    precision = sum(1 / e.variance for e in experts)
    mean = sum(e.mean / e.variance for e in experts) / precision
    return Normal(mean, precision**-0.5)


def powerset(count: int) -> list[tuple[int, ...]]:
    """Non-empty subsets, small first."""
    return [s for size in range(1, count + 1) for s in itertools.combinations(range(count), size)]


def log_likelihood(model: MultimodalVAE, modality: Modality, z: Tensor, x: Tensor) -> Tensor:
    """log p(x|z) of one example."""
    raw = model.decoders[modality.name](z[None])[0]
    if modality.kind == "text":
        return OneHotCategorical(logits=raw).log_prob(x).sum()
    mean = torch.sigmoid(raw) if modality.bounded else raw
    kind = model.config.likelihood
    if kind == "bernoulli":
        return Bernoulli(logits=raw, validate_args=False).log_prob(x).sum()
    return (Laplace(mean, 0.75) if kind == "laplace" else Normal(mean, 0.75)).log_prob(x).sum()


def weight(model: MultimodalVAE, modality: Modality) -> float:
    """Largest modality's number of elements over this one's; text counts characters."""
    sizes = [m.shape[0] if m.kind == "text" else math.prod(m.shape) for m in model.modalities]
    own = modality.shape[0] if modality.kind == "text" else math.prod(modality.shape)
    return max(sizes) / own


class Naive:
    """The loss of one model on one batch, given the same noise and the same positions."""

    def __init__(self, model: MultimodalVAE, x: dict[str, Tensor]) -> None:
        self.model, self.x = model, x
        self.count = len(model.modalities)
        self.batch = len(next(iter(x.values())))
        self.encoded = [model.encoders[m.name](x[m.name]) for m in model.modalities]

    def expert(self, m: int, b: int) -> Normal:
        """q(z|x_m) of example b."""
        mu, logvar = self.encoded[m]
        return Normal(mu[b], torch.exp(logvar[b] / 2))

    def prior(self) -> Normal:
        """N(0, I)."""
        zero = torch.zeros(self.encoded[0][0].shape[1], dtype=torch.float64)
        return Normal(zero, zero + 1)

    def subset(self, members: tuple[int, ...], b: int, with_prior: bool) -> Normal:
        """The product over a subset."""
        return product_of_experts([self.expert(m, b) for m in members] + ([self.prior()] if with_prior else []))

    def reconstruction(self, z: Tensor, b: int, targets: tuple[int, ...]) -> Tensor:
        """Weighted negative log-likelihood of some modalities."""
        terms = []
        for t in targets:
            modality = self.model.modalities[t]
            terms.append(-weight(self.model, modality) * log_likelihood(self.model, modality, z, self.x[modality.name][b]))
        return sum(terms, torch.zeros((), dtype=torch.float64))

    def kl_to_prior(self, q: Normal) -> Tensor:
        """KL(q || N(0, I))."""
        return kl_divergence(q, self.prior()).sum()

    def mvae(self, noise: Tensor) -> Tensor:
        """The joint ELBO and every unimodal ELBO, all with the prior expert."""
        everything, beta = tuple(range(self.count)), self.model.config.beta
        total = torch.zeros((), dtype=torch.float64)
        for b in range(self.batch):
            q = self.subset(everything, b, True)
            total = total + self.reconstruction(q.mean + q.stddev * noise[0, b], b, everything) + beta * self.kl_to_prior(q)
            for m in everything:
                q = self.subset((m,), b, True)
                total = total + self.reconstruction(q.mean + q.stddev * noise[1 + m, b], b, (m,)) + beta * self.kl_to_prior(q)
        return total / self.batch

    def mixture(self, subsets: list[tuple[int, ...]], chosen: list[int] | None, noise: Tensor) -> Tensor:
        """A uniform mixture over subsets: one component an example (`chosen`), or all of them."""
        everything, beta = tuple(range(self.count)), self.model.config.beta
        total = torch.zeros((), dtype=torch.float64)
        for b in range(self.batch):
            parts = [self.subset(s, b, False) for s in subsets]
            if chosen is None:
                each = [self.reconstruction(q.mean + q.stddev * noise[c, b], b, everything) for c, q in enumerate(parts)]
                total = total + sum(each) / len(subsets)
            else:
                q = parts[chosen[b]]
                total = total + self.reconstruction(q.mean + q.stddev * noise[b], b, everything)
            total = total + beta * sum(self.kl_to_prior(q) for q in parts) / len(subsets)
        return total / self.batch
