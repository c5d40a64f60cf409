"""Two vectors of two classes, with encoders that work for any number of latent dimensions but five: a sweep over them fails in part.

With five they take two examples, as the check before a sweep gives them, and fail in training.
"""

import numpy as np
from torch import Tensor, nn

from mopoe_core.data.own import OwnDataset, OwnModality


class Touchy(nn.Module):
    """An encoder."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.latent, self.layer = latent, nn.Linear(3, 2 * latent)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Mean and log-variance."""
        if self.latent == 5 and len(x) > 2:
            raise ValueError("five is too many")
        return self.layer(x).chunk(2, -1)


def made() -> OwnDataset:
    """The same each time."""
    chance = np.random.default_rng(0)
    labels = np.arange(600) % 2
    parts = {name: chance.normal(size=(600, 3)) + labels[:, None] for name in "ab"}
    modalities = tuple(OwnModality(name, "vector", x, x, encoder=Touchy) for name, x in parts.items())
    return OwnDataset(modalities, labels, labels)
