"""One objective for the whole family: MVAE, MMVAE, MoPoE, Eq. (5), MVTCAE, mmJSD and MMVM are rows of numbers.

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

An example with a hidden modality has the loss of a model without that modality. The modality is not reconstructed, and its expert is
in no product:

    a mixture          loses the components that use a hidden expert; the weights of the others are scaled up to the same total
    a sum of ELBOs     keeps its components without the hidden expert; one whose experts are all hidden is dropped, and the others keep
                       their weights

The references of the KLs lose the hidden expert too: the exponents of the others are scaled up to the same total, and a reference without
experts is dropped, with the weights of the others scaled up. `prior_expert: full` stays with the product of all the dataset's modalities,
as released.

What the loss calls here also takes the tensors of a stack, which have one more leading axis, of its trials: (T, C, B, D) for
(C, B, D). So axes are counted from the last.

Shape suffixes: T stacked trial, B batch, M modality, E expert (prior first), C component, R reference of a KL, D latent dimension.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mopoe_core.config.training_config import TrainingConfig

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
    """Whether `weights_C` are the weights of one mixture, or of ELBOs that are added. It decides what a hidden modality does."""
    conditional: str
    """q(z|X_S): `product` of the subset's experts, or `mixture` of them."""
    prior_expert: str
    """Which conditional products include the prior: `none`, `full` (all modalities given) or `all`."""
    estimator: str
    """`stratified`, `categorical`, `slices` or `enumerate`."""
    kl: str = "sum"
    """`sum` or `mixture`."""
    factor_when_present_M: tuple[float, ...] = ()
    """Factor on the reconstruction where 1, 2, ..., M modalities are present; 1 each when left out."""

    @property
    def modalities(self) -> int:
        """M."""
        return len(self.decoded_CM[0])

    @property
    def layout(self) -> tuple[Any, ...]:
        """What must be the same for specifications to be stacked: the shapes of their rows, who decodes what, how it is estimated."""
        decodes = tuple(tuple(number > 0 for number in row) for row in self.decoded_CM)
        return len(self.weights_C), len(self.references_RE), decodes, self.estimator, self.kl, self.is_mixture

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


def _experts_only(modalities: int) -> Rows:
    """Each unimodal posterior as a reference."""
    return tuple(_row(modalities, [m], "none") for m in range(modalities))


def mvae(config: TrainingConfig, weights_M: Sequence[float]) -> Specification:
    """MVAE (Wu and Goodman 2018): the ELBO of the product of all experts plus one ELBO for each modality alone.

    `unimodal_reconstruction: unweighted` takes the reconstruction weights out of the latter, as the released code does.
    """
    modalities = len(weights_M)
    alone = [[m] for m in range(modalities)]
    weights = (1.0,) * (modalities + 1)
    references, kl = _to_prior(modalities, weights)
    own_M = [1.0 if config.unimodal_reconstruction == "weighted" else 1 / weight for weight in weights_M]
    return Specification(
        name="mvae",
        experts_CE=tuple(_row(modalities, subset, config.prior_expert) for subset in [list(range(modalities)), *alone]),
        weights_C=weights,
        decoded_CM=((1.0,) * modalities, *(tuple(own_M[m] * (m == n) for n in range(modalities)) for m in range(modalities))),
        references_RE=references,
        kl_CR=kl,
        is_mixture=False,
        conditional="product",
        prior_expert=config.prior_expert,
        estimator="enumerate",
    )


def uniform_mixture(
    name: str, modalities: int, subsets: list[tuple[int, ...]], prior_expert: str, conditional: str
) -> Specification:
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


def mmvae(config: TrainingConfig, weights_M: Sequence[float]) -> Specification:
    """MMVAE (Shi et al. 2019; Eq. 10): the mixture of the unimodal posteriors."""
    modalities = len(weights_M)
    return uniform_mixture("mmvae", modalities, [(m,) for m in range(modalities)], config.prior_expert, "mixture")


def mopoe(config: TrainingConfig, weights_M: Sequence[float]) -> Specification:
    """MoPoE (Definition 1): the mixture of the products over every non-empty subset; Eq. (5) with every component decoded."""
    modalities = len(weights_M)
    subsets = [subset for size in range(1, modalities + 1) for subset in combinations(range(modalities), size)]
    return uniform_mixture("mopoe", modalities, subsets, config.prior_expert, "product")


