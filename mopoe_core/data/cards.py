"""What can be said of a dataset before it is loaded. Pure: no torch, and nothing read but a user's own module."""

from dataclasses import dataclass, field

from mopoe_core.data.celeba.attributes import CELEBA, DRAWN
from mopoe_core.errors import DataError


@dataclass(frozen=True)
class DataKey:
    """Which arrays a configuration is trained and evaluated on."""

    dataset: str
    source: str
    modalities: int
    evaluate_on: str


@dataclass(frozen=True)
class DatasetCard:
    """What can be said of a dataset before it is loaded."""

    name: str
    modalities: tuple[str, ...]
    sources: tuple[str, ...]
    networks: tuple[str, ...]
    train_examples: dict[str, int]
    """Training examples by source."""
    test_examples: dict[str, int]
    """Test examples by source."""
    fewest_modalities: int = 0
    """Where the first so many modalities are a dataset too; 0 where it is all or nothing."""
    attributes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By source, where labels are attributes."""
    classes: int = 0
    """Number of classes, where labels are classes."""
    validation_examples: dict[str, int] = field(default_factory=dict)
    """By source, where there is a validation partition."""
    data_hash: str = ""
    """Of a user's own dataset: a fingerprint of its arrays, likelihoods, alphabets and networks, part of every identity."""


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
        train_examples={"embedded": 8_000, "original": 162_770},
        test_examples={"embedded": 2_000, "original": 19_962},
        validation_examples={"embedded": 1_000, "original": 19_867},
        attributes={"embedded": DRAWN, "original": CELEBA},
    ),
}


def check_source(dataset: str, source: str) -> None:
    """Raise DataError where a dataset of `DATASETS` has no such source."""
    sources = DATASETS[dataset].sources
    if source not in sources:
        raise DataError(f"source: {source!r} is not offered for {dataset}; allowed: {', '.join(sources)}")


def is_own(dataset: str) -> bool:
    """Whether a name is that of a user's function: `folder/file.py:function` or `package.module:function`."""
    return ":" in dataset


def find(dataset: str) -> DatasetCard | None:
    """The card of a dataset; None where the name is unknown. A user's own function is called once for it.

    Raises DataError where that function cannot be found or returns something else than a dataset.
    """
    if is_own(dataset):
        from mopoe_core.data.own import user_data  # numpy, and the user's module: only where one is named

        return user_data.card(dataset)
    return DATASETS.get(dataset)
