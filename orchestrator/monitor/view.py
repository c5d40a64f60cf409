"""A sweep as text for a terminal, for `sweep` while it runs and for `status`. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from io import StringIO
from itertools import groupby

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mopoe_core.terminal import escaped
from orchestrator.monitor import durations
from orchestrator.monitor.eta import Capacity, TrialView, running_workers, seconds_left, stack_seconds_left
from orchestrator.monitor.front_table import FrontTable
from orchestrator.monitor.running_table import RunningTable
from orchestrator.monitor.shown_front import ShownFront
from orchestrator.spec.proper_names import proper

MARKS = {"damaged": "?", "pending": "·", "running": "◐", "completed": "●", "diverged": "!", "failed": "✗", "cancelled": "○"}
COLOURS = {
    "damaged": "red",
    "pending": "dim",
    "running": "yellow",
    "completed": "green",
    "diverged": "magenta",
    "failed": "red",
    "cancelled": "dim",
}
MOST_RUNNING = 20
MOST_FAILURES = 5
MOST_SEEDS = 12  # up to this number, each seed of a cell has a mark; above it, marks are counted
LATEST = 20  # cells that are shown of a search
MOST_CELLS = 60  # cells that are shown of a model in any other sweep


def summary(views: Sequence[TrialView], capacity: Capacity, to_be_proposed: int = 0) -> str:
    """Returns counts by status, the resources in use, and the remaining time, as one line.

    `to_be_proposed` is how many trials a search has still to propose; the remaining time includes them.
    """
    counts = Counter(view.status for view in views)
    statuses = ", ".join(f"{counts[status]} {status}" for status in MARKS if counts[status]) or "0"
    parts = [f"{statuses} of {len(views)} trials"]
    workers = running_workers(views)
    if workers:
        parts.append(capacity.in_use(workers))
    return "; ".join([*parts, *_time_to_go(views, capacity, workers, to_be_proposed)])


def _time_to_go(views: Sequence[TrialView], capacity: Capacity, workers: int, to_be_proposed: int) -> list[str]:
    if all(view.is_over for view in views):
        return []
    seconds = seconds_left(views, capacity.workers(workers), to_be_proposed)
    if seconds is None:
        return ["remaining time unknown until a first epoch is done"]
    return [f"{durations.about(seconds)} to go, {durations.done_about(seconds, datetime.now())}"]


def running_lines(views: Sequence[TrialView]) -> list[str]:
    """Returns a plain line for each running trial, with its epoch."""
    running = [view for view in views if view.status == "running"]
    lines = [f"{view.name}: epoch {view.epoch}/{view.trial.config.epochs}" for view in running[:MOST_RUNNING]]
    return [*lines, f"and {len(running) - MOST_RUNNING} more"] if len(running) > MOST_RUNNING else lines


def failure_lines(views: Sequence[TrialView]) -> list[str]:
    """Returns a line for each of the last trials whose last attempt failed, with the last line of the error."""
    failures = [view for view in views if view.reason and view.status != "completed" and not view.stopped]
    lines = [f"{proper(view.name)} ({view.status}): {view.reason}" for view in failures[-MOST_FAILURES:]]
    return [*lines, f"and {len(failures) - MOST_FAILURES} more"] if len(failures) > MOST_FAILURES else lines


@dataclass(frozen=True)
class Shown:
    """The content of the view of a sweep at one moment."""

    heading: str
    views: Sequence[TrialView]
    capacity: Capacity
    fronts: Sequence[ShownFront] = ()
    is_search: bool = False
    note: str = ""
    """A line below the summary."""
    collapsed: Sequence[str] = ()
    """A line for each collapsed cell; it begins with the cell's label."""
    to_be_proposed: int = 0
    """How many trials a search may still propose."""
    height: int | None = None
    """Lines of the terminal if the view is drawn again and again; None if it is printed once."""


def view(shown: Shown) -> Group:
    """Returns the heading with the summary, a note, running trials, the front so far, collapses, failures, and a mark for each seed.

    The marks come last, because a terminal with few lines cuts off the end.
    """
    parts: list[RenderableType] = [_text(f"{shown.heading}: {summary(shown.views, shown.capacity, shown.to_be_proposed)}")]
    if shown.note:
        parts.append(_text(shown.note))
    parts += _running(shown)
    if shown.fronts:
        parts.append(FrontTable("front so far", shown.fronts))
    sections = (
        ("collapsed", [_with_title(line) for line in shown.collapsed], COLOURS["diverged"]),
        ("failures", failure_lines(shown.views), COLOURS["failed"]),
    )
    for title, lines, style in sections:
        if lines:
            parts += [_text(title, "bold"), *(_below(line, style, shown.height is not None) for line in lines)]
    parts += _marks(shown)
    if shown.height is not None:
        parts.append(Text(""))  # a line for the terminal's ^C, which would otherwise lengthen the last line
    return Group(*parts)


