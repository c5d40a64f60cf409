"""MVAE, MMVAE and MoPoE as research code is usually written: the reference of the speed benchmarks.

It has a Python loop over subsets, products of experts by stacking, torch.distributions objects, one closed-form KL for each subset, a
mixture sampled in slices of the batch, Adam with default arguments, a loss that is fetched every step, and a torch Dataset of single
items in a DataLoader. It was written from the papers' formulas and from what is known of the released code, and not from
`mopoe_core.models.objective`. The networks have the same layers (`benchmarks.reference.networks`), so the weights can be the same.
Nothing is slowed down on purpose: each modality is encoded once a step, also for MVAE.

Shape suffixes: B batch, M modality, C component, D latent dimension.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import combinations
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Laplace, Normal, OneHotCategorical
from torch.utils.data import DataLoader, Subset
from torch.utils.data import Dataset as TorchDataset
from torchvision.transforms.functional import to_tensor

from benchmarks.reference.networks import copy_parameters, plain_networks
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.types import Modality, Split
from mopoe_core.models.draws import Draws
from mopoe_core.models.model import MultimodalVAE

SCALE = 0.75
MODELS = ("mvae", "mmvae", "mopoe")

Item = tuple[dict[str, Tensor], int]
Batch = tuple[dict[str, Tensor], Tensor]


class Posterior(NamedTuple):
    """A diagonal Gaussian, each part (B, D)."""

    mu: Tensor
    logvar: Tensor


@dataclass(frozen=True)
class Terms:
    """The terms of the loss, each a mean over the batch in nats for each example."""

    total: Tensor
    reconstruction: dict[str, Tensor]
    """Each modality's negative log-likelihood, before its reconstruction weight."""
    kl: Tensor
    """The KL divergence, before beta."""


