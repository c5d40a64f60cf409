"""A sweep's results in the layout of the paper's tables. Pure.

There is a table for each published table and each group of cells that may be compared (`comparable_groups`) and share their networks.
Numbers are means over the seeds that completed; n says how many those are. `paper_table_text` writes the tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mopoe_core.config.deviations import deviations
from mopoe_core.config.roles import Role
from mopoe_core.config.training_config import TrainingConfig, fields_with
from mopoe_core.family.registry import TITLES
from orchestrator.analysis.aggregation import completed_of_each
from orchestrator.analysis.comparable_groups import FrontGroup
from orchestrator.analysis.intervals import summary
from orchestrator.analysis.model_groups import common_beta, model_line, setting
from orchestrator.ledger.result import TrialResult
from orchestrator.report.paper.published import Column, Layout, layouts
from orchestrator.report.render import tables
from orchestrator.spec.trial import Cell, series, spelled


@dataclass(frozen=True)
class Entry(tables.Entry):
    """One number: mean and sd over seeds, with `best` only where at least two rows have all their seeds."""

    low: float
    """Lower end of the 95 % t interval of the mean; NaN below two seeds, as are `high` and `sd`."""
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
    """An entry for each column."""


@dataclass(frozen=True)
class PaperTable:
    """A published table's layout with a sweep's numbers."""

    key: str
    """As `Layout.key`; `table4_paper_view` is Table 4 as the released code computes it."""
    name: str
    """The key and the group of cells, as the name of a file; different for each table of a sweep."""
    title: str
    """Says the dataset and, where there is one, the estimator of the log-likelihood."""
    note: str
    """Source, scale, networks, beta and whether it is the paper's, seeds, what is measured, and what else a reader must know."""
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    """The paper's models in its order, then the others."""
    beta: float
    layout: Layout
    n_planned: int

    @property
    def config(self) -> TrainingConfig:
        """The configuration of the first row. All rows share dataset, source, scale, networks and modalities."""
        return self.rows[0].cell.config


def paper_tables(groups: Sequence[FrontGroup], seeds: Sequence[int]) -> list[PaperTable]:
    """Every published table that the cells have a row for, group by group.

    A cell without results has a row without numbers. Beta is the published one or the one that stands for it
    (`model_groups.common_beta`).
    """
    tables: list[PaperTable] = []
    for group in groups:
        for cells in _alike(group.cells):
            for table in _of_group(cells, seeds, group.results):
                same_name = sum(other.name.partition("--")[0] == table.name for other in tables)
                name = f"{table.name}--{same_name + 1}" if same_name else table.name
                tables.append(replace(table, name=name, note=_with_label(table, group.label)))
    return tables


def _alike(cells: Sequence[Cell]) -> list[list[Cell]]:
    """The cells in groups that share what the title and setting of a table say."""
    groups: dict[tuple[object, ...], list[Cell]] = {}
    for cell in cells:
        c = cell.config
        groups.setdefault((c.dataset, c.source, c.scale, c.networks, c.modalities), []).append(cell)
    return list(groups.values())


def _of_group(cells: Sequence[Cell], seeds: Sequence[int], results: Sequence[TrialResult]) -> list[PaperTable]:
    tables = []
    for layout in layouts(cells[0].config.dataset, len(cells[0].config.modalities)):
        fitting = [cell for cell in cells if not layout.closed or cell.config.published_model in layout.models]
        if not layout.closed or {cell.config.published_model for cell in fitting} == set(layout.models):
            tables.append(_table(layout, fitting, seeds, results))
    return tables


def _with_label(table: PaperTable, label: str) -> str:
    """The table's note, with the words of its group's label that title and setting do not have."""
    more = [word for word in label.split(", ") if word not in table.note and word != table.config.dataset]
    return f"{table.note} Of the cells with {', '.join(more)}." if more and label else table.note


def _table(layout: Layout, cells: Sequence[Cell], seeds: Sequence[int], results: Sequence[TrialResult]) -> PaperTable:
    lines = _row_labels(cells)
    beta = _beta(layout, cells)
    chosen = _in_order([cell for cell in cells if cell.config.beta == beta], layout.models)
    completed = completed_of_each(chosen, seeds, results)
    rows = []
    for cell in chosen:
        done = completed[cell.id]
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
    row_labels = {}
    for model in _models(cells):
        of_model = [cell for cell in cells if cell.config.published_model == model]
        for cell_id, line in series(of_model).items():
            row_labels[cell_id] = " ".join([TITLES[model], *line.split(" ")[1:]])
    return row_labels


def _models(cells: Sequence[Cell]) -> list[str]:
    """The models of the cells under their published names, each once."""
    return list(dict.fromkeys(cell.config.published_model for cell in cells))


def _beta(layout: Layout, cells: Sequence[Cell]) -> float:
    """The beta of the table: one for the paper's models, or for the others if none of the paper's is there."""
    present = _models(cells)
    models = [model for model in layout.models if model in present] or present
    beta = common_beta(layout.beta, {model: model_line(cells, model) for model in models})
    assert beta is not None  # each of these models has a cell
    return beta


def _in_order(cells: Sequence[Cell], models: Sequence[str]) -> list[Cell]:
    """For each of the paper's models, the cell that differs from the paper's setting in the fewest fields; then the others."""
    of_model = {model: [cell for cell in cells if cell.config.published_model == model] for model in models}
    first = [min(alike, key=lambda cell: len(deviations(cell.config))) for alike in of_model.values() if alike]
    others = [cell for cell in cells if cell not in first]
    return [*first, *sorted(others, key=lambda cell: list(TITLES).index(cell.config.published_model))]


def _entry(done: Sequence[TrialResult], metric: str, n_planned: int) -> Entry:
    values = [value for result in done if (value := result.value(metric)) is not None]
    return Entry(best=False, n=len(values), n_planned=n_planned, **summary(values)._asdict())


def _with_best(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows, with the highest mean of each column marked as best if at least two rows have all their seeds."""
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
    differing = [f for f in dumps[0] if f not in fields_with(Role.OBJECTIVE) and any(dump[f] != dumps[0][f] for dump in dumps)]
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
    """A sentence for each field in which the objectives differ, besides the estimator."""
    sentences = []
    for field in fields_with(Role.OBJECTIVE):
        values = {row.label: getattr(row.cell.config, field) for row in rows}
        if field not in ("model", "beta", "estimator") and len(set(values.values())) > 1:
            each = ", ".join(f"{label} {value}" for label, value in values.items())
            sentences.append(f"The rows differ in {field} ({each}) as well as in the estimator.")
    return sentences
