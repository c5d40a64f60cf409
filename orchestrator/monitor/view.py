"""A sweep as text for a terminal: what `sweep` shows while it runs and `status` at any time. Pure."""

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
MOST_SEEDS = 12  # a mark each; of more, counts
LATEST = 20  # cells of a search
MOST_CELLS = 60  # of a model, in any other sweep


def summary(views: Sequence[TrialView], capacity: Capacity, to_be_proposed: int = 0) -> str:
    """Counts by status, what is in use, and the time to go, with that of trials which a search has still to propose."""
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
        return ["time to go unknown until a first epoch is done"]
    return [f"{durations.about(seconds)} to go, {durations.done_about(seconds, datetime.now())}"]


def running_lines(views: Sequence[TrialView]) -> list[str]:
    """The epochs of running trials, as plain lines."""
    running = [view for view in views if view.status == "running"]
    lines = [f"{view.name}: epoch {view.epoch}/{view.trial.config.epochs}" for view in running[:MOST_RUNNING]]
    return [*lines, f"and {len(running) - MOST_RUNNING} more"] if len(running) > MOST_RUNNING else lines


def failure_lines(views: Sequence[TrialView]) -> list[str]:
    """Trials whose last attempt failed, with the last line of the error."""
    failures = [view for view in views if view.reason and view.status != "completed" and not view.stopped]
    lines = [f"{proper(view.name)} ({view.status}): {view.reason}" for view in failures[-MOST_FAILURES:]]
    return [*lines, f"and {len(failures) - MOST_FAILURES} more"] if len(failures) > MOST_FAILURES else lines


@dataclass(frozen=True)
class Shown:
    """What is shown of a sweep at one moment."""

    heading: str
    views: Sequence[TrialView]
    capacity: Capacity
    fronts: Sequence[ShownFront] = ()
    is_search: bool = False
    note: str = ""
    """A line below the summary."""
    collapsed: Sequence[str] = ()
    """A line for each collapsed cell, which begins with its label."""
    to_be_proposed: int = 0
    """Trials that a search may still propose."""
    height: int | None = None
    """Lines of the terminal on which it is drawn again and again; None where it is printed once."""


def view(shown: Shown) -> Group:
    """Everything: the heading and the summary, a note, running trials, the front so far, collapses, failures, and seeds as marks.

    The marks come last, because a low terminal cuts what is last.
    """
    summary_line = f"{shown.heading}: {summary(shown.views, shown.capacity, shown.to_be_proposed)}"
    parts: list[RenderableType] = [_text(summary_line), *([_text(shown.note)] if shown.note else []), *_running(shown)]
    if shown.fronts:
        parts.append(FrontTable("front so far", shown.fronts))
    sections = (
        ("collapsed", [_with_title(line) for line in shown.collapsed], COLOURS["diverged"]),
        ("failures", failure_lines(shown.views), COLOURS["failed"]),
    )
    for title, lines, style in sections:
        if lines:
            parts += [_text(title, "bold"), *(_below(line, style, shown.height is not None) for line in lines)]
    echo = [Text("")] if shown.height is not None else []  # a terminal's ^C, which would make the last line a longer one
    return Group(*parts, *_marks(shown), *echo)


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
    more = len(running) - most
    table = RunningTable(running[:most], stack_seconds_left(shown.views), MARKS["running"], COLOURS["running"])
    return [table, *([_text(f"    and {more} more", "dim")] if more > 0 else [])]


def _marks(shown: Shown) -> list[RenderableType]:
    """The legend, and a row a model: every cell, and a mark a seed; of a search the latest cells, and how many came before."""
    if not shown.views:
        return []
    cells: dict[str, list[TrialView]] = {}
    for view in shown.views:
        cells.setdefault(view.trial.cell.id, []).append(view)
    chosen = list(cells.values())[-LATEST:] if shown.is_search else list(cells.values())
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    by_model: dict[str, list[list[TrialView]]] = {}
    for seeds in chosen:
        by_model.setdefault(seeds[0].trial.config.model, []).append(seeds)
    for model, of_model in by_model.items():
        table.add_row(_text(f"  {proper(model)}"), _row(of_model))
    heading = legend(shown.views)
    if len(chosen) < len(cells):
        heading.append(f"  {len(cells)} cells, the latest {LATEST}:", style="dim")
    return [heading, table]


def legend(views: Sequence[TrialView]) -> Text:
    """What the marks mean that are shown."""
    shown = {view.status for view in views}
    text = Text("seeds")
    text.stylize("bold")
    for status in MARKS:
        if status in shown:
            text.append("  ").append(MARKS[status], style=COLOURS[status]).append(f" {status}", style="dim")
    return text


def _row(cells: Sequence[list[TrialView]]) -> Columns:
    """The marks of a model's cells. Of too many, those where something is left to do come first."""
    more = len(cells) - MOST_CELLS
    if more > 0:
        cells = sorted(cells, key=lambda seeds: all(view.is_over for view in seeds))[:MOST_CELLS]
    items = [_cell(seeds) for seeds in cells]
    return Columns([*items, *([_text(f"and {more} more cells", "dim")] if more > 0 else [])], padding=(0, 3))


def _cell(seeds: Sequence[TrialView]) -> Text:
    """The label of a cell without its model, and a mark a seed; of many seeds a count for each status that follows another."""
    label = proper(seeds[0].name.rpartition(" seed=")[0]).partition(" ")[2]
    text = Text(escaped(f"{label} "), style="dim", no_wrap=True, overflow="ellipsis")
    for status, run in groupby(seeds, key=lambda view: view.status):
        count = len(list(run))
        few = len(seeds) <= MOST_SEEDS
        text.append(MARKS[status] * count if few else f"{count}{MARKS[status]}", style=f"not dim {COLOURS[status]}")
    return text


def _with_title(line: str) -> str:
    label, mark, rest = line.partition(": ")
    return f"{proper(label)}{mark}{rest}" if mark else line


def _below(line: str, style: str, is_cut: bool) -> RenderableType:
    """A line below its title: cut to the width where it is drawn again and again, else wrapped below its own beginning."""
    text = _text(line.replace("\n", " "), style)
    if is_cut:
        text.no_wrap, text.overflow = True, "ellipsis"
    return Padding(text, (0, 0, 0, 2))


def _text(line: str, style: str = "") -> Text:
    """Text for a terminal, which may come from a record or an error."""
    return Text(escaped(line), style=style)


def clock(seconds: float) -> str:
    """1:02:03, or 2:03 below an hour."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
