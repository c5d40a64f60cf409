"""What a user's function returns: arrays with names, and what is known of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class OwnModality:
    """One kind of observation.

    `train` and `test` are arrays, or what numpy makes arrays of, whose first axis is the examples: numbers (N, features) for `vector`;
    uint8, or numbers in [0, 1], (N, channels, height, width) for `image`; strings (N,) for `text`. Images of numbers are kept as bytes
    where no grey level is lost by that, and else as float32.
    """

    name: str
    kind: str
    train: NDArray[Any]
    test: NDArray[Any]
    likelihood: str = ""
    """Of `LIKELIHOODS`; the kind's default when empty. Normal and Laplace have scale 0.75: bring vectors to unit variance. Bernoulli is
    of values in [0, 1]."""
    encoder: "Callable[[int], nn.Module] | None" = None
    """Called with a number of latent dimensions D: a module that maps (B, *shape) to mean and log-variance, (B, D) each."""
    decoder: "Callable[[int], nn.Module] | None" = None
    """Called with D: a module that maps (B, D) to the likelihood's raw parameters (B, *shape)."""
    judge: "Callable[[int], nn.Module] | None" = None
    """Called with a number of classes: a module that maps (B, *shape) to logits, the judge of coherence."""
    judge_accuracy: float = 0.7
    """The classifier that judges coherence is refused if its balanced accuracy on the test items is below this, or if it is not better
    than chance, whatever stands here."""


@dataclass(frozen=True)
class OwnDataset:
    """Named modalities of the same examples, and the class of each, 0 to the number of classes - 1: integers (N,)."""

    modalities: tuple[OwnModality, ...]
    train_labels: NDArray[Any]
    test_labels: NDArray[Any]
