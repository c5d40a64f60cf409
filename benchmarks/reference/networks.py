"""The published and the small networks as plain modules in torch's default memory layout.

They are written separately, so that the reference does not gain from the optimisations of `mopoe_core.networks.networks`. Layer sizes and
the order of parameters are the same, so that weights can be copied one by one.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from mopoe_core.data.types import Modality
from mopoe_core.networks.networks import LOGVAR_LIMIT, small_width


class Encoder(nn.Module):
    """Layers that end in a vector, followed by two linear heads: (B, *shape) to mu and log-variance, each (B, latent)."""

    def __init__(self, layers: nn.Module, features: int, latent: int) -> None:
        super().__init__()
        self.layers = layers
        self.mu = nn.Linear(features, latent)
        self.logvar = nn.Linear(features, latent)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mu and log-variance. Log-variances are softly limited to [-12, 12], as in the package but not in the released code."""
        h = self.layers(x)
        # MVAE's log-variances reach 93 within a dozen steps of PolyMNIST, where exp overflows in float32. From 80 on the limit is flat.
        p, bend = torch.exp(self.logvar(h).clamp(max=80)), math.exp(-LOGVAR_LIMIT)
        return self.mu(h), torch.log((p + bend) / (1 + bend**2 + bend * p))


class Centre(nn.Module):
    """Maps [0, 1] to [-1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns 2 x - 1, for any shape."""
        return 2 * x - 1


class SwapLast(nn.Module):
    """Maps (B, a, b) to (B, b, a), because Conv1d expects the symbols before the positions."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns a view of x with the last two axes swapped."""
        return x.transpose(1, 2)


def plain_networks(modality: Modality, kind: str, latent: int) -> tuple[nn.Module, nn.Module]:
    """Returns encoder and decoder of a modality, of the kind `paper` or `small`; raises ValueError if there is no reference."""
    if modality.own or (kind == "paper" and modality.architecture not in PAPER):
        raise ValueError(f"networks: {modality.name} has no reference for {kind!r}")
    return PAPER[modality.architecture](latent) if kind == "paper" else _small(modality, latent)


def copy_parameters(source: Iterable[nn.Module], target: Iterable[nn.Module]) -> None:
    """Copies all parameters of the source networks to the target networks, in order."""
    for source_network, target_network in zip(source, target, strict=True):
        for old, new in zip(source_network.parameters(), target_network.parameters(), strict=True):
            new.data.copy_(old.data)


def _mnist(latent: int) -> tuple[nn.Module, nn.Module]:
    encoder = Encoder(nn.Sequential(nn.Flatten(), nn.Linear(784, 400), nn.ReLU()), 400, latent)
    decoder = nn.Sequential(nn.Linear(latent, 400), nn.ReLU(), nn.Linear(400, 784), nn.Unflatten(1, (1, 28, 28)))
    return encoder, decoder


def _svhn(latent: int) -> tuple[nn.Module, nn.Module]:
    layers = nn.Sequential(
        nn.Conv2d(3, 32, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(64, 64, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(64, 128, 4, 2, 0),
        nn.ReLU(),
        nn.Flatten(),
    )
    decoder = nn.Sequential(
        nn.Linear(latent, 128),
        nn.ReLU(),
        nn.Unflatten(1, (128, 1, 1)),
        nn.ConvTranspose2d(128, 64, 4, 1, 0),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 64, 4, 2, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 32, 4, 2, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 3, 4, 2, 1),
    )
    return Encoder(layers, 128, latent), decoder


def _text(latent: int) -> tuple[nn.Module, nn.Module]:
    layers = nn.Sequential(
        SwapLast(),
        nn.Conv1d(71, 128, 1),
        nn.ReLU(),
        nn.Conv1d(128, 128, 4, 2, 1),
        nn.ReLU(),
        nn.Conv1d(128, 128, 4, 2, 0),
        nn.ReLU(),
        nn.Flatten(),
    )
    decoder = nn.Sequential(
        nn.Linear(latent, 128),
        nn.Unflatten(1, (128, 1)),
        nn.ConvTranspose1d(128, 128, 4, 1, 0),
        nn.ReLU(),
        nn.ConvTranspose1d(128, 128, 4, 2, 1),
        nn.ReLU(),
        nn.Conv1d(128, 71, 1),
        SwapLast(),
    )
    return Encoder(layers, 128, latent), decoder


def _polymnist(latent: int) -> tuple[nn.Module, nn.Module]:
    layers = nn.Sequential(
        nn.Conv2d(3, 32, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, 2, 1),
        nn.ReLU(),
        nn.Conv2d(64, 128, 3, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2048, 512),
        nn.ReLU(),
    )
    decoder = nn.Sequential(
        nn.Linear(latent, 2048),
        nn.ReLU(),
        nn.Unflatten(1, (128, 4, 4)),
        nn.ConvTranspose2d(128, 64, 3, 2, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 32, 3, 2, 1, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 3, 3, 2, 1, 1),
    )
    return Encoder(layers, 512, latent), decoder


def _small(modality: Modality, latent: int) -> tuple[nn.Module, nn.Module]:
    elements = math.prod(modality.shape)
    width = small_width(elements)
    layers = [nn.Flatten(), nn.Linear(elements, width), nn.ReLU()]
    if modality.kind == "image":
        layers = [Centre(), *layers]
    decoder = nn.Sequential(nn.Linear(latent, width), nn.ReLU(), nn.Linear(width, elements), nn.Unflatten(1, modality.shape))
    return Encoder(nn.Sequential(*layers), width, latent), decoder


PAPER: dict[str, Callable[[int], tuple[nn.Module, nn.Module]]] = {
    "mnist": _mnist,
    "svhn": _svhn,
    "digit_word": _text,
    "polymnist": _polymnist,
}
"""Builders of encoder and decoder, by `Modality.architecture`."""
