"""A search as a table: every cell that it has proposed, in order, and what has come of it. Pure.

Values are what the search was told: means over the seeds that all cells have. Whether a cell is on the front is taken from all its
seeds, as in the other tables.
"""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from orchestrator.analysis.aggregation import completed_of_each, summary
from orchestrator.analysis.fronts import Front
from orchestrator.ledger.result import TrialResult
from orchestrator.report.render.tables import Entry, shown
from orchestrator.search.outcomes import Told, courses
from orchestrator.spec.search_block import Range, Search
from orchestrator.spec.search_space import Space
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import spelled

OUTCOMES = ("completed", "infeasible", "diverged", "failed", "stopped", "open")


@dataclass(frozen=True)
class Searched:
    """What the report of a search is made from."""

    spec: SweepSpec
    told: tuple[Told, ...]
    front: Front
    """Over all seeds, of the cells that keep to the constraints."""
    units: tuple[str, ...]
    """An objective each."""
    title: str
    """Data, scale, networks and number of seeds."""

    @property
    def search(self) -> Search:
        """The search's block of the sweep file."""
        assert self.spec.search is not None
        return self.spec.search

    @cached_property
    def space(self) -> Space:
        """Its fields."""
        return Space(self.search)

    @cached_property
    def ended(self) -> list[Told]:
        """The cells of which something was told."""
        return [one for one in self.told if one.telling.kind != "open"]

    @cached_property
    def courses(self) -> dict[str, list[float]]:
        """What was reached after each of them: see `outcomes.courses`."""
        return courses(self.ended, self.spec)

    @cached_property
    def members(self) -> frozenset[str]:
        """Ids of the cells on the front."""
        return frozenset(point.cell_id for point in self.front.points if point.on_front)

    @property
    def counts(self) -> dict[str, int]:
        """Cells by what came of them, in the order of `OUTCOMES`; those that did not occur are left out."""
        found = Counter(one.outcome for one in self.told)
        return {outcome: found[outcome] for outcome in OUTCOMES if found[outcome]}


@dataclass(frozen=True)
class Row:
    """One proposed cell."""

    number: int
    fields: tuple[str, ...]
    """A field of the space each; empty where the cell has none."""
    values: tuple[str, ...]
    """Mean and sd of an objective each; empty where there is none."""
    n: str
    came_of_it: str
    on_front: bool
    source: str


def rows(searched: Searched, table: pd.DataFrame) -> list[Row]:
    """A row a cell, as a reader sees it; `table` is that of `frame`."""
    made = []
    for one, line in zip(searched.told, table.to_dict("records"), strict=True):
        fields = tuple(spelled_value(one.proposal.fields[f]) if f in one.proposal.fields else "" for f in searched.space.order)
        means = [(line[o.metric], line[f"{o.metric}.sd"]) for o in searched.spec.objectives]
        values = tuple("" if math.isnan(mean) else shown(Entry(mean, sd, False)) for mean, sd in means)
        n = f"{line['n']}/{len(searched.spec.seed_list)}"
        said = line["outcome"] + (f": {line['detail']}" if line["detail"] else "")
        made.append(Row(line["number"], fields, values, n, said, line["on_front"], line["from_sweep"]))
    return made


def frame(searched: Searched, results: Sequence[TrialResult]) -> pd.DataFrame:
    """The same with every digit, a row a cell: `number`, `cell_id`, the fields of the space, each objective with `.sd`, `n` of the
    seeds that all cells have, `outcome`, `detail`, `on_front`, `from_sweep`.

    Means are those that the search was told: a cell of which it was told no number has none here.
    """
    found = completed_of_each([one.cell for one in searched.told], searched.spec.seed_list, results)
    columns: dict[str, Any] = {
        "number": [t.proposal.number for t in searched.told],
        "cell_id": [t.cell.id for t in searched.told],
    }
    for field in searched.space.order:
        columns[field] = _column(searched, field)
    for place, objective in enumerate(searched.spec.objectives):
        told = [one.telling.values[place] if one.telling.values else math.nan for one in searched.told]
        values = [[result.value(objective.metric) for result in found[one.cell.id]] for one in searched.told]
        sds = [summary([v for v in own if v is not None])["sd"] for own in values]
        columns[objective.metric] = pd.Series(told, dtype="float64")
        columns[f"{objective.metric}.sd"] = pd.Series(
            [math.nan if math.isnan(mean) else sd for mean, sd in zip(told, sds, strict=True)], dtype="float64"
        )
    columns["n"] = [len(found[one.cell.id]) for one in searched.told]
    columns["outcome"] = [one.outcome for one in searched.told]
    columns["detail"] = [detail(one, searched.search) for one in searched.told]
    columns["on_front"] = [one.cell.id in searched.members for one in searched.told]
    columns["from_sweep"] = [one.proposal.source for one in searched.told]
    return pd.DataFrame(columns)


def detail(one: Told, search: Search) -> str:
    """More of what came of a cell: which constraint it breaks and by how much, or when and why it was stopped."""
    if one.outcome == "infeasible":
        return broken_words({name: value for name, value in one.telling.excess.items() if value > 0}, search)
    if one.outcome == "diverged":
        seeds = int(one.telling.excess["diverged"])
        return f"{seeds} seed{'' if seeds == 1 else 's'}"
    return f"at epoch {one.stopped.epoch}; {one.stopped.why}" if one.stopped else ""


def broken_words(excess: dict[str, float], search: Search) -> str:
    """Constraints and by how much they are broken: `train_seconds at most 10, by 2.3`."""
    bounds = {
        c.metric: f"at most {spelled(c.at_most)}" if c.at_most is not None else f"at least {spelled(c.at_least or 0.0)}"
        for c in search.constraints
    }
    return "; ".join(f"{name} {bounds[name]}, by {value:.3g}" for name, value in excess.items())


def line(searched: Searched) -> str:
    """The search in one line, for a terminal."""
    ended = ", ".join(f"{count} {outcome}" for outcome, count in searched.counts.items() if outcome != "open")
    said = [f"{len(searched.ended)} cells told{f': {ended}' if ended else ''}"]
    said += [f"{searched.counts['open']} open"] if "open" in searched.counts else []
    for name, course in searched.courses.items():
        if course and not math.isnan(course[-1]):
            said.append(f"{name} {course[-1]:.5g}")
    return f"search  {'; '.join(said)}"


def spelled_value(value: Any) -> str:
    """A field's value as a reader sees it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return json.dumps(value)
    return spelled(value)


def _column(searched: Searched, field: str) -> "pd.Series[Any]":
    """A field over all cells: numbers of a range, texts of a choice; missing where a cell does not have it."""
    values = [one.proposal.fields.get(field) for one in searched.told]
    dimension = searched.space.dimensions[field]
    if isinstance(dimension, Range):
        return pd.Series(values, dtype="Int64" if isinstance(dimension.low, int) else "float64")
    return pd.Series([spelled_value(v) if field in t.proposal.fields else None for v, t in zip(values, searched.told, strict=True)],
                     dtype="object")  # fmt: skip
