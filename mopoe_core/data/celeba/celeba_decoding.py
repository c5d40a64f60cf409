"""Decodes CelebA's images into arrays. A build that was cut short goes on with the images that are not yet decoded."""

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
from mopoe_core.data.celeba.celeba_layouts import IMAGES
from mopoe_core.data.web_pages import is_web_page
from mopoe_core.errors import DataError
from mopoe_core.storage.whole_files import write_text
from mopoe_core.terminal import complain

ORIGINAL_SIZE = (178, 218)
"""Width and height of an aligned image, in pixels."""
CROP, SIDE = 148, 64
CHUNK = 512  # images; a build that is cut short must decode at most so many again
THREADS = min(8, os.cpu_count() or 1)
SECONDS_BETWEEN_LINES = 20.0
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
"""Errors that Pillow raises if a file is cut short or damaged."""

Bytes = NDArray[np.uint8]


def decode(path: Path) -> Bytes:
    """Returns (3, 64, 64) RGB, uint8: the middle 148 x 148 of the aligned image, resized by an antialiased bicubic filter.

    Raises DataError if the file is no image, cut short, damaged or not 178 x 218.
    """
    try:
        with Image.open(path) as image:
            if image.size != ORIGINAL_SIZE:
                actual, expected = (" x ".join(map(str, size)) for size in (image.size, ORIGINAL_SIZE))
                raise DataError(f"{path}: {actual} pixels; expected {expected}; put the aligned images of {IMAGES}.zip there")
            if image.mode.startswith(("I", "F")):  # conversion to RGB would make nearly every pixel white
                raise DataError(f"{path}: mode {image.mode}, more than 8 bits a colour; expected 8; unpack the archive again")
            left, top = ((length - CROP) // 2 for length in ORIGINAL_SIZE)
            middle = image.convert("RGB").crop((left, top, left + CROP, top + CROP))
            return np.asarray(middle.resize((SIDE, SIDE), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    except UNREADABLE as error:
        reason = "a web page" if is_web_page(path) else " ".join(str(error).split())
        raise DataError(f"{path}: no image that can be read ({reason}); expected a JPEG; unpack the archive again") from None


def decode_all(parts: Mapping[str, Part], cache: Path) -> dict[str, Path]:
    """Decodes every split's images into an array (N, 3, 64, 64) in `cache`/<split>.npy, and returns these paths by split.

    Progress is shown on standard error. Images that an earlier call for the same list has decoded are used, up to the first that has
    changed since. Raises DataError as `decode` does, or if the cache cannot be written.
    """
    targets = {split: cache / f"{split}.npy" for split in parts}
    try:
        _clear_if_other(cache, hashlib.sha256(repr([part.images for part in parts.values()]).encode()).hexdigest())
        done = sum(_done(targets[split], part.images) for split, part in parts.items())
        total = sum(len(part.images) for part in parts.values())
        with _progress(total, done) as advance, ThreadPoolExecutor(THREADS) as pool:
            for split, part in parts.items():
                _decode_split(part.images, targets[split], pool, advance)
    except OSError as error:
        raise DataError(
            f"{cache}: cannot be written ({error.strerror}); make room (2.5 GB for all of CelebA) and start again"
        ) from None
    return targets


def _clear_if_other(cache: Path, identity: str) -> None:
    """Empties the cache if it belongs to another list of images, and writes the identity of this list into it."""
    marker = cache / "images.sha256"
    if marker.is_file() and marker.read_text(encoding="utf-8") == identity:
        return
    shutil.rmtree(cache, ignore_errors=True)
    write_text(marker, identity)


def _decode_split(images: Sequence[Path], target: Path, pool: ThreadPoolExecutor, advance: Callable[[int], None]) -> None:
    """Appends chunk after chunk. The counter is raised when a chunk is on disk, so it is never too high."""
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
    """Returns the header of a `.npy` file with `count` images."""
    buffer = BytesIO()
    description = {"descr": "|u1", "fortran_order": False, "shape": (count, 3, SIDE, SIDE)}
    np.lib.format.write_array_header_1_0(buffer, description)
    return buffer.getvalue()


def _counter(target: Path) -> Path:
    return target.with_suffix(".done")


def _done(target: Path, images: Sequence[Path]) -> int:
    """Returns the number of images that an earlier build has decoded, up to the first that has changed since."""
    counter = _counter(target)
    if not (target.is_file() and counter.is_file()):
        return 0
    done = int(counter.read_text(encoding="utf-8"))
    if target.stat().st_size < len(_header(len(images))) + done * 3 * SIDE**2:
        return 0
    time_ns = counter.stat().st_mtime_ns
    return next((i for i, path in enumerate(images[:done]) if _changed_after(path, time_ns)), done)


def _changed_after(path: Path, time_ns: int) -> bool:
    """Whether a file's inode changed after this time. Unlike the file's own time, no archive and no `cp -p` sets this one back.

    True if the file cannot be read: decoding will report the reason.
    """
    try:
        return path.stat().st_ctime_ns > time_ns
    except OSError:
        return True


@contextmanager
def _progress(total: int, done: int) -> Iterator[Callable[[int], None]]:
    """Shows a bar if standard error is a terminal, else a line now and then. Yields the function that advances it by some images."""
    title = "decoding CelebA"
    if not sys.stderr.isatty():
        yield _ProgressLines(title, total, done).advance
        return
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total, completed=done)
        yield lambda count: bar.advance(task, count)


class _ProgressLines:
    """Shows progress in plain lines."""

    def __init__(self, title: str, total: int, done: int) -> None:
        self.title, self.total, self.done = title, total, done
        self.last_line = time.monotonic()

    def advance(self, count: int) -> None:
        self.done += count
        if time.monotonic() - self.last_line >= SECONDS_BETWEEN_LINES:
            self.last_line = time.monotonic()
            complain(f"{self.title}: {self.done:,} of {self.total:,} images")
