"""A sweep as text for a terminal: what `sweep` shows while it runs and `status` at any time. Pure."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mopoe_core.terminal import escaped
from orchestrator.monitor import durations
from orchestrator.monitor.eta import Capacity, TrialView, running_workers, seconds_left

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
    """The epochs of running trials."""
    running = [view for view in views if view.status == "running"]
    lines = [f"{view.name}: epoch {view.epoch}/{view.trial.config.epochs}" for view in running[:MOST_RUNNING]]
    return [*lines, f"and {len(running) - MOST_RUNNING} more"] if len(running) > MOST_RUNNING else lines


def failure_lines(views: Sequence[TrialView]) -> list[str]:
    """Trials whose last attempt failed, with the last line of the error."""
    failures = [view for view in views if view.reason and view.status != "completed" and not view.stopped]
    lines = [f"{view.name} ({view.status}): {view.reason}" for view in failures[-MOST_FAILURES:]]
    return [*lines, f"and {len(failures) - MOST_FAILURES} more"] if len(failures) > MOST_FAILURES else lines


def view(
    heading: str,
    views: Sequence[TrialView],
    capacity: Capacity,
    front: Sequence[str],
    is_search: bool,
    note: str = "",
    collapsed: Sequence[str] = (),
    to_be_proposed: int = 0,
) -> Group:
    """Everything: the heading and the summary, a note, seeds as marks, running trials, the front so far, collapses, failures."""
    parts: list[RenderableType] = [
        _text(f"{heading}: {summary(views, capacity, to_be_proposed)}"),
        *([_text(note)] if note else []),
    ]
    parts.append(marks(views, is_search))
    parts += [_text(f"  {MARKS['running']} {line}", COLOURS["running"]) for line in running_lines(views)]
    sections = (
        ("front so far", front, ""),
        ("collapsed", collapsed, COLOURS["diverged"]),
        ("failures", failure_lines(views), COLOURS["failed"]),
    )
    for title, lines, style in sections:
        if lines:
            parts += [_text(title, "bold"), *(_text(f"  {line}", style) for line in lines)]
    return Group(*parts)


def marks(views: Sequence[TrialView], is_search: bool) -> Table:
    """A row a model: every cell, and a mark a seed; of a search the latest cells, and how many came before."""
    cells: dict[str, list[TrialView]] = {}
    for view in views:
        cells.setdefault(view.trial.cell.id, []).append(view)
    table = Table.grid(padding=(0, 2))
    chosen = list(cells.values())[-LATEST:] if is_search else list(cells.values())
    if len(chosen) < len(cells):
        table.add_row(_text(f"{len(cells)} cells"), _text(f"the latest {LATEST}:", "dim"))
    by_model: dict[str, list[list[TrialView]]] = {}
    for seeds in chosen:
        by_model.setdefault(seeds[0].trial.config.model, []).append(seeds)
    for model, own in by_model.items():
        table.add_row(_text(model, "bold"), _row(own))
    return table


def _row(cells: Sequence[list[TrialView]]) -> Text:
    """The marks of a model's cells. Of too many, those where something is left to do come first."""
    if len(cells) > MOST_CELLS:
        first = sorted(cells, key=lambda seeds: all(view.is_over for view in seeds))[:MOST_CELLS]
        return _row(first).append(f"and {len(cells) - MOST_CELLS} more cells", style="dim")
    text = Text()
    for seeds in cells:
        label = seeds[0].name.rpartition(" seed=")[0].removeprefix(seeds[0].trial.config.model).strip()
        text.append(_text(f"{label}:", "dim"))
        for status, run in groupby(seeds, key=lambda view: view.status):
            count = len(list(run))
            few = len(seeds) <= MOST_SEEDS
            text.append(MARKS[status] * count if few else f"{count}{MARKS[status]}", style=COLOURS[status])
        text.append("   ")
    return text


def _text(line: str, style: str = "") -> Text:
    """Text for a terminal, which may come from a record or an error."""
    return Text(escaped(line), style=style)


def clock(seconds: float) -> str:
    """1:02:03, or 2:03 below an hour."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
