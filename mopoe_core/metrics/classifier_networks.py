"""The networks of the classifiers that judge coherence, and the accuracy that each must reach.

The architectures are those of the released code. A modality gets a small one if there is no released one, or if the released
one would take hours on the embedded data. The text `str(network)` is part of a classifier's identity: after a layer's class is renamed,
the classifier is trained again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from mopoe_core.data.own import user_data
from mopoe_core.data.types import Modality
from mopoe_core.networks.networks import Transpose, celeba_image_features, celeba_text_features, svhn_convolutions
from mopoe_core.networks.residual import Residual1d


@dataclass(frozen=True)
class Recipe:
    """How a modality's classifier is built and trained, and how good it must be."""

    build: Callable[[Modality, int], nn.Module]
    """Returns the network for a modality and a number of classes or attributes."""
    epochs: int
    least: float
    """The lowest balanced accuracy on test items (for attributes: mean average precision) with which a classifier may judge. Released
    architectures reach more on the original data. A classifier that is not better than chance may not judge either."""


def _mnist(modality: Modality, classes: int) -> nn.Module:
    convolutions: list[nn.Module] = []
    for inputs, outputs in pairwise((1, 32, 64, 128)):
        convolutions += [nn.Conv2d(inputs, outputs, 4, 2), nn.ReLU()]
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Dropout(0.5), nn.Linear(128, classes))


def _svhn(modality: Modality, classes: int) -> nn.Module:
    convolutions: list[nn.Module] = []
    for convolution in svhn_convolutions():
        convolutions += [convolution, nn.Dropout(0.5), nn.BatchNorm2d(convolution.out_channels), nn.ReLU()]
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(128, classes))


def _digit_word(modality: Modality, classes: int) -> nn.Module:
    return nn.Sequential(
        Transpose(), nn.Conv1d(71, 128, 1),
        Residual1d(128, 192, 1, a=1.0, dropout=0.0), Residual1d(192, 128, 0, a=1.0, dropout=0.0),
        nn.Flatten(), nn.Dropout(0.5), nn.Linear(128, classes),
    )  # fmt: skip


def _polymnist(modality: Modality, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 10, 4, 2, 1), nn.Dropout2d(0.5), nn.ReLU(), nn.Conv2d(10, 20, 4, 2, 1), nn.Dropout2d(0.5), nn.ReLU(),
        nn.Flatten(), nn.Linear(980, 128), nn.Dropout(0.5), nn.ReLU(), nn.Linear(128, classes),
    )  # fmt: skip


def _celeba_image(modality: Modality, classes: int) -> nn.Module:
    return nn.Sequential(celeba_image_features(), nn.Dropout(0.5), nn.Linear(640, classes))


def _celeba_text(modality: Modality, classes: int) -> nn.Module:
    return nn.Sequential(celeba_text_features(1, 2, 3, 4, 5, 6, 7, kernel=3), nn.Dropout(0.5), nn.Linear(896, classes))


def _small_image(modality: Modality, classes: int) -> nn.Module:
    """Returns three convolutions and a linear layer. The linear layer sees every position, because position matters in a picture."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise((modality.shape[0], 16, 32, 64)):
        layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
    height, width = (-(-side // 8) for side in modality.shape[1:])
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.25), nn.Linear(64 * height * width, classes))


class _Anywhere(nn.Module):
    """The maximum over a sequence: whether a pattern occurs at any position."""

    def forward(self, x: Tensor) -> Tensor:
        """Returns (B, channels) of x (B, channels, length)."""
        return x.amax(-1)


def _small_text(modality: Modality, classes: int) -> nn.Module:
    return nn.Sequential(
        Transpose(), nn.Conv1d(modality.shape[1], 32, 1), nn.Conv1d(32, 64, 7, padding=3), nn.ReLU(),
        nn.Conv1d(64, 128, 7, padding=3), nn.ReLU(), _Anywhere(), nn.Linear(128, classes),
    )  # fmt: skip


def _small_vector(modality: Modality, classes: int) -> nn.Module:
    return nn.Sequential(nn.Linear(modality.elements, 64), nn.ReLU(), nn.Dropout(0.25), nn.Linear(64, classes))


RECIPES = {
    "mnist": Recipe(_mnist, 15, 0.95),
    "svhn": Recipe(_svhn, 10, 0.85),
    "digit_word": Recipe(_digit_word, 15, 0.99),
    "polymnist": Recipe(_polymnist, 15, 0.75),
    "celeba_image": Recipe(_celeba_image, 20, 0.6),
    "celeba_text": Recipe(_celeba_text, 20, 0.9),
    "small_image": Recipe(_small_image, 20, 0.75),
    "small_text": Recipe(_small_text, 10, 0.9),
    "small_vector": Recipe(_small_vector, 40, 0.0),
}
"""Recipes by the key that `recipe` looks up: `Modality.judge`, else the architecture, else `small_` and the kind."""


def recipe(modality: Modality) -> Recipe:
    """Returns how a modality's classifier is built and trained; a user's own `judge` and `judge_accuracy` take precedence."""
    standard = RECIPES[modality.judge or modality.architecture or f"small_{modality.kind}"]
    if not modality.own:
        return standard
    architecture = user_data.architecture(modality.own, modality.name)
    user_build = architecture.judge
    build = standard.build if user_build is None else lambda _, classes: user_build(classes)
    return Recipe(build, standard.epochs, architecture.judge_accuracy)


def classifier(modality: Modality, classes: int) -> nn.Module:
    """Returns the untrained classifier of a modality."""
    return recipe(modality).build(modality, classes)
