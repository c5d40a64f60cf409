"""Writes the tables in the paper's layout as Markdown, LaTeX and data frames. Pure."""

from collections.abc import Sequence
from itertools import groupby

import pandas as pd

from orchestrator.report.paper.paper_tables import Entry, PaperTable, Row
from orchestrator.report.paper.published import Column
from orchestrator.report.render import latex as to_latex
from orchestrator.report.render import markdown as to_markdown
from orchestrator.report.render.numbers import MISSING, mean_and_sd
from orchestrator.report.render.tables import fewer

FRAME_COLUMNS = [
    "table", "dataset", "source", "scale", "networks", "beta", "paper_beta", "cell_id", "row", "model", "column", "metric",
    "n", "n_planned", "mean", "sd", "low", "high", "best",
]  # fmt: skip
BOLD = "Bold: a column's best among rows with all seeds."


def caption(table: PaperTable) -> str:
    """Returns a paragraph on what the table shows and how it was measured."""
    return f"{table.title}. {table.note} {BOLD}"


def frame(table: PaperTable) -> pd.DataFrame:
    """Returns a row for each number of the table (`FRAME_COLUMNS`), unrounded. `low` to `high` is the 95 % t interval of the mean."""
    config = table.config
    group = (
        table.key,
        config.dataset,
        config.source,
        config.scale or "own sizes",
        config.networks,
        table.beta,
        table.layout.beta,
    )
    rows = [
        (*group, row.cell.id, row.label, row.model, column.text, column.metric)
        + (entry.n, entry.n_planned, entry.mean, entry.sd, entry.low, entry.high, entry.best)
        for row in table.rows
        for column, entry in zip(table.columns, row.entries, strict=True)
    ]
    return pd.DataFrame(rows, columns=FRAME_COLUMNS)


def markdown(table: PaperTable) -> str:
    """Returns the caption and the table in Markdown, with the best of each column in bold."""
    header = ["Model", "n", *(column.text for column in table.columns)]
    body = [
        [name, seeds_text(table, row), *(_markdown_entry(entry, row) for entry in row.entries)]
        for name, row in zip(table.row_names, table.rows, strict=True)
    ]
    return f"**{table.title}.** {table.note} {BOLD}\n\n{grid([header, *body])}"


def latex(table: PaperTable, command: str) -> str:
    """Returns the table in LaTeX with its caption, with the best of each column in bold.

    It shrinks to the width of the text. Needs \\usepackage{booktabs,graphicx}.
    """
    body = [
        to_latex.row([tex(name), seeds_text(table, row), *(_latex_entry(entry, row) for entry in row.entries)])
        for name, row in zip(table.row_names, table.rows, strict=True)
    ]
    tabular = to_latex.tabular("lc" + "c" * len(table.columns), _heads(table.columns), [body])
    return to_latex.floating_table(tex(caption(table)), f"tab:{table.name}", tabular, command)


def grid(lines: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table of plain texts. The first line is the header."""
    header, *rows = [[to_markdown.escape(text) for text in line] for line in lines]
    return to_markdown.table(header, rows, full_rule=True) + "\n"


def tex(text: str) -> str:
    """Returns plain text in LaTeX, with the signs that captions use."""
    return to_latex.escape(text, to_latex.CAPTION_SIGNS)


def seeds_text(table: PaperTable, row: Row) -> str:
    """Returns the row's number of completed seeds, such as `5`, or `3/5` if some are missing."""
    return str(row.n) if row.n == table.n_planned else f"{row.n}/{table.n_planned}"


def _heads(columns: Sequence[Column]) -> list[list[str]]:
    """Returns the header's rows in LaTeX. If columns share headings, these are in a row above, each with a rule below it."""
    header = ["Model", "$n$", *(column.tex for column in columns)]
    if not any(column.group for column in columns):
        return [header]
    shared_headings, rules, start = ["", ""], "", 3
    for group, members in groupby(columns, key=lambda column: column.group):
        end = start + len(list(members)) - 1
        shared_headings.append(rf"\multicolumn{{{end - start + 1}}}{{c}}{{{tex(group)}}}")
        if group:
            rules += rf"\cmidrule(lr){{{start}-{end}}} "
        start = end + 1
    return [shared_headings, [rules + header[0], *header[1:]]]


def _markdown_entry(entry: Entry, row: Row) -> str:
    if entry.n == 0:
        return MISSING
    return to_markdown.bold(mean_and_sd(entry.mean, entry.sd), entry.best) + fewer(entry, row.n)


def _latex_entry(entry: Entry, row: Row) -> str:
    if entry.n == 0:
        return "--"
    return to_latex.math(mean_and_sd(entry.mean, entry.sd, r"\pm"), entry.best) + fewer(entry, row.n)
