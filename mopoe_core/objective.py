"""One objective for the whole family: MVAE, MMVAE, MoPoE and Eq. (5) are rows of numbers.

Experts e = 0..M: e = 0 is the prior N(0, I), e = m is q_m(z|x_m), with precisions Lambda_e = 1 / v_e. A component c is a product of
experts with exponents A_c (products of experts, Definition 1):

    Lambda_c = sum_e A_ce Lambda_e        mu_c = Lambda_c^-1 sum_e A_ce Lambda_e mu_e

    loss = sum_c lambda_c E_{z ~ q_c}[ -sum_m D_cm w_m log p_m(x_m|z) ] + beta sum_c sum_r B_cr KL(q_c || r)

Where lambda are the weights of a mixture (MMVAE, MoPoE), the first term is an expectation under q(z|X) = sum_c lambda_c q_c(z|X),
and its estimator is a choice:

    stratified    each example is given one component; over a batch every component is given its share (lowest variance for one
                  decoding)
    categorical   each example draws its component independently
    slices        contiguous slices of the batch, the last taking what is left over (the released code; biased where the batch is
                  not a multiple of the number of components)
    enumerate     every component is decoded (Eq. 5): no choice left to chance, C decodings

and so is its KL: `sum`, the components' weighted KLs (Eq. 12, an upper bound), or `mixture`, the KL of the mixture itself (Eq. 6), by
Monte Carlo at the same samples.

A hidden modality m makes every component with A_cm > 0 unusable for that example; the weights of the others are scaled up to the same
total, and the hidden modality is not reconstructed.

Shape suffixes: B batch, M modality, E expert (prior first), C component, R reference of a KL, D latent dimension.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import torch
from torch import Tensor

from mopoe_core.config import TrainingConfig

Rows = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Specification:
    """A member of the family as numbers. Index 0 of an expert axis is the prior."""

    name: str
    experts_CE: Rows
    """A: exponents of the experts in each component."""
    weights_C: tuple[float, ...]
    """lambda: weights of the components in the reconstruction term."""
    decoded_CM: Rows
    """D: which modalities each component reconstructs."""
    references_RE: Rows
    """What the KL terms pull towards, as products of experts; the prior is (1, 0, ..., 0)."""
    kl_CR: Rows
    """B: weight of KL(component || reference)."""
    is_mixture: bool
    """Whether `weights_C` are the weights of one mixture, or weights of ELBOs that are added."""
    conditional: str
    """q(z|X_S): `product` of the subset's experts, or `mixture` of them."""
    prior_expert: str
    """Which conditional products include the prior: `none`, `full` (all modalities given) or `all`."""
    estimator: str
    """`stratified`, `categorical`, `slices` or `enumerate`."""
    kl: str = "sum"
    """`sum` or `mixture`."""

    @property
    def modalities(self) -> int:
        """M."""
        return len(self.decoded_CM[0])

    def conditional_rows(self, subset: Sequence[int]) -> Rows:
        """Exponents of the components whose uniform mixture is q(z|X_S); `subset` holds modality indices from 0."""
        if self.conditional == "mixture":
            return tuple(_row(self.modalities, [m], self.prior_expert) for m in subset)
        return (_row(self.modalities, subset, self.prior_expert),)


def _row(modalities: int, subset: Sequence[int], prior_expert: str) -> tuple[float, ...]:
    with_prior = prior_expert == "all" or (prior_expert == "full" and len(subset) == modalities)
    return (float(with_prior), *(float(m in subset) for m in range(modalities)))


def _to_prior(modalities: int, weights_C: tuple[float, ...]) -> tuple[Rows, Rows]:
    """References and weights for KLs to the prior alone."""
    return ((1.0, *(0.0 for _ in range(modalities))),), tuple((weight,) for weight in weights_C)


def mvae(modalities: int, prior_expert: str = "all") -> Specification:
    """MVAE (Wu and Goodman 2018): the ELBO of the product of all experts plus one ELBO for each modality alone."""
    alone = [[m] for m in range(modalities)]
    weights = (1.0,) * (modalities + 1)
    references, kl = _to_prior(modalities, weights)
    return Specification(
        name="mvae",
        experts_CE=tuple(_row(modalities, subset, prior_expert) for subset in [list(range(modalities)), *alone]),
        weights_C=weights,
        decoded_CM=((1.0,) * modalities, *(tuple(float(m == n) for n in range(modalities)) for m in range(modalities))),
        references_RE=references,
        kl_CR=kl,
        is_mixture=False,
        conditional="product",
        prior_expert=prior_expert,
        estimator="enumerate",
    )


