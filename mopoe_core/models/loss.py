"""The training loss from what a model's networks give: of one model, or of a stack with a leading axis of trials.

`mopoe_core.models.objective` has the formula. Axes are counted from the last.

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
    """The terms of the loss, each a mean over the batch in nats an example."""

    total: Tensor
    reconstruction_M: Tensor
    """Each modality's negative log-likelihood, with the components' weights, without the modality's own weight."""
    kl: Tensor
    """Of the shared latent, without beta."""
    private_kl: Tensor
    """Of the private latents (Eq. 34), with their own weights, without beta."""

    def terms(self) -> Tensor:
        """Total, KL, private KL and each modality's reconstruction, detached: (3 + M,)."""
        return torch.cat([torch.stack([self.total, self.kl, self.private_kl], -1), self.reconstruction_M], -1).detach()


@dataclass(frozen=True)
class Encoded:
    """The unimodal posteriors of every modality."""

    shared: Gaussians
    """(M, B, D): the experts."""
    private: Gaussians
    """(M, B, P): of the modalities' private latents; P = 0 where there are none."""

    @classmethod
    def of(cls, heads: Sequence[tuple[Tensor, Tensor]], latent_dim: int) -> "Encoded":
        """From each modality's mu and log-variance, (B, D + P)."""
        mu, logvar = (torch.stack(parts, -3) for parts in zip(*heads, strict=True))
        D = latent_dim
        if mu.shape[-1] == D:  # a slice, even of everything, costs its gradient a copy
            return cls(Gaussians(mu, logvar), Gaussians(mu.detach()[..., D:], logvar.detach()[..., D:]))
        return cls(Gaussians(mu[..., :D], logvar[..., :D]), Gaussians(mu[..., D:], logvar[..., D:]))

    def trials(self, which: slice) -> "Encoded":
        """Some trials of a stack."""
        shared, private = self.shared, self.private
        return Encoded(Gaussians(shared.mu[which], shared.logvar[which]), Gaussians(private.mu[which], private.logvar[which]))


@dataclass(frozen=True)
class LossWeights:
    """The numbers that weight the terms: of one model floats, of a stack tensors (T,)."""

    beta: float | Tensor
    beta_private: float | Tensor
    reconstruction_M: Sequence[float | Tensor]
    private_M: Sequence[float | Tensor]


Decoder = Callable[[int, Tensor], Tensor]
"""log p(x_m|latents) in nats, unweighted: a modality's index and latents (S, B, D + P) to (S, B)."""


def loss(
    objective: Objective,
    weights: LossWeights,
    encoded: Encoded,
    log_likelihood: Decoder,
    draws: Draws,
    present_BM: Tensor | None = None,
) -> Loss:
    """The loss of a batch whose experts are `encoded`; `present_BM` is true where a modality is observed."""
    scale_CB = objective.scale_CB(present_BM, encoded.shared.mu.shape[-2])
    decoded_CB = objective.reconstruction_scale_CB(present_BM, scale_CB)
    components_CBD = objective.components(encoded.shared, present_BM) if draws.position_B is None else None
    if components_CBD is None:
        z_SBD, factor_SBM, weights_SB = _one_component(objective, encoded.shared, draws, scale_CB)
    else:
        z_SBD, factor_SBM = components_CBD.sample(draws.noise), _factor_CBM(objective, decoded_CB)
        weights_SB = objective.share_CB(scale_CB)
    private_MBP = encoded.private.sample(draws.private_noise_MBP) if draws.private_noise_MBP.shape[-1] else None
    reconstruction_BM = _reconstruction(objective, log_likelihood, z_SBD, private_MBP, factor_SBM)
    if present_BM is not None:
        reconstruction_BM = reconstruction_BM * present_BM
    if objective.spec.kl == "mixture":
        kl_B = objective.mixture_kl_B(encoded.shared, z_SBD, weights_SB, scale_CB)
    else:
        every_CBD = components_CBD or objective.components(encoded.shared, present_BM)
        kl_B = objective.kl_B(every_CBD, encoded.shared, scale_CB, present_BM)
    reconstruction_M, kl = reconstruction_BM.mean(-2), kl_B.mean(-1)
    total = _weighted(weights.reconstruction_M, reconstruction_M) + weights.beta * kl
    if private_MBP is None:
        return Loss(total, reconstruction_M, kl, torch.zeros_like(kl))
    private_BM = _private_kl(encoded.private) * objective.decodings_BM(decoded_CB)
    if present_BM is not None:
        private_BM = private_BM * present_BM
    private_kl = _weighted(weights.private_M, private_BM.mean(-2))
    return Loss(total + weights.beta * weights.beta_private * private_kl, reconstruction_M, kl, private_kl)


