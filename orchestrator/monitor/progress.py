"""Follows a sweep's trials and says how they do: a live view on a terminal, plain lines elsewhere.

It is told by whoever knows: the driver by its workers, `status` by storage.
"""

import time
from collections.abc import Sequence

from rich.console import Console, Group
from rich.live import Live

from mopoe_core.terminal import escaped
from orchestrator.analysis import collapse
from orchestrator.ledger.result import TrialResult
from orchestrator.monitor import view
from orchestrator.monitor.eta import Shown
from orchestrator.monitor.snapshot import Seen, Sight
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial, labels

PLAIN_SECONDS = 20.0
VIEW_SECONDS = 1.0
"""How often the live view is made anew."""
FRONT_SECONDS = 1.0
FRONT_REST = 30.0
"""The front is made anew no sooner than so many seconds, and so many times as long as it took, after the last time."""
PLAIN_WIDTH = 130
"""Columns where there is no terminal to ask."""


class Progress:
    """The trials of a sweep as they are now; as a context manager it shows them until it is left."""

    def __init__(self, seen: Seen, heading: str = "") -> None:
        self.note = ""
        """A line below the summary."""
        self._spec, self._room = seen.spec, seen.room
        self._heading = heading
        self._shown: dict[str, Shown] = {}
        self._kinds: dict[str, str] = {}
        self._found: dict[str, TrialResult] = {}
        self._front: Sequence[str] = ()
        self._collapsed: Sequence[str] = ()
        self._front_due = 0.0
        self._started = time.monotonic()
        self._spoke = 0.0
        self._console = Console()
        if not self._console.is_terminal:
            self._console = Console(width=PLAIN_WIDTH)
        self._live: Live | None = None
        self.add(seen.spec, seen.trials)
        for trial_id, sight in seen.sights.items():
            self._take(self._shown[trial_id], sight)
        self._renew_front()

    def add(self, spec: SweepSpec, trials: Sequence[Trial]) -> None:
        """Trials that a search has come to want, and the search with them."""
        self._spec = spec
        new = [trial for trial in trials if trial.id not in self._shown]
        cells = {one.trial.cell.id: one.trial.cell for one in self._shown.values()} | {trial.cell.id: trial.cell for trial in new}
        for trial in new:
            kind = self._kinds.setdefault(trial.cell.id, f"{trial.config.model} {trial.config.shape}")
            self._shown[trial.id] = Shown(trial, "", kind, "pending")
        names = labels(list(cells.values())) if new else {}
        for one in self._shown.values() if new else ():
            one.name = f"{names[one.trial.cell.id]} seed={one.trial.seed}"

    def see(self, seen: Seen) -> None:
        """What storage says at a later moment; what has changed is said."""
        self._room = seen.room
        self.add(seen.spec, seen.trials)
        for trial_id, sight in seen.sights.items():
            shown = self._shown[trial_id]
            before, epoch = (shown.status, shown.why), shown.epoch
            self._take(shown, sight)
            if (shown.status, shown.why) != before:
                self._changed(shown)
            elif shown.epoch != epoch:
                self._tell_at_times()

    def _take(self, shown: Shown, sight: Sight) -> None:
        state = sight.state
        shown.status, shown.why, shown.stopped = state.status, sight.why, state.stopped_at_epoch is not None
        shown.worker = sight.holder.token if sight.holder else ""
        if sight.pace:
            shown.epoch, shown.epoch_seconds = sight.pace.epoch, sight.pace.seconds
        if sight.result:
            self._measured(sight.result)

    def __enter__(self) -> "Progress":
        if self._console.is_terminal:
            self._live = Live(console=self._console, get_renderable=self.view, refresh_per_second=1 / VIEW_SECONDS)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live:
            self._live.stop()

    def begun(self, trial_id: str, worker: str) -> None:
        """A worker has begun to train a trial."""
        shown = self._shown[trial_id]
        shown.status, shown.why, shown.worker = "running", "", worker
        self._changed(shown)

    def epoch(self, trial_id: str, number: int, seconds: float) -> None:
        """A trial has finished an epoch, which took so many seconds."""
        shown = self._shown[trial_id]
        shown.epoch, shown.epoch_seconds = number, seconds
        self._tell_at_times()

    def ended(self, result: TrialResult) -> None:
        """A trial has completed or diverged."""
        shown = self._shown[result.trial.id]
        shown.status, shown.why = result.status, ""
        self._measured(result)
        self._changed(shown)

    def status(self, trial_id: str, status: str, why: str) -> None:
        """A trial has come to another status than by beginning or ending, and why."""
        shown = self._shown[trial_id]
        shown.status, shown.why = status, why
        self._changed(shown)

    def elsewhere(self, trial_id: str, holder: str) -> None:
        """Another sweep is at a trial."""
        shown = self._shown[trial_id]
        shown.status = "pending"
        self.say(f"{shown.status:<10} {shown.name} (another sweep trains it: {holder})")

    def stopped(self, trial_id: str, epoch: int) -> None:
        """A search has stopped a trial."""
        self._shown[trial_id].stopped = True
        self.status(trial_id, "cancelled", f"stopped at epoch {epoch}")

    def _measured(self, result: TrialResult) -> None:
        """Keeps what a result says of speed, and for the front."""
        shown, epochs = self._shown[result.trial.id], result.trial.config.epochs
        self._found[result.trial.id] = result
        if result.status == "completed":
            shown.epoch, shown.epoch_seconds = epochs, result.train_seconds / epochs
            shown.evaluate_seconds = result.evaluate_seconds

    def _changed(self, shown: Shown) -> None:
        if shown.status not in ("running", "pending"):
            self._renew_front()
        if shown.why or not self._live:
            self.say(f"{shown.status:<10} {shown.name}{f' ({shown.why})' if shown.why else ''}")

    def _renew_front(self) -> None:
        """Now and then: it takes longer the more trials there are, and of ten thousand short ones it took more time than all else."""
        started = time.monotonic()
        if self._found and started >= self._front_due:
            self._front = _front(self._spec, list(self._found.values()))
            self._collapsed = collapse.lines(self._spec, list(self._found.values()))
            self._front_due = started + FRONT_SECONDS + FRONT_REST * (time.monotonic() - started)

    def _tell_at_times(self) -> None:
        if not self._live and time.monotonic() - self._spoke > PLAIN_SECONDS:
            self.tell()

    def tell(self) -> None:
        """Say everything in plain lines."""
        every = list(self._shown.values())
        self.say(view.summary(every, self._room))
        if self._front:
            self.say(f"           front so far: {'; '.join(self._front)}")
        for line in self._collapsed:
            self.say(f"           {line}")
        for line in view.running_lines(every):
            self.say(f"           {line}")

    def say(self, line: str) -> None:
        """Print a line; on a terminal it stands above the live view."""
        self._spoke = time.monotonic()
        since = view.clock(self._spoke - self._started)
        self._console.print(escaped(f"[{since}] {line}"), markup=False, highlight=False, soft_wrap=True)

    def show(self) -> None:
        """Print the view as it is now."""
        self._console.print(self.view())

    def view(self) -> Group:
        """Everything that is known, as it is now."""
        heading = self._heading or f"{view.clock(time.monotonic() - self._started)} elapsed"
        is_search = self._spec.search is not None
        return view.view(heading, list(self._shown.values()), self._room, self._front, is_search, self.note, self._collapsed)


def _front(spec: SweepSpec, found: Sequence[TrialResult]) -> list[str]:
    from orchestrator.monitor.current_front import (
        front_lines,  # numpy, pandas and scipy: seconds, where nothing has ended for nothing
    )

    return front_lines(spec, found)
