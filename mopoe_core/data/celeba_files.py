"""CelebA's files: annotations as `.txt` or `.csv`, checked line by line, and JPEGs decoded once into arrays that a build can resume.

Whatever is wrong with them is one line of a DataError. Nothing is downloaded: CelebA lies behind Google Drive's download quota.
"""

import csv
import hashlib
import os
import re
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

from mopoe_core.data.attributes import CELEBA
from mopoe_core.data.fingerprints import Places
from mopoe_core.data.pages import is_web_page
from mopoe_core.errors import DataError
from mopoe_core.files import write_text

SPLITS = ("train", "validation", "test")
"""In the order of the partition's values 0, 1, 2."""
FULL_COUNTS = (162_770, 19_867, 19_962)
ORIGINAL_SIZE = (178, 218)
"""Width and height of an aligned image, in pixels."""
CROP, SIDE = 148, 64
CHUNK = 512  # images that a build which is cut short may have to decode again
THREADS = min(8, os.cpu_count() or 1)
SECONDS_BETWEEN_LINES = 20.0
ATTRIBUTES, PARTITION, IMAGES = "list_attr_celeba", "list_eval_partition", "img_align_celeba"
FORMS = (".txt", ".csv")
TXT_BEGINNING = re.compile(r"[0-9]+|\S+\s+[012]")
"""The first line of a `.txt`: the number of images, or an image and its part."""
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
    root = _root(folder)
    attributes, partition = _annotation(root, ATTRIBUTES), _annotation(root, PARTITION)
    labels, parts = _read_attributes(attributes), _read_partition(partition)
    _check_same_images(attributes, labels, partition, parts)
    _check_counts(partition, parts)
    images = _image_folder(root)
    _check_images(images, attributes, labels)
    members: dict[int, list[str]] = {value: [] for value in range(len(SPLITS))}
    for name in labels:
        members[parts[name]].append(name)
    return {split: _part(images, members[value], labels) for value, split in enumerate(SPLITS)}


def _part(images: Path, names: Sequence[str], labels: Mapping[str, bytes]) -> Part:
    values = np.frombuffer(b"".join(labels[name] for name in names), dtype=np.uint8)
    return Part(tuple(images / name for name in names), values.reshape(-1, len(CELEBA)))


def places(folder: Path) -> Places:
    """The annotations and the folder of images that `read_parts` reads, where they are there."""
    root = _root(folder)
    found = {stem: _annotations(root, stem) for stem in (ATTRIBUTES, PARTITION)} | {IMAGES: _image_folders(root)}
    return {name: paths[0] for name, paths in found.items() if paths}


def _root(folder: Path) -> Path:
    """The folder `celeba`, or the one above it if only that holds an annotation."""
    below, above = (any(_annotations(root, stem) for stem in (ATTRIBUTES, PARTITION)) for root in (folder / "celeba", folder))
    return folder if above and not below else folder / "celeba"


def _annotations(root: Path, stem: str) -> list[Path]:
    return [path for path in (root / f"{stem}{form}" for form in FORMS) if path.is_file()]


def _annotation(root: Path, stem: str) -> Path:
    """The `.txt`, or else the `.csv`; it is there, no web page, and of the form that its name says."""
    found = _annotations(root, stem)
    if not found:
        raise DataError(
            f"{root}: neither {stem}.txt nor {stem}.csv is there; source: original celeba is not downloaded (Google Drive's quota); put "
            f"there {ATTRIBUTES}.txt and {PARTITION}.txt, or both as .csv, and the folder {IMAGES} with the aligned .jpg files"
        )
    if is_web_page(found[0]):
        raise DataError(
            f"{found[0]}: a web page, as Google Drive gives over its quota; expected CelebA's annotation; download it again"
        )
    _check_form(found[0])
    return found[0]


