"""Computes everything that a reader of a sweep, such as the report, needs from its results. Each part is computed once. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from orchestrator.analysis.aggregation import cell_table
from orchestrator.analysis.comparable_groups import FrontGroup, FrontGroups
from orchestrator.analysis.fronts import Front, front
from orchestrator.analysis.model_groups import ModelGroup, groups_within
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Cell

SeedsOfCells = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class GroupAnalysis:
    """The numbers of a group of cells that may be compared."""

    group: FrontGroup
    seeds: SeedsOfCells
    """The planned seeds of each cell of the group, by the cell's id."""
    table: pd.DataFrame
    """A row for each cell and metric, as in `aggregation.cell_table`."""
    front: Front
    """The front of the cells that fulfil the constraints of their search."""


@dataclass(frozen=True)
class SweepAnalysis:
    """A sweep's cells and results, in the groups in which they may be compared."""

    spec: SweepSpec
    cells: tuple[Cell, ...]
    seeds: SeedsOfCells
    """The planned seeds of each cell, by the cell's id."""
    groups: tuple[GroupAnalysis, ...]
    set_aside: tuple[TrialResult, ...]
    """Completed trials that may not be compared with the others of their cell."""
    model_groups: tuple[ModelGroup, ...]
    """All cells, in the groups in which the paper compares models."""
    feasible_groups: tuple[ModelGroup, ...]
    """The same groups, with only the cells that fulfil the constraints of their search."""

    @property
    def results(self) -> tuple[TrialResult, ...]:
        """All results that may be compared with others of their cell and group."""
        return tuple(result for analysis in self.groups for result in analysis.group.results)

    def front_of(self, group: ModelGroup) -> Front:
        """Returns the front of one of the `feasible_groups`. It has probabilities only if one of `groups` has the same cells."""
        ids = {cell.id for cell in group.cells}
        for analysis in self.groups:
            front_ids = {
                *(point.cell_id for point in analysis.front.points),
                *(cell.cell_id for cell in analysis.front.left_out),
            }
            if front_ids == ids:
                return analysis.front
        return front(self.spec.objectives, group.cells, self.seeds, self.results, self.spec.adaptive, probabilities=False)


def analyse(spec: SweepSpec, grouped: FrontGroups, feasible: Collection[str]) -> SweepAnalysis:
    """Returns the analysis of a sweep. `grouped` has its groups (`comparable_groups.groups_of`).

    `feasible` has the ids of the cells that fulfil the constraints of their search, so that they may be on a front.
    """
    cells, seeds = spec.cells, spec.seeds_by_cell
    model_groups = feasible_groups = tuple(groups_within(grouped, cells, spec.seed_list))
    feasible_cells = [cell for cell in cells if cell.id in feasible]
    if len(feasible_cells) < len(cells):
        feasible_groups = tuple(groups_within(grouped, feasible_cells, spec.seed_list))
    return SweepAnalysis(
        spec=spec,
        cells=tuple(cells),
        seeds=seeds,
        groups=tuple(_analyse_group(spec, group, seeds, feasible) for group in grouped.groups),
        set_aside=grouped.set_aside,
        model_groups=model_groups,
        feasible_groups=feasible_groups,
    )


def _analyse_group(spec: SweepSpec, group: FrontGroup, seeds: SeedsOfCells, feasible: Collection[str]) -> GroupAnalysis:
    group_seeds = {cell.id: seeds[cell.id] for cell in group.cells}
    feasible_cells = [cell for cell in group.cells if cell.id in feasible]
    feasible_seeds = {cell.id: seeds[cell.id] for cell in feasible_cells}
    return GroupAnalysis(
        group=group,
        seeds=group_seeds,
        table=cell_table(group.cells, group_seeds, group.results),
        front=front(spec.objectives, feasible_cells, feasible_seeds, group.results, spec.adaptive),
    )
