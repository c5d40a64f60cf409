"""A sweep's results in the layout of the paper's tables. Pure: works on cells and trial results.

A table is made for each published table and each group of cells that may be compared (`front_groups`) and share their networks, so that
what stands in one table may be compared. Numbers are means over the seeds that completed; n says how many those are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import pandas as pd

from mopoe_core.config.deviations import deviations
from mopoe_core.config.roles import Role
from mopoe_core.config.training_config import TrainingConfig, fields_with
from mopoe_core.family.registry import TITLES
from orchestrator.analysis.aggregation import completed_of_each, summary
from orchestrator.analysis.comparable_groups import front_groups
from orchestrator.analysis.model_groups import common_beta, model_line, setting
from orchestrator.ledger.result import TrialResult
from orchestrator.report.paper.published import Column, Layout, layouts
from orchestrator.report.render import tables
from orchestrator.spec.trial import Cell, series, spelled

FRAME_COLUMNS = [
    "table", "dataset", "source", "scale", "networks", "beta", "paper_beta", "cell_id", "row", "model", "column", "metric",
    "n", "n_planned", "mean", "sd", "low", "high", "best",
]  # fmt: skip
BOLD = "Bold: a column's best among rows with all seeds."
TEX_SYMBOLS = {"β": r"$\beta$", "±": r"$\pm$", "−": "--", "→": r"$\to$", "|": "$|$", "τ": r"$\tau$"}


@dataclass(frozen=True)
class Entry(tables.Entry):
    """One number: mean and sd over seeds, with `best` only where at least two rows have all their seeds."""

    low: float
    """End of the 95 % t interval of the mean; NaN below two seeds, as `high` and `sd`."""
    high: float
    n: int
    """Seeds that have this number; 0 where `mean` is NaN."""
    n_planned: int


@dataclass(frozen=True)
class Row:
    """One series at the table's beta."""

    label: str
    model: str
    """As `Published.model`: MoPoE trained on Eq. (5) is `eq5`."""
    cell: Cell
    n: int
    """Seeds that completed."""
    entries: tuple[Entry, ...]
    """One a column."""


@dataclass(frozen=True)
class PaperTable:
    """A published table's layout with a sweep's numbers."""

    key: str
    """As `Layout.key`; `table4_paper_view` is Table 4 as the released code computes it."""
    name: str
    """The key and the group of cells: unlike any other table's of the sweep, and fit for a file."""
    title: str
    """Says the dataset and, where there is one, the estimator of the log-likelihood."""
    note: str
    """Source, scale, networks, beta and whose it is, seeds, what is measured, and what else a reader must know."""
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    """The paper's models in its order, then the others."""
    beta: float
    layout: Layout
    n_planned: int

    @property
    def config(self) -> TrainingConfig:
        """A configuration of its group: all rows share dataset, source, scale, networks and modalities."""
        return self.rows[0].cell.config


def paper_tables(cells: Sequence[Cell], seeds: Sequence[int], results: Sequence[TrialResult]) -> list[PaperTable]:
    """Every published table that the cells have a row for, group by group in the order of `cells`.

    A cell without results has a row without numbers. Beta is the published one or that which stands for it (`groups.common_beta`).
    """
    made: list[PaperTable] = []
    comparable = front_groups(cells, results)
    for group in comparable.groups:
        for own in _alike(group.cells):
            for table in _of_group(own, seeds, group.results):
                again = sum(other.name.partition("--")[0] == table.name for other in made)
                name = f"{table.name}--{again + 1}" if again else table.name
                made.append(replace(table, name=name, note=_with_label(table, group.label)))
    return made


def _alike(cells: Sequence[Cell]) -> list[list[Cell]]:
    """The cells by what a table's title and setting say."""
    groups: dict[tuple[object, ...], list[Cell]] = {}
    for cell in cells:
        c = cell.config
        groups.setdefault((c.dataset, c.source, c.scale, c.networks, c.modalities), []).append(cell)
    return list(groups.values())


def _of_group(cells: Sequence[Cell], seeds: Sequence[int], results: Sequence[TrialResult]) -> list[PaperTable]:
    made = []
    for layout in layouts(cells[0].config.dataset, len(cells[0].config.modalities)):
        own = [cell for cell in cells if not layout.closed or cell.config.published_model in layout.models]
        if not layout.closed or {cell.config.published_model for cell in own} == set(layout.models):
            made.append(_table(layout, own, seeds, results))
    return made


def _with_label(table: PaperTable, label: str) -> str:
    """The table's note, with what title and setting do not say of its group."""
    more = [word for word in label.split(", ") if word not in table.note and word != table.config.dataset]
    return f"{table.note} Of the cells with {', '.join(more)}." if more and label else table.note


