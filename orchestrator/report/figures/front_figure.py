"""Draws the front: a marker for each cell at its means, a line for each series, bars of one standard deviation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mopoe_core.metric_names import JOINT_COHERENCE
from orchestrator.analysis.dominance import Floats
from orchestrator.analysis.fronts import Front, LeftOut, Point
from orchestrator.analysis.hypervolume import references_text
from orchestrator.report.figures.label_placement import LabelPlacer
from orchestrator.report.figures.model_styles import SeriesStyle, model_of, series_styles
from orchestrator.report.figures.plot_style import (
    CAP,
    FAINT,
    FORMATS,
    bars_text,
    blank,
    dress,
    few_ticks,
    handle,
    keep_high,
    legend_above,
    listed,
    nothing_yet,
    objective_label,
    save,
    save_numbers,
    write_words,
)
from orchestrator.report.figures.theme import FAINT_INK, INK, MARK, PAPER
from orchestrator.report.render.short_labels import shortened
from orchestrator.spec.proper_names import proper

MOST_LABELLED = 60
"""The most markers with labels. With more, labels cover one another, and placing them took minutes."""


def write_front(front: Front, title: str, units: Sequence[str], stem: Path, chance: float | None = None) -> None:
    """Write `<stem>.svg`, `<stem>.png`, `<stem>.pdf` and the numbers as `<stem>.csv`."""
    save(draw_front(front, title, units, chance), stem, FORMATS)
    save_numbers(front_numbers(front), stem)


def draw_front(front: Front, title: str, units: Sequence[str], chance: float | None = None) -> Figure:
    """Draws the first two objectives, narrow enough for a phone and for a column of a paper.

    `chance` is the joint coherence of independent modalities, which is drawn as a line; None for no line.
    """
    figure = blank(5.2, 4.7)
    axes = figure.subplots()
    draw_marks(axes, front)
    are_cut = limit_frame(axes, front)
    for place, (objective, unit) in enumerate(zip(front.objectives[:2], units, strict=False)):
        (axes.set_ylabel if place else axes.set_xlabel)(objective_label(objective, unit))
    sentences = [caption(front, are_cut), *_draw_chance(axes, front, chance)]
    write_words(figure, title, " ".join(sentences))
    keep_high(figure, axes)
    label_marks(figure, axes, front)
    return figure


def _draw_chance(axes: Axes, front: Front, level: float | None) -> list[str]:
    """Draw a line at the joint coherence by chance, if it is an objective and inside the frame. Returns the caption's sentence on it."""
    for place, objective in enumerate(front.objectives[:2]):
        low, high = axes.get_ylim() if place else axes.get_xlim()
        if objective.metric == JOINT_COHERENCE and level is not None and low < level < high:
            (axes.axhline if place else axes.axvline)(level, color=FAINT_INK, linestyle=":", linewidth=1.1, zorder=1)
            return [f"Dotted: joint coherence by chance, {level:.3f}."]
    return []


def front_numbers(front: Front) -> pd.DataFrame:
    """Returns a row for each cell of the figure: mean and standard deviation of each objective, and whether it is on the front."""
    rows = []
    for cell in _shown(front):
        row: dict[str, object] = {
            "cell_id": cell.cell_id,
            "label": cell.label,
            "model": model_of(cell.series),
            "series": cell.series,
            "beta": cell.beta,
            "n": cell.n,
            "complete": isinstance(cell, Point),
            "on_front": isinstance(cell, Point) and cell.on_front,
        }
        sds = cell.sds if isinstance(cell, Point) and cell.n > 1 else [None] * len(cell.means)
        for objective, mean, sd in zip(front.objectives, cell.means, sds, strict=True):
            row |= {objective.metric: mean, f"{objective.metric}.sd": sd}
        rows.append(row)
    return pd.DataFrame(rows)


def caption(front: Front, are_cut: bool = False) -> str:
    """Returns the meaning of the figure's marks. `are_cut` says that the frame cuts a bar."""
    sentences = []
    if any(point.n > 1 for point in front.points):
        sentences.append(bars_text(are_cut))
    if front.points:
        sentences.append("Filled: on the front.")
    if unlabelled := labels_note(front):
        sentences.append(unlabelled)
    if front.hypervolume is not None and front.points:
        sentences.append(f"Hypervolume {front.hypervolume:.5g} against ({references_text(front.objectives)}).")
    return " ".join([*sentences, *left_out_notes([front])])


def left_out_notes(fronts: Sequence[Front]) -> list[str]:
    """Returns a sentence on the cells that are faint because seeds are missing, and one on those that have no result and no marker."""
    short, cells = short_names(fronts), [cell for front in fronts for cell in front.left_out]
    faint, absent = (
        list(
            dict.fromkeys(
                f"{proper(short[cell.label])} ({cell.n}/{cell.n_planned})" for cell in cells if bool(cell.means) is is_drawn
            )
        )
        for is_drawn in (True, False)
    )
    notes = [f"Not compared, and faint, because seeds are missing: {listed(faint)}."] if faint else []
    return [*notes, f"Without a result, and not drawn: {listed(absent)}."] if absent else notes


def short_names(fronts: Sequence[Front]) -> dict[str, str]:
    """Returns the labels of all cells and series of the fronts without the last digits of long numbers, by the whole label."""
    names = [
        name
        for front in fronts
        for name in (*front.series, *(point.label for point in front.points), *(cell.label for cell in front.left_out))
    ]
    return shortened(names)


