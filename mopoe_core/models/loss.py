"""The training loss, computed from the outputs of a model's networks: for one model, or for a stack with a leading axis of trials.

`mopoe_core.models.objective` has the formula. Axes are counted from the last, so that the same code serves a model and a stack.

Shape suffixes: T stacked trial, B batch, M modality, C component, S sampled component, D latent dimension, P private dimension.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mopoe_core.models.draws import Draws
from mopoe_core.models.gaussians import Gaussians, chosen_products, kl_divergence
from mopoe_core.models.objective import Objective


@dataclass(frozen=True)
class Loss:
    """The terms of the loss, each a mean over the batch in nats per example."""

    total: Tensor
    reconstruction_M: Tensor
    """Each modality's negative log-likelihood, weighted by component, without the modality's reconstruction weight."""
    kl: Tensor
    """The KL terms of the shared latent, without beta."""
    private_kl: Tensor
    """The KL terms of the private latents (Eq. 34), with their weights, without beta."""

    def terms(self) -> Tensor:
        """The total, KL, private KL and each modality's reconstruction, detached: (3 + M,)."""
        return torch.cat([torch.stack([self.total, self.kl, self.private_kl], -1), self.reconstruction_M], -1).detach()


@dataclass(frozen=True)
class Encoded:
    """The unimodal posteriors of every modality."""

    shared: Gaussians
    """(M, B, D): the experts."""
    private: Gaussians
    """(M, B, P): the posteriors of the modalities' private latents; P = 0 if there are none."""

    @classmethod
    def of(cls, heads: Sequence[tuple[Tensor, Tensor]], latent_dim: int) -> "Encoded":
        """Splits each modality's mu and log-variance, (B, D + P), into the shared and the private latent."""
        mu, logvar = (torch.stack(parts, -3) for parts in zip(*heads, strict=True))
        D = latent_dim
        if mu.shape[-1] == D:  # not sliced: even a slice of the whole tensor costs its gradient a copy
            return cls(Gaussians(mu, logvar), Gaussians(mu.detach()[..., D:], logvar.detach()[..., D:]))
        return cls(Gaussians(mu[..., :D], logvar[..., :D]), Gaussians(mu[..., D:], logvar[..., D:]))

    def trials(self, which: slice) -> "Encoded":
        """The posteriors of some trials of a stack."""
        shared = Gaussians(self.shared.mu[which], self.shared.logvar[which])
        private = Gaussians(self.private.mu[which], self.private.logvar[which])
        return Encoded(shared, private)


@dataclass(frozen=True)
class LossWeights:
    """The weights of the loss's terms: floats for one model, tensors (T,) for a stack."""

    beta: float | Tensor
    beta_private: float | Tensor
    reconstruction_M: Sequence[float | Tensor]
    private_M: Sequence[float | Tensor]


Decoder = Callable[[int, Tensor, Tensor], Tensor]
"""Maps a modality's index m, latents (S, B, D + P) and `used_SB` to log p(x_m|latents) in nats, unweighted, (S, B). Only values for which
`used_SB` is true enter the loss: other latents may be of a component that the example has not, and mean nothing."""


@dataclass(frozen=True)
class _Samples:
    """Samples of the shared latent, from S components for each example."""

    z_SBD: Tensor
    factor_SBM: Tensor
    """The weight of each modality's reconstruction from each sample."""
    weights_SB: Tensor
    """The weight of each sample in the mixture; an example's weights add up to 1."""


def loss(
    objective: Objective,
    weights: LossWeights,
    encoded: Encoded,
    log_likelihood: Decoder,
    draws: Draws,
    present_BM: Tensor | None = None,
) -> Loss:
    """The loss of a batch with unimodal posteriors `encoded`; `present_BM` is true where a modality is observed."""
    scale_CB = objective.scale_CB(present_BM, encoded.shared.mu.shape[-2])
    decoded_CB = objective.reconstruction_scale_CB(present_BM, scale_CB)
    components_CBD = objective.components(encoded.shared, present_BM) if draws.position_B is None else None
    if components_CBD is None:
        samples = _sample_one_component(objective, encoded.shared, draws, scale_CB)
    else:
        samples = _sample_every_component(objective, components_CBD, draws, scale_CB, decoded_CB)
    private_MBP = encoded.private.sample(draws.private_noise_MBP) if draws.private_noise_MBP.shape[-1] else None
    reconstruction_BM = _only_present(_reconstruction_BM(objective, log_likelihood, samples, private_MBP), present_BM)
    kl_B = _kl_B(objective, encoded.shared, components_CBD, samples, scale_CB, present_BM)
    reconstruction_M, kl = reconstruction_BM.mean(-2), kl_B.mean(-1)
    total = _weighted(weights.reconstruction_M, reconstruction_M) + weights.beta * kl
    if private_MBP is None:
        return Loss(total, reconstruction_M, kl, torch.zeros_like(kl))
    private_BM = _only_present(_private_kl_BM(encoded.private) * objective.decodings_BM(decoded_CB), present_BM)
    private_kl = _weighted(weights.private_M, private_BM.mean(-2))
    return Loss(total + weights.beta * weights.beta_private * private_kl, reconstruction_M, kl, private_kl)