def mvtcae(config: TrainingConfig, weights_M: Sequence[float]) -> Specification:
    """MVTCAE (Hwang et al. 2021): one product of all experts, pulled to the prior and to each unimodal posterior.

    The weight of its reconstruction, (k - alpha) / k, depends on the number k of modalities that an example has.
    """
    modalities, alpha = len(weights_M), config.alpha
    weight_M = tuple((present - alpha) / present for present in range(1, modalities + 1))
    return Specification(
        name="mvtcae",
        experts_CE=(_row(modalities, range(modalities), config.prior_expert),),
        weights_C=weight_M[-1:],
        decoded_CM=((1.0,) * modalities,),
        references_RE=(_row(modalities, (), "all"), *_experts_only(modalities)),
        kl_CR=((1 - alpha, *(alpha / modalities,) * modalities),),
        is_mixture=False,
        conditional="product",
        prior_expert=config.prior_expert,
        estimator="enumerate",
        factor_when_present_M=tuple(weight / weight_M[-1] for weight in weight_M) if modalities > 1 else (),
    )


def mmjsd(config: TrainingConfig, weights_M: Sequence[float]) -> Specification:
    """mmJSD (Sutter et al. 2020): the mixture of the unimodal posteriors and the prior, pulled to their geometric mean."""
    modalities = len(weights_M)
    share = 1 / (modalities + 1)
    mixture = uniform_mixture("mmjsd", modalities, [*((m,) for m in range(modalities)), ()], config.prior_expert, "mixture")
    experts_CE = (*mixture.experts_CE[:-1], _row(modalities, (), "all"))
    return replace(
        mixture, experts_CE=experts_CE, references_RE=((share,) * (modalities + 1),), kl_CR=((share,),) * (modalities + 1)
    )


def mmvm(config: TrainingConfig, weights_M: Sequence[float]) -> Specification:
    """MMVM (Sutter et al. 2024): a VAE a modality, each pulled to the mixture of all unimodal posteriors, by KLs to each."""
    modalities = len(weights_M)
    return Specification(
        name="mmvm",
        experts_CE=tuple(_row(modalities, [m], config.prior_expert) for m in range(modalities)),
        weights_C=(1.0,) * modalities,
        decoded_CM=tuple(tuple(float(m == n) for n in range(modalities)) for m in range(modalities)),
        references_RE=tuple(_row(modalities, [m], config.prior_expert) for m in range(modalities)),
        kl_CR=((1 / modalities,) * modalities,) * modalities,
        is_mixture=False,
        conditional="mixture",
        prior_expert=config.prior_expert,
        estimator="enumerate",
    )


NAMED = {"mvae": mvae, "mmvae": mmvae, "mopoe": mopoe, "mvtcae": mvtcae, "mmjsd": mmjsd, "mmvm": mmvm}


def specification(config: TrainingConfig, weights_M: Sequence[float]) -> Specification:
    """The member of the family that a configuration names, for modalities with these reconstruction weights."""
    return replace(NAMED[config.model](config, weights_M), estimator=config.estimator, kl=config.kl)


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
    exponents_CM = exponents_CE[..., 1:]
    precision_CBD = torch.einsum("...cm,...mbd->...cbd", exponents_CM, precision_MBD) + exponents_CE[..., :1, None]
    weighted_CBD = torch.einsum("...cm,...mbd->...cbd", exponents_CM, precision_MBD * experts_MBD.mu)
    return Gaussians(weighted_CBD / precision_CBD, -torch.log(precision_CBD))


def chosen_products(experts_MBD: Gaussians, exponents_CE: Tensor, component_B: Tensor) -> Gaussians:
    """Of `products`, the one component of each example, (B, D), without the others."""
    return product_of_each(experts_MBD, torch.take_along_dim(exponents_CE, component_B[..., None], -2))


def product_of_each(experts_MBD: Gaussians, exponents_BE: Tensor) -> Gaussians:
    """One product an example, (B, D), with exponents of its own."""
    exponents_MB1 = exponents_BE[..., 1:].mT[..., None]
    precision_MBD = torch.exp(-experts_MBD.logvar)
    precision_BD = (exponents_MB1 * precision_MBD).sum(-3) + exponents_BE[..., :1]
    weighted_BD = (exponents_MB1 * precision_MBD * experts_MBD.mu).sum(-3)
    return Gaussians(weighted_BD / precision_BD, -torch.log(precision_BD))