def caption(table: PaperTable) -> str:
    """What the table shows and how it was come by, in one paragraph."""
    return f"{table.title}. {table.note} {BOLD}"


def frame(table: PaperTable) -> pd.DataFrame:
    """A row a row and column of the table (`FRAME_COLUMNS`), unrounded; low and high are the 95 % t interval of the mean."""
    c = table.config
    group = (table.key, c.dataset, c.source, c.scale or "own sizes", c.networks, table.beta, table.layout.beta)
    rows = [
        (*group, row.cell.id, row.label, row.model, column.text, column.metric)
        + (e.n, e.n_planned, e.mean, e.sd, e.low, e.high, e.best)
        for row in table.rows
        for column, e in zip(table.columns, row.entries, strict=True)
    ]
    return pd.DataFrame(rows, columns=FRAME_COLUMNS)


def markdown(table: PaperTable) -> str:
    """Caption and table; the best of a column in bold."""
    header = ["Model", "n", *(column.text for column in table.columns)]
    body = [[row.label, _row_n(table, row), *(_markdown_entry(entry, row) for entry in row.entries)] for row in table.rows]
    return f"**{table.title}.** {table.note} {BOLD}\n\n{grid([header, *body])}"


def latex(table: PaperTable, command: str) -> str:
    """A table with its caption, the best of a column in bold. Needs \\usepackage{booktabs,graphicx}; shrinks to the text's width."""
    body = [[tex(row.label), _row_n(table, row), *(_latex_entry(entry, row) for entry in row.entries)] for row in table.rows]
    spec = "lc" + "c" * len(table.columns)
    return tex_table(caption(table), f"tab:{table.name}", spec, _heads(table.columns), body, command)


