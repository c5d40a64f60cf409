"""What a search says of its space, as figures: how much each field matters, and what was found where."""

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
CROWDED = 24  # characters of a panel's labels that do not fit beside one another


def importances(searched: Searched, numbers: Mapping[str, Mapping[str, float]]) -> Figure:
    """Bars: the share of the variance of each objective that each field explains. `numbers` has them by metric, then by field."""
    fields = [field for field in searched.space.order if any(field in found for found in numbers.values())]
    width = max(8.2, 1.6 + 2.7 * len(numbers))
    figure = blank(width, 1.3 + 0.32 * len(fields))
    panels = figure.subplots(1, len(numbers), sharey=True, squeeze=False)[0]
    for place, (axes, (metric, found)) in enumerate(zip(panels, numbers.items(), strict=True)):
        shares = [found.get(field, 0.0) for field in fields]
        axes.barh(range(len(fields)), shares, height=0.62, color=COLOURS[place])
        for row, share in enumerate(shares):
            axes.text(share + 0.02, row, f"{share:.2f}", va="center", fontsize="small", color=INK)
        axes.set_title(broken(metric, 26), fontsize="medium", loc="left")
        axes.set(xlim=(0, 1.14), ylim=(len(fields) - 0.5, -0.5), xlabel="share", xticks=[0, 0.5, 1])
        axes.set_yticks(range(len(fields)), [broken(field, 18) for field in fields], fontsize="small")
        dress(axes)
    out = [field for field in searched.space.order if field not in fields]
    said = "fANOVA: share of the variance over the space that a field explains by itself or with others, scaled to sum to 1."
    said += f" Not judged, because not every cell has it: {', '.join(out)}." if out else ""
    frame(figure, heading("What matters", searched), said, [])
    return figure


def parallel(searched: Searched) -> Figure:
    """Parallel coordinates: an axis a field and an objective, a line a cell. A field that a cell does not have is a gap."""
    shown = [one for one in searched.proposed if one.outcome.kind != "open"]
    scales = [of_field(field, searched.space.dimensions[field]) for field in searched.space.order]
    scales += [
        of_values(o.metric, [one.outcome.values[place] for one in shown if one.outcome.values])
        for place, o in enumerate(searched.spec.objectives)
    ]
    width = max(8.2, 1.6 + 1.3 * len(scales))
    figure = blank(width, 4.6)
    axes = figure.subplots()
    first = scales[len(searched.space.order)]
    colours = Normalize(first.low, first.high if first.high > first.low else first.low + 1)
    for one in sorted(shown, key=lambda one: one.cell.id in searched.members):
        _line(axes, searched, one, scales, colours)
    for place, scale in enumerate(scales):
        _axis(axes, place, scale)
    axes.set(xlim=(-0.25, len(scales) - 0.35), ylim=(-0.06, 1.06), yticks=[])
    axes.set_xticks(range(len(scales)), [broken(scale.name, 17) for scale in scales], fontsize="small")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    label = broken(first.name, 40)
    figure.colorbar(ScalarMappable(colours, matplotlib.colormaps["viridis"]), ax=axes, label=label, shrink=0.85, aspect=30)
    handles = [
        Line2D([], [], label="on the front", color=EDGE, linewidth=2.4),
        Line2D([], [], label="not on it", color=EDGE, linewidth=0.9, alpha=FAINT),
    ]
    lost = any(not one.outcome.values for one in shown)
    handles += [Line2D([], [], label="no number", color=FAINT_INK, linewidth=0.9, linestyle=":")] if lost else []
    handles += [Line2D([], [], label="infeasible", color=EDGE, linewidth=0.9, linestyle="--")] * ("infeasible" in searched.counts)
    said = (
        "A line a cell, coloured by its first objective; fields between the ends of the space, objectives between the lowest and "
    )
    said += "highest mean. A gap: a field that the cell does not have."
    frame(figure, heading("Fields and objectives", searched), said, handles)
    return figure


