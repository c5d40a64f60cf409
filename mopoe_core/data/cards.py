"""The cards of all datasets. Pure: imports no torch, and runs no code but a user's own module."""

from mopoe_core.data.celeba.attributes import CELEBA, DRAWN
from mopoe_core.data.dataset_card import DatasetCard
from mopoe_core.errors import DataError

DATASETS = {
    "mnist_svhn_text": DatasetCard(
        name="mnist_svhn_text",
        modalities=("mnist", "svhn", "text"),
        sources=("embedded", "original"),
        networks=("paper", "small"),
        train_examples={"embedded": 80_000, "original": 1_121_360},
        test_examples={"embedded": 20_000, "original": 200_000},
        classes=10,
    ),
    "polymnist": DatasetCard(
        name="polymnist",
        modalities=("m0", "m1", "m2", "m3", "m4"),
        sources=("embedded", "original"),
        networks=("paper", "small"),
        train_examples={"embedded": 20_000, "original": 60_000},
        test_examples={"embedded": 2_000, "original": 10_000},
        fewest_modalities=2,
        classes=10,
    ),
    "celeba": DatasetCard(
        name="celeba",
        modalities=("image", "text"),
        sources=("embedded", "original"),
        networks=("paper", "small"),
        batch_normed=("paper",),
        train_examples={"embedded": 8_000, "original": 162_770},
        test_examples={"embedded": 2_000, "original": 19_962},
        validation_examples={"embedded": 1_000, "original": 19_867},
        attributes={"embedded": DRAWN, "original": CELEBA},
    ),
}


def check_source(dataset: str, source: str) -> None:
    """Raises DataError if a dataset of `DATASETS` has no such source."""
    sources = DATASETS[dataset].sources
    if source not in sources:
        raise DataError(f"source: {source!r} is not offered for {dataset}; allowed: {', '.join(sources)}")


def is_own(dataset: str) -> bool:
    """Whether a name is that of a user's own dataset: `folder/file.py:function` or `package.module:function`."""
    return ":" in dataset


def find(dataset: str) -> DatasetCard | None:
    """Returns the card of a dataset; None if the name is unknown. For a user's own dataset, its function is called, once.

    Raises DataError if that function cannot be found, fails, or does not return a dataset.
    """
    if is_own(dataset):
        from mopoe_core.data.own import user_data  # imports numpy, and then the user's module: only if one is named

        return user_data.card(dataset)
    return DATASETS.get(dataset)
