"""Puts a sweep's results into the layout of the paper's tables. Pure.

There is a table for each published table and each group of cells that may be compared (`comparable_groups`) and share their networks.
Numbers are means over the n seeds that completed. `paper_table_text` writes the tables.
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
from orchestrator.report.render.short_labels import shortened
from orchestrator.spec.trial import Cell, series, spelled


@dataclass(frozen=True)
class Entry(tables.Entry):
    """One number. It can be `best` only if at least two rows have all their seeds. Its `mean` is NaN if no seed has a number."""

    low: float
    """Lower end of the 95 % t interval of the mean; NaN for fewer than two seeds, as are `high` and `sd`."""
    high: float


@dataclass(frozen=True)
class Row:
    """One series at the table's beta."""

    label: str
    model: str
    """The model's name, as in `Published.model`: MoPoE trained on Eq. (5) is `eq5`."""
    cell: Cell
    n: int
    """How many seeds completed."""
    entries: tuple[Entry, ...]
    """An entry for each column."""


@dataclass(frozen=True)
class PaperTable:
    """A published table's layout with a sweep's numbers."""

    key: str
    """The key of the layout. `table4_paper_view` is Table 4 as the released code computes it."""
    name: str
    """The key and the group of cells, as the name of a file; different for each table of a sweep."""
    title: str
    """Names the dataset and, for log-likelihoods, the estimator."""
    note: str
    """Source, scale, networks, beta and whether it is the paper's, seeds, the metric, and what else a reader must know."""
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    """First the paper's models in the paper's order, then the others."""
    beta: float
    layout: Layout
    n_planned: int

    @property
    def row_names(self) -> tuple[str, ...]:
        """The labels of the rows without the last digits of long numbers, for readers."""
        short = shortened(row.label for row in self.rows)
        return tuple(short[row.label] for row in self.rows)

    @property
    def config(self) -> TrainingConfig:
        """The configuration of the first row. All rows share dataset, source, scale, networks and modalities."""
        return self.rows[0].cell.config


def paper_tables(groups: Sequence[FrontGroup], seeds: Sequence[int]) -> list[PaperTable]:
    """Returns every published table that the cells have a row for, group by group.

    A cell without results has a row without numbers. The beta is the published one, or the one that replaces it
    (`model_groups.common_beta`).
    """
    tables: list[PaperTable] = []
    for group in groups:
        for cells in _by_setting(group.cells):
            for table in _of_group(cells, seeds, group.results):
                same_name = sum(other.name.partition("--")[0] == table.name for other in tables)
                name = f"{table.name}--{same_name + 1}" if same_name else table.name
                tables.append(replace(table, name=name, note=_with_label(table, group.label)))
    return tables