def slices(searched: Searched) -> Figure:
    """A panel a field and objective: the means of the cells against the field."""
    order, objectives = searched.space.order, searched.spec.objectives
    groups = min(max(1, ACROSS // len(objectives)), len(order))
    rows, columns = -(-len(order) // groups), groups * len(objectives)
    width = max(8.2, 1.9 + 2.1 * columns)
    figure = blank(width, 1.3 + 1.9 * rows)
    panels = figure.subplots(rows, columns, squeeze=False)
    shown = [one for one in searched.proposed if one.outcome.values]
    colours = Normalize(0, max([1, *(one.proposal.number for one in shown)]))
    for place in range(rows * groups):
        for index, objective in enumerate(objectives):
            axes = panels[place // groups, place % groups * len(objectives) + index]
            if place >= len(order):
                axes.set_visible(False)
                continue
            scale = of_field(order[place], searched.space.dimensions[order[place]])
            _slice(axes, searched, shown, scale, index, colours)
            axes.set_ylabel(broken(objective.metric, 20), fontsize="small")
    if shown:
        figure.colorbar(
            ScalarMappable(colours, ORDER), ax=panels, label=NUMBER, ticks=MaxNLocator(integer=True), aspect=25 * rows
        )
    said = "A marker a cell, at its mean over the seeds that all cells have. Dark: proposed late."
    handles = [member_handle()] + [outcome_handle("infeasible", hollow=True)] * ("infeasible" in searched.counts)
    frame(figure, heading("Objectives against fields", searched), said, handles)
    return figure


def _slice(
    axes: Axes, searched: Searched, shown: Sequence[ProposedCell], scale: Scale, objective: int, colours: Normalize
) -> None:
    for one in shown:
        if scale.name in one.proposal.fields:
            at = (scale.position(one.proposal.fields[scale.name]), one.outcome.values[objective])
            draw_marker(axes, at, one.outcome.label, one.cell.id in searched.members, ORDER(colours(one.proposal.number)), 5.0)
    ticks = scale.ticks(TICKS)
    axes.set_xticks([at for at, _ in ticks], [label for _, label in ticks], fontsize="x-small")
    if sum(len(label) for _, label in ticks) > CROWDED:
        for label in axes.get_xticklabels():
            label.set(rotation=30, ha="right", rotation_mode="anchor")
    axes.set_xlabel(broken(scale.name, 26) + (" (log)" if scale.log else ""), fontsize="small")
    axes.set_xlim(-0.07, 1.07)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(axis="y", labelsize="x-small")
    dress(axes)


def _line(axes: Axes, searched: Searched, one: ProposedCell, scales: Sequence[Scale], colours: Normalize) -> None:
    fields = searched.space.order
    values = [one.proposal.fields.get(field) for field in fields] + list(one.outcome.values)
    heights = [np.nan if value is None else scale.position(value) for scale, value in zip(scales, values, strict=False)]
    heights = [h if f in one.proposal.fields else np.nan for f, h in zip(fields, heights, strict=False)] + heights[len(fields) :]
    member, has = one.cell.id in searched.members, bool(one.outcome.values)
    colour = matplotlib.colormaps["viridis"](colours(one.outcome.values[0])) if has else FAINT_INK
    style = "-" if has else ":"
    style = "--" if one.outcome.label == "infeasible" else style
    axes.plot(range(len(heights)), heights, color=colour, linestyle=style, linewidth=2.4 if member else 0.9,
              alpha=1.0 if member else 0.5, marker="o", markersize=4 if member else 2.2, zorder=3 if member else 2)  # fmt: skip


def _axis(axes: Axes, place: int, scale: Scale) -> None:
    axes.axvline(place, color=FAINT_INK, linewidth=0.8, zorder=1)
    for height, label in scale.ticks(TICKS):
        axes.annotate(
            label, (place, height), xytext=(4, 0), textcoords="offset points", va="center", fontsize="x-small", color=INK, zorder=5,
            bbox=halo(),
        )  # fmt: skip
