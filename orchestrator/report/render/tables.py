"""Writes the table of cells: Markdown for a terminal or a README, LaTeX for a paper."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pandas as pd

from mopoe_core.metric_names import COHERENCE, JOINT, LOG_LIKELIHOOD, PROBE
from orchestrator.analysis.fronts import Front
from orchestrator.analysis.intervals import summary
from orchestrator.analysis.significance.exact_tests import gaps
from orchestrator.ledger.result import TrialResult
from orchestrator.report.render import latex as to_latex
from orchestrator.report.render import markdown as to_markdown
from orchestrator.report.render.numbers import mean_and_sd
from orchestrator.report.render.short_labels import shortened
from orchestrator.spec.trial import Cell, labels

DAGGER = r"$^{\dagger}$"
STAR = r"$^{*}$"


@dataclass(frozen=True)
class Entry:
    """One number of the table."""

    mean: float
    sd: float
    best: bool
    """Whether the mean is the best of its column, where only cells in which the metric is complete take part."""
    n: int
    """How many seeds have this number."""
    n_planned: int


@dataclass(frozen=True)
class Row:
    """One cell."""

    label: str
    """Without the last digits of long numbers."""
    n: int
    """How many seeds completed. A metric that some of them lack has fewer (`Entry.n`)."""
    n_planned: int
    probability: float | None
    on_front: bool
    entries: dict[str, Entry]
    """The numbers by metric, without metrics that the cell does not have."""
    near: frozenset[str] = frozenset()
    """Metrics in which the 95 % interval of the paired difference to the best cell, over their common seeds, includes 0."""


@dataclass(frozen=True)
class CellRows:
    """The table for readers: first the objectives, then the joint log-likelihood and the means over subsets of each size."""

    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    commits: tuple[str, ...] = ()
    """The commits of the code that produced the results."""
    latest_ms: int | None = None
    """The end of the latest epoch of all results, in milliseconds since 1970; None without results."""


def cell_rows(
    cells: Sequence[Cell],
    n_planned: Mapping[str, int],
    table: pd.DataFrame,
    front: Front,
    results: Sequence[TrialResult],
    chosen: Sequence[str] = (),
) -> CellRows:
    """Returns a row for each cell, with or without results, in the sweep's order. `n_planned` has the number of seeds by cell id.

    `table` is the cell table of `results`. The results themselves are needed for paired differences, commits and dates. `chosen` has the
    metrics to show; if it is empty, they are the default ones.
    """
    goals = {objective.metric: objective.goal for objective in front.objectives}
    metrics = tuple(chosen) or _default_metrics(table, list(goals))
    reported = table[table["n"] > 0]
    seed_counts = reported.groupby("cell_id")["n"].max().to_dict()
    best = {metric: _best(table, metric, goals.get(metric, "max")) for metric in metrics}
    near_best = {metric: _near_best(metric, best[metric], table, results) for metric in metrics}
    by_cell = _by_cell(reported[reported["name"].isin(metrics)], best)
    points = {point.cell_id: point for point in front.points}
    label_of = labels(cells)
    short = shortened(label_of.values())
    rows = []
    for cell in cells:
        entries, point = by_cell.get(cell.id, {}), points.get(cell.id)
        rows.append(
            Row(
                label=short[label_of[cell.id]],
                n=int(seed_counts.get(cell.id, 0)),
                n_planned=n_planned[cell.id],
                probability=point.shown_probability if point else None,
                on_front=point.on_front if point else False,
                entries={name: entries[name] for name in metrics if name in entries},
                near=frozenset(metric for metric in metrics if cell.id in near_best[metric]),
            )
        )
    commits = {str(result.provenance.get("commit", "unknown")) for result in results}
    latest = max((epoch.timestamp_ms for result in results for epoch in result.history[-1:]), default=None)
    return CellRows(metrics, tuple(rows), tuple(sorted(commits)), latest)


def _default_metrics(table: pd.DataFrame, objectives: Sequence[str]) -> tuple[str, ...]:
    """Returns the objectives, and the joint log-likelihood and the means over subsets of each size if the table has them."""
    names = list(dict.fromkeys(table["name"]))
    joint = [name for name in names if name == f"{LOG_LIKELIHOOD}/{JOINT}"]
    over_subsets = [name for name in names if name.startswith((f"{COHERENCE}/given_", f"{PROBE}/given_"))]
    return tuple(dict.fromkeys([*objectives, *joint, *over_subsets]))


def _by_cell(table: pd.DataFrame, best: Mapping[str, float]) -> dict[str, dict[str, Entry]]:
    """Returns the entries by the cell's id and the metric. `best` has the best mean of each metric."""
    columns = ("cell_id", "name", "mean", "sd", "n", "n_planned", "complete")
    by_cell: dict[str, dict[str, Entry]] = {}
    for cell_id, name, mean, sd, n, n_planned, complete in zip(*(table[column].tolist() for column in columns), strict=True):
        by_cell.setdefault(cell_id, {})[name] = Entry(mean, sd, bool(complete) and mean == best[name], n, n_planned)
    return by_cell


