"""Brings CelebA's annotations and images together.

Each fault is a DataError of one line. Nothing is downloaded, because Google Drive limits downloads of CelebA by a quota.
"""

import codecs
import filecmp
import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mopoe_core.data.celeba.annotations import check_same_images, read_annotation, read_attributes, read_partition
from mopoe_core.data.celeba.attributes import CELEBA
from mopoe_core.data.celeba.celeba_layouts import (
    ATTRIBUTES,
    PARTITION,
    PICTURES,
    annotations,
    image_folders,
    is_picture,
    no_images,
    root_of,
)
from mopoe_core.data.folder_names import copies_differ, entries, names_in
from mopoe_core.errors import DataError

SPLITS = ("train", "validation", "test")
"""In the order of the partition's values 0, 1, 2."""
FULL_COUNTS = (162_770, 19_867, 19_962)
PUBLISHED = {ATTRIBUTES: "75e246fa4810816ffd6ee81facbd244c", PARTITION: "d32c9cbf5e040fd4025c592c306e6668"}
"""MD5 sums of the released annotations."""


@dataclass(frozen=True)
class Part:
    """The examples of one split."""

    images: tuple[Path, ...]
    labels: NDArray[np.uint8]
    """(N, 40): zeros and ones in the order of `attributes.CELEBA`."""


def read_parts(folder: Path) -> dict[str, Part]:
    """Returns train, validation and test, as the annotations under `folder`/celeba, or under `folder` itself, say.

    The order of examples is that of the attributes' file. Raises DataError if a file is missing or wrong, but looks only at the names of
    the images.
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
    """Raises DataError if a full set does not have the released counts, or if a smaller one has a split without images."""
    count_of_value = Counter(parts.values())
    counts = tuple(count_of_value[value] for value in range(len(SPLITS)))
    if len(parts) == sum(FULL_COUNTS) and counts != FULL_COUNTS:
        raise DataError(f"{path}: {_counts_text(counts)}; expected {_counts_text(FULL_COUNTS)}; download it again")
    if not all(counts):
        raise DataError(f"{path}: {_counts_text(counts)}; expected images in all three; download it again")


def _counts_text(counts: Sequence[int]) -> str:
    return ", ".join(f"{count:,} {split}" for count, split in zip(counts, SPLITS, strict=True))


def _image_folder(root: Path, attributes: Path, labels: Mapping[str, bytes]) -> tuple[Path, dict[str, str]]:
    """Returns the folder that holds the images, and the file of each image that the annotation names.

    Raises DataError if there is no such folder, if an image is missing, or if another folder holds other images of the same names.
    """
    folders = image_folders(root)
    if not folders:
        raise no_images(root)
    files = {folder: _files_of(folder, labels) for folder in folders}
    folder = folders[0]
    missing = [name for name in labels if name not in files[folder]]
    if missing:
        raise _missing(folder, attributes, missing, len(labels))
    for other, other_files in files.items():
        if other != folder:
            _check_copies(folder, files[folder], other, other_files)
    return folder, files[folder]


def _files_of(folder: Path, labels: Mapping[str, bytes]) -> dict[str, str]:
    """Returns, by annotated name, the file of that name, or the only picture with another ending, such as .JPG or .png."""
    try:
        existing = set(os.listdir(folder))
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}); make it readable") from None
    files = {name: name for name in labels if name in existing}
    if len(files) == len(labels):
        return files
    pictures = _by_stem(sorted(existing - files.keys()))  # without files of other images
    for name in labels:
        if name in files:
            continue
        candidates = pictures.get(_stem(name), [])
        if len(candidates) > 1:
            raise DataError(
                f"{folder}: {' and '.join(candidates[:3])} are there for {name}; expected one; keep the right one, move the others away"
            )
        if candidates:
            files[name] = candidates.pop()
    return files


def _by_stem(names: Sequence[str]) -> dict[str, list[str]]:
    pictures: dict[str, list[str]] = {}
    for name in names:
        if is_picture(name):
            pictures.setdefault(_stem(name), []).append(name)
    return pictures


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


def _check_copies(folder: Path, files: Mapping[str, str], other: Path, other_files: Mapping[str, str]) -> None:
    """Raises DataError if another folder holds a different file with the name of an image."""
    for name, file in other_files.items():
        if file == files[name] and not filecmp.cmp(folder / files[name], other / file, shallow=False):
            raise copies_differ(folder, other, f"folder of images, and {name} is not the same in both")


def remarks(folder: Path, parts: Mapping[str, Part]) -> list[str]:
    """Returns remarks on the files that `read_parts` has read: on images that are no JPEG, and on annotations that differ."""
    images = [path for part in parts.values() for path in part.images]
    pngs = [path for path in images if path.suffix.lower() == ".png"]
    lines: list[str] = []
    if pngs:
        lines.append(f"{pngs[0].parent}: {len(pngs):,} of {len(images):,} images are PNG; the published ones are JPEG")
    if len(images) == sum(FULL_COUNTS):
        root = root_of(folder)
        lines += [remark for stem in PUBLISHED for remark in _remarks_on(annotations(root, stem)[0])]
    return lines


def _remarks_on(path: Path) -> list[str]:
    """Returns a remark if a complete `.txt` annotation has another checksum than the released one. Tables have no known checksum."""
    if path.suffix.lower() != ".txt":
        return []
    content = path.read_bytes().removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n")
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    published = PUBLISHED[path.stem.lower()]
    return [] if digest == published else [f"{path}: not the published file (MD5 {digest}, published {published})"]
