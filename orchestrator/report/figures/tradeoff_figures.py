"""Figures 1, 5 and 6: coherence against log-likelihood, a marker a beta, a line a model."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mopoe_core import metric_names
from orchestrator.analysis.fronts import Front, front
from orchestrator.analysis.model_groups import ModelGroup
from orchestrator.report.figures import front_figure
from orchestrator.report.figures.label_placement import keep_legible
from orchestrator.report.figures.model_styles import series_styles
from orchestrator.report.figures.plot_style import axis_label, bars_text, blank, frame, handle, listed, panels_across, title
from orchestrator.spec.proper_names import proper
from orchestrator.spec.sections import Objective

TRIMODAL = "mnist_svhn_text"
COLUMNS = 3
PANEL = 2.9  # inches that a panel is wide
SHORT = {"mnist": "M", "svhn": "S", "text": "T"}


@dataclass(frozen=True)
class Panel:
    """A metric for each axis."""

    coherence: str
    likelihood: str
    x: str
    """Label of the axis of coherence."""
    y: str
    title: str = ""


def joint(group: ModelGroup) -> Figure | None:
    """Figure 1: joint coherence against joint log-likelihood; None for a single beta or without data."""
    return _drawn(group, "Joint coherence and log-likelihood", joint_panels(group))


def given_two(group: ModelGroup) -> Figure | None:
    """Figure 5: one modality generated from the two others, against the log-likelihood given these two."""
    return _drawn(group, "Coherence and log-likelihood given two modalities", given_two_panels(group))


def given_one(group: ModelGroup) -> Figure | None:
    """Figure 6: one modality generated from another, against the log-likelihood given that other."""
    return _drawn(group, "Coherence and log-likelihood given one modality", given_one_panels(group))


def joint_panels(group: ModelGroup) -> list[Panel]:
    """The panel of Figure 1."""
    coherence, likelihood = metric_names.JOINT_COHERENCE, metric_names.JOINT_LIKELIHOOD
    labels = (axis_label(metric, group.unit(metric)) for metric in (coherence, likelihood))
    return [Panel(coherence, likelihood, *labels)]


def given_two_panels(group: ModelGroup) -> list[Panel]:
    """The panels of Figure 5; empty for another dataset."""
    return _conditional(group, (("mnist.svhn", "text"), ("mnist.text", "svhn"), ("svhn.text", "mnist")))


def given_one_panels(group: ModelGroup) -> list[Panel]:
    """The panels of Figure 6; empty for another dataset."""
    order = (("mnist", "svhn"), ("mnist", "text"), ("svhn", "mnist"), ("svhn", "text"), ("text", "mnist"), ("text", "svhn"))
    return _conditional(group, order)


def numbers(group: ModelGroup, panels: Sequence[Panel]) -> pd.DataFrame:
    """A row for each panel and cell: both metrics with their means and standard deviations."""
    tables = []
    for panel in panels:
        table = front_figure.front_numbers(_front(group, panel))
        names = {"x": panel.coherence, "y": panel.likelihood}
        renamed = {names[axis] + end: axis + end for axis in names for end in ("", ".sd")}
        tables.append(table.rename(columns=renamed).assign(x_metric=panel.coherence, y_metric=panel.likelihood))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _conditional(group: ModelGroup, order: Sequence[tuple[str, str]]) -> list[Panel]:
    if group.config.dataset != TRIMODAL:
        return []
    return [_panel(letter, subset, target) for letter, (subset, target) in zip("abcdef", order, strict=False)]


def _panel(letter: str, subset: str, target: str) -> Panel:
    given = ", ".join(SHORT[modality] for modality in subset.split("."))
    return Panel(
        f"{metric_names.COHERENCE}/{subset}/{target}",
        f"{metric_names.LOG_LIKELIHOOD}/{subset}",
        f"coherence of {SHORT[target]} given {given} (share)",
        f"log p(X) given {given} (nats)",
        f"({letter}) {given} → {SHORT[target]}",
    )


def _drawn(group: ModelGroup, what: str, panels: Sequence[Panel]) -> Figure | None:
    if not panels:
        return None
    fronts = [_front(group, panel) for panel in panels]
    seen = any(found.points or any(cell.means for cell in found.left_out) for found in fronts)
    if not seen or len({cell.config.beta for cell in group.cells}) < 2:
        return None
    columns = panels_across(min(COLUMNS, len(panels)), PANEL)
    rows = math.ceil(len(panels) / columns)
    figure = blank(5.6, 3.8) if len(panels) == 1 else blank(PANEL * columns + 1.0, 2.7 * rows + 0.9)
    grid = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
    for axes in grid[len(panels) :]:
        axes.remove()
    cut = False
    for axes, found, panel in zip(grid, fronts, panels, strict=False):
        front_figure.draw_marks(axes, found, is_panel=True)
        cut |= front_figure.limit_frame(axes, found)
        axes.set_title(panel.title, fontsize="medium", loc="left")
        axes.set_xlabel(panel.x, fontsize="small")
        axes.set_ylabel(panel.y, fontsize="small")
    handles = [handle(proper(series), style) for series, style in series_styles(fronts[0].series).items()]
    frame(figure, title(what, group), _caption(fronts, cut), handles)
    for axes, found in zip(grid, fronts, strict=False):
        front_figure.label_marks(figure, axes, found)
        keep_legible(axes)  # betas follow one another along a line
    return figure


def _front(group: ModelGroup, panel: Panel) -> Front:
    """Over the trials that report both metrics."""
    results = [
        r for r in group.results if {panel.coherence, panel.likelihood} <= group.values[r.trial.cell.id][r.trial.seed].keys()
    ]
    objectives = [Objective(metric=metric, goal="max") for metric in (panel.coherence, panel.likelihood)]
    return front(objectives, group.cells, group.seeds, results, probabilities=False)


def _caption(fronts: Sequence[Front], cut: bool) -> str:
    said = "A marker a β, a line a model. Filled: no other cell is better on both axes."
    if any(point.n > 1 for found in fronts for point in found.points):
        said += f" {bars_text(cut)}"
    said += "".join(f" {named}" for named in dict.fromkeys(map(front_figure.labels_note, fronts)) if named)
    short = dict.fromkeys(f"{proper(cell.label)} ({cell.n}/{cell.n_planned})" for found in fronts for cell in found.left_out)
    return said + (f" Not compared, and faint, because seeds are missing: {listed(list(short))}." if short else "")
