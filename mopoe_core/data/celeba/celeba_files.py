"""CelebA's examples: annotations and images brought together, and images decoded once into arrays that a build can resume.

Whatever is wrong with them is one line of a DataError. Nothing is downloaded: CelebA lies behind Google Drive's download quota.
"""

import codecs
import filecmp
import hashlib
import os
import shutil
import struct
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mopoe_core.data.celeba.annotations import check_same_images, read_annotation, read_attributes, read_partition
from mopoe_core.data.celeba.attributes import CELEBA
from mopoe_core.data.celeba.celeba_layouts import (
    ATTRIBUTES,
    IMAGES,
    PARTITION,
    PICTURES,
    annotations,
    archives,
    image_folders,
    is_picture,
    root_of,
)
from mopoe_core.data.folder_names import entries, names_in, refuse_two
from mopoe_core.data.web_pages import is_web_page
from mopoe_core.errors import DataError
from mopoe_core.storage.files import write_text
from mopoe_core.terminal import complain

SPLITS = ("train", "validation", "test")
"""In the order of the partition's values 0, 1, 2."""
FULL_COUNTS = (162_770, 19_867, 19_962)
ORIGINAL_SIZE = (178, 218)
"""Width and height of an aligned image, in pixels."""
CROP, SIDE = 148, 64
CHUNK = 512  # images that a build which is cut short may have to decode again
THREADS = min(8, os.cpu_count() or 1)
SECONDS_BETWEEN_LINES = 20.0
PUBLISHED = {ATTRIBUTES: "75e246fa4810816ffd6ee81facbd244c", PARTITION: "d32c9cbf5e040fd4025c592c306e6668"}
"""MD5 sums of the released annotations."""
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
"""What Pillow raises at files that are cut short or damaged."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Part:
    """The examples of one split."""

    images: tuple[Path, ...]
    labels: Bytes
    """(N, 40): zeros and ones in the order of `attributes.CELEBA`."""


def read_parts(folder: Path) -> dict[str, Part]:
    """Train, validation and test as the annotations under `folder`/celeba say, or under `folder` itself if they lie there.

    The order of examples is that of the attributes' file. Raises DataError for every way in which a file is missing or wrong, but
    looks at the images' names only.
    """
    root = root_of(folder)
    attributes, labels = read_annotation(root, ATTRIBUTES, read_attributes)
    partition, parts = read_annotation(root, PARTITION, read_partition)
    check_same_images(attributes, labels, partition, parts)
    _check_counts(partition, parts)
    images, files = _image_folder(root, attributes, labels)
    members: dict[int, list[str]] = {value: [] for value in range(len(SPLITS))}
    for name in labels:
        members[parts[name]].append(name)
    return {split: _part(images, members[value], labels, files) for value, split in enumerate(SPLITS)}


def _part(images: Path, names: Sequence[str], labels: Mapping[str, bytes], files: Mapping[str, str]) -> Part:
    values = np.frombuffer(b"".join(labels[name] for name in names), dtype=np.uint8)
    return Part(tuple(images / files[name] for name in names), values.reshape(-1, len(CELEBA)))


def _check_counts(path: Path, parts: Mapping[str, int]) -> None:
    """The released counts in a full set; in a smaller one, at least one image a split."""
    count = Counter(parts.values())
    counts = tuple(count[value] for value in range(len(SPLITS)))
    if len(parts) == sum(FULL_COUNTS) and counts != FULL_COUNTS:
        raise DataError(f"{path}: {_of_splits(counts)}; expected {_of_splits(FULL_COUNTS)}; download it again")
    if not all(counts):
        raise DataError(f"{path}: {_of_splits(counts)}; expected images in all three; download it again")


def _of_splits(counts: Sequence[int]) -> str:
    return ", ".join(f"{count:,} {split}" for count, split in zip(counts, SPLITS, strict=True))


def _image_folder(root: Path, attributes: Path, labels: Mapping[str, bytes]) -> tuple[Path, dict[str, str]]:
    """The folder that holds the images, and the file of each image that the annotation names.

    Raises DataError where there is none, where an image is missing, or where another folder holds other images of the same names.
    """
    folders = image_folders(root)
    if not folders:
        raise _no_images(root)
    files = {folder: _files_of(folder, labels) for folder in folders}
    folder = folders[0]
    missing = [name for name in labels if name not in files[folder]]
    if missing:
        raise _missing(folder, attributes, missing, len(labels))
    for other, found in files.items():
        if other != folder:
            _check_copies(folder, files[folder], other, found)
    return folder, files[folder]


def _files_of(folder: Path, labels: Mapping[str, bytes]) -> dict[str, str]:
    """By annotated name, the file of that name; or the only picture whose name differs in its ending, as .JPG and .png do."""
    try:
        there = set(os.listdir(folder))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}); make it readable") from None
    found = {name: name for name in labels if name in there}
    if len(found) == len(labels):
        return found
    by_stem: dict[str, list[str]] = {}
    for name in sorted(there - found.keys()):  # no file is read for two images
        if is_picture(name):
            by_stem.setdefault(_stem(name), []).append(name)
    for name in (name for name in labels if name not in found):
        alike = by_stem.get(_stem(name), [])
        if len(alike) > 1:
            raise DataError(
                f"{folder}: {' and '.join(alike[:3])} are there for {name}; expected one; keep the right one, move the others away"
            )
        if alike:
            found[name] = alike.pop()
    return found


def _stem(name: str) -> str:
    return os.path.splitext(name)[0].lower()


def _missing(folder: Path, attributes: Path, missing: Sequence[str], count: int) -> DataError:
    advice = "unpack the archive again"
    if len(entries(folder)) >= count:
        advice = f"name the images as {attributes.name} does ({', '.join(PICTURES)}), or bring its own images"
    return DataError(
        f"{folder / missing[0]}: not there, though {attributes.name} names it ({len(missing):,} of {count:,} images are missing); "
        f"{folder} has {names_in(folder)}; {advice}"
    )


def _check_copies(folder: Path, files: Mapping[str, str], other: Path, found: Mapping[str, str]) -> None:
    """Raise DataError where another folder holds a differing file of one of the images' names."""
    for name, file in found.items():
        if file == files[name] and not filecmp.cmp(folder / files[name], other / file, shallow=False):
            raise refuse_two(folder, other, f"folder of images, and {name} is not the same in both")


