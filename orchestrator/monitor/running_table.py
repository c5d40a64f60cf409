"""The running trials of a sweep, one per line, fitted to the terminal's width: bar, epoch, loss and time left. Pure."""

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
"""Characters between two fields."""
WIDEST_BAR, NARROWEST_BAR = 24, 6
WIDE = 90
"""From this width on, words explain the numbers: `epoch 3/10` and not `3/10`."""


@dataclass(frozen=True)
class RunningTable:
    """Lines of running trials, as a rich renderable."""

    views: Sequence[TrialView]
    seconds_left: Mapping[str, float]
    """By trial id; trials whose time is not known are missing."""
    mark: str
    style: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yields the table, fitted to the console's width."""
        in_words = options.max_width >= WIDE
        indent = "  " if in_words else ""
        names = [f"{indent}{self.mark} {escaped(proper(view.name))}" for view in self.views]
        numbers = [self._numbers(view, in_words) for view in self.views]
        numbers_width = sum(max(map(cell_len, column)) + GAP for column in zip(*numbers, strict=True))
        name_width, bar_width = _widths(max(map(cell_len, names)), options.max_width - numbers_width)
        table = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
        table.add_column(no_wrap=True, overflow="ellipsis", width=name_width, style=self.style)
        if bar_width:
            table.add_column(no_wrap=True, width=bar_width)
        for _ in numbers[0]:
            table.add_column(no_wrap=True, overflow="ellipsis", justify="right")
        for view, name, fields in zip(self.views, names, numbers, strict=True):
            bars = [ProgressBar(view.trial.config.epochs, view.epoch, width=bar_width)] if bar_width else []
            table.add_row(Text(name, no_wrap=True, overflow="ellipsis"), *bars, *fields)
        yield table

    def _numbers(self, view: TrialView, in_words: bool) -> tuple[str, str, str]:
        """Returns epoch, loss and time left of a trial, as texts; loss and time left are empty if they are not known."""
        epochs = f"{view.epoch}/{view.trial.config.epochs}"
        loss = "" if view.loss is None else f"{view.loss:.5g}"
        left = self._time_left(view, in_words)
        if not in_words:
            return epochs, loss, left
        return f"epoch {epochs}", loss and f"loss {loss}", left

    def _time_left(self, view: TrialView, in_words: bool) -> str:
        if view.epoch >= view.trial.config.epochs:
            return "evaluating"
        seconds = self.seconds_left.get(view.trial.id)
        if seconds is None:
            return ""
        duration = durations.about(seconds)
        return f"{duration} left" if in_words else duration.removeprefix("about ")


def _widths(longest_name: int, width: int) -> tuple[int, int]:
    """Returns the widths of names and bars, without the gap between them; the bar's is 0 if the names leave no room for it."""
    bar = min(WIDEST_BAR, width - longest_name - GAP)
    return (longest_name, bar) if bar >= NARROWEST_BAR else (max(1, min(longest_name, width)), 0)