def _check_form(path: Path) -> None:
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            first = file.readline(2000).strip()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); make it readable") from None
    other = ".csv" if "," in first else ".txt" if TXT_BEGINNING.fullmatch(first) else path.suffix
    if other != path.suffix:
        raise DataError(f"{path}: the first line is {_short(first)}, which is the {other} form; name it {path.stem}{other}")


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The number and the fields of each line that is not empty."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            rows = csv.reader(file) if path.suffix == ".csv" else (line.split() for line in file)
            for number, row in enumerate(rows, 1):
                if row:
                    yield number, [field.strip() for field in row]
    except (OSError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({' '.join(str(error).split())}); download it again") from None


def _read_attributes(path: Path) -> dict[str, bytes]:
    """By image, forty bytes of zeros and ones in the order of `CELEBA`."""
    lines = _lines(path)
    declared = _declared_count(path, lines) if path.suffix == ".txt" else None
    order = _column_order(path, next(lines, (0, []))[1])
    labels: dict[str, bytes] = {}
    codes: dict[str, int] = {}
    for number, (name, *values) in lines:
        codes = codes or _codes(path, values)
        if len(values) != len(CELEBA):
            raise DataError(f"{path}: line {number} has {len(values)} values; expected {len(CELEBA)}; download it again")
        if name in labels:
            raise DataError(f"{path}: line {number} names {name} again; expected each image once; download it again")
        try:
            row = [codes[value] for value in values]
        except KeyError as error:
            allowed = " or ".join(codes)
            raise DataError(
                f"{path}: line {number} has the value {error.args[0]!r}; expected {allowed}; download it again"
            ) from None
        labels[name] = bytes(row if order is None else [row[i] for i in order])
    if declared not in (None, len(labels)):
        raise DataError(
            f"{path}: the first line says {declared} images, {len(labels)} follow; it is cut short; download it again"
        )
    return labels


def _declared_count(path: Path, lines: Iterator[tuple[int, list[str]]]) -> int:
    first = next(lines, (0, []))[1]
    if len(first) != 1 or not (first[0].isascii() and first[0].isdigit()):
        raise DataError(f"{path}: the first line is {_short(' '.join(first))}; expected the number of images; download it again")
    return int(first[0])


def _column_order(path: Path, names: Sequence[str]) -> list[int] | None:
    """Where each of `CELEBA` stands among the columns; None where they are in order."""
    names = names[1:] if path.suffix == ".csv" else names
    unknown, missing = [n for n in names if n not in CELEBA], [n for n in CELEBA if n not in names]
    if unknown or missing or len(names) != len(CELEBA):
        found = (
            f"no CelebA attribute: {_short(unknown[0])}"
            if unknown
            else f"missing: {missing[0]}"
            if missing
            else "one named twice"
        )
        raise DataError(f"{path}: {found} (line of column names); expected the {len(CELEBA)} of CelebA; download it again")
    return None if tuple(names) == CELEBA else [names.index(name) for name in CELEBA]


def _codes(path: Path, values: Sequence[str]) -> dict[str, int]:
    """-1 and 1 as released; in a `.csv` whose first row has a 0, 0 and 1."""
    return {"0": 0, "1": 1} if path.suffix == ".csv" and "0" in values else {"-1": 0, "1": 1}


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def _read_partition(path: Path) -> dict[str, int]:
    """By image, 0, 1 or 2."""
    parts: dict[str, int] = {}
    lines = _lines(path)
    if path.suffix == ".csv":
        header = next(lines, (0, []))[1]
        if len(header) != 2 or header[0] != "image_id":
            raise DataError(
                f"{path}: the first line is {_short(','.join(header))}; expected image_id,partition; download it again"
            )
    for number, row in lines:
        if len(row) != 2 or row[1] not in ("0", "1", "2"):
            raise DataError(
                f"{path}: line {number} is {_short(' '.join(row))}; expected an image and 0, 1 or 2; download it again"
            )
        if row[0] in parts:
            raise DataError(f"{path}: line {number} names {row[0]} again; expected each image once; download it again")
        parts[row[0]] = int(row[1])
    return parts


def _check_same_images(attributes: Path, labels: Mapping[str, bytes], partition: Path, parts: Mapping[str, int]) -> None:
    for here, there, left, right in ((attributes, partition, labels, parts), (partition, attributes, parts, labels)):
        alone = [name for name in left if name not in right]
        if alone:
            raise DataError(
                f"{there}: {len(alone)} images of {here.name} are not in it, the first is {alone[0]}; expected the same images in "
                "both; download both again"
            )


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


def _image_folders(root: Path) -> list[Path]:
    """`img_align_celeba`, and before it the folder of that name in it, as Kaggle's archive unpacks."""
    return [folder for folder in (root / IMAGES / IMAGES, root / IMAGES) if folder.is_dir()]


def _image_folder(root: Path) -> Path:
    for folder in _image_folders(root):
        return folder
    archive = root / f"{IMAGES}.zip"
    if not archive.is_file():
        raise DataError(f"{root / IMAGES}: not there; expected a folder with the aligned .jpg files; unpack {archive.name} there")
    if is_web_page(archive):
        raise DataError(f"{archive}: a web page, as Google Drive gives over its quota, and no archive; download it again")
    if not zipfile.is_zipfile(archive):
        raise DataError(f"{archive}: cut short or no zip archive ({archive.stat().st_size:,} bytes); download it again")
    raise DataError(f"{archive}: not unpacked; expected the folder {root / IMAGES}; unpack it (unzip {archive} -d {root})")


def _check_images(folder: Path, attributes: Path, labels: Mapping[str, bytes]) -> None:
    try:
        there = set(os.listdir(folder))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}); make it readable") from None
    missing = [name for name in labels if name not in there]
    if missing:
        raise DataError(
            f"{folder / missing[0]}: not there, though {attributes.name} names it ({len(missing):,} of {len(labels):,} images are "
            "missing); unpack the archive again"
        )


def decode(path: Path) -> Bytes:
    """(3, 64, 64) RGB: the middle 148 x 148 of the aligned image, resized by an antialiased bicubic filter.

    Raises DataError where the file is no image, cut short, damaged or not 178 x 218.
    """
    try:
        with Image.open(path) as image:
            if image.size != ORIGINAL_SIZE:
                found, expected = (" x ".join(map(str, size)) for size in (image.size, ORIGINAL_SIZE))
                raise DataError(
                    f"{path}: {found} pixels; expected {expected}, the aligned images; unpack img_align_celeba.zip again"
                )
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
            print(f"{self.what}: {self.done:,} of {self.total:,} images", file=sys.stderr, flush=True)
