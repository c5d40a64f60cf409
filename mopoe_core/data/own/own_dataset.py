"""The classes that a user's function returns: arrays with names, and how they are to be modelled."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class OwnModality:
    """One kind of observation.

    `train` and `test` are arrays, or anything that numpy can convert, with examples along the first axis. `kind` says of which form:

        vector   numbers (N, features)
        image    uint8, or numbers in [0, 1], (N, channels, height, width)
        text     strings (N,)

    Images of numbers are stored as bytes if that loses no grey level, else as float32.
    """

    name: str
    kind: str
    train: NDArray[Any]
    test: NDArray[Any]
    likelihood: str = ""
    """One of `LIKELIHOODS`; the kind's default if empty. Normal and Laplace have scale 0.75, so vectors should have unit variance.
    Bernoulli needs values in [0, 1]."""
    encoder: "Callable[[int], nn.Module] | None" = None
    """Function of the number of latent dimensions D. Returns a module that maps (B, *shape) to mean and log-variance, (B, D) each."""
    decoder: "Callable[[int], nn.Module] | None" = None
    """Function of D. Returns a module that maps (B, D) to the likelihood's raw parameters (B, *shape)."""
    judge: "Callable[[int], nn.Module] | None" = None
    """Function of the number of classes C. Returns the classifier for coherence: a module that maps (B, *shape) to logits (B, C)."""
    judge_accuracy: float = 0.7
    """The classifier for coherence is refused if its balanced accuracy on the test items is below this share. One that is no better than
    chance is always refused."""


@dataclass(frozen=True)
class OwnDataset:
    """Named modalities of the same examples, and the examples' classes: integers (N,) from 0 to the number of classes - 1."""

    modalities: tuple[OwnModality, ...]
    train_labels: NDArray[Any]
    test_labels: NDArray[Any]
