"""The colour, marker and line of each model, the same in every figure of every sweep.

They follow from the model's place in the registry alone: a sweep with two models draws them as a sweep with all of them does.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mopoe_core.family.registry import MODELS

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
"""Okabe and Ito's palette, which can be told apart with every common colour blindness. Grey is in place of black, which a dark page
hides."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (9, 3)))
"""Lines of the series of one model, in their order in a figure."""


@dataclass(frozen=True)
class SeriesStyle:
    """How a series is drawn: colour and marker are its model's."""

    colour: str
    marker: str
    line: Any = "-"


def model_style(model: str) -> SeriesStyle:
    """The style of a model. Each of the first 49 places in the registry has a pair of colour and marker of its own."""
    place = MODELS[model].place
    return SeriesStyle(COLOURS[place % len(COLOURS)], MARKERS[(place + place // len(COLOURS)) % len(MARKERS)])


def model_of(series: str) -> str:
    """The model of a series or of a cell's label, whose first word it is."""
    return series.partition(" ")[0]


def series_styles(all_series: Iterable[str]) -> dict[str, SeriesStyle]:
    """The style of each series of a figure. Series of one model share its colour and marker, and differ in their lines."""
    styles: dict[str, SeriesStyle] = {}
    for series in dict.fromkeys(all_series):
        of_model = model_style(model_of(series))
        earlier = sum(model_of(other) == model_of(series) for other in styles)
        styles[series] = SeriesStyle(of_model.colour, of_model.marker, LINES[earlier % len(LINES)])
    return styles
