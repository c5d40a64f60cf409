"""The front: a marker for each cell at its means, a line for each series, bars of one standard deviation."""

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
    legend_above,
    listed,
    nothing_yet,
    objective_label,
    save,
    save_numbers,
    write_words,
)
from orchestrator.report.figures.theme import FAINT_INK, INK, MARK, PAPER
from orchestrator.spec.proper_names import proper
from orchestrator.spec.trial import spelled

MOST_LABELLED = 60
"""Markers that have labels. Of more, labels cover one another, and placing them took minutes."""


def write_front(front: Front, title: str, units: Sequence[str], stem: Path, chance: float | None = None) -> None:
    """Write `<stem>.svg`, `<stem>.png`, `<stem>.pdf` and the numbers as `<stem>.csv`."""
    save(draw_front(front, title, units, chance), stem, FORMATS)
    save_numbers(front_numbers(front), stem)


def draw_front(front: Front, title: str, units: Sequence[str], chance: float | None = None) -> Figure:
    """The figure of the first two objectives, narrow enough for a phone and for a column of a paper.

    `chance` is the joint coherence of modalities that know nothing of each other; None leaves its line out.
    """
    figure = blank(5.2, 4.7)
    axes = figure.subplots()
    draw_marks(axes, front)
    are_cut = limit_frame(axes, front)
    for place, (objective, unit) in enumerate(zip(front.objectives[:2], units, strict=False)):
        (axes.set_ylabel if place else axes.set_xlabel)(objective_label(objective, unit))
    sentences = [caption(front, are_cut), *_draw_chance(axes, front, chance)]
    write_words(figure, title, " ".join(sentences))
    label_marks(figure, axes, front)
    return figure


def _draw_chance(axes: Axes, front: Front, level: float | None) -> list[str]:
    """Draw a line at the joint coherence by chance, where it is an objective and the frame has room; returns what the line means."""
    for place, objective in enumerate(front.objectives[:2]):
        low, high = axes.get_ylim() if place else axes.get_xlim()
        if objective.metric == JOINT_COHERENCE and level is not None and low < level < high:
            (axes.axhline if place else axes.axvline)(level, color=FAINT_INK, linestyle=":", linewidth=1.1, zorder=1)
            return [f"Dotted: joint coherence by chance, {level:.3f}."]
    return []


def front_numbers(front: Front) -> pd.DataFrame:
    """A row for each cell of the figure: its mean and standard deviation in each objective, and whether it is on the front."""
    rows = []
    for cell in _shown(front):
        complete = isinstance(cell, Point)
        sds = cell.sds if isinstance(cell, Point) and cell.n > 1 else [None] * len(cell.means)
        row = {
            "cell_id": cell.cell_id,
            "label": cell.label,
            "model": model_of(cell.series),
            "series": cell.series,
            "beta": cell.beta,
        }
        row |= {"n": cell.n, "complete": complete, "on_front": isinstance(cell, Point) and cell.on_front}
        for objective, mean, sd in zip(front.objectives, cell.means, sds, strict=True):
            row |= {objective.metric: mean, f"{objective.metric}.sd": sd}
        rows.append(row)
    return pd.DataFrame(rows)


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
        cells = listed([f"{proper(cell.label)} ({cell.n}/{cell.n_planned})" for cell in front.left_out])
        sentences.append(f"Not compared, and faint, because seeds are missing: {cells}.")
    return " ".join(sentences)


def draw_marks(axes: Axes, front: Front, is_panel: bool = False) -> None:
    """Draw a line for each series with a marker for each cell, and bars of one standard deviation.

    The front of a sweep has a legend, and markers that lead to the cells of a page; a panel of another figure has neither.
    """
    dress(axes)
    few_ticks(axes, 4)
    styles = series_styles(front.series)
    for series, style in styles.items():
        _draw_series(axes, [cell for cell in _shown(front) if cell.series == series], style, "" if is_panel else MARK)
    if not _shown(front):
        nothing_yet(axes)
    elif not is_panel:
        legend_above(axes, [handle(proper(series), style) for series, style in styles.items()])


def _draw_series(axes: Axes, cells: Sequence[Point | LeftOut], style: SeriesStyle, mark: str) -> None:
    """Draw a line through the complete cells in order of beta, broken at an incomplete one, and each cell's marker and bars.

    `mark` stands before the cell's id in the id of its marker, which has none if it is empty.
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
    """Draw one standard deviation on either side of all points at once: a call for each took most of a figure's time."""
    if points:
        x, y = np.array([point.means[:2] for point in points]).T
        sd_x, sd_y = np.array([point.sds[:2] for point in points]).T
        axes.errorbar(x, y, sd_y, sd_x, color=colour, linestyle="none", elinewidth=0.9, capsize=CAP, alpha=0.6, zorder=3)


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
    cells = _shown(front)
    placer = LabelPlacer(figure, axes, [cell.means[:2] for cell in cells])
    lone = _lone_series(cells)
    for cell in labelled(front):
        seeds = "" if isinstance(cell, Point) else f", {cell.n}/{cell.n_planned}"
        series = proper(cell.series).partition(" ")[2] if cell.series in lone else ""
        text = ", ".join(filter(None, (series, f"β {spelled(cell.beta)}")))
        placer.add(text + seeds, (cell.means[0], cell.means[1]), INK if isinstance(cell, Point) else FAINT_INK)


def _lone_series(cells: Sequence[Point | LeftOut]) -> set[str]:
    """Series of a single cell that share their model with another series: they have no line that would tell them apart."""
    models = [model_of(series) for series in {cell.series for cell in cells}]
    counts = {cell.series: sum(other.series == cell.series for other in cells) for cell in cells}
    return {series for series, count in counts.items() if count == 1 and models.count(model_of(series)) > 1}