def grid(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table, padded, whose first line is its header."""
    escaped = [[text.replace("|", r"\|") for text in line] for line in lines]
    widths = [max(3, *(len(line[i]) for line in escaped)) for i in range(len(escaped[0]))]
    padded = [[f"{text:<{width}}" for text, width in zip(line, widths, strict=True)] for line in escaped]
    return (
        "\n".join("| " + " | ".join(line) + " |" for line in [padded[0], ["-" * width for width in widths], *padded[1:]]) + "\n"
    )


def tex_table(
    about: str, label: str, columns: str, heads: Sequence[Sequence[str]], body: Sequence[Sequence[str]], command: str
) -> str:
    """A booktabs table of lines that are LaTeX already, below its caption, which is plain text; `command` becomes a comment."""
    lines = [
        f"% {' '.join(command.split())}",
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{tex(about)}}}",
        rf"\label{{{label}}}",
    ]
    lines += [
        r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
    ]
    lines += [" & ".join(line) + r" \\" for line in heads] + [r"\midrule"]
    lines += [" & ".join(line) + r" \\" for line in body]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}}", r"\end{table}", ""])


def tex(text: str) -> str:
    """Plain text as LaTeX shows it, with the symbols that captions use."""
    return "".join(TEX_SYMBOLS.get(character) or tables.escape(character) for character in text)


def _table(layout: Layout, cells: Sequence[Cell], seeds: Sequence[int], results: Sequence[TrialResult]) -> PaperTable:
    lines = _row_labels(cells)
    beta = _beta(layout, cells)
    chosen = _in_order([cell for cell in cells if cell.config.beta == beta], layout.models)
    found = completed_of_each(chosen, seeds, results)
    rows = []
    for cell in chosen:
        done = found[cell.id]
        entries = tuple(_entry(done, column.metric, len(seeds)) for column in layout.columns)
        rows.append(Row(lines[cell.id], cell.config.published_model, cell, len(done), entries))
    c = chosen[0].config
    group = (c.source, c.scale or "own", c.networks, *(f"{count}m" for count in [c.modality_count] if count))
    absent = [line for line in dict.fromkeys(lines.values()) if line not in {row.label for row in rows}]
    note = _note(layout, beta, rows, len(seeds), absent)
    name = "-".join((layout.key, *group))
    return PaperTable(layout.key, name, layout.title, note, layout.columns, _with_best(rows), beta, layout, len(seeds))


def _row_labels(cells: Sequence[Cell]) -> dict[str, str]:
    """Cell id to its series, under the published name of its model; Eq. (5) is a model of its own here."""
    found = {}
    for model in _models(cells):
        own = [cell for cell in cells if cell.config.published_model == model]
        for cell_id, line in series(own).items():
            found[cell_id] = " ".join([TITLES[model], *line.split(" ")[1:]])
    return found


def _models(cells: Sequence[Cell]) -> list[str]:
    """Under their published names, each once."""
    return list(dict.fromkeys(cell.config.published_model for cell in cells))


def _beta(layout: Layout, cells: Sequence[Cell]) -> float:
    """That of the paper's models; of the others where there are none of the paper's."""
    present = _models(cells)
    models = [model for model in layout.models if model in present] or present
    beta = common_beta(layout.beta, {model: model_line(cells, model) for model in models})
    assert beta is not None  # each of these models has a cell
    return beta


def _in_order(cells: Sequence[Cell], models: Sequence[str]) -> list[Cell]:
    """Of each of the paper's models the cell that differs from the paper's setting in the fewest fields; then the others."""
    own = {model: [cell for cell in cells if cell.config.published_model == model] for model in models}
    first = [min(found, key=lambda cell: len(deviations(cell.config))) for found in own.values() if found]
    others = [cell for cell in cells if cell not in first]
    return [*first, *sorted(others, key=lambda cell: list(TITLES).index(cell.config.published_model))]


def _entry(done: Sequence[TrialResult], metric: str, n_planned: int) -> Entry:
    values = [value for result in done if (value := result.value(metric)) is not None]
    return Entry(best=False, n=len(values), n_planned=n_planned, **summary(values))


def _with_best(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows with the highest mean of each column marked; a row without rivals that have all their seeds is not a best."""
    marked = []
    for row in rows:
        entries = []
        for i, entry in enumerate(row.entries):
            rivals = [other.entries[i].mean for other in rows if other.entries[i].n == entry.n_planned]
            best = len(rivals) > 1 and entry.n == entry.n_planned and entry.mean == max(rivals)
            entries.append(replace(entry, best=best))
        marked.append(replace(row, entries=tuple(entries)))
    return tuple(marked)


def _note(layout: Layout, beta: float, rows: Sequence[Row], n: int, absent: Sequence[str]) -> str:
    whose = "the paper's" if beta == layout.beta else f"not the paper's {spelled(layout.beta)}"
    seeds = f"n = {n} seed{'' if n == 1 else 's'}{'' if all(row.n == n for row in rows) else ', fewer where a row says so'}"
    dumps = [row.cell.config.model_dump() for row in rows]
    of_the_objective = fields_with(Role.OBJECTIVE)
    differing = [f for f in dumps[0] if f not in of_the_objective and any(dump[f] != dumps[0][f] for dump in dumps)]
    return " ".join(
        [
            f"Setting: {setting(rows[0].cell.config)}, β = {spelled(beta)} ({whose}), {seeds}.",
            "Mean ± sd over seeds.",
            layout.explanation,
            *([f"Not all rows share: {', '.join(differing)}."] if differing else []),
            *(_objectives(rows) if layout.closed else []),
            *([f"Without a cell at this β: {', '.join(absent)}."] if absent else []),
        ]
    )


def _objectives(rows: Sequence[Row]) -> list[str]:
    """In what the objectives differ, where that is more than the estimator: a sentence a field."""
    said = []
    for field in fields_with(Role.OBJECTIVE):
        values = {row.label: getattr(row.cell.config, field) for row in rows}
        if field not in ("model", "beta", "estimator") and len(set(values.values())) > 1:
            each = ", ".join(f"{label} {value}" for label, value in values.items())
            said.append(f"The rows differ in {field} ({each}) as well as in the estimator.")
    return said


def _heads(columns: Sequence[Column]) -> list[list[str]]:
    """The headings in LaTeX; above them, if columns share some, those, each with a rule below."""
    header = ["Model", "$n$", *(column.tex for column in columns)]
    if not any(column.group for column in columns):
        return [header]
    above, rules, start = ["", ""], "", 3
    for group, members in groupby(columns, key=lambda column: column.group):
        end = start + len(list(members)) - 1
        above.append(rf"\multicolumn{{{end - start + 1}}}{{c}}{{{tex(group)}}}")
        rules += rf"\cmidrule(lr){{{start}-{end}}} " if group else ""
        start = end + 1
    return [above, [rules + header[0], *header[1:]]]


def _row_n(table: PaperTable, row: Row) -> str:
    return str(row.n) if row.n == table.n_planned else f"{row.n}/{table.n_planned}"


def _markdown_entry(entry: Entry, row: Row) -> str:
    if entry.n == 0:
        return "–"
    text = f"**{tables.shown(entry)}**" if entry.best else tables.shown(entry)
    return text + _fewer(entry, row)


def _latex_entry(entry: Entry, row: Row) -> str:
    if entry.n == 0:
        return "--"
    text = tables.shown(entry, r"\pm")
    return (rf"$\mathbf{{{text}}}$" if entry.best else f"${text}$") + _fewer(entry, row)


def _fewer(entry: Entry, row: Row) -> str:
    """Seeds that have the number, where that is not what its row says."""
    return "" if entry.n == row.n else f" ({entry.n}/{entry.n_planned})"
