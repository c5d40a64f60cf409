"""What a report says of each group of cells that may be compared: its front, its best, its tables. Pure but for writing figures."""

import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from mopoe_core import metric_names
from orchestrator.analysis.aggregation import cell_table, trial_table
from orchestrator.analysis.comparable_groups import FrontGroup, trial_labels
from orchestrator.analysis.fronts import Front, front
from orchestrator.analysis.model_groups import setting
from orchestrator.ledger.result import TrialResult
from orchestrator.report.figures import front_figure
from orchestrator.report.render import tables
from orchestrator.report.render.table_files import parts_of
from orchestrator.report.render.tables import CellRows
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Cell

TITLE_CHARACTERS = 80  # of the figure's width


@dataclass(frozen=True)
class FrontFiles:
    """The figure of one front, and what it reached."""

    label: str
    """Of the group; empty for the only one."""
    slug: str
    png: Path
    svg: Path
    pdf: Path
    hypervolume: float | None
    """None where an objective states no reference, and where no cell is complete."""


@dataclass(frozen=True)
class Part:
    """One group of cells in the report."""

    group: FrontGroup
    table: pd.DataFrame
    """A row a cell and metric, as in `aggregate.cell_table`."""
    front: Front
    rows: CellRows
    units: tuple[str, ...]
    """An objective each."""
    title: str
    """Data, scale, networks and number of seeds."""

    @property
    def ids(self) -> list[str]:
        """Of its cells, in the order of its rows."""
        return [cell.id for cell in self.group.cells]

    def files(self, folder: Path) -> FrontFiles:
        """Where its figure is."""
        png, svg, pdf = (folder / f"{self.group.named('front')}.{suffix}" for suffix in ("png", "svg", "pdf"))
        reached = self.front.hypervolume if self.front.points else None
        return FrontFiles(self.group.label, self.group.slug, png, svg, pdf, reached)


def make(spec: SweepSpec, group: FrontGroup, every: Mapping[str, Sequence[int]], feasible: Collection[str]) -> Part:
    """The group's part. `every` has the seeds of each cell by its id; `feasible` has the ids of the cells that keep to the constraints of
    their search.
    """
    seeds = {cell.id: every[cell.id] for cell in group.cells}
    table = cell_table(group.cells, seeds, group.results)
    kept = [cell for cell in group.cells if cell.id in feasible]
    found = front(spec.objectives, kept, {cell.id: seeds[cell.id] for cell in kept}, group.results, spec.adaptive)
    planned = {cell_id: len(own) for cell_id, own in seeds.items()}
    rows = tables.cell_rows(group.cells, planned, table, found, group.results)
    units = tuple(_unit(table, objective.metric) for objective in spec.objectives)
    return Part(group, table, found, rows, units, title(group.cells, every, spec, group.label))


def title(cells: Sequence[Cell], every: Mapping[str, Sequence[int]], spec: SweepSpec, label: str = "") -> str:
    """Data, scale, networks and number of seeds of these cells, and what else their group's label says."""
    kinds = dict.fromkeys(f"{cell.config.dataset}, {setting(cell.config)}" for cell in cells)
    said = {word for kind in kinds for word in kind.split(", ")}
    more = [word for word in label.split(", ") if label and word not in said]
    counts = {len(seeds) for seeds in every.values()} or {len(spec.seed_list)}
    n = " to ".join(str(count) for count in sorted({min(counts), max(counts)}))
    return "; ".join([*kinds, *more, f"n = {n} seed{'' if n == '1' else 's'}"])


def write_fronts(parts: Sequence[Part], folder: Path) -> None:
    """Write the figure of each group's front: `front.svg`, or `front-<slug>.svg` for each of several."""
    for part in parts:
        front_figure.write_front(
            part.front, textwrap.fill(part.title, TITLE_CHARACTERS), part.units, folder, part.group.named("front")
        )


def remove_others(parts: Sequence[Part], folder: Path) -> None:
    """Remove figures of fronts that the sweep no longer has."""
    wanted = {path for part in parts for path in (part.files(folder).png, part.files(folder).svg, part.files(folder).pdf)}
    for suffix in front_figure.FORMATS:
        for path in {*folder.glob(f"front.{suffix}"), *folder.glob(f"front-*.{suffix}")} - wanted:
            path.unlink()


def markdown(parts: Sequence[Part], objectives_only: Sequence[str] = ()) -> str:
    """A table a group, each under its label where there are several; with `objectives_only` of these metrics alone."""
    made = []
    for part in parts:
        rows = replace(part.rows, metrics=tuple(objectives_only)) if objectives_only else part.rows
        heading = f"**{tables.markdown_escape(part.group.label)}**\n\n" if part.group.label else ""
        made.append(heading + tables.markdown(rows))
    return "\n".join(made)


def latex(parts: Sequence[Part], command: str) -> str:
    """As `markdown`, in LaTeX."""
    if len(parts) == 1:
        return tables.latex(parts[0].rows, command)
    headed = (rf"\par\medskip\noindent\textbf{{{tables.escape(part.group.label)}}}\par\smallskip" for part in parts)
    return "\n".join(f"{heading}\n{tables.latex(part.rows, command)}" for heading, part in zip(headed, parts, strict=True))


def whole_table(parts: Sequence[Part]) -> pd.DataFrame:
    """The rows of all groups; where there are several, with the group's label as a first column, `group`."""
    if len(parts) == 1:
        return parts[0].table
    labelled = [part.table.assign(group=part.group.label) for part in parts if len(part.table)]
    if not labelled:
        return parts[0].table.assign(group="")
    table = pd.concat(labelled, ignore_index=True)
    return table[["group", *parts[0].table.columns]]


def trials_table(results: Sequence[TrialResult]) -> Iterator[pd.DataFrame]:
    """`aggregate.trial_table` in parts; where not all numbers may be compared, with what tells them apart as a first column, `group`."""
    labels = trial_labels([result.trial for result in results], results)
    several = len(set(labels.values())) > 1
    for part in parts_of([result for result in results if result.status == "completed"]):
        table = trial_table(part)
        if several:
            table.insert(0, "group", table["trial_id"].map(labels))
        yield table


def _unit(table: pd.DataFrame, metric: str) -> str:
    """As trials report it; as `names.UNITS` has it where none has completed."""
    found = table[table["name"] == metric]["unit"]
    return str(found.iloc[0]) if len(found) else metric_names.UNITS[metric.partition("/")[0]]
