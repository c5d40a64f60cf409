"""The dataset, classifiers and device with which the trials of a stack are trained and evaluated."""

import math
from dataclasses import dataclass
from typing import Any

import torch

from mopoe_core.data.dataset_card import DataKey
from mopoe_core.data.types import Dataset
from mopoe_core.metric_names import Metric
from mopoe_core.metrics.classifiers import Classifiers
from mopoe_core.metrics.evaluation import evaluate
from mopoe_core.training.run import Trained
from orchestrator.execution import provenance
from orchestrator.execution.attempt import device as devices
from orchestrator.execution.attempt import preparation
from orchestrator.execution.queue.job import WorkerContext


@dataclass(frozen=True)
class Materials:
    """A dataset, its classifiers, and the device to use."""

    dataset: Dataset
    classifiers: Classifiers
    device: torch.device

    @classmethod
    def of(cls, key: DataKey, context: WorkerContext) -> "Materials":
        """Returns the materials for a dataset, on a worker's device."""
        device = devices.use(context.threads, context.gpu)
        return cls(preparation.dataset(key, context), preparation.classifiers(key, context, device), device)

    def provenance(self, context: WorkerContext) -> dict[str, Any]:
        """Returns the provenance of a result that is made with these materials."""
        return {
            "commit": context.commit,
            "dataset": self.dataset.name,
            "source": self.dataset.source,
            "data_hash": self.dataset.hash,
            "classifiers": {"hash": self.classifiers.hash, **self.classifiers.measured()},
            "device": devices.hardware(self.device) if self.device.type == "cuda" else "cpu",
            "threads": context.threads,
            **provenance.machine(),
        }


def finite_metrics(trained: Trained, seed: int, materials: Materials) -> tuple[Metric, ...]:
    """Returns the metrics of a trained model; empty if one of them is not finite.

    Finite weights can be so large that their outputs are not finite. Such a model has diverged as surely as one whose loss is not finite,
    and no cell would beat a NaN on a front.
    """
    try:
        metrics = evaluate(trained.model, seed, materials.dataset, materials.classifiers, materials.device)
    except FloatingPointError:
        return ()
    return metrics if all(math.isfinite(metric.value) for metric in metrics) else ()
