"""Tables of one kind of metric that are shaded by value. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from mopoe_core import metric_names
from orchestrator.analysis.comparable_groups import FrontGroup
from orchestrator.report.render import tables
from orchestrator.spec.trial import Cell, labels

HEADINGS = {
    metric_names.COHERENCE: "Coherence",
    metric_names.PROBE: "Linear probe",
    metric_names.LOG_LIKELIHOOD: "Log-likelihood",
    metric_names.LOG_LIKELIHOOD_PAPER_VIEW: "Log-likelihood as released (paper_view)",
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
"""What a heat map shows, by kind and unit."""


@dataclass(frozen=True)
class HeatMap:
    """A table of one kind of metric: a row a cell, a column a subset (and target), shaded by value."""

    anchor: str
    title: str
    label: str
    """Of the group of cells; empty for the only one."""
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[str, float], ...]], ...]
    """Label, then text and shade in [0, 1] for each column; shade is negative where there is no number."""


def sample_count(every: Sequence[Cell]) -> str:
    """How many samples an importance-weighted bound has: `15`, or `12 or 15`."""
    return " or ".join(str(count) for count in sorted({cell.config.importance_samples for cell in every}))


def of_groups(parts: Sequence[tuple[FrontGroup, pd.DataFrame]]) -> list[HeatMap]:
    """Those of each group with its table, kind by kind: shades compare the cells of one group alone."""
    made = [
        replace(one, anchor=group.named(one.anchor), label=group.label)
        for group, table in parts
        for one in heat_maps(group.cells, table)
    ]
    return sorted(made, key=lambda one: list(HEADINGS.values()).index(one.title))


def heat_maps(every: Sequence[Cell], table: pd.DataFrame) -> list[HeatMap]:
    """One a kind of metric that trials report."""
    partition = " or ".join(sorted({cell.config.evaluate_on for cell in every}))
    made = []
    for kind, heading in HEADINGS.items():
        part = table[table["kind"] == kind]
        units = dict.fromkeys(part[part["name"] != metric_names.JOINT_COHERENCE]["unit"]) or dict.fromkeys(part["unit"])
        note = " ".join(NOTES[kind][unit] for unit in units).format(partition=partition, samples=sample_count(every))
        if len(part):
            made.append(_heat_map(every, part, kind, heading, note))
    return made


def _heat_map(every: Sequence[Cell], part: pd.DataFrame, kind: str, title: str, note: str) -> HeatMap:
    columns = list(dict.fromkeys(part["name"]))
    low, high = float(part["mean"].min()), float(part["mean"].max())
    means: dict[str, dict[str, float]] = {}
    for cell_id, name, mean in _lines(part[part["n"] > 0], "cell_id", "name", "mean"):
        means.setdefault(cell_id, {})[name] = mean
    lacking = _lines(part[~part["complete"].astype(bool)], "cell_id", "n", "n_planned")
    missing = {cell_id: f" ({n}/{planned})" for cell_id, n, planned in lacking}
    rows, short = [], labels(every)
    for cell in every:
        own = means.get(cell.id, {})
        values = [own.get(column) for column in columns]
        shown = tuple(("", -1.0) if v is None else (tables.number(v), (v - low) / ((high - low) or 1)) for v in values)
        rows.append((short[cell.id] + missing.get(cell.id, ""), shown))
    titles = tuple(column.partition("/")[2].replace("/", " → ") for column in columns)
    return HeatMap(f"heat-{kind.replace('_', '-')}", title, "", note, titles, tuple(rows))


def _lines(table: pd.DataFrame, *columns: str) -> Iterator[tuple[Any, ...]]:
    """These columns of a table, row by row."""
    return zip(*(table[column].tolist() for column in columns), strict=True)
