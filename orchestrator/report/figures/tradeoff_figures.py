"""Draws Figures 1, 5 and 6: coherence against log-likelihood, with a marker for each beta and a line for each model."""

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
from orchestrator.report.figures.plot_style import axis_label, bars_text, blank, frame, handle, panels_across, title
from orchestrator.spec.proper_names import proper
from orchestrator.spec.sections import Objective

TRIMODAL = "mnist_svhn_text"
COLUMNS = 3
PANEL = 2.9  # width of a panel in inches
SHORT = {"mnist": "M", "svhn": "S", "text": "T"}


@dataclass(frozen=True)
class Panel:
    """A metric for each axis."""

    coherence: str
    likelihood: str
    x: str
    """Label of the axis of coherence."""
    y: str
    """Label of the axis of log-likelihood."""
    title: str = ""


def joint(group: ModelGroup) -> Figure | None:
    """Draws Figure 1: joint coherence against joint log-likelihood; None for a single beta or without data."""
    return _drawn(group, "Joint coherence and log-likelihood", joint_panels(group))


def given_two(group: ModelGroup) -> Figure | None:
    """Draws Figure 5: one modality generated from the other two, against the log-likelihood given these two."""
    return _drawn(group, "Coherence and log-likelihood given two modalities", given_two_panels(group))


def given_one(group: ModelGroup) -> Figure | None:
    """Draws Figure 6: one modality generated from another, against the log-likelihood given that other one."""
    return _drawn(group, "Coherence and log-likelihood given one modality", given_one_panels(group))


def joint_panels(group: ModelGroup) -> list[Panel]:
    """Returns the panel of Figure 1."""
    coherence, likelihood = metric_names.JOINT_COHERENCE, metric_names.JOINT_LIKELIHOOD
    labels = (axis_label(metric, group.unit(metric)) for metric in (coherence, likelihood))
    return [Panel(coherence, likelihood, *labels)]


def given_two_panels(group: ModelGroup) -> list[Panel]:
    """Returns the panels of Figure 5; empty for other datasets than MNIST-SVHN-Text."""
    return _conditional(group, (("mnist.svhn", "text"), ("mnist.text", "svhn"), ("svhn.text", "mnist")))


def given_one_panels(group: ModelGroup) -> list[Panel]:
    """Returns the panels of Figure 6; empty for other datasets than MNIST-SVHN-Text."""
    order = (("mnist", "svhn"), ("mnist", "text"), ("svhn", "mnist"), ("svhn", "text"), ("text", "mnist"), ("text", "svhn"))
    return _conditional(group, order)


def numbers(group: ModelGroup, panels: Sequence[Panel]) -> pd.DataFrame:
    """Returns a row for each panel and cell: both metrics with their means and standard deviations."""
    tables = []
    for panel in panels:
        table = front_figure.front_numbers(_front(group, panel))
        metrics = {"x": panel.coherence, "y": panel.likelihood}
        columns = {metric + suffix: axis + suffix for axis, metric in metrics.items() for suffix in ("", ".sd")}
        tables.append(table.rename(columns=columns).assign(x_metric=panel.coherence, y_metric=panel.likelihood))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _conditional(group: ModelGroup, order: Sequence[tuple[str, str]]) -> list[Panel]:
    if group.config.dataset != TRIMODAL:
        return []
    return [_panel(letter, subset, target) for letter, (subset, target) in zip("abcdef", order, strict=False)]


def _panel(letter: str, subset: str, target: str) -> Panel:
    given = ", ".join(SHORT[modality] for modality in subset.split("."))
    return Panel(
        coherence=f"{metric_names.COHERENCE}/{subset}/{target}",
        likelihood=f"{metric_names.LOG_LIKELIHOOD}/{subset}",
        x=f"coherence of {SHORT[target]} given {given} (share)",
        y=f"log p(X) given {given} (nats)",
        title=f"({letter}) {given} → {SHORT[target]}",
    )


def _drawn(group: ModelGroup, what: str, panels: Sequence[Panel]) -> Figure | None:
    """Draws the panels with the title `what`; None for a single beta or without data."""
    if not panels:
        return None
    fronts = [_front(group, panel) for panel in panels]
    has_means = any(of_panel.points or any(cell.means for cell in of_panel.left_out) for of_panel in fronts)
    if not has_means or len({cell.config.beta for cell in group.cells}) < 2:
        return None
    columns = panels_across(min(COLUMNS, len(panels)), PANEL)
    rows = math.ceil(len(panels) / columns)
    figure = blank(5.6, 3.8) if len(panels) == 1 else blank(PANEL * columns + 1.0, 2.7 * rows + 0.9)
    grid = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
    for axes in grid[len(panels) :]:
        axes.remove()
    are_cut = False
    for axes, of_panel, panel in zip(grid, fronts, panels, strict=False):
        front_figure.draw_marks(axes, of_panel, is_panel=True)
        are_cut |= front_figure.limit_frame(axes, of_panel)
        axes.set_title(panel.title, fontsize="medium", loc="left")
        axes.set_xlabel(panel.x, fontsize="small")
        axes.set_ylabel(panel.y, fontsize="small")
    short = front_figure.short_names(fronts)
    handles = [handle(proper(short[series]), style) for series, style in front_figure.drawn_series(fronts).items()]
    frame(figure, title(what, group), _caption(fronts, are_cut), handles)
    for axes, of_panel in zip(grid, fronts, strict=False):
        front_figure.label_marks(figure, axes, of_panel)
        keep_legible(axes)  # some betas may be left out, because they follow one another along a line
    return figure


def _front(group: ModelGroup, panel: Panel) -> Front:
    """Returns the front of a panel's metrics, over the trials that report both."""
    metrics = (panel.coherence, panel.likelihood)
    results = [result for result in group.results if set(metrics) <= result.values.keys()]
    objectives = [Objective(metric=metric, goal="max") for metric in metrics]
    return front(objectives, group.cells, group.seeds, results, probabilities=False)


def _caption(fronts: Sequence[Front], are_cut: bool) -> str:
    sentences = ["A marker a β, a line a model. Filled: no other cell is better on both axes."]
    if any(point.n > 1 for of_panel in fronts for point in of_panel.points):
        sentences.append(bars_text(are_cut))
    sentences += [note for note in dict.fromkeys(map(front_figure.labels_note, fronts)) if note]
    return " ".join([*sentences, *front_figure.left_out_notes(fronts)])
