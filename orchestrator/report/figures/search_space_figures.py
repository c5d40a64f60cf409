"""Draws the space of a search: the importance of each field, and the cells' objectives against their fields."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from orchestrator.report.figures.model_styles import COLOURS
from orchestrator.report.figures.plot_style import FAINT, blank, dress, frame, halo
from orchestrator.report.figures.search_parts import NUMBER, ORDER, draw_marker, heading, member_handle, outcome_handle
from orchestrator.report.figures.theme import EDGE, FAINT_INK, INK
from orchestrator.report.render.axis_scales import Scale, broken, of_field, of_values
from orchestrator.report.render.search_table import Searched
from orchestrator.search.outcomes import ProposedCell

ACROSS = 4  # panels of slices in a row
TICKS = 4
CROWDED = 24  # characters of a panel's labels; more do not fit beside one another


def importances(searched: Searched, numbers: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draws the share of the variance of each objective that each field explains, as bars. `numbers` has it by metric and field."""
    fields = [field for field in searched.space.order if any(field in by_field for by_field in numbers.values())]
    width = max(8.2, 1.6 + 2.7 * len(numbers))
    figure = blank(width, 1.3 + 0.32 * len(fields))
    panels = figure.subplots(1, len(numbers), sharey=True, squeeze=False)[0]
    for place, (axes, (metric, by_field)) in enumerate(zip(panels, numbers.items(), strict=True)):
        shares = [by_field.get(field, 0.0) for field in fields]
        axes.barh(range(len(fields)), shares, height=0.62, color=COLOURS[place])
        for row, share in enumerate(shares):
            axes.text(share + 0.02, row, f"{share:.2f}", va="center", fontsize="small", color=INK)
        axes.set_title(broken(metric, 26), fontsize="medium", loc="left")
        axes.set(xlim=(0, 1.14), ylim=(len(fields) - 0.5, -0.5), xlabel="share", xticks=[0, 0.5, 1])
        axes.set_yticks(range(len(fields)), [broken(field, 18) for field in fields], fontsize="small")
        dress(axes)
    left_out = [field for field in searched.space.order if field not in fields]
    caption = "fANOVA: share of the variance over the space that a field explains by itself or with others, scaled to sum to 1."
    if left_out:
        caption += f" Not judged, because not every cell has it: {', '.join(left_out)}."
    frame(figure, heading("What matters", searched), caption, [])
    return figure


def parallel(searched: Searched) -> Figure:
    """Draws parallel coordinates: an axis for each field and objective, a line for each cell, with a gap at a field that it lacks."""
    scales = [of_field(field, searched.space.dimensions[field]) for field in searched.space.order]
    for place, objective in enumerate(searched.spec.objectives):
        scales.append(of_values(objective.metric, [cell.outcome.values[place] for cell in searched.ended if cell.outcome.values]))
    width = max(8.2, 1.6 + 1.3 * len(scales))
    figure = blank(width, 4.6)
    axes = figure.subplots()
    first = scales[len(searched.space.order)]
    colours = Normalize(first.low, first.high if first.high > first.low else first.low + 1)
    for cell in sorted(searched.ended, key=lambda cell: cell.cell.id in searched.members):
        _line(axes, searched, cell, scales, colours)
    for place, scale in enumerate(scales):
        _axis(axes, place, scale)
    axes.set(xlim=(-0.25, len(scales) - 0.35), ylim=(-0.06, 1.06), yticks=[])
    axes.set_xticks(range(len(scales)), [broken(scale.name, 17) for scale in scales], fontsize="small")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    label = broken(first.name, 40)
    figure.colorbar(ScalarMappable(colours, matplotlib.colormaps["viridis"]), ax=axes, label=label, shrink=0.85, aspect=30)
    caption = (
        "A line a cell, coloured by its first objective; fields between the ends of the space, objectives between the lowest and "
        "highest mean. A gap: a field that the cell does not have."
    )
    frame(figure, heading("Fields and objectives", searched), caption, _line_handles(searched))
    return figure


def _line_handles(searched: Searched) -> list[Line2D]:
    handles = [
        Line2D([], [], label="on the front", color=EDGE, linewidth=2.4),
        Line2D([], [], label="not on it", color=EDGE, linewidth=0.9, alpha=FAINT),
    ]
    if any(not cell.outcome.values for cell in searched.ended):
        handles.append(Line2D([], [], label="no number", color=FAINT_INK, linewidth=0.9, linestyle=":"))
    if "infeasible" in searched.counts:
        handles.append(Line2D([], [], label="infeasible", color=EDGE, linewidth=0.9, linestyle="--"))
    return handles


