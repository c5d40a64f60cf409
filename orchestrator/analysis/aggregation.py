"""From trials to cells: means over seeds with n, spread and interval. Pure.

A diverged or missing seed never becomes a number: the cell then has n of n_planned, and says so wherever it is shown.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pandas as pd
from scipy import stats

from mopoe_core.metric_names import Metric
from orchestrator.ledger.result import TrialResult
from orchestrator.ledger.result_columns import column
from orchestrator.spec.trial import Cell, labels, series

CONFIDENCE = 0.95
TRIAL_COLUMNS = [
    "trial_id", "cell_id", "label", "dataset", "source", "scale", "networks", "model", "beta", "seed", "status",
    "name", "kind", "subset", "target", "attribute", "value", "mc_error", "n", "unit",
]  # fmt: skip
METRIC_COLUMNS = TRIAL_COLUMNS[TRIAL_COLUMNS.index("name") :]
NUMBERS = {"beta": "float64", "value": "float64", "mc_error": "float64", "seed": "int64", "n": "int64"}
TRIAL_TYPES = {name: NUMBERS.get(name, "str") for name in TRIAL_COLUMNS}
"""Of the columns of a table without rows: in one with rows they are what its values are."""
CELL_COLUMNS = [
    "cell_id", "label", "dataset", "source", "scale", "networks", "model", "beta", "series", "name", "kind", "subset", "target",
    "attribute", "unit", "n", "n_planned", "complete", "mean", "sd", "low", "high", "mc_error",
]  # fmt: skip


def trial_table(results: Sequence[TrialResult]) -> pd.DataFrame:
    """A row a trial and metric (`TRIAL_COLUMNS`); `n` counts the examples behind `value`, `mc_error` is its standard error.

    Trials that did not complete have no rows.
    """
    table: dict[str, list[Any]] = {name: [] for name in TRIAL_COLUMNS}
    about = {result.trial.cell.id: _about(result.trial.cell) for result in results}  # once a cell: else half the time
    for result in results:
        if result.status == "completed":
            own = {"trial_id": result.trial.id, "seed": result.trial.seed, "status": result.status}
            for name, value in (about[result.trial.cell.id] | own).items():
                table[name] += [value] * len(result.metrics)
            for name in METRIC_COLUMNS:
                table[name] += column(result.metrics, name)
    made = pd.DataFrame(table, columns=TRIAL_COLUMNS)
    return made if len(made) else made.astype(TRIAL_TYPES)


Seeds = Sequence[int] | Mapping[str, Sequence[int]]
"""The seeds that every cell has, or those of each by the cell's id."""


def planned(cells: Sequence[Cell], seeds: Seeds) -> dict[str, Sequence[int]]:
    """The seeds of each cell by its id."""
    return {cell.id: seeds[cell.id] if isinstance(seeds, Mapping) else seeds for cell in cells}


def cell_table(cells: Sequence[Cell], seeds: Seeds, results: Sequence[TrialResult]) -> pd.DataFrame:
    """A row a cell and metric (`CELL_COLUMNS`), in the order of `cells`.

    n           seeds that completed, of n_planned; complete if they are equal. A cell without any has a row for each metric that
                other cells of its dataset have, with n = 0 and no numbers
    mean, sd    over seeds (sd with n - 1; NaN for one seed)
    low, high   95 % interval of the mean by Student's t (NaN for one seed)
    mc_error    Monte-Carlo standard error of the mean: that of a trial, averaged. Seeds share the test set, and with it the
                error; what they do not share makes it smaller, so this is an upper end
    """
    lines, short = series(cells), labels(cells)
    found, wanted = completed_of_each(cells, seeds, results), planned(cells, seeds)
    elsewhere = _elsewhere(cells, found)
    table: dict[str, list[Any]] = {name: [] for name in CELL_COLUMNS}
    for cell in cells:
        own = found[cell.id]
        reported = _by_name(own) if own else elsewhere[cell.config.dataset]
        about = _about(cell) | {"label": short[cell.id], "series": lines[cell.id], "n_planned": len(wanted[cell.id])}
        for name, value in about.items():
            table[name] += [value] * len(reported)
        for sample in reported.values():
            _append(table, sample, len(wanted[cell.id]))
    return pd.DataFrame(table, columns=CELL_COLUMNS) if table["cell_id"] else pd.DataFrame([], columns=CELL_COLUMNS)


