"""Aggregates trials into cells: means over seeds with n, spread and interval. Pure.

A diverged or missing seed gives no number. Its cell then has fewer seeds than planned, and every table and figure says so.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from mopoe_core.metric_names import Metric
from orchestrator.analysis.intervals import summary
from orchestrator.ledger.result import TrialResult
from orchestrator.ledger.result_columns import column
from orchestrator.spec.trial import Cell, labels, series

TRIAL_COLUMNS = [
    "trial_id", "cell_id", "label", "dataset", "source", "scale", "networks", "model", "beta", "seed", "status",
    "name", "kind", "subset", "target", "attribute", "value", "mc_error", "n", "unit",
]  # fmt: skip
METRIC_COLUMNS = TRIAL_COLUMNS[TRIAL_COLUMNS.index("name") :]
NUMBERS = {"beta": "float64", "value": "float64", "mc_error": "float64", "seed": "int64", "n": "int64"}
TRIAL_TYPES = {name: NUMBERS.get(name, "str") for name in TRIAL_COLUMNS}
"""Column types of a table without rows. In a table with rows, pandas takes the types from the values."""
CELL_COLUMNS = [
    "cell_id", "label", "dataset", "source", "scale", "networks", "model", "beta", "series", "name", "kind", "subset", "target",
    "attribute", "unit", "n", "n_planned", "complete", "mean", "sd", "low", "high", "mc_error",
]  # fmt: skip


def trial_table(results: Sequence[TrialResult]) -> pd.DataFrame:
    """Returns a row for each completed trial and metric (`TRIAL_COLUMNS`).

    `n` is the number of examples that `value` is computed from, and `mc_error` is the standard error of `value`.
    """
    table: dict[str, list[Any]] = {name: [] for name in TRIAL_COLUMNS}
    # Computed once for each cell: computed for each trial, it took half of the time.
    about_cells = {result.trial.cell.id: _about(result.trial.cell) for result in results}
    for result in results:
        if result.status == "completed":
            about_trial = {"trial_id": result.trial.id, "seed": result.trial.seed, "status": result.status}
            for name, value in (about_cells[result.trial.cell.id] | about_trial).items():
                table[name] += [value] * len(result.metrics)
            for name in METRIC_COLUMNS:
                table[name] += column(result.metrics, name)
    frame = pd.DataFrame(table, columns=TRIAL_COLUMNS)
    return frame if len(frame) else frame.astype(TRIAL_TYPES)


Seeds = Sequence[int] | Mapping[str, Sequence[int]]
"""Seeds that all cells have, or the seeds of each cell by its id."""


def planned(cells: Sequence[Cell], seeds: Seeds) -> dict[str, Sequence[int]]:
    """Returns the seeds of each cell, by the cell's id."""
    return {cell.id: seeds[cell.id] if isinstance(seeds, Mapping) else seeds for cell in cells}


def cell_table(cells: Sequence[Cell], seeds: Seeds, results: Sequence[TrialResult]) -> pd.DataFrame:
    """Returns a row for each cell and metric (`CELL_COLUMNS`), in the order of `cells`.

    n           how many of the n_planned seeds completed; `complete` says whether all did. A cell without a completed seed has a row
                for each metric that other cells of its dataset have, with n = 0 and no numbers
    mean, sd    over seeds (sd with n - 1; NaN for one seed)
    low, high   95 % interval of the mean by Student's t (NaN for one seed)
    mc_error    an upper limit of the Monte-Carlo standard error of the mean: the mean of the trials' errors. The seeds share the error
                that comes from the test set. The part that they do not share averages out, so the true error is smaller
    """
    series_of, label_of = series(cells), labels(cells)
    completed, planned_seeds = completed_of_each(cells, seeds, results), planned(cells, seeds)
    reported_elsewhere = _reported_elsewhere(cells, completed)
    table: dict[str, list[Any]] = {name: [] for name in CELL_COLUMNS}
    for cell in cells:
        n_planned = len(planned_seeds[cell.id])
        samples = _by_name(completed[cell.id]) if completed[cell.id] else reported_elsewhere[cell.config.dataset]
        about = _about(cell) | {"label": label_of[cell.id], "series": series_of[cell.id], "n_planned": n_planned}
        for name, value in about.items():
            table[name] += [value] * len(samples)
        for sample in samples.values():
            _append(table, sample, n_planned)
    return pd.DataFrame(table, columns=CELL_COLUMNS) if table["cell_id"] else pd.DataFrame([], columns=CELL_COLUMNS)


def completed_of_each(cells: Sequence[Cell], seeds: Seeds, results: Sequence[TrialResult]) -> dict[str, list[TrialResult]]:
    """Returns the completed trials of each cell among these seeds, by the cell's id, in the order of their seeds."""
    completed: dict[str, list[TrialResult]] = {cell.id: [] for cell in cells}
    planned_seeds = {cell_id: set(of_cell) for cell_id, of_cell in planned(cells, seeds).items()}
    for result in sorted(results, key=lambda result: result.trial.seed):
        cell_id = result.trial.cell.id
        if result.status == "completed" and result.trial.seed in planned_seeds.get(cell_id, ()):
            completed[cell_id].append(result)
    return completed


@dataclass
class _Sample:
    """The numbers of one metric over the trials of a cell."""

    first: Metric
    """The first trial's report of the metric, for its name, kind and unit."""
    values: list[float] = field(default_factory=list)
    mc_errors: list[float] = field(default_factory=list)


def _by_name(results: Iterable[TrialResult]) -> dict[str, _Sample]:
    """Returns the metrics that any of the results reports, by full name."""
    samples: dict[str, _Sample] = {}
    for result in results:
        columns = (column(result.metrics, name) for name in ("name", "value", "mc_error"))
        for place, (name, value, mc_error) in enumerate(zip(*columns, strict=True)):
            sample = samples.get(name) or samples.setdefault(name, _Sample(result.metrics[place]))
            sample.values.append(value)
            sample.mc_errors.append(mc_error)
    return samples


def _reported_elsewhere(cells: Sequence[Cell], completed: Mapping[str, Sequence[TrialResult]]) -> dict[str, dict[str, _Sample]]:
    """Returns, for each dataset that has a cell without results, the metrics that its other cells report, without numbers."""
    reported = {cell.config.dataset: dict[str, _Sample]() for cell in cells if not completed[cell.id]}
    for cell in cells:
        if cell.config.dataset not in reported:
            continue
        samples = reported[cell.config.dataset]
        for result in completed[cell.id]:
            for place, name in enumerate(column(result.metrics, "name")):
                if name not in samples:
                    samples[name] = _Sample(result.metrics[place])
    return reported


def _append(table: dict[str, list[Any]], sample: _Sample, planned_seeds: int) -> None:
    """Append one metric of a cell to the columns that describe the metric."""
    n = len(sample.values)
    for name in ("name", "kind", "subset", "target", "attribute", "unit"):
        table[name].append(getattr(sample.first, name))
    for name, value in summary(sample.values)._asdict().items():
        table[name].append(value)
    table["n"].append(n)
    table["complete"].append(n == planned_seeds)
    table["mc_error"].append(sum(sample.mc_errors) / n if n else math.nan)


def _about(cell: Cell) -> dict[str, Any]:
    """Returns the columns that describe the cell."""
    config = cell.config
    about = {name: getattr(config, name) for name in ("dataset", "source", "scale", "networks", "model", "beta")}
    return {"cell_id": cell.id, "label": cell.label, **about, "scale": config.scale or ""}
