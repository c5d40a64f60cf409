"""Draws Figures 3, 12 and 13: curves over the number of given modalities, and each attribute, at one beta."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mopoe_core import metric_names
from mopoe_core.config.presets import PAPER
from mopoe_core.family.registry import PAPER_MODELS
from orchestrator.analysis.intervals import Summary, summary
from orchestrator.analysis.model_groups import ModelGroup
from orchestrator.report.figures.model_styles import SeriesStyle, series_styles
from orchestrator.report.figures.plot_style import CAP, FAINT, SD_BARS, blank, dress, frame, handle, panels_across, title
from orchestrator.report.render.numbers import number
from orchestrator.report.render.short_labels import shortened
from orchestrator.spec.proper_names import proper
from orchestrator.spec.trial import Cell, series, spelled

FEWEST = 3  # modalities; fewer make no curve
SPREAD = f"{SD_BARS}; a cell that lacks seeds is faint, has no spread, and says how many it has."
DODGE = 0.22  # distance between the models of one attribute, in rows
TITLES = {
    metric_names.PROBE: "latent classification",
    metric_names.COHERENCE: "coherence of the modalities not given",
    metric_names.LOG_LIKELIHOOD: "log p(X)",
}


@dataclass(frozen=True)
class Line:
    """A cell at the figure's beta, with its label and style."""

    cell: Cell
    label: str
    style: SeriesStyle
    complete: bool

    @property
    def alpha(self) -> float:
        """The line's opacity: `FAINT` if seeds are missing."""
        return 1.0 if self.complete else FAINT


