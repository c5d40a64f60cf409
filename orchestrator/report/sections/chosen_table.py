"""Writes a LaTeX table of chosen metrics for a paper. It has a caption and a label, and fits a column or a page."""

from collections.abc import Sequence

from mopoe_core.errors import UserError
from orchestrator.analysis.comparable_groups import groups_of
from orchestrator.ledger.result import TrialResult
from orchestrator.report.render import latex as to_latex
from orchestrator.report.render import tables
from orchestrator.report.render.tables import CellRows, Row
from orchestrator.report.sections import group_section
from orchestrator.report.sections.group_section import Part
from orchestrator.spec.proper_names import proper
from orchestrator.spec.sweep_spec import SweepSpec

COLUMN_POINTS = 229.0
"""Width of a column of LaTeX's two-column article, the narrowest common column."""
CHARACTER_POINTS, PLUS_MINUS_POINTS, GAP_POINTS = 4.25, 6.0, 6.0
"""Widths in \\footnotesize: a digit, the extra space around a plus-minus sign, and the space between two columns."""
PAGE_POINTS = 345.0
"""Width of the text of LaTeX's one-column article."""
SCRIPT = 7 / 8
"""Width of a character in \\scriptsize, as a share of its width in \\footnotesize."""
MOST_ROWS = 40
"""The most rows that fit a page. A longer table goes over several pages."""
NAMES = {
    "log_likelihood": "log-likelihood",
    "log_likelihood_paper_view": "log-likelihood, paper's view",
    "effective_classes": "classes",
}
"""Parts of metric names as a paper writes them."""


def latex(spec: SweepSpec, results: Sequence[TrialResult], metrics: Sequence[str], command: str) -> str:
    """Returns a table for each group of cells that may be compared, with these metrics as columns and a row for each cell.

    A table of up to 40 rows is a float. It is as wide as a column if it fits, else as wide as the page. A longer table is a `longtable`,
    which LaTeX allows in one-column text only. Raises UserError if the metrics are wider than a page.
    """
    analysis = group_section.analysed(spec, groups_of(spec, results))
    return "\n".join(_table(spec, group_section.make(spec, group, metrics), command) for group in analysis.groups)


def _table(spec: SweepSpec, part: Part, command: str) -> str:
    rows, slug = part.rows, part.group.slug
    widths = _widths(rows)
    points = sum(widths) + GAP_POINTS * len(widths)
    if points * SCRIPT > PAGE_POINTS:
        raise UserError(_too_wide(rows, widths, points * SCRIPT))
    caption = f"{to_latex.escape(part.title, to_latex.CAPTION_SIGNS)}. {tables.latex_note(rows, with_probability=False)}"
    label = f"tab:{spec.name}{f'-{slug}' if slug else ''}"
    size = "footnotesize" if points <= PAGE_POINTS else "scriptsize"
    look = rf"\{size}\setlength{{\tabcolsep}}{{3pt}}"
    if len(rows.rows) > MOST_ROWS:
        return _long(rows, caption, label, command, look)
    return _floating(rows, caption, label, command, look, "table" if points <= COLUMN_POINTS else "table*")


def _too_wide(rows: CellRows, widths: Sequence[float], points: float) -> str:
    """Returns why the table is refused, and what the user can do."""
    count = len(rows.metrics)
    wide = f"--table: {count} metric{'' if count == 1 else 's'} and the labels are about {points:.0f} pt wide"
    label = f"the widest part is the label `{proper(_longest(rows).label)}`" if widths[0] == max(widths) else ""
    fewer = "name fewer" if count > 1 else "take the report's cells.tex and make it smaller"
    return "; ".join(filter(None, (f"{wide}, and a page has {PAGE_POINTS:.0f} pt", label, fewer)))


def _floating(rows: CellRows, caption: str, label: str, command: str, look: str, kind: str) -> str:
    lines = [
        *tables.comments(rows, command),
        rf"\begin{{{kind}}}[t]",
        rf"\centering{look}",
        rf"\caption{{{caption}}}",
        rf"\label{{{label}}}",
        *to_latex.tabular(_columns(rows), _heads(rows), [_body(rows)]),
        rf"\end{{{kind}}}",
    ]
    return "\n".join([*lines, ""])


def _long(rows: CellRows, caption: str, label: str, command: str, look: str) -> str:
    heads = [*map(to_latex.row, _heads(rows)), r"\midrule"]
    lines = [
        *tables.comments(rows, command),
        rf"\begingroup{look}",
        rf"\begin{{longtable}}{{{_columns(rows)}}}",
        rf"\caption{{{caption}}}\label{{{label}}}\\",
        r"\toprule",
        *heads,
        r"\endfirsthead",
        r"\toprule",
        *heads,
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
        *_body(rows),
        r"\end{longtable}",
        r"\endgroup",
    ]
    return "\n".join([*lines, ""])


def _columns(rows: CellRows) -> str:
    return "l" + "c" * _has_counts(rows) + "r" * len(rows.metrics)


def _has_counts(rows: CellRows) -> bool:
    """Whether the table needs a column with the seeds of each cell. If all cells have all seeds, the caption gives the number."""
    return len({(row.n, row.n_planned) for row in rows.rows}) > 1 or any(row.n < row.n_planned for row in rows.rows)


def _heads(rows: CellRows) -> list[list[str]]:
    """Returns the lines of the table's head. They have the parts of each metric's name one below another: `coherence` above `joint`."""
    parts = [[NAMES.get(part, part.replace("_", " ")) for part in metric.split("/")] for metric in rows.metrics]
    deepest = max(map(len, parts))
    columns = [["cell"], *([["n"]] if _has_counts(rows) else []), *parts]
    padded = [[*[""] * (deepest - len(column)), *column] for column in columns]
    return [[to_latex.escape(column[depth]) for column in padded] for depth in range(deepest)]


def _body(rows: CellRows) -> list[str]:
    counted = _has_counts(rows)
    return [
        to_latex.row([_label(row), *([f"{row.n}/{row.n_planned}"] if counted else []), *_entries(row, rows.metrics)])
        for row in rows.rows
    ]


def _label(row: Row) -> str:
    return to_latex.escape(proper(row.label), to_latex.CAPTION_SIGNS) + (tables.STAR if row.on_front else "")


def _entries(row: Row, metrics: Sequence[str]) -> list[str]:
    return [tables.latex_entry(row.entries.get(metric), metric in row.near, row.n) for metric in metrics]


def _longest(rows: CellRows) -> Row:
    return max(rows.rows, key=_label_length)


def _label_length(row: Row) -> int:
    return len(proper(row.label)) + row.on_front


def _widths(rows: CellRows) -> list[float]:
    """Returns the approximate widths of the columns, in points. The first is that of the labels."""
    heads = _heads(rows)
    widths = [max(map(_label_length, rows.rows), default=0) * CHARACTER_POINTS]
    if _has_counts(rows):
        widths.append(4 * CHARACTER_POINTS)
    for place, metric in enumerate(rows.metrics, len(widths)):
        head = max(len(line[place]) for line in heads) * CHARACTER_POINTS
        lengths = [len(tables.shown(row.entries[metric], row.n)) for row in rows.rows if metric in row.entries]
        widths.append(max(head, max(lengths, default=0) * CHARACTER_POINTS + PLUS_MINUS_POINTS))
    return widths
