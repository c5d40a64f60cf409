"""The judges of coherence: one classifier a modality, trained once per dataset and kept.

Architectures as released (protocol section 2). Unlike the released evaluation, which left dropout live, a classifier here judges in
evaluation mode.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor, nn
from torch.nn import functional as F

from mopoe_core.data.types import Dataset, Modality
from mopoe_core.errors import JudgeError
from mopoe_core.files import write_whole
from mopoe_core.networks import Transpose, svhn_convolutions
from mopoe_core.streams import generator, seed_of

MINIMUM_ACCURACY = {"mnist": 0.95, "svhn": 0.85, "text": 0.99}
"""On test items; below this a classifier is no judge. On the original data, classifiers of these shapes reach more."""

VERSION = 1
"""Raised by hand when training or architecture changes."""
EPOCHS = {"mnist": 15, "svhn": 10, "text": 15}
BATCH = 128
MINIMUM_STEPS = 300  # a text modality has only some 40 distinct strings: one small batch an epoch
LEARNING_RATE = 1e-3


@dataclass(frozen=True)
class Judges:
    """Trained classifiers with their accuracies on test items."""

    networks: Mapping[str, nn.Module]
    accuracy: Mapping[str, float]
    hash: str
    """Of what determines them: dataset content, architecture, training."""

    def classify(self, modality: str, x: Tensor) -> Tensor:
        """(B, *shape) as the likelihood's mean to classes (B,)."""
        logits: Tensor = self.networks[modality](x)
        return logits.argmax(-1)


class TextResidual(nn.Module):
    """A pre-activation residual block that shortens text: out = residual + 0.3 * branch."""

    def __init__(self, inputs: int, outputs: int, padding: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.BatchNorm1d(inputs), nn.ReLU(), nn.Conv1d(inputs, inputs, 1), nn.Dropout(0.5),
            nn.BatchNorm1d(inputs), nn.ReLU(), nn.Conv1d(inputs, outputs, 4, 2, padding), nn.Dropout(0.5),
        )  # fmt: skip
        self.shortcut = nn.Sequential(nn.Conv1d(inputs, outputs, 4, 2, padding), nn.BatchNorm1d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, length) to (B, outputs, shorter)."""
        out: Tensor = self.shortcut(x) + 0.3 * self.branch(x)
        return out


def classifier(modality: Modality, classes: int) -> nn.Module:
    """The released classifier of a modality, untrained."""
    return _BUILDERS[modality.name](classes)


def _mnist(classes: int) -> nn.Module:
    convolutions = [part for i, o in ((1, 32), (32, 64), (64, 128)) for part in (nn.Conv2d(i, o, 4, 2), nn.ReLU())]
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Dropout(0.5), nn.Linear(128, classes))


def _svhn(classes: int) -> nn.Module:
    convolutions: list[nn.Module] = []
    for convolution in svhn_convolutions():
        convolutions += [convolution, nn.Dropout(0.5), nn.BatchNorm2d(convolution.out_channels), nn.ReLU()]
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(128, classes))


def _text(classes: int) -> nn.Module:
    return nn.Sequential(
        Transpose(), nn.Conv1d(71, 128, 1), TextResidual(128, 192, 1), TextResidual(192, 128, 0),
        nn.Flatten(), nn.Dropout(0.5), nn.Linear(128, classes),
    )  # fmt: skip


_BUILDERS = {"mnist": _mnist, "svhn": _svhn, "text": _text}


def judges(dataset: Dataset, folder: Path, device: torch.device) -> Judges:
    """The dataset's classifiers, trained if `folder` does not hold them yet, in evaluation mode on `device`.

    Raises JudgeError where one's accuracy on test items is below `MINIMUM_ACCURACY`.
    """
    networks, accuracy = {}, {}
    for modality in dataset.modalities:
        accuracy[modality.name] = judge(dataset, modality, folder)
        kept = torch.load(_path(dataset, modality, folder), map_location=device, weights_only=True)
        network = classifier(modality, dataset.classes).to(device).eval().requires_grad_(False)
        network.load_state_dict(kept["weights"])
        networks[modality.name] = network
    return Judges(networks, accuracy, _identity(dataset))


def judge(dataset: Dataset, modality: Modality, folder: Path) -> float:
    """See that `folder` holds one modality's classifier, training it if need be; returns its accuracy on test items.

    Raises JudgeError where that is below `MINIMUM_ACCURACY`.
    """
    path = _path(dataset, modality, folder)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if not path.exists():
                _train_and_keep(dataset, modality, path)
    accuracy = float(torch.load(path, map_location="cpu", weights_only=True)["accuracy"])
    check_accuracy(modality.name, accuracy, path)
    return accuracy


def _path(dataset: Dataset, modality: Modality, folder: Path) -> Path:
    return folder / _identity(dataset) / f"{modality.name}.pt"


def check_accuracy(modality: str, accuracy: float, path: Path) -> None:
    """Raise JudgeError if a classifier of this accuracy must not judge."""
    least = MINIMUM_ACCURACY[modality]
    if accuracy < least:
        raise JudgeError(
            f"the {modality} classifier is right on {accuracy:.1%} of the test items, below the {least:.0%} that a judge needs; "
            f"check the data, then delete {path} to train it again"
        )


def _identity(dataset: Dataset) -> str:
    parts = [VERSION, dataset.name, dataset.hash, dataset.classes, EPOCHS, BATCH, MINIMUM_STEPS, LEARNING_RATE]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _train_and_keep(dataset: Dataset, modality: Modality, path: Path) -> None:
    # On the CPU whatever the device, so that every machine of a cluster would train the same judge.
    network = _fit(dataset, modality)
    items, labels = dataset.test.items[modality.name], dataset.test.item_labels[modality.name]
    with torch.no_grad():
        right = [
            (network(modality.to_float(x)).argmax(-1) == y).sum()
            for x, y in zip(items.split(512), labels.split(512), strict=True)
        ]
    kept = {"weights": network.state_dict(), "accuracy": float(torch.stack(right).sum()) / len(labels)}
    write_whole(path, lambda temporary: torch.save(kept, temporary))


def _fit(dataset: Dataset, modality: Modality) -> nn.Module:
    """Adam on cross-entropy over the distinct training items."""
    items, labels = dataset.train.items[modality.name], dataset.train.item_labels[modality.name]
    batch = min(BATCH, len(labels))
    per_epoch = len(labels) // batch
    steps = max(MINIMUM_STEPS, EPOCHS[modality.name] * per_epoch)
    order = generator(torch.device("cpu"), "classifier", modality.name, "order")
    with torch.random.fork_rng(devices=[]):  # dropout and initialisation draw from the global generator
        torch.manual_seed(seed_of("classifier", modality.name, "weights"))
        network = classifier(modality, dataset.classes)
        optimiser = torch.optim.Adam(network.parameters(), LEARNING_RATE, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3 * LEARNING_RATE, total_steps=steps)
        for step in range(steps):
            if step % per_epoch == 0:
                shuffled = torch.randperm(len(labels), generator=order)
            rows = shuffled[step % per_epoch * batch :][:batch]
            loss = F.cross_entropy(network(modality.to_float(items[rows])), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return network.eval()
