"""The rule of Appendix D.1: digits over random crops of a background photograph, with its colours inverted where the digit is."""

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
THRESHOLD = 128  # a grey level above it is the digit's, as released
PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "ihc.png", "motorcycle_left.png")  # PNG: the same colours everywhere


def fuse(digits: Digits, backgrounds: Sequence[Bytes], split: str, rounds: int = 1) -> Iterator[tuple[str, Array]]:
    """Tuples by Appendix D.1: `labels` (N,) int64, sorted, and m0 to m4, (N, 3, 28, 28) uint8; N is `rounds` times the digits.

    `backgrounds` are (3, height, width). Each modality has its own permutation of a digit's images in each round, its own crops,
    and seeds of its own, so that the order of building changes nothing.
    """
    yield "labels", np.repeat(np.arange(10), rounds * np.bincount(digits.labels, minlength=10))
    for name, background in zip(NAMES, backgrounds, strict=True):
        rows = order(digits.labels, split, name, rounds)
        yield name, invert(crops(background, len(rows), split, name), digits.pixels[rows] > THRESHOLD)


def order(labels: Ints, split: str, modality: str, rounds: int) -> Ints:
    """Which of the images with these labels a modality shows in each tuple, (rounds * N,): by digit, then round, then permuted."""
    permuted = []
    for digit in range(10):
        images = np.flatnonzero(labels == digit)
        seeds = [seed_of(DATA_SEED, NAME, split, modality, digit, turn) for turn in range(rounds)]
        permuted += [np.random.default_rng(seed).permutation(images) for seed in seeds]
    return np.concatenate(permuted)


def crops(background: Bytes, count: int, split: str, modality: str) -> Bytes:
    """Random crops (count, 3, 28, 28) of a background (3, height, width), every position as likely."""
    windows = sliding_window_view(background, (SIDE, SIDE), axis=(1, 2)).transpose(1, 2, 0, 3, 4)
    rng = np.random.default_rng(seed_of(DATA_SEED, NAME, split, modality, "crops"))
    top, left = rng.integers(0, windows.shape[0], count), rng.integers(0, windows.shape[1], count)
    return np.ascontiguousarray(windows[top, left])  # saving strided arrays takes thirty times as long


def invert(images: Bytes, digit: NDArray[np.bool_]) -> Bytes:
    """Images (N, 3, 28, 28) with the colours inverted, in place, where the mask (N, 28, 28) is true."""
    return np.subtract(255, images, out=images, where=digit[:, None])


def photographs() -> list[Bytes]:
    """The five photographs of the scikit-image package, (3, height, width). Raises DataError where one is missing."""
    found = find_spec("skimage")  # its files only: importing it would cost a second
    folder = Path(found.origin).parent / "data" if found and found.origin else Path()
    missing = [name for name in PHOTOGRAPHS if not (folder / name).is_file()]
    if missing:
        raise DataError(f"embedded {NAME} needs the photograph {missing[0]} of the scikit-image package; reinstall scikit-image")
    return [read_background(folder / name) for name in PHOTOGRAPHS]