def drawn_series(fronts: Sequence[Front]) -> dict[str, SeriesStyle]:
    """Returns the style of each series that has a marker on one of the fronts of the same cells, in the order of the legend."""
    drawn = {cell.series for front in fronts for cell in _shown(front)}
    return {series: style for series, style in series_styles(fronts[0].series).items() if series in drawn}


def draw_marks(axes: Axes, front: Front, is_panel: bool = False) -> None:
    """Draw a line for each series with a marker for each cell, and bars of one standard deviation.

    The front of a sweep has a legend, and markers that link to the page's cards. A panel of another figure (`is_panel`) has neither.
    """
    dress(axes)
    few_ticks(axes, 4)
    styles = drawn_series([front])
    for series, style in styles.items():
        _draw_series(axes, [cell for cell in _shown(front) if cell.series == series], style, "" if is_panel else MARK)
    if not _shown(front):
        nothing_yet(axes)
    elif not is_panel:
        short = short_names([front])
        legend_above(axes, [handle(proper(short[series]), style) for series, style in styles.items()])


def _draw_series(axes: Axes, cells: Sequence[Point | LeftOut], style: SeriesStyle, mark: str) -> None:
    """Draw a line through the complete cells in order of beta, broken at an incomplete cell, and each cell's marker and bars.

    The id of a marker is `mark` and the cell's id. Markers have no ids if `mark` is empty.
    """
    path = np.array([cell.means[:2] if isinstance(cell, Point) else (np.nan, np.nan) for cell in cells]).reshape(-1, 2)
    axes.plot(path[:, 0], path[:, 1], color=style.colour, linestyle=style.line, linewidth=1.3, alpha=0.55, zorder=2)
    _draw_bars(axes, [cell for cell in cells if isinstance(cell, Point) and cell.n > 1], style.colour)
    for cell in cells:
        filled = isinstance(cell, Point) and cell.on_front
        axes.plot(*cell.means[:2], linestyle="none", color=style.colour, marker=style.marker, markersize=6.5, zorder=4,
                  markerfacecolor=style.colour if filled else PAPER, alpha=1.0 if isinstance(cell, Point) else FAINT,
                  gid=f"{mark}{cell.cell_id}" if mark else None)  # fmt: skip


def _draw_bars(axes: Axes, points: Sequence[Point], colour: str) -> None:
    """Draw one standard deviation on either side of all points in one call. A call for each point took most of a figure's time."""
    if points:
        x, y = np.array([point.means[:2] for point in points]).T
        sd_x, sd_y = np.array([point.sds[:2] for point in points]).T
        axes.errorbar(x, y, sd_y, sd_x, color=colour, linestyle="none", elinewidth=0.9, capsize=CAP, alpha=0.6, zorder=3)


def labelled(front: Front) -> list[Point | LeftOut]:
    """Returns the cells whose markers have labels: all if they are few, else those on the front, or none if these are too many, too."""
    cells = _shown(front)
    if len(cells) <= MOST_LABELLED:
        return cells
    members: list[Point | LeftOut] = [cell for cell in cells if isinstance(cell, Point) and cell.on_front]
    return members if len(members) <= MOST_LABELLED else []


def labels_note(front: Front) -> str:
    """Returns a sentence on the markers that have no label; empty if all have one."""
    cells = _shown(front)
    if len(cells) <= MOST_LABELLED:
        return ""
    return f"Of {len(cells)} cells, {'only those on the front have a label' if labelled(front) else 'none has a label'}."


def _shown(front: Front) -> list[Point | LeftOut]:
    """Returns every cell that has a mean, in order of beta."""
    return sorted([*front.points, *(cell for cell in front.left_out if cell.means)], key=lambda cell: cell.beta)


def limit_frame(axes: Axes, front: Front) -> bool:
    """Fit the frame to the means, so that one long bar does not shrink the rest to a dot. Returns whether the frame cuts a bar."""
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
    """Returns the lowest and the highest end of an uncut bar, and the frame (start, end) of an axis.

    The frame has room for the means, and for the `ends` of bars between these limits.
    """
    low, high = float(means.min()), float(means.max())
    span = (high - low) or (float(np.ptp(ends)) if len(ends) else 0.0) or abs(high) or 1.0
    room = 0.3 * span
    inner = ends[(low - room <= ends) & (ends <= high + room)]
    bottom, top = min([low, *inner]), max([high, *inner])
    return low - room, high + room, (bottom - 0.08 * span, top + 0.08 * span)


def label_marks(figure: Figure, axes: Axes, front: Front) -> None:
    """Write the beta beside the markers of `labelled` cells, and n if seeds are missing."""
    cells = _shown(front)
    placer = LabelPlacer(figure, axes, [cell.means[:2] for cell in cells])
    lone, short = _lone_series(cells), short_names([front])
    for cell in labelled(front):
        seeds = "" if isinstance(cell, Point) else f", {cell.n}/{cell.n_planned}"
        series = proper(short[cell.series]).partition(" ")[2] if cell.series in lone else ""
        beta = short[cell.label].rpartition("beta=")[2]
        text = ", ".join(filter(None, (series, f"β {beta}")))
        placer.add(text + seeds, (cell.means[0], cell.means[1]), INK if isinstance(cell, Point) else FAINT_INK)


def _lone_series(cells: Sequence[Point | LeftOut]) -> set[str]:
    """Returns the series of a single cell that share their model with another series. They have no line to tell them apart."""
    models = [model_of(series) for series in {cell.series for cell in cells}]
    counts = {cell.series: sum(other.series == cell.series for other in cells) for cell in cells}
    return {series for series, count in counts.items() if count == 1 and models.count(model_of(series)) > 1}
