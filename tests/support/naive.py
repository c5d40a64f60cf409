"""The losses again, written independently: one example, one component and one modality at a time, with torch.distributions.

Follows the formulas of the papers, not `mopoe_core.models.objective`, and shares no function with it. It never
looks at the entries of a batch whose modality is hidden.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Laplace, Normal, OneHotCategorical, kl_divergence

from mopoe_core.data.types import Modality


def product_of_experts(experts: list[Normal]) -> Normal:
    """Multiply Gaussian densities pairwise: precisions add, means average by precision."""
    precision = sum(1 / e.variance for e in experts)
    mean = sum(e.mean / e.variance for e in experts) / precision
    return Normal(mean, precision**-0.5)


def geometric_mean(experts: list[Normal]) -> Normal:
    """The density proportional to the geometric mean of Gaussian densities: the mean of their precisions."""
    precision = sum(1 / e.variance for e in experts) / len(experts)
    mean = sum(e.mean / e.variance for e in experts) / len(experts) / precision
    return Normal(mean, precision**-0.5)


def powerset(count: int) -> list[tuple[int, ...]]:
    """Non-empty subsets, small first."""
    return [s for size in range(1, count + 1) for s in itertools.combinations(range(count), size)]


def log_likelihood(model: Any, modality: Modality, latent: Tensor, x: Tensor) -> Tensor:
    """log p(x|latent) of one example."""
    raw = model.decoders[modality.name](latent[None])[0]
    if modality.kind == "text":
        return OneHotCategorical(logits=raw).log_prob(x).sum()
    kind = modality.likelihood or model.config.likelihood
    mean = torch.sigmoid(raw) if modality.bounded else raw
    if kind == "bernoulli":
        return Bernoulli(logits=raw, validate_args=False).log_prob(x).sum()
    return (Laplace(mean, 0.75) if kind == "laplace" else Normal(mean, 0.75)).log_prob(x).sum()


def weight(model: Any, modality: Modality) -> float:
    """As configured; by size, the largest modality's number of elements over this one's, where text counts characters."""
    asked = model.config.reconstruction_weights
    if asked == "equal":
        return 1.0
    if asked != "size":
        return asked[model.modalities.index(modality)]
    sizes = [m.shape[0] if m.kind == "text" else math.prod(m.shape) for m in model.modalities]
    own = modality.shape[0] if modality.kind == "text" else math.prod(modality.shape)
    return max(sizes) / own


@dataclass
class Terms:
    """Sums over a batch."""

    reconstruction: list[Tensor]
    """Of each modality, with its own weight."""
    kl: Tensor
    private_kl: Tensor

    def loss(self, config: Any) -> Tensor:
        """reconstruction + beta (KL + beta_private private KL)."""
        return sum(self.reconstruction) + config.beta * (self.kl + config.beta_private * self.private_kl)


class Naive:
    """The loss of one model on one batch, given the same noise and the same positions."""

    def __init__(self, model: Any, x: dict[str, Tensor], draws: Any, present: Tensor | None = None) -> None:
        self.model, self.x, self.draws, self.config = model, x, draws, model.config
        self.count = len(model.modalities)
        self.batch = len(next(iter(x.values())))
        self.present = [[m for m in range(self.count) if present is None or bool(present[b, m])] for b in range(self.batch)]
        self.encoded: dict[tuple[int, int], tuple[Normal, Normal]] = {}
        for b in range(self.batch):
            for m in self.present[b]:
                name = model.modalities[m].name
                mu, logvar = (head[0] for head in model.encoders[name](x[name][b : b + 1]))
                D = self.config.latent_dim
                both = [Normal(mu[part], torch.exp(logvar[part] / 2)) for part in (slice(0, D), slice(D, None))]
                self.encoded[m, b] = (both[0], both[1])

    def expert(self, m: int, b: int) -> Normal:
        """q(z|x_m) of example b."""
        return self.encoded[m, b][0]

    def prior(self, dimensions: int | None = None) -> Normal:
        """N(0, I)."""
        zero = torch.zeros(self.config.latent_dim if dimensions is None else dimensions, dtype=torch.float64)
        return Normal(zero, zero + 1)

    def posterior(self, members: Sequence[int], b: int) -> Normal:
        """The product over a subset, with the prior where the configuration has it; of nothing, the prior."""
        choice = self.config.prior_expert
        with_prior = choice == "all" or (choice == "full" and len(members) == self.count) or not members
        return product_of_experts([self.expert(m, b) for m in members] + ([self.prior()] if with_prior else []))

    def negative_log_likelihood(self, z: Tensor, t: int, b: int) -> Tensor:
        """-log p(x_t|z, s_t) of one example, unweighted, with its one private sample."""
        modality = self.model.modalities[t]
        own = self.encoded[t, b][1]
        latent = torch.cat([z, own.mean + own.stddev * self.draws.private_noise_MBP[t, b]])
        return -log_likelihood(self.model, modality, latent, self.x[modality.name][b])

    def private_kl(self, t: int, b: int) -> Tensor:
        """Weighted KL(q(s_t|x_t) || N(0, I)): what a private latent costs an ELBO that decodes its modality (Eq. 34)."""
        own = (self.config.private_weights or (1.0,) * self.count)[t]
        return own * kl_divergence(self.encoded[t, b][1], self.prior(self.config.private_dim)).sum()

    def sampled(self, q: Normal, noise: Tensor) -> Tensor:
        """mu + sigma noise."""
        return q.mean + q.stddev * noise

    def nothing(self) -> Terms:
        """Zeros."""
        zero = torch.zeros((), dtype=torch.float64)
        return Terms([zero] * self.count, zero, zero)

    def terms(self) -> Terms:
        """Means over the batch, of the model that the configuration names."""
        total = self.nothing()
        for b in range(self.batch):
            one = getattr(self, self.config.model)(b)
            total = Terms(
                [r + s / self.batch for r, s in zip(total.reconstruction, one.reconstruction, strict=True)],
                total.kl + one.kl / self.batch,
                total.private_kl + one.private_kl / self.batch,
            )
        return total

    def decode(self, terms: Terms, factor: float, z: Tensor, b: int, targets: Sequence[int], weighted: bool = True) -> None:
        """Add factor times an ELBO's reconstruction of some modalities, and their private KLs."""
        for t in targets:
            own = weight(self.model, self.model.modalities[t]) if weighted else 1.0
            terms.reconstruction[t] = terms.reconstruction[t] + factor * own * self.negative_log_likelihood(z, t, b)
            terms.private_kl = terms.private_kl + factor * self.private_kl(t, b)

    def mvae(self, b: int) -> Terms:
        """The joint ELBO of the modalities that are there, and the unimodal ELBO of each of them."""
        terms, there = self.nothing(), tuple(self.present[b])
        for place, members in [(0, there), *((1 + m, (m,)) for m in there)]:
            q = self.posterior(members, b)
            weighted = place == 0 or self.config.unimodal_reconstruction == "weighted"
            self.decode(terms, 1.0, self.sampled(q, self.draws.noise[place, b]), b, members, weighted)
            terms.kl = terms.kl + kl_divergence(q, self.prior()).sum()
        return terms

    def mixture(self, b: int) -> Terms:
        """MMVAE, MoPoE, Eq. (5) and mmJSD: a uniform mixture of the components that can be computed."""
        every: list[tuple[int, ...]] = [(m,) for m in range(self.count)]
        if self.config.model == "mopoe":
            every = powerset(self.count)
        if self.config.model == "mmjsd":
            every = [*every, ()]
        usable = [c for c, members in enumerate(every) if all(m in self.present[b] for m in members)]
        parts = {c: self.posterior(every[c], b) for c in usable}
        terms, samples = self.nothing(), []
        if self.draws.position_B is None:
            samples = [(1 / len(usable), self.sampled(parts[c], self.draws.noise[c, b])) for c in usable]
        else:
            position = float(self.draws.position_B[b])
            chosen = usable[min(int(position * len(usable)), len(usable) - 1)]
            samples = [(1.0, self.sampled(parts[chosen], self.draws.noise[b]))]
        for share, z in samples:
            self.decode(terms, share, z, b, self.present[b])
        if self.config.kl == "mixture":  # Eq. (6), at the same samples
            for share, z in samples:
                density = sum(torch.exp(q.log_prob(z).sum()) for q in parts.values()) / len(parts)
                terms.kl = terms.kl + share * (torch.log(density) - self.prior().log_prob(z).sum())
            return terms
        pulled_to = self.prior()
        if self.config.model == "mmjsd":
            pulled_to = geometric_mean([self.prior()] + [self.expert(m, b) for m in self.present[b]])
        for q in parts.values():
            terms.kl = terms.kl + kl_divergence(q, pulled_to).sum() / len(parts)
        return terms

    mmvae = mopoe = mmjsd = mixture

    def mvtcae(self, b: int) -> Terms:
        """(k - a)/k E[-log p] + (1 - a) KL(q || p) + a/k sum_m KL(q || q_m), with q the product of the k modalities that are there."""
        terms, there, alpha = self.nothing(), tuple(self.present[b]), self.config.alpha
        q = self.posterior(there, b)
        self.decode(terms, (len(there) - alpha) / len(there), self.sampled(q, self.draws.noise[0, b]), b, there)
        terms.kl = (1 - alpha) * kl_divergence(q, self.prior()).sum()
        for m in there:
            terms.kl = terms.kl + alpha / len(there) * kl_divergence(q, self.expert(m, b)).sum()
        return terms

    def mmvm(self, b: int) -> Terms:
        """Each modality decodes itself, and is pulled to every posterior that is there: sum_m [-log p + 1/k sum_n KL(q_m || q_n)]."""
        terms, there = self.nothing(), self.present[b]
        for m in there:
            q = self.posterior((m,), b)
            self.decode(terms, 1.0, self.sampled(q, self.draws.noise[m, b]), b, (m,))
            for n in there:
                terms.kl = terms.kl + kl_divergence(q, self.posterior((n,), b)).sum() / len(there)
        return terms

    def crmvae(self, b: int) -> Terms:
        """With k modalities there: (-log p(all|z) - sum_m log p(x_m|z_m)) / (2 (k + 1)), and the product's KLs to the prior and to each
        expert, over k + 1."""
        terms, there = self.nothing(), tuple(self.present[b])
        joint = self.posterior(there, b)
        self.decode(terms, 0.5 / (len(there) + 1), self.sampled(joint, self.draws.noise[0, b]), b, there)
        for m in there:
            alone = self.sampled(self.posterior((m,), b), self.draws.noise[1 + m, b])
            self.decode(terms, 0.5 / (len(there) + 1), alone, b, (m,))
        for other in [self.prior(), *(self.expert(m, b) for m in there)]:
            terms.kl = terms.kl + kl_divergence(joint, other).sum() / (len(there) + 1)
        return terms
