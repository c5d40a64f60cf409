"""The colour, marker and line of each model, the same in every figure of every sweep.

They depend only on the model's place in the registry. So a model looks the same in a sweep of two models and in a sweep of all.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mopoe_core.family.registry import MODELS

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
"""Okabe and Ito's palette, whose colours differ with every common colour blindness. Grey replaces black, which is invisible on a dark
page."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1, 1, 1)), (4.5, (9, 3)))
"""Line styles of the series of one model, in their order in a figure. The last starts within a dash: in a legend its first gap would be
behind the marker."""


@dataclass(frozen=True)
class SeriesStyle:
    """How a series is drawn. Colour and marker are those of its model."""

    colour: str
    marker: str
    line: Any = "-"


def model_style(model: str) -> SeriesStyle:
    """Returns the style of a model. The first 49 places in the registry have different pairs of colour and marker."""
    place = MODELS[model].place
    return SeriesStyle(COLOURS[place % len(COLOURS)], MARKERS[(place + place // len(COLOURS)) % len(MARKERS)])


def model_of(series: str) -> str:
    """Returns the model of a series or of a cell's label: its first word."""
    return series.partition(" ")[0]


def series_styles(all_series: Iterable[str]) -> dict[str, SeriesStyle]:
    """Returns the style of each series of a figure. Series of one model share its colour and marker, and differ in their lines."""
    styles: dict[str, SeriesStyle] = {}
    for series in dict.fromkeys(all_series):
        style = model_style(model_of(series))
        earlier = sum(model_of(other) == model_of(series) for other in styles)
        styles[series] = SeriesStyle(style.colour, style.marker, LINES[earlier % len(LINES)])
    return styles
