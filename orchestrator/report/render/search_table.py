"""Writes a search as a table: every proposed cell, in order, and its outcome. Pure.

Values are those that the search learnt from: means over the seeds that all cells have. Whether a cell is on the front depends on all its
seeds, as in the other tables.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from orchestrator.analysis.aggregation import completed_of_each
from orchestrator.analysis.fronts import Front
from orchestrator.analysis.intervals import summary
from orchestrator.ledger.result import TrialResult
from orchestrator.report.render.numbers import field_value, mean_and_sd
from orchestrator.search.outcomes import ProposedCell, courses
from orchestrator.spec.search_block import Constraint, Range, Search
from orchestrator.spec.search_space import Space
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import spelled

OUTCOMES = ("completed", "infeasible", "diverged", "failed", "stopped", "open")


@dataclass(frozen=True)
class Searched:
    """The inputs of the report of a search."""

    spec: SweepSpec
    proposed: tuple[ProposedCell, ...]
    front: Front
    """The front over all seeds, of the cells that fulfil the constraints."""
    units: tuple[str, ...]
    """The unit of each objective."""
    title: str
    """Data, scale, networks and number of seeds."""

    @property
    def search(self) -> Search:
        """The search's block of the sweep file."""
        assert self.spec.search is not None
        return self.spec.search

    @cached_property
    def space(self) -> Space:
        """The fields of the search."""
        return Space(self.search)

    @cached_property
    def ended(self) -> list[ProposedCell]:
        """The cells that have an outcome."""
        return [proposed for proposed in self.proposed if proposed.outcome.kind != "open"]

    @cached_property
    def courses(self) -> dict[str, list[float]]:
        """The best values after each cell that has an outcome (`outcomes.courses`)."""
        return courses(self.ended, self.spec)

    @cached_property
    def members(self) -> frozenset[str]:
        """The ids of the cells on the front."""
        return frozenset(point.cell_id for point in self.front.members)

    @property
    def counts(self) -> dict[str, int]:
        """The number of cells by outcome, in the order of `OUTCOMES`, without outcomes that did not occur."""
        counts = Counter(proposed.outcome.label for proposed in self.proposed)
        return {outcome: counts[outcome] for outcome in OUTCOMES if counts[outcome]}


@dataclass(frozen=True)
class Row:
    """One proposed cell."""

    number: int
    fields: tuple[str, ...]
    """The value of each field of the space; empty if the cell does not have the field."""
    values: tuple[str, ...]
    """Mean and sd of each objective; empty if there is none."""
    n: str
    outcome: str
    on_front: bool
    source: str


def rows(searched: Searched, table: pd.DataFrame) -> list[Row]:
    """Returns a row for each cell, as a reader sees it. `table` comes from `frame`."""
    shown_rows = []
    for proposed, record in zip(searched.proposed, table.to_dict("records"), strict=True):
        fields = proposed.proposal.fields
        means = [(record[objective.metric], record[f"{objective.metric}.sd"]) for objective in searched.spec.objectives]
        shown_rows.append(
            Row(
                number=record["number"],
                fields=tuple(field_value(fields[field]) if field in fields else "" for field in searched.space.order),
                values=tuple("" if math.isnan(mean) else mean_and_sd(mean, sd) for mean, sd in means),
                n=f"{record['n']}/{len(searched.spec.seed_list)}",
                outcome=record["outcome"] + (f": {record['detail']}" if record["detail"] else ""),
                on_front=record["on_front"],
                source=record["from_sweep"],
            )
        )
    return shown_rows