def _mixture(name: str, modalities: int, subsets: list[tuple[int, ...]], prior_expert: str, conditional: str) -> Specification:
    """A uniform mixture of products over `subsets`, each decoded into everything, with KLs to the prior."""
    weights = (1.0 / len(subsets),) * len(subsets)
    references, kl = _to_prior(modalities, weights)
    return Specification(
        name=name,
        experts_CE=tuple(_row(modalities, subset, prior_expert) for subset in subsets),
        weights_C=weights,
        decoded_CM=((1.0,) * modalities,) * len(subsets),
        references_RE=references,
        kl_CR=kl,
        is_mixture=True,
        conditional=conditional,
        prior_expert=prior_expert,
        estimator="stratified",
    )


def mmvae(modalities: int, prior_expert: str = "none") -> Specification:
    """MMVAE (Shi et al. 2019; Eq. 10): the mixture of the unimodal posteriors."""
    return _mixture("mmvae", modalities, [(m,) for m in range(modalities)], prior_expert, "mixture")


def mopoe(modalities: int, prior_expert: str = "none") -> Specification:
    """MoPoE (Definition 1): the mixture of the products over every non-empty subset."""
    subsets = [subset for size in range(1, modalities + 1) for subset in combinations(range(modalities), size)]
    return _mixture("mopoe", modalities, subsets, prior_expert, "product")


def eq5(modalities: int, prior_expert: str = "none") -> Specification:
    """Eq. (5): all subsets' ELBOs, each evaluated; MoPoE with every component decoded."""
    return replace(mopoe(modalities, prior_expert), estimator="enumerate")


NAMED = {"mvae": mvae, "mmvae": mmvae, "mopoe": mopoe, "eq5": eq5}


def specification(config: TrainingConfig, modalities: int) -> Specification:
    """The member of the family that a configuration names, for a number of modalities."""
    named = NAMED[config.model](modalities, config.prior_expert)
    return replace(named, estimator=config.estimator, kl=config.kl)


@dataclass(frozen=True)
class Gaussians:
    """Diagonal Gaussians; the leading axis is whatever they are indexed by."""

    mu: Tensor
    logvar: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """mu + sigma * noise."""
        return self.mu + torch.exp(0.5 * self.logvar) * noise

    def log_prob(self, z: Tensor) -> Tensor:
        """log density in nats, summed over the last axis; shapes broadcast."""
        squared = (z - self.mu) ** 2 * torch.exp(-self.logvar)
        return -0.5 * (squared + self.logvar + math.log(2 * math.pi)).sum(-1)

    def select(self, component_B: Tensor) -> "Gaussians":
        """From (C, B, D), the one component of each example: (B, D)."""
        rows = torch.arange(component_B.shape[0], device=component_B.device)
        return Gaussians(self.mu[component_B, rows], self.logvar[component_B, rows])


def products(experts_MBD: Gaussians, exponents_CE: Tensor) -> Gaussians:
    """The products of experts that a matrix of exponents names, (C, B, D), with N(0, I) as expert 0."""
    precision_MBD = torch.exp(-experts_MBD.logvar)
    exponents_CM = exponents_CE[:, 1:]
    precision_CBD = torch.einsum("cm,mbd->cbd", exponents_CM, precision_MBD) + exponents_CE[:, :1, None]
    weighted_CBD = torch.einsum("cm,mbd->cbd", exponents_CM, precision_MBD * experts_MBD.mu)
    return Gaussians(weighted_CBD / precision_CBD, -torch.log(precision_CBD))


def kl_divergence(q: Gaussians, r: Gaussians) -> Tensor:
    """KL(q || r) in nats, summed over the last axis; shapes broadcast."""
    ratio = q.logvar - r.logvar
    return 0.5 * (torch.exp(ratio) + (q.mu - r.mu) ** 2 * torch.exp(-r.logvar) - 1 - ratio).sum(-1)


@dataclass(frozen=True)
class Draws:
    """The chance in one evaluation of the loss."""

    position_B: Tensor | None
    """In [0, 1): where each example stands on the cumulated component weights; None where every component is decoded."""
    noise: Tensor
    """Standard normal: (B, D), or (C, B, D) where every component is decoded."""


