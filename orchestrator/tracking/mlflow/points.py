"""Makes MLflow's metric points, parameters and tags from results and summaries. Pure."""

import math
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
"""Parameters of a cell's run: everything that the cell's id is made of. A trial's run has `seed` too."""
BAR = 0
"""Step of a metric with a single value. MLflow draws it as a bar if the step is 0, and as a curve of one point otherwise."""


def parameters(cell: Cell, more: Mapping[str, Any]) -> list[Param]:
    """Returns the parameters of a cell's run, and those in `more`, for the run of a trial."""
    values = {"recipe": RECIPE, **cell.config.model_dump(mode="json"), **more}
    return [Param(name, str(value)) for name, value in values.items()]


def cell_tags(cell: Cell) -> dict[str, str]:
    """Returns the tags that the runs of a cell and of its trials have in common."""
    config = cell.config
    return {"cell_id": cell.id, "model": config.model, "dataset": config.dataset, "beta": spelled(config.beta)}


def times(epochs: Iterable[Epoch]) -> set[tuple[int, int]]:
    """Returns number and time of each epoch. Together they identify a point of a curve."""
    return {(epoch.epoch, epoch.timestamp_ms) for epoch in epochs}


def curve_points(epochs: Sequence[Epoch], written: set[tuple[int, int]]) -> list[Point]:
    """Returns the points of the epochs that are not in `written`."""
    new = [epoch for epoch in epochs if (epoch.epoch, epoch.timestamp_ms) not in written]
    return [Point(name, value, epoch.timestamp_ms, epoch.epoch) for epoch in new for name, value in epoch.values.items()]


def final_points(result: TrialResult) -> list[Point]:
    """Returns the points of a trial's final metrics, at the time of its last epoch."""
    at_ms = result.history[-1].timestamp_ms if result.history else 0
    return [Point(metric.name, metric.value, at_ms, BAR) for metric in result.metrics]


def cell_points(summary: CellSummary, at_ms: int) -> list[Point]:
    """Returns the points of a cell: the means under the metrics' names, and `n`. The spread is in the cell's evaluation table."""
    if not summary.n:
        return []
    means = [Point(name, numbers["mean"], at_ms, BAR) for name, numbers in summary.values.items()]
    return [*means, Point("n", summary.n, at_ms, BAR)]  # last: the compare view opens on the first metric


def sweep_points(summary: SweepSummary, ends: Sequence[int]) -> list[Point]:
    """Returns the points of a sweep: the number of cells, and the courses of the summary.

    `ends` has the time at which each cell ended. The step of a value is the number of cells that had ended by then; its time is when the
    last of them ended. A course with one value is a bar.
    """
    times_ms = list(accumulate(ends, max))
    points = [Point("cells", len(times_ms), times_ms[-1], BAR)] if times_ms else []
    for name, course in summary.courses.items():
        steps = enumerate(zip(times_ms, map(float, course), strict=True), 1)
        values = [(step, at_ms, value) for step, (at_ms, value) in steps if not math.isnan(value)]
        points += [Point(name, value, at_ms, step if len(values) > 1 else BAR) for step, at_ms, value in values]
    return points
