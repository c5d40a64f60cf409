"""Draws the course of a search: the best values after each cell, and the cells without a feasible result."""

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
    """Draws the best values after each cell, as a step at the cell's number. Cells without a feasible result are along the bottom."""
    courses = searched.courses
    figure = blank(8.2, 0.9 + 2.6 * len(courses))
    panels = figure.subplots(len(courses), 1, sharex=True, squeeze=False)[:, 0]
    for place, (axes, (name, course)) in enumerate(zip(panels, courses.items(), strict=True)):
        _course(axes, searched, course, None if name == "hypervolume" else place)
        unit = "" if name == "hypervolume" else f"\n({searched.units[place]})"
        axes.set_ylabel(textwrap.fill(name, 26) + unit)
    panels[-1].set_xlabel(NUMBER)
    handles = [outcome_handle(outcome, hollow=False) for outcome in searched.counts if outcome in OUTCOMES]
    frame(figure, heading("Course of the search", searched), _caption(searched), handles)
    return figure


def _caption(searched: Searched) -> str:
    if "hypervolume" in searched.courses:
        references = references_text(searched.spec.objectives)
        sentences = [f"Line: what the cells up to there reach, against ({references}).", "Dots: completed cells."]
    else:
        sentences = ["Line: what the cells up to there reach.", "Dots: the cells' means."]
    if any(cell.proposal.source for cell in searched.ended):
        sentences.append("Grey: cells of other sweeps, told before the first proposal.")
    return " ".join(sentences)


def _course(axes: Axes, searched: Searched, course: Sequence[float], objective: int | None) -> None:
    """Draws one course. `objective` is the place of its objective; None for the hypervolume."""
    numbers = [cell.proposal.number for cell in searched.ended]
    warm_start = [cell.proposal.number for cell in searched.ended if cell.proposal.source]
    if warm_start:
        axes.axvspan(-0.5, max(warm_start) + 0.5, color=SHADE, linewidth=0)
    axes.step(numbers, course, where="post", color=COLOURS[0], linewidth=1.5)
    for cell, height in zip(searched.ended, course, strict=True):
        if cell.outcome.label in OUTCOMES:
            marker, colour = OUTCOMES[cell.outcome.label]
            axes.plot(cell.proposal.number, 0.045, marker=marker, color=colour, markersize=5.5, linestyle="none",
                      transform=axes.get_xaxis_transform(), zorder=4)  # fmt: skip
        else:
            value = height if objective is None else cell.outcome.values[objective]
            axes.plot(cell.proposal.number, value, marker="o", color=COLOURS[0], markersize=3.2, linestyle="none", alpha=0.7)
    if not numbers:
        nothing_yet(axes)
    axes.margins(y=0.14)  # room for the marks along the bottom
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    dress(axes)
