"""The networks of the classifiers that judge coherence, and what each must reach.

Architectures as released (protocol section 2); small ones for a modality that has none, or whose released one would take hours on the
embedded data. A network's layers, spelled by `str`, are part of its classifier's identity: renaming a layer's class trains it again.
"""

from collections.abc import Callable
from dataclasses import dataclass

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
    """On test items: balanced accuracy, or mean average precision over attributes; below this a classifier may not judge. On the original
    data, classifiers of the released shapes reach more. One that is not better than chance may not judge either."""


def _mnist(modality: Modality, classes: int) -> nn.Module:
    convolutions = [part for i, o in ((1, 32), (32, 64), (64, 128)) for part in (nn.Conv2d(i, o, 4, 2), nn.ReLU())]
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Dropout(0.5), nn.Linear(128, classes))


def _svhn(modality: Modality, classes: int) -> nn.Module:
    convolutions: list[nn.Module] = []
    for convolution in svhn_convolutions():
        convolutions += [convolution, nn.Dropout(0.5), nn.BatchNorm2d(convolution.out_channels), nn.ReLU()]
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(128, classes))


def _digit_word(modality: Modality, classes: int) -> nn.Module:
    blocks = (Residual1d(i, o, padding, a=1.0, dropout=0.0) for i, o, padding in ((128, 192, 1), (192, 128, 0)))
    return nn.Sequential(
        Transpose(), nn.Conv1d(71, 128, 1), *blocks, nn.Flatten(), nn.Dropout(0.5), nn.Linear(128, classes)
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
    """Returns three convolutions and a linear layer on what they leave, flattened: where something is in the picture matters."""
    channels = [modality.shape[0], 16, 32, 64]
    layers = [
        p for i, o in zip(channels, channels[1:], strict=False) for p in (nn.Conv2d(i, o, 3, 2, 1), nn.BatchNorm2d(o), nn.ReLU())
    ]
    height, width = (-(-side // 8) for side in modality.shape[1:])
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.25), nn.Linear(64 * height * width, classes))


class _Anywhere(nn.Module):
    """The largest value over a sequence: whether something occurs, wherever it stands."""

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
"""By `Modality.judge`."""


def recipe(modality: Modality) -> Recipe:
    """Returns how a modality's classifier is built and trained; a user's own judge takes precedence."""
    usual = RECIPES[modality.judge or modality.architecture or f"small_{modality.kind}"]
    if not modality.own:
        return usual
    architecture = user_data.architecture(modality.own, modality.name)
    build = architecture.judge
    return Recipe(usual.build if build is None else lambda _, classes: build(classes), usual.epochs, architecture.judge_accuracy)


def classifier(modality: Modality, classes: int) -> nn.Module:
    """Returns the untrained classifier of a modality."""
    return recipe(modality).build(modality, classes)