def frame(searched: Searched, results: Sequence[TrialResult]) -> pd.DataFrame:
    """Returns the table with every digit, a row for each cell.

    It has `number`, `cell_id`, the fields of the space, each objective and its `.sd`, `n` of the seeds that all cells have, `outcome`,
    `detail`, `on_front`, `from_sweep`. Means are those that the search learnt from; missing if there was none.
    """
    proposed = searched.proposed
    completed = completed_of_each([cell.cell for cell in proposed], searched.spec.seed_list, results)
    columns: dict[str, Any] = {
        "number": [cell.proposal.number for cell in proposed],
        "cell_id": [cell.cell.id for cell in proposed],
    }
    for field in searched.space.order:
        columns[field] = _column(searched, field)
    for place, objective in enumerate(searched.spec.objectives):
        means = [cell.outcome.values[place] if cell.outcome.values else math.nan for cell in proposed]
        sds = [_sd(completed[cell.cell.id], objective.metric) for cell in proposed]
        columns[objective.metric] = pd.Series(means, dtype="float64")
        columns[f"{objective.metric}.sd"] = pd.Series(
            [math.nan if math.isnan(mean) else sd for mean, sd in zip(means, sds, strict=True)], dtype="float64"
        )
    columns["n"] = [len(completed[cell.cell.id]) for cell in proposed]
    columns["outcome"] = [cell.outcome.label for cell in proposed]
    columns["detail"] = [detail(cell, searched.search) for cell in proposed]
    columns["on_front"] = [cell.cell.id in searched.members for cell in proposed]
    columns["from_sweep"] = [cell.proposal.source for cell in proposed]
    return pd.DataFrame(columns)


def _sd(results: Sequence[TrialResult], metric: str) -> float:
    """Returns the standard deviation of a metric over the results that report it."""
    return summary([value for result in results if (value := result.value(metric)) is not None]).sd


def detail(proposed: ProposedCell, search: Search) -> str:
    """Returns more on a cell's outcome: which constraints it breaks and by how much, or when and why it was stopped."""
    if proposed.outcome.label == "infeasible":
        return broken_text({name: value for name, value in proposed.outcome.excess.items() if value > 0}, search)
    if proposed.outcome.label == "diverged":
        seeds = int(proposed.outcome.excess["diverged"])
        return f"{seeds} seed{'' if seeds == 1 else 's'}"
    return f"at epoch {proposed.stopped.epoch}; {proposed.stopped.why}" if proposed.stopped else ""


def broken_text(excess: dict[str, float], search: Search) -> str:
    """Returns the broken constraints and by how much: `train_seconds at most 10, by 2.3`. Keys of `excess` are their `name`s."""
    bounds = {constraint.name: _bound_text(constraint) for constraint in search.constraints}
    return "; ".join(f"{bounds[name]}, by {value:.3g}" for name, value in excess.items())


def _bound_text(constraint: Constraint) -> str:
    if constraint.at_most is not None:
        return f"{constraint.metric} at most {spelled(constraint.at_most)}"
    return f"{constraint.metric} at least {spelled(constraint.at_least or 0.0)}"


def line(searched: Searched) -> str:
    """Returns the search in one line, for a terminal."""
    ended = ", ".join(f"{count} {outcome}" for outcome, count in searched.counts.items() if outcome != "open")
    parts = [f"{len(searched.ended)} cells told{f': {ended}' if ended else ''}"]
    if "open" in searched.counts:
        parts.append(f"{searched.counts['open']} open")
    for name, course in searched.courses.items():
        if course and not math.isnan(course[-1]):
            parts.append(f"{name} {course[-1]:.5g}")
    return f"search  {'; '.join(parts)}"


def _column(searched: Searched, field: str) -> "pd.Series[Any]":
    """Returns a field over all cells: numbers for a range, texts for a choice; missing if a cell does not have the field."""
    fields_of_cells = [proposed.proposal.fields for proposed in searched.proposed]
    dimension = searched.space.dimensions[field]
    if isinstance(dimension, Range):
        numbers = [fields.get(field) for fields in fields_of_cells]
        return pd.Series(numbers, dtype="Int64" if isinstance(dimension.low, int) else "float64")
    texts = [field_value(fields[field]) if field in fields else None for fields in fields_of_cells]
    return pd.Series(texts, dtype="object")
