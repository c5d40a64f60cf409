"""Three vectors of two classes, made of whole numbers alone, so that they are the same everywhere. The first one's encoder refuses five
latent dimensions: a sweep over them fails in part.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from mopoe_core.data.own import OwnDataset, OwnModality

EXAMPLES = 600
PRIME = 1009


class Touchy(nn.Module):
    """An encoder."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.latent, self.layer = latent, nn.Linear(3, 2 * latent)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Returns mean and log-variance."""
        if self.latent == 5:
            raise ValueError("five is too many")
        return self.layer(x).chunk(2, -1)


def scattered(factor: int) -> NDArray[np.float64]:
    """Returns vectors between -1 and 1 without visible order: squares modulo a prime."""
    places = np.arange(1, EXAMPLES * 3 + 1).reshape(EXAMPLES, 3)
    return (places * places * factor % PRIME) / 504 - 1


def made() -> OwnDataset:
    """Returns the same each time."""
    labels = np.arange(EXAMPLES) % 2
    vectors = {name: scattered(factor) + labels[:, None] for name, factor in (("a", 7), ("b", 11), ("c", 13))}
    encoders = {"a": Touchy}
    modalities = tuple(OwnModality(name, "vector", x, x, encoder=encoders.get(name)) for name, x in vectors.items())
    return OwnDataset(modalities, labels, labels)


def plain() -> OwnDataset:
    """Returns the first two vectors without an encoder of their own, so that trials on them are trained in stacks."""
    dataset = made()
    modalities = tuple(OwnModality(m.name, m.kind, m.train, m.test) for m in dataset.modalities[:2])
    return OwnDataset(modalities, dataset.train_labels, dataset.test_labels)
