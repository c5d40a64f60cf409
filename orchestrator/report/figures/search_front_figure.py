"""Draws the objectives of a search's cells, coloured by the order in which they were proposed."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from orchestrator.analysis.dominance import Floats
from orchestrator.analysis.fronts import Point
from orchestrator.analysis.hypervolume import references_text
from orchestrator.report.figures.front_figure import limits
from orchestrator.report.figures.label_placement import LabelPlacer, keep_legible
from orchestrator.report.figures.plot_style import CAP, bars_text, blank, dress, frame, nothing_yet, objective_label
from orchestrator.report.figures.search_parts import (
    NUMBER,
    ORDER,
    OUTCOMES,
    draw_marker,
    heading,
    member_handle,
    outcome_handle,
)
from orchestrator.report.figures.theme import FAINT_INK, MARK
from orchestrator.report.render.search_table import Searched
from orchestrator.search.outcomes import best_so_far
from orchestrator.spec.sections import Objective

WILD = 3.0
"""Interquartile ranges beyond the quartiles at which the frame ends, so that one extreme cell does not shrink the others to a dot."""


@dataclass(frozen=True)
class Mark:
    """A cell of the figure of the front."""

    cell_id: str
    number: int
    at: tuple[float, float]
    sds: tuple[float, float]
    """Zero if there are none."""
    outcome: str
    on_front: bool


def front(searched: Searched) -> Figure:
    """Draws the cells at their first two objectives, coloured by their numbers.

    Cells on the front have a ring. With two objectives, a line joins them. A single objective is drawn against the cell's number.
    """
    figure = blank(8.6, 5.4)
    axes, cell_marks, is_single = figure.subplots(), marks(searched), len(searched.spec.objectives) == 1
    colours = Normalize(0, max([1, *(mark.number for mark in cell_marks)]))
    _draw_bars(axes, cell_marks)
    markers = [draw_marker(axes, mark.at, mark.outcome, mark.on_front, ORDER(colours(mark.number))) for mark in cell_marks]
    if is_single:
        _draw_best(axes, searched)
    else:
        _draw_edge(axes, searched, cell_marks)
    if cell_marks and not is_single:
        figure.colorbar(ScalarMappable(colours, ORDER), ax=axes, label=NUMBER, ticks=MaxNLocator(integer=True), shrink=0.85)
    if not cell_marks:
        nothing_yet(axes)
    dress(axes)
    inside, are_cut = _frame(axes, cell_marks, is_single)
    for mark, marker, visible in zip(cell_marks, markers, inside, strict=True):
        marker.set_gid(f"{MARK}{mark.cell_id}" if visible else None)
    caption = _caption(searched, cell_marks, len(inside) - sum(inside), are_cut)
    frame(figure, heading("Cells in the order of the search", searched), caption, _legend(cell_marks))
    _name_members(figure, axes, cell_marks)
    return figure


def _draw_best(axes: Axes, searched: Searched) -> None:
    """Draw the best value so far of a single objective, and the labels of the axes."""
    numbers = [cell.proposal.number for cell in searched.ended]
    axes.step(numbers, best_so_far(searched.ended, searched.spec, 0), where="post", color=FAINT_INK, linewidth=1.1, zorder=2)
    axes.set(xlabel=NUMBER, ylabel=objective_label(searched.spec.objectives[0], searched.units[0]))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _draw_edge(axes: Axes, searched: Searched, cell_marks: Sequence[Mark]) -> None:
    """Draw the edge of the region that the front dominates if there are two objectives, and the labels of the axes."""
    objectives = searched.spec.objectives
    if len(objectives) == 2:
        corners = staircase([mark.at for mark in cell_marks if mark.on_front], objectives)
        axes.plot([x for x, _ in corners], [y for _, y in corners], color=FAINT_INK, linewidth=1.1, zorder=2)
    axes.set(xlabel=objective_label(objectives[0], searched.units[0]))
    axes.set(ylabel=objective_label(objectives[1], searched.units[1]))


def marks(searched: Searched) -> list[Mark]:
    """Returns the cells that can be drawn.

    Complete cells have their means over all seeds, infeasible ones the means that Optuna got, and stopped ones the values at their stop.
    """
    points = {point.cell_id: point for point in searched.front.points}
    cell_marks = []
    for proposed in searched.proposed:
        cell_id, number = proposed.cell.id, proposed.proposal.number
        point = points.get(cell_id)
        values = point.means if point else proposed.outcome.values or proposed.means_when_stopped
        if values:
            at = (values[0], values[1]) if len(values) > 1 else (float(number), values[0])
            on_front = cell_id in searched.members
            cell_marks.append(Mark(cell_id, number, at, _sds(point), proposed.outcome.label, on_front))
    return cell_marks


def staircase(points: Iterable[tuple[float, float]], objectives: Sequence[Objective]) -> list[tuple[float, float]]:
    """Returns the edge of the region that these points dominate, corner by corner, from one end of the front to the other."""
    sign = 1.0 if objectives[0].goal == "max" else -1.0
    corners: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: sign * point[0]):
        if corners:
            corners.append((corners[-1][0], y))
        corners.append((x, y))
    return corners


def _draw_bars(axes: Axes, cell_marks: Sequence[Mark]) -> None:
    """Draw one standard deviation on either side of all cells in one call. A call for each takes seconds for hundreds of cells."""
    for axis in (0, 1):
        with_sd = [mark for mark in cell_marks if mark.sds[axis]]
        if with_sd:
            x, y = np.array([mark.at for mark in with_sd]).T
            sds = [mark.sds[axis] for mark in with_sd]
            sd_x, sd_y = (None, sds) if axis else (sds, None)
            axes.errorbar(
                x, y, sd_y, sd_x, color=FAINT_INK, elinewidth=0.6, capsize=CAP * 0.7, alpha=0.6, zorder=1, linestyle="none"
            )


def _sds(point: Point | None) -> tuple[float, float]:
    if point is None or point.n < 2:
        return 0.0, 0.0
    return (point.sds[0], point.sds[1]) if len(point.sds) > 1 else (0.0, point.sds[0])


def _frame(axes: Axes, cell_marks: Sequence[Mark], is_single: bool) -> tuple[list[bool], bool]:
    """Fit the frame to the front and to all cells but extreme ones. Returns whether each cell is inside, and whether it cuts bars."""
    if not cell_marks:
        return [], False
    at, sds = np.array([mark.at for mark in cell_marks]), np.array([mark.sds for mark in cell_marks])
    on_front = np.array([mark.on_front for mark in cell_marks])
    inside, are_cut = np.ones(len(cell_marks), dtype=bool), False
    for axis in (1,) if is_single else (0, 1):
        values, spreads = at[:, axis], sds[:, axis]
        bottoms, tops = values - spreads, values + spreads
        fitted = on_front | _is_usual(values)
        _, _, (start, end) = limits(values[fitted], np.stack([bottoms, tops], 1)[fitted & (spreads > 0)])
        (axes.set_ylim if axis else axes.set_xlim)(start, end)
        inside &= (values >= start) & (values <= end)
        are_cut |= bool((bottoms < start)[fitted].any() or (tops > end)[fitted].any())
    return inside.tolist(), are_cut


def _is_usual(values: Floats) -> NDArray[np.bool_]:
    """Returns whether each value is at most `WILD` interquartile ranges beyond the quartiles."""
    low, high = np.quantile(values, [0.25, 0.75])
    room = WILD * (high - low)
    is_usual: NDArray[np.bool_] = (values >= low - room) & (values <= high + room)
    return is_usual


def _caption(searched: Searched, cell_marks: Sequence[Mark], beyond: int, are_cut: bool) -> str:
    """Returns the caption. `beyond` is the number of cells outside the frame; `are_cut` says that the frame cuts bars."""
    objectives = searched.spec.objectives
    sentences = [] if len(objectives) == 1 else ["Dark: proposed late."]
    sentences.append("Numbers: cells on the front.")
    if any(any(mark.sds) for mark in cell_marks):
        sentences.append(bars_text(are_cut))
    if len(objectives) == 1:
        sentences.append("Line: the best so far.")
    if len(objectives) == 2 and any(mark.on_front for mark in cell_marks):
        sentences.append("Line: the edge of what the front dominates.")
    if len(objectives) == 3:
        sentences.append(f"The front is of three objectives; {objectives[2].metric} is not shown.")
    if any(mark.outcome == "stopped" for mark in cell_marks):
        sentences.append("Stopped cells are where they were when they were stopped.")
    if beyond:
        sentences.append(f"{beyond} cell{' is' if beyond == 1 else 's are'} beyond the frame.")
    if searched.front.hypervolume is not None and cell_marks:
        sentences.append(f"Hypervolume {searched.front.hypervolume:.5g} against ({references_text(objectives)}).")
    return " ".join(sentences)


def _legend(cell_marks: Sequence[Mark]) -> list[Line2D]:
    outcomes = dict.fromkeys(mark.outcome for mark in cell_marks if mark.outcome in OUTCOMES)
    members = [member_handle()] if any(mark.on_front for mark in cell_marks) else []
    return members + [outcome_handle(outcome, hollow=True) for outcome in outcomes]


def _name_members(figure: Figure, axes: Axes, cell_marks: Sequence[Mark]) -> None:
    """Write the numbers of the cells on the front beside their markers."""
    placer = LabelPlacer(figure, axes, [mark.at for mark in cell_marks])
    for mark in cell_marks:
        if mark.on_front and not any(math.isnan(value) for value in mark.at):
            placer.add(str(mark.number), mark.at, zorder=6)
    keep_legible(axes)
