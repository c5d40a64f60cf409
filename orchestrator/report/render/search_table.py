"""A search as a table: every proposed cell, in order, and its outcome. Pure.

Values are those that the search was told: means over the seeds that all cells have. Whether a cell is on the front depends on all its
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
from orchestrator.spec.search_block import Range, Search
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
    """The front over all seeds, of the cells that keep to the constraints."""
    units: tuple[str, ...]
    """A unit for each objective."""
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
        return [one for one in self.proposed if one.outcome.kind != "open"]

    @cached_property
    def courses(self) -> dict[str, list[float]]:
        """What the search had reached after each of these cells (`outcomes.courses`)."""
        return courses(self.ended, self.spec)

    @cached_property
    def members(self) -> frozenset[str]:
        """Ids of the cells on the front."""
        return frozenset(point.cell_id for point in self.front.members)

    @property
    def counts(self) -> dict[str, int]:
        """The number of cells by outcome, in the order of `OUTCOMES`, without outcomes that did not occur."""
        counts = Counter(one.outcome.label for one in self.proposed)
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
    """A row for each cell, as a reader sees it; `table` comes from `frame`."""
    shown = []
    for one, line in zip(searched.proposed, table.to_dict("records"), strict=True):
        fields = tuple(field_value(one.proposal.fields[f]) if f in one.proposal.fields else "" for f in searched.space.order)
        means = [(line[o.metric], line[f"{o.metric}.sd"]) for o in searched.spec.objectives]
        values = tuple("" if math.isnan(mean) else mean_and_sd(mean, sd) for mean, sd in means)
        n = f"{line['n']}/{len(searched.spec.seed_list)}"
        outcome = line["outcome"] + (f": {line['detail']}" if line["detail"] else "")
        shown.append(Row(line["number"], fields, values, n, outcome, line["on_front"], line["from_sweep"]))
    return shown


def frame(searched: Searched, results: Sequence[TrialResult]) -> pd.DataFrame:
    """The table with every digit.

    A row for each cell has `number`, `cell_id`, the fields of the space, each objective and its `.sd`, `n` of the seeds that all cells
    have, `outcome`, `detail`, `on_front`, `from_sweep`. Means are those that the search was told; missing if it was told none.
    """
    completed = completed_of_each([one.cell for one in searched.proposed], searched.spec.seed_list, results)
    columns: dict[str, Any] = {
        "number": [t.proposal.number for t in searched.proposed],
        "cell_id": [t.cell.id for t in searched.proposed],
    }
    for field in searched.space.order:
        columns[field] = _column(searched, field)
    for place, objective in enumerate(searched.spec.objectives):
        means = [one.outcome.values[place] if one.outcome.values else math.nan for one in searched.proposed]
        values = [[result.value(objective.metric) for result in completed[one.cell.id]] for one in searched.proposed]
        sds = [summary([v for v in own if v is not None]).sd for own in values]
        columns[objective.metric] = pd.Series(means, dtype="float64")
        columns[f"{objective.metric}.sd"] = pd.Series(
            [math.nan if math.isnan(mean) else sd for mean, sd in zip(means, sds, strict=True)], dtype="float64"
        )
    columns["n"] = [len(completed[one.cell.id]) for one in searched.proposed]
    columns["outcome"] = [one.outcome.label for one in searched.proposed]
    columns["detail"] = [detail(one, searched.search) for one in searched.proposed]
    columns["on_front"] = [one.cell.id in searched.members for one in searched.proposed]
    columns["from_sweep"] = [one.proposal.source for one in searched.proposed]
    return pd.DataFrame(columns)


def detail(one: ProposedCell, search: Search) -> str:
    """More on a cell's outcome: which constraints it breaks and by how much, or when and why it was stopped."""
    if one.outcome.label == "infeasible":
        return broken_text({name: value for name, value in one.outcome.excess.items() if value > 0}, search)
    if one.outcome.label == "diverged":
        seeds = int(one.outcome.excess["diverged"])
        return f"{seeds} seed{'' if seeds == 1 else 's'}"
    return f"at epoch {one.stopped.epoch}; {one.stopped.why}" if one.stopped else ""


def broken_text(excess: dict[str, float], search: Search) -> str:
    """The broken constraints and by how much: `train_seconds at most 10, by 2.3`."""
    bounds = {
        c.metric: f"at most {spelled(c.at_most)}" if c.at_most is not None else f"at least {spelled(c.at_least or 0.0)}"
        for c in search.constraints
    }
    return "; ".join(f"{name} {bounds[name]}, by {value:.3g}" for name, value in excess.items())


def line(searched: Searched) -> str:
    """The search in one line, for a terminal."""
    ended = ", ".join(f"{count} {outcome}" for outcome, count in searched.counts.items() if outcome != "open")
    parts = [f"{len(searched.ended)} cells told{f': {ended}' if ended else ''}"]
    parts += [f"{searched.counts['open']} open"] if "open" in searched.counts else []
    for name, course in searched.courses.items():
        if course and not math.isnan(course[-1]):
            parts.append(f"{name} {course[-1]:.5g}")
    return f"search  {'; '.join(parts)}"


def _column(searched: Searched, field: str) -> "pd.Series[Any]":
    """A field over all cells: numbers for a range, texts for a choice; missing if a cell does not have the field."""
    values = [one.proposal.fields.get(field) for one in searched.proposed]
    dimension = searched.space.dimensions[field]
    if isinstance(dimension, Range):
        return pd.Series(values, dtype="Int64" if isinstance(dimension.low, int) else "float64")
    return pd.Series([field_value(v) if field in t.proposal.fields else None for v, t in zip(values, searched.proposed, strict=True)],
                     dtype="object")  # fmt: skip
