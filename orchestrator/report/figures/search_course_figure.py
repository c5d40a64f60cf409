"""The course of a search: what it had reached after each cell, and which cells brought nothing."""

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from orchestrator.analysis.hypervolume import references_text
from orchestrator.report.figures.model_styles import COLOURS
from orchestrator.report.figures.plot_style import blank, dress, frame, nothing_yet
from orchestrator.report.figures.search_parts import NUMBER, OUTCOMES, heading, outcome_handle
from orchestrator.report.figures.theme import SHADE
from orchestrator.report.render.search_table import Searched


def history(searched: Searched) -> Figure:
    """What was reached after each cell, a step at its number; along the bottom the cells that brought nothing, and why."""
    found = searched.courses
    figure = blank(8.2, 0.9 + 2.6 * len(found))
    panels = figure.subplots(len(found), 1, sharex=True, squeeze=False)[:, 0]
    for place, (axes, (name, course)) in enumerate(zip(panels, found.items(), strict=True)):
        _course(axes, searched, course, None if name == "hypervolume" else place)
        unit = "" if name == "hypervolume" else f"\n({searched.units[place]})"
        axes.set_ylabel(textwrap.fill(name, 26) + unit)
    panels[-1].set_xlabel(NUMBER)
    words = "Line: what the cells up to there reach" + (
        f", against ({references_text(searched.spec.objectives)})." if "hypervolume" in found else "."
    )
    more = " Dots: the cells' means." if "hypervolume" not in found else " Dots: completed cells."
    warm = (
        " Grey: cells of other sweeps, told before the first proposal."
        if any(one.proposal.source for one in searched.ended)
        else ""
    )
    handles = [outcome_handle(outcome, hollow=False) for outcome in searched.counts if outcome in OUTCOMES]
    frame(figure, heading("Course of the search", searched), words + more + warm, handles)
    return figure


def _course(axes: Axes, searched: Searched, course: Sequence[float], objective: int | None) -> None:
    numbers = [one.proposal.number for one in searched.ended]
    warm = [one.proposal.number for one in searched.ended if one.proposal.source]
    if warm:
        axes.axvspan(-0.5, max(warm) + 0.5, color=SHADE, linewidth=0)
    axes.step(numbers, course, where="post", color=COLOURS[0], linewidth=1.5)
    for one, height in zip(searched.ended, course, strict=True):
        if one.outcome.label in OUTCOMES:
            marker, colour = OUTCOMES[one.outcome.label]
            axes.plot(one.proposal.number, 0.045, marker=marker, color=colour, markersize=5.5, linestyle="none",
                      transform=axes.get_xaxis_transform(), zorder=4)  # fmt: skip
        else:
            value = height if objective is None else one.outcome.values[objective]
            axes.plot(one.proposal.number, value, marker="o", color=COLOURS[0], markersize=3.2, linestyle="none", alpha=0.7)
    if not numbers:
        nothing_yet(axes)
    axes.margins(y=0.14)  # room for the marks along the bottom
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    dress(axes)