class Reference(nn.Module):
    """A multimodal VAE with the modalities, the configuration and copies of the weights of a `MultimodalVAE`.

    Supports MVAE, MMVAE and MoPoE with the ELBO and one sample for each example, without private latents and hidden modalities. Raises
    ValueError for anything else.
    """

    def __init__(self, model: MultimodalVAE) -> None:
        super().__init__()
        _check_offered(model.config)
        self.config, self.modalities = model.config, model.modalities
        pairs = {m.name: plain_networks(m, model.config.networks, model.config.latent_dim) for m in model.modalities}
        self.encoders = nn.ModuleDict({name: encoder for name, (encoder, _) in pairs.items()})
        self.decoders = nn.ModuleDict({name: decoder for name, (_, decoder) in pairs.items()})
        self.to(next(model.parameters()).dtype)
        copy_parameters([model.encoders, model.decoders], [self.encoders, self.decoders])
        self.weights = reconstruction_weights(model.config, model.modalities)
        self.subsets = self._training_subsets()

    def _training_subsets(self) -> list[tuple[int, ...]]:
        """Returns subsets of modality indices: the mixture's components, or for MVAE those of the joint and unimodal ELBOs."""
        everything = tuple(range(len(self.modalities)))
        alone: list[tuple[int, ...]] = [(m,) for m in everything]
        if self.config.model == "mvae":
            return [everything, *alone]
        if self.config.model == "mmvae":
            return alone
        if self.config.model != "mopoe":
            raise ValueError(f"model: {self.config.model!r} has no reference; allowed: mvae, mmvae, mopoe")
        return [subset for size in range(1, len(everything) + 1) for subset in combinations(everything, size)]

    def forward(self, x: Mapping[str, Tensor], draws: Draws | None = None) -> Terms:
        """Returns the loss on a batch; `draws` replaces the random numbers of the global generator."""
        experts = self.encode(x)
        posteriors = [self.product(experts, subset) for subset in self.subsets]
        if self.config.model == "mvae":
            return self._sum_of_elbos(x, posteriors, draws)
        return self._elbo_of_mixture(x, posteriors, draws)

    def encode(self, x: Mapping[str, Tensor]) -> list[Posterior]:
        """Returns the unimodal posteriors."""
        return [Posterior(*self.encoders[modality.name](x[modality.name])) for modality in self.modalities]

    def product(self, experts: Sequence[Posterior], subset: Sequence[int]) -> Posterior:
        """Returns the product of a subset's experts, with N(0, I) as an expert if the configuration says so."""
        mus = [experts[m].mu for m in subset]
        logvars = [experts[m].logvar for m in subset]
        prior_expert = self.config.prior_expert
        if prior_expert == "all" or (prior_expert == "full" and len(subset) == len(self.modalities)):
            mus.append(torch.zeros_like(mus[0]))
            logvars.append(torch.zeros_like(logvars[0]))
        return product_of_experts(torch.stack(mus), torch.stack(logvars))

    def likelihood(self, modality: Modality, z_BD: Tensor) -> Distribution:
        """Returns p(x_m|z) as a distribution over (B, *shape)."""
        raw = self.decoders[modality.name](z_BD)
        if modality.kind == "text":
            return OneHotCategorical(logits=raw)
        name = modality.likelihood or self.config.likelihood
        if name == "bernoulli":
            return Bernoulli(logits=raw, validate_args=False)  # grey values are not in its support
        mean = torch.sigmoid(raw) if modality.bounded else raw
        return Laplace(mean, SCALE) if name == "laplace" else Normal(mean, SCALE)

    def generate(self, modality: Modality, z_BD: Tensor) -> Tensor:
        """Returns the likelihood's mean, (B, *shape)."""
        return self.likelihood(modality, z_BD).mean

    def _negative_log_likelihood(self, modality: Modality, z_BD: Tensor, x: Mapping[str, Tensor]) -> Tensor:
        log_prob: Tensor = self.likelihood(modality, z_BD).log_prob(x[modality.name])
        return -log_prob.sum() / len(z_BD)

    def _sum_of_elbos(self, x: Mapping[str, Tensor], posteriors: Sequence[Posterior], draws: Draws | None) -> Terms:
        """Returns MVAE's loss: the joint ELBO and the unimodal ELBOs. The noise of `draws` is (C, B, D), the joint one first."""
        latents = [reparameterise(q, None if draws is None else draws.noise[c]) for c, q in enumerate(posteriors)]
        reconstruction = {}
        for m, modality in enumerate(self.modalities):
            joint = self._negative_log_likelihood(modality, latents[0], x)
            alone = self._negative_log_likelihood(modality, latents[m + 1], x)
            factor = 1 / self.weights[m] if self.config.unimodal_reconstruction == "unweighted" else 1.0
            reconstruction[modality.name] = joint + factor * alone
        kl = torch.zeros_like(posteriors[0].mu[0, 0])
        for q in posteriors:
            kl = kl + kl_to_prior(q)
        return self._terms(reconstruction, kl)

    def _elbo_of_mixture(self, x: Mapping[str, Tensor], posteriors: Sequence[Posterior], draws: Draws | None) -> Terms:
        """Returns the loss of MMVAE and MoPoE, with one component for each example. The noise of `draws` is (B, D)."""
        if draws is None:
            z_BD = reparameterise(select_slices(posteriors))
        else:
            assert draws.position_B is not None
            z_BD = reparameterise(select_positions(posteriors, draws.position_B), draws.noise)
        reconstruction = {m.name: self._negative_log_likelihood(m, z_BD, x) for m in self.modalities}
        if self.config.kl == "mixture":
            return self._terms(reconstruction, mixture_kl(posteriors, z_BD))
        kl = torch.zeros_like(z_BD[0, 0])
        for q in posteriors:
            kl = kl + kl_to_prior(q) / len(posteriors)
        return self._terms(reconstruction, kl)

    def _terms(self, reconstruction: dict[str, Tensor], kl: Tensor) -> Terms:
        total = self.config.beta * kl
        for weight, modality in zip(self.weights, self.modalities, strict=True):
            total = total + weight * reconstruction[modality.name]
        return Terms(total, reconstruction, kl)