def by_size(group: ModelGroup) -> Figure | None:
    """Draws Figure 3: probe, coherence and log-likelihood against the number of given modalities; None for fewer than three."""
    M, metrics_by_kind = group.config.M, by_size_metrics(group)
    beta, lines = _lines(group)
    if not _reported(group, lines, [metric for metrics in metrics_by_kind.values() for metric in metrics]):
        return None
    columns = panels_across(len(metrics_by_kind), 2.2)
    rows = -(-len(metrics_by_kind) // columns)
    figure = blank(2.2 * columns + 2.4, 2.5 * rows + 0.7)
    panels = _panels(figure, rows, columns, len(metrics_by_kind))
    for axes, (kind, metrics) in zip(panels, metrics_by_kind.items(), strict=True):
        for line in lines:
            _curve(axes, group, line, metrics)
        dress(axes)
        axes.set_title(textwrap.fill(TITLES[kind], 24), fontsize="small", loc="left")
        axes.set_xlabel("number of modalities given", fontsize="small")
        axes.set(ylabel=group.unit(metrics[0]), xlim=(0.8, M + 0.2), xticks=range(1, M + 1))
    handles = [handle(line.label + _joint_coherence(group, line), line.style) for line in lines]
    caption = f"Means over all subsets of a size, larger is better; the legend has the joint coherence. Bands: {SPREAD}"
    frame(figure, title("By the number of modalities given", group, f", β = {spelled(beta)}"), caption, handles)
    return figure


def by_size_metrics(group: ModelGroup) -> dict[str, list[str]]:
    """Returns the metrics of each panel of Figure 3, in order of size; empty for fewer than three modalities."""
    M = group.config.M
    if M < FEWEST:
        return {}
    largest = {metric_names.PROBE: M, metric_names.COHERENCE: M - 1, metric_names.LOG_LIKELIHOOD: M}
    return {kind: [f"{kind}/{metric_names.given(size)}" for size in range(1, most + 1)] for kind, most in largest.items()}


def attribute_coherence(group: ModelGroup) -> Figure | None:
    """Draws Figure 12: average precision of each attribute in generated modalities. A panel is a given subset and a target."""
    return _attributes(group, "Attributes of what is generated", coherence_panels(group))


def attribute_probe(group: ModelGroup) -> Figure | None:
    """Draws Figure 13: average precision of a linear classifier of each attribute on posterior means. A panel is a given subset."""
    return _attributes(group, "Attributes in the latents", probe_panels(group))


def coherence_panels(group: ModelGroup) -> dict[str, list[str]]:
    """Returns the metrics of each panel of Figure 12, one for each attribute."""
    modalities = group.config.modalities
    metrics = {
        f"{_and(subset)} → {target}": f"{metric_names.COHERENCE}/{metric_names.subset_name(subset)}/{target}"
        for subset in metric_names.subsets(modalities)
        for target in modalities
    }
    return _of_attributes(group, metrics)


def probe_panels(group: ModelGroup) -> dict[str, list[str]]:
    """Returns the metrics of each panel of Figure 13, one for each attribute."""
    metrics = {
        f"given {_and(subset)}": f"{metric_names.PROBE}/{metric_names.subset_name(subset)}"
        for subset in metric_names.subsets(group.config.modalities)
    }
    return _of_attributes(group, metrics)


def _of_attributes(group: ModelGroup, panels: Mapping[str, str]) -> dict[str, list[str]]:
    return {heading: [f"{metric}/{attribute}" for attribute in group.config.attributes] for heading, metric in panels.items()}


def numbers(group: ModelGroup, panels: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Returns a row for each panel, cell at the figure's beta and metric: n, mean and standard deviation."""
    rows = []
    for heading, metrics in panels.items():
        for line in _lines(group)[1]:
            for metric in metrics:
                rows.append({"panel": heading, "metric": metric} | _record(group, line, metric))
    return pd.DataFrame(rows)


def _record(group: ModelGroup, line: Line, metric: str) -> dict[str, object]:
    config, over_seeds = line.cell.config, _summary(group, line, metric)
    return {
        "cell_id": line.cell.id,
        "model": config.model,
        "beta": config.beta,
        "n": len(group.sample(line.cell, metric)),
        "complete": line.complete,
        "mean": over_seeds.mean,
        "sd": over_seeds.sd,
    }


def _attributes(group: ModelGroup, what: str, panels: Mapping[str, Sequence[str]]) -> Figure | None:
    """Draws panels with a shared axis of attributes, in the dataset's order from above."""
    attributes, (beta, lines) = group.config.attributes, _lines(group)
    if not _reported(group, lines, [metric for metrics in panels.values() for metric in metrics]):
        return None
    columns = panels_across(len(panels), 1.5)
    rows = -(-len(panels) // columns)
    figure = blank(1.5 * columns + 2.6, 0.17 * len(attributes) * rows + 1.5)
    grid = _panels(figure, rows, columns, len(panels), shared=True)
    for axes, (heading, metrics) in zip(grid, panels.items(), strict=True):
        for place, line in enumerate(lines):
            _dots(axes, group, line, metrics, DODGE * (place - (len(lines) - 1) / 2))
        dress(axes)
        axes.set_title(heading, fontsize="small", loc="left")
        axes.set_xlabel(metric_names.AVERAGE_PRECISION, fontsize="small")
        axes.set(xlim=(-0.03, 1.03), ylim=(len(attributes) - 0.4, -0.6))
        axes.set_yticks(range(len(attributes)), [attribute.replace("_", " ") for attribute in attributes], fontsize="small")
    caption = f"Average precision of a classifier's scores, larger is better; chance is the attribute's share of examples. Bars: {SPREAD}"
    handles = [handle(line.label, line.style, 0) for line in lines]
    frame(figure, title(what, group, f", β = {spelled(beta)}"), caption, handles)
    return figure


def _panels(figure: Figure, rows: int, columns: int, count: int, shared: bool = False) -> list[Axes]:
    """Returns the first `count` axes of a grid. The other axes are removed."""
    grid = list(np.ravel(figure.subplots(rows, columns, squeeze=False, sharex=shared, sharey=shared)))
    for axes in grid[count:]:
        axes.remove()
    return grid[:count]


def _lines(group: ModelGroup) -> tuple[float, list[Line]]:
    """Returns the figure's beta and its cells in the order of the legend.

    The beta is that of the paper's tables, or the one that replaces it (`model_groups.common_beta`).
    """
    paper_beta = float(PAPER.get(group.config.dataset, {}).get("beta", 1.0))
    shared = group.beta(paper_beta, among=[model for model in PAPER_MODELS if group.line(model)] or list(group.lines))
    beta = group.cells[0].config.beta if shared is None else shared
    series_of = series(group.cells)
    styles, short = series_styles(series_of.values()), shortened(series_of.values())
    order = list(styles)
    cells = [cell for cell in group.cells if cell.config.beta == beta]
    cells.sort(key=lambda cell: order.index(series_of[cell.id]))
    lines = []
    for cell in cells:
        n, planned = group.reported(cell), len(group.seeds)
        name = series_of[cell.id]
        label = proper(short[name]) + ("" if n == planned else f" ({n}/{planned})")
        lines.append(Line(cell, label, styles[name], n == planned))
    return beta, lines


def _reported(group: ModelGroup, lines: Sequence[Line], metrics: Sequence[str]) -> bool:
    """Whether a seed of one of the cells reports one of the metrics."""
    return any(group.sample(line.cell, metric) for line in lines for metric in metrics)


def _curve(axes: Axes, group: ModelGroup, line: Line, metrics: Sequence[str]) -> None:
    style = line.style
    all_sizes = {size: _summary(group, line, metric) for size, metric in enumerate(metrics, 1)}
    summaries = {size: over_seeds for size, over_seeds in all_sizes.items() if not math.isnan(over_seeds.mean)}
    sizes, means = list(summaries), [over_seeds.mean for over_seeds in summaries.values()]
    axes.plot(
        sizes, means, color=style.colour, marker=style.marker, linestyle=style.line, linewidth=1.3, markersize=5, alpha=line.alpha
    )
    if line.complete and len(group.seeds) > 1:
        low = [over_seeds.mean - over_seeds.sd for over_seeds in summaries.values()]
        high = [over_seeds.mean + over_seeds.sd for over_seeds in summaries.values()]
        axes.fill_between(sizes, low, high, color=style.colour, alpha=0.18, linewidth=0)


def _dots(axes: Axes, group: ModelGroup, line: Line, metrics: Sequence[str], dodge: float) -> None:
    summaries = [_summary(group, line, metric) for metric in metrics]
    rows = [row + dodge for row in range(len(metrics))]
    means, sds = [over_seeds.mean for over_seeds in summaries], [over_seeds.sd for over_seeds in summaries]
    spread = sds if line.complete and len(group.seeds) > 1 else None
    axes.errorbar(
        means, rows, xerr=spread, color=line.style.colour, marker=line.style.marker, markersize=3.2, linestyle="none",
        elinewidth=0.8, capsize=CAP * 0.6, alpha=line.alpha,
    )  # fmt: skip


def _summary(group: ModelGroup, line: Line, metric: str) -> Summary:
    return summary(list(group.sample(line.cell, metric).values()))


def _joint_coherence(group: ModelGroup, line: Line) -> str:
    over_seeds = _summary(group, line, metric_names.JOINT_COHERENCE)
    if math.isnan(over_seeds.mean):
        return ""
    spread = f" ± {over_seeds.sd:.3f}" if line.complete and over_seeds.has_interval else ""
    return f"\njoint coherence {number(over_seeds.mean)}{spread}"


def _and(subset: Sequence[str]) -> str:
    return " and ".join(subset)
