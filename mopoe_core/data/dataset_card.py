"""What is known of a dataset before it is loaded. Pure."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class DataKey:
    """What determines the arrays that a configuration is trained and evaluated on."""

    dataset: str
    source: str
    modalities: int
    """How many, from the first on."""
    evaluate_on: str


@dataclass(frozen=True)
class DatasetCard:
    """What is known of a dataset before it is loaded."""

    name: str
    modalities: tuple[str, ...]
    sources: tuple[str, ...]
    networks: tuple[str, ...]
    train_examples: dict[str, int]
    """Training examples by source."""
    test_examples: dict[str, int]
    """Test examples by source."""
    fewest_modalities: int = 0
    """How many modalities a configuration must use at least; 0 if it must use all."""
    attributes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By source, the names of the attributes; empty if labels are classes."""
    classes: int = 0
    """Number of classes; 0 if labels are attributes."""
    validation_examples: dict[str, int] = field(default_factory=dict)
    """Validation examples by source; empty if there is no validation partition."""
    batch_normed: tuple[str, ...] = ()
    """Those of `networks` that have batch norm, which cannot be trained with batches of one example."""
    takes_likelihood: bool = True
    """Whether some modality has the configuration's `likelihood`, and not one of its own."""
    data_hash: str = ""
    """Only for a user's own dataset: a fingerprint of its arrays, likelihoods, alphabets and networks, part of every identity."""

    def evaluation_examples(self, evaluate_on: Any) -> dict[str, int]:
        """Returns by source how many examples the partition has on which `evaluate_on` (`test` or `validation`) has trials evaluated."""
        return self.validation_examples if evaluate_on == "validation" else self.test_examples
