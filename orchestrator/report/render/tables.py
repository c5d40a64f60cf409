"""Readable tables of cells: Markdown for a terminal or a README, LaTeX for a paper."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pandas as pd

from mopoe_core.metric_names import COHERENCE, JOINT, LOG_LIKELIHOOD, PROBE
from orchestrator.analysis.aggregation import summary
from orchestrator.analysis.exact_tests import gaps
from orchestrator.analysis.fronts import Front
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.trial import Cell, labels

LATEX_ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip
DAGGER = r"$^{\dagger}$"
MARKDOWN_ESCAPES = {ord(character): f"\\{character}" for character in "\\|<`"}
"""What could end a cell, or begin HTML or code. The backslash too: before a pipe it would undo the pipe's own."""


@dataclass(frozen=True)
class Entry:
    """One number of the table."""

    mean: float
    sd: float
    best: bool
    """Whether it is its column's best among complete cells."""


@dataclass(frozen=True)
class Row:
    """One cell."""

    label: str
    n: int
    n_planned: int
    probability: float | None
    on_front: bool
    entries: dict[str, Entry]
    """By metric; metrics that the cell lacks are missing."""
    near: frozenset[str] = frozenset()
    """Metrics in which the 95 % interval of its paired difference to the best, over the seeds that both have, includes 0."""


@dataclass(frozen=True)
class CellRows:
    """The readable table: the objectives first, then the joint log-likelihood and the means over subsets of each size."""

    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    commits: tuple[str, ...] = ()
    """Of the code that the results come from."""
    latest_ms: int | None = None
    """When the last epoch of any of the results ended, in milliseconds since 1970."""


def cell_rows(
    cells: Sequence[Cell],
    n_planned: Mapping[str, int],
    table: pd.DataFrame,
    front: Front,
    results: Sequence[TrialResult],
) -> CellRows:
    """Rows in the sweep's order of cells, one for each, whether or not it has results; `n_planned` is its number of seeds by cell id.

    `table` is made from `results`; those are needed for what is paired over seeds, and for where it all comes from.
    """
    goals = {objective.metric: objective.goal for objective in front.objectives}
    given = [name for name in dict.fromkeys(table["name"]) if name.startswith((f"{COHERENCE}/given_", f"{PROBE}/given_"))]
    joint = [name for name in dict.fromkeys(table["name"]) if name == f"{LOG_LIKELIHOOD}/{JOINT}"]
    metrics = tuple(dict.fromkeys([*goals, *joint, *given]))
    reported = table[["cell_id", "name", "n", "mean", "sd"]][table["n"] > 0]
    most = reported.groupby("cell_id")["n"].max().to_dict()
    own_of = _by_cell(reported[reported["name"].isin(metrics)])
    best = {metric: _best(table, metric, goals.get(metric, "max")) for metric in metrics}
    near = {metric: _near_best(metric, best[metric], table, results) for metric in metrics}
    points = {point.cell_id: point for point in front.points}
    short = labels(cells)
    rows = []
    for cell in cells:
        found = own_of.get(cell.id, {})
        entries = {m: Entry(*found[m], found[m][0] == best[m]) for m in metrics if m in found}
        point = points.get(cell.id)
        n = int(most.get(cell.id, 0))
        probability, on_front = (point.probability, point.on_front) if point else (None, False)
        alike = frozenset(metric for metric in metrics if cell.id in near[metric])
        rows.append(Row(short[cell.id], n, n_planned[cell.id], probability, on_front, entries, alike))
    commits = {str(result.provenance.get("commit", "unknown")) for result in results}
    latest = max((epoch.timestamp_ms for result in results for epoch in result.history[-1:]), default=None)
    return CellRows(metrics, tuple(rows), tuple(sorted(commits)), latest)


def _by_cell(table: pd.DataFrame) -> dict[str, dict[str, tuple[float, float]]]:
    """Mean and sd by cell's id and metric."""
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for cell_id, name, mean, sd in zip(*(table[column].tolist() for column in ("cell_id", "name", "mean", "sd")), strict=True):
        found.setdefault(cell_id, {})[name] = (mean, sd)
    return found


def _near_best(metric: str, best: float, table: pd.DataFrame, results: Sequence[TrialResult]) -> set[str]:
    """Ids of complete cells that the seeds do not tell from the best, which is none of them itself: none where it is one of several.

    A cell with a single seed in common with the best has no interval, and is not among them.
    """
    rows = table[(table["name"] == metric) & table["complete"].astype(bool)]
    samples: dict[str, dict[int, float]] = {str(cell_id): {} for cell_id in rows["cell_id"]}
    for result in results:
        value = result.value(metric)
        if value is not None and result.trial.cell.id in samples:
            samples[result.trial.cell.id][result.trial.seed] = value
    first = [str(cell_id) for cell_id in rows[rows["mean"] == best]["cell_id"]]
    if len(first) != 1:
        return set()
    top = samples.pop(first[0])
    return {cell_id for cell_id, sample in samples.items() if _includes_zero(top, sample)}


