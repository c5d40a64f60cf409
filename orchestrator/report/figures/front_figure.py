"""Figures. The only importer of matplotlib, drawn without a display and the same to the byte for the same input."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
matplotlib.rcParams["svg.hashsalt"] = "mopoe"  # element ids would otherwise be random
matplotlib.rcParams["svg.fonttype"] = "path"
matplotlib.rcParams["text.parse_math"] = False  # a "$" in a name is a "$"

import matplotlib.patheffects as effects
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from mopoe_core.storage.files import write_whole
from orchestrator.analysis.fronts import Front, LeftOut, Point, references_said
from orchestrator.spec.trial import spelled

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, told apart with every common colour blindness."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
FAINT = 0.35
OFFSETS = [(round(r * dx), round(r * dy) - 3) for r in (9, 15, 22) for dx, dy in (
    (0.7, 0.7), (0.7, -0.8), (-0.7, 0.7), (-0.7, -0.8), (0, 1), (0, -1.1), (1, 0), (-1, 0),
)]  # fmt: skip
"""Where a label may stand, in points from its marker, in order of preference; the 3 brings small text to its baseline."""
MOST_LABELLED = 60
"""Markers that have labels: of more, labels cover one another, and to place them took minutes."""
MARK = "cell-"
"""Before a cell's id: the id of its marker in the SVG of the front."""
FORMATS = {"svg": {"Date": None}, "png": {"Software": None}, "pdf": {"CreationDate": None, "Creator": None, "Producer": None}}

Floats = NDArray[np.float64]


def axis_label(metric: str, unit: str) -> str:
    """An objective as an axis label, with its unit."""
    spelled = {
        "coherence/joint": "joint coherence",
        "log_likelihood/joint": "log p(X), all modalities given",
        "log_likelihood_paper_view/joint": "log p(X) as the released code computes it, all modalities given",
    }
    return f"{spelled.get(metric, metric)} ({unit})"


def write_front(front: Front, title: str, units: Sequence[str], folder: Path, name: str = "front") -> None:
    """`front.svg`, `front.png` and `front.pdf`, or under another name."""
    figure = draw_front(front, title, units)
    try:
        for suffix, metadata in FORMATS.items():
            write_whole(
                folder / f"{name}.{suffix}",
                lambda path, s=suffix, m=metadata: figure.savefig(path, format=s, dpi=200, metadata=m),  # type: ignore[misc]
            )
    finally:
        plt.close(figure)


def draw_front(front: Front, title: str, units: Sequence[str]) -> Figure:
    """The first two objectives: a marker a cell, a line a series. The caller closes it."""
    figure, axes = plt.subplots(figsize=(7.2, 5.0), layout="constrained")
    draw_marks(axes, front)
    cut = limit_frame(axes, front)
    axes.set_title(title, fontsize=10, loc="left")
    for place, (objective, unit) in enumerate(zip(front.objectives[:2], units, strict=False)):
        label = axis_label(objective.metric, unit) + (", lower is better" if objective.goal == "min" else "")
        (axes.set_ylabel if place else axes.set_xlabel)(label)
    figure.supxlabel(textwrap.fill(caption(front, cut), 125), x=0.01, ha="left", fontsize=7, color="#444444")
    label_marks(figure, axes, front)
    return figure


def caption(front: Front, cut: bool = False) -> str:
    """What the marks of the figure mean; `cut` if the frame cuts some interval."""
    said = []
    if any(point.n > 1 for point in front.points):
        said.append(f"Bars: ± 1 standard deviation over seeds{', cut at the frame where they are longer' if cut else ''}.")
    if front.points:
        said.append("Filled: on the front.")
    if named := labels_said(front):
        said.append(named)
    if front.hypervolume is not None and front.points:
        said.append(f"Hypervolume {front.hypervolume:.5g} against ({references_said(front.objectives)}).")
    if front.left_out:
        cells = ", ".join(f"{cell.label} ({cell.n}/{cell.n_planned})" for cell in front.left_out[:6])
        more = f" and {len(front.left_out) - 6} more" if len(front.left_out) > 6 else ""
        said.append(f"Not compared, and faint, because seeds are missing: {cells}{more}.")
    return " ".join(said)


