"""The front on the page: a card for each cell with its numbers and runs, and markers that open the cards. Pure.

The markers of the SVG have ids (`theme.MARK`). Here they get names for screen readers, a place in the order of the Tab key, and a
disc that is large enough for a finger. The id of a marker leads to its card. Without the script the markers have titles, and the cards
stand in a list.
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
REACH = 9  # of a marker's disc, in points: with 1.3 pixels a point, a finger's 24 pixels


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
    """What a marker shows."""

    cell_id: str
    label: str
    n: int
    n_planned: int
    numbers: tuple[Number, ...]
    standing: str
    """Whether the cell is on the front, and how sure that is."""
    runs: tuple[Run, ...]
    link: str
    """Address of the cell's own MLflow run; empty if it is not known."""

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
    """A card for each cell, in the order of `cells`, with the numbers of `table` (`aggregation.cell_table`).

    `states` and `links` have statuses and addresses of runs by the id of the trial or cell; `searched` is given for a search.
    """
    short, standings = labels(cells), _standings(front, searched)
    if searched is not None:
        short = {one.cell.id: f"{one.proposal.number}: {short[one.cell.id]}" for one in searched.proposed if one.cell.id in short}
    runs: dict[str, list[Run]] = {cell.id: [] for cell in cells}
    for trial in trials:
        runs[trial.cell.id].append(Run(trial.id, trial.seed, states.get(trial.id, "pending"), links.get(trial.id, "")))
    metrics = {objective.metric for objective in front.objectives}
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for row in table[table["name"].isin(metrics)].to_dict("records"):
        rows.setdefault(row["cell_id"], {})[row["name"]] = {str(key): value for key, value in row.items()}
    return [
        Card(
            cell.id,
            short.get(cell.id, cell.label),
            max((int(row["n"]) for row in rows.get(cell.id, {}).values()), default=0),
            len(runs[cell.id]),
            tuple(_number(objective, rows.get(cell.id, {}).get(objective.metric)) for objective in front.objectives),
            standings.get(cell.id, "no seed has completed"),
            tuple(runs[cell.id]),
            links.get(cell.id, ""),
        )
        for cell in cells
    ]


def interactive(svg: str, cards: Sequence[Card]) -> str:
    """The SVG with markers that have names, can be reached with the Tab key, and are large enough for a finger."""
    by_id = {card.cell_id: card for card in cards}

    def marked(match: re.Match[str]) -> str:
        text = escape(by_id[match["id"]].text)
        return (
            f'<g id="cell-{match["id"]}" class="mark" tabindex="0" role="button" aria-label="{text}"><title>{text}</title>'
            f'{match["before"]}{match["use"]}<circle class="hit" cx="{match["x"]}" cy="{match["y"]}" r="{REACH}"/>'
        )

    return _MARKER.sub(marked, svg).replace("<svg ", '<svg role="group" aria-label="The front: a marker for each cell" ', 1)


def drawn(svg: str) -> frozenset[str]:
    """Ids of the cells that have a marker in an SVG of the front."""
    return frozenset(match["id"] for match in _MARKER.finditer(svg))


def _standings(front: Front, searched: Searched | None) -> dict[str, str]:
    standings = {}
    if searched is not None:
        for one in searched.proposed:
            more = detail(one, searched.search)
            standings[one.cell.id] = f"{one.outcome.label}{f': {more}' if more else ''}"
    for cell in front.left_out:
        missing = "not compared, as seeds are missing"
        standings[cell.cell_id] = f"{standings[cell.cell_id]}; {missing}" if cell.cell_id in standings else missing
    for point in front.points:
        probability = point.shown_probability
        likely = "" if probability is None else f"; probability {probability:.2f} of being on it"
        standings[point.cell_id] = f"{'on' if point.on_front else 'not on'} the front{likely}"
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