def draw(spec: Specification, batch: int, latent: int, generator: torch.Generator) -> Draws:
    """Fresh chance for a batch, on the generator's device."""
    device = generator.device
    components = len(spec.weights_C)
    if spec.estimator == "enumerate":
        return Draws(None, torch.randn(components, batch, latent, generator=generator, device=device))
    noise_BD = torch.randn(batch, latent, generator=generator, device=device)
    if spec.estimator == "categorical":
        return Draws(torch.rand(batch, generator=generator, device=device), noise_BD)
    if spec.estimator == "stratified":
        # One uniform offset and a random order: each position alone is uniform, together they are evenly spaced.
        order_B = torch.randperm(batch, generator=generator, device=device)
        offset = torch.rand(1, generator=generator, device=device)
        return Draws((order_B + offset) / batch, noise_BD)
    slices_B = (torch.arange(batch, device=device) // (batch // components)).clamp(max=components - 1)
    return Draws((slices_B + 0.5) / components, noise_BD)


class Objective:
    """A specification as tensors on one device, ready to turn experts and samples into the terms of the loss."""

    def __init__(self, spec: Specification, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        self.spec = spec
        self.experts_CE = torch.tensor(spec.experts_CE, device=device, dtype=dtype)
        self.weights_C = torch.tensor(spec.weights_C, device=device, dtype=dtype)
        self.decoded_CM = torch.tensor(spec.decoded_CM, device=device, dtype=dtype)
        self.references_RE = torch.tensor(spec.references_RE, device=device, dtype=dtype)
        self.kl_CR = torch.tensor(spec.kl_CR, device=device, dtype=dtype)
        self.total = float(sum(spec.weights_C))
        self.decoding_rows = [
            torch.tensor([c for c, row in enumerate(spec.decoded_CM) if row[m]], device=device) for m in range(spec.modalities)
        ]
        """For each modality, the components that reconstruct it; on the device, because an index from the host stalls a GPU."""

    def scale_CB(self, present_BM: Tensor | None, batch: int) -> Tensor:
        """Factor on each component's weights: 0 if it is unusable, else what keeps the example's total."""
        if present_BM is None:
            return torch.ones_like(self.weights_C)[:, None].expand(-1, batch)
        uses_CM = (self.experts_CE[:, 1:] > 0).to(self.weights_C.dtype)
        hidden_BM = 1 - present_BM.to(self.weights_C.dtype)
        usable_CB = (uses_CM @ hidden_BM.T == 0).to(self.weights_C.dtype)
        return usable_CB * (self.total / (self.weights_C @ usable_CB))

    def assign_B(self, draws: Draws, scale_CB: Tensor) -> Tensor:
        """The component of each example, by its position on the cumulated weights; an unusable one is never chosen."""
        assert draws.position_B is not None
        cumulated_CB = torch.cumsum(self.weights_C[:, None] * scale_CB / self.total, 0)
        # Up to the last component whose weight is not zero: rounding may leave the sum short of 1.
        last_B = (scale_CB > 0).to(torch.int64).mul(torch.arange(len(self.weights_C), device=scale_CB.device)[:, None]).amax(0)
        return torch.minimum((cumulated_CB <= draws.position_B).sum(0), last_B)

    def kl_B(self, components_CBD: Gaussians, experts_MBD: Gaussians, scale_CB: Tensor) -> Tensor:
        """sum_c sum_r B_cr KL(q_c || r), in nats an example."""
        references_RBD = products(experts_MBD, self.references_RE)
        q = Gaussians(components_CBD.mu[:, None], components_CBD.logvar[:, None])
        return torch.einsum("cr,cb,crb->b", self.kl_CR, scale_CB, kl_divergence(q, references_RBD))

    def mixture_kl_B(self, components_CBD: Gaussians, z_SBD: Tensor, weights_SB: Tensor, scale_CB: Tensor) -> Tensor:
        """KL(sum_c pi_c q_c || N(0, I)) in nats an example, by Monte Carlo at samples z with weights."""
        log_pi_CB = torch.log(self.weights_C[:, None] * scale_CB / self.total)
        log_q_CSB = [  # component by component: all at once would hold C x C x B x D numbers
            Gaussians(mu, logvar).log_prob(z_SBD) + log_pi_B
            for mu, logvar, log_pi_B in zip(components_CBD.mu, components_CBD.logvar, log_pi_CB, strict=True)
        ]
        log_q_SB = torch.logsumexp(torch.stack(log_q_CSB), 0)
        log_p_SB = -0.5 * (z_SBD**2 + math.log(2 * math.pi)).sum(-1)
        return (weights_SB * (log_q_SB - log_p_SB)).sum(0)