def completed_of_each(cells: Sequence[Cell], seeds: Seeds, results: Sequence[TrialResult]) -> dict[str, list[TrialResult]]:
    """Cell id to the cell's completed trials among these seeds, by seed."""
    found: dict[str, list[TrialResult]] = {cell.id: [] for cell in cells}
    wanted = {cell_id: set(own) for cell_id, own in planned(cells, seeds).items()}
    for result in sorted(results, key=lambda result: result.trial.seed):
        cell_id = result.trial.cell.id
        if result.status == "completed" and result.trial.seed in wanted.get(cell_id, ()):
            found[cell_id].append(result)
    return found


def summary(values: Sequence[float]) -> dict[str, float]:
    """mean, sd, and the low and high end of the 95 % t interval of the mean; NaN where there are too few values to say."""
    n = len(values)
    if n == 0:
        return dict.fromkeys(("mean", "sd", "low", "high"), math.nan)
    mean = math.fsum(values) / n
    if n == 1:
        return {"mean": mean, "sd": math.nan, "low": math.nan, "high": math.nan}
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    half = _quantile(n - 1) * sd / math.sqrt(n)
    return {"mean": mean, "sd": sd, "low": mean - half, "high": mean + half}


@cache
def _quantile(degrees: int) -> float:
    """Of Student's t at the upper end of the interval: a sweep asks for few, tens of thousands of times."""
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, degrees))


@dataclass
class _Sample:
    """One metric of the trials of a cell."""

    first: Metric
    """What it is, from the first trial that reports it."""
    values: list[float] = field(default_factory=list)
    mc_errors: list[float] = field(default_factory=list)


def _by_name(results: Iterable[TrialResult]) -> dict[str, _Sample]:
    """The metrics that any of the results reports."""
    found: dict[str, _Sample] = {}
    for result in results:
        columns = (column(result.metrics, name) for name in ("name", "value", "mc_error"))
        for place, (name, value, mc_error) in enumerate(zip(*columns, strict=True)):
            sample = found.get(name) or found.setdefault(name, _Sample(result.metrics[place]))
            sample.values.append(value)
            sample.mc_errors.append(mc_error)
    return found


def _elsewhere(cells: Sequence[Cell], found: Mapping[str, Sequence[TrialResult]]) -> dict[str, dict[str, _Sample]]:
    """By dataset: the metrics that its cells report, without numbers; of datasets with a cell that has no results."""
    reported = {cell.config.dataset: dict[str, _Sample]() for cell in cells if not found[cell.id]}
    for cell in cells:
        names = reported.get(cell.config.dataset)
        for result in found[cell.id] if names is not None else ():
            for place, name in enumerate(column(result.metrics, "name")):
                if names is not None and name not in names:
                    names[name] = _Sample(result.metrics[place])
    return reported


def _append(table: dict[str, list[Any]], sample: _Sample, planned_seeds: int) -> None:
    """Add one metric of a cell to the columns that are the metric's own."""
    n = len(sample.values)
    for name in ("name", "kind", "subset", "target", "attribute", "unit"):
        table[name].append(getattr(sample.first, name))
    for name, value in summary(sample.values).items():
        table[name].append(value)
    table["n"].append(n)
    table["complete"].append(n == planned_seeds)
    table["mc_error"].append(_mc_error(sample.mc_errors))


def _mc_error(mc_errors: Sequence[float]) -> float:
    """Standard error of the mean of metrics that share their test set; NaN for none."""
    return sum(mc_errors) / len(mc_errors) if mc_errors else math.nan


def _about(cell: Cell) -> dict[str, Any]:
    config = cell.config
    about = {name: getattr(config, name) for name in ("dataset", "source", "scale", "networks", "model", "beta")}
    return {"cell_id": cell.id, "label": cell.label, **about, "scale": config.scale or ""}