def products_log_prob(experts_MBD: Gaussians, exponents_CE: Tensor, z_BD: Tensor) -> Tensor:
    """log density at z (B, D) of every product of experts that a matrix of exponents names, in nats, (C, B).

    Around z the exponent of a product is linear in the experts: with h_c = sum_e A_ce Lambda_e (mu_e - z), log q_c(z) is
    1/2 sum_d (log Lambda_c - h_c^2 / Lambda_c - log 2 pi). Neither means nor log-variances of the products are made.
    """
    z_1BD = z_BD.unsqueeze(-3)
    precision_MBD = torch.exp(-experts_MBD.logvar)
    precision_EBD = torch.cat([torch.ones_like(z_1BD), precision_MBD], -3)
    pull_EBD = torch.cat([-z_1BD, precision_MBD * (experts_MBD.mu - z_1BD)], -3)
    return cast(Tensor, _ProductsLogProb.apply(precision_EBD, pull_EBD, exponents_CE))


class _ProductsLogProb(torch.autograd.Function):
    """From Lambda_e and Lambda_e (mu_e - z), (E, B, D), to log q_c(z), (C, B), in few passes over (C, B, D) numbers.

    Examples are taken some at a time, so that what is made on the way stays in the cache; it is made again in the backward pass.
    """

    @staticmethod
    def forward(ctx: Any, precision_EBD: Tensor, pull_EBD: Tensor, exponents_CE: Tensor) -> Tensor:
        """(C, B)."""
        ctx.save_for_backward(precision_EBD, pull_EBD, exponents_CE)
        found = []
        for precision, pull in _slices(precision_EBD, pull_EBD, exponents_CE):
            precision_CBD, pull_CBD = _combined(exponents_CE, precision), _combined(exponents_CE, pull)
            squared_CBD = pull_CBD.square_().div_(precision_CBD)
            found.append((precision_CBD.log_().sub_(squared_CBD)).sum(-1))
        return 0.5 * (torch.cat(found, -1) - precision_EBD.shape[-1] * math.log(2 * math.pi))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream_CB: Tensor) -> tuple[Tensor, Tensor, None]:
        """Gradients to Lambda_e and to Lambda_e (mu_e - z)."""
        precision_EBD, pull_EBD, exponents_CE = ctx.saved_tensors
        to_precision, to_pull, start = torch.empty_like(precision_EBD), torch.empty_like(pull_EBD), 0
        for precision, pull in _slices(precision_EBD, pull_EBD, exponents_CE):
            count = precision.shape[-2]
            upstream_CB1 = upstream_CB.narrow(-1, start, count).unsqueeze(-1)
            variance_CBD = _combined(exponents_CE, precision).reciprocal_()
            shift_CBD = _combined(exponents_CE, pull).mul_(variance_CBD)
            variance_CBD.addcmul_(shift_CBD, shift_CBD).mul_(0.5 * upstream_CB1)
            shift_CBD.mul_(-upstream_CB1)
            to_precision.narrow(-2, start, count).copy_(_combined(exponents_CE.mT, variance_CBD))
            to_pull.narrow(-2, start, count).copy_(_combined(exponents_CE.mT, shift_CBD))
            start += count
        return to_precision, to_pull, None


CACHED = 2**17
"""Numbers of components that `_ProductsLogProb` makes at a time on a CPU: half a megabyte. A step of MoPoE with PolyMNIST's 31 products
of 512 dimensions takes 0.68 of the time with small networks, and 0.94 with the paper's, that it took with all products at once."""


