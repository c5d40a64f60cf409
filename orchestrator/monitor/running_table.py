"""The running trials of a sweep, a line each, fitted to the terminal's width: bar, epoch, loss and time left. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mopoe_core.terminal import escaped
from orchestrator.monitor import durations
from orchestrator.monitor.eta import TrialView
from orchestrator.spec.proper_names import proper

GAP = 2
"""Columns between two fields."""
WIDEST_BAR, NARROWEST_BAR = 24, 6
WIDE = 90
"""From this width on, numbers have words beside them."""


@dataclass(frozen=True)
class RunningTable:
    """Lines of running trials, as a rich renderable."""

    views: Sequence[TrialView]
    seconds_left: Mapping[str, float]
    """By trial id, where that is known."""
    mark: str
    style: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yields the table, in the width that there is."""
        in_words = options.max_width >= WIDE
        indent = "  " if in_words else ""
        names = [f"{indent}{self.mark} {escaped(proper(view.name))}" for view in self.views]
        numbers = [self._numbers(view, in_words) for view in self.views]
        numbers_width = sum(max(map(cell_len, column)) + GAP for column in zip(*numbers, strict=True))
        name, bar = _widths(max(map(cell_len, names)), options.max_width - numbers_width)
        table = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
        table.add_column(no_wrap=True, overflow="ellipsis", width=name, style=self.style)
        if bar:
            table.add_column(no_wrap=True, width=bar)
        for _ in numbers[0]:
            table.add_column(no_wrap=True, overflow="ellipsis", justify="right")
        for view, text, fields in zip(self.views, names, numbers, strict=True):
            bars = [ProgressBar(view.trial.config.epochs, view.epoch, width=bar)] if bar else []
            table.add_row(Text(text, no_wrap=True, overflow="ellipsis"), *bars, *fields)
        yield table

    def _numbers(self, view: TrialView, in_words: bool) -> tuple[str, str, str]:
        """Returns epoch, loss and time left of a trial."""
        epochs, seconds = view.trial.config.epochs, self.seconds_left.get(view.trial.id)
        loss = "" if view.loss is None else f"{view.loss:.5g}"
        left = "" if seconds is None else durations.about(seconds)
        if view.epoch >= epochs:
            left = "evaluating"
        elif in_words:
            left = left and f"{left} left"
        else:
            left = left.removeprefix("about ")
        return f"{'epoch ' if in_words else ''}{view.epoch}/{epochs}", f"loss {loss}" if loss and in_words else loss, left


def _widths(longest_name: int, width: int) -> tuple[int, int]:
    """Returns the columns of the names and of the bars, without the gap between them; no bar where the names leave no room for one."""
    bar = min(WIDEST_BAR, width - longest_name - GAP)
    return (longest_name, bar) if bar >= NARROWEST_BAR else (max(1, min(longest_name, width)), 0)
