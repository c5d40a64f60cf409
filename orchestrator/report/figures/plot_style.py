"""The style of all figures: letters, frame, title, legend, caption; and the one function that saves them.

Figures are drawn without a display, and the same input gives the same bytes. They are made without pyplot, so none has to be closed.
Sizes of letters are relative ("small") to the one that `drawn_for` sets, so that a figure can be drawn for a page and for a paper.
"""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mopoe_core.spelling import first_of
from mopoe_core.storage.whole_files import write_whole
from orchestrator.analysis.model_groups import ModelGroup
from orchestrator.report.figures.model_styles import SeriesStyle
from orchestrator.report.figures.theme import FAINT_INK, GRID, INK, PAPER
from orchestrator.spec.sections import Objective

BASE = 9.0
"""Size of the letters of a figure on a page, in points."""
matplotlib.rcParams.update(
    {
        "svg.hashsalt": "mopoe",  # element ids would otherwise be random
        "svg.fonttype": "none",  # letters as text: a third of the size and time of letters as outlines
        "pdf.fonttype": 42,  # fonts are embedded as TrueType, which publishers ask for
        "font.sans-serif": ["DejaVu Sans", "Verdana"],  # Verdana has the same widths, and is where DejaVu is not
        "font.size": BASE,
        "text.parse_math": False,  # a "$" in a name is a "$"
        "axes.titlesize": "medium",
        "xtick.labelsize": "small",
        "ytick.labelsize": "small",
        **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    }
)

