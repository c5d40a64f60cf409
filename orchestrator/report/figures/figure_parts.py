"""What the figures share: frame, title, legend, caption, files. Figures are made without pyplot, so none has to be closed."""

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

from mopoe_core.storage.files import write_whole
from orchestrator.analysis.model_groups import Group
from orchestrator.report.figures.front_figure import COLOURS, FORMATS, MARKERS

CHARACTERS = 16.5  # of the caption, in an inch
LEGEND = 32  # characters of a line in the legend
MOST_NAMED = 6


def blank(width: float, height: float) -> Figure:
    """An empty figure of so many inches, that can measure its texts."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def title(what: str, group: Group, more: str = "") -> str:
    """What is shown, and of which data, scale, networks and how many seeds."""
    n = len(group.seeds)
    return f"{what}\n{group.label}{more}; n = {n} seed{'' if n == 1 else 's'}"


def frame(figure: Figure, heading: str, caption: str, handles: Sequence[Line2D]) -> None:
    """Title above, legend to the right of it, caption below."""
    width = figure.get_size_inches()[0]
    figure.suptitle(heading, x=0.01, ha="left", fontsize=10)
    figure.legend(handles=list(handles), loc="outside right upper", fontsize=8, frameon=False)
    figure.supxlabel(textwrap.fill(caption, int(width * CHARACTERS)), x=0.01, ha="left", fontsize=7, color="#444444")


def handle(label: str, index: int, width: float = 1.3) -> Line2D:
    """A legend's entry for the line of that index; width 0 for a marker alone."""
    colour, marker = style(index)
    label = "\n".join(textwrap.fill(line, LEGEND) for line in label.splitlines())
    return Line2D([], [], label=label, color=colour, marker=marker, linewidth=width)


def style(index: int) -> tuple[str, str]:
    """Colour and marker of the line of that index."""
    return COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]


def dress(axes: Axes) -> None:
    """A light grid and no frame above and to the right."""
    axes.grid(True, color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def listed(texts: Sequence[str]) -> str:
    """The first few, and how many more there are."""
    more = f" and {len(texts) - MOST_NAMED} more" if len(texts) > MOST_NAMED else ""
    return ", ".join(texts[:MOST_NAMED]) + more


def save(figure: Figure, stem: Path, suffixes: Iterable[str] = FORMATS) -> list[Path]:
    """Write `<stem>.<suffix>` for each suffix, whole or not at all and the same to the byte for the same figure."""
    written = []
    for suffix in suffixes:
        path = stem.parent / f"{stem.name}.{suffix}"
        write_whole(
            path,
            lambda temporary, s=suffix: figure.savefig(temporary, format=s, dpi=200, metadata=FORMATS[s]),  # type: ignore[misc]
        )
        written.append(path)
    return written


def keep_legible(axes: Axes) -> None:
    """Take away labels that cover one another or leave the frame."""
    kept: list[Bbox] = []
    place = axes.get_window_extent()
    for text in [text for text in axes.texts if isinstance(text, Annotation)]:
        box = text.get_window_extent()
        inside = place.x0 <= box.x0 and box.x1 <= place.x1 and place.y0 <= box.y0 and box.y1 <= place.y1
        if not inside or any(box.overlaps(other) for other in kept):
            text.remove()
        else:
            kept.append(box)
