"""Training a classifier that judges coherence, and measuring its quality on test items."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mopoe_core.data.types import Dataset, Modality
from mopoe_core.metrics import classifier_quality
from mopoe_core.metrics.classifier_networks import classifier, recipe
from mopoe_core.metrics.classifier_quality import Quality
from mopoe_core.random_streams import generator, seed_of

BATCH = 128
MINIMUM_STEPS = 300  # a text modality has only some 40 distinct strings, so an epoch is one small batch
LEARNING_RATE = 1e-3
IMBALANCE = 5
"""If the commonest class has more than this many times the items of the rarest, training draws every class equally often, because a
classifier may otherwise ignore the rare classes. The original SVHN has a ratio of 3, so its classifier is trained as published."""


def fit(dataset: Dataset, modality: Modality) -> nn.Module:
    """Returns a trained classifier, in evaluation mode.

    Adam minimises the cross-entropy of the class, or of each attribute, on the distinct training items.
    """
    items, labels = dataset.train.items[modality.name], dataset.train.item_labels[modality.name]
    batch = min(BATCH, len(labels))
    steps_per_epoch = len(labels) // batch
    steps = max(MINIMUM_STEPS, recipe(modality).epochs * steps_per_epoch)
    order_rng = generator(torch.device("cpu"), "classifier", modality.name, "order")
    with torch.random.fork_rng(devices=[]):  # dropout and initialisation draw from the global generator
        torch.default_generator.manual_seed(seed_of("classifier", modality.name, "weights"))
        network = classifier(modality, dataset.classes)
        optimiser = torch.optim.Adam(network.parameters(), LEARNING_RATE, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3 * LEARNING_RATE, total_steps=steps)
        for step in range(steps):
            if step % steps_per_epoch == 0:
                shuffled = epoch_order(labels, order_rng)
            rows = shuffled[step % steps_per_epoch * batch :][:batch]
            loss = _loss(network(modality.to_float(items[rows])), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return network.eval()


def epoch_order(labels: Tensor, rng: torch.Generator) -> Tensor:
    """Returns the indices of the items of one epoch (N,): each item once, in random order.

    If the classes are very unequal (`IMBALANCE`), draws N items with replacement instead, every class with the same probability.
    """
    if labels.ndim == 1:
        count_K = labels.bincount().double()
        if count_K.max() > IMBALANCE * count_K[count_K > 0].min():
            return torch.multinomial((1 / count_K)[labels], len(labels), replacement=True, generator=rng)
    return torch.randperm(len(labels), generator=rng)


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Returns the mean cross-entropy, for labels that are classes (B,) or attributes (B, A)."""
    if labels.ndim == 2:
        return F.binary_cross_entropy_with_logits(logits, labels.float())
    return F.cross_entropy(logits, labels)


@torch.no_grad()
def quality_of(network: nn.Module, dataset: Dataset, modality: Modality) -> Quality:
    """Returns how good a classifier is on the dataset's distinct test items."""
    items, item_labels = dataset.test.items[modality.name], dataset.test.item_labels[modality.name]
    if modality.own:  # its items may hold copies, to which no example's row points
        distinct = dataset.test.rows[modality.name].unique()
        items, item_labels = items[distinct], item_labels[distinct]
    labels = item_labels.numpy()
    logits = torch.cat([network(modality.to_float(x)) for x in items.split(512)]).numpy()
    if dataset.attributes:
        return classifier_quality.of_attributes(logits, labels, dataset.attributes)
    return classifier_quality.of_classes(logits, labels)
