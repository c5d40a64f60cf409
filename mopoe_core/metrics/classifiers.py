"""The classifiers that judge coherence: one for each modality, trained once per dataset and stored.

Unlike the released evaluation, which left dropout on, a classifier here judges in evaluation mode. `classifier_quality` says how good it
must be.
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
    """A hash of all that determines them: dataset content, architecture, training."""

    def measured(self) -> dict[str, dict[str, Any]]:
        """Returns every measure of quality by its name and modality, as provenance records it."""
        measures: dict[str, dict[str, Any]] = {}
        for modality, quality in self.quality.items():
            for measure, value in quality.recorded().items():
                measures.setdefault(measure, {})[modality] = value
        return measures

    def logits(self, modality: str, x: Tensor) -> Tensor:
        """Returns the logits of classes or attributes (B, A) of x (B, *shape), which is a likelihood's mean."""
        logits: Tensor = self.networks[modality](x)
        return logits

    def classify(self, modality: str, x: Tensor) -> Tensor:
        """Returns the classes (B,) of x (B, *shape), which is a likelihood's mean."""
        return self.logits(modality, x).argmax(-1)


def trained_classifiers(dataset: Dataset, folder: AnyPath, device: torch.device) -> Classifiers:
    """Returns the dataset's classifiers, trained if `folder` does not hold them yet, in evaluation mode on `device`.

    Raises ClassifierError if one of them must not judge (`check_quality`).
    """
    networks, quality = {}, {}
    for modality in dataset.modalities:
        quality[modality.name] = checked_classifier(dataset, modality, folder)
        stored = _load(classifier_path(dataset, modality, folder), device)
        network = classifier(modality, dataset.classes).to(device).eval().requires_grad_(False)
        try:
            network.load_state_dict(stored["weights"])
        except (RuntimeError, TypeError):
            raise _unusable(classifier_path(dataset, modality, folder), "its weights are of another network") from None
        networks[modality.name] = network
    identities = json.dumps([_identity(dataset, modality) for modality in dataset.modalities])
    return Classifiers(networks, quality, hashlib.sha256(identities.encode()).hexdigest()[:16])


def quality_if_trained(dataset: Dataset, modality: Modality, folder: AnyPath) -> Quality | None:
    """As `checked_classifier`, if `folder` holds the classifier; None if it has to be trained."""
    return checked_classifier(dataset, modality, folder) if classifier_path(dataset, modality, folder).exists() else None


def checked_classifier(dataset: Dataset, modality: Modality, folder: AnyPath) -> Quality:
    """Trains one modality's classifier if `folder` does not hold it yet; returns its quality on test items.

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
    """Returns the path of one modality's classifier, whether it is there or not."""
    return folder / _identity(dataset, modality) / f"{modality.name}.pt"


def _load(path: AnyPath, device: torch.device) -> dict[str, Any]:
    """Returns what a classifier's file holds: tensors and plain values. No code in it is executed.

    Raises ClassifierError for any other file.
    """
    content = io.BytesIO(path.read_bytes())
    try:
        with zipfile.ZipFile(content) as archive:
            changed = archive.testzip()  # `torch.load` does not notice a changed byte
        content.seek(0)
        stored = torch.load(content, map_location=device, weights_only=True)
        if changed is None and set(stored) == {"of", "weights", "quality"} and stored["of"] == _of(path):
            return dict(stored)
        reason = f"no classifier of this version: it holds {', '.join(sorted(map(str, stored)))}"
        if changed is not None:
            reason = "changed bytes"
        elif stored.get("of", _of(path)) != _of(path):
            reason = f"it is the classifier {stored['of']}"
    except Exception as error:  # damaged archives raise nearly anything
        reason = type(error).__name__
    raise _unusable(path, reason)


def _of(path: AnyPath) -> str:
    """Returns what a classifier's file is of: the identity of dataset and training, and the modality."""
    return f"{path.parent.name}/{path.stem}"


def _unusable(path: AnyPath, reason: str) -> ClassifierError:
    return ClassifierError(f"{path}: is damaged or no file of this program ({reason}); delete it to train the classifier again")


def check_quality(modality: Modality, quality: Quality, path: AnyPath) -> None:
    """Raises ClassifierError if a classifier must not judge: it is below its recipe's least, or not better than chance."""
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
    """Returns a hash of all that determines the classifier; its layers are in it as text."""
    plan = recipe(modality)
    network = str(plan.build(modality, dataset.classes))
    parts = [VERSION, dataset.name, dataset.hash, dataset.classes, network, plan.epochs, BATCH, MINIMUM_STEPS, LEARNING_RATE]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _train_and_store(dataset: Dataset, modality: Modality, path: AnyPath) -> None:
    # On the CPU whatever the device, so that every machine of a cluster trains the same judge.
    network = fit(dataset, modality)
    stored = {"of": _of(path), "weights": network.state_dict(), "quality": asdict(quality_of(network, dataset, modality))}
    content = io.BytesIO()
    torch.save(stored, content)
    create(path, content.getvalue())  # another machine may have been faster: then all use its classifier
