"""Figures. The only importer of matplotlib, drawn without a display and the same to the byte for the same input."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams["svg.hashsalt"] = "mopoe"  # element ids would otherwise be random
matplotlib.rcParams["svg.fonttype"] = "path"

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from mopoe_core.files import write_whole
from orchestrator.pareto import Front, Point

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, told apart with every common colour blindness."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
OFFSETS = [
    (6, 5),
    (6, -12),
    (-6, 5),
    (-6, -12),
    (0, 9),
    (0, -16),
    (11, -3),
    (-11, -3),
    (14, 10),
    (-14, 10),
    (14, -18),
    (-14, -18),
]
"""Where a beta label may stand, in points from its marker, in order of preference."""
FORMATS = {"svg": {"Date": None}, "png": {"Software": None}, "pdf": {"CreationDate": None, "Creator": None, "Producer": None}}


def axis_label(metric: str, unit: str) -> str:
    """An objective as an axis label, with its unit."""
    spelled = {
        "coherence/joint": "joint coherence",
        "log_likelihood/joint": "log p(X), proposal given all modalities",
        "log_likelihood_paper_view/joint": "log p(X) as the released code computes it",
    }
    return f"{spelled.get(metric, metric)} ({unit})"


def write_front(front: Front, title: str, units: Sequence[str], folder: Path) -> None:
    """`front.svg`, `front.png` and `front.pdf` of the first two objectives: a marker a cell, a line a series."""
    figure, axes = plt.subplots(figsize=(7.2, 4.8), layout="constrained")
    try:
        _draw(axes, front)
        axes.set_title(title, fontsize=10, loc="left")
        for place, (objective, unit) in enumerate(zip(front.objectives[:2], units, strict=False)):
            label = axis_label(objective.metric, unit) + (" — lower is better" if objective.goal == "min" else "")
            (axes.set_ylabel if place else axes.set_xlabel)(label)
        _label_betas(figure, axes, front)
        for suffix, metadata in FORMATS.items():
            write_whole(
                folder / f"front.{suffix}",
                lambda path, s=suffix, m=metadata: figure.savefig(path, format=s, dpi=160, metadata=m),  # type: ignore[misc]
            )
    finally:
        plt.close(figure)


def _draw(axes: Axes, front: Front) -> None:
    axes.grid(True, color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    lines = []
    for index, line in enumerate(dict.fromkeys(point.series for point in front.points)):
        points = sorted((p for p in front.points if p.series == line), key=lambda point: point.beta)
        lines.append(_draw_series(axes, points, line, COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]))
    if not front.points:
        axes.text(0.5, 0.5, "no complete cell yet", ha="center", va="center", transform=axes.transAxes, color="#666666")
        return
    kinds = (("on the front", "#666666"), ("dominated", "white"))
    shapes = [
        Line2D([], [], marker="o", color="#666666", markerfacecolor=fill, linestyle="none", label=kind) for kind, fill in kinds
    ]
    axes.legend(handles=[*lines, *shapes], fontsize=8, frameon=True, framealpha=0.9)


def _draw_series(axes: Axes, points: Sequence[Point], line: str, colour: str, marker: str) -> Line2D:
    """One line through the cells in order of beta, with error bars of one standard deviation; returns its legend entry."""
    x, y = ([point.means[axis] for point in points] for axis in (0, 1))
    axes.plot(x, y, color=colour, linewidth=1.2, alpha=0.7, zorder=2)
    for point in points:
        if point.n > 1:
            axes.errorbar(
                point.means[0], point.means[1], point.sds[1], point.sds[0], color=colour, linewidth=0.9, capsize=2.5, alpha=0.6
            )
        fill = colour if point.on_front else "white"
        axes.plot(point.means[0], point.means[1], marker=marker, color=colour, markerfacecolor=fill, markersize=7, zorder=3)
    return Line2D([], [], color=colour, marker=marker, label=line)


def _label_betas(figure: Figure, axes: Axes, front: Front) -> None:
    """Each marker's beta where it covers no other label and no marker, as far as there is such a place."""
    figure.canvas.draw()
    to_pixels = axes.transData.transform
    markers = [Bbox.from_bounds(x - 8, y - 8, 16, 16) for x, y in (to_pixels(point.means[:2]) for point in front.points)]
    taken = list(markers)
    legend = axes.get_legend()
    if legend is not None:
        taken.append(legend.get_window_extent())
    for index, point in enumerate(front.points):
        others = taken[:index] + taken[index + 1 :]
        taken.append(_place(figure, axes, point, others))


def _place(figure: Figure, axes: Axes, point: Point, taken: Sequence[Bbox]) -> Bbox:
    best: tuple[float, tuple[int, int]] | None = None
    frame = axes.get_window_extent()
    text = axes.annotate(
        f"β {point.beta:g}",
        (point.means[0], point.means[1]),
        xytext=OFFSETS[0],
        textcoords="offset points",
        fontsize=7.5,
        zorder=4,
    )
    for offset in OFFSETS:
        text.set_position(offset)
        text.set_horizontalalignment("left" if offset[0] > 0 else "right" if offset[0] < 0 else "center")
        box = text.get_window_extent()
        outside = not (frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1)
        cost = sum(_overlap(box, other) for other in taken) + (1e6 if outside else 0)
        if best is None or cost < best[0]:
            best = (cost, offset)
        if cost == 0:
            break
    assert best is not None
    text.set_position(best[1])
    text.set_horizontalalignment("left" if best[1][0] > 0 else "right" if best[1][0] < 0 else "center")
    return text.get_window_extent()


def _overlap(a: Bbox, b: Bbox) -> float:
    width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
    return width * height if width > 0 and height > 0 else 0.0
