"""The cells of a search among the objectives, in the order in which they were proposed."""

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

WILD = 3.0  # interquartile ranges beyond the quartiles, where the frame ends: one wild cell must not make the others a dot


@dataclass(frozen=True)
class Mark:
    """A cell of the figure of the front."""

    cell_id: str
    number: int
    at: tuple[float, float]
    sds: tuple[float, float]
    """Zero where there are none."""
    outcome: str
    on_front: bool


def front(searched: Searched) -> Figure:
    """The cells among the first two objectives, coloured by their numbers; those on the front are ringed, and joined as far as two
    objectives can be. Of a single objective: values by number.
    """
    figure = blank(8.6, 5.4)
    axes, found, single = figure.subplots(), marks(searched), len(searched.spec.objectives) == 1
    colours = Normalize(0, max([1, *(mark.number for mark in found)]))
    _draw_bars(axes, found)
    lines = [draw_marker(axes, mark.at, mark.outcome, mark.on_front, ORDER(colours(mark.number))) for mark in found]
    if single:
        numbers = [one.proposal.number for one in searched.ended]
        axes.step(numbers, best_so_far(searched.ended, searched.spec, 0), where="post", color=FAINT_INK, linewidth=1.1, zorder=2)
        axes.set(xlabel=NUMBER, ylabel=objective_label(searched.spec.objectives[0], searched.units[0]))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    else:
        corners = staircase([mark.at for mark in found if mark.on_front], searched.spec.objectives)
        if len(searched.spec.objectives) == 2:
            axes.plot([x for x, _ in corners], [y for _, y in corners], color=FAINT_INK, linewidth=1.1, zorder=2)
        axes.set(xlabel=objective_label(searched.spec.objectives[0], searched.units[0]))
        axes.set(ylabel=objective_label(searched.spec.objectives[1], searched.units[1]))
    if found and not single:
        figure.colorbar(ScalarMappable(colours, ORDER), ax=axes, label=NUMBER, ticks=MaxNLocator(integer=True), shrink=0.85)
    if not found:
        nothing_yet(axes)
    dress(axes)
    inside, cut = _frame(axes, found, single)
    for mark, line, visible in zip(found, lines, inside, strict=True):
        line.set_gid(f"{MARK}{mark.cell_id}" if visible else None)
    frame(
        figure,
        heading("Cells in the order of the search", searched),
        _said(searched, found, len(inside) - sum(inside), cut),
        _legend(searched, found),
    )
    _name_members(figure, axes, found)
    return figure


def marks(searched: Searched) -> list[Mark]:
    """The cells that can be drawn: complete ones over all their seeds, infeasible ones with the means that Optuna was told, stopped
    ones as they were when they were stopped.
    """
    points, made = {point.cell_id: point for point in searched.front.points}, []
    for one in searched.proposed:
        point, number = points.get(one.cell.id), one.proposal.number
        values = point.means if point else one.outcome.values or one.so_far
        if values:
            at = (values[0], values[1]) if len(values) > 1 else (float(number), values[0])
            made.append(Mark(one.cell.id, number, at, _sds(point), one.outcome.label, one.cell.id in searched.members))
    return made


def staircase(points: Iterable[tuple[float, float]], objectives: Sequence[Objective]) -> list[tuple[float, float]]:
    """The edge of what these points dominate, corner by corner, from one end of the front to the other."""
    sign = 1.0 if objectives[0].goal == "max" else -1.0
    corners: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: sign * point[0]):
        corners += [(corners[-1][0], y)] if corners else []
        corners.append((x, y))
    return corners


def _draw_bars(axes: Axes, found: Sequence[Mark]) -> None:
    """One standard deviation on either side, of all cells at once: a call for each takes seconds where there are hundreds."""
    for axis in (0, 1):
        own = [mark for mark in found if mark.sds[axis]]
        if own:
            x, y = np.array([mark.at for mark in own]).T
            sds = [mark.sds[axis] for mark in own]
            sd_x, sd_y = (None, sds) if axis else (sds, None)
            axes.errorbar(
                x, y, sd_y, sd_x, color=FAINT_INK, elinewidth=0.6, capsize=CAP * 0.7, alpha=0.6, zorder=1, linestyle="none"
            )


def _sds(point: Point | None) -> tuple[float, float]:
    if point is None or point.n < 2:
        return 0.0, 0.0
    return (point.sds[0], point.sds[1]) if len(point.sds) > 1 else (0.0, point.sds[0])


def _frame(axes: Axes, found: Sequence[Mark], single: bool) -> tuple[list[bool], bool]:
    """Let most cells and the whole front govern the frame; returns which cells are within it, and whether it cuts bars."""
    if not found:
        return [], False
    at, sds = np.array([mark.at for mark in found]), np.array([mark.sds for mark in found])
    member, inside, cut = np.array([mark.on_front for mark in found]), np.ones(len(found), dtype=bool), False
    for axis in (1,) if single else (0, 1):
        values, spreads = at[:, axis], sds[:, axis]
        near = member | _tame(values)
        low, high, (start, end) = limits(values[near], np.stack([values - spreads, values + spreads], 1)[near & (spreads > 0)])
        (axes.set_ylim if axis else axes.set_xlim)(start, end)
        inside &= (values >= start) & (values <= end)
        cut |= bool((values - spreads < start)[near].any() or (values + spreads > end)[near].any())
    return inside.tolist(), cut


def _tame(values: Floats) -> NDArray[np.bool_]:
    low, high = np.quantile(values, [0.25, 0.75])
    room = WILD * (high - low)
    tame: NDArray[np.bool_] = (values >= low - room) & (values <= high + room)
    return tame


def _said(searched: Searched, found: Sequence[Mark], beyond: int, cut: bool) -> str:
    said = (
        ["Numbers: cells on the front."]
        if len(searched.spec.objectives) == 1
        else ["Dark: proposed late. Numbers: cells on the front."]
    )
    if any(any(mark.sds) for mark in found):
        said.append(bars_text(cut))
    if len(searched.spec.objectives) == 1:
        said.append("Line: the best so far.")
    if len(searched.spec.objectives) == 2 and any(mark.on_front for mark in found):
        said.append("Line: the edge of what the front dominates.")
    if len(searched.spec.objectives) == 3:
        said.append(f"The front is of three objectives; {searched.spec.objectives[2].metric} is not shown.")
    if any(mark.outcome == "stopped" for mark in found):
        said.append("Stopped cells are where they were when they were stopped.")
    if beyond:
        said.append(f"{beyond} cell{' is' if beyond == 1 else 's are'} beyond the frame.")
    if searched.front.hypervolume is not None and found:
        references = references_text(searched.spec.objectives)
        said.append(f"Hypervolume {searched.front.hypervolume:.5g} against ({references}).")
    return " ".join(said)


def _legend(searched: Searched, found: Sequence[Mark]) -> list[Line2D]:
    shown = dict.fromkeys(mark.outcome for mark in found if mark.outcome in OUTCOMES)
    members = [member_handle()] if any(mark.on_front for mark in found) else []
    return members + [outcome_handle(outcome, hollow=True) for outcome in shown]


def _name_members(figure: Figure, axes: Axes, marks: Sequence[Mark]) -> None:
    """Write the numbers of the cells on the front beside their markers."""
    placer = LabelPlacer(figure, axes, [mark.at for mark in marks])
    for mark in marks:
        if mark.on_front and not any(math.isnan(value) for value in mark.at):
            placer.add(str(mark.number), mark.at, zorder=6)
    keep_legible(axes)
