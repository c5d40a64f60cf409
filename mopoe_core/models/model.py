"""The model: encoders, decoders, an objective; the same for every member of the family."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.types import Modality
from mopoe_core.models.draws import Draws
from mopoe_core.models.gaussians import Gaussians, product_of_each
from mopoe_core.models.likelihoods import Categorical, Likelihood, numeric_likelihood
from mopoe_core.models.loss import Encoded, Loss, LossWeights, in_separate_passes, loss, with_private
from mopoe_core.models.objective import Objective, specification
from mopoe_core.networks import precision
from mopoe_core.networks.networks import networks
from mopoe_core.networks.stacked_modules import mixes_examples


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
        self.mixing_encoders = frozenset(name for name, network in self.encoders.items() if mixes_examples(network))
        """Of these modalities the encoder may mix the examples of a batch, in training: it has batch norm or a layer of another's own."""
        self.mixing_decoders = frozenset(name for name, network in self.decoders.items() if mixes_examples(network))
        """Likewise of the decoder."""

    @property
    def mixes_examples(self) -> bool:
        """Whether a network may mix the examples of a batch, in training: it then sees only those that have its modality."""
        return bool(self.mixing_encoders | self.mixing_decoders)

    def to_device(self, device: torch.device) -> "MultimodalVAE":
        """Move the networks and the objective's numbers."""
        self.objective = Objective(self.objective.spec, device)
        return self.to(device)

    def encode(self, x: Mapping[str, Tensor], present_BM: Tensor | None = None) -> Encoded:
        """The unimodal posteriors of every modality. Where a modality is hidden they mean nothing."""
        heads = [
            self._heads(m, x[m.name], None if present_BM is None else present_BM[:, i]) for i, m in enumerate(self.modalities)
        ]
        return Encoded.of(heads, self.config.latent_dim)

    def _heads(self, modality: Modality, x: Tensor, present_B: Tensor | None) -> tuple[Tensor, Tensor]:
        """mu and log-variance, (B, D + P) each. A batch norm sees the examples that have the modality, and no others."""
        encoder, policy = self.encoders[modality.name], self.config.precision
        if present_B is None or not self.training or modality.name not in self.mixing_encoders:
            return precision.heads(encoder, x, policy)
        mu, logvar = (x.new_zeros(len(x), self.config.latent_dim + self.config.private_dim) for _ in range(2))
        rows = present_B.nonzero()[:, 0]
        if len(rows) == 0:
            return mu, logvar
        seen = precision.heads(encoder, x[rows], policy)
        return mu.index_copy(0, rows, seen[0]), logvar.index_copy(0, rows, seen[1])

    def posterior(self, x: Mapping[str, Tensor], present_BM: Tensor, position_B: Tensor | None = None) -> Gaussians:
        """q(z | the modalities that are present), of the shared latent, example by example: (B, D); at least one must be present.

        What stands in `x` where a modality is hidden has no influence. Where the conditional is a mixture (MMVAE), `position_B` in
        [0, 1) chooses one present member an example.
        """
        experts_MBD = self.encode(hide(self.modalities, x, present_BM)).shared
        spec, given_BM = self.objective.spec, present_BM.to(experts_MBD.mu.dtype)
        if spec.conditional == "mixture":
            if position_B is None:
                raise ValueError(f"position_B: is missing; the posterior of {spec.name} is a mixture, and one member is chosen")
            share_BM = given_BM.cumsum(1) / given_BM.sum(1, keepdim=True)
            member_B = (share_BM <= position_B[:, None]).sum(1)
            given_BM = nn.functional.one_hot(member_B, len(self.modalities)).to(given_BM.dtype)
        wanted_B = torch.ones_like(given_BM[:, 0]) if spec.prior_expert == "all" else given_BM.prod(1)
        prior_B = torch.zeros_like(wanted_B) if spec.prior_expert == "none" else wanted_B
        return product_of_each(experts_MBD, torch.cat([prior_B[:, None], given_BM], -1))

    def decode(self, z: Tensor, modality: Modality) -> Tensor:
        """Raw likelihood parameters (..., *shape) of one modality from latents (..., D + P)."""
        raw = precision.decoded(self.decoders[modality.name], z.flatten(0, -2), self.config.precision)
        return raw.reshape(*z.shape[:-1], *modality.shape)

    def generate(self, z: Tensor, modality: Modality) -> Tensor:
        """The likelihood's mean (..., *shape) of one modality from latents (..., D + P)."""
        return self.likelihoods[modality.name].mean(self.decode(z, modality))

    def posterior_given(self, x: Mapping[str, Tensor], chance: torch.Generator) -> Gaussians:
        """q(z | the modalities in `x`), of the shared latent: (B, D). `x` has at least one, (B, *shape) by name; where the conditional is
        a mixture (MMVAE), `chance` draws one of them for each example.
        """
        whole, present_BM = self._filled(x)
        return self.posterior(whole, present_BM, torch.rand(len(present_BM), generator=chance).to(present_BM.device))

    @torch.no_grad()
    def generate_given(
        self, x: Mapping[str, Tensor], chance: torch.Generator, given_private: str | None = None
    ) -> dict[str, Tensor]:
        """Every modality, (B, *shape) by name, from a sample of q(z | the modalities in `x`): the likelihoods' means.

        `given_private` says where the private latent of a modality in `x` comes from: the `prior` or its own `posterior`; what the
        configuration says when left out. That of any other modality comes from the prior. `chance` is a generator on the CPU, so that the
        same draws are made on every device. Raises ValueError where `given_private` is something else.
        """
        whole, present_BM = self._filled(x)
        posterior, device = self.posterior_given(x, chance), present_BM.device
        z = posterior.sample(torch.randn(posterior.mu.shape, generator=chance).to(device))
        private_MBP = self.encode(whole).private
        noise_MBP = torch.randn(private_MBP.mu.shape, generator=chance).to(device)
        of_given_MBP = self.private_of_given(private_MBP, noise_MBP, given_private)
        drawn_MBP = torch.where(present_BM.T[:, :, None], of_given_MBP, noise_MBP)
        return {m.name: self.generate(with_private(z, own), m) for m, own in zip(self.modalities, drawn_MBP, strict=True)}

    def private_of_given(self, private_MBP: Gaussians, noise_MBP: Tensor, given_private: str | None = None) -> Tensor:
        """The private latents of given modalities in conditional generation, (M, B, P), from standard normal noise."""
        drawn_from = given_private or self.config.given_private
        if drawn_from not in ("prior", "posterior"):
            raise ValueError(f"given_private: {drawn_from!r} is not offered; allowed: prior, posterior")
        return private_MBP.sample(noise_MBP) if drawn_from == "posterior" else noise_MBP

    def _filled(self, x: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """All modalities, with zeros for those that `x` does not have, and which it has, (B, M)."""
        unknown = x.keys() - {m.name for m in self.modalities}
        if unknown or not x:
            names = ", ".join(m.name for m in self.modalities)
            raise ValueError(f"x: has {', '.join(sorted(unknown)) or 'no modality'}; allowed: one or more of {names}")
        first = next(iter(x.values()))
        whole = {m.name: x[m.name] if m.name in x else first.new_zeros(len(first), *m.shape) for m in self.modalities}
        present_M = torch.tensor([m.name in x for m in self.modalities], device=first.device)
        return whole, present_M.expand(len(first), -1)

    def log_likelihood(self, z: Tensor, x: Mapping[str, Tensor], modality: Modality) -> Tensor:
        """log p_m(x_m|z) in nats, unweighted: latents (..., B, D + P) to (..., B)."""
        raw = self.decode(z, modality)
        return self.likelihoods[modality.name].log_prob(raw, x[modality.name], len(modality.shape))

    def loss(self, x: Mapping[str, Tensor], draws: Draws, present_BM: Tensor | None = None) -> Loss:
        """The training loss on a batch (protocol: section 5; `mopoe_core.models.objective` has the formula).

        `present_BM` is true where a modality is observed; what stands in `x` where it is not has no influence.
        """
        if present_BM is not None:
            x = hide(self.modalities, x, present_BM)

        def log_likelihood(m: int, z_SBL: Tensor) -> Tensor:
            return self._training_log_likelihood(z_SBL, x, m, present_BM)

        weights = LossWeights(self.config.beta, self.config.beta_private, self.weights_M, self.private_weights_M)
        return loss(self.objective, weights, self.encode(x, present_BM), log_likelihood, draws, present_BM)

    def _training_log_likelihood(self, z_SBL: Tensor, x: Mapping[str, Tensor], m: int, present_BM: Tensor | None) -> Tensor:
        """`log_likelihood`, (S, B). A batch norm sees one component at a time, of the examples that have the modality."""
        modality = self.modalities[m]
        if not self.training or modality.name not in self.mixing_decoders:
            return self.log_likelihood(z_SBL, x, modality)

        def decoded(z_1BL: Tensor) -> Tensor:
            if present_BM is None:
                return self.log_likelihood(z_1BL, x, modality)
            rows, log_p = present_BM[:, m].nonzero()[:, 0], z_1BL.new_zeros(z_1BL.shape[:2])
            if len(rows) == 0:
                return log_p
            return log_p.index_copy(
                1, rows, self.log_likelihood(z_1BL[:, rows], {modality.name: x[modality.name][rows]}, modality)
            )

        return in_separate_passes(decoded, z_SBL)


def reconstruction_weights(config: TrainingConfig, modalities: tuple[Modality, ...]) -> tuple[float, ...]:
    """w_m of the loss (Appendix B)."""
    if isinstance(config.reconstruction_weights, tuple):
        return config.reconstruction_weights
    largest = max(m.size for m in modalities)
    return tuple(largest / m.size if config.reconstruction_weights == "size" else 1.0 for m in modalities)


def hide(modalities: tuple[Modality, ...], x: Mapping[str, Tensor], present_BM: Tensor) -> dict[str, Tensor]:
    """Zeros where a modality is hidden, whatever stood there: a NaN would otherwise reach the encoder's gradient."""
    hidden = {}
    for m, modality in enumerate(modalities):
        there = present_BM[..., m].reshape(*present_BM.shape[:-1], *[1] * len(modality.shape))
        hidden[modality.name] = torch.where(there, x[modality.name], torch.zeros_like(x[modality.name]))
    return hidden
