"""The classifiers that judge coherence: one a modality, trained once per dataset and kept.

Architectures as released (protocol section 2); small ones where a modality has none, or where the released one would take hours on the
embedded data. Unlike the released evaluation, which left dropout live, a classifier here judges in evaluation mode. How good it must be
is in `classifier_quality`.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mopoe_core.data.own import user_data
from mopoe_core.data.types import Dataset, Modality
from mopoe_core.errors import ClassifierError
from mopoe_core.metrics import classifier_quality
from mopoe_core.metrics.classifier_quality import LEVEL, Quality
from mopoe_core.networks.networks import Transpose, celeba_image_features, celeba_text_features, svhn_convolutions
from mopoe_core.networks.residual import Residual1d
from mopoe_core.random_streams import generator, seed_of
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.scratch import lock
from mopoe_core.storage.whole_files import create

VERSION = 3
"""Raised by hand when training or architecture changes."""
BATCH = 128
MINIMUM_STEPS = 300  # a text modality has only some 40 distinct strings: one small batch an epoch
LEARNING_RATE = 1e-3
IMBALANCE = 5
"""Where the commonest class has more than so many times the items of the rarest, training draws every class equally often: otherwise a
classifier may ignore the rare ones. The original SVHN has 3, and its classifier is trained as published."""


@dataclass(frozen=True)
class Recipe:
    """How a modality's classifier is made and what it must reach."""

    build: Callable[[Modality, int], nn.Module]
    """From the modality and the number of classes or attributes."""
    epochs: int
    least: float
    """On test items: balanced accuracy, or mean average precision over attributes; below this a classifier is no judge. On the original
    data, classifiers of the released shapes reach more. One that is not better than chance is no judge either, whatever stands here."""


@dataclass(frozen=True)
class Classifiers:
    """Trained classifiers with their quality on test items."""

    networks: Mapping[str, nn.Module]
    quality: Mapping[str, Quality]
    hash: str
    """Of what determines them: dataset content, architecture, training."""

    def measured(self) -> dict[str, dict[str, Any]]:
        """Every measure of quality by its name, and by modality: what provenance records."""
        found: dict[str, dict[str, Any]] = {}
        for modality, quality in self.quality.items():
            for measure, value in quality.recorded().items():
                found.setdefault(measure, {})[modality] = value
        return found

    def logits(self, modality: str, x: Tensor) -> Tensor:
        """(B, *shape) as the likelihood's mean to logits of classes or attributes (B, A)."""
        logits: Tensor = self.networks[modality](x)
        return logits

    def classify(self, modality: str, x: Tensor) -> Tensor:
        """(B, *shape) as the likelihood's mean to classes (B,)."""
        return self.logits(modality, x).argmax(-1)


def _mnist(modality: Modality, classes: int) -> nn.Module:
    convolutions = [part for i, o in ((1, 32), (32, 64), (64, 128)) for part in (nn.Conv2d(i, o, 4, 2), nn.ReLU())]
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Dropout(0.5), nn.Linear(128, classes))


def _svhn(modality: Modality, classes: int) -> nn.Module:
    convolutions: list[nn.Module] = []
    for convolution in svhn_convolutions():
        convolutions += [convolution, nn.Dropout(0.5), nn.BatchNorm2d(convolution.out_channels), nn.ReLU()]
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(128, classes))


def _digit_word(modality: Modality, classes: int) -> nn.Module:
    blocks = (Residual1d(i, o, padding, a=1.0, dropout=0.0) for i, o, padding in ((128, 192, 1), (192, 128, 0)))
    return nn.Sequential(
        Transpose(), nn.Conv1d(71, 128, 1), *blocks, nn.Flatten(), nn.Dropout(0.5), nn.Linear(128, classes)
    )  # fmt: skip


def _polymnist(modality: Modality, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 10, 4, 2, 1), nn.Dropout2d(0.5), nn.ReLU(), nn.Conv2d(10, 20, 4, 2, 1), nn.Dropout2d(0.5), nn.ReLU(),
        nn.Flatten(), nn.Linear(980, 128), nn.Dropout(0.5), nn.ReLU(), nn.Linear(128, classes),
    )  # fmt: skip


def _celeba_image(modality: Modality, classes: int) -> nn.Module:
    return nn.Sequential(celeba_image_features(), nn.Dropout(0.5), nn.Linear(640, classes))


def _celeba_text(modality: Modality, classes: int) -> nn.Module:
    return nn.Sequential(celeba_text_features(1, 2, 3, 4, 5, 6, 7, kernel=3), nn.Dropout(0.5), nn.Linear(896, classes))


def _small_image(modality: Modality, classes: int) -> nn.Module:
    """Three convolutions, then whatever size is left, flattened: where something is in the picture matters."""
    channels = [modality.shape[0], 16, 32, 64]
    layers = [
        p for i, o in zip(channels, channels[1:], strict=False) for p in (nn.Conv2d(i, o, 3, 2, 1), nn.BatchNorm2d(o), nn.ReLU())
    ]
    height, width = (-(-side // 8) for side in modality.shape[1:])
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.25), nn.Linear(64 * height * width, classes))