def plain(renderable: RenderableType, width: int) -> str:
    """Returns a view as text without colours."""
    console = Console(file=StringIO(), width=width)
    segments = console.render(renderable, console.options)
    return "\n".join(line.rstrip() for line in "".join(segment.text for segment in segments).splitlines())


def _running(shown: Shown) -> list[RenderableType]:
    running = [view for view in shown.views if view.status == "running"]
    if not running:
        return []
    most = MOST_RUNNING if shown.height is None else max(3, min(MOST_RUNNING, shown.height // 3))
    table = RunningTable(running[:most], stack_seconds_left(shown.views), MARKS["running"], COLOURS["running"])
    if len(running) <= most:
        return [table]
    return [table, _text(f"    and {len(running) - most} more", "dim")]


def _marks(shown: Shown) -> list[RenderableType]:
    """Returns the legend, and a row for each model with its cells and a mark for each seed. Of a search only the latest cells."""
    if not shown.views:
        return []
    by_cell: dict[str, list[TrialView]] = {}
    for view in shown.views:
        by_cell.setdefault(view.trial.cell.id, []).append(view)
    cells = list(by_cell.values())[-LATEST:] if shown.is_search else list(by_cell.values())
    by_model: dict[str, list[list[TrialView]]] = {}
    for seeds in cells:
        by_model.setdefault(seeds[0].trial.config.model, []).append(seeds)
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    for model, of_model in by_model.items():
        table.add_row(_text(f"  {proper(model)}"), _row(of_model))
    heading = legend(shown.views)
    if len(cells) < len(by_cell):
        heading.append(f"  {len(by_cell)} cells, the latest {LATEST}:", style="dim")
    return [heading, table]


def legend(views: Sequence[TrialView]) -> Text:
    """Returns the meaning of the marks of these trials."""
    statuses = {view.status for view in views}
    text = Text("seeds")
    text.stylize("bold")
    for status in MARKS:
        if status in statuses:
            text.append("  ").append(MARKS[status], style=COLOURS[status]).append(f" {status}", style="dim")
    return text


def _row(cells: Sequence[list[TrialView]]) -> Columns:
    """Returns the marks of a model's cells. If there are too many cells, those with open trials come first."""
    surplus = len(cells) - MOST_CELLS
    if surplus <= 0:
        return Columns([_cell(seeds) for seeds in cells], padding=(0, 3))
    open_first = sorted(cells, key=lambda seeds: all(view.is_over for view in seeds))
    items = [_cell(seeds) for seeds in open_first[:MOST_CELLS]]
    return Columns([*items, _text(f"and {surplus} more cells", "dim")], padding=(0, 3))


def _cell(seeds: Sequence[TrialView]) -> Text:
    """Returns a cell's label without its model, and a mark for each seed; if there are many seeds, runs of one status as a count."""
    label = proper(seeds[0].name.rpartition(" seed=")[0]).partition(" ")[2]
    text = Text(escaped(f"{label} "), style="dim", no_wrap=True, overflow="ellipsis")
    are_few = len(seeds) <= MOST_SEEDS
    for status, run in groupby(seeds, key=lambda view: view.status):
        count = len(list(run))
        text.append(MARKS[status] * count if are_few else f"{count}{MARKS[status]}", style=f"not dim {COLOURS[status]}")
    return text


def _with_title(line: str) -> str:
    label, colon, rest = line.partition(": ")
    return f"{proper(label)}{colon}{rest}" if colon else line


def _below(line: str, style: str, is_cut: bool) -> RenderableType:
    """Returns an indented line for below a title: cut to the width if `is_cut`, else wrapped with the same indent."""
    text = _text(line.replace("\n", " "), style)
    if is_cut:
        text.no_wrap, text.overflow = True, "ellipsis"
    return Padding(text, (0, 0, 0, 2))


def _text(line: str, style: str = "") -> Text:
    """Returns text for a terminal, with control characters escaped: it may come from a record or an error."""
    return Text(escaped(line), style=style)


def clock(seconds: float) -> str:
    """Returns a duration as `1:02:03`, or as `2:03` below an hour."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