def _check_offered(config: TrainingConfig) -> None:
    if config.model not in MODELS:
        raise ValueError(f"model: {config.model!r} has no reference; allowed: {', '.join(MODELS)}")
    if config.private_dim or config.missing:
        raise ValueError("private_dim, missing: the reference has neither private latents nor hidden modalities")
    if config.model != "mvae" and config.estimator == "enumerate":
        raise ValueError("estimator: 'enumerate' has no reference; it samples one component an example")


def reconstruction_weights(config: TrainingConfig, modalities: Sequence[Modality]) -> tuple[float, ...]:
    """Returns a weight for each modality: the configured one, 1, or the largest modality's pixels or characters over its own."""
    if config.reconstruction_weights == "equal":
        return (1.0,) * len(modalities)
    if config.reconstruction_weights != "size":
        return config.reconstruction_weights
    sizes = [m.shape[0] if m.kind == "text" else math.prod(m.shape) for m in modalities]
    return tuple(max(sizes) / size for size in sizes)


def product_of_experts(mus: Tensor, logvars: Tensor) -> Posterior:
    """Returns the product of the Gaussians along the first axis, from (experts, B, D) to (B, D)."""
    precisions = 1.0 / torch.exp(logvars)
    variance = 1.0 / torch.sum(precisions, dim=0)
    mu = variance * torch.sum(mus * precisions, dim=0)
    return Posterior(mu, torch.log(variance))


def reparameterise(q: Posterior, noise: Tensor | None = None) -> Tensor:
    """Returns a sample, from the given noise or from fresh noise."""
    std = torch.exp(0.5 * q.logvar)
    eps = torch.randn_like(std) if noise is None else noise
    return q.mu + eps * std


def kl_to_prior(q: Posterior) -> Tensor:
    """Returns KL(q || N(0, I)) in closed form, in nats for each example."""
    return -0.5 * torch.sum(1 + q.logvar - q.mu.pow(2) - q.logvar.exp()) / len(q.mu)


def mixture_kl(components: Sequence[Posterior], z_BD: Tensor) -> Tensor:
    """Returns a Monte-Carlo estimate of KL(uniform mixture || N(0, I)) in nats, from one sample of the mixture for each example."""
    log_q_B = mixture_log_prob(components, z_BD)
    return (log_q_B - prior_log_prob(z_BD)).mean()


def mixture_log_prob(components: Sequence[Posterior], z: Tensor) -> Tensor:
    """Returns the log-density (..., B) of the uniform mixture at z (..., B, D)."""
    gaussians: list[Distribution] = [Normal(q.mu, torch.exp(0.5 * q.logvar)) for q in components]
    log_qs = [gaussian.log_prob(z).sum(-1) for gaussian in gaussians]
    return torch.logsumexp(torch.stack(log_qs), dim=0) - math.log(len(components))


def prior_log_prob(z: Tensor) -> Tensor:
    """Returns the log-density (..., B) of N(0, I) at z (..., B, D)."""
    prior: Distribution = Normal(torch.zeros_like(z), torch.ones_like(z))
    return prior.log_prob(z).sum(-1)


