"""The style of all figures: letters, frame, title, legend, caption; and the function that saves them.

Figures are drawn without a display, and the same input gives the same bytes. They are made without pyplot, so they need not be closed.
Letter sizes are relative ("small") to the size that `drawn_for` sets, so that a figure can be drawn for a page and for a paper.
"""

import re
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
from orchestrator.spec.proper_names import proper_group
from orchestrator.spec.sections import Objective

BASE = 9.0
"""Size of the letters of a figure on a page, in points."""
matplotlib.rcParams.update(
    {
        "svg.hashsalt": "mopoe",  # element ids would otherwise be random
        "svg.fonttype": "none",  # letters as text take a third of the size and time of letters as outlines
        "pdf.fonttype": 42,  # fonts are embedded as TrueType, which publishers ask for
        "font.sans-serif": ["DejaVu Sans", "Verdana"],  # Verdana has the same widths, and is on systems without DejaVu
        "font.size": BASE,
        "text.hinting": "none",  # measured as a browser draws them: hinted letters are 5 % narrower, so that the longest labels were cut
        "text.parse_math": False,  # a "$" in a name is a "$"
        "axes.titlesize": "medium",
        "xtick.labelsize": "small",
        "ytick.labelsize": "small",
        **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    }
)

FAINT = 0.35
CAP = 2.2  # half the width of a bar's cap, in points
FORMATS = {
    "svg": {"Date": None, "Format": None, "Type": None, "Creator": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""File formats, with the metadata to leave out, because it would make two files of one figure differ, or has no use."""
PNG = {"compress_level": 3}  # takes half the time of the usual 6, with a twentieth more bytes
SD_BARS = "± 1 standard deviation over seeds"
CHARACTERS = 19
"""Characters of the caption in an inch, with letters of the size `BASE`."""
TITLE_CHARACTERS = 15
"""Characters of the title in an inch, with letters of the size `BASE`."""
LEGEND = 32  # characters of a line in the legend
HANDLE = 3.6
"""Length of the line in a legend's entry, in letters: the longest pattern of dashes, beside the marker in its middle."""
_IN_LEGEND: dict[str, Any] = {"fontsize": "small", "frameon": False, "handlelength": HANDLE}
_ABOVE: dict[str, Any] = _IN_LEGEND | {"borderaxespad": 0.1, "columnspacing": 1.2, "handletextpad": 0.5}
_BREAK = re.compile(r"(?<=[ =,])(?! )")
"""The places where a line of a legend may end."""
MOST_NAMED = 6


@dataclass(frozen=True)
class Look:
    """The width and letters of figures, for a page or a paper."""

    width: float | None = None
    """In inches; None for the default of each figure."""
    font_size: float = BASE
    """In points."""
    has_words: bool = True
    """Whether title and caption are part of the figure; a paper writes them below it."""


@dataclass(frozen=True)
class NamedFigure:
    """A figure with its name, and the numbers in it."""

    name: str
    figure: Figure
    numbers: pd.DataFrame


ON_A_PAGE = Look()
FOR_A_PAPER = Look(font_size=8, has_words=False)
_LOOK: ContextVar[Look] = ContextVar("look", default=ON_A_PAGE)


@contextmanager
def drawn_for(look: Look) -> Iterator[None]:
    """Gives this look to all figures that are drawn and saved in the context."""
    token = _LOOK.set(look)
    try:
        with matplotlib.rc_context({"font.size": look.font_size}):
            yield
    finally:
        _LOOK.reset(token)


def blank(width: float, height: float, lowest: float = 0.0) -> Figure:
    """Returns an empty figure that can measure its texts. `width` and `height` are in inches.

    If the look has a width, the figure has this width, and a height in proportion. The height is then at least `lowest`, because letters
    do not shrink with a figure.
    """
    look = _LOOK.get()
    if look.width is not None:
        width, height = look.width, max(lowest, height * look.width / width)
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def keep_high(figure: Figure, axes: Axes, share: float = 0.42) -> None:
    """Make the figure higher until the axes have this share of its width. A long legend or caption may have left them less."""
    engine = figure.get_layout_engine()
    assert engine is not None, "the figure has been settled, so that its axes stay as they are"
    engine.execute(figure)
    width, height = figure.get_size_inches()
    missing = share * width - axes.get_position().height * height
    if missing > 0:
        figure.set_size_inches(width, height + missing)


def settle(figure: Figure) -> None:
    """Lay the figure out once and for all. Otherwise each file and each placed label would lay it out again."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine(None)  # with any engine, also "none", saving draws a figure twice


def save(figure: Figure, stem: Path, suffixes: Iterable[str] = ("svg",)) -> list[Path]:
    """Write `<stem>.<suffix>` for each suffix, whole or not at all, and return the paths. The same figure gives the same bytes."""
    settle(figure)
    written = []
    for suffix in suffixes:
        path = stem.parent / f"{stem.name}.{suffix}"
        options: dict[str, Any] = {"pil_kwargs": PNG} if suffix == "png" else {}
        write_whole(path, partial(figure.savefig, format=suffix, dpi=200, metadata=FORMATS[suffix], **options))
        written.append(path)
    return written


def save_numbers(numbers: pd.DataFrame, stem: Path) -> Path:
    """Write the numbers in a figure as `<stem>.csv`, with every digit, and return the path."""
    path = stem.parent / f"{stem.name}.csv"
    write_whole(path, lambda temporary: numbers.to_csv(temporary, index=False))
    return path


def title(what: str, group: ModelGroup, more: str = "") -> str:
    """Returns a title: what is shown, and below it the group's data, scale, networks and number of seeds."""
    n = len(group.seeds)
    return f"{what}\n{proper_group(group.label)}{more}; n = {n} seed{'' if n == 1 else 's'}"


def frame(figure: Figure, heading: str, caption: str, handles: Sequence[Line2D]) -> None:
    """Put the title above the figure, the legend to the right of it, and the caption below it. In a paper the legend is above it."""
    write_words(figure, heading, caption)
    if handles and _LOOK.get().has_words:
        figure.legend(handles=list(handles), loc="outside right upper", **_IN_LEGEND)
    elif handles:
        figure.legend(handles=list(handles), loc="outside upper left", ncols=_columns(figure, handles), **_ABOVE)


def write_words(figure: Figure, heading: str, caption: str) -> None:
    """Put the title above the figure and the caption below it, in lines that fit. A figure for a paper has neither."""
    look = _LOOK.get()
    if not look.has_words:
        return
    width = figure.get_size_inches()[0] * BASE / look.font_size
    heading = "\n".join(textwrap.fill(line, int(width * TITLE_CHARACTERS)) for line in heading.splitlines())
    figure.suptitle(heading, x=0.01, ha="left", fontsize="small")
    caption = textwrap.fill(caption, int(width * CHARACTERS))
    figure.supxlabel(caption, x=0.01, ha="left", fontsize="x-small", color=FAINT_INK)


def handle(label: str, style: SeriesStyle, width: float = 1.3) -> Line2D:
    """Returns a legend's entry for a series. A line width of 0 gives a marker alone."""
    label = "\n".join(_wrapped(line) for line in label.splitlines())
    return Line2D(
        [], [], label=label, color=style.colour, marker=style.marker, linewidth=width, linestyle=style.line, markersize=5
    )


def _wrapped(text: str) -> str:
    """Returns the text in lines of at most `LEGEND` characters, which end at a space, a `=` or a comma. A longer word is one line."""
    lines = [""]
    for part in _BREAK.split(text):
        if lines[-1] and len(f"{lines[-1]}{part}".rstrip()) > LEGEND:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)


def legend_above(axes: Axes, handles: Sequence[Line2D]) -> None:
    """Put a legend between title and axes, in as many columns as fit the width of the figure."""
    figure = axes.figure
    assert isinstance(figure, Figure)
    axes.legend(handles=list(handles), loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=_columns(figure, handles), **_ABOVE)


def _columns(figure: Figure, handles: Sequence[Line2D]) -> int:
    """Returns how many columns a legend has."""
    room = figure.get_size_inches()[0] * 13 * BASE / _LOOK.get().font_size
    widest = max(len(line) for handle in handles for line in str(handle.get_label()).splitlines()) + 9
    return max(1, min(len(handles), int(room / widest)))


def panels_across(most: int, width: float) -> int:
    """Returns how many panels of `width` inches are side by side: `most`, or as many of them as fit the width of a paper."""
    look_width = _LOOK.get().width
    return most if look_width is None else max(1, min(most, round(look_width / width)))


def few_ticks(axes: Axes, across: int, up: int = 6) -> None:
    """Limit the number of ticks on both axes, so that their labels do not touch."""
    axes.xaxis.set_major_locator(MaxNLocator(across))
    axes.yaxis.set_major_locator(MaxNLocator(up))


def dress(axes: Axes) -> None:
    """Draw a light grid, and remove the frame above and to the right."""
    axes.grid(True, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def nothing_yet(axes: Axes) -> None:
    """Write in the axes that no cell is complete yet."""
    axes.text(0.5, 0.5, "no complete cell yet", ha="center", va="center", transform=axes.transAxes, color=FAINT_INK)
    axes.set(xticks=[], yticks=[])


def axis_label(metric: str, unit: str) -> str:
    """Returns an axis label for a metric with its unit."""
    names = {
        "coherence/joint": "joint coherence",
        "log_likelihood/joint": "log p(X), all modalities given",
        "log_likelihood_paper_view/joint": "log p(X) as the released code computes it, all modalities given",
    }
    return f"{names.get(metric, metric)} ({unit})"


def objective_label(objective: Objective, unit: str) -> str:
    """Returns an axis label for an objective with its unit, which says so if lower is better."""
    return axis_label(objective.metric, unit) + (", lower is better" if objective.goal == "min" else "")


def bars_text(are_cut: bool) -> str:
    """Returns the caption's sentence on bars. `are_cut` says that the frame cuts some of them."""
    return f"Bars: {SD_BARS}{', cut at the frame where they are longer' if are_cut else ''}."


def listed(texts: Sequence[str]) -> str:
    """Returns the first few texts, and how many more there are."""
    return first_of(texts, MOST_NAMED)


def halo() -> dict[str, object]:
    """Returns the style of a patch behind a label in the page's colour, which keeps the label legible on a line."""
    return {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 0.6}
