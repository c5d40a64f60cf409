"""What a sweep looks like while it runs: a live view on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mopoe_core.names import Epoch
from orchestrator.trial import Trial

MARKS = {"pending": "·", "running": "◐", "completed": "●", "diverged": "!", "failed": "✗", "cancelled": "○"}
COLOURS = {
    "pending": "dim",
    "running": "yellow",
    "completed": "green",
    "diverged": "magenta",
    "failed": "red",
    "cancelled": "dim",
}
PLAIN_SECONDS = 20.0
FRONT_SECONDS = 1.0
FRONT_REST = 30.0
"""The front is made anew no sooner than so many seconds, and so many times as long as it took, after the last time."""


@dataclass
class _Shown:
    """What is known of one trial."""

    trial: Trial
    status: str
    epoch: int = 0
    epoch_seconds: float = 0.0


class Progress:
    """Follows the trials of a sweep; use as a context manager.

    `front_lines` gives the front so far as text, and is asked only when a trial has ended.
    """

    def __init__(
        self, trials: Sequence[Trial], statuses: dict[str, str], at_once: int, front_lines: Callable[[], list[str]]
    ) -> None:
        self._shown = {trial.id: _Shown(trial, statuses[trial.id]) for trial in trials}
        self._at_once = at_once
        self._front_lines = front_lines
        self._front: list[str] = []
        self._front_due = 0.0
        self._started = time.monotonic()
        self._spoke = 0.0
        self._console = Console()
        self._live = (
            Live(console=self._console, get_renderable=self._view, refresh_per_second=2) if self._console.is_terminal else None
        )

    def add(self, trials: Sequence[Trial]) -> None:
        """Trials that a search has come to want; those that are known are left as they are."""
        for trial in trials:
            self._shown.setdefault(trial.id, _Shown(trial, "pending"))

    def __enter__(self) -> "Progress":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            self._live.stop()

    def status(self, trial_id: str, status: str, why: str = "") -> None:
        """A trial has changed its status; `why` is said where that is no matter of course."""
        shown = self._shown[trial_id]
        shown.status = status
        if status not in ("running", "pending"):
            self._renew_front()
        if why or not self._live:
            self.say(f"{status:<10} {shown.trial.label}{f' ({why})' if why else ''}")

    def _renew_front(self) -> None:
        """Now and then: it takes longer the more trials there are, and of ten thousand short ones it took more time than all else."""
        started = time.monotonic()
        if started >= self._front_due:
            self._front = self._front_lines()
            self._front_due = started + FRONT_SECONDS + FRONT_REST * (time.monotonic() - started)

    def epoch(self, trial_id: str, epoch: Epoch) -> None:
        """A trial has finished an epoch."""
        shown = self._shown[trial_id]
        shown.epoch, shown.epoch_seconds = epoch.epoch, epoch.values["train/seconds"]
        if not self._live and time.monotonic() - self._spoke > PLAIN_SECONDS:
            self.say(self._summary())
            if self._front:
                self.say(f"           front so far: {'; '.join(self._front)}")
            for other in self._running():
                self.say(f"           {self._line(other)}")

    def say(self, line: str) -> None:
        """Print a line; on a terminal it stands above the live view."""
        self._spoke = time.monotonic()
        self._console.print(f"[{_clock(self._spoke - self._started)}] {line}", markup=False, highlight=False, soft_wrap=True)

    def _running(self) -> list[_Shown]:
        return [shown for shown in self._shown.values() if shown.status == "running"]

    def _summary(self) -> str:
        counts = {status: sum(s.status == status for s in self._shown.values()) for status in MARKS}
        said = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        return f"{said} of {len(self._shown)}{self._to_go()}"

    def _to_go(self) -> str:
        """Time to go from the measured seconds an epoch, evaluation not counted."""
        speeds = [s.epoch_seconds for s in self._shown.values() if s.epoch_seconds]
        if not speeds:
            return "; time to go unknown until a first epoch is done"
        usual = sum(speeds) / len(speeds)
        left = sum(
            (s.trial.config.epochs - s.epoch) * (s.epoch_seconds or usual)
            for s in self._shown.values()
            if s.status in ("pending", "running", "cancelled")
        )
        return f"; about {_clock(left / self._at_once)} to go" if left else ""

    def _line(self, shown: _Shown) -> str:
        return f"{shown.trial.label}: epoch {shown.epoch}/{shown.trial.config.epochs}"

    def _view(self) -> Group:
        table = Table.grid(padding=(0, 2))
        for model in dict.fromkeys(s.trial.config.model for s in self._shown.values()):
            table.add_row(Text(model, style="bold"), self._marks(model))
        running = [Text(f"  {MARKS['running']} {self._line(shown)}", style="yellow") for shown in self._running()]
        front = [Text("front so far", style="bold"), *(Text(f"  {line}") for line in self._front)] if self._front else []
        elapsed = _clock(time.monotonic() - self._started)
        return Group(Text(f"{elapsed} elapsed; {self._summary()}"), table, *running, *front)

    def _marks(self, model: str) -> Text:
        """Every cell of a model as its beta and a mark a seed."""
        text = Text()
        cells: dict[str, list[_Shown]] = {}
        for shown in self._shown.values():
            if shown.trial.config.model == model:
                cells.setdefault(shown.trial.cell.id, []).append(shown)
        for seeds in cells.values():
            text.append(f"beta {seeds[0].trial.config.beta:g} ", style="dim")
            for shown in seeds:
                text.append(MARKS[shown.status], style=COLOURS[shown.status])
            text.append("   ")
        return text


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
