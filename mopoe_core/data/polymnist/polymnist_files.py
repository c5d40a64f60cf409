"""PolyMNIST's files in the forms that `polymnist_forms` finds, each read into the same arrays.

As released, `{split}/m{0..4}/{i}.{label}.png`, where i counts within a label; as tensors, `{split}/m{0..4}.pt` and `{split}/labels.pt`;
or only the five background images, from which the dataset is built. Whatever is wrong with them is one line of a DataError.
"""

import os
import re
import struct
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor

from mopoe_core.data.dataset_cache import Array
from mopoe_core.data.polymnist.polymnist_layouts import NAMES
from mopoe_core.data.web_pages import is_web_page
from mopoe_core.errors import DataError

SIDE = 28
SHAPE = (3, SIDE, SIDE)
PICTURES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
BLOCK = 1024  # images a task: 60,000 tasks of one would cost more than the decoding
MANY = 20_000  # images from which on progress is shown
THREADS = min(8, os.cpu_count() or 1)
UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, EOFError, struct.error, Image.DecompressionBombError)
"""What Pillow raises at files that are cut short or damaged."""

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Key = tuple[int, int]
"""(label, i): its order is the order of the examples."""


def read_pngs(folder: Path) -> Iterator[tuple[str, Array]]:
    """One split's `labels`, (N,) int64, then m0 to m4, each (N, 3, 28, 28) uint8, in the order of (label, i).

    Names are checked at once, images when they are asked for. Raises DataError where a folder is missing, folders hold different
    names, a name is not `<i>.<label>.png`, or a file is no RGB image of 28 x 28. Hidden files are passed over.
    """
    keys = _common_keys(folder)
    return _read_pngs(folder, keys)


def _read_pngs(folder: Path, keys: Sequence[Key]) -> Iterator[tuple[str, Array]]:
    yield "labels", np.array([label for label, _ in keys], dtype=np.int64)
    for name in NAMES:
        yield name, _decoded([folder / name / _file_name(key) for key in keys], f"{folder.name}/{name}")


def _common_keys(folder: Path) -> list[Key]:
    missing = [name for name in NAMES if not (folder / name).is_dir()]
    if missing:
        raise DataError(f"{folder}: no folder {' and no '.join(missing)}; expected m0 to m4; unpack the archive again")
    keys = {name: _keys(folder / name) for name in NAMES}
    for name in NAMES[1:]:
        if keys[name] != keys[NAMES[0]]:
            raise DataError(_difference(folder, name, keys[NAMES[0]], keys[name]))
    if not keys[NAMES[0]]:
        raise DataError(f"{folder}: m0 to m4 are empty; expected files <i>.<label>.png; unpack the archive again")
    return sorted(keys[NAMES[0]])


def _keys(folder: Path) -> set[Key]:
    return {_key(folder, name) for name in os.listdir(folder) if not name.startswith(".")}


def _key(folder: Path, name: str) -> Key:
    parts = re.fullmatch(r"(0|[1-9][0-9]*)\.(-?[0-9]+)\.png", name)
    if not parts:
        raise DataError(f"{folder / name}: not named <i>.<label>.png, such as 12.7.png; move it away or name it so")
    if len(parts[2]) > 1:
        raise DataError(f"{folder / name}: label {parts[2]}; expected a digit from 0 to 9; move it away or name it so")
    return int(parts[2]), int(parts[1])


def _file_name(key: Key) -> str:
    return f"{key[1]}.{key[0]}.png"


def _difference(folder: Path, name: str, first: set[Key], other: set[Key]) -> str:
    sides = ((NAMES[0], sorted(first - other)), (name, sorted(other - first)))
    only = [f"only in {side}: {', '.join(map(_file_name, keys[:3]))}" for side, keys in sides if keys]
    return (
        f"{folder}: {NAMES[0]} and {name} hold different names, {len(first ^ other)} in all ({'; '.join(only)}); "
        "expected the same in every modality; unpack the archive again"
    )


def _decoded(paths: Sequence[Path], what: str) -> Bytes:
    """Images (N, 3, 28, 28), read by threads, whose gain is the latency of a cold or distant disk and not the decoding."""
    pixels = np.empty((len(paths), *SHAPE), dtype=np.uint8)
    starts = range(0, len(paths), BLOCK)

    def decode(start: int) -> None:
        for path, into in zip(paths[start : start + BLOCK], pixels[start : start + BLOCK], strict=True):
            _decode(path, into)

    with ThreadPoolExecutor(THREADS) as pool:
        shown = Console(stderr=True)
        done = track(pool.map(decode, starts), f"reading {what}", len(starts), console=shown, disable=len(paths) < MANY)
        deque(done, maxlen=0)
    return pixels


def _decode(path: Path, into: Bytes) -> None:
    with _opened(path) as image:
        if image.mode != "RGB" or image.size != (SIDE, SIDE):
            raise DataError(f"{path}: {_size(image)}, mode {image.mode}; expected {SIDE} x {SIDE}, RGB; unpack the archive again")
        image.load()
        into[:] = np.asarray(image).transpose(2, 0, 1)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except UNREADABLE:
        instead = "a web page and no image" if is_web_page(path) else "cut short, damaged or unreadable"
        raise DataError(f"{path}: {instead}; expected an image; fetch or unpack it again") from None