def select_slices(components: Sequence[Posterior]) -> Posterior:
    """Returns one component for each example: contiguous slices of the batch, the last with the remainder, as released."""
    batch, count = len(components[0].mu), len(components)
    bounds = [c * (batch // count) for c in range(count)] + [batch]
    mus = [q.mu[start:end] for q, start, end in zip(components, bounds[:-1], bounds[1:], strict=True)]
    logvars = [q.logvar[start:end] for q, start, end in zip(components, bounds[:-1], bounds[1:], strict=True)]
    return Posterior(torch.cat(mus), torch.cat(logvars))


def select_positions(components: Sequence[Posterior], position_B: Tensor) -> Posterior:
    """Returns one component for each example: the one whose share of [0, 1) contains the example's position."""
    indices = [min(int(position * len(components)), len(components) - 1) for position in position_B.tolist()]
    mus = [components[c].mu[b] for b, c in enumerate(indices)]
    logvars = [components[c].logvar[b] for b, c in enumerate(indices)]
    return Posterior(torch.stack(mus), torch.stack(logvars))


def adam(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """Returns Adam with the configured learning rate and weight decay, and otherwise default arguments."""
    return torch.optim.Adam(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)


def train_step(model: Reference, optimiser: torch.optim.Optimizer, x: Mapping[str, Tensor]) -> float:
    """Takes one step on a batch; returns the loss, as for a log."""
    terms: Terms = model(x)
    optimiser.zero_grad()
    torch.autograd.backward(terms.total)
    optimiser.step()
    return terms.total.item()


def train_epoch(model: Reference, optimiser: torch.optim.Optimizer, batches: Iterable[Batch]) -> list[float]:
    """Takes a step on every batch; returns the loss of every step."""
    model.train()
    return [train_step(model, optimiser, x) for x, _ in batches]


class MultimodalDataset(TorchDataset[Item]):
    """The examples of a split, each built on access, as in torchvision's datasets and the released loaders.

    A picture comes from PIL and is converted to floats by ToTensor. PolyMNIST's pictures are PNG files that are decoded on every access.
    Here the files are in memory, so that no access waits for the disk. A text's characters are set one by one in an array of zeros.
    """

    def __init__(self, split: Split) -> None:
        self.split = split
        self._files: dict[tuple[str, int], bytes] = {}

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> Item:
        """Returns one example: its modalities (*shape) by name, and its class."""
        x = {}
        for modality in self.split.modalities:
            item = int(self.split.rows[modality.name][index])
            stored = self.split.items[modality.name][item]
            if modality.kind == "text":
                x[modality.name] = one_hot(stored.tolist(), modality.shape[1])
            elif modality.kind == "image":
                x[modality.name] = to_tensor(self._picture(modality, item, stored))
            else:
                x[modality.name] = stored.float()
        return x, int(self.split.labels[index])

    def _picture(self, modality: Modality, item: int, stored: Tensor) -> Image.Image:
        if modality.architecture != "polymnist":
            return as_picture(stored)
        key = modality.name, item
        if key not in self._files:
            file = BytesIO()
            as_picture(stored).save(file, "png")
            self._files[key] = file.getvalue()
        return Image.open(BytesIO(self._files[key]))


def as_picture(stored: Tensor) -> Image.Image:
    """Returns a uint8 tensor (channels, height, width) as a PIL image."""
    return Image.fromarray(stored[0].numpy() if len(stored) == 1 else stored.permute(1, 2, 0).numpy())


def one_hot(codes: Sequence[int], symbols: int) -> Tensor:
    """Returns the one-hot encoding (length, symbols), built one character at a time."""
    rows = torch.zeros(len(codes), symbols)
    for position, code in enumerate(codes):
        rows[position, code] = 1.0
    return rows


def shuffled_loader(split: Split, batch_size: int = 256, num_workers: int = 0) -> DataLoader[Item]:
    """Returns a loader for training: batches in random order, without the last partial one."""
    examples = MultimodalDataset(split)
    return DataLoader(examples, batch_size=batch_size, shuffle=True, drop_last=True, num_workers=num_workers)


def ordered_loader(
    split: Split, batch_size: int = 256, num_workers: int = 0, rows: Sequence[int] | None = None
) -> DataLoader[Item]:
    """Returns a loader for evaluation: batches of a split, or of its examples `rows`, in order.

    It keeps the last partial batch, so that the metrics are of the same examples as the package's. The released code drops that batch.
    """
    examples: TorchDataset[Item] = MultimodalDataset(split)
    if rows is not None:
        examples = Subset(examples, rows)
    return DataLoader(examples, batch_size=batch_size, num_workers=num_workers)
