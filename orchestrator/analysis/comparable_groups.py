"""The groups of a sweep's cells that may stand on one front. Pure.

A sweep over two datasets has two groups: two fronts, two hypervolumes, and a best of each. A group has the cells whose
`comparison_key` is the same. Where results of one configuration were measured on different data, or judged by different classifiers,
their cells are in different groups, too. A cell whose seeds were measured on different data counts with those seeds that most results
of its configuration agree with; the others are set aside, so that it lacks seeds and is on no front.

`groups.Group` is narrower: its cells differ in nothing but what belongs to a model. All of them are always in one group of this kind.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

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
    """What tells it from the sweep's other groups; empty for the only one."""
    slug: str
    """The label as part of a file's or a metric's name; different for every group, and empty for the only one."""
    cells: tuple[Cell, ...]
    """In the sweep's order."""
    results: tuple[TrialResult, ...]
    """Of its cells; completed trials of other data are not among them."""

    @cached_property
    def ids(self) -> frozenset[str]:
        """Of its cells."""
        return frozenset(cell.id for cell in self.cells)

    def named(self, what: str) -> str:
        """`what` with the group's slug behind it: `front-mnist`; `what` alone for the only group."""
        return f"{what}-{self.slug}" if self.slug else what


@dataclass(frozen=True)
class FrontGroups:
    """All cells of a sweep, each in one group."""

    groups: tuple[FrontGroup, ...]
    """In the order of their first cells; one without cells for a sweep without any."""
    set_aside: tuple[TrialResult, ...] = ()
    """Completed trials that were measured with something else than their cell is compared by."""

    @property
    def several(self) -> bool:
        """Whether there is more than one."""
        return len(self.groups) > 1

    @property
    def results(self) -> tuple[TrialResult, ...]:
        """All that may be compared with others of its cell and group."""
        return tuple(result for group in self.groups for result in group.results)

    def of(self, cell: Cell) -> FrontGroup:
        """A cell's group."""
        return self._by_cell[cell.id]

    @cached_property
    def _by_cell(self) -> dict[str, FrontGroup]:
        return {cell.id: group for group in self.groups for cell in group.cells}

    def measured_label(self, cell: Cell) -> list[str]:
        """What a cell's results were measured with, in words, where groups of its configuration differ in that."""
        key = self.of(cell).key
        return measured_words(key, self._alike[key.values])

    @cached_property
    def _alike(self) -> dict[tuple[Any, ...], list[ComparisonKey]]:
        found: dict[tuple[Any, ...], list[ComparisonKey]] = {}
        for group in self.groups:
            found.setdefault(group.key.values, []).append(group.key)
        return found


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
        kept = tuple(result for cell in own for result in by_cell[cell.id] if _agrees(result, key.measured))
        groups.append(FrontGroup(key, labels[key], slugs[key], tuple(own), kept))
    aside = tuple(r for cell in cells for r in by_cell[cell.id] if not _agrees(r, chosen[cell.id]))
    return FrontGroups(tuple(groups) or (_nothing(),), aside)


def groups_of(spec: SweepSpec, results: Iterable[TrialResult]) -> FrontGroups:
    """The groups of a sweep. A search has one: it may vary nothing that decides what is measured, and of results that were measured
    on different data it has those that most of them agree with.
    """
    cells = spec.cells
    found = front_groups(cells, results)
    if spec.search is None or not found.several:
        return found
    most = max(found.groups, key=lambda group: len(group.results))
    others = tuple(result for group in found.groups if group is not most for result in group.results)
    kept = (*most.results, *(result for result in others if result.status != "completed"))
    completed = tuple(result for result in others if result.status == "completed")
    return FrontGroups((replace(most, label="", slug="", cells=tuple(cells), results=kept),), (*found.set_aside, *completed))


def check_search(spec: SweepSpec, results: Iterable[TrialResult]) -> None:
    """Raise LedgerError where a search has results that were measured on different data: they cannot be told to one study."""
    aside = groups_of(spec, results).set_aside
    if spec.search is None or not aside:
        return
    raise LedgerError(
        f"search: {trials_said(aside)} measured on other data or judged by other classifiers than the other results of {spec.name}, so "
        "that they cannot be compared; put back what is wrong with `rerun --trial ID`, or give the search another name and --storage"
    )


def trial_labels(trials: Iterable[Trial], results: Sequence[TrialResult]) -> dict[str, str]:
    """By a trial's id, what tells its numbers from those that they may not be compared with; empty where all may be compared."""
    cell_of = {trial.id: trial.cell for trial in trials}
    grouped = front_groups(list({cell.id: cell for cell in cell_of.values()}.values()), results)
    keys = {trial_id: grouped.of(cell).key for trial_id, cell in cell_of.items()}
    for result in results:
        if result.status == "completed":
            keys[result.trial.id] = comparison_key(result.trial.config, measured_with(result.provenance))
    labels = key_labels(list(keys.values()))
    return {trial_id: labels[key] for trial_id, key in keys.items()}


def trials_said(results: Sequence[TrialResult]) -> str:
    """`2 trials (ID, ID) were`: the first few by their ids."""
    ids = [result.trial.id for result in results]
    more = f" and {len(ids) - MOST_NAMED} more" if len(ids) > MOST_NAMED else ""
    count = "1 trial" if len(ids) == 1 else f"{len(ids)} trials"
    return f"{count} ({', '.join(ids[:MOST_NAMED])}{more}) {'was' if len(ids) == 1 else 'were'}"


def _by_cell(cells: Sequence[Cell], results: Iterable[TrialResult]) -> dict[str, list[TrialResult]]:
    found: dict[str, list[TrialResult]] = {cell.id: [] for cell in cells}
    for result in results:
        if result.trial.cell.id in found:
            found[result.trial.cell.id].append(result)
    return found


def _measured_of(cells: Sequence[Cell], by_cell: dict[str, list[TrialResult]]) -> dict[str, MeasuredWith]:
    """By a cell's id: of what its completed results were measured with, that which most results of its configuration agree with. A cell
    without any takes what most were measured with.
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
    """Whether a result has no numbers, or has them from there."""
    return result.status != "completed" or measured_with(result.provenance) == measured


def slugs_of(labels: Sequence[str]) -> list[str]:
    """Each label as part of a file's name, each another, also where case does not count."""
    made: list[str] = []
    taken: set[str] = set()
    for label in labels:
        short = re.sub(r"[^A-Za-z0-9_]+", "-", label)[-LONGEST_SLUG:].strip("-") or ("group" if label else "")
        choices = (short if number == 1 else f"{short}-{number}" for number in range(1, len(labels) + 1))
        made.append(next(slug for slug in choices if slug.lower() not in taken))
        taken.add(made[-1].lower())
    return made


def _nothing() -> FrontGroup:
    return FrontGroup(ComparisonKey(()), "", "", (), ())
