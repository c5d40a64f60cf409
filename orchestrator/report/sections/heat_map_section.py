"""Makes tables of one kind of metric, shaded by value. Pure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pandas as pd

from mopoe_core import metric_names
from orchestrator.analysis.comparable_groups import FrontGroup
from orchestrator.report.render.numbers import number
from orchestrator.report.render.short_labels import shortened
from orchestrator.spec.trial import Cell, labels

HEADINGS = {
    metric_names.COHERENCE: "Coherence",
    metric_names.PROBE: "Linear probe",
    metric_names.LOG_LIKELIHOOD: "Log-likelihood",
    metric_names.LOG_LIKELIHOOD_PAPER_VIEW: "Log-likelihood as in the released code (paper_view)",
}
SHARE, ACCURACY, NATS = (
    metric_names.UNITS[kind] for kind in (metric_names.COHERENCE, metric_names.PROBE, metric_names.LOG_LIKELIHOOD)
)
NOTES = {
    metric_names.COHERENCE: {
        SHARE: "Share of {partition} examples whose generated target shows the input's class; each column reads given → generated. "
        "joint: share of draws from the prior on which all classifiers agree.",
        metric_names.AVERAGE_PRECISION: "Average precision of a classifier's scores on the generated target, for each attribute and as "
        "the mean over all; each column reads given → generated. joint: share of attributes on which all classifiers agree, over draws "
        "from the prior.",
    },
    metric_names.PROBE: {
        ACCURACY: "Accuracy of a logistic regression on 500 posterior means, on the {partition} set.",
        metric_names.AVERAGE_PRECISION: "Average precision of the scores of logistic regressions on 500 posterior means, on the "
        "{partition} set, for each attribute and as the mean over all.",
    },
    metric_names.LOG_LIKELIHOOD: {
        NATS: "log p(X) of all modalities in nats, importance-weighted with {samples} samples from q(z | subset): a bound."
    },
    metric_names.LOG_LIKELIHOOD_PAPER_VIEW: {
        NATS: "The released code's number: its log-mean-exp runs over different examples, so it is not a bound. For comparison only."
    },
}
"""The explanation of a heat map, by kind and unit of the metric."""
LEAST_RANGE = 0.2
"""The smallest range of a column that uses all shades, as a share of the table's range. In a column with a smaller range shades differ
less, so that cells with nearly equal values look alike."""
SHADES = "Shades compare the cells of one column: the larger the number, the darker."


@dataclass(frozen=True)
class HeatMap:
    """A table of one kind of metric, shaded by value: rows are cells, columns are subsets (and targets)."""

    anchor: str
    title: str
    label: str
    """The label of the group of cells; empty for the only group."""
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[str, float], ...]], ...]
    """The cell's short label, then text and shade of each column. The shade is in [0, 1] for each column; negative without a number."""


def sample_count(cells: Sequence[Cell]) -> str:
    """Returns how many samples the importance-weighted bounds use: `15`, or `12 or 15`."""
    return " or ".join(str(count) for count in sorted({cell.config.importance_samples for cell in cells}))


def of_groups(parts: Sequence[tuple[FrontGroup, pd.DataFrame]]) -> list[HeatMap]:
    """Returns the heat maps of each group, given with its table, kind by kind. Shades compare only cells of one group."""
    maps = [
        replace(heat_map, anchor=group.named(heat_map.anchor), label=group.label)
        for group, table in parts
        for heat_map in heat_maps(group.cells, table)
    ]
    return sorted(maps, key=lambda heat_map: list(HEADINGS.values()).index(heat_map.title))


def heat_maps(cells: Sequence[Cell], table: pd.DataFrame) -> list[HeatMap]:
    """Returns a heat map for each kind of metric that trials report."""
    partition = " or ".join(sorted({cell.config.evaluate_on for cell in cells}))
    maps = []
    for kind, heading in HEADINGS.items():
        part = table[table["kind"] == kind]
        units = dict.fromkeys(part[part["name"] != metric_names.JOINT_COHERENCE]["unit"]) or dict.fromkeys(part["unit"])
        texts = [NOTES[kind][unit] for unit in units]
        note = " ".join([*texts, SHADES]).format(partition=partition, samples=sample_count(cells))
        if len(part):
            maps.append(_heat_map(cells, part, kind, heading, note))
    return maps


def _heat_map(cells: Sequence[Cell], part: pd.DataFrame, kind: str, title: str, note: str) -> HeatMap:
    columns = list(dict.fromkeys(part["name"]))
    shades = _shades(part)
    means: dict[str, dict[str, float]] = {}
    for cell_id, name, mean in _lines(part[part["n"] > 0], "cell_id", "name", "mean"):
        means.setdefault(cell_id, {})[name] = mean
    incomplete = _lines(part[~part["complete"].astype(bool)], "cell_id", "n", "n_planned")
    seed_counts = {cell_id: f" ({n}/{planned})" for cell_id, n, planned in incomplete}
    rows, label_of = [], labels(cells)
    short = shortened(label_of.values())
    for cell in cells:
        values = [means.get(cell.id, {}).get(column) for column in columns]
        entries = tuple(
            ("", -1.0) if value is None else (number(value), shades[column](value))
            for column, value in zip(columns, values, strict=True)
        )
        rows.append((short[label_of[cell.id]] + seed_counts.get(cell.id, ""), entries))
    titles = tuple(column.partition("/")[2].replace("/", " → ") for column in columns)
    return HeatMap(f"heat-{kind.replace('_', '-')}", title, "", note, titles, tuple(rows))


def _shades(part: pd.DataFrame) -> dict[str, Callable[[float], float]]:
    """Returns, for each column, the function from a mean to its shade.

    Each column has its own scale. Subsets differ more than cells do, so one scale for all would compare the columns and not the cells.
    """
    table_range = float(part["mean"].max() - part["mean"].min())
    extremes = part.groupby("name", sort=False)["mean"].agg(["min", "max"])
    shades: dict[str, Callable[[float], float]] = {}
    for name, low, high in zip(extremes.index, extremes["min"], extremes["max"], strict=True):
        extent = max(float(high - low), LEAST_RANGE * table_range) or 1.0
        shades[str(name)] = partial(_shade, float(low), extent)
    return shades


def _shade(low: float, extent: float, value: float) -> float:
    return (value - low) / extent


def _lines(table: pd.DataFrame, *columns: str) -> Iterator[tuple[Any, ...]]:
    """Returns these columns of a table, row by row."""
    return zip(*(table[column].tolist() for column in columns), strict=True)