def _no_images(root: Path) -> DataError:
    """What is there in place of the folder of images."""
    archive = next(iter(archives(root)), None)
    if archive is None:
        return DataError(
            f"{root / IMAGES}: not there; expected a folder with the aligned .jpg files; {root} has {names_in(root)}; unpack "
            f"{IMAGES}.zip there"
        )
    if is_web_page(archive):
        return DataError(f"{archive}: a web page, as Google Drive gives over its quota, and no archive; download it again")
    if archive.suffix.lower() == ".zip" and not zipfile.is_zipfile(archive):
        return DataError(f"{archive}: cut short or no zip archive ({archive.stat().st_size:,} bytes); download it again")
    how = f" (unzip {archive} -d {root})" if archive.suffix.lower() == ".zip" else f" in {root}"
    return DataError(f"{archive}: not unpacked; expected the folder {root / IMAGES}; unpack it{how}")


def remarks(folder: Path, parts: Mapping[str, Part]) -> list[str]:
    """What is to be said of the files that `read_parts` has read: images that are no JPEG, and annotations that differ."""
    images = [path for part in parts.values() for path in part.images]
    others = [path for path in images if path.suffix.lower() == ".png"]
    said = (
        [f"{others[0].parent}: {len(others):,} of {len(images):,} images are PNG; the published ones are JPEG"] if others else []
    )
    if len(images) == sum(FULL_COUNTS):
        root = root_of(folder)
        said += [remark for stem in PUBLISHED for remark in _remark_on(annotations(root, stem)[0])]
    return said


def _remark_on(path: Path) -> list[str]:
    """That a whole annotation as released has another checksum; tables have none."""
    if path.suffix.lower() != ".txt":
        return []
    content = path.read_bytes().removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n")
    digest, published = hashlib.md5(content, usedforsecurity=False).hexdigest(), PUBLISHED[path.stem.lower()]
    return [] if digest == published else [f"{path}: not the published file (MD5 {digest}, published {published})"]


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
