"""Draws a heat map for a paper: every cell in every column of one kind of metric, on one scale of colours."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from orchestrator.report.figures.plot_style import blank, write_words
from orchestrator.report.figures.theme import EDGE, INK, PAPER
from orchestrator.report.render.numbers import number
from orchestrator.report.render.short_labels import shortened
from orchestrator.spec.proper_names import proper
from orchestrator.spec.trial import Cell, labels

COLOURS = "cividis"
"""A scale that looks the same with every common colour blindness, and gets lighter from one end to the other."""
COLUMN_WIDTH_FOR_NUMBERS = 0.3
"""Width in inches that a column needs to show numbers."""
LIGHT_COLOURS_ABOVE = 0.55
"""Share of the scale above which a colour is light, so that numbers on it are dark."""


def heat_map(cells: Sequence[Cell], table: pd.DataFrame, heading: str) -> Figure | None:
    """Draws a row for each cell and a column for each subset (and target), coloured by the mean over seeds. None without a number.

    `table` has the rows of one kind of metric (`aggregation.cell_table`). All columns share the scale of colours, from the lowest to the
    highest mean, so that cells can be compared in all of them. Metrics that no seed reports are grey.
    """
    means = heat_numbers(cells, table)
    if means.empty:
        return None
    values = means.drop(columns=["cell_id", "label"])
    rows, columns = values.shape
    figure = blank(2.2 + 0.42 * columns, 1.5 + 0.22 * rows, lowest=1.5 + 0.2 * rows)
    axes = figure.subplots()
    scale = Normalize(float(np.nanmin(values)), float(np.nanmax(values)))
    colours = matplotlib.colormaps[COLOURS].with_extremes(bad="#d8d8d8")
    axes.pcolormesh(np.ma.masked_invalid(values.to_numpy()), cmap=colours, norm=scale, edgecolors=PAPER, linewidth=0.8)
    is_wide = figure.get_size_inches()[0] / (columns + 5) > COLUMN_WIDTH_FOR_NUMBERS
    if is_wide:
        _write_numbers(axes, values, scale)
    rotation: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if is_wide else {"rotation": 90}
    axes.set_xticks(np.arange(columns) + 0.5, [_column(str(name)) for name in values], **rotation)
    short = shortened(means["label"])
    axes.set_yticks(np.arange(rows) + 0.5, [proper(short[label]) for label in means["label"]])
    axes.tick_params(length=0, labelsize="x-small")
    axes.spines[:].set_visible(False)
    axes.invert_yaxis()
    bar = figure.colorbar(ScalarMappable(scale, colours), ax=axes, label=str(table["unit"].iloc[0]), aspect=30, pad=0.02)
    bar.outline.set_edgecolor(EDGE)
    write_words(figure, heading, "Means over seeds. All columns have one scale of colours.")
    return figure


def _write_numbers(axes: Axes, values: pd.DataFrame, scale: Normalize) -> None:
    for (row, column), value in np.ndenumerate(values.to_numpy()):
        if np.isfinite(value):
            ink = INK if scale(value) > LIGHT_COLOURS_ABOVE else PAPER
            axes.text(column + 0.5, row + 0.5, number(value), ha="center", va="center", fontsize="x-small", color=ink)


def heat_numbers(cells: Sequence[Cell], table: pd.DataFrame) -> pd.DataFrame:
    """Returns a row for each cell that has a number: its id, its label, and a column for each metric with the mean over seeds."""
    metrics, label_of = list(dict.fromkeys(table["name"])), labels(cells)
    means = table[table["n"] > 0].pivot_table(index="cell_id", columns="name", values="mean", sort=False)
    reported = [cell.id for cell in cells if cell.id in means.index]
    means = means.reindex(index=reported, columns=metrics).reset_index()
    means.insert(1, "label", [label_of[cell_id] for cell_id in means["cell_id"]])
    return means.rename_axis(columns=None)


def _column(name: str) -> str:
    """Returns the heading of a metric's column: `mnist, svhn → text` for `coherence/mnist.svhn/text`."""
    return name.partition("/")[2].replace("/", " → ").replace(".", ", ")
