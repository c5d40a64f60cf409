"""The model: encoders, decoders and an objective. One class serves every model of the family; only the objective's numbers differ."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.types import Modality
from mopoe_core.models.draws import Draws
from mopoe_core.models.gaussians import Gaussians, product_by_example
from mopoe_core.models.likelihoods import Categorical, Likelihood, numeric_likelihood
from mopoe_core.models.loss import Encoded, Loss, LossWeights, in_separate_passes, loss, with_private
from mopoe_core.models.objective import Objective, specification
from mopoe_core.networks import precision
from mopoe_core.networks.networks import networks
from mopoe_core.networks.single_value_batch_norm import by_running_statistics
from mopoe_core.networks.stacking import mixes_examples


class MultimodalVAE(nn.Module):
    """A multimodal variational autoencoder. It has a shared latent z of D = `latent_dim` dimensions and, for each modality, a private
    latent of P = `private_dim` dimensions (Eq. 34), all with prior N(0, I). A decoder's input is the shared latent, followed by the
    modality's private latent.
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
        """Modalities whose encoder may mix the examples of a batch in training: it has batch norm or a layer of unknown kind."""
        self.mixing_decoders = frozenset(name for name, network in self.decoders.items() if mixes_examples(network))
        """Modalities whose decoder may mix the examples of a batch in training."""

    @property
    def mixes_examples(self) -> bool:
        """Whether some network may mix the examples of a batch in training. Such a network sees only examples that have its modality."""
        return bool(self.mixing_encoders | self.mixing_decoders)

    def to_device(self, device: torch.device) -> "MultimodalVAE":
        """Moves the networks and the objective's numbers to a device, and returns the model."""
        self.objective = Objective(self.objective.spec, device)
        return self.to(device)

    def encode(self, x: Mapping[str, Tensor], present_BM: Tensor | None = None) -> Encoded:
        """The unimodal posteriors of every modality. They mean nothing for examples whose modality is hidden."""
        heads = []
        for m, modality in enumerate(self.modalities):
            present_B = None if present_BM is None else present_BM[:, m]
            heads.append(self._heads(modality, x[modality.name], present_B))
        return Encoded.of(heads, self.config.latent_dim)

    def _heads(self, modality: Modality, x: Tensor, present_B: Tensor | None) -> tuple[Tensor, Tensor]:
        """mu and log-variance, (B, D + P) each. A batch norm sees only the examples that have the modality; of a single one see
        `mopoe_core.networks.single_value_batch_norm`.
        """
        encoder, policy = self.encoders[modality.name], self.config.precision
        if present_B is None or not self.training or modality.name not in self.mixing_encoders:
            return precision.heads(encoder, x, policy)
        mu, logvar = (x.new_zeros(len(x), self.config.latent_dim + self.config.private_dim) for _ in range(2))
        rows = present_B.nonzero()[:, 0]
        if len(rows) == 0:
            return mu, logvar
        with _one_may_be_alone(encoder, rows):
            present_mu, present_logvar = precision.heads(encoder, x[rows], policy)
        return mu.index_copy(0, rows, present_mu), logvar.index_copy(0, rows, present_logvar)

    def posterior(self, x: Mapping[str, Tensor], present_BM: Tensor, position_B: Tensor | None = None) -> Gaussians:
        """q(z | present modalities) of the shared latent for each example: (B, D). At least one modality must be present.

        The values of hidden modalities in `x` have no influence. If the conditional is a mixture (MMVAE), `position_B` in [0, 1) chooses
        one present modality for each example.
        """
        experts_MBD = self.encode(hide(self.modalities, x, present_BM)).shared
        spec, given_BM = self.objective.spec, present_BM.to(experts_MBD.mu.dtype)
        if spec.conditional == "mixture":
            if position_B is None:
                raise ValueError(f"position_B: is missing; the posterior of {spec.name} is a mixture, and one member is chosen")
            given_BM = self._one_of(given_BM, position_B)
        return product_by_example(experts_MBD, torch.cat([self._prior_exponent_B(given_BM)[:, None], given_BM], -1))

    def _one_of(self, given_BM: Tensor, position_B: Tensor) -> Tensor:
        """1 for one of each example's given modalities, chosen by the position in [0, 1), and 0 for the others: (B, M)."""
        cumulated_BM = given_BM.cumsum(1) / given_BM.sum(1, keepdim=True)
        member_B = (cumulated_BM <= position_B[:, None]).sum(1)
        return nn.functional.one_hot(member_B, len(self.modalities)).to(given_BM.dtype)

    def _prior_exponent_B(self, given_BM: Tensor) -> Tensor:
        """The prior's exponent in the product of each example's given modalities."""
        prior_expert = self.objective.spec.prior_expert
        if prior_expert == "none":
            return torch.zeros_like(given_BM[:, 0])
        return torch.ones_like(given_BM[:, 0]) if prior_expert == "all" else given_BM.prod(1)

    def decode(self, z: Tensor, modality: Modality) -> Tensor:
        """The raw likelihood parameters (..., *shape) of one modality, decoded from latents (..., D + P)."""
        raw = precision.decoded(self.decoders[modality.name], z.flatten(0, -2), self.config.precision)
        return raw.reshape(*z.shape[:-1], *modality.shape)

    def generate(self, z: Tensor, modality: Modality) -> Tensor:
        """The likelihood's mean (..., *shape) of one modality, decoded from latents (..., D + P)."""
        return self.likelihoods[modality.name].mean(self.decode(z, modality))

    def posterior_given(self, x: Mapping[str, Tensor], rng: torch.Generator) -> Gaussians:
        """q(z | the modalities in `x`) of the shared latent: (B, D). `x` has one or more modalities, (B, *shape) by name. If the
        conditional is a mixture (MMVAE), `rng` draws one of them for each example; it is a generator on the CPU.
        """
        filled, present_BM = self._filled(x)
        return self.posterior(filled, present_BM, torch.rand(len(present_BM), generator=rng).to(present_BM.device))

    @torch.no_grad()
    def generate_given(
        self, x: Mapping[str, Tensor], rng: torch.Generator, given_private: str | None = None
    ) -> dict[str, Tensor]:
        """Generates every modality, (B, *shape) by name, from a sample of q(z | the modalities in `x`): the likelihoods' means.

        `given_private` names the distribution of the private latents of the modalities in `x`: `prior` or `posterior`; by default the
        configuration names it. The private latents of other modalities come from the prior. `rng` is a generator on the CPU, so that
        every device gets the same draws. Raises ValueError for another `given_private`.
        """
        filled, present_BM = self._filled(x)
        posterior, device = self.posterior_given(x, rng), present_BM.device
        z_BD = posterior.sample(torch.randn(posterior.mu.shape, generator=rng).to(device))
        posteriors_MBP = self.encode(filled).private
        noise_MBP = torch.randn(posteriors_MBP.mu.shape, generator=rng).to(device)
        given_MBP = self.private_of_given(posteriors_MBP, noise_MBP, given_private)
        private_MBP = torch.where(present_BM.T[:, :, None], given_MBP, noise_MBP)
        return {
            modality.name: self.generate(with_private(z_BD, private_BP), modality)
            for modality, private_BP in zip(self.modalities, private_MBP, strict=True)
        }

    def private_of_given(self, private_MBP: Gaussians, noise_MBP: Tensor, given_private: str | None = None) -> Tensor:
        """The private latents of given modalities in conditional generation, (M, B, P), made from standard normal noise."""
        drawn_from = given_private or self.config.given_private
        if drawn_from not in ("prior", "posterior"):
            raise ValueError(f"given_private: {drawn_from!r} is not offered; allowed: prior, posterior")
        return private_MBP.sample(noise_MBP) if drawn_from == "posterior" else noise_MBP

    def _filled(self, x: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """All modalities, with zeros for those that are not in `x`, and a mask (B, M) that is true for those that are."""
        unknown = x.keys() - {m.name for m in self.modalities}
        if unknown or not x:
            names = ", ".join(m.name for m in self.modalities)
            raise ValueError(f"x: has {', '.join(sorted(unknown)) or 'no modality'}; allowed: one or more of {names}")
        first = next(iter(x.values()))
        filled = {m.name: x[m.name] if m.name in x else first.new_zeros(len(first), *m.shape) for m in self.modalities}
        present_M = torch.tensor([m.name in x for m in self.modalities], device=first.device)
        return filled, present_M.expand(len(first), -1)

    def log_likelihood(self, z: Tensor, x: Mapping[str, Tensor], modality: Modality) -> Tensor:
        """log p_m(x_m|z) in nats, unweighted: from latents (..., B, D + P) to (..., B)."""
        raw = self.decode(z, modality)
        return self.likelihoods[modality.name].log_prob(raw, x[modality.name], len(modality.shape))

    def loss(self, x: Mapping[str, Tensor], draws: Draws, present_BM: Tensor | None = None) -> Loss:
        """The training loss of a batch (Eq. (6) to (12) of the paper; `mopoe_core.models.objective` has the formula).

        `present_BM` is true where a modality is observed. The values of hidden modalities in `x` have no influence.
        """
        if present_BM is not None:
            x = hide(self.modalities, x, present_BM)

        def log_likelihood(m: int, z_SBL: Tensor, used_SB: Tensor) -> Tensor:
            return self._training_log_likelihood(z_SBL, x, m, None if present_BM is None else used_SB & present_BM[:, m])

        weights = LossWeights(self.config.beta, self.config.beta_private, self.weights_M, self.private_weights_M)
        return loss(self.objective, weights, self.encode(x, present_BM), log_likelihood, draws, present_BM)

    def _training_log_likelihood(self, z_SBL: Tensor, x: Mapping[str, Tensor], m: int, used_SB: Tensor | None) -> Tensor:
        """`log_likelihood`, (S, B). A batch norm sees one component at a time, and only the latents that enter the loss, `used_SB`; all
        of them if it is None.
        """
        modality = self.modalities[m]
        if not self.training or modality.name not in self.mixing_decoders:
            return self.log_likelihood(z_SBL, x, modality)
        if used_SB is None:
            return in_separate_passes(lambda z_1BL: self.log_likelihood(z_1BL, x, modality), z_SBL)
        return torch.stack(
            [self._of_used(z_BL, x[modality.name], modality, used_B) for z_BL, used_B in zip(z_SBL, used_SB, strict=True)]
        )

    def _of_used(self, z_BL: Tensor, x: Tensor, modality: Modality, used_B: Tensor) -> Tensor:
        """`log_likelihood` of one sampled component, (B,). Examples that do not use it are not decoded, and get 0."""
        rows, log_p_B = used_B.nonzero()[:, 0], z_BL.new_zeros(len(z_BL))
        if len(rows) == 0:
            return log_p_B
        with _one_may_be_alone(self.decoders[modality.name], rows):
            used_log_p_B = self.log_likelihood(z_BL[rows], {modality.name: x[rows]}, modality)
        return log_p_B.index_copy(0, rows, used_log_p_B)


def _one_may_be_alone(network: nn.Module, rows: Tensor) -> AbstractContextManager[None]:
    """A context in which a network in training takes these examples of a batch, even if there is only one."""
    return by_running_statistics(network) if len(rows) == 1 else nullcontext()


def reconstruction_weights(config: TrainingConfig, modalities: tuple[Modality, ...]) -> tuple[float, ...]:
    """The weight w_m of each modality's reconstruction in the loss (Appendix B)."""
    if isinstance(config.reconstruction_weights, tuple):
        return config.reconstruction_weights
    largest = max(m.size for m in modalities)
    return tuple(largest / m.size if config.reconstruction_weights == "size" else 1.0 for m in modalities)


def hide(modalities: tuple[Modality, ...], x: Mapping[str, Tensor], present_BM: Tensor) -> dict[str, Tensor]:
    """`x` with zeros for hidden modalities: a NaN among their values would otherwise reach the encoder's gradient."""
    masked = {}
    for m, modality in enumerate(modalities):
        present = present_BM[..., m].reshape(*present_BM.shape[:-1], *[1] * len(modality.shape))
        masked[modality.name] = torch.where(present, x[modality.name], torch.zeros_like(x[modality.name]))
    return masked
