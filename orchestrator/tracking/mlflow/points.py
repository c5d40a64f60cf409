"""Points of MLflow's metrics, parameters and tags, made from results and summaries. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

from mlflow.entities import Metric as Point
from mlflow.entities import Param

from mopoe_core.config.training_config import RECIPE, TrainingConfig
from mopoe_core.metric_names import Epoch
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.trial import Cell, spelled
from orchestrator.tracking.summaries import CellSummary, SweepSummary

IDENTITY = ("recipe", *TrainingConfig.model_fields)
"""The parameters of a cell's run: all that its id is made of. A trial has its `seed`, too."""
BAR = 0
"""The step of a metric that has one value: MLflow draws it as a bar if the step is 0, and as a curve of one point otherwise."""


def parameters(cell: Cell, more: Mapping[str, Any]) -> list[Param]:
    """The parameters of a cell's run; `more` has those of a trial."""
    values = {"recipe": RECIPE, **cell.config.model_dump(mode="json"), **more}
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
    at_ms = result.history[-1].timestamp_ms if result.history else 0
    return [Point(metric.name, metric.value, at_ms, BAR) for metric in result.metrics]


def cell_points(summary: CellSummary, at_ms: int) -> list[Point]:
    """A cell's means under the names of the metrics, and `n`. Their spread is in the cell's evaluation table."""
    if not summary.n:
        return []
    means = [Point(name, numbers["mean"], at_ms, BAR) for name, numbers in summary.values.items()]
    return [*means, Point("n", summary.n, at_ms, BAR)]  # last: the compare view opens on the first metric


def sweep_points(summary: SweepSummary, ends: Sequence[int]) -> list[Point]:
    """What was reached after so many cells, the step, at the time at which the last of them had ended; one value alone is a bar."""
    since = list(accumulate(ends, max))
    points = [Point("cells", len(since), since[-1], BAR)] if since else []
    for name, course in summary.courses.items():
        reached = enumerate(zip(since, map(float, course), strict=True), 1)
        values = [(step, at_ms, value) for step, (at_ms, value) in reached if value == value]
        points += [Point(name, value, at_ms, step if len(values) > 1 else BAR) for step, at_ms, value in values]
    return points