def _includes_zero(first: Mapping[int, float], second: Mapping[int, float]) -> bool:
    """Whether the 95 % t interval of the mean difference over common seeds includes 0."""
    difference = summary(gaps([(first[seed], second[seed]) for seed in sorted(first.keys() & second.keys())]))
    return difference["low"] <= 0 <= difference["high"]


def markdown(table: CellRows) -> str:
    """A Markdown table; `*` marks the front's cells, bold the best of a column."""
    header = ["cell", "n", "front", *table.metrics]
    lines = [header, ["---"] * len(header)]
    for row in table.rows:
        cells = [_markdown_entry(row.entries.get(metric)) for metric in table.metrics]
        lines.append([markdown_escape(row.label), f"{row.n}/{row.n_planned}", _membership(row), *cells])
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return (
        "\n".join("| " + " | ".join(f"{text:<{w}}" for text, w in zip(line, widths, strict=True)) + " |" for line in lines) + "\n"
    )


def latex(table: CellRows, command: str) -> str:
    """A booktabs table with mean, sd and n, to be read with \\input; needs \\usepackage{booktabs}. The best of a column is bold, and what
    its seeds do not tell from the best has a dagger. The same results give the same bytes.
    """
    columns = "lcc" + "r" * len(table.metrics)
    lines = [f"% {' '.join(line.split())}" for line in (command, *_origin(table))]
    lines += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    lines.append(" & ".join(escape(text) for text in ("cell", "n", "front", *table.metrics)) + r" \\")
    lines.append(r"\midrule")
    for row in table.rows:
        numbers = [_latex_entry(row.entries.get(metric), metric in row.near) for metric in table.metrics]
        lines.append(" & ".join([escape(row.label), f"{row.n}/{row.n_planned}", _latex_membership(row), *numbers]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", rf"\par\smallskip{{\footnotesize {_latex_note(table)}}}", ""])


def _origin(table: CellRows) -> list[str]:
    """Commit and date of the results."""
    if table.latest_ms is None:
        return []
    when = datetime.fromtimestamp(table.latest_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return [f"commit {', '.join(table.commits)}; the latest result was trained until {when} UTC"]


def _latex_note(table: CellRows) -> str:
    entries = [entry for row in table.rows for entry in row.entries.values()]
    said = [r"Mean $\pm$ sd over n seeds" if any(not math.isnan(entry.sd) for entry in entries) else "Values of one seed"]
    said += ["bold: best of the complete cells"] if any(entry.best for entry in entries) else []
    if any(row.near for row in table.rows):
        said.append(rf"{DAGGER}: the 95\,\% $t$ interval of the paired difference to the best over seeds includes 0")
    said += [r"$^{*}$: on the front, before it how probable that is"] if any(row.on_front for row in table.rows) else []
    return "; ".join(said) + "."


def escape(text: str) -> str:
    """Text as LaTeX shows it."""
    return "".join(LATEX_ESCAPES.get(character, character) for character in text)


def markdown_escape(text: str) -> str:
    """Text as a Markdown table shows it; without the bracket after it, [text] is no link or picture."""
    return text.translate(MARKDOWN_ESCAPES).replace("](", r"]\(")


def number(value: float) -> str:
    """Three decimals for shares, one for nats: what the spread over seeds can support."""
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def shown(entry: Entry, plus_minus: str = "±") -> str:
    """Mean and sd with the decimals of the mean; the mean alone for one seed, which has no spread."""
    if math.isnan(entry.sd):
        return number(entry.mean)
    return f"{number(entry.mean)} {plus_minus} {entry.sd:.{1 if abs(entry.mean) >= 10 else 3}f}"


def _best(table: pd.DataFrame, metric: str, goal: str) -> float:
    means = table[(table["name"] == metric) & table["complete"].astype(bool)]["mean"]
    if len(means) == 0:
        return math.nan
    return float(means.max() if goal == "max" else means.min())


def _membership(row: Row) -> str:
    star = "*" if row.on_front else ""
    return star if row.probability is None else f"{row.probability:.2f}{star}"


def _latex_membership(row: Row) -> str:
    star = r"$^{*}$" if row.on_front else ""
    return star if row.probability is None else f"{row.probability:.2f}{star}"


def _markdown_entry(entry: Entry | None) -> str:
    if entry is None:
        return ""
    return f"**{shown(entry)}**" if entry.best else shown(entry)


def _latex_entry(entry: Entry | None, near: bool) -> str:
    if entry is None:
        return "--"
    text = shown(entry, r"\pm")
    return rf"$\mathbf{{{text}}}$" if entry.best else f"${text}$" + (DAGGER if near else "")