def _near_best(metric: str, best: float, table: pd.DataFrame, results: Sequence[TrialResult]) -> set[str]:
    """Returns the ids of the other complete cells that the seeds do not tell from the best cell; none if several cells are best.

    A cell with only one seed in common with the best cell has no interval, and is not among them.
    """
    rows = table[(table["name"] == metric) & table["complete"].astype(bool)]
    samples: dict[str, dict[int, float]] = {str(cell_id): {} for cell_id in rows["cell_id"]}
    for result in results:
        value = result.value(metric)
        if value is not None and result.trial.cell.id in samples:
            samples[result.trial.cell.id][result.trial.seed] = value
    best_ids = [str(cell_id) for cell_id in rows[rows["mean"] == best]["cell_id"]]
    if len(best_ids) != 1:
        return set()
    best_sample = samples.pop(best_ids[0])
    return {cell_id for cell_id, sample in samples.items() if _includes_zero(best_sample, sample)}


def _includes_zero(first: Mapping[int, float], second: Mapping[int, float]) -> bool:
    """Whether the 95 % t interval of the mean difference over common seeds includes 0."""
    difference = summary(gaps([(first[seed], second[seed]) for seed in sorted(first.keys() & second.keys())]))
    return difference.low <= 0 <= difference.high


def markdown(table: CellRows) -> str:
    """Returns a Markdown table. `*` marks the cells on the front, and bold the best of a column."""
    header = ["cell", "n", "front", *table.metrics]
    rows = []
    for row in table.rows:
        entries = [_markdown_entry(row.entries.get(metric), row.n) for metric in table.metrics]
        rows.append([to_markdown.escape(row.label), f"{row.n}/{row.n_planned}", _membership(row, "*"), *entries])
    return to_markdown.table(header, rows) + "\n"


def latex(table: CellRows, command: str) -> str:
    """Returns a LaTeX table with mean, sd and n, to be read with \\input. Needs \\usepackage{booktabs}.

    The best of a column is bold. A dagger marks numbers that the seeds do not tell from the best. The same results give the same bytes.
    """
    rows = []
    for row in table.rows:
        entries = [latex_entry(row.entries.get(metric), metric in row.near, row.n) for metric in table.metrics]
        rows.append(to_latex.row([to_latex.escape(row.label), f"{row.n}/{row.n_planned}", _membership(row, STAR), *entries]))
    head = [to_latex.escape(text) for text in ("cell", "n", "front", *table.metrics)]
    lines = comments(table, command)
    lines += to_latex.tabular("lcc" + "r" * len(table.metrics), [head], [rows])
    return "\n".join([*lines, rf"\par\smallskip{{\footnotesize {latex_note(table)}}}", ""])


def comments(table: CellRows, command: str) -> list[str]:
    """Returns LaTeX comments on the origin of the numbers."""
    return [to_latex.comment(line) for line in (command, *_origin(table))]


def shown(entry: Entry, n: int) -> str:
    """Returns mean and sd as a reader sees them, and the number of seeds if it is not the row's `n`."""
    return mean_and_sd(entry.mean, entry.sd) + fewer(entry, n)


def fewer(entry: Entry, n: int) -> str:
    """Returns how many seeds have this number, if fewer than the row's `n` completed seeds."""
    return "" if entry.n == n else f" ({entry.n}/{entry.n_planned})"


def _origin(table: CellRows) -> list[str]:
    """Returns a line with the commit and date of the results; none if there are no results."""
    if table.latest_ms is None:
        return []
    when = datetime.fromtimestamp(table.latest_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return [f"commit {', '.join(table.commits)}; the latest result was trained until {when} UTC"]


def latex_note(table: CellRows, with_probability: bool = True) -> str:
    """Returns the meaning of a table's numbers and marks. `with_probability`: the table has the probabilities of being on the front."""
    entries = [entry for row in table.rows for entry in row.entries.values()]
    parts = [r"Mean $\pm$ sd over n seeds" if any(not math.isnan(entry.sd) for entry in entries) else "Values of one seed"]
    parts += ["bold: best of the complete cells"] if any(entry.best for entry in entries) else []
    if any(fewer(entry, row.n) for row in table.rows for entry in row.entries.values()):
        parts.append("in brackets: the seeds that have a number, if fewer")
    if any(row.near for row in table.rows):
        parts.append(rf"{DAGGER}: the 95\,\% $t$ interval of the paired difference to the best over seeds includes 0")
    if any(row.on_front for row in table.rows):
        known = any(row.probability is not None for row in table.rows)
        parts.append(f"{STAR}: on the front" + (", before it how probable that is" if with_probability and known else ""))
    return "; ".join(parts) + "."


def _best(table: pd.DataFrame, metric: str, goal: str) -> float:
    means = table[(table["name"] == metric) & table["complete"].astype(bool)]["mean"]
    if len(means) == 0:
        return math.nan
    return float(means.max() if goal == "max" else means.min())


def _membership(row: Row, mark: str) -> str:
    """Returns the probability of being on the front, if there are enough seeds for one, and `mark` if the cell is on it."""
    star = mark if row.on_front else ""
    return star if row.probability is None else f"{row.probability:.2f}{star}"


def _markdown_entry(entry: Entry | None, n: int) -> str:
    return "" if entry is None else to_markdown.bold(mean_and_sd(entry.mean, entry.sd), entry.best) + fewer(entry, n)


def latex_entry(entry: Entry | None, near: bool, n: int) -> str:
    """Returns a number in LaTeX with its mark, and the number of seeds if it is not the row's `n`.

    `near` says that the seeds do not tell the number from the best.
    """
    if entry is None:
        return "--"
    text = to_latex.math(mean_and_sd(entry.mean, entry.sd, r"\pm"), entry.best)
    return (text if entry.best or not near else text + DAGGER) + fewer(entry, n)
