"""The front: a marker for each cell at its means, a line for each series, bars of one standard deviation."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from orchestrator.analysis.dominance import Floats
from orchestrator.analysis.fronts import Front, LeftOut, Point
from orchestrator.analysis.hypervolume import references_text
from orchestrator.report.figures.label_placement import LabelPlacer
from orchestrator.report.figures.plot_style import (
    FAINT,
    bars_text,
    blank,
    dress,
    listed,
    nothing_yet,
    objective_label,
    save,
    style,
)
from orchestrator.spec.trial import spelled

MOST_LABELLED = 60
"""Markers that have labels. Of more, labels cover one another, and placing them took minutes."""
MARK = "cell-"
"""Stands before a cell's id in the id of its marker in the SVG."""


def write_front(front: Front, title: str, units: Sequence[str], stem: Path) -> None:
    """Write `<stem>.svg`, `<stem>.png` and `<stem>.pdf`."""
    save(draw_front(front, title, units), stem)


def draw_front(front: Front, title: str, units: Sequence[str]) -> Figure:
    """The figure of the first two objectives."""
    figure = blank(7.2, 5.0)
    axes = figure.subplots()
    draw_marks(axes, front)
    are_cut = limit_frame(axes, front)
    axes.set_title(title, fontsize=10, loc="left")
    for place, (objective, unit) in enumerate(zip(front.objectives[:2], units, strict=False)):
        (axes.set_ylabel if place else axes.set_xlabel)(objective_label(objective, unit))
    figure.supxlabel(textwrap.fill(caption(front, are_cut), 125), x=0.01, ha="left", fontsize=7, color="#444444")
    label_marks(figure, axes, front)
    return figure


def caption(front: Front, are_cut: bool = False) -> str:
    """What the marks of the figure mean; `are_cut` if the frame cuts some bar."""
    sentences = []
    if any(point.n > 1 for point in front.points):
        sentences.append(bars_text(are_cut))
    if front.points:
        sentences.append("Filled: on the front.")
    if unlabelled := labels_note(front):
        sentences.append(unlabelled)
    if front.hypervolume is not None and front.points:
        sentences.append(f"Hypervolume {front.hypervolume:.5g} against ({references_text(front.objectives)}).")
    if front.left_out:
        cells = listed([f"{cell.label} ({cell.n}/{cell.n_planned})" for cell in front.left_out])
        sentences.append(f"Not compared, and faint, because seeds are missing: {cells}.")
    return " ".join(sentences)


def draw_marks(axes: Axes, front: Front) -> None:
    """Draw a line for each series with a marker for each cell, bars of one standard deviation, and a legend."""
    dress(axes)
    handles = []
    for index, line in enumerate(front.series):
        colour, marker = style(index)
        _draw_series(axes, [point for point in _shown(front) if point.series == line], colour, marker)
        handles.append(Line2D([], [], label=line, linewidth=1.3, markerfacecolor="white", color=colour, marker=marker))
    if not _shown(front):
        nothing_yet(axes)
    else:
        axes.legend(handles=handles, fontsize=8, frameon=True, framealpha=0.9, edgecolor="#cccccc")


def _draw_series(axes: Axes, points: Sequence[Point | LeftOut], colour: str, marker: str) -> None:
    """Draw a line through the complete cells in order of beta, broken at an incomplete one, and each cell's marker and bars."""
    path = np.array([point.means[:2] if isinstance(point, Point) else (np.nan, np.nan) for point in points]).reshape(-1, 2)
    axes.plot(path[:, 0], path[:, 1], color=colour, linewidth=1.3, alpha=0.55, zorder=2)
    _draw_bars(axes, [point for point in points if isinstance(point, Point) and point.n > 1], colour)
    for point in points:
        filled = isinstance(point, Point) and point.on_front
        axes.plot(*point.means[:2], linestyle="none", color=colour, marker=marker, markerfacecolor=colour if filled else "white",
                  markersize=7, zorder=4, alpha=1.0 if isinstance(point, Point) else FAINT, gid=f"{MARK}{point.cell_id}")  # fmt: skip


def _draw_bars(axes: Axes, points: Sequence[Point], colour: str) -> None:
    """Draw one standard deviation on either side of all points at once: a call for each took most of a figure's time."""
    if points:
        x, y = np.array([point.means[:2] for point in points]).T
        sd_x, sd_y = np.array([point.sds[:2] for point in points]).T
        axes.errorbar(x, y, sd_y, sd_x, color=colour, linestyle="none", elinewidth=0.9, capsize=2.5, alpha=0.6, zorder=3)


def labelled(front: Front) -> list[Point | LeftOut]:
    """The cells whose markers have labels: all if they are few, or else those on the front, or none if those are too many as well."""
    cells = _shown(front)
    if len(cells) <= MOST_LABELLED:
        return cells
    members: list[Point | LeftOut] = [cell for cell in cells if isinstance(cell, Point) and cell.on_front]
    return members if len(members) <= MOST_LABELLED else []


def labels_note(front: Front) -> str:
    """A sentence on the markers that have no label; empty if all have one."""
    if len(cells := _shown(front)) <= MOST_LABELLED:
        return ""
    return f"Of {len(cells)} cells, {'only those on the front have a label' if labelled(front) else 'none has a label'}."


def _shown(front: Front) -> list[Point | LeftOut]:
    """Every cell that has a mean, in order of beta."""
    return sorted([*front.points, *(cell for cell in front.left_out if cell.means)], key=lambda cell: cell.beta)


def limit_frame(axes: Axes, front: Front) -> bool:
    """Fit the frame to the means, so that one long bar does not shrink the rest to a dot; returns whether some bar is cut."""
    means = np.array([point.means[:2] for point in _shown(front)])
    if len(means) == 0:
        return False
    spreads = [(np.array(point.means[:2]), np.array(point.sds[:2])) for point in front.points if point.n > 1]
    ends = np.array([(mean - sd, mean + sd) for mean, sd in spreads]).reshape(-1, 2)
    are_cut = False
    for axis in (0, 1):
        low, high, frame = limits(means[:, axis], ends[:, axis])
        are_cut |= bool((ends[:, axis] < low).any() or (ends[:, axis] > high).any())
        (axes.set_ylim if axis else axes.set_xlim)(*frame)
    return are_cut


def limits(means: Floats, ends: Floats) -> tuple[float, float, tuple[float, float]]:
    """How low and how high bars may reach, and the frame: around the means and the `ends` of bars within these limits."""
    low, high = float(means.min()), float(means.max())
    span = (high - low) or (float(np.ptp(ends)) if len(ends) else 0.0) or abs(high) or 1.0
    room = 0.3 * span
    inner = ends[(low - room <= ends) & (ends <= high + room)]
    bottom, top = min([low, *inner]), max([high, *inner])
    return low - room, high + room, (bottom - 0.08 * span, top + 0.08 * span)


def label_marks(figure: Figure, axes: Axes, front: Front) -> None:
    """Write the beta beside the markers of `labelled` cells, and n if seeds are missing."""
    placer = LabelPlacer(figure, axes, [cell.means[:2] for cell in _shown(front)])
    for cell in labelled(front):
        seeds = "" if isinstance(cell, Point) else f", {cell.n}/{cell.n_planned}"
        colour = "#222222" if isinstance(cell, Point) else "#777777"
        placer.add(f"β {spelled(cell.beta)}{seeds}", (cell.means[0], cell.means[1]), colour)
