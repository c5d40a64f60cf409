"""Parts that the figures of a search share: the colours of its order, the markers of outcomes, titles and legends."""

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.lines import Line2D

from orchestrator.report.figures.model_styles import COLOURS
from orchestrator.report.figures.theme import EDGE, INK, PAPER
from orchestrator.report.render.search_table import Searched

ORDER = LinearSegmentedColormap.from_list("order", matplotlib.colormaps["viridis"](np.linspace(0.92, 0.0, 256)))
"""Colours from light to dark, so that late cells stand out. The lightest colours of viridis would be invisible on white."""
OUTCOMES = {
    "infeasible": ("s", COLOURS[4]),
    "diverged": ("X", COLOURS[1]),
    "failed": ("P", INK),
    "stopped": ("v", COLOURS[3]),
}
"""Marker and colour of the cells that are on no front."""
NUMBER = "number of the proposal"


def heading(what: str, searched: Searched) -> str:
    """Returns a title: what is shown, and below it the data, scale, networks and number of seeds."""
    return f"{what}\n{searched.title}"


def outcome_handle(outcome: str, hollow: bool) -> Line2D:
    """Returns a legend's entry for cells that are on no front. It is hollow if the figure draws these cells at their values."""
    marker, colour = OUTCOMES[outcome]
    face = PAPER if hollow else colour
    return Line2D([], [], label=outcome, color=colour, marker=marker, markerfacecolor=face, linestyle="none", markersize=6)


def member_handle() -> Line2D:
    """Returns a legend's entry for the ring around cells on the front."""
    return Line2D([], [], label="on the front", marker="o", color=COLOURS[1], markerfacecolor=PAPER, linestyle="none", markersize=8,
                  markeredgewidth=1.8)  # fmt: skip


def draw_marker(axes: Axes, at: tuple[float, float], outcome: str, on_front: bool, fill: object, size: float = 7.0) -> Line2D:
    """Draw a cell's marker: filled with `fill`, with a ring on the front. Infeasible and stopped cells have the marker of `OUTCOMES`."""
    if outcome in OUTCOMES:
        marker, edge = OUTCOMES[outcome]
        (line,) = axes.plot(*at, marker=marker, markersize=0.85 * size, markerfacecolor=PAPER, markeredgecolor=edge,
                            markeredgewidth=1.2, linestyle="none", zorder=3)  # fmt: skip
        return line
    edge, width = (COLOURS[1], 1.8) if on_front else (EDGE, 0.5)
    (line,) = axes.plot(*at, marker="o", markersize=size, markerfacecolor=fill, markeredgecolor=edge, markeredgewidth=width,
                        linestyle="none", zorder=5 if on_front else 4)  # fmt: skip
    return line