def _slices(precision_EBD: Tensor, pull_EBD: Tensor, exponents_CE: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    an_example = exponents_CE[..., 0].numel() * precision_EBD.shape[-1]
    size = precision_EBD.shape[-2] if precision_EBD.device.type != "cpu" else max(1, CACHED // an_example)
    return zip(precision_EBD.split(size, -2), pull_EBD.split(size, -2), strict=True)


def _combined(weights: Tensor, values_EBD: Tensor) -> Tensor:
    """sum_e w_ce v_ebd."""
    combined = weights @ values_EBD.flatten(-2)
    return combined.view(*combined.shape[:-1], *values_EBD.shape[-2:])


def kl_divergence(q: Gaussians, r: Gaussians) -> Tensor:
    """KL(q || r) in nats, summed over the last axis; shapes broadcast."""
    ratio = q.logvar - r.logvar
    return 0.5 * (torch.exp(ratio) + (q.mu - r.mu) ** 2 * torch.exp(-r.logvar) - 1 - ratio).sum(-1)


@dataclass(frozen=True)
class Draws:
    """The chance in one evaluation of the loss; P is the number of private dimensions."""

    position_B: Tensor | None
    """In [0, 1): where each example stands on the cumulated component weights; None where every component is decoded."""
    noise: Tensor
    """Standard normal: (B, D), or (C, B, D) where every component is decoded."""
    private_noise_MBP: Tensor
    """Standard normal; with P = 0 where there are no private latents."""


def draw(spec: Specification, batch: int, latent: int, generator: torch.Generator, private: int = 0) -> Draws:
    """Fresh chance for a batch, on the generator's device."""
    device = generator.device
    components = len(spec.weights_C)
    private_MBP = torch.randn(spec.modalities, batch, private, generator=generator, device=device)
    if spec.estimator == "enumerate":
        return Draws(None, torch.randn(components, batch, latent, generator=generator, device=device), private_MBP)
    noise_BD = torch.randn(batch, latent, generator=generator, device=device)
    if spec.estimator == "categorical":
        return Draws(torch.rand(batch, generator=generator, device=device), noise_BD, private_MBP)
    if spec.estimator == "stratified":
        # One uniform offset and a random order: each position alone is uniform, together they are evenly spaced.
        order_B = torch.randperm(batch, generator=generator, device=device)
        offset = torch.rand(1, generator=generator, device=device)
        return Draws((order_B + offset) / batch, noise_BD, private_MBP)
    if spec.estimator != "slices":
        raise ValueError(f"estimator: {spec.estimator!r} is not offered; allowed: stratified, categorical, slices, enumerate")
    slices_B = (torch.arange(batch, device=device) // (batch // components)).clamp(max=components - 1)
    return Draws((slices_B + 0.5) / components, noise_BD, private_MBP)


def stack_draws(each: Sequence[Draws]) -> Draws:
    """The chance of several trials, with a leading axis."""
    positions = [one.position_B for one in each if one.position_B is not None]
    return Draws(
        torch.stack(positions) if positions else None,
        torch.stack([one.noise for one in each]),
        torch.stack([one.private_noise_MBP for one in each]),
    )


class Objective:
    """A specification as tensors on one device, ready to turn experts and samples into the terms of the loss.

    Of several specifications with the same `layout`, which make one stack, each tensor has a leading axis of trials.
    """

    def __init__(
        self,
        spec: Specification | Sequence[Specification],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.spec = spec if isinstance(spec, Specification) else spec[0]

        def numbers(field: Callable[[Specification], Any]) -> Tensor:
            values = field(spec) if isinstance(spec, Specification) else [field(one) for one in spec]
            return torch.tensor(values, device=device, dtype=dtype)

        self.experts_CE = numbers(lambda one: one.experts_CE)
        self.weights_C = numbers(lambda one: one.weights_C)
        self.decoded_CM = numbers(lambda one: one.decoded_CM)
        self.references_RE = numbers(lambda one: one.references_RE)
        self.kl_CR = numbers(lambda one: one.kl_CR)
        self._prior_needs_all = numbers(lambda one: float(one.prior_expert == "full"))
        self._factor_M = numbers(lambda one: one.factor_when_present_M or (1.0,) * one.modalities)
        self._ones_C1 = torch.ones_like(self.weights_C)[..., None]
        self.total = numbers(lambda one: sum(one.weights_C))
        self.decoding_rows = [
            torch.tensor([c for c, row in enumerate(self.spec.decoded_CM) if row[m]], device=device)
            for m in range(self.spec.modalities)
        ]
        """For each modality, the components that reconstruct it; on the device, because an index from the host stalls a GPU."""

    def scale_CB(self, present_BM: Tensor | None, batch: int) -> Tensor:
        """Factor on each component's weights: 0 if it is dropped; else 1, or for a mixture what keeps the example's total."""
        if present_BM is None:
            return self._ones_C1.expand(*self.weights_C.shape, batch)
        uses_CM = (self.experts_CE[..., 1:] > 0).to(self.weights_C.dtype)
        present_MB = present_BM.to(self.weights_C.dtype).mT
        hidden_CB = uses_CM @ (1 - present_MB)
        if not self.spec.is_mixture:
            return ((uses_CM @ present_MB > 0) | (hidden_CB == 0)).to(self.weights_C.dtype)
        usable_CB = (hidden_CB == 0).to(self.weights_C.dtype)
        kept_1B = self.weights_C[..., None, :] @ usable_CB
        return usable_CB * (self.total[..., None, None] / kept_1B)

    def reconstruction_scale_CB(self, present_BM: Tensor | None, scale_CB: Tensor) -> Tensor:
        """`scale_CB` for the reconstruction, of which one model's weight depends on how many modalities are present."""
        if present_BM is None or not self.spec.factor_when_present_M:
            return scale_CB
        factor_B = torch.take_along_dim(self._factor_M, present_BM.sum(-1) - 1, -1)
        return scale_CB * factor_B.unsqueeze(-2)

    def components(self, experts_MBD: Gaussians, present_BM: Tensor | None = None) -> Gaussians:
        """Each component's posterior, (C, B, D). Those that `scale_CB` drops have numbers that are finite and mean nothing."""
        if present_BM is None or self.spec.is_mixture:
            return products(experts_MBD, self.experts_CE)
        exponents_CBE = self.experts_CE[..., None, :] * _with_prior(present_BM, self.experts_CE.dtype)[..., None, :, :]
        lost_CB = (exponents_CBE.sum(-1) < self.experts_CE.sum(-1, keepdim=True)).to(exponents_CBE.dtype)
        kept_CB = 1 - lost_CB * self._prior_needs_all[..., None, None]
        exponents_CBE = torch.cat([exponents_CBE[..., :1] * kept_CB[..., None], exponents_CBE[..., 1:]], -1)
        return _products_each(experts_MBD, _prior_where_empty(exponents_CBE))

    def decodings_BM(self, scale_CB: Tensor) -> Tensor:
        """How much weight each modality is decoded with, (B, M): what its private latent pays for."""
        return (self.weights_C[..., None] * scale_CB).mT @ (self.decoded_CM > 0).to(self.weights_C.dtype)

    def assign_B(self, draws: Draws, scale_CB: Tensor) -> Tensor:
        """The component of each example, by its position on the cumulated weights; an unusable one is never chosen."""
        assert draws.position_B is not None
        cumulated_CB = torch.cumsum(self.share_CB(scale_CB), -2)
        # Up to the last component whose weight is not zero: rounding may leave the sum short of 1.
        places_C1 = torch.arange(scale_CB.shape[-2], device=scale_CB.device)[:, None]
        last_B = (scale_CB > 0).to(torch.int64).mul(places_C1).amax(-2)
        return torch.minimum((cumulated_CB <= draws.position_B[..., None, :]).sum(-2), last_B)

    def share_CB(self, scale_CB: Tensor) -> Tensor:
        """Each component's weight in the mixture; they add up to 1."""
        return self.weights_C[..., None] * scale_CB / self.total[..., None, None]

    def kl_B(
        self, components_CBD: Gaussians, experts_MBD: Gaussians, scale_CB: Tensor, present_BM: Tensor | None = None
    ) -> Tensor:
        """sum_c sum_r B_cr KL(q_c || r), in nats an example."""
        q = Gaussians(components_CBD.mu.unsqueeze(-3), components_CBD.logvar.unsqueeze(-3))
        if present_BM is None:
            kl_CRB = kl_divergence(q, _each(products(experts_MBD, self.references_RE)))
            return torch.einsum("...cr,...cb,...crb->...b", self.kl_CR, scale_CB, kl_CRB)
        references_RBD, usable_RB = self._present_references(experts_MBD, present_BM)
        weights_CRB = self._present_kl_CRB(usable_RB) * scale_CB.unsqueeze(-2)
        return (weights_CRB * kl_divergence(q, _each(references_RBD))).sum((-3, -2))

    def _present_kl_CRB(self, usable_RB: Tensor) -> Tensor:
        """The weights B of the KLs: a dropped reference leaves its weight to the others that hold experts, and none to the prior."""
        of_experts_R1 = (self.references_RE[..., 1:].sum(-1, keepdim=True) > 0).to(usable_RB.dtype)
        weights_CRB = self.kl_CR[..., None] * usable_RB.unsqueeze(-3)
        whole_C1 = self.kl_CR @ of_experts_R1
        kept_CB = self.kl_CR @ (usable_RB * of_experts_R1)
        more_CB = whole_C1 / kept_CB.clamp(min=torch.finfo(kept_CB.dtype).tiny)
        return weights_CRB * torch.where(of_experts_R1.unsqueeze(-3) > 0, more_CB.unsqueeze(-2), 1.0)

    def _present_references(self, experts_MBD: Gaussians, present_BM: Tensor) -> tuple[Gaussians, Tensor]:
        """The references (R, B, D) without the experts of hidden modalities, and 1 for those that have an expert left, (R, B)."""
        exponents_RBE = self.references_RE[..., None, :] * _with_prior(present_BM, self.references_RE.dtype)[..., None, :, :]
        left_RB = exponents_RBE.sum(-1)
        # A modality's own reference goes with it, also where the prior expert would be left of it.
        seen_RB = exponents_RBE[..., 1:].sum(-1) > 0
        usable_RB = (seen_RB | (self.references_RE[..., 1:].sum(-1, keepdim=True) == 0)).to(left_RB.dtype)
        whole_R1 = self.references_RE.sum(-1, keepdim=True)
        exponents_RBE = exponents_RBE * (whole_R1 / torch.where(left_RB > 0, left_RB, 1.0))[..., None]
        return _products_each(experts_MBD, _prior_where_empty(exponents_RBE)), usable_RB

    def mixture_kl_B(self, experts_MBD: Gaussians, z_SBD: Tensor, weights_SB: Tensor, scale_CB: Tensor) -> Tensor:
        """KL(sum_c pi_c q_c || N(0, I)) in nats an example, by Monte Carlo at samples z with weights."""
        log_pi_CB = torch.log(self.share_CB(scale_CB))
        log_q_SB = [  # sample by sample: all at once would hold S x C x B x D numbers
            torch.logsumexp(products_log_prob(experts_MBD, self.experts_CE, z_BD) + log_pi_CB, -2) for z_BD in z_SBD.unbind(-3)
        ]
        log_p_SB = -0.5 * (z_SBD**2 + math.log(2 * math.pi)).sum(-1)
        return (weights_SB * (torch.stack(log_q_SB, -2) - log_p_SB)).sum(-2)


def _with_prior(present_BM: Tensor, dtype: torch.dtype) -> Tensor:
    """1 for the experts that an example has, (B, E): the prior always."""
    return torch.nn.functional.pad(present_BM.to(dtype), (1, 0), value=1.0)


def _prior_where_empty(exponents_CBE: Tensor) -> Tensor:
    """Exponents of which those of a product without experts are set to the prior's: its weight is zero, its numbers must be finite."""
    empty_CB1 = (exponents_CBE.sum(-1, keepdim=True) == 0).to(exponents_CBE.dtype)
    return exponents_CBE + empty_CB1 * torch.eye(exponents_CBE.shape[-1], dtype=exponents_CBE.dtype, device=empty_CB1.device)[0]


def _products_each(experts_MBD: Gaussians, exponents_CBE: Tensor) -> Gaussians:
    """Products of experts, (C, B, D), with exponents of each example's own."""
    precision_MBD = torch.exp(-experts_MBD.logvar)
    precision_CBD = torch.einsum("...cbm,...mbd->...cbd", exponents_CBE[..., 1:], precision_MBD) + exponents_CBE[..., :1]
    weighted_CBD = torch.einsum("...cbm,...mbd->...cbd", exponents_CBE[..., 1:], precision_MBD * experts_MBD.mu)
    return Gaussians(weighted_CBD / precision_CBD, -torch.log(precision_CBD))


def _each(references_RBD: Gaussians) -> Gaussians:
    """References against every component: (1, R, B, D)."""
    return Gaussians(references_RBD.mu.unsqueeze(-4), references_RBD.logvar.unsqueeze(-4))
