"""CelebA's images decoded once, into arrays that a build can resume."""

import hashlib
import os
import shutil
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mopoe_core.data.celeba.celeba_files import Part
from mopoe_core.data.celeba.celeba_layouts import (
    IMAGES,
)
from mopoe_core.data.web_pages import is_web_page
from mopoe_core.errors import DataError
from mopoe_core.storage.whole_files import write_text
from mopoe_core.terminal import complain

ORIGINAL_SIZE = (178, 218)
"""Width and height of an aligned image, in pixels."""
CROP, SIDE = 148, 64
CHUNK = 512  # images that a build which is cut short may have to decode again
THREADS = min(8, os.cpu_count() or 1)
SECONDS_BETWEEN_LINES = 20.0
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
"""What Pillow raises at files that are cut short or damaged."""

Bytes = NDArray[np.uint8]


def decode(path: Path) -> Bytes:
    """(3, 64, 64) RGB: the middle 148 x 148 of the aligned image, resized by an antialiased bicubic filter.

    Raises DataError where the file is no image, cut short, damaged or not 178 x 218.
    """
    try:
        with Image.open(path) as image:
            if image.size != ORIGINAL_SIZE:
                found, expected = (" x ".join(map(str, size)) for size in (image.size, ORIGINAL_SIZE))
                raise DataError(f"{path}: {found} pixels; expected {expected}; put the aligned images of {IMAGES}.zip there")
            if image.mode.startswith(("I", "F")):  # converted to RGB, nearly every pixel would be white
                raise DataError(f"{path}: mode {image.mode}, more than 8 bits a colour; expected 8; unpack the archive again")
            left, top = ((length - CROP) // 2 for length in ORIGINAL_SIZE)
            middle = image.convert("RGB").crop((left, top, left + CROP, top + CROP))
            return np.asarray(middle.resize((SIDE, SIDE), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    except UNREADABLE as error:
        reason = "a web page" if is_web_page(path) else " ".join(str(error).split())
        raise DataError(f"{path}: no image that can be read ({reason}); expected a JPEG; unpack the archive again") from None


def decode_all(parts: Mapping[str, Part], cache: Path) -> dict[str, Path]:
    """Every split's images as an array (N, 3, 64, 64) in `cache`/<split>.npy; says on standard error how far it is.

    What an earlier call for the same images has done is kept, up to the first image that has changed since. Raises DataError as
    `decode`, or where the disk is full.
    """
    targets = {split: cache / f"{split}.npy" for split in parts}
    try:
        _keep_or_clear(cache, hashlib.sha256(repr([part.images for part in parts.values()]).encode()).hexdigest())
        done = sum(_done(targets[split], part.images) for split, part in parts.items())
        with _shown(sum(len(part.images) for part in parts.values()), done) as advance, ThreadPoolExecutor(THREADS) as pool:
            for split, part in parts.items():
                _decode_split(part.images, targets[split], pool, advance)
    except OSError as error:
        raise DataError(
            f"{cache}: cannot be written ({error.strerror}); make room (2.5 GB for all of CelebA) and start again"
        ) from None
    return targets


def _keep_or_clear(cache: Path, identity: str) -> None:
    """Leave nothing of another list of images."""
    marker = cache / "images.sha256"
    if marker.is_file() and marker.read_text(encoding="utf-8") == identity:
        return
    shutil.rmtree(cache, ignore_errors=True)
    write_text(marker, identity)


def _decode_split(images: Sequence[Path], target: Path, pool: ThreadPoolExecutor, advance: Callable[[int], None]) -> None:
    """Append chunk after chunk; the counter follows when a chunk is on the disk, so it never says too much."""
    header, done = _header(len(images)), _done(target, images)
    with target.open("r+b" if done else "wb") as file:
        file.write(header)
        file.seek(len(header) + done * 3 * SIDE**2)
        file.truncate()
        for start in range(done, len(images), CHUNK):
            chunk = list(pool.map(decode, images[start : start + CHUNK]))
            file.write(np.stack(chunk).tobytes())
            file.flush()
            os.fsync(file.fileno())
            write_text(_counter(target), str(start + len(chunk)))
            advance(len(chunk))


def _header(count: int) -> bytes:
    """Of a `.npy` file with `count` images."""
    buffer = BytesIO()
    description = {"descr": "|u1", "fortran_order": False, "shape": (count, 3, SIDE, SIDE)}
    np.lib.format.write_array_header_1_0(buffer, description)
    return buffer.getvalue()


def _counter(target: Path) -> Path:
    return target.with_suffix(".done")


def _done(target: Path, images: Sequence[Path]) -> int:
    """Images that an earlier build has finished, up to the first that has changed since."""
    if not (target.is_file() and _counter(target).is_file()):
        return 0
    done, then = int(_counter(target).read_text(encoding="utf-8")), _counter(target).stat().st_mtime_ns
    if target.stat().st_size < len(_header(len(images))) + done * 3 * SIDE**2:
        return 0
    return next((i for i, path in enumerate(images[:done]) if _changed_after(path, then)), done)


def _changed_after(path: Path, then: int) -> bool:
    """By the time of its inode, which no archive and no `cp -p` sets back; true as well for what decoding will say more of."""
    try:
        return path.stat().st_ctime_ns > then
    except OSError:
        return True


@contextmanager
def _shown(total: int, done: int) -> Iterator[Callable[[int], None]]:
    """A bar where standard error is a terminal, else a line now and then. Yields what is told of progress."""
    what = "decoding CelebA"
    if not sys.stderr.isatty():
        yield _Lines(what, total, done).advance
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total, completed=done)
        yield lambda count: bar.advance(task, count)


class _Lines:
    """Progress in plain lines."""

    def __init__(self, what: str, total: int, done: int) -> None:
        self.what, self.total, self.done = what, total, done
        self.said = time.monotonic()

    def advance(self, count: int) -> None:
        self.done += count
        if time.monotonic() - self.said >= SECONDS_BETWEEN_LINES:
            self.said = time.monotonic()
            complain(f"{self.what}: {self.done:,} of {self.total:,} images")