def _weighted(weights_M: Sequence[float | Tensor], terms_M: Tensor) -> Tensor:
    """sum_m w_m term_m; the weights of one model are no tensors, because a constant from the host would stall a GPU."""
    terms = [weight * term for weight, term in zip(weights_M, terms_M.unbind(-1), strict=True)]
    return torch.stack(terms).sum(0)


def _private_kl(private_MBP: Gaussians) -> Tensor:
    """KL(q(s_m|x_m) || N(0, I)) of each modality, (B, M)."""
    zeros = torch.zeros_like(private_MBP.mu)
    return kl_divergence(private_MBP, Gaussians(zeros, zeros)).mT


def _one_component(objective: Objective, experts_MBD: Gaussians, draws: Draws, scale_CB: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One sample an example: z (1, B, D), its modalities' factors (1, B, M), its mixture weight (1, B). Of mixtures only."""
    component_B = objective.assign_B(draws, scale_CB)
    z_BD = chosen_products(experts_MBD, objective.experts_CE, component_B).sample(draws.noise)
    decoded_BM = torch.take_along_dim(objective.decoded_CM, component_B[..., None], -2)
    factor_BM = decoded_BM * objective.total[..., None, None]
    return z_BD.unsqueeze(-3), factor_BM.unsqueeze(-3), torch.ones_like(scale_CB[..., :1, :])


def _factor_CBM(objective: Objective, decoded_CB: Tensor) -> Tensor:
    """The weight of each modality's reconstruction from each component, where every component is decoded."""
    weights_CB = objective.weights_C[..., None] * decoded_CB
    return weights_CB[..., None] * objective.decoded_CM.unsqueeze(-2)


def _reconstruction(
    objective: Objective, log_likelihood: Decoder, z_SBD: Tensor, private_MBP: Tensor | None, factor_SBM: Tensor
) -> Tensor:
    """Negative log-likelihoods (B, M), weighted by component; only the components that reconstruct a modality decode it."""
    terms = []
    for m, rows in enumerate(objective.decoding_rows):
        z, factor_SB = z_SBD, factor_SBM[..., m]
        if 1 < z_SBD.shape[-3] != len(rows):
            z, factor_SB = z_SBD.index_select(-3, rows), factor_SB.index_select(-2, rows)
        if private_MBP is not None:
            z = with_private(z, private_MBP[..., m : m + 1, :, :])
        terms.append((factor_SB * log_likelihood(m, z)).sum(-2))
    return -torch.stack(terms, -1)


def in_separate_passes(decode: Callable[[Tensor], Tensor], z_SBL: Tensor) -> Tensor:
    """What `decode` makes of each sampled component alone, (..., S, B): as published, where a decoder has batch norm."""
    return torch.cat([decode(z) for z in z_SBL.split(1, -3)], -2)


def with_private(z: Tensor, private_BP: Tensor) -> Tensor:
    """Shared latents (..., B, D) with each example's private one: (..., B, D + P)."""
    return torch.cat([z, private_BP.expand(*z.shape[:-1], -1)], -1)
