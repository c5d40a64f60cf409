"""The measured cases: networks on random data of the datasets' shapes, so that no data has to be downloaded or generated."""

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
    """A dataset and a kind of networks."""

    dataset: str
    networks: str

    @property
    def name(self) -> str:
        """The name of the case in tables."""
        return f"{self.dataset}, {self.networks}"

    def config(self, precision: str, is_rehearsal: bool) -> TrainingConfig:
        """Returns MoPoE with the paper's settings; smaller ones for a rehearsal."""
        fields = {"dataset": self.dataset, "networks": self.networks, "model": "mopoe", "precision": precision, "epochs": 2}
        small = {"batch_size": REHEARSED_BATCH, "train_examples": 500, "test_examples": 100, "importance_samples": 3}
        return TrainingConfig.model_validate(fields | (small if is_rehearsal else {"train_examples": EXAMPLES}))


CASES = tuple(Case(dataset, networks) for networks in ("paper", "small") for dataset in MODALITIES)
"""The most important first."""


def random_data(config: TrainingConfig, examples: int = EXAMPLES) -> Dataset:
    """Returns random items with random labels: the time of a step does not depend on their content."""
    modalities, rng = MODALITIES[config.dataset], torch.Generator().manual_seed(0)
    items = {m.name: _items(m, examples, rng) for m in modalities}
    attributes, classes = config.attributes, len(config.attributes) or config.card.classes
    if attributes:
        labels = torch.randint(2, (examples, classes), generator=rng).to(torch.uint8)
    else:
        labels = torch.randint(classes, (examples,), generator=rng)
    rows = dict.fromkeys(items, torch.arange(examples))
    split = Split(modalities, items, dict.fromkeys(items, labels), rows, labels)
    return Dataset(config.dataset, config.source, modalities, split, split, classes, "random", attributes)


def _items(modality: Modality, count: int, rng: torch.Generator) -> torch.Tensor:
    """Returns random items as a dataset stores them: characters as codes, pictures as bytes."""
    is_text = modality.kind == "text"
    values, shape = (modality.shape[1], modality.shape[:1]) if is_text else (256, modality.shape)
    return torch.randint(values, (count, *shape), generator=rng).byte()


def untrained_classifiers(dataset: Dataset, device: torch.device) -> Classifiers:
    """Returns the published classifiers with random weights; they take as long as trained ones."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        networks = {m.name: classifier(m, dataset.classes).to(device).eval().requires_grad_(False) for m in dataset.modalities}
    return Classifiers(networks, {}, "untrained")


def tested_on(dataset: Dataset, examples: int) -> Dataset:
    """Returns the same data with at most this many test examples."""
    return replace(dataset, test=dataset.test.take(min(examples, len(dataset.test)), 0))
