"""The groups of a sweep's cells that may stand on one front. Pure.

A sweep over two datasets has two groups, with a front, a hypervolume and a best each. The cells of a group have the same
`comparison_key`. Cells of one configuration whose results were measured on different data, or by different classifiers, are in different
groups, too. If the seeds of one cell were measured on different data, those count that most results of its configuration agree with. The
other seeds are set aside, so that the cell lacks seeds and is on no front.

The cells of a `model_groups.ModelGroup` are more alike: they differ in what belongs to a model alone. All of them are in one group here.
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
    """In what it differs from the other groups of the sweep; empty for the only group."""
    slug: str
    """The label as part of the name of a file or metric. Different for every group, and empty for the only group."""
    cells: tuple[Cell, ...]
    """In the sweep's order."""
    results: tuple[TrialResult, ...]
    """The results of its cells that may be compared with one another."""

    @cached_property
    def ids(self) -> frozenset[str]:
        """Ids of its cells."""
        return frozenset(cell.id for cell in self.cells)

    def named(self, what: str) -> str:
        """`what` with the group's slug behind it: `front-mnist`; `what` alone for the only group."""
        return f"{what}-{self.slug}" if self.slug else what


@dataclass(frozen=True)
class FrontGroups:
    """All cells of a sweep, each in one group."""

    groups: tuple[FrontGroup, ...]
    """In the order of their first cells. A sweep without cells has one group without cells."""
    set_aside: tuple[TrialResult, ...] = ()
    """Completed trials that were measured on other data, or by other classifiers, than their cell counts with."""

    @property
    def several(self) -> bool:
        """Whether there is more than one group."""
        return len(self.groups) > 1

    @property
    def results(self) -> tuple[TrialResult, ...]:
        """All results that may be compared with others of their cell and group."""
        return tuple(result for group in self.groups for result in group.results)

    def of(self, cell: Cell) -> FrontGroup:
        """The group of a cell."""
        return self._by_cell[cell.id]

    @cached_property
    def _by_cell(self) -> dict[str, FrontGroup]:
        return {cell.id: group for group in self.groups for cell in group.cells}

    def measured_label(self, cell: Cell) -> list[str]:
        """What the cell's results were measured with, in words; empty unless groups of its configuration differ in that."""
        key = self.of(cell).key
        return measured_words(key, self._alike[key.values])

    @cached_property
    def _alike(self) -> dict[tuple[Any, ...], list[ComparisonKey]]:
        keys: dict[tuple[Any, ...], list[ComparisonKey]] = {}
        for group in self.groups:
            keys.setdefault(group.key.values, []).append(group.key)
        return keys


def front_groups(cells: Sequence[Cell], results: Iterable[TrialResult]) -> FrontGroups:
    """The groups of these cells."""
    by_cell = _by_cell(cells, results)
    chosen = _measured_of(cells, by_cell)
    members: dict[ComparisonKey, list[Cell]] = {}
    for cell in cells:
        members.setdefault(comparison_key(cell.config, chosen[cell.id]), []).append(cell)
    labels = key_labels(list(members))
    slugs = dict(zip(members, slugs_of(list(labels.values())), strict=True))
    groups = []
    for key, own in members.items():
        agreeing = tuple(result for cell in own for result in by_cell[cell.id] if _agrees(result, key.measured))
        groups.append(FrontGroup(key, labels[key], slugs[key], tuple(own), agreeing))
    aside = tuple(r for cell in cells for r in by_cell[cell.id] if not _agrees(r, chosen[cell.id]))
    return FrontGroups(tuple(groups) or (_nothing(),), aside)


def groups_of(spec: SweepSpec, results: Iterable[TrialResult]) -> FrontGroups:
    """The groups of a sweep.

    A search has one group, because its space may not vary what decides how cells are measured. If its results were measured on different
    data, those count that most results agree with.
    """
    cells = spec.cells
    grouped = front_groups(cells, results)
    if spec.search is None or not grouped.several:
        return grouped
    largest = max(grouped.groups, key=lambda group: len(group.results))
    others = tuple(result for group in grouped.groups if group is not largest for result in group.results)
    counting = (*largest.results, *(result for result in others if result.status != "completed"))
    completed = tuple(result for result in others if result.status == "completed")
    only = replace(largest, label="", slug="", cells=tuple(cells), results=counting)
    return FrontGroups((only,), (*grouped.set_aside, *completed))


