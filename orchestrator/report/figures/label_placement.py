"""Places the labels of markers in a figure so that, if possible, they cover no marker, line or other label."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from orchestrator.analysis.dominance import Floats
from orchestrator.report.figures.plot_style import halo, settle
from orchestrator.report.figures.theme import INK

OFFSETS = [(round(r * dx), round(r * dy) - 3) for r in (9, 15, 22) for dx, dy in (
    (0.7, 0.7), (0.7, -0.8), (-0.7, 0.7), (-0.7, -0.8), (0, 1), (0, -1.1), (1, 0), (-1, 0),
)]  # fmt: skip
"""The allowed positions of a label, in points from its marker, in order of preference. The 3 moves small text to its baseline."""

ALIGNMENTS = {1: "left", 0: "center", -1: "right"}


class LabelPlacer:
    """Puts labels beside markers, one after another. The layout of the figure is fixed first."""

    def __init__(self, figure: Figure, axes: Axes, centres: Sequence[tuple[float, ...]]) -> None:
        """Measures the figure. `centres` has the markers that no label should cover, in the units of the axes."""
        settle(figure)  # measured positions must not change later
        self._axes = axes
        pixels = axes.transData.transform(np.array(centres).reshape(-1, 2))
        self._taken = [Bbox.from_bounds(x - 7, y - 7, 14, 14) for x, y in pixels]
        legend = axes.get_legend()
        if legend is not None:
            self._taken.append(legend.get_window_extent())
        self._strokes = strokes_of(axes)

    def add(self, text: str, at: tuple[float, float], colour: str = INK, zorder: float = 5) -> None:
        """Write a label beside a marker."""
        label = self._axes.annotate(
            text, at, xytext=OFFSETS[0], textcoords="offset points", fontsize="small", zorder=zorder, color=colour, bbox=halo()
        )
        self._taken.append(place_label(label, self._axes.get_window_extent(), self._taken, self._strokes))


def strokes_of(axes: Axes) -> Floats:
    """Returns (points, 2) in pixels: points along every drawn line and interval, so close together that no label fits between them."""
    lines = [line.get_xydata() for line in axes.lines if line.get_linestyle() != "None"]
    lines += [segment for collection in axes.collections for segment in collection.get_segments()]  # type: ignore[attr-defined]
    shares = np.linspace(0, 1, 60)[:, None]
    segments = [np.empty((0, 2))]
    for line in lines:
        corners = axes.transData.transform(np.asarray(line, dtype=np.float64))
        segments += [start + shares * (end - start) for start, end in zip(corners, corners[1:], strict=False)]
    points = np.concatenate(segments)
    return points[np.isfinite(points).all(1)]


def place_label(text: Annotation, frame: Bbox, taken: Sequence[Bbox], strokes: Floats) -> Bbox:
    """Move a label to the cheapest of `OFFSETS`, and return the box of pixels that it covers.

    `taken` has the boxes that labels should not cover, and `strokes` the points of lines. Leaving the frame costs most.
    """
    boxes = _boxes(text)
    others = np.array([other.extents for other in taken]).reshape(-1, 4)
    close_strokes = _within(strokes, Bbox.union(boxes))

    def cost(box: Bbox) -> float:
        return 1e6 * (not _contains(frame, box)) + 1e3 * _overlap(box, others) + len(_within(close_strokes, box))

    costs = [cost(box) for box in boxes]
    offset = OFFSETS[costs.index(min(costs))]
    text.set(position=offset, horizontalalignment=ALIGNMENTS[np.sign(offset[0])])
    return boxes[OFFSETS.index(offset)]


def _boxes(text: Annotation) -> list[Bbox]:
    """Returns the pixels that a label covers at each of `OFFSETS`.

    The label is measured once. To measure it 24 times took a fifth of a figure's time.
    """
    text.set(position=OFFSETS[0], horizontalalignment="left")
    start, figure = text.get_window_extent(), text.get_figure(root=True)
    assert figure is not None
    boxes = []
    for x, y in OFFSETS:
        aligned = {1: 0.0, 0: -start.width / 2, -1: -start.width}[np.sign(x)]
        right, up = (np.array([x, y]) - OFFSETS[0]) * figure.dpi / 72
        boxes.append(start.translated(right + aligned, up))
    return boxes


def _contains(frame: Bbox, box: Bbox) -> bool:
    """Whether a box is inside the frame."""
    return bool(frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1)


def _within(points: Floats, box: Bbox) -> Floats:
    """Returns the points (P, 2) that are inside the box."""
    return points[((points > box.min) & (points < box.max)).all(1)]


def _overlap(box: Bbox, others: Floats) -> float:
    """Returns the area that a box shares with others, (B, 4) as `Bbox.extents`. An area that is shared with two counts twice."""
    sides = np.minimum(box.max, others[:, 2:]) - np.maximum(box.min, others[:, :2])
    return float(sum(sides[(sides > 0).all(1)].prod(1).tolist()))


def keep_legible(axes: Axes) -> None:
    """Remove labels that cover one another or leave the frame."""
    legible: list[Bbox] = []
    frame = axes.get_window_extent()
    for text in [text for text in axes.texts if isinstance(text, Annotation)]:
        box = text.get_window_extent()
        if _contains(frame, box) and not any(box.overlaps(other) for other in legible):
            legible.append(box)
        else:
            text.remove()