class _Anywhere(nn.Module):
    """The largest value over a sequence: whether something occurs, wherever it stands."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, length) to (B, channels)."""
        return x.amax(-1)


def _small_text(modality: Modality, classes: int) -> nn.Module:
    return nn.Sequential(
        Transpose(), nn.Conv1d(modality.shape[1], 32, 1), nn.Conv1d(32, 64, 7, padding=3), nn.ReLU(),
        nn.Conv1d(64, 128, 7, padding=3), nn.ReLU(), _Anywhere(), nn.Linear(128, classes),
    )  # fmt: skip


def _small_vector(modality: Modality, classes: int) -> nn.Module:
    return nn.Sequential(nn.Linear(modality.elements, 64), nn.ReLU(), nn.Dropout(0.25), nn.Linear(64, classes))


RECIPES = {
    "mnist": Recipe(_mnist, 15, 0.95),
    "svhn": Recipe(_svhn, 10, 0.85),
    "digit_word": Recipe(_digit_word, 15, 0.99),
    "polymnist": Recipe(_polymnist, 15, 0.75),
    "celeba_image": Recipe(_celeba_image, 20, 0.6),
    "celeba_text": Recipe(_celeba_text, 20, 0.9),
    "small_image": Recipe(_small_image, 20, 0.75),
    "small_text": Recipe(_small_text, 10, 0.9),
    "small_vector": Recipe(_small_vector, 40, 0.0),
}
"""By `Modality.judge`."""


def recipe(modality: Modality) -> Recipe:
    """How a modality's classifier is made; a user's own comes first."""
    usual = RECIPES[modality.judge or modality.architecture or f"small_{modality.kind}"]
    if not modality.own:
        return usual
    mine = user_data.architecture(modality.own, modality.name)
    build = mine.judge
    return Recipe(usual.build if build is None else lambda _, classes: build(classes), usual.epochs, mine.judge_accuracy)


def classifier(modality: Modality, classes: int) -> nn.Module:
    """The classifier of a modality, untrained."""
    return recipe(modality).build(modality, classes)


def trained_classifiers(dataset: Dataset, folder: AnyPath, device: torch.device) -> Classifiers:
    """The dataset's classifiers, trained if `folder` does not hold them yet, in evaluation mode on `device`.

    Raises ClassifierError where one of them must not judge (`check_quality`).
    """
    networks, quality = {}, {}
    for modality in dataset.modalities:
        quality[modality.name] = checked_classifier(dataset, modality, folder)
        kept = _load(classifier_path(dataset, modality, folder), device)
        network = classifier(modality, dataset.classes).to(device).eval().requires_grad_(False)
        try:
            network.load_state_dict(kept["weights"])
        except (RuntimeError, TypeError):
            raise _unusable(classifier_path(dataset, modality, folder), "its weights are of another network") from None
        networks[modality.name] = network
    every = json.dumps([_identity(dataset, modality) for modality in dataset.modalities])
    return Classifiers(networks, quality, hashlib.sha256(every.encode()).hexdigest()[:16])


def quality_if_trained(dataset: Dataset, modality: Modality, folder: AnyPath) -> Quality | None:
    """As `checked_classifier`, of a classifier that `folder` holds; None where it has to be trained."""
    return checked_classifier(dataset, modality, folder) if classifier_path(dataset, modality, folder).exists() else None


def checked_classifier(dataset: Dataset, modality: Modality, folder: AnyPath) -> Quality:
    """See that `folder` holds one modality's classifier, training it if need be; returns its quality on test items.

    Raises ClassifierError where it must not judge (`check_quality`).
    """
    path = classifier_path(dataset, modality, folder)
    if not path.exists():
        with lock(path):
            if not path.exists():
                _train_and_keep(dataset, modality, path)
    kept = _load(path, torch.device("cpu"))
    try:
        quality = Quality(**kept["quality"])
    except TypeError as error:
        raise _unusable(path, str(error)) from None
    check_quality(modality, quality, path)
    return quality


def classifier_path(dataset: Dataset, modality: Modality, folder: AnyPath) -> AnyPath:
    """Returns the file in which the classifier of one modality is kept, whether it is there or not."""
    return folder / _identity(dataset, modality) / f"{modality.name}.pt"