FAINT = 0.35
CAP = 2.2  # points from the end of a bar to either side
FORMATS = {
    "svg": {"Date": None, "Format": None, "Type": None, "Creator": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""File formats, with the metadata that would make two files of one figure differ, or say nothing."""
PNG = {"compress_level": 3}  # half the time of the usual 6, for a twentieth more bytes
SD_BARS = "± 1 standard deviation over seeds"
CHARACTERS = 19  # of the caption, in an inch, where letters have the size `BASE`
TITLE_CHARACTERS = 15  # so too
LEGEND = 32  # characters of a line in the legend
MOST_NAMED = 6


@dataclass(frozen=True)
class Look:
    """What a figure is drawn for."""

    width: float | None = None
    """In inches; None for the figure's own."""
    font_size: float = BASE
    """In points."""
    has_words: bool = True
    """Whether title and caption are in the figure; in a paper they stand below it."""


@dataclass(frozen=True)
class NamedFigure:
    """A figure and the numbers behind it."""

    name: str
    figure: Figure
    numbers: pd.DataFrame


ON_A_PAGE = Look()
FOR_A_PAPER = Look(font_size=8, has_words=False)
_LOOK: ContextVar[Look] = ContextVar("look", default=ON_A_PAGE)


@contextmanager
def drawn_for(look: Look) -> Iterator[None]:
    """Figures that are drawn and saved within have this look."""
    token = _LOOK.set(look)
    try:
        with matplotlib.rc_context({"font.size": look.font_size}):
            yield
    finally:
        _LOOK.reset(token)


def blank(width: float, height: float, lowest: float = 0.0) -> Figure:
    """An empty figure that can measure its texts: of so many inches, or as wide as the look asks, with a height in proportion.

    It is not less than `lowest` high, because letters do not shrink with a figure.
    """
    look = _LOOK.get()
    if look.width is not None:
        width, height = look.width, max(lowest, height * look.width / width)
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def settle(figure: Figure) -> None:
    """Give everything in the figure its final place, once: each file and each label that is placed would lay it out again."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine(None)  # with any engine, also "none", saving draws a figure twice


def save(figure: Figure, stem: Path, suffixes: Iterable[str] = ("svg",)) -> list[Path]:
    """Write `<stem>.<suffix>` for each suffix, whole or not at all; the same figure gives the same bytes."""
    settle(figure)
    written = []
    for suffix in suffixes:
        path = stem.parent / f"{stem.name}.{suffix}"
        options: dict[str, Any] = {"pil_kwargs": PNG} if suffix == "png" else {}
        write_whole(path, partial(figure.savefig, format=suffix, dpi=200, metadata=FORMATS[suffix], **options))
        written.append(path)
    return written


def save_numbers(numbers: pd.DataFrame, stem: Path) -> Path:
    """Write the numbers behind a figure as `<stem>.csv`, with every digit."""
    path = stem.parent / f"{stem.name}.csv"
    write_whole(path, lambda temporary: numbers.to_csv(temporary, index=False))
    return path


def title(what: str, group: ModelGroup, more: str = "") -> str:
    """What is shown, and its data, scale, networks and number of seeds."""
    n = len(group.seeds)
    return f"{what}\n{group.label}{more}; n = {n} seed{'' if n == 1 else 's'}"


def frame(figure: Figure, heading: str, caption: str, handles: Sequence[Line2D]) -> None:
    """Put the title above, the legend to the right of it, and the caption below; in a paper the legend is above."""
    write_words(figure, heading, caption)
    if handles and _LOOK.get().has_words:
        figure.legend(handles=list(handles), loc="outside right upper", fontsize="small", frameon=False)
    elif handles:
        figure.legend(
            handles=list(handles), loc="outside upper left", ncols=_columns(figure, handles), fontsize="small", frameon=False,
            borderaxespad=0.1, columnspacing=1.2, handletextpad=0.5, handlelength=1.8,
        )  # fmt: skip


def write_words(figure: Figure, heading: str, caption: str) -> None:
    """Put the title above and the caption below, in lines that fit; a figure for a paper has neither."""
    look = _LOOK.get()
    if look.has_words:
        width = figure.get_size_inches()[0] * BASE / look.font_size
        heading = "\n".join(textwrap.fill(line, int(width * TITLE_CHARACTERS)) for line in heading.splitlines())
        figure.suptitle(heading, x=0.01, ha="left", fontsize="small")
        caption = textwrap.fill(caption, int(width * CHARACTERS))
        figure.supxlabel(caption, x=0.01, ha="left", fontsize="x-small", color=FAINT_INK)


def handle(label: str, style: SeriesStyle, width: float = 1.3) -> Line2D:
    """A legend's entry for a series; width 0 for a marker alone."""
    label = "\n".join(textwrap.fill(line, LEGEND) for line in label.splitlines())
    return Line2D(
        [], [], label=label, color=style.colour, marker=style.marker, linewidth=width, linestyle=style.line, markersize=5
    )


def legend_above(axes: Axes, handles: Sequence[Line2D]) -> None:
    """Put a legend between title and axes, in as many columns as the figure is wide enough for."""
    figure = axes.figure
    assert isinstance(figure, Figure)
    axes.legend(
        handles=list(handles), loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=_columns(figure, handles),
        fontsize="small", frameon=False, borderaxespad=0.1, columnspacing=1.2, handletextpad=0.5, handlelength=1.8,
    )  # fmt: skip


def _columns(figure: Figure, handles: Sequence[Line2D]) -> int:
    """How many entries of a legend stand side by side."""
    room = figure.get_size_inches()[0] * 13 * BASE / _LOOK.get().font_size
    widest = max(len(line) for handle in handles for line in str(handle.get_label()).splitlines()) + 6
    return max(1, min(len(handles), int(room / widest)))


def panels_across(most: int, width: float) -> int:
    """How many panels of so many inches stand side by side: the most, or as many as the width that a paper asks for has room for."""
    asked = _LOOK.get().width
    return most if asked is None else max(1, min(most, round(asked / width)))


def few_ticks(axes: Axes, across: int, up: int = 6) -> None:
    """Let an axis of numbers have about so many ticks, so that their labels do not touch."""
    axes.xaxis.set_major_locator(MaxNLocator(across))
    axes.yaxis.set_major_locator(MaxNLocator(up))


def dress(axes: Axes) -> None:
    """Draw a light grid, and no frame above and to the right."""
    axes.grid(True, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def nothing_yet(axes: Axes) -> None:
    """Say that there is nothing to show yet."""
    axes.text(0.5, 0.5, "no complete cell yet", ha="center", va="center", transform=axes.transAxes, color=FAINT_INK)
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
    """As many texts as a caption has room for, and how many more there are."""
    return first_of(texts, MOST_NAMED)


def halo() -> dict[str, object]:
    """What keeps a label legible where it stands on a line: a patch of the page's colour behind it."""
    return {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 0.6}
