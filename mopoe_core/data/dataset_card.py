"""What can be said of a dataset before it is loaded. Pure."""

from dataclasses import dataclass, field


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
