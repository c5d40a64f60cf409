"""Reads PolyMNIST's files in each of the forms that `polymnist_layouts` finds.

    png          as released, `{split}/m{0..4}/{i}.{label}.png`, where i counts within a label
    tensors      `{split}/m{0..4}.pt` and `{split}/labels.pt`
    backgrounds  only the five background images, from which the dataset is built

Each fault of a file is a DataError of one line.
"""

import os
import re
import struct
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
from mopoe_core.data.grey_range import OVERSHOOT, ROUNDING, in_unit, written
from mopoe_core.data.polymnist.polymnist_layouts import NAMES
from mopoe_core.data.web_pages import is_web_page
from mopoe_core.errors import DataError

SIDE = 28
SHAPE = (3, SIDE, SIDE)
PICTURES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
BLOCK = 1024  # images a task: 60,000 tasks of one image would cost more than the decoding
MANY = 20_000  # for at least so many images, progress is shown
THREADS = min(8, os.cpu_count() or 1)
UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, EOFError, struct.error, Image.DecompressionBombError)
"""Errors that Pillow raises if a file is cut short or damaged."""

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Key = tuple[int, int]
"""(label, i). Examples are sorted by it."""


def read_pngs(folder: Path) -> Iterator[tuple[str, Array]]:
    """Returns an iterator over one split's `labels`, (N,) int64, then m0 to m4, each (N, 3, 28, 28) uint8, in the order of (label, i).

    The call itself checks the names; images are read as the iterator reaches them. Raises DataError if a folder is missing, folders
    hold different names, a name is not `<i>.<label>.png`, or a file is no RGB image of 28 x 28. Hidden files are ignored.
    """
    return _read_pngs(folder, _common_keys(folder))


def _read_pngs(folder: Path, keys: Sequence[Key]) -> Iterator[tuple[str, Array]]:
    yield "labels", np.array([label for label, _ in keys], dtype=np.int64)
    for name in NAMES:
        yield name, _decoded([folder / name / _file_name(key) for key in keys], f"{folder.name}/{name}")


def _common_keys(folder: Path) -> list[Key]:
    """Returns the keys of a split's examples, sorted. Raises DataError if the modalities do not have the same ones."""
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


def _decoded(paths: Sequence[Path], name: str) -> Bytes:
    """Returns images (N, 3, 28, 28). Threads read them: that hides the latency of a cold or distant disk, and does not speed up decoding.

    `name` is shown beside the progress.
    """
    pixels = np.empty((len(paths), *SHAPE), dtype=np.uint8)
    starts = range(0, len(paths), BLOCK)

    def decode(start: int) -> None:
        for path, into in zip(paths[start : start + BLOCK], pixels[start : start + BLOCK], strict=True):
            _decode(path, into)

    with ThreadPoolExecutor(THREADS) as pool:
        blocks = track(
            pool.map(decode, starts),
            f"reading {name}",
            len(starts),
            console=Console(stderr=True),
            disable=len(paths) < MANY,
        )
        for _ in blocks:
            pass
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
        fault = "a web page and no image" if is_web_page(path) else "cut short, damaged or unreadable"
        raise DataError(f"{path}: {fault}; expected an image; fetch or unpack it again") from None


def _size(image: Image.Image) -> str:
    return f"{image.width} x {image.height} pixels"


def read_tensors(folder: Path) -> Iterator[tuple[str, Array]]:
    """Returns an iterator over one split's `labels`, (N,) int64, then m0 to m4, each (N, 3, 28, 28) uint8, in the order of the files.

    Images are uint8, or floats in [0, 1], which become round(255 x). Raises DataError if a file is missing or cannot be read, or if a
    tensor has another type, another shape or values out of range.
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
    for start in range(0, count, BLOCK):  # in parts: scaling all at once would need gigabytes twice
        pixels[start : start + BLOCK] = _scaled(path, images[start : start + BLOCK])
    return pixels


def _check_not_nearly_black(path: Path, images: Tensor) -> None:
    """Raises DataError if the largest value is positive and at most one grey level of 255: then the scale is wrong."""
    high = float(images.max())
    one_level = 1.0 if images.dtype == torch.uint8 else 1.5 / 255  # half a level for rounding
    if 0 < high <= one_level:
        raise DataError(
            f"{path}: {_kind(images)}, none above {high:g}, which is nearly black; expected uint8 up to 255, or floats up to 1; "
            "save the images so"
        )


def _scaled(path: Path, images: Tensor) -> Bytes:
    """Returns images as uint8. Raises DataError if floats are not in [0, 1], but for what rounding to bytes brings back."""
    if images.dtype == torch.uint8:
        return images.numpy()
    low, high = float(images.min()), float(images.max())
    if not in_unit(low, high, ROUNDING):
        advice = "clip them: x.clip(0, 1)" if in_unit(low, high, OVERSHOOT) else "save the images so"
        raise DataError(f"{path}: values from {written(low, high)}; expected floats in [0, 1], or uint8; {advice}")
    return (images.float() * 255).round().byte().numpy()


def _tensor(path: Path) -> Tensor:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged pickles raise nearly anything
        raise DataError(f"{path}: cut short or not saved by torch.save ({type(error).__name__}); fetch it again") from None
    if not isinstance(content, Tensor):
        raise DataError(f"{path}: a {type(content).__name__}; expected a tensor; save the tensor alone")
    return content.detach()


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}, shape {tuple(tensor.shape)}"


def background_paths(root: Path) -> list[Path]:
    """Returns the five image files in `root`/backgrounds, sorted by name, the first for m0. Raises DataError if there are not five."""
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
    """Returns an image's colours, (3, height, width) uint8.

    Raises DataError if it cannot be read, is smaller than a digit, or has more than 8 bits a colour.
    """
    with _opened(path) as image:
        if image.mode.startswith(("I", "F")):  # conversion to RGB would make nearly every pixel white
            raise DataError(f"{path}: mode {image.mode}, more than 8 bits a colour; expected 8; save it with 8 bits")
        if min(image.size) < SIDE:
            raise DataError(f"{path}: {_size(image)}; expected a background of at least {SIDE} x {SIDE}; put a larger one there")
        return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
