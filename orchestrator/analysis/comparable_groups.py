"""Puts a sweep's cells into groups. Only cells of one group may be on one front. Pure.

A sweep over two datasets has two groups, and each has its own front, hypervolume and best cells. The cells of a group have the same
`comparison_key`. Cells of one configuration whose results were measured on different data, or by different classifiers, are in different
groups, too. If the seeds of one cell were measured on different data, only the seeds count that were measured like most results of its
configuration. The other seeds are set aside, so that the cell lacks seeds and is on no front.

A `model_groups.ModelGroup` is smaller: its cells differ only in fields that belong to a model. All of them are in one group here.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from mopoe_core.spelling import first_of
from orchestrator.errors import LedgerError
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.comparison_key import (
    ComparisonKey,
    MeasuredWith,
    comparison_key,
    key_labels,
    measured_with,
    measured_words,
)
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Cell, Trial

LONGEST_SLUG = 60
MOST_NAMED = 3


@dataclass(frozen=True)
class FrontGroup:
    """Cells whose metrics mean the same, and the results that may be compared."""

    key: ComparisonKey
    label: str
    """The fields and values in which the group differs from the sweep's other groups; empty for the only group."""
    slug: str
    """The label as part of the name of a file or metric. Different for every group, and empty for the only group."""
    cells: tuple[Cell, ...]
    """In the sweep's order."""
    results: tuple[TrialResult, ...]
    """The results of the group's cells that may be compared with one another."""

    @cached_property
    def ids(self) -> frozenset[str]:
        """The ids of the group's cells."""
        return frozenset(cell.id for cell in self.cells)

    def named(self, what: str) -> str:
        """Returns `what` followed by the group's slug, such as `front-mnist`; `what` alone for the only group."""
        return f"{what}-{self.slug}" if self.slug else what


@dataclass(frozen=True)
class FrontGroups:
    """All cells of a sweep, each in one group."""

    groups: tuple[FrontGroup, ...]
    """In the order of their first cells. A sweep without cells has one group without cells."""
    set_aside: tuple[TrialResult, ...] = ()
    """Completed trials that were measured on other data, or by other classifiers, than the trials of their cell that count."""

    @property
    def several(self) -> bool:
        """Whether there is more than one group."""
        return len(self.groups) > 1

    @property
    def results(self) -> tuple[TrialResult, ...]:
        """All results that may be compared with others of their cell and group."""
        return tuple(result for group in self.groups for result in group.results)

    def of(self, cell: Cell) -> FrontGroup:
        """Returns the group of a cell."""
        return self._by_cell[cell.id]

    @cached_property
    def _by_cell(self) -> dict[str, FrontGroup]:
        return {cell.id: group for group in self.groups for cell in group.cells}

    def measured_label(self, cell: Cell) -> list[str]:
        """Returns which data and classifiers the cell was measured with; empty unless groups of its configuration differ in these."""
        key = self.of(cell).key
        return measured_words(key, self._keys_by_values[key.values])

    @cached_property
    def _keys_by_values(self) -> dict[tuple[Any, ...], list[ComparisonKey]]:
        keys: dict[tuple[Any, ...], list[ComparisonKey]] = {}
        for group in self.groups:
            keys.setdefault(group.key.values, []).append(group.key)
        return keys


def front_groups(cells: Sequence[Cell], results: Iterable[TrialResult]) -> FrontGroups:
    """Returns the groups of these cells."""
    results_by_cell = _by_cell(cells, results)
    measured = _measured_of(cells, results_by_cell)
    cells_by_key: dict[ComparisonKey, list[Cell]] = {}
    for cell in cells:
        cells_by_key.setdefault(comparison_key(cell.config, measured[cell.id]), []).append(cell)
    labels = key_labels(list(cells_by_key))
    slugs = dict(zip(cells_by_key, slugs_of(list(labels.values())), strict=True))
    groups = []
    for key, members in cells_by_key.items():
        agreeing = tuple(result for cell in members for result in results_by_cell[cell.id] if _agrees(result, key.measured))
        groups.append(FrontGroup(key, labels[key], slugs[key], tuple(members), agreeing))
    set_aside = tuple(result for cell in cells for result in results_by_cell[cell.id] if not _agrees(result, measured[cell.id]))
    return FrontGroups(tuple(groups) or (_empty_group(),), set_aside)


