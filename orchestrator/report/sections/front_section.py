"""Makes the front on the page: a card for each cell with its numbers and runs, and markers that open the cards. Pure.

The markers of the SVG have ids (`theme.MARK`), which lead to their cards. This module gives them names for screen readers, a place in the
order of the Tab key, and a disc that is large enough for a finger. Without the page's script, the markers still have titles, and the
cards are a list.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from orchestrator.analysis.fronts import Front
from orchestrator.report.render.numbers import MISSING, to_spread
from orchestrator.report.render.search_table import Searched, detail
from orchestrator.spec.sections import Objective
from orchestrator.spec.trial import Cell, Trial, labels

_MARKER = re.compile(
    r'<g id="cell-(?P<id>[0-9a-f]+)">(?P<before>(?:(?!<g id=).)*?)(?P<use><use [^>]*?x="(?P<x>[-\d.]+)" y="(?P<y>[-\d.]+)"[^>]*/>)',
    re.DOTALL,
)
REACH = 9
"""Radius of a marker's disc in points. At 1.3 pixels a point, the disc is 24 pixels wide, enough for a finger."""


@dataclass(frozen=True)
class Number:
    """An objective of a cell, with the digits that its spread supports; dashes if there is no number."""

    metric: str
    unit: str
    mean: str
    sd: str
    low: str
    """Lower end of the 95 % interval of the mean."""
    high: str


@dataclass(frozen=True)
class Run:
    """A trial of a cell."""

    trial_id: str
    seed: int
    status: str
    link: str
    """Address of its MLflow run; empty if it is not known."""


@dataclass(frozen=True)
class Card:
    """The facts about a cell that its marker shows."""

    cell_id: str
    label: str
    n: int
    n_planned: int
    numbers: tuple[Number, ...]
    standing: str
    """Whether the cell is on the front, and how sure that is."""
    runs: tuple[Run, ...]
    link: str
    """Address of the cell's MLflow run; empty if it is not known."""

    @property
    def text(self) -> str:
        """The card without its runs, in one line."""
        numbers = [_number_text(number) for number in self.numbers if number.mean != MISSING]
        return "; ".join([self.label, f"n = {self.n} of {self.n_planned}", *numbers, self.standing])


def cards(
    cells: Sequence[Cell],
    trials: Sequence[Trial],
    table: pd.DataFrame,
    front: Front,
    states: Mapping[str, str],
    links: Mapping[str, str],
    searched: Searched | None = None,
) -> list[Card]:
    """Returns a card for each cell, in the order of `cells`, with the numbers of `table` (`aggregation.cell_table`).

    `states` and `links` have statuses and addresses of runs by the id of the trial or the cell. `searched` is given for a search.
    """
    names, standings = _names(cells, searched), _standings(front, searched)
    runs: dict[str, list[Run]] = {cell.id: [] for cell in cells}
    for trial in trials:
        runs[trial.cell.id].append(Run(trial.id, trial.seed, states.get(trial.id, "pending"), links.get(trial.id, "")))
    rows_by_cell = _objective_rows(table, front.objectives)
    cell_cards = []
    for cell in cells:
        rows = rows_by_cell.get(cell.id, {})
        cell_cards.append(
            Card(
                cell_id=cell.id,
                label=names.get(cell.id, cell.label),
                n=max((int(row["n"]) for row in rows.values()), default=0),
                n_planned=len(runs[cell.id]),
                numbers=tuple(_number(objective, rows.get(objective.metric)) for objective in front.objectives),
                standing=standings.get(cell.id, "no seed has completed"),
                runs=tuple(runs[cell.id]),
                link=links.get(cell.id, ""),
            )
        )
    return cell_cards


def _names(cells: Sequence[Cell], searched: Searched | None) -> dict[str, str]:
    """Returns the label of each cell by its id. In a search, the number of the cell's proposal comes first."""
    names = labels(cells)
    if searched is None:
        return names
    return {
        proposed.cell.id: f"{proposed.proposal.number}: {names[proposed.cell.id]}"
        for proposed in searched.proposed
        if proposed.cell.id in names
    }


def _objective_rows(table: pd.DataFrame, objectives: Sequence[Objective]) -> dict[str, dict[str, dict[str, Any]]]:
    """Returns the rows of the objectives by cell id and metric."""
    metrics = {objective.metric for objective in objectives}
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for row in table[table["name"].isin(metrics)].to_dict("records"):
        rows.setdefault(row["cell_id"], {})[row["name"]] = {str(key): value for key, value in row.items()}
    return rows


def interactive(svg: str, cards: Sequence[Card]) -> str:
    """Returns the SVG with markers that have names, can be reached with the Tab key, and are large enough for a finger."""
    by_id = {card.cell_id: card for card in cards}

    def marked(match: re.Match[str]) -> str:
        text = escape(by_id[match["id"]].text)
        return (
            f'<g id="cell-{match["id"]}" class="mark" tabindex="0" role="button" aria-label="{text}"><title>{text}</title>'
            f'{match["before"]}{match["use"]}<circle class="hit" cx="{match["x"]}" cy="{match["y"]}" r="{REACH}"/>'
        )

    return _MARKER.sub(marked, svg).replace("<svg ", '<svg role="group" aria-label="The front: a marker for each cell" ', 1)


def drawn(svg: str) -> frozenset[str]:
    """Returns the ids of the cells that have a marker in an SVG of the front."""
    return frozenset(match["id"] for match in _MARKER.finditer(svg))


def _standings(front: Front, searched: Searched | None) -> dict[str, str]:
    """Returns, by cell id, whether a cell is on the front and how sure that is, or why it is not compared."""
    standings = {}
    if searched is not None:
        for proposed in searched.proposed:
            more = detail(proposed, searched.search)
            standings[proposed.cell.id] = f"{proposed.outcome.label}{f': {more}' if more else ''}"
    for cell in front.left_out:
        missing = "not compared, as seeds are missing"
        standings[cell.cell_id] = f"{standings[cell.cell_id]}; {missing}" if cell.cell_id in standings else missing
    for point in front.points:
        probability = point.shown_probability
        suffix = "" if probability is None else f"; probability {probability:.2f} of being on it"
        standings[point.cell_id] = f"{'on' if point.on_front else 'not on'} the front{suffix}"
    return standings


def _number(objective: Objective, row: Mapping[str, Any] | None) -> Number:
    if row is None or not row["n"]:
        return Number(objective.metric, str(row["unit"]) if row else "", *[MISSING] * 4)
    mean, sd, low, high = to_spread(row["sd"], row["mean"], row["sd"], row["low"], row["high"])
    return Number(objective.metric, str(row["unit"]), mean, sd, low, high)


def _number_text(number: Number) -> str:
    if number.sd == MISSING:
        return f"{number.metric} {number.mean} {number.unit}"
    return f"{number.metric} {number.mean} ± {number.sd} {number.unit}, 95 % interval {number.low} to {number.high}"
