"""The rule of Appendix D.1: a digit over a random crop of a background photograph, whose colours are inverted where the digit is."""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from mopoe_core.data.dataset_cache import Array
from mopoe_core.data.digits.digit_files import Digits
from mopoe_core.data.polymnist.polymnist_files import SIDE, Bytes, Ints, read_background
from mopoe_core.data.polymnist.polymnist_layouts import NAMES
from mopoe_core.errors import DataError
from mopoe_core.random_streams import seed_of

NAME = "polymnist"
DATA_SEED = 0
THRESHOLD = 128  # a pixel with a grey level above it belongs to the digit, as in the released code
PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "ihc.png", "motorcycle_left.png")  # PNG: the same colours everywhere


def fuse(digits: Digits, backgrounds: Sequence[Bytes], split: str, rounds: int = 1) -> Iterator[tuple[str, Array]]:
    """Yields the tuples of Appendix D.1: `labels` (N,) int64, sorted, then m0 to m4, (N, 3, 28, 28) uint8.

    N is `rounds` times the number of digit images. `backgrounds` are (3, height, width). Each modality has its own permutation of a
    digit's images in each round, its own crops and its own seeds, so that the order of building changes nothing.
    """
    yield "labels", np.repeat(np.arange(10), rounds * np.bincount(digits.labels, minlength=10))
    for name, background in zip(NAMES, backgrounds, strict=True):
        rows = order(digits.labels, split, name, rounds)
        yield name, invert(crops(background, len(rows), split, name), digits.pixels[rows] > THRESHOLD)


def order(labels: Ints, split: str, modality: str, rounds: int) -> Ints:
    """Returns the index into `labels` of the image that a modality shows in each tuple, (rounds * N,).

    Tuples are ordered by digit, then round; within a round the images are permuted.
    """
    permutations = []
    for digit in range(10):
        images = np.flatnonzero(labels == digit)
        for round_number in range(rounds):
            rng = np.random.default_rng(seed_of(DATA_SEED, NAME, split, modality, digit, round_number))
            permutations.append(rng.permutation(images))
    return np.concatenate(permutations)


def crops(background: Bytes, count: int, split: str, modality: str) -> Bytes:
    """Returns random crops (count, 3, 28, 28) of a background (3, height, width). Every position is equally likely."""
    windows = sliding_window_view(background, (SIDE, SIDE), axis=(1, 2)).transpose(1, 2, 0, 3, 4)
    rng = np.random.default_rng(seed_of(DATA_SEED, NAME, split, modality, "crops"))
    top, left = rng.integers(0, windows.shape[0], count), rng.integers(0, windows.shape[1], count)
    return np.ascontiguousarray(windows[top, left])  # saving strided arrays takes thirty times as long


def invert(images: Bytes, digit: NDArray[np.bool_]) -> Bytes:
    """Inverts the colours of images (N, 3, 28, 28) in place where the mask `digit` (N, 28, 28) is true, and returns the images."""
    return np.subtract(255, images, out=images, where=digit[:, None])


def photographs() -> list[Bytes]:
    """Returns the five photographs of the scikit-image package, (3, height, width). Raises DataError if one is missing."""
    package = find_spec("skimage")  # finds its files without importing it, which would cost a second
    folder = Path(package.origin).parent / "data" if package and package.origin else Path()
    missing = [name for name in PHOTOGRAPHS if not (folder / name).is_file()]
    if missing:
        raise DataError(f"embedded {NAME} needs the photograph {missing[0]} of the scikit-image package; reinstall scikit-image")
    return [read_background(folder / name) for name in PHOTOGRAPHS]
