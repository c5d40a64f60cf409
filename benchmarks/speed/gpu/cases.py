"""What is measured: networks on random data of the datasets' shapes, so that nothing has to be downloaded or drawn."""

from dataclasses import dataclass, replace

import torch

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.celeba import celeba
from mopoe_core.data.mnist_svhn_text import mnist_svhn_text
from mopoe_core.data.polymnist import polymnist
from mopoe_core.data.types import Dataset, Modality, Split
from mopoe_core.metrics.classifier_networks import classifier
from mopoe_core.metrics.classifiers import Classifiers

MODALITIES = {
    "mnist_svhn_text": mnist_svhn_text.MODALITIES,
    "polymnist": polymnist.modalities(5),
    "celeba": celeba.MODALITIES,
}
EXAMPLES = 2048
REHEARSED_BATCH = 16


@dataclass(frozen=True)
class Case:
    """Networks of a dataset."""

    dataset: str
    networks: str

    @property
    def name(self) -> str:
        """As tables name it."""
        return f"{self.dataset}, {self.networks}"

    def config(self, precision: str, is_rehearsal: bool) -> TrainingConfig:
        """MoPoE with the paper's settings."""
        fields = {"dataset": self.dataset, "networks": self.networks, "model": "mopoe", "precision": precision, "epochs": 2}
        small = {"batch_size": REHEARSED_BATCH, "train_examples": 500, "test_examples": 100, "importance_samples": 3}
        return TrainingConfig.model_validate(fields | (small if is_rehearsal else {"train_examples": EXAMPLES}))


CASES = tuple(Case(dataset, networks) for networks in ("paper", "small") for dataset in MODALITIES)
"""The most important first."""


def random_data(config: TrainingConfig, examples: int = EXAMPLES) -> Dataset:
    """Random items with random labels: how long a step takes does not depend on what they show."""
    modalities, chance = MODALITIES[config.dataset], torch.Generator().manual_seed(0)
    items = {m.name: _items(m, examples, chance) for m in modalities}
    names, classes = config.attributes, len(config.attributes) or config.card.classes
    shape, kinds = ((examples, classes), 2) if names else ((examples,), classes)
    labels = torch.randint(kinds, shape, generator=chance).to(torch.uint8 if names else torch.int64)
    rows = dict.fromkeys(items, torch.arange(examples))
    split = Split(modalities, items, dict.fromkeys(items, labels), rows, labels)
    return Dataset(config.dataset, config.source, modalities, split, split, classes, "random", names)


def _items(modality: Modality, count: int, chance: torch.Generator) -> torch.Tensor:
    text = modality.kind == "text"
    values, shape = (modality.shape[1], modality.shape[:1]) if text else (256, modality.shape)
    return torch.randint(values, (count, *shape), generator=chance).byte()


def untrained_classifiers(dataset: Dataset, device: torch.device) -> Classifiers:
    """The published classifiers with random weights, which take as long as trained ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        networks = {m.name: classifier(m, dataset.classes).to(device).eval().requires_grad_(False) for m in dataset.modalities}
    return Classifiers(networks, {}, "untrained")


def tested_on(dataset: Dataset, examples: int) -> Dataset:
    """The same data with fewer test examples."""
    return replace(dataset, test=dataset.test.take(min(examples, len(dataset.test)), 0))
