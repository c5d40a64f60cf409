"""The classifiers that judge coherence: one for each modality, trained once per dataset and stored.

A classifier judges in evaluation mode; the released evaluation left dropout on. `check_quality` refuses a classifier that is too weak.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mopoe_core.data.types import Dataset, Modality
from mopoe_core.errors import ClassifierError
from mopoe_core.metrics.classifier_networks import classifier, recipe
from mopoe_core.metrics.classifier_quality import LEVEL, Quality
from mopoe_core.metrics.classifier_training import BATCH, LEARNING_RATE, MINIMUM_STEPS, fit, quality_of
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.scratch import lock
from mopoe_core.storage.whole_files import create

VERSION = 3
"""Raised by hand when training or architecture changes."""


@dataclass(frozen=True)
class Classifiers:
    """Trained classifiers with their quality on test items."""

    networks: Mapping[str, nn.Module]
    quality: Mapping[str, Quality]
    hash: str
    """A hash of everything that determines the classifiers: dataset content, architecture, training."""

    def measured(self) -> dict[str, dict[str, Any]]:
        """Returns every measure of quality by its name and modality, as provenance records it."""
        measures: dict[str, dict[str, Any]] = {}
        for modality, quality in self.quality.items():
            for measure, value in quality.recorded().items():
                measures.setdefault(measure, {})[modality] = value
        return measures

    def logits(self, modality: str, x: Tensor) -> Tensor:
        """Returns the logits of classes or attributes (B, A) for x (B, *shape), the mean of a likelihood."""
        logits: Tensor = self.networks[modality](x)
        return logits

    def classify(self, modality: str, x: Tensor) -> Tensor:
        """Returns the predicted classes (B,) for x (B, *shape), the mean of a likelihood."""
        return self.logits(modality, x).argmax(-1)


def trained_classifiers(dataset: Dataset, folder: AnyPath, device: torch.device) -> Classifiers:
    """Returns the dataset's classifiers, in evaluation mode on `device`. Trains those that are not in `folder` yet.

    Raises ClassifierError if one of them must not judge (`check_quality`).
    """
    networks, quality = {}, {}
    for modality in dataset.modalities:
        quality[modality.name] = checked_classifier(dataset, modality, folder)
        networks[modality.name] = _stored_network(dataset, modality, folder, device)
    identities = json.dumps([_identity(dataset, modality) for modality in dataset.modalities])
    return Classifiers(networks, quality, hashlib.sha256(identities.encode()).hexdigest()[:16])


def _stored_network(dataset: Dataset, modality: Modality, folder: AnyPath, device: torch.device) -> nn.Module:
    path = classifier_path(dataset, modality, folder)
    stored = _load(path, device)
    network = classifier(modality, dataset.classes).to(device).eval().requires_grad_(False)
    try:
        network.load_state_dict(stored["weights"])
    except (RuntimeError, TypeError):
        raise _unusable(path, "its weights are of another network") from None
    return network


def quality_if_trained(dataset: Dataset, modality: Modality, folder: AnyPath) -> Quality | None:
    """Returns what `checked_classifier` returns, or None if the classifier is not in `folder` yet."""
    return checked_classifier(dataset, modality, folder) if classifier_path(dataset, modality, folder).exists() else None


def checked_classifier(dataset: Dataset, modality: Modality, folder: AnyPath) -> Quality:
    """Returns the quality of one modality's classifier on test items. Trains the classifier if it is not in `folder` yet.

    Raises ClassifierError if it must not judge (`check_quality`).
    """
    path = classifier_path(dataset, modality, folder)
    if not path.exists():
        with lock(path):
            if not path.exists():
                _train_and_store(dataset, modality, path)
    stored = _load(path, torch.device("cpu"))
    try:
        quality = Quality(**stored["quality"])
    except TypeError as error:
        raise _unusable(path, str(error)) from None
    check_quality(modality, quality, path)
    return quality


def classifier_path(dataset: Dataset, modality: Modality, folder: AnyPath) -> AnyPath:
    """Returns the path of one modality's classifier, whether it exists or not."""
    partition = () if dataset.partition == "test" else (dataset.partition,)  # on which the stored quality is measured
    return folder / _identity(dataset, modality, *partition) / f"{modality.name}.pt"


def _load(path: AnyPath, device: torch.device) -> dict[str, Any]:
    """Returns the content of a classifier's file: tensors and plain values. Executes no code from the file.

    Raises ClassifierError if the file is anything else.
    """
    content = io.BytesIO(path.read_bytes())
    try:
        with zipfile.ZipFile(content) as archive:
            changed = archive.testzip()  # `torch.load` does not notice a changed byte
        content.seek(0)
        stored = torch.load(content, map_location=device, weights_only=True)
        if changed is None and set(stored) == {"of", "weights", "quality"} and stored["of"] == _origin(path):
            return dict(stored)
        reason = f"no classifier of this version: it holds {', '.join(sorted(map(str, stored)))}"
        if changed is not None:
            reason = "changed bytes"
        elif stored.get("of", _origin(path)) != _origin(path):
            reason = f"it is the classifier {stored['of']}"
    except Exception as error:  # damaged archives raise nearly anything
        reason = type(error).__name__
    raise _unusable(path, reason)


def _origin(path: AnyPath) -> str:
    """Returns what the classifier at `path` was trained on: the identity of dataset and training, and the modality."""
    return f"{path.parent.name}/{path.stem}"


def _unusable(path: AnyPath, reason: str) -> ClassifierError:
    return ClassifierError(f"{path}: is damaged or no file of this program ({reason}); delete it to train the classifier again")


def check_quality(modality: Modality, quality: Quality, path: AnyPath) -> None:
    """Raises ClassifierError if a classifier must not judge: it is not better than chance, or below its recipe's `least`."""
    least = recipe(modality).least
    if not quality.better_than_chance:
        reason, remedy = f"which is not better than chance (p = {quality.p:.2g}, at most {LEVEL:g} is needed)", "a `judge`"
    elif quality.balanced_accuracy < least:
        reason, remedy = f"below the {least:.0%} that a judge needs", "a `judge` or another `judge_accuracy`"
    else:
        return
    next_step = f"check the data and their labels, then delete {path} to train it again"
    if modality.own:
        next_step += f", or give the OwnModality {modality.name!r} {remedy}"
    raise ClassifierError(f"the {modality.name} classifier has {quality.description}, {reason}; {next_step}")


def _identity(dataset: Dataset, modality: Modality, *more: str) -> str:
    """Returns a hash of everything that determines the classifier, and of `more`. Its layers enter as text (`str`)."""
    training = recipe(modality)
    network = str(training.build(modality, dataset.classes))
    parts = [
        VERSION,
        dataset.name,
        dataset.hash,
        dataset.classes,
        network,
        training.epochs,
        BATCH,
        MINIMUM_STEPS,
        LEARNING_RATE,
        *more,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _train_and_store(dataset: Dataset, modality: Modality, path: AnyPath) -> None:
    # Always on the CPU, so that every machine of a cluster trains the same classifier.
    network = fit(dataset, modality)
    stored = {"of": _origin(path), "weights": network.state_dict(), "quality": asdict(quality_of(network, dataset, modality))}
    content = io.BytesIO()
    torch.save(stored, content)
    create(path, content.getvalue())  # writes nothing if another machine was faster: then all use that machine's classifier