def check_search(spec: SweepSpec, results: Iterable[TrialResult]) -> None:
    """Raise LedgerError if a search has results that were measured on different data: one study cannot use them together."""
    aside = groups_of(spec, results).set_aside
    if spec.search is None or not aside:
        return
    raise LedgerError(
        f"search: {trials_text(aside)} measured on other data or by other classifiers than the other results of {spec.name}, so they "
        "cannot be compared; train them again with `rerun --trial ID`, or give the search another name and --storage"
    )


def trial_labels(trials: Iterable[Trial], results: Sequence[TrialResult]) -> dict[str, str]:
    """By trial id, a label that differs for trials whose numbers may not be compared; all are empty if all trials may be compared."""
    cell_of = {trial.id: trial.cell for trial in trials}
    grouped = front_groups(list({cell.id: cell for cell in cell_of.values()}.values()), results)
    keys = {trial_id: grouped.of(cell).key for trial_id, cell in cell_of.items()}
    for result in results:
        if result.status == "completed":
            keys[result.trial.id] = comparison_key(result.trial.config, measured_with(result.provenance))
    labels = key_labels(list(keys.values()))
    return {trial_id: labels[key] for trial_id, key in keys.items()}


def trials_text(results: Sequence[TrialResult]) -> str:
    """`2 trials (ID, ID) were`, with the ids of the first few."""
    ids = [result.trial.id for result in results]
    count = "1 trial" if len(ids) == 1 else f"{len(ids)} trials"
    return f"{count} ({first_of(ids, MOST_NAMED)}) {'was' if len(ids) == 1 else 'were'}"


def _by_cell(cells: Sequence[Cell], results: Iterable[TrialResult]) -> dict[str, list[TrialResult]]:
    by_cell: dict[str, list[TrialResult]] = {cell.id: [] for cell in cells}
    for result in results:
        if result.trial.cell.id in by_cell:
            by_cell[result.trial.cell.id].append(result)
    return by_cell


def _measured_of(cells: Sequence[Cell], by_cell: dict[str, list[TrialResult]]) -> dict[str, MeasuredWith]:
    """What each cell counts as measured with, by its id.

    Of what its completed results were measured with, it is what most results of its configuration agree with. A cell without completed
    results takes what most results of its configuration were measured with.
    """
    counts: dict[ComparisonKey, Counter[MeasuredWith]] = {}
    own: dict[str, list[MeasuredWith]] = {}
    for cell in cells:
        own[cell.id] = [measured_with(r.provenance) for r in by_cell[cell.id] if r.status == "completed"]
        counts.setdefault(comparison_key(cell.config), Counter()).update(own[cell.id])
    chosen = {}
    for cell in cells:
        among = counts[comparison_key(cell.config)]
        chosen[cell.id] = max(own[cell.id] or among or [MeasuredWith()], key=among.__getitem__)
    return chosen


def _agrees(result: TrialResult, measured: MeasuredWith) -> bool:
    """Whether a result has no numbers, or was measured with this."""
    return result.status != "completed" or measured_with(result.provenance) == measured


def slugs_of(labels: Sequence[str]) -> list[str]:
    """Each label as part of a file's name. All are different, even on a file system that ignores case."""
    slugs: list[str] = []
    taken: set[str] = set()
    for label in labels:
        short = re.sub(r"[^A-Za-z0-9_]+", "-", label)[-LONGEST_SLUG:].strip("-") or ("group" if label else "")
        choices = (short if number == 1 else f"{short}-{number}" for number in range(1, len(labels) + 1))
        slugs.append(next(slug for slug in choices if slug.lower() not in taken))
        taken.add(slugs[-1].lower())
    return slugs


def _nothing() -> FrontGroup:
    return FrontGroup(ComparisonKey(()), "", "", (), ())
