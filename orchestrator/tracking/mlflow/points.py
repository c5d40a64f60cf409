"""Points of MLflow's metrics, parameters and tags, made from results and summaries. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

from mlflow.entities import Metric as Point
from mlflow.entities import Param

from mopoe_core.metric_names import Epoch
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.trial import Cell, spelled
from orchestrator.tracking.summaries import CellSummary, SweepSummary

PARAMETERS = ("dataset", "source", "networks", "model", "beta", "latent_dim", "epochs", "batch_size", "learning_rate")
"""Logged for every run. Other fields are logged only if they are not the default, so that the compare view has few columns."""


def parameters(cell: Cell, more: Mapping[str, Any]) -> list[Param]:
    """The parameters of a cell's run; `more` has those of a trial."""
    values = {field: getattr(cell.config, field) for field in PARAMETERS} | cell.config.canonical() | dict(more)
    return [Param(name, str(value)) for name, value in values.items()]


def cell_tags(cell: Cell) -> dict[str, str]:
    """The tags that a cell's run and the runs of its trials have."""
    config = cell.config
    return {"cell_id": cell.id, "model": config.model, "dataset": config.dataset, "beta": spelled(config.beta)}


def times(epochs: Iterable[Epoch]) -> set[tuple[int, int]]:
    """The epoch and the time of each: what tells one point of a curve from another."""
    return {(epoch.epoch, epoch.timestamp_ms) for epoch in epochs}


def curve_points(epochs: Sequence[Epoch], written: set[tuple[int, int]]) -> list[Point]:
    """The points of the epochs that were not written before."""
    new = [epoch for epoch in epochs if (epoch.epoch, epoch.timestamp_ms) not in written]
    return [Point(name, value, epoch.timestamp_ms, epoch.epoch) for epoch in new for name, value in epoch.values.items()]


def final_points(result: TrialResult) -> list[Point]:
    """A trial's final metrics, at the time of its last epoch."""
    at_ms, step = (result.history[-1].timestamp_ms, result.history[-1].epoch) if result.history else (0, 0)
    return [Point(metric.name, metric.value, at_ms, step) for metric in result.metrics]


def cell_points(summary: CellSummary, at_ms: int) -> list[Point]:
    """A cell's means under the names of the metrics, with `.sd`, `.low` and `.high` beside them."""
    if not summary.n:
        return []
    points = []
    for name, numbers in summary.values.items():
        points.append(Point(name, numbers["mean"], at_ms, summary.n))
        spread = {part: numbers[part] for part in ("sd", "low", "high") if numbers[part] == numbers[part]}
        points += [Point(f"{name}.{part}", value, at_ms, summary.n) for part, value in spread.items()]
    return [*points, Point("n", summary.n, at_ms, summary.n)]  # last: the compare view opens on the first metric


def sweep_points(summary: SweepSummary, ends: Sequence[int]) -> list[Point]:
    """What was reached after so many cells, the step, at the time at which the last of them had ended."""
    since = list(accumulate(ends, max))
    points = [Point("cells", len(since), since[-1], len(since))] if since else []
    for name, course in summary.courses.items():
        reached = zip(since, map(float, course), strict=True)
        points += [Point(name, value, at_ms, step) for step, (at_ms, value) in enumerate(reached, 1) if value == value]
    return points