def _only_present(terms_BM: Tensor, present_BM: Tensor | None) -> Tensor:
    """The terms, with 0 for hidden modalities."""
    return terms_BM if present_BM is None else terms_BM * present_BM


def _weighted(weights_M: Sequence[float | Tensor], terms_M: Tensor) -> Tensor:
    """sum_m w_m term_m. One model's weights are floats and not a tensor, because copying a constant from the host would stall a GPU."""
    terms = [weight * term for weight, term in zip(weights_M, terms_M.unbind(-1), strict=True)]
    return torch.stack(terms).sum(0)


def _kl_B(
    objective: Objective,
    experts_MBD: Gaussians,
    components_CBD: Gaussians | None,
    samples: _Samples,
    scale_CB: Tensor,
    present_BM: Tensor | None,
) -> Tensor:
    """The KL terms of each example. `components_CBD` is None if they have not been computed yet."""
    if objective.spec.kl == "mixture":
        return objective.mixture_kl_B(experts_MBD, samples.z_SBD, samples.weights_SB, scale_CB)
    if components_CBD is None:
        components_CBD = objective.components(experts_MBD, present_BM)
    return objective.kl_B(components_CBD, experts_MBD, scale_CB, present_BM)


def _private_kl_BM(private_MBP: Gaussians) -> Tensor:
    """KL(q(s_m|x_m) || N(0, I)) of each example and modality."""
    zeros = torch.zeros_like(private_MBP.mu)
    return kl_divergence(private_MBP, Gaussians(zeros, zeros)).mT


def _sample_one_component(objective: Objective, experts_MBD: Gaussians, draws: Draws, scale_CB: Tensor) -> _Samples:
    """One sample for each example (S = 1), from the component that is assigned to it. For mixtures only."""
    component_B = objective.assign_B(draws, scale_CB)
    z_BD = chosen_products(experts_MBD, objective.experts_CE, component_B).sample(draws.noise)
    decoded_BM = torch.take_along_dim(objective.decoded_CM, component_B[..., None], -2)
    factor_BM = decoded_BM * objective.total[..., None, None]
    return _Samples(z_BD.unsqueeze(-3), factor_BM.unsqueeze(-3), torch.ones_like(scale_CB[..., :1, :]))


def _sample_every_component(
    objective: Objective, components_CBD: Gaussians, draws: Draws, scale_CB: Tensor, decoded_CB: Tensor
) -> _Samples:
    """One sample from every component for each example (S = C)."""
    z_CBD = components_CBD.sample(draws.noise)
    weights_CB = objective.weights_C[..., None] * decoded_CB
    factor_CBM = weights_CB[..., None] * objective.decoded_CM.unsqueeze(-2)
    return _Samples(z_CBD, factor_CBM, objective.share_CB(scale_CB))


def _reconstruction_BM(objective: Objective, log_likelihood: Decoder, samples: _Samples, private_MBP: Tensor | None) -> Tensor:
    """Negative log-likelihoods, weighted by component. A modality is decoded only from the components that reconstruct it."""
    terms = []
    for m, rows in enumerate(objective.decoding_rows):
        z, factor_SB = samples.z_SBD, samples.factor_SBM[..., m]
        sampled = z.shape[-3]
        if sampled > 1 and sampled != len(rows):
            z, factor_SB = z.index_select(-3, rows), factor_SB.index_select(-2, rows)
        if private_MBP is not None:
            z = with_private(z, private_MBP[..., m : m + 1, :, :])
        terms.append((factor_SB * log_likelihood(m, z, factor_SB != 0)).sum(-2))
    return -torch.stack(terms, -1)


def in_separate_passes(decode: Callable[[Tensor], Tensor], z_SBL: Tensor) -> Tensor:
    """`decode` of each sampled component in a pass of its own: (..., S, B). Decoders with batch norm need this, as published."""
    return torch.cat([decode(z) for z in z_SBL.split(1, -3)], -2)


def with_private(z: Tensor, private_BP: Tensor) -> Tensor:
    """The shared latents (..., B, D), each followed by its example's private latent: (..., B, D + P)."""
    return torch.cat([z, private_BP.expand(*z.shape[:-1], -1)], -1)
