"""The report's part on each group of cells that may be compared: its front, its best values, its tables."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from mopoe_core import metric_names
from orchestrator.analysis import chance
from orchestrator.analysis.aggregation import trial_table
from orchestrator.analysis.comparable_groups import FrontGroup, FrontGroups, trial_labels
from orchestrator.analysis.fronts import Front
from orchestrator.analysis.model_groups import setting
from orchestrator.analysis.sweep_analysis import GroupAnalysis, SweepAnalysis, analyse
from orchestrator.ledger.result import TrialResult
from orchestrator.report.figures import front_figure
from orchestrator.report.figures.plot_style import FORMATS
from orchestrator.report.render import latex as to_latex
from orchestrator.report.render import markdown as to_markdown
from orchestrator.report.render import tables
from orchestrator.report.render.table_files import parts_of
from orchestrator.report.render.tables import CellRows
from orchestrator.search import outcomes
from orchestrator.spec.proper_names import proper_dataset, proper_group
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Cell


@dataclass(frozen=True)
class FrontFiles:
    """The files of one front's figure, and the front's hypervolume."""

    label: str
    """The label of the group; empty for the only group."""
    slug: str
    png: Path
    svg: Path
    pdf: Path
    hypervolume: float | None
    """None if an objective states no reference or no cell is complete."""


@dataclass(frozen=True)
class Part:
    """One group of cells in the report."""

    analysis: GroupAnalysis
    rows: CellRows
    units: tuple[str, ...]
    """The unit of each objective."""
    title: str
    """Data, scale, networks and number of seeds."""

    @property
    def group(self) -> FrontGroup:
        """The cells and their results."""
        return self.analysis.group

    @property
    def table(self) -> pd.DataFrame:
        """A row for each cell and metric."""
        return self.analysis.table

    @property
    def front(self) -> Front:
        """The front of the cells."""
        return self.analysis.front

    @property
    def joint_coherence_by_chance(self) -> float | None:
        """The joint coherence of independent modalities; None if no trial reports the test examples' classes."""
        levels = (chance.joint_coherence(result) for result in self.group.results)
        return next((level for level in levels if level is not None), None)

    @property
    def ids(self) -> list[str]:
        """The ids of the cells, in the order of the rows."""
        return [cell.id for cell in self.group.cells]

    def files(self, folder: Path) -> FrontFiles:
        """Returns the paths of the front's figure in the report's folder."""
        png, svg, pdf = (folder / f"{self.group.named('front')}.{suffix}" for suffix in ("png", "svg", "pdf"))
        volume = self.front.hypervolume if self.front.points else None
        return FrontFiles(self.group.label, self.group.slug, png, svg, pdf, volume)


def analysed(spec: SweepSpec, grouped: FrontGroups) -> SweepAnalysis:
    """Returns the analysis of a sweep's groups. Only feasible cells are on its fronts."""
    return analyse(spec, grouped, {cell.id for cell in outcomes.feasible(spec, grouped.results)})


def make(spec: SweepSpec, analysis: GroupAnalysis, chosen: Sequence[str] = ()) -> Part:
    """Returns the group's part of the report. Its table has the `chosen` metrics, or the default ones if none are chosen."""
    group, table = analysis.group, analysis.table
    planned = {cell_id: len(seeds) for cell_id, seeds in analysis.seeds.items()}
    rows = tables.cell_rows(group.cells, planned, table, analysis.front, group.results, chosen)
    units = tuple(_unit(table, objective.metric) for objective in spec.objectives)
    return Part(analysis, rows, units, title(group.cells, analysis.seeds, spec, group.label))


def title(cells: Sequence[Cell], seeds: Mapping[str, Sequence[int]], spec: SweepSpec, label: str = "") -> str:
    """Returns the data, scale, networks and number of seeds of these cells, and the other parts of their group's label.

    `seeds` has the planned seeds of each cell, by its id.
    """
    settings = dict.fromkeys(f"{proper_dataset(cell.config.dataset)}, {setting(cell.config)}" for cell in cells)
    words = {word for text in settings for word in text.split(", ")} | {cell.config.dataset for cell in cells}
    more = [word for word in label.split(", ") if label and word not in words]
    counts = {len(of_cell) for of_cell in seeds.values()} or {len(spec.seed_list)}
    n = " to ".join(str(count) for count in sorted({min(counts), max(counts)}))
    return "; ".join([*settings, *more, f"n = {n} seed{'' if n == '1' else 's'}"])


def write_fronts(parts: Sequence[Part], folder: Path) -> None:
    """Write the figure of each group's front: `front.svg` for a single group, else `front-<slug>.svg`."""
    for part in parts:
        stem = folder / part.group.named("front")
        front_figure.write_front(part.front, part.title, part.units, stem, part.joint_coherence_by_chance)


def remove_others(parts: Sequence[Part], folder: Path) -> None:
    """Remove figures of fronts that the sweep no longer has."""
    suffixes = (*FORMATS, "csv")
    current = {folder / f"{part.group.named('front')}.{suffix}" for part in parts for suffix in suffixes}
    for suffix in suffixes:
        for path in {*folder.glob(f"front.{suffix}"), *folder.glob(f"front-*.{suffix}")} - current:
            path.unlink()


def markdown(parts: Sequence[Part], objectives_only: Sequence[str] = ()) -> str:
    """Returns a table for each group, below its label if there are several. With `objectives_only`, it has only these metrics."""
    texts = []
    for part in parts:
        rows = replace(part.rows, metrics=tuple(objectives_only)) if objectives_only else part.rows
        heading = f"{to_markdown.bold(to_markdown.escape(proper_group(part.group.label)))}\n\n" if part.group.label else ""
        texts.append(heading + tables.markdown(rows))
    return "\n".join(texts)


def latex(parts: Sequence[Part], command: str) -> str:
    """Returns the tables of all groups in LaTeX."""
    if len(parts) == 1:
        return tables.latex(parts[0].rows, command)
    headings = [
        rf"\par\medskip\noindent\textbf{{{to_latex.escape(proper_group(part.group.label))}}}\par\smallskip" for part in parts
    ]
    return "\n".join(f"{heading}\n{tables.latex(part.rows, command)}" for heading, part in zip(headings, parts, strict=True))


def whole_table(parts: Sequence[Part]) -> pd.DataFrame:
    """Returns the cell tables of all groups in one. If there are several groups, the first column is their label, `group`."""
    if len(parts) == 1:
        return parts[0].table
    labelled = [part.table.assign(group=part.group.label) for part in parts if len(part.table)]
    if not labelled:
        return parts[0].table.assign(group="")
    table = pd.concat(labelled, ignore_index=True)
    return table[["group", *parts[0].table.columns]]


def trials_table(results: Sequence[TrialResult]) -> Iterator[pd.DataFrame]:
    """Yields `aggregation.trial_table` in parts. If not all numbers may be compared, the first column is `group`."""
    labels = trial_labels([result.trial for result in results], results)
    several = len(set(labels.values())) > 1
    for part in parts_of([result for result in results if result.status == "completed"]):
        table = trial_table(part)
        if several:
            table.insert(0, "group", table["trial_id"].map(labels))
        yield table


def _unit(table: pd.DataFrame, metric: str) -> str:
    """Returns the metric's unit as trials report it, or else the unit in `metric_names.UNITS`."""
    units = table[table["name"] == metric]["unit"]
    return str(units.iloc[0]) if len(units) else metric_names.UNITS[metric.partition("/")[0]]
