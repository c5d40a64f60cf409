"""Draws the attainment surfaces of each series: what its seeds attain."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from orchestrator.analysis.attainment import Attainment, Surface
from orchestrator.analysis.dominance import Floats, maximised
from orchestrator.report.figures.model_styles import model_of, series_styles
from orchestrator.report.figures.plot_style import (
    blank,
    dress,
    few_ticks,
    handle,
    keep_high,
    legend_above,
    objective_label,
    write_words,
)
from orchestrator.report.render.short_labels import shortened
from orchestrator.spec.proper_names import proper


def attainment(found: Sequence[Attainment], title: str, units: Sequence[str]) -> Figure | None:
    """Draws for each series a staircase, which half of the seeds attain, and the band between what 90 % and 10 % of the seeds attain.

    Returns None if no series has two complete seeds, or if there are not two objectives.
    """
    drawn = [attained for attained in found if attained.n > 1 and attained.surfaces]
    if not drawn:
        return None
    figure = blank(5.2, 4.5)
    axes = figure.subplots()
    objectives = drawn[0].objectives
    sign_O = np.where(maximised(objectives), 1.0, -1.0)
    corners = np.concatenate([np.array(surface.corners) for attained in drawn for surface in attained.surfaces]) * sign_O
    worst_O = corners.min(0) - 0.06 * (np.ptp(corners, 0) + 1e-12)
    styles = series_styles(attained.series for attained in found)
    for attained in drawn:
        style = styles[attained.series]
        few, median, most = (_staircase(surface, sign_O, worst_O) for surface in attained.surfaces)
        band = np.concatenate([few, most[::-1]]) * sign_O
        axes.fill(band[:, 0], band[:, 1], color=style.colour, alpha=0.16, linewidth=0)
        axes.plot(*(median * sign_O).T, color=style.colour, linestyle=style.line, linewidth=1.6)
    dress(axes)
    few_ticks(axes, 5)
    for place, (objective, unit) in enumerate(zip(objectives, units, strict=True)):
        (axes.set_ylabel if place else axes.set_xlabel)(objective_label(objective, unit))
    short = shortened(attained.series for attained in found)
    handles = [handle(f"{proper(short[attained.series])} (n = {attained.n})", styles[attained.series]) for attained in drawn]
    for line in handles:
        line.set_marker("")
    legend_above(axes, handles)
    write_words(figure, f"What the seeds attain\n{title}", _attainment_caption(drawn))
    keep_high(figure, axes)
    return figure


def attainment_numbers(found: Sequence[Attainment]) -> pd.DataFrame:
    """Returns a row for each corner of each surface that `attainment` draws."""
    rows = []
    for attained in found:
        for surface in attained.surfaces if attained.n > 1 else ():
            row = {
                "series": attained.series,
                "model": model_of(attained.series),
                "n": attained.n,
                "percent": surface.percent,
                "seeds": surface.level,
            }
            metrics = [objective.metric for objective in attained.objectives]
            rows += [row | dict(zip(metrics, corner, strict=True)) for corner in surface.corners]
    return pd.DataFrame(rows)


def _attainment_caption(drawn: Sequence[Attainment]) -> str:
    levels = sorted({attained.n: [surface.level for surface in attained.surfaces] for attained in drawn}.items())
    counts = "; ".join(f"of {n} seeds {few}, {median} and {most}" for n, (few, median, most) in levels)
    return (
        "Each seed has a front of its own. Line: what at least half of the seeds attain; band: from what 90 % do to what 10 % do "
        f"({counts}, in the order 10, 50, 90 %). Left and below a line is attained, where larger is better. "
        "Seeds that a cell lacks are left out."
    )


def _staircase(surface: Surface, sign_O: Floats, worst_O: Floats) -> Floats:
    """Returns (P, 2): the border of the attained region, from the worst first value to the worst second. Larger is better."""
    corners = sorted((tuple(corner) for corner in np.array(surface.corners) * sign_O), key=lambda corner: corner[0])
    path = [(worst_O[0], corners[0][1])]
    for here, following in pairwise(corners):
        path += [here, (here[0], following[1])]
    return np.array([*path, corners[-1], (corners[-1][0], worst_O[1])])