def _load(path: AnyPath, device: torch.device) -> dict[str, Any]:
    """What was kept: tensors and plain values; nothing that a file says is executed. Raises ClassifierError for anything else."""
    content = io.BytesIO(path.read_bytes())
    try:
        with zipfile.ZipFile(content) as archive:
            changed = archive.testzip()  # `torch.load` does not notice a changed byte
        content.seek(0)
        kept = torch.load(content, map_location=device, weights_only=True)
        if changed is None and set(kept) == {"of", "weights", "quality"} and kept["of"] == _of(path):
            return dict(kept)
        reason = f"no classifier of this version: it holds {', '.join(sorted(map(str, kept)))}"
        if changed is not None:
            reason = "changed bytes"
        elif kept.get("of", _of(path)) != _of(path):
            reason = f"it is the classifier {kept['of']}"
    except Exception as error:  # damaged archives raise nearly anything
        reason = type(error).__name__
    raise _unusable(path, reason)


def _of(path: AnyPath) -> str:
    """What the classifier at that place is of: the identity of its dataset and training, and the modality."""
    return f"{path.parent.name}/{path.stem}"


def _unusable(path: AnyPath, reason: str) -> ClassifierError:
    return ClassifierError(f"{path}: is damaged or no file of this program ({reason}); delete it to train the classifier again")


def check_quality(modality: Modality, quality: Quality, path: AnyPath) -> None:
    """Raise ClassifierError if a classifier must not judge: below its recipe's least, or, whatever that is, not better than chance."""
    least = recipe(modality).least
    if not quality.better_than_chance:
        why, user = f"which is not better than chance (p = {quality.p:.2g}, at most {LEVEL:g} is needed)", "a `judge`"
    elif quality.balanced_accuracy < least:
        why, user = f"below the {least:.0%} that a judge needs", "a `judge` or another `judge_accuracy`"
    else:
        return
    then = f"check the data and their labels, then delete {path} to train it again"
    own_modality = f", or give the OwnModality {modality.name!r} {user}" if modality.own else ""
    raise ClassifierError(f"the {modality.name} classifier has {quality.said}, {why}; {then}{own_modality}")


def _identity(dataset: Dataset, modality: Modality) -> str:
    """Changes with whatever determines the classifier; its layers are in it as text."""
    made = recipe(modality)
    network = str(made.build(modality, dataset.classes))
    parts = [VERSION, dataset.name, dataset.hash, dataset.classes, network, made.epochs, BATCH, MINIMUM_STEPS, LEARNING_RATE]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _train_and_keep(dataset: Dataset, modality: Modality, path: AnyPath) -> None:
    # On the CPU whatever the device, so that every machine of a cluster would train the same judge.
    network = _fit(dataset, modality)
    kept = {"of": _of(path), "weights": network.state_dict(), "quality": asdict(_quality(network, dataset, modality))}
    content = io.BytesIO()
    torch.save(kept, content)
    create(path, content.getvalue())  # another machine may have been faster: then its classifier is everybody's


@torch.no_grad()
def _quality(network: nn.Module, dataset: Dataset, modality: Modality) -> Quality:
    items, labels = dataset.test.items[modality.name], dataset.test.item_labels[modality.name].numpy()
    logits = torch.cat([network(modality.to_float(x)) for x in items.split(512)]).numpy()
    if dataset.attributes:
        return classifier_quality.of_attributes(logits, labels, dataset.attributes)
    return classifier_quality.of_classes(logits, labels)


def _fit(dataset: Dataset, modality: Modality) -> nn.Module:
    """Adam on cross-entropy over the distinct training items, of the class or of each attribute."""
    items, labels = dataset.train.items[modality.name], dataset.train.item_labels[modality.name]
    batch = min(BATCH, len(labels))
    per_epoch = len(labels) // batch
    steps = max(MINIMUM_STEPS, recipe(modality).epochs * per_epoch)
    order = generator(torch.device("cpu"), "classifier", modality.name, "order")
    with torch.random.fork_rng(devices=[]):  # dropout and initialisation draw from the global generator
        torch.manual_seed(seed_of("classifier", modality.name, "weights"))
        network = classifier(modality, dataset.classes)
        optimiser = torch.optim.Adam(network.parameters(), LEARNING_RATE, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3 * LEARNING_RATE, total_steps=steps)
        for step in range(steps):
            if step % per_epoch == 0:
                shuffled = epoch_order(labels, order)
            rows = shuffled[step % per_epoch * batch :][:batch]
            logits, wanted = network(modality.to_float(items[rows])), labels[rows]
            loss = _loss(logits, wanted)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return network.eval()


def epoch_order(labels: Tensor, rng: torch.Generator) -> Tensor:
    """The items of one epoch: each once, in random order; of very unequal classes as many, drawn so that each class is as likely."""
    if labels.ndim == 1:
        count = labels.bincount().double()
        if count.max() > IMBALANCE * count[count > 0].min():
            return torch.multinomial((1 / count)[labels], len(labels), replacement=True, generator=rng)
    return torch.randperm(len(labels), generator=rng)


def _loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy of classes (B,), or of each attribute, (B, A)."""
    if wanted.ndim == 2:
        return F.binary_cross_entropy_with_logits(logits, wanted.float())
    return F.cross_entropy(logits, wanted)
