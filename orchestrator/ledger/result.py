"""How a trial ended: its metrics, history and provenance. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mopoe_core.metric_names import Epoch, Metric
from mopoe_core.storage.files import Digest
from orchestrator.ledger.result_columns import MetricColumns
from orchestrator.spec.trial import Trial

ENDED = ("completed", "diverged")
"""Statuses of a trial that has a result."""


@dataclass(frozen=True)
class TrialResult:
    """How a trial ended."""

    trial: Trial
    status: str
    """`completed` or `diverged`."""
    metrics: Sequence[Metric]
    """The long table; empty for a diverged trial."""
    history: Sequence[Epoch]
    diverged_at_step: int | None
    """Optimiser step, from 1, of the first loss that was not finite."""
    train_seconds: float
    evaluate_seconds: float
    attempts: int
    provenance: dict[str, Any]
    """Versions, commit, hardware, data hash, classifiers' accuracies."""
    checkpoint: Digest | None = None
    """What tells the checkpoint that was evaluated from any other; None where an earlier version recorded the result."""
    samples: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each picture of generated samples, by its name."""

    def value(self, name: str) -> float | None:
        """The metric of that full name, if it was reported."""
        return self.values.get(name)

    @property
    def values(self) -> Mapping[str, float]:
        """Every metric's value by its full name; of one name twice, the first counts."""
        return self.metrics.by_name if isinstance(self.metrics, MetricColumns) else self._values

    @cached_property
    def _values(self) -> dict[str, float]:
        return {metric.name: metric.value for metric in reversed(self.metrics)}
