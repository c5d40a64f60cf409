"""The model: encoders, decoders, an objective; the same for every member of the family."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from mopoe_core.config import TrainingConfig
from mopoe_core.data.types import Modality
from mopoe_core.likelihoods import Categorical, Likelihood, numeric_likelihood
from mopoe_core.networks import networks
from mopoe_core.objective import Draws, Gaussians, Objective, kl_divergence, products, specification


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


@dataclass(frozen=True)
class Encoded:
    """The unimodal posteriors of every modality."""

    shared: Gaussians
    """(M, B, D): the experts."""
    private: Gaussians
    """(M, B, P): of the modalities' private latents; P = 0 where there are none."""


class MultimodalVAE(nn.Module):
    """A multimodal variational autoencoder: a shared latent z of D = `latent_dim` dimensions and, for each modality, a private one
    of P = `private_dim` (Eq. 34), all with prior N(0, I). A decoder sees the shared and its own private latent, concatenated.
    """

    def __init__(self, config: TrainingConfig, modalities: tuple[Modality, ...]) -> None:
        super().__init__()
        pairs = {m.name: networks(m, config.networks, config.latent_dim + config.private_dim) for m in modalities}
        self.encoders = nn.ModuleDict({name: encoder for name, (encoder, _) in pairs.items()})
        self.decoders = nn.ModuleDict({name: decoder for name, (_, decoder) in pairs.items()})
        self.config = config
        self.modalities = modalities
        self.likelihoods: dict[str, Likelihood] = {
            m.name: Categorical() if m.kind == "text" else numeric_likelihood(m.likelihood or config.likelihood, m.bounded)
            for m in modalities
        }
        self.weights_M = reconstruction_weights(config, modalities)
        self.private_weights_M = config.private_weights or (1.0,) * len(modalities)
        self.objective = Objective(specification(config, self.weights_M))

    def to_device(self, device: torch.device) -> "MultimodalVAE":
        """Move the networks and the objective's numbers."""
        self.objective = Objective(self.objective.spec, device)
        return self.to(device)

    def encode(self, x: Mapping[str, Tensor]) -> Encoded:
        """The unimodal posteriors of every modality."""
        heads = [cast(tuple[Tensor, Tensor], self.encoders[m.name](x[m.name])) for m in self.modalities]
        mu, logvar, D = torch.stack([mu for mu, _ in heads]), torch.stack([logvar for _, logvar in heads]), self.config.latent_dim
        return Encoded(Gaussians(mu[..., :D], logvar[..., :D]), Gaussians(mu[..., D:], logvar[..., D:]))

    def posterior(self, x: Mapping[str, Tensor], present_BM: Tensor, position_B: Tensor | None = None) -> Gaussians:
        """q(z | the modalities that are present), of the shared latent, example by example: (B, D); at least one must be present.

        What stands in `x` where a modality is hidden has no influence. Where the conditional is a mixture (MMVAE), `position_B` in
        [0, 1) chooses one present member an example.
        """
        experts_MBD = self.encode({m.name: _hide(x[m.name], present_BM[:, i]) for i, m in enumerate(self.modalities)}).shared
        spec, given_BM = self.objective.spec, present_BM.to(experts_MBD.mu.dtype)
        if spec.conditional == "mixture":
            if position_B is None:
                raise ValueError(f"position_B: is missing; the posterior of {spec.name} is a mixture, and one member is chosen")
            share_BM = given_BM.cumsum(1) / given_BM.sum(1, keepdim=True)
            member_B = (share_BM <= position_B[:, None]).sum(1)
            given_BM = nn.functional.one_hot(member_B, len(self.modalities)).to(given_BM.dtype)
        wanted_B = torch.ones_like(given_BM[:, 0]) if spec.prior_expert == "all" else given_BM.prod(1)
        prior_B = torch.zeros_like(wanted_B) if spec.prior_expert == "none" else wanted_B
        precision_MBD = torch.exp(-experts_MBD.logvar)
        precision_BD = torch.einsum("bm,mbd->bd", given_BM, precision_MBD) + prior_B[:, None]
        weighted_BD = torch.einsum("bm,mbd->bd", given_BM, precision_MBD * experts_MBD.mu)
        return Gaussians(weighted_BD / precision_BD, -torch.log(precision_BD))

    def decode(self, z: Tensor, modality: Modality) -> Tensor:
        """Raw likelihood parameters (..., *shape) of one modality from latents (..., D + P)."""
        raw = cast(Tensor, self.decoders[modality.name](z.flatten(0, -2)))
        return raw.reshape(*z.shape[:-1], *modality.shape)

    def generate(self, z: Tensor, modality: Modality) -> Tensor:
        """The likelihood's mean (..., *shape) of one modality from latents (..., D + P)."""
        return self.likelihoods[modality.name].mean(self.decode(z, modality))

    def log_likelihood(self, z: Tensor, x: Mapping[str, Tensor], modality: Modality) -> Tensor:
        """log p_m(x_m|z) in nats, unweighted: latents (..., B, D + P) to (..., B)."""
        raw = self.decode(z, modality)
        return self.likelihoods[modality.name].log_prob(raw, x[modality.name], len(modality.shape))

    def loss(self, x: Mapping[str, Tensor], draws: Draws, present_BM: Tensor | None = None) -> Loss:
        """The training loss on a batch (protocol: section 5; `mopoe_core.objective` has the formula).

        `present_BM` is true where a modality is observed; what stands in `x` where it is not has no influence.
        """
        if present_BM is not None:
            x = {m.name: _hide(x[m.name], present_BM[:, i]) for i, m in enumerate(self.modalities)}
        encoded = self.encode(x)
        components_CBD = products(encoded.shared, self.objective.experts_CE)
        scale_CB = self.objective.scale_CB(present_BM, components_CBD.mu.shape[1])
        if draws.position_B is None:
            z_SBD, factor_SBM, weights_SB = self._every_component(components_CBD, draws, scale_CB)
        else:
            z_SBD, factor_SBM, weights_SB = self._one_component(components_CBD, draws, scale_CB)
        reconstruction_BM = self._reconstruction(x, z_SBD, encoded.private.sample(draws.private_noise_MBP), factor_SBM)
        private_BM = self._private_kl(encoded.private, scale_CB)
        if present_BM is not None:
            reconstruction_BM, private_BM = reconstruction_BM * present_BM, private_BM * present_BM
        if self.objective.spec.kl == "mixture":
            kl_B = self.objective.mixture_kl_B(components_CBD, z_SBD, weights_SB, scale_CB)
        else:
            kl_B = self.objective.kl_B(components_CBD, encoded.shared, scale_CB, present_BM)
        reconstruction_M, kl, private_kl = reconstruction_BM.mean(0), kl_B.mean(), private_BM.sum(1).mean()
        divergence = self.config.beta * (kl + self.config.beta_private * private_kl)
        total = sum((w * r for w, r in zip(self.weights_M, reconstruction_M, strict=True)), start=divergence)
        return Loss(total, reconstruction_M, kl, private_kl)

    def _private_kl(self, private_MBP: Gaussians, scale_CB: Tensor) -> Tensor:
        """Weighted KL(q(s_m|x_m) || N(0, I)) of each modality, (B, M), once for every ELBO that decodes the modality."""
        zeros = torch.zeros_like(private_MBP.mu)
        kl_MB = kl_divergence(private_MBP, Gaussians(zeros, zeros))
        weighted_MB = torch.stack([w * kl_B for w, kl_B in zip(self.private_weights_M, kl_MB, strict=True)])
        return weighted_MB.T * self.objective.decodings_BM(scale_CB)

    def _one_component(self, components_CBD: Gaussians, draws: Draws, scale_CB: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One sample an example: z (1, B, D), its modalities' factors (1, B, M), its mixture weight (1, B)."""
        component_B = self.objective.assign_B(draws, scale_CB)
        z_BD = components_CBD.select(component_B).sample(draws.noise)
        factor_BM = self.objective.decoded_CM[component_B] * self.objective.total
        return z_BD[None], factor_BM[None], torch.ones_like(scale_CB[:1])

    def _every_component(self, components_CBD: Gaussians, draws: Draws, scale_CB: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A sample of every component: z (C, B, D), factors (C, B, M), mixture weights (C, B)."""
        weights_CB = self.objective.weights_C[:, None] * scale_CB
        factor_CBM = weights_CB[..., None] * self.objective.decoded_CM[:, None]
        return components_CBD.sample(draws.noise), factor_CBM, weights_CB / self.objective.total

    def _reconstruction(self, x: Mapping[str, Tensor], z_SBD: Tensor, private_MBP: Tensor, factor_SBM: Tensor) -> Tensor:
        """Negative log-likelihoods (B, M), weighted by component; only the components that reconstruct a modality decode it."""
        terms = []
        for i, modality in enumerate(self.modalities):
            z, factor_SB, rows = z_SBD, factor_SBM[..., i], self.objective.decoding_rows[i]
            if 1 < len(z_SBD) != len(rows):
                z, factor_SB = z_SBD[rows], factor_SB[rows]
            terms.append(-(factor_SB * self.log_likelihood(with_private(z, private_MBP[i]), x, modality)).sum(0))
        return torch.stack(terms, -1)


def with_private(z: Tensor, private_BP: Tensor) -> Tensor:
    """Shared latents (..., B, D) with each example's private one: (..., B, D + P)."""
    return torch.cat([z, private_BP.expand(*z.shape[:-1], -1)], -1)


def reconstruction_weights(config: TrainingConfig, modalities: tuple[Modality, ...]) -> tuple[float, ...]:
    """w_m of the loss (Appendix B)."""
    if isinstance(config.reconstruction_weights, tuple):
        return config.reconstruction_weights
    largest = max(m.size for m in modalities)
    return tuple(largest / m.size if config.reconstruction_weights == "size" else 1.0 for m in modalities)


def _hide(x: Tensor, present_B: Tensor) -> Tensor:
    """Zeros where a modality is hidden, whatever stood there: a NaN would otherwise reach the encoder's gradient."""
    return torch.where(present_B.reshape(-1, *[1] * (x.ndim - 1)), x, torch.zeros_like(x))
