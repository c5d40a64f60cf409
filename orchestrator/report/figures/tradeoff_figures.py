"""Figures 1, 5 and 6: coherence against log-likelihood, a marker a beta, a line a model."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from mopoe_core import metric_names
from orchestrator.analysis.fronts import Front, front
from orchestrator.analysis.model_groups import ModelGroup
from orchestrator.report.figures import front_figure
from orchestrator.report.figures.label_placement import keep_legible
from orchestrator.report.figures.plot_style import axis_label, bars_text, blank, frame, handle, listed, title
from orchestrator.spec.sections import Objective

TRIMODAL = "mnist_svhn_text"
COLUMNS = 3
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
    coherence, likelihood = metric_names.JOINT_COHERENCE, metric_names.JOINT_LIKELIHOOD
    labels = (axis_label(metric, group.unit(metric)) for metric in (coherence, likelihood))
    return _drawn(group, "Joint coherence and log-likelihood", [Panel(coherence, likelihood, *labels)])


def given_two(group: ModelGroup) -> Figure | None:
    """Figure 5: one modality generated from the two others, against the log-likelihood given these two."""
    order = (("mnist.svhn", "text"), ("mnist.text", "svhn"), ("svhn.text", "mnist"))
    return _conditional(group, "Coherence and log-likelihood given two modalities", order)


def given_one(group: ModelGroup) -> Figure | None:
    """Figure 6: one modality generated from another, against the log-likelihood given that other."""
    order = (("mnist", "svhn"), ("mnist", "text"), ("svhn", "mnist"), ("svhn", "text"), ("text", "mnist"), ("text", "svhn"))
    return _conditional(group, "Coherence and log-likelihood given one modality", order)


def _conditional(group: ModelGroup, what: str, order: Sequence[tuple[str, str]]) -> Figure | None:
    if group.config.dataset != TRIMODAL:
        return None
    return _drawn(
        group, what, [_panel(letter, subset, target) for letter, (subset, target) in zip("abcdef", order, strict=False)]
    )


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
    fronts = [_front(group, panel) for panel in panels]
    seen = any(found.points or any(cell.means for cell in found.left_out) for found in fronts)
    if not seen or len({cell.config.beta for cell in group.cells}) < 2:
        return None
    rows, columns = math.ceil(len(panels) / COLUMNS), min(COLUMNS, len(panels))
    figure = blank(8.2, 5.0) if columns == 1 else blank(4.2 * columns + 1.0, 3.7 * rows + 0.9)
    every = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
    cut = False
    for axes, found, panel in zip(every, fronts, panels, strict=True):
        front_figure.draw_marks(axes, found)
        cut |= front_figure.limit_frame(axes, found)
        if axes.get_legend():
            axes.get_legend().remove()
        axes.set_title(panel.title, fontsize=9, loc="left")
        axes.set(xlabel=panel.x, ylabel=panel.y)
    frame(figure, title(what, group), _caption(fronts, cut), [handle(line, i) for i, line in enumerate(fronts[0].series)])
    for axes, found in zip(every, fronts, strict=True):
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
    short = dict.fromkeys(f"{cell.label} ({cell.n}/{cell.n_planned})" for found in fronts for cell in found.left_out)
    return said + (f" Not compared, and faint, because seeds are missing: {listed(list(short))}." if short else "")