def groups_of(spec: SweepSpec, results: Iterable[TrialResult]) -> FrontGroups:
    """Returns the groups of a sweep.

    A search has one group, because its space may not vary fields that decide how cells are measured. If its results were measured on
    different data, only the results in the group with the most results count.
    """
    cells = spec.cells
    grouped = front_groups(cells, results)
    if spec.search is None or not grouped.several:
        return grouped
    largest = max(grouped.groups, key=lambda group: len(group.results))
    others = tuple(result for group in grouped.groups if group is not largest for result in group.results)
    without_numbers = tuple(result for result in others if result.status != "completed")
    completed = tuple(result for result in others if result.status == "completed")
    group = replace(largest, label="", slug="", cells=tuple(cells), results=(*largest.results, *without_numbers))
    return FrontGroups((group,), (*grouped.set_aside, *completed))


def check_search(spec: SweepSpec, results: Iterable[TrialResult]) -> None:
    """Raise LedgerError if a search has results that were measured on different data. One study cannot learn from them together."""
    set_aside = groups_of(spec, results).set_aside
    if spec.search is None or not set_aside:
        return
    raise LedgerError(
        f"search: {trials_text(set_aside)} measured on other data or by other classifiers than the other results of {spec.name}, so they "
        "cannot be compared; train them again with `rerun --trial ID`, or give the search another name and --storage"
    )


def trial_labels(trials: Iterable[Trial], results: Sequence[TrialResult]) -> dict[str, str]:
    """Returns a label for each trial, by its id. Trials have different labels if their numbers may not be compared.

    All labels are empty if all trials may be compared.
    """
    cell_of = {trial.id: trial.cell for trial in trials}
    grouped = front_groups(list({cell.id: cell for cell in cell_of.values()}.values()), results)
    keys = {trial_id: grouped.of(cell).key for trial_id, cell in cell_of.items()}
    for result in results:
        if result.status == "completed":
            keys[result.trial.id] = comparison_key(result.trial.config, measured_with(result.provenance))
    labels = key_labels(list(keys.values()))
    return {trial_id: labels[key] for trial_id, key in keys.items()}


def trials_text(results: Sequence[TrialResult]) -> str:
    """Returns `2 trials (ID, ID) were`, with the ids of the first few."""
    ids = [result.trial.id for result in results]
    count = "1 trial" if len(ids) == 1 else f"{len(ids)} trials"
    return f"{count} ({first_of(ids, MOST_NAMED)}) {'was' if len(ids) == 1 else 'were'}"


def _by_cell(cells: Sequence[Cell], results: Iterable[TrialResult]) -> dict[str, list[TrialResult]]:
    by_cell: dict[str, list[TrialResult]] = {cell.id: [] for cell in cells}
    for result in results:
        if result.trial.cell.id in by_cell:
            by_cell[result.trial.cell.id].append(result)
    return by_cell


def _measured_of(cells: Sequence[Cell], results_by_cell: dict[str, list[TrialResult]]) -> dict[str, MeasuredWith]:
    """Returns, by cell id, the data and classifiers that a cell's results must have been measured with to count.

    A cell's completed results may have been measured with several. The one that most results of the cell's configuration were measured
    with is chosen. For a cell without completed results, all results of its configuration decide.
    """
    counts: dict[ComparisonKey, Counter[MeasuredWith]] = {}
    measured: dict[str, list[MeasuredWith]] = {}
    for cell in cells:
        completed = [result for result in results_by_cell[cell.id] if result.status == "completed"]
        measured[cell.id] = [measured_with(result.provenance) for result in completed]
        counts.setdefault(comparison_key(cell.config), Counter()).update(measured[cell.id])
    chosen = {}
    for cell in cells:
        of_configuration = counts[comparison_key(cell.config)]
        candidates = measured[cell.id] or of_configuration or [MeasuredWith()]
        chosen[cell.id] = max(candidates, key=of_configuration.__getitem__)
    return chosen


def _agrees(result: TrialResult, measured: MeasuredWith) -> bool:
    """Whether a result was measured with these data and classifiers, or has no numbers."""
    return result.status != "completed" or measured_with(result.provenance) == measured


def slugs_of(labels: Sequence[str]) -> list[str]:
    """Returns each label as part of a file's name. All are different, even on a file system that ignores case."""
    slugs: list[str] = []
    taken: set[str] = set()
    for label in labels:
        base = re.sub(r"[^A-Za-z0-9_]+", "-", label)[-LONGEST_SLUG:].strip("-") or ("group" if label else "")
        choices = (base if number == 1 else f"{base}-{number}" for number in range(1, len(labels) + 1))
        slugs.append(next(slug for slug in choices if slug.lower() not in taken))
        taken.add(slugs[-1].lower())
    return slugs


def _empty_group() -> FrontGroup:
    return FrontGroup(ComparisonKey(()), "", "", (), ())