def _size(image: Image.Image) -> str:
    return f"{image.width} x {image.height} pixels"


def read_tensors(folder: Path) -> Iterator[tuple[str, Array]]:
    """One split's `labels`, (N,) int64, then m0 to m4, each (N, 3, 28, 28) uint8, from `.pt` files in their own order.

    Images are uint8, or floats in [0, 1], which become round(255 x). Raises DataError where a file is missing, cannot be read, or
    holds another kind of tensor, another length, or values out of range.
    """
    paths = [folder / f"{name}.pt" for name in ("labels", *NAMES)]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise DataError(f"{folder}: no {' and no '.join(missing)}; expected m0.pt to m4.pt and labels.pt; put them there")
    for path in paths:
        if is_web_page(path):
            raise DataError(f"{path}: a web page, as downloads over their quota give, and no tensor; download it again")
    return _read_tensors(folder, _labels(folder / "labels.pt"))


def _read_tensors(folder: Path, labels: Ints) -> Iterator[tuple[str, Array]]:
    yield "labels", labels
    for name in NAMES:
        path = folder / f"{name}.pt"
        yield name, _images(path, _tensor(path), len(labels))


def _labels(path: Path) -> Ints:
    labels = _tensor(path)
    if labels.dtype not in INTEGERS or labels.ndim != 1 or not len(labels):
        raise DataError(f"{path}: {_kind(labels)}; expected N whole numbers, shape (N,); save the labels so")
    wrong = labels[(labels < 0) | (labels > 9)]
    if len(wrong):
        raise DataError(f"{path}: label {int(wrong[0])}; expected digits from 0 to 9; save the labels so")
    return labels.long().numpy()


def _images(path: Path, images: Tensor, count: int) -> Bytes:
    if not (images.dtype == torch.uint8 or images.is_floating_point()) or images.shape[1:] != SHAPE or images.ndim != 4:
        raise DataError(f"{path}: {_kind(images)}; expected uint8 or floats, shape (N, 3, {SIDE}, {SIDE}); save the images so")
    if len(images) != count:
        raise DataError(f"{path}: {len(images)} images; labels.pt beside it has {count}; fetch all files of one release")
    _check_not_nearly_black(path, images)
    pixels = np.empty(images.shape, dtype=np.uint8)
    for start in range(0, count, BLOCK):  # in pieces: scaling at once would double gigabytes
        pixels[start : start + BLOCK] = _scaled(path, images[start : start + BLOCK])
    return pixels


def _check_not_nearly_black(path: Path, images: Tensor) -> None:
    """Raise DataError where no value is above one grey level of 255, though some are above none: a wrong scale, and no pictures."""
    high = float(images.max())
    level = 1.0 if images.dtype == torch.uint8 else 1.5 / 255  # half a level for rounding
    if 0 < high <= level:
        raise DataError(
            f"{path}: {_kind(images)}, none above {high:g}, which is nearly black; expected uint8 up to 255, or floats up to 1; "
            "save the images so"
        )


def _scaled(path: Path, images: Tensor) -> Bytes:
    if images.dtype == torch.uint8:
        return images.numpy()
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):  # so asked, NaN is refused as well
        raise DataError(f"{path}: values from {low:g} to {high:g}; expected floats in [0, 1], or uint8; save the images so")
    return (images.float() * 255).round().byte().numpy()


def _tensor(path: Path) -> Tensor:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged pickles raise nearly anything
        raise DataError(f"{path}: cut short or not saved by torch.save ({type(error).__name__}); fetch it again") from None
    if not isinstance(found, Tensor):
        raise DataError(f"{path}: a {type(found).__name__}; expected a tensor; save the tensor alone")
    return found.detach()


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}, shape {tuple(tensor.shape)}"


def background_paths(root: Path) -> list[Path]:
    """The five image files in `root`/backgrounds, sorted by name: m0's is the first. Raises DataError where there are not five."""
    folder = root / "backgrounds"
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES and not path.name.startswith("."))
    if len(paths) != len(NAMES):
        names = ", ".join(path.name for path in paths[:8]) or "none"
        raise DataError(
            f"{folder}: {len(paths)} background images ({names}); expected {len(NAMES)}, one a modality; "
            f"put there {len(NAMES)} files that end in {', '.join(PICTURES)}"
        )
    return paths


def read_background(path: Path) -> Bytes:
    """An image's colours, (3, height, width).

    Raises DataError where it cannot be read, is smaller than a digit, or has more than 8 bits a colour.
    """
    with _opened(path) as image:
        if image.mode.startswith(("I", "F")):  # converted to RGB, nearly every pixel would be white
            raise DataError(f"{path}: mode {image.mode}, more than 8 bits a colour; expected 8; save it with 8 bits")
        if min(image.size) < SIDE:
            raise DataError(f"{path}: {_size(image)}; expected a background of at least {SIDE} x {SIDE}; put a larger one there")
        return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