def _by_setting(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Returns the cells in groups with the same dataset, source, scale, networks and modalities, which one table can have."""
    groups: dict[tuple[object, ...], list[Cell]] = {}
    for cell in cells:
        config = cell.config
        setting_key = (config.dataset, config.source, config.scale, config.networks, config.modalities)
        groups.setdefault(setting_key, []).append(cell)
    return list(groups.values())


def _of_group(cells: Sequence[Cell], seeds: Sequence[int], results: Sequence[TrialResult]) -> list[PaperTable]:
    """Returns the published tables of these cells, which share their setting. A closed table needs all of its models."""
    tables = []
    for layout in layouts(cells[0].config.dataset, len(cells[0].config.modalities)):
        fitting = [cell for cell in cells if not layout.closed or cell.config.published_model in layout.models]
        if not layout.closed or {cell.config.published_model for cell in fitting} == set(layout.models):
            tables.append(_table(layout, fitting, seeds, results))
    return tables


def _with_label(table: PaperTable, label: str) -> str:
    """Returns the table's note with the parts of its group's label that are not in it yet."""
    more = [word for word in label.split(", ") if word not in table.note and word != table.config.dataset]
    return f"{table.note} Of the cells with {', '.join(more)}." if more and label else table.note


def _table(layout: Layout, cells: Sequence[Cell], seeds: Sequence[int], results: Sequence[TrialResult]) -> PaperTable:
    row_labels = _row_labels(cells)
    beta = _beta(layout, cells)
    chosen = _in_order([cell for cell in cells if cell.config.beta == beta], layout.models)
    completed = completed_of_each(chosen, seeds, results)
    rows = []
    for cell in chosen:
        of_cell = completed[cell.id]
        entries = tuple(_entry(of_cell, column.metric, len(seeds)) for column in layout.columns)
        rows.append(Row(row_labels[cell.id], cell.config.published_model, cell, len(of_cell), entries))
    labels_with_row = {row.label for row in rows}
    absent = [label for label in dict.fromkeys(row_labels.values()) if label not in labels_with_row]
    return PaperTable(
        key=layout.key,
        name=_name(layout, chosen[0].config),
        title=layout.title,
        note=_note(layout, beta, rows, len(seeds), absent),
        columns=layout.columns,
        rows=_with_best(rows),
        beta=beta,
        layout=layout,
        n_planned=len(seeds),
    )


def _name(layout: Layout, config: TrainingConfig) -> str:
    parts = [layout.key, config.source, config.scale or "own", config.networks]
    if config.modality_count:
        parts.append(f"{config.modality_count}m")
    return "-".join(parts)


def _row_labels(cells: Sequence[Cell]) -> dict[str, str]:
    """Returns, by cell id, the cell's series under the published name of its model. Eq. (5) counts as a model."""
    row_labels = {}
    for model in _models(cells):
        of_model = [cell for cell in cells if cell.config.published_model == model]
        for cell_id, line in series(of_model).items():
            row_labels[cell_id] = " ".join([TITLES[model], *line.split(" ")[1:]])
    return row_labels


def _models(cells: Sequence[Cell]) -> list[str]:
    """Returns the published names of the cells' models, each once."""
    return list(dict.fromkeys(cell.config.published_model for cell in cells))


def _beta(layout: Layout, cells: Sequence[Cell]) -> float:
    """Returns the beta of the table: the common beta of the paper's models, or of the others if there are none of the paper's."""
    present = _models(cells)
    models = [model for model in layout.models if model in present] or present
    beta = common_beta(layout.beta, {model: model_line(cells, model) for model in models})
    assert beta is not None  # each of these models has a cell
    return beta


def _in_order(cells: Sequence[Cell], models: Sequence[str]) -> list[Cell]:
    """Returns first, for each of the paper's models, the cell with the fewest differences from the paper's setting; then the others."""
    by_model = {model: [cell for cell in cells if cell.config.published_model == model] for model in models}
    nearest = [min(of_model, key=lambda cell: len(deviations(cell.config))) for of_model in by_model.values() if of_model]
    others = [cell for cell in cells if cell not in nearest]
    return [*nearest, *sorted(others, key=lambda cell: list(TITLES).index(cell.config.published_model))]


def _entry(completed: Sequence[TrialResult], metric: str, n_planned: int) -> Entry:
    values = [value for result in completed if (value := result.value(metric)) is not None]
    return Entry(best=False, n=len(values), n_planned=n_planned, **summary(values)._asdict())


def _with_best(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Returns the rows with the highest mean of each column marked as best, if at least two rows have all their seeds."""
    marked = []
    for row in rows:
        entries = []
        for place, entry in enumerate(row.entries):
            rivals = [other.entries[place].mean for other in rows if other.entries[place].n == entry.n_planned]
            best = len(rivals) > 1 and entry.n == entry.n_planned and entry.mean == max(rivals)
            entries.append(replace(entry, best=best))
        marked.append(replace(row, entries=tuple(entries)))
    return tuple(marked)


def _note(layout: Layout, beta: float, rows: Sequence[Row], n: int, absent: Sequence[str]) -> str:
    whose = "the paper's" if beta == layout.beta else f"not the paper's {spelled(layout.beta)}"
    seeds = f"n = {n} seed{'' if n == 1 else 's'}{'' if all(row.n == n for row in rows) else ', fewer where a row says so'}"
    configs = [row.cell.config.model_dump() for row in rows]
    varying = [field for field in configs[0] if any(config[field] != configs[0][field] for config in configs)]
    differing = [field for field in varying if field not in fields_with(Role.OBJECTIVE)]
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
    """Returns a sentence for each field of the objective, other than the estimator, in which the rows differ."""
    sentences = []
    for field in fields_with(Role.OBJECTIVE):
        values = {row.label: getattr(row.cell.config, field) for row in rows}
        if field not in ("model", "beta", "estimator") and len(set(values.values())) > 1:
            each = ", ".join(f"{label} {value}" for label, value in values.items())
            sentences.append(f"The rows differ in {field} ({each}) as well as in the estimator.")
    return sentences
