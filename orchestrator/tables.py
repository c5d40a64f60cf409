"""Readable tables of cells: Markdown for a terminal or a README, LaTeX for a paper."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from mopoe_core.names import COHERENCE, JOINT, LOG_LIKELIHOOD, PROBE
from orchestrator.pareto import Front
from orchestrator.trial import Cell, labels

LATEX_ESCAPES = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip
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


@dataclass(frozen=True)
class CellRows:
    """The readable table: the objectives first, then the joint log-likelihood and the means over subsets of each size."""

    metrics: tuple[str, ...]
    rows: tuple[Row, ...]


def cell_rows(cells: Sequence[Cell], n_planned: Mapping[str, int], table: pd.DataFrame, front: Front) -> CellRows:
    """Rows in the sweep's order of cells, one for each, whether or not it has results; `n_planned` is its number of seeds by cell id."""
    goals = {objective.metric: objective.goal for objective in front.objectives}
    given = [name for name in dict.fromkeys(table["name"]) if name.startswith((f"{COHERENCE}/given_", f"{PROBE}/given_"))]
    joint = [name for name in dict.fromkeys(table["name"]) if name == f"{LOG_LIKELIHOOD}/{JOINT}"]
    metrics = tuple(dict.fromkeys([*goals, *joint, *given]))
    best = {metric: _best(table, metric, goals.get(metric, "max")) for metric in metrics}
    points = {point.cell_id: point for point in front.points}
    short = labels(cells)
    rows = []
    for cell in cells:
        own = table[(table.cell_id == cell.id) & (table["n"] > 0)]
        found = {row["name"]: row for row in own.to_dict("records") if row["name"] in metrics}
        entries = {m: Entry(found[m]["mean"], found[m]["sd"], found[m]["mean"] == best[m]) for m in metrics if m in found}
        point = points.get(cell.id)
        n = int(own["n"].max()) if len(own) else 0
        probability, on_front = (point.probability, point.on_front) if point else (None, False)
        rows.append(Row(short[cell.id], n, n_planned[cell.id], probability, on_front, entries))
    return CellRows(metrics, tuple(rows))


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
    """A booktabs table with mean, sd and n; the best of a column in bold. Needs \\usepackage{booktabs}."""
    columns = "lcc" + "r" * len(table.metrics)
    lines = [f"% {' '.join(command.split())}", rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    lines.append(" & ".join(escape(text) for text in ("cell", "n", "front", *table.metrics)) + r" \\")
    lines.append(r"\midrule")
    for row in table.rows:
        numbers = [_latex_entry(row.entries.get(metric)) for metric in table.metrics]
        lines.append(" & ".join([escape(row.label), f"{row.n}/{row.n_planned}", _latex_membership(row), *numbers]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


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


def _latex_entry(entry: Entry | None) -> str:
    if entry is None:
        return "--"
    text = shown(entry, r"\pm")
    return rf"$\mathbf{{{text}}}$" if entry.best else f"${text}$"
