"""Figures 3, 12 and 13: curves over the number of modalities given, and attributes one by one, at one beta."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mopoe_core import metric_names
from mopoe_core.config.presets import PAPER
from mopoe_core.family.registry import PAPER_MODELS
from orchestrator.analysis.intervals import Summary, summary
from orchestrator.analysis.model_groups import ModelGroup
from orchestrator.report.figures.plot_style import FAINT, SD_BARS, blank, dress, frame, handle, style, title
from orchestrator.report.render.numbers import number
from orchestrator.spec.trial import Cell, series, spelled

FEWEST = 3  # modalities that make a curve
SPREAD = f"{SD_BARS}; a cell that lacks seeds is faint, has no spread, and says how many it has."
DODGE = 0.22  # between the models of one attribute, in rows
TITLES = {
    metric_names.PROBE: "latent classification",
    metric_names.COHERENCE: "coherence of the modalities not given",
    metric_names.LOG_LIKELIHOOD: "log p(X)",
}


@dataclass(frozen=True)
class Line:
    """A cell of the figure's beta, and how it is drawn."""

    cell: Cell
    label: str
    index: int
    complete: bool

    @property
    def alpha(self) -> float:
        """`FAINT` where seeds are missing."""
        return 1.0 if self.complete else FAINT


def by_size(group: ModelGroup) -> Figure | None:
    """Figure 3: probe, coherence and log-likelihood against the number of modalities given; None for fewer than three."""
    M, (beta, lines) = group.config.M, _lines(group)
    sizes = {metric_names.PROBE: M, metric_names.COHERENCE: M - 1, metric_names.LOG_LIKELIHOOD: M}
    metrics = {kind: [f"{kind}/{metric_names.given(size)}" for size in range(1, most + 1)] for kind, most in sizes.items()}
    if M < FEWEST or not _reported(group, lines, [metric for of in metrics.values() for metric in of]):
        return None
    figure = blank(12.5, 4.3)
    for axes, (kind, of) in zip(figure.subplots(1, 3), metrics.items(), strict=True):
        for line in lines:
            _curve(axes, group, line, of)
        dress(axes)
        axes.set_title(TITLES[kind], fontsize=9, loc="left")
        axes.set(xlabel="number of modalities given", ylabel=group.unit(of[0]), xlim=(0.8, M + 0.2), xticks=range(1, M + 1))
    handles = [handle(line.label + _joint_coherence(group, line), line.index) for line in lines]
    caption = f"Means over all subsets of a size, larger is better; the legend has the joint coherence. Bands: {SPREAD}"
    frame(figure, title("By the number of modalities given", group, f", β = {spelled(beta)}"), caption, handles)
    return figure


def attribute_coherence(group: ModelGroup) -> Figure | None:
    """Figure 12: average precision of each attribute in what is generated; a panel a subset given and modality generated."""
    modalities = group.config.modalities
    panels = {
        f"{_and(subset)} → {target}": f"{metric_names.COHERENCE}/{metric_names.subset_name(subset)}/{target}"
        for subset in metric_names.subsets(modalities)
        for target in modalities
    }
    return _attributes(group, "Attributes of what is generated", panels)


def attribute_probe(group: ModelGroup) -> Figure | None:
    """Figure 13: average precision of each attribute, read linearly off the posterior's mean; a panel a subset given."""
    panels = {
        f"given {_and(subset)}": f"{metric_names.PROBE}/{metric_names.subset_name(subset)}"
        for subset in metric_names.subsets(group.config.modalities)
    }
    return _attributes(group, "Attributes in the latents", panels)


