"""A sweep as text for a terminal: what `sweep` shows while it runs and `status` at any time. Pure."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mopoe_core.terminal import escaped
from orchestrator.monitor.eta import Room, Shown, to_go

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


def summary(every: Sequence[Shown], room: Room) -> str:
    """Counts by status, what is in use, and the time to go."""
    counts = Counter(one.status for one in every)
    said = ", ".join(f"{counts[status]} {status}" for status in MARKS if counts[status]) or "0"
    parts = [f"{said} of {len(every)} trials"]
    workers = len({one.worker for one in every if one.status == "running"})
    if workers:
        parts.append(room.said(workers))
    return "; ".join([*parts, *_time_to_go(every, room, workers)])


def _time_to_go(every: Sequence[Shown], room: Room, workers: int) -> list[str]:
    if all(one.over for one in every):
        return []
    found = to_go(every, room.workers(workers))
    if found is None:
        return ["time to go unknown until a first epoch is done"]
    return [f"about {clock(found.seconds)} to go{'' if found.with_evaluation else ', evaluation not counted'}"]


def running_lines(every: Sequence[Shown]) -> list[str]:
    """The epochs of running trials."""
    running = [one for one in every if one.status == "running"]
    lines = [f"{one.name}: epoch {one.epoch}/{one.trial.config.epochs}" for one in running[:MOST_RUNNING]]
    return [*lines, f"and {len(running) - MOST_RUNNING} more"] if len(running) > MOST_RUNNING else lines


def failure_lines(every: Sequence[Shown]) -> list[str]:
    """Trials whose last attempt failed, with the last line of the error."""
    fell = [one for one in every if one.why and one.status != "completed" and not one.stopped]
    lines = [f"{one.name} ({one.status}): {one.why}" for one in fell[-MOST_FAILURES:]]
    return [*lines, f"and {len(fell) - MOST_FAILURES} more"] if len(fell) > MOST_FAILURES else lines


def view(
    heading: str,
    every: Sequence[Shown],
    room: Room,
    front: Sequence[str],
    is_search: bool,
    note: str = "",
    collapsed: Sequence[str] = (),
) -> Group:
    """Everything: the heading and the summary, a note, seeds as marks, running trials, the front so far, collapses, failures."""
    parts: list[RenderableType] = [_text(f"{heading}: {summary(every, room)}"), *([_text(note)] if note else [])]
    parts.append(marks(every, is_search))
    parts += [_text(f"  {MARKS['running']} {line}", COLOURS["running"]) for line in running_lines(every)]
    listed = (
        ("front so far", front, ""),
        ("collapsed", collapsed, COLOURS["diverged"]),
        ("failures", failure_lines(every), COLOURS["failed"]),
    )
    for title, lines, style in listed:
        if lines:
            parts += [_text(title, "bold"), *(_text(f"  {line}", style) for line in lines)]
    return Group(*parts)


def marks(every: Sequence[Shown], is_search: bool) -> Table:
    """A row a model: every cell, and a mark a seed; of a search the latest cells, and how many came before."""
    cells: dict[str, list[Shown]] = {}
    for one in every:
        cells.setdefault(one.trial.cell.id, []).append(one)
    table = Table.grid(padding=(0, 2))
    chosen = list(cells.values())[-LATEST:] if is_search else list(cells.values())
    if len(chosen) < len(cells):
        table.add_row(_text(f"{len(cells)} cells"), _text(f"the latest {LATEST}:", "dim"))
    models = dict.fromkeys(seeds[0].trial.config.model for seeds in chosen)
    for model in models:
        own = [seeds for seeds in chosen if seeds[0].trial.config.model == model]
        table.add_row(_text(model, "bold"), _row(own))
    return table


def _row(cells: Sequence[list[Shown]]) -> Text:
    """Of too many cells, those where something is left to do first."""
    if len(cells) > MOST_CELLS:
        kept = sorted(cells, key=lambda seeds: all(one.over for one in seeds))[:MOST_CELLS]
        text = _row(kept)
        return text.append(f"and {len(cells) - MOST_CELLS} more cells", style="dim")
    text = Text()
    for seeds in cells:
        label = seeds[0].name.rpartition(" seed=")[0].removeprefix(seeds[0].trial.config.model).strip()
        text.append(_text(f"{label}:", "dim"))
        for status, run in groupby(seeds, key=lambda one: one.status):
            count = len(list(run))
            few = len(seeds) <= MOST_SEEDS
            text.append(MARKS[status] * count if few else f"{count}{MARKS[status]}", style=COLOURS[status])
        text.append("   ")
    return text


def _text(said: str, style: str = "") -> Text:
    """Text for a terminal, which may come from a record or an error."""
    return Text(escaped(said), style=style)


def clock(seconds: float) -> str:
    """1:02:03, or 2:03 below an hour."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