def slices(searched: Searched) -> Figure:
    """Draws a panel for each field and objective: the means of the cells against the field."""
    order, objectives = searched.space.order, searched.spec.objectives
    fields_across = min(max(1, ACROSS // len(objectives)), len(order))
    rows, columns = -(-len(order) // fields_across), fields_across * len(objectives)
    width = max(8.2, 1.9 + 2.1 * columns)
    figure = blank(width, 1.3 + 1.9 * rows)
    panels = figure.subplots(rows, columns, squeeze=False)
    cells = [cell for cell in searched.proposed if cell.outcome.values]
    colours = Normalize(0, max([1, *(cell.proposal.number for cell in cells)]))
    for place in range(rows * fields_across):
        for index, objective in enumerate(objectives):
            axes = panels[place // fields_across, place % fields_across * len(objectives) + index]
            if place >= len(order):
                axes.set_visible(False)
                continue
            scale = of_field(order[place], searched.space.dimensions[order[place]])
            _slice(axes, searched, cells, scale, index, colours)
            axes.set_ylabel(broken(objective.metric, 20), fontsize="small")
    if cells:
        figure.colorbar(
            ScalarMappable(colours, ORDER), ax=panels, label=NUMBER, ticks=MaxNLocator(integer=True), aspect=25 * rows
        )
    caption = "A marker a cell, at its mean over the seeds that all cells have. Dark: proposed late."
    handles = [member_handle()]
    if "infeasible" in searched.counts:
        handles.append(outcome_handle("infeasible", hollow=True))
    frame(figure, heading("Objectives against fields", searched), caption, handles)
    return figure


def _slice(
    axes: Axes, searched: Searched, cells: Sequence[ProposedCell], scale: Scale, objective: int, colours: Normalize
) -> None:
    """Draws one field against the objective at this place."""
    for cell in cells:
        if scale.name in cell.proposal.fields:
            at = (scale.position(cell.proposal.fields[scale.name]), cell.outcome.values[objective])
            fill = ORDER(colours(cell.proposal.number))
            draw_marker(axes, at, cell.outcome.label, cell.cell.id in searched.members, fill, 5.0)
    ticks = scale.ticks(TICKS)
    axes.set_xticks([position for position, _ in ticks], [label for _, label in ticks], fontsize="x-small")
    if sum(len(label) for _, label in ticks) > CROWDED:
        for label in axes.get_xticklabels():
            label.set(rotation=30, ha="right", rotation_mode="anchor")
    axes.set_xlabel(broken(scale.name, 26) + (" (log)" if scale.log else ""), fontsize="small")
    axes.set_xlim(-0.07, 1.07)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(axis="y", labelsize="x-small")
    dress(axes)


def _line(axes: Axes, searched: Searched, cell: ProposedCell, scales: Sequence[Scale], colours: Normalize) -> None:
    """Draws a cell's line. A cell without values ends at its last field."""
    fields, values = cell.proposal.fields, cell.outcome.values
    order = searched.space.order
    heights = []
    for field, scale in zip(order, scales, strict=False):
        value = fields.get(field)
        heights.append(np.nan if value is None else scale.position(value))
    heights += [scale.position(value) for scale, value in zip(scales[len(order) :], values, strict=False)]
    on_front = cell.cell.id in searched.members
    colour = matplotlib.colormaps["viridis"](colours(values[0])) if values else FAINT_INK
    style = "-" if values else ":"
    if cell.outcome.label == "infeasible":
        style = "--"
    axes.plot(range(len(heights)), heights, color=colour, linestyle=style, linewidth=2.4 if on_front else 0.9,
              alpha=1.0 if on_front else 0.5, marker="o", markersize=4 if on_front else 2.2, zorder=3 if on_front else 2)  # fmt: skip


def _axis(axes: Axes, place: int, scale: Scale) -> None:
    axes.axvline(place, color=FAINT_INK, linewidth=0.8, zorder=1)
    for height, label in scale.ticks(TICKS):
        axes.annotate(
            label, (place, height), xytext=(4, 0), textcoords="offset points", va="center", fontsize="x-small", color=INK, zorder=5,
            bbox=halo(),
        )  # fmt: skip