def _attributes(group: ModelGroup, what: str, panels: Mapping[str, str]) -> Figure | None:
    """One row of panels with a shared axis of attributes, in the dataset's order from above."""
    attributes, (beta, lines) = group.config.attributes, _lines(group)
    if not _reported(group, lines, [f"{metric}/{attribute}" for metric in panels.values() for attribute in attributes]):
        return None
    figure = blank(2.0 * len(panels) + 3.2, 0.21 * len(attributes) + 1.8)
    for axes, (heading, metric) in zip(figure.subplots(1, len(panels), sharex=True, sharey=True), panels.items(), strict=True):
        for place, line in enumerate(lines):
            _dots(
                axes, group, line, [f"{metric}/{attribute}" for attribute in attributes], DODGE * (place - (len(lines) - 1) / 2)
            )
        dress(axes)
        axes.set_title(heading, fontsize=9, loc="left")
        axes.set(xlabel=metric_names.AVERAGE_PRECISION, xlim=(-0.03, 1.03), ylim=(len(attributes) - 0.4, -0.6))
        axes.set_yticks(range(len(attributes)), [attribute.replace("_", " ") for attribute in attributes], fontsize=7.5)
    caption = f"Average precision of a classifier's scores, larger is better; chance is the attribute's share of examples. Bars: {SPREAD}"
    handles = [handle(line.label, line.index, 0) for line in lines]
    frame(figure, title(what, group, f", β = {spelled(beta)}"), caption, handles)
    return figure


def _lines(group: ModelGroup) -> tuple[float, list[Line]]:
    """The beta of the paper's tables, or the one that stands for it (`model_groups.common_beta`), and its cells in legend order."""
    wanted = float(PAPER.get(group.config.dataset, {}).get("beta", 1.0))
    shared = group.beta(wanted, among=[model for model in PAPER_MODELS if group.line(model)] or list(group.lines))
    beta = group.cells[0].config.beta if shared is None else shared
    found = series(group.cells)
    order = list(dict.fromkeys(found.values()))
    cells = [cell for cell in group.cells if cell.config.beta == beta]
    cells.sort(key=lambda cell: order.index(found[cell.id]))
    lines = []
    for cell in cells:
        n, planned = group.reported(cell), len(group.seeds)
        label = found[cell.id] + ("" if n == planned else f" ({n}/{planned})")
        lines.append(Line(cell, label, order.index(found[cell.id]), n == planned))
    return beta, lines


def _reported(group: ModelGroup, lines: Sequence[Line], metrics: Sequence[str]) -> bool:
    return any(group.sample(line.cell, metric) for line in lines for metric in metrics)


def _curve(axes: Axes, group: ModelGroup, line: Line, metrics: Sequence[str]) -> None:
    colour, marker = style(line.index)
    shown = [(size, _summary(group, line, metric)) for size, metric in enumerate(metrics, 1)]
    shown = [(size, found) for size, found in shown if not math.isnan(found.mean)]
    sizes, means = [size for size, _ in shown], [found.mean for _, found in shown]
    axes.plot(sizes, means, color=colour, marker=marker, linewidth=1.3, markersize=5, alpha=line.alpha)
    if line.complete and len(group.seeds) > 1:
        sds = [found.sd for _, found in shown]
        low, high = ([mean + sign * sd for mean, sd in zip(means, sds, strict=True)] for sign in (-1, 1))
        axes.fill_between(sizes, low, high, color=colour, alpha=0.18, linewidth=0)


def _dots(axes: Axes, group: ModelGroup, line: Line, metrics: Sequence[str], dodge: float) -> None:
    colour, marker = style(line.index)
    shown = [_summary(group, line, metric) for metric in metrics]
    rows = [row + dodge for row in range(len(metrics))]
    means, sds = [found.mean for found in shown], [found.sd for found in shown]
    spread = sds if line.complete and len(group.seeds) > 1 else None
    axes.errorbar(
        means, rows, xerr=spread, color=colour, marker=marker, markersize=3.2, linestyle="none", elinewidth=0.8, alpha=line.alpha
    )


def _summary(group: ModelGroup, line: Line, metric: str) -> Summary:
    return summary(list(group.sample(line.cell, metric).values()))


def _joint_coherence(group: ModelGroup, line: Line) -> str:
    found = _summary(group, line, metric_names.JOINT_COHERENCE)
    if math.isnan(found.mean):
        return ""
    spread = f" ± {found.sd:.3f}" if line.complete and found.has_interval else ""
    return f"\njoint coherence {number(found.mean)}{spread}"


def _and(subset: Sequence[str]) -> str:
    return " and ".join(subset)