def draw_marks(axes: Axes, front: Front) -> None:
    """A line a series with a marker a cell, bars of one standard deviation, and a legend."""
    axes.grid(True, color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    handles = []
    for index, line in enumerate(front.series):
        style = {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}
        _draw_series(axes, [point for point in _shown(front) if point.series == line], style)
        handles.append(Line2D([], [], label=line, linewidth=1.3, markerfacecolor="white", **style))  # type: ignore[arg-type]
    if not _shown(front):
        axes.text(0.5, 0.5, "no complete cell yet", ha="center", va="center", transform=axes.transAxes, color="#666666")
        axes.set(xticks=[], yticks=[])
    else:
        axes.legend(handles=handles, fontsize=8, frameon=True, framealpha=0.9, edgecolor="#cccccc")


def _draw_series(axes: Axes, points: Sequence[Point | LeftOut], style: dict[str, str]) -> None:
    """A line through the complete cells in order of beta, broken where one is incomplete, and each cell's marker and bars."""
    path = np.array([point.means[:2] if isinstance(point, Point) else (np.nan, np.nan) for point in points]).reshape(-1, 2)
    axes.plot(path[:, 0], path[:, 1], color=style["color"], linewidth=1.3, alpha=0.55, zorder=2)
    _draw_bars(axes, [point for point in points if isinstance(point, Point) and point.n > 1], style["color"])
    for point in points:
        x, y = point.means[:2]
        filled = isinstance(point, Point) and point.on_front
        alpha = 1.0 if isinstance(point, Point) else FAINT
        axes.plot(x, y, linestyle="none", markerfacecolor=style["color"] if filled else "white", markersize=7, zorder=4,
                  alpha=alpha, gid=f"{MARK}{point.cell_id}", **style)  # type: ignore[arg-type]  # fmt: skip


def _draw_bars(axes: Axes, points: Sequence[Point], colour: str) -> None:
    """One standard deviation on either side, of all points at once: a call for each took most of a figure's time."""
    if points:
        x, y = np.array([point.means[:2] for point in points]).T
        sd_x, sd_y = np.array([point.sds[:2] for point in points]).T
        axes.errorbar(x, y, sd_y, sd_x, color=colour, linestyle="none", elinewidth=0.9, capsize=2.5, alpha=0.6, zorder=3)


def labelled(front: Front) -> list[Point | LeftOut]:
    """The cells whose markers have labels: all; of more than `MOST_LABELLED` those on the front; none if those are more too."""
    cells = _shown(front)
    if len(cells) <= MOST_LABELLED:
        return cells
    members: list[Point | LeftOut] = [cell for cell in cells if isinstance(cell, Point) and cell.on_front]
    return members if len(members) <= MOST_LABELLED else []


def labels_said(front: Front) -> str:
    """Which markers have no label; empty where all have one."""
    if len(cells := _shown(front)) <= MOST_LABELLED:
        return ""
    return f"Of {len(cells)} cells, {'only those on the front have a label' if labelled(front) else 'none has a label'}."


def _shown(front: Front) -> list[Point | LeftOut]:
    """Every cell that has a mean, in order of beta within its series."""
    return sorted([*front.points, *(cell for cell in front.left_out if cell.means)], key=lambda cell: cell.beta)


def limit_frame(axes: Axes, front: Front) -> bool:
    """Let the means govern the frame; returns whether some bar is cut: one wild cell must not make the others a dot."""
    means = np.array([point.means[:2] for point in _shown(front)])
    if len(means) == 0:
        return False
    spreads = [(np.array(point.means[:2]), np.array(point.sds[:2])) for point in front.points if point.n > 1]
    ends = np.array([(mean - sd, mean + sd) for mean, sd in spreads]).reshape(-1, 2)
    cut = False
    for axis in (0, 1):
        low, high, frame = limits(means[:, axis], ends[:, axis])
        cut |= bool((ends[:, axis] < low).any() or (ends[:, axis] > high).any())
        (axes.set_ylim if axis else axes.set_xlim)(*frame)
    return cut


def limits(means: Floats, ends: Floats) -> tuple[float, float, tuple[float, float]]:
    """How low and how high bars may reach, and the frame: those of `ends` that reach no further, and a margin."""
    low, high = float(means.min()), float(means.max())
    span = (high - low) or (float(np.ptp(ends)) if len(ends) else 0.0) or abs(high) or 1.0
    room = 0.3 * span
    inner = ends[(low - room <= ends) & (ends <= high + room)]
    bottom, top = min([low, *inner]), max([high, *inner])
    return low - room, high + room, (bottom - 0.08 * span, top + 0.08 * span)


def label_marks(figure: Figure, axes: Axes, front: Front) -> None:
    """The beta of those `labelled` (and n, if seeds are missing), where it covers no label, marker, line or bar if it can."""
    figure.canvas.draw()
    figure.set_layout_engine("none")  # what was measured must not move again
    cells = _shown(front)
    centres = axes.transData.transform(np.array([cell.means[:2] for cell in cells]).reshape(-1, 2))
    taken = [Bbox.from_bounds(x - 7, y - 7, 14, 14) for x, y in centres]
    legend = axes.get_legend()
    if legend is not None:
        taken.append(legend.get_window_extent())
    strokes = strokes_of(axes)
    for cell in labelled(front):
        seeds = "" if isinstance(cell, Point) else f", {cell.n}/{cell.n_planned}"
        text = axes.annotate(
            f"β {spelled(cell.beta)}{seeds}", (cell.means[0], cell.means[1]), xytext=OFFSETS[0], textcoords="offset points",
            fontsize=7.5, zorder=5, color="#222222" if isinstance(cell, Point) else "#777777",
            path_effects=[effects.withStroke(linewidth=2, foreground="white")],
        )  # fmt: skip
        taken.append(place_label(text, axes.get_window_extent(), taken, strokes))


def strokes_of(axes: Axes) -> Floats:
    """(points, 2) in pixels: places along every drawn line and interval, close enough together that no label slips between."""
    lines = [line.get_xydata() for line in axes.lines if line.get_linestyle() != "None"]
    lines += [segment for collection in axes.collections for segment in collection.get_segments()]  # type: ignore[attr-defined]
    along = np.linspace(0, 1, 60)[:, None]
    places = [np.empty((0, 2))]
    for line in lines:
        corners = axes.transData.transform(np.asarray(line, dtype=np.float64))
        places += [a + along * (b - a) for a, b in zip(corners, corners[1:], strict=False)]
    strokes = np.concatenate(places)
    return strokes[np.isfinite(strokes).all(1)]


def place_label(text: Annotation, frame: Bbox, taken: Sequence[Bbox], strokes: Floats) -> Bbox:
    """Move a label to the cheapest of `OFFSETS` and return the pixels that it covers."""

    boxes = [_moved(text, offset) for offset in OFFSETS]
    others = np.array([other.extents for other in taken]).reshape(-1, 4)
    near = _within(strokes, Bbox.union(boxes))

    def cost(box: Bbox) -> float:
        outside = not (frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1)
        return 1e6 * outside + 1e3 * _overlap(box, others) + len(_within(near, box))

    costs = [cost(box) for box in boxes]
    return _moved(text, OFFSETS[costs.index(min(costs))])


def _within(points: Floats, box: Bbox) -> Floats:
    """Those of the points (P, 2) that are inside of the box."""
    return points[((points > box.min) & (points < box.max)).all(1)]


def _moved(text: Annotation, offset: tuple[int, int]) -> Bbox:
    text.set_position(offset)
    text.set_horizontalalignment("left" if offset[0] > 0 else "right" if offset[0] < 0 else "center")
    return text.get_window_extent()


def _overlap(box: Bbox, others: Floats) -> float:
    """The area that a box shares with others, (B, 4) as `Bbox.extents`: what is shared with two counts twice."""
    sides = np.minimum(box.max, others[:, 2:]) - np.maximum(box.min, others[:, :2])
    return float(sum(sides[(sides > 0).all(1)].prod(1).tolist()))
