"""Bimodal CelebA: a face and the names of its attributes as a text (Appendix E).

`source: original` reads CelebA's aligned images and annotations from the data folder; they are not downloaded. `source: embedded` needs
no files: it draws faces from twenty attributes (`drawn_faces.py`).
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mopoe_core.data.cards import check_source
from mopoe_core.data.celeba.attributes import CELEBA, DRAWN
from mopoe_core.data.celeba.celeba_decoding import CROP, SIDE, decode_all
from mopoe_core.data.celeba.celeba_files import SPLITS, read_parts, remarks
from mopoe_core.data.celeba.celeba_layouts import other_places, places
from mopoe_core.data.celeba.drawn_faces import RENDERER_VERSION, faces
from mopoe_core.data.celeba.face_attributes import sample_attributes
from mopoe_core.data.dataset_cache import Array, Recipe, check_counts, open_built, save, save_remarks
from mopoe_core.data.mnist_svhn_text.mnist_svhn_text import ALPHABET
from mopoe_core.data.types import Dataset, Modality, Split
from mopoe_core.random_streams import seed_of

NAME = "celeba"
TEXT_LENGTH = 256
PADDING = "*"
DATA_SEED = 0
EMBEDDED_TRAIN, EMBEDDED_VALIDATION, EMBEDDED_TEST = 8_000, 1_000, 2_000
MODALITIES = (
    Modality("image", "image", (3, SIDE, SIDE), architecture="celeba_image"),
    Modality("text", "text", (TEXT_LENGTH, len(ALPHABET)), architecture="celeba_text", alphabet=ALPHABET),
)
SMALL_JUDGES = tuple(replace(modality, judge=f"small_{modality.kind}") for modality in MODALITIES)
"""The modalities of the drawn faces. Their small classifiers judge drawn faces almost without error; the published ones would take hours
to train on a CPU."""
_SHARED_IDENTITY = (DATA_SEED, TEXT_LENGTH, PADDING, ALPHABET, SIDE)
_CODE_OF_ASCII = np.zeros(128, dtype=np.uint8)
_CODE_OF_ASCII[[ord(character) for character in ALPHABET]] = np.arange(len(ALPHABET))

Bytes = NDArray[np.uint8]


def load(source: str, folder: Path, test_split: str = "test", expected: Mapping[str, int] | None = None) -> Dataset:
    """Returns the dataset, built once under `folder`/built and mapped from there.

    `source` is `original` (40 attributes) or `embedded` (20). `test_split` says which partition is the dataset's test set: `test`, as in
    the paper, or `validation`, as in the released code. `expected` says how many examples a split must have. Once the dataset is built,
    its files may be deleted; files that are still there must not have changed. Raises DataError if they have, if they are missing or
    wrong before the build, or if the build is damaged. Raises ValueError for another `test_split`.
    """
    if test_split not in ("test", "validation"):
        raise ValueError(f"test_split: {test_split!r} is neither test nor validation")
    check_source(NAME, source)
    if source == "embedded":
        built = open_built(folder, NAME, source, _embedded_recipe(expected or {}))
    else:
        built = open_built(folder, NAME, source, _original_recipe(folder, expected or {}))
        shutil.rmtree(_cache(folder), ignore_errors=True)  # no longer needed: it is for resuming a build
    attributes, modalities = (DRAWN, SMALL_JUDGES) if source == "embedded" else (CELEBA, MODALITIES)
    train, test = (_split(built.arrays, split, modalities) for split in ("train", test_split))
    return Dataset(NAME, source, modalities, train, test, len(attributes), built.hash, attributes, built.remarks, test_split)


def _embedded_recipe(expected: Mapping[str, int]) -> Recipe:
    counts = (EMBEDDED_TRAIN, EMBEDDED_VALIDATION, EMBEDDED_TEST)
    identity = ["embedded", *_SHARED_IDENTITY, RENDERER_VERSION, *counts, *DRAWN]
    return Recipe(identity, partial(_write_embedded, counts), expected)


def _original_recipe(folder: Path, expected: Mapping[str, int]) -> Recipe:
    identity = ["original", *_SHARED_IDENTITY, CROP, *CELEBA]
    return Recipe(identity, partial(_write_original, folder, expected), expected, places(folder), other_places(folder))


def text(present: Sequence[int], names: Sequence[str], rng: np.random.Generator) -> str:
    """Returns 256 characters: the names of the attributes that are present, from a random start, padded with `*` (Appendix E.1).

    `present` (A,) holds zeros and ones in the order of `names`. Names are in lower case with blanks for `_`, joined by `, ` and cut
    after the last that fits. As released, the start is uniform over 0..254 - length, and 0 for a text of 254 characters or more.
    """
    words = [name.replace("_", " ").lower() for name, has in zip(names, present, strict=True) if has]
    while len(joined := ", ".join(words)) > TEXT_LENGTH:
        words.pop()
    start = int(rng.integers(max(TEXT_LENGTH - 1 - len(joined), 1)))
    return (PADDING * start + joined).ljust(TEXT_LENGTH, PADDING)


def texts(labels: Bytes, names: Sequence[str], rng: np.random.Generator) -> Bytes:
    """Returns the character codes (N, 256), uint8, of a text for each row of `labels` (N, A), which holds zeros and ones."""
    all_texts = "".join(text(row, names, rng) for row in labels.tolist())
    codes: Bytes = _CODE_OF_ASCII[np.frombuffer(all_texts.encode("ascii"), dtype=np.uint8)]
    return codes.reshape(len(labels), TEXT_LENGTH)


def _write_embedded(counts: Sequence[int], into: Path) -> None:
    for split, count in zip(SPLITS, counts, strict=True):
        labels = sample_attributes(count, _stream(split, "attributes"))
        save(into, {f"{split}-image": faces(labels, seed_of(DATA_SEED, NAME, split, "faces"))})
        _save_labels(into, split, labels, DRAWN)


def _write_original(folder: Path, expected: Mapping[str, int], into: Path) -> None:
    parts = read_parts(folder)
    counts = {split: len(part.images) for split, part in parts.items()}
    check_counts(f"{folder}: original {NAME}", counts, expected, "fetch them again")  # before minutes go into decoding
    for split, images in decode_all(parts, _cache(folder)).items():
        _link_or_copy(images, into / f"{split}-image.npy")
        _save_labels(into, split, parts[split].labels, CELEBA)
    save_remarks(into, remarks(folder, parts))


def _save_labels(into: Path, split: str, labels: Bytes, names: Sequence[str]) -> None:
    save(into, {f"{split}-labels": labels, f"{split}-text": texts(labels, names, _stream(split, "text"))})


def _stream(*parts: str) -> np.random.Generator:
    return np.random.default_rng(seed_of(DATA_SEED, NAME, *parts))


def _cache(folder: Path) -> Path:
    """Returns the folder in which a build of the original stores decoded images until it is complete."""
    return folder / "built" / f".{NAME}-original.partial"


def _link_or_copy(source: Path, target: Path) -> None:
    """Gives a file a second name. A link does not write 2 GB twice, and they stay in the cache if the build is cut short now."""
    try:
        os.link(source, target)
    except OSError:  # not every file system has hard links
        shutil.copyfile(source, target)


def _split(arrays: Mapping[str, Array], split: str, modalities: tuple[Modality, ...]) -> Split:
    labels = torch.from_numpy(arrays[f"{split}-labels"])
    names = [modality.name for modality in modalities]
    return Split(
        modalities=modalities,
        items={name: torch.from_numpy(arrays[f"{split}-{name}"]) for name in names},
        item_labels={name: labels for name in names},
        rows={name: torch.arange(len(labels)) for name in names},
        labels=labels,
    )
