"""Loads the dataset of a key. A loader is imported when it is needed, because torchvision and mlxtend take seconds to import."""

from collections.abc import Callable, Mapping
from pathlib import Path

from mopoe_core.data.availability import check_folder
from mopoe_core.data.cards import DATASETS, is_own
from mopoe_core.data.dataset_card import DataKey, DatasetCard
from mopoe_core.data.types import Dataset
from mopoe_core.errors import DataError
from mopoe_core.spelling import choose

Loader = Callable[[DataKey, Path, Mapping[str, int]], Dataset]
"""Its arguments are a key, the folder of datasets, and how many examples each split must have."""


def load(key: DataKey, folder: Path) -> Dataset:
    """Returns the dataset, which is built under `folder` if that has not been done.

    Raises DataError if there is no such dataset or source; if its files are missing or wrong, have other counts than its card says, or
    have changed since the dataset was built from them; or if `folder` is a file.
    """
    if is_own(key.dataset):
        from mopoe_core.data.own import user_data

        return user_data.load(key.dataset)
    try:
        card: DatasetCard = choose("dataset", key.dataset, DATASETS)
        choose("source", key.source, card.sources)
        choose("evaluate_on", key.evaluate_on, ("test", "validation") if card.validation_examples else ("test",))
        loader: Loader = choose("dataset", key.dataset, LOADERS)
    except ValueError as error:  # the key of a configuration is already checked; one that was made by hand is not
        raise DataError(str(error)) from None
    check_folder(folder)
    return loader(key, folder, _expected(card, key.source))


def _expected(card: DatasetCard, source: str) -> dict[str, int]:
    """Returns the number of examples by split, without splits that the dataset lacks."""
    examples = {"train": card.train_examples, "validation": card.validation_examples, "test": card.test_examples}
    return {split: count_of_source[source] for split, count_of_source in examples.items() if count_of_source}


def _mnist_svhn_text(key: DataKey, folder: Path, expected: Mapping[str, int]) -> Dataset:
    from mopoe_core.data.mnist_svhn_text import mnist_svhn_text

    return mnist_svhn_text.load(key.source, folder, expected)


def _polymnist(key: DataKey, folder: Path, expected: Mapping[str, int]) -> Dataset:
    from mopoe_core.data.polymnist import polymnist

    return polymnist.load(key.source, folder, key.modalities, expected)


def _celeba(key: DataKey, folder: Path, expected: Mapping[str, int]) -> Dataset:
    from mopoe_core.data.celeba import celeba

    return celeba.load(key.source, folder, key.evaluate_on, expected)


LOADERS: dict[str, Loader] = {"mnist_svhn_text": _mnist_svhn_text, "polymnist": _polymnist, "celeba": _celeba}
"""One for each of `cards.DATASETS`."""
