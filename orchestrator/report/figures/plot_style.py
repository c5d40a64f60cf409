"""The style of all figures: colours, frame, title, legend, caption; and the one function that saves them.

Figures are drawn without a display, and the same input gives the same bytes. They are made without pyplot, so none has to be closed.
"""

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mopoe_core.storage.whole_files import write_whole
from orchestrator.analysis.model_groups import ModelGroup
from orchestrator.spec.sections import Objective

matplotlib.rcParams["svg.hashsalt"] = "mopoe"  # element ids would otherwise be random
matplotlib.rcParams["svg.fonttype"] = "path"
matplotlib.rcParams["text.parse_math"] = False  # a "$" in a name is a "$"

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, whose colours can be told apart with every common colour blindness."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
FAINT = 0.35
FORMATS = {"svg": {"Date": None}, "png": {"Software": None}, "pdf": {"CreationDate": None, "Creator": None, "Producer": None}}
"""File formats, with the metadata that would make two files of one figure differ."""
SD_BARS = "± 1 standard deviation over seeds"
CHARACTERS = 16.5  # of the caption, in an inch
LEGEND = 32  # characters of a line in the legend
MOST_NAMED = 6


def blank(width: float, height: float) -> Figure:
    """An empty figure of so many inches, that can measure its texts."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, stem: Path, suffixes: Iterable[str] = FORMATS) -> list[Path]:
    """Write `<stem>.<suffix>` for each suffix, whole or not at all; the same figure gives the same bytes."""
    written = []
    for suffix in suffixes:
        path = stem.parent / f"{stem.name}.{suffix}"
        write_whole(
            path,
            lambda temporary, s=suffix: figure.savefig(temporary, format=s, dpi=200, metadata=FORMATS[s]),  # type: ignore[misc]
        )
        written.append(path)
    return written


def title(what: str, group: ModelGroup, more: str = "") -> str:
    """What is shown, and its data, scale, networks and number of seeds."""
    n = len(group.seeds)
    return f"{what}\n{group.label}{more}; n = {n} seed{'' if n == 1 else 's'}"


def frame(figure: Figure, heading: str, caption: str, handles: Sequence[Line2D]) -> None:
    """Put the title above, the legend to the right of it, and the caption below."""
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
    """Draw a light grid, and no frame above and to the right."""
    axes.grid(True, color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def nothing_yet(axes: Axes) -> None:
    """Say that there is nothing to show yet."""
    axes.text(0.5, 0.5, "no complete cell yet", ha="center", va="center", transform=axes.transAxes, color="#666666")
    axes.set(xticks=[], yticks=[])


def axis_label(metric: str, unit: str) -> str:
    """A metric as an axis label, with its unit."""
    names = {
        "coherence/joint": "joint coherence",
        "log_likelihood/joint": "log p(X), all modalities given",
        "log_likelihood_paper_view/joint": "log p(X) as the released code computes it, all modalities given",
    }
    return f"{names.get(metric, metric)} ({unit})"


def objective_label(objective: Objective, unit: str) -> str:
    """An objective as an axis label, with its unit; says so if lower is better."""
    return axis_label(objective.metric, unit) + (", lower is better" if objective.goal == "min" else "")


def bars_text(are_cut: bool) -> str:
    """What the bars of a figure are; `are_cut` if the frame cuts some of them."""
    return f"Bars: {SD_BARS}{', cut at the frame where they are longer' if are_cut else ''}."


def listed(texts: Sequence[str]) -> str:
    """The first few texts, and how many more there are."""
    more = f" and {len(texts) - MOST_NAMED} more" if len(texts) > MOST_NAMED else ""
    return ", ".join(texts[:MOST_NAMED]) + more
