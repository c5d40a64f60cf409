"""How a trial ended: its metrics, history and provenance. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from mopoe_core.metric_names import Epoch, Metric
from mopoe_core.storage.file_facts import Digest
from orchestrator.ledger import result_columns
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
    """Size and SHA-256 of the checkpoint that was evaluated; None if an earlier version recorded the result."""
    samples: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each picture of generated samples, by the picture's name."""

    @classmethod
    def from_record(cls, trial: Trial, record: Mapping[str, Any]) -> "TrialResult":
        """Returns the result that a record describes.

        Raises KeyError, TypeError, AttributeError or OverflowError if the record's content is not a result.
        """
        return cls(
            trial=trial,
            status=record["status"],
            metrics=result_columns.metrics(record["metrics"]),
            history=result_columns.history(record["history"]),
            diverged_at_step=record["diverged_at_step"],
            train_seconds=record["train_seconds"],
            evaluate_seconds=record["evaluate_seconds"],
            attempts=record["attempts"],
            provenance=result_columns.provenance(record["provenance"]),
            checkpoint=checkpoint_digest(record),
            samples=record.get("samples", {}),
        )

    def as_record(self) -> dict[str, Any]:
        """Returns the content of the result's record, without `files`, which names the attempt's folder."""
        return {
            "status": self.status,
            "metrics": [asdict(metric) for metric in self.metrics],
            "history": [asdict(epoch) for epoch in self.history],
            "diverged_at_step": self.diverged_at_step,
            "train_seconds": self.train_seconds,
            "evaluate_seconds": self.evaluate_seconds,
            "attempts": self.attempts,
            "provenance": self.provenance,
            "checkpoint": None if self.checkpoint is None else asdict(self.checkpoint),
            "samples": dict(self.samples),
        }

    def value(self, name: str) -> float | None:
        """Returns the metric with this full name; None if it was not reported."""
        return self.values.get(name)

    @property
    def seconds(self) -> float:
        """Seconds of training and evaluation."""
        return self.train_seconds + self.evaluate_seconds

    @property
    def values(self) -> Mapping[str, float]:
        """Every metric's value by its full name; if a name occurs twice, the first counts."""
        return self.metrics.by_name if isinstance(self.metrics, MetricColumns) else self._values

    @cached_property
    def _values(self) -> dict[str, float]:
        return {metric.name: metric.value for metric in reversed(self.metrics)}


def checkpoint_digest(record: Mapping[str, Any]) -> Digest | None:
    """Returns size and SHA-256 of the checkpoint that a result's record names; None if it names none."""
    fields = record.get("checkpoint")
    return None if fields is None else Digest(**fields)
