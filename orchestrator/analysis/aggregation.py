"""From trials to cells: means over seeds with n, spread and interval. Pure.

A diverged or missing seed never becomes a number. Its cell has fewer seeds than planned, and says so wherever it is shown.
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
"""Types of the columns of a table without rows. With rows, the values decide."""
CELL_COLUMNS = [
    "cell_id", "label", "dataset", "source", "scale", "networks", "model", "beta", "series", "name", "kind", "subset", "target",
    "attribute", "unit", "n", "n_planned", "complete", "mean", "sd", "low", "high", "mc_error",
]  # fmt: skip


def trial_table(results: Sequence[TrialResult]) -> pd.DataFrame:
    """A row for each trial and metric (`TRIAL_COLUMNS`). `n` counts the examples behind `value`; `mc_error` is its standard error.

    Trials that did not complete have no rows.
    """
    table: dict[str, list[Any]] = {name: [] for name in TRIAL_COLUMNS}
    about = {
        result.trial.cell.id: _about(result.trial.cell) for result in results
    }  # once per cell: per trial it took half the time
    for result in results:
        if result.status == "completed":
            of_trial = {"trial_id": result.trial.id, "seed": result.trial.seed, "status": result.status}
            for name, value in (about[result.trial.cell.id] | of_trial).items():
                table[name] += [value] * len(result.metrics)
            for name in METRIC_COLUMNS:
                table[name] += column(result.metrics, name)
    frame = pd.DataFrame(table, columns=TRIAL_COLUMNS)
    return frame if len(frame) else frame.astype(TRIAL_TYPES)


Seeds = Sequence[int] | Mapping[str, Sequence[int]]
"""Seeds that all cells have, or the seeds of each cell by its id."""


def planned(cells: Sequence[Cell], seeds: Seeds) -> dict[str, Sequence[int]]:
    """The seeds of each cell by its id."""
    return {cell.id: seeds[cell.id] if isinstance(seeds, Mapping) else seeds for cell in cells}


def cell_table(cells: Sequence[Cell], seeds: Seeds, results: Sequence[TrialResult]) -> pd.DataFrame:
    """A row for each cell and metric (`CELL_COLUMNS`), in the order of `cells`.

    n           seeds that completed, of n_planned; complete if they are equal. A cell without a completed seed has a row for each
                metric that other cells of its dataset have, with n = 0 and no numbers
    mean, sd    over seeds (sd with n - 1; NaN for one seed)
    low, high   95 % interval of the mean by Student's t (NaN for one seed)
    mc_error    Monte-Carlo standard error of the mean: the mean of the trials' errors. Seeds share the test set and its error. What they
                do not share makes the error of the mean smaller, so this is an upper limit
    """
    lines, short = series(cells), labels(cells)
    completed, wanted = completed_of_each(cells, seeds, results), planned(cells, seeds)
    reported_elsewhere = _reported_elsewhere(cells, completed)
    table: dict[str, list[Any]] = {name: [] for name in CELL_COLUMNS}
    for cell in cells:
        reported = _by_name(completed[cell.id]) if completed[cell.id] else reported_elsewhere[cell.config.dataset]
        about = _about(cell) | {"label": short[cell.id], "series": lines[cell.id], "n_planned": len(wanted[cell.id])}
        for name, value in about.items():
            table[name] += [value] * len(reported)
        for sample in reported.values():
            _append(table, sample, len(wanted[cell.id]))
    return pd.DataFrame(table, columns=CELL_COLUMNS) if table["cell_id"] else pd.DataFrame([], columns=CELL_COLUMNS)


def completed_of_each(cells: Sequence[Cell], seeds: Seeds, results: Sequence[TrialResult]) -> dict[str, list[TrialResult]]:
    """The completed trials of each cell among these seeds, by the cell's id, in the order of their seeds."""
    completed: dict[str, list[TrialResult]] = {cell.id: [] for cell in cells}
    wanted = {cell_id: set(planned_seeds) for cell_id, planned_seeds in planned(cells, seeds).items()}
    for result in sorted(results, key=lambda result: result.trial.seed):
        cell_id = result.trial.cell.id
        if result.status == "completed" and result.trial.seed in wanted.get(cell_id, ()):
            completed[cell_id].append(result)
    return completed


@dataclass
class _Sample:
    """One metric of the trials of a cell."""

    first: Metric
    """As the first trial reports it: its name, kind and unit."""
    values: list[float] = field(default_factory=list)
    mc_errors: list[float] = field(default_factory=list)


def _by_name(results: Iterable[TrialResult]) -> dict[str, _Sample]:
    """The metrics that any of the results reports, by full name."""
    samples: dict[str, _Sample] = {}
    for result in results:
        columns = (column(result.metrics, name) for name in ("name", "value", "mc_error"))
        for place, (name, value, mc_error) in enumerate(zip(*columns, strict=True)):
            sample = samples.get(name) or samples.setdefault(name, _Sample(result.metrics[place]))
            sample.values.append(value)
            sample.mc_errors.append(mc_error)
    return samples


def _reported_elsewhere(cells: Sequence[Cell], completed: Mapping[str, Sequence[TrialResult]]) -> dict[str, dict[str, _Sample]]:
    """The metrics that the cells of a dataset report, without numbers, for each dataset that has a cell without results."""
    reported = {cell.config.dataset: dict[str, _Sample]() for cell in cells if not completed[cell.id]}
    for cell in cells:
        names = reported.get(cell.config.dataset)
        for result in completed[cell.id] if names is not None else ():
            for place, name in enumerate(column(result.metrics, "name")):
                if names is not None and name not in names:
                    names[name] = _Sample(result.metrics[place])
    return reported


def _append(table: dict[str, list[Any]], sample: _Sample, planned_seeds: int) -> None:
    """Add one metric of a cell to the columns that describe the metric."""
    n = len(sample.values)
    for name in ("name", "kind", "subset", "target", "attribute", "unit"):
        table[name].append(getattr(sample.first, name))
    for name, value in summary(sample.values)._asdict().items():
        table[name].append(value)
    table["n"].append(n)
    table["complete"].append(n == planned_seeds)
    table["mc_error"].append(sum(sample.mc_errors) / n if n else math.nan)


def _about(cell: Cell) -> dict[str, Any]:
    config = cell.config
    about = {name: getattr(config, name) for name in ("dataset", "source", "scale", "networks", "model", "beta")}
    return {"cell_id": cell.id, "label": cell.label, **about, "scale": config.scale or ""}
