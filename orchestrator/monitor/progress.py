"""Shows how a sweep's trials do: a live view on a terminal, plain lines elsewhere.

The driver feeds it with the events of its workers, and `status` with what storage has.
"""

import time
from collections.abc import Sequence

from rich.console import Console, Group
from rich.live import Live

from mopoe_core.terminal import escaped
from orchestrator.analysis import collapse
from orchestrator.execution.events import (
    ClassifiersReady,
    EpochsEnded,
    NodeLost,
    Observer,
    PreparationBegun,
    StackHalved,
    StackSizeChosen,
    StorageFull,
    TrialFailed,
    TrialRetried,
    TrialsBegun,
    TrialsBusyElsewhere,
    TrialStopped,
)
from orchestrator.ledger.result import TrialResult
from orchestrator.ledger.training_progress import finite_loss
from orchestrator.monitor import view
from orchestrator.monitor.eta import TrialView, running_workers, seconds_left
from orchestrator.monitor.live_state import LiveSweep, LiveTrial
from orchestrator.monitor.shown_front import ShownFront, front_lines
from orchestrator.monitor.view import Shown
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial, labels

PLAIN_SECONDS = 20.0
VIEW_SECONDS = 1.0
"""Between two drawings of the live view."""
FRONT_SECONDS = 1.0
FRONT_REST = 30.0
"""The front is made anew no sooner than so many seconds, and so many times as long as it took, after the last time."""
PLAIN_WIDTH = 130
"""Columns where there is no terminal to ask."""


class Progress(Observer):
    """The trials of a sweep as they are now; as a context manager it shows them until it is left."""

    def __init__(self, live: LiveSweep, heading: str = "", console: Console | None = None) -> None:
        self.note = ""
        """A line below the summary."""
        self._spec, self._capacity = live.spec, live.capacity
        self._heading = heading
        self._views: dict[str, TrialView] = {}
        self._kinds: dict[str, str] = {}
        self._results: dict[str, TrialResult] = {}
        self.fronts: Sequence[ShownFront] = ()
        """The front so far of each group of cells that may be compared."""
        self._collapsed: Sequence[str] = ()
        self._front_due = 0.0
        self._started = time.monotonic()
        self._spoke = 0.0
        self._console = console or _usual_console()
        self._live_display: Live | None = None
        self.add(live.spec, live.trials)
        for trial_id, trial in live.live_trials.items():
            self._take(self._views[trial_id], trial)
        self._renew_front()

    def add(self, spec: SweepSpec, trials: Sequence[Trial]) -> None:
        """Show the trials that a search has come to want, too; `spec` is the search with its cells."""
        self._spec = spec
        new = [trial for trial in trials if trial.id not in self._views]
        if not new:
            return
        for trial in new:
            kind = self._kinds.setdefault(trial.cell.id, f"{trial.config.model} {trial.config.shape}")
            self._views[trial.id] = TrialView(trial, "", kind, "pending")
        names = labels(list({trial_view.trial.cell.id: trial_view.trial.cell for trial_view in self._views.values()}.values()))
        for trial_view in self._views.values():
            trial_view.name = f"{names[trial_view.trial.cell.id]} seed={trial_view.trial.seed}"

    def update(self, live: LiveSweep) -> None:
        """Show what storage has at a later moment, and say what has changed."""
        self._capacity = live.capacity
        self.add(live.spec, live.trials)
        for trial_id, trial in live.live_trials.items():
            trial_view = self._views[trial_id]
            before, epoch = (trial_view.status, trial_view.reason), trial_view.epoch
            self._take(trial_view, trial)
            if (trial_view.status, trial_view.reason) != before:
                self._changed(trial_view)
            elif trial_view.epoch != epoch:
                self._tell_at_times()

    def _take(self, trial_view: TrialView, live: LiveTrial) -> None:
        trial_view.status, trial_view.reason = live.state.status, live.reason
        trial_view.stopped = live.state.stopped_at_epoch is not None
        trial_view.worker = live.holder.token if live.holder else ""
        if live.pace:
            trial_view.epoch, trial_view.epoch_seconds = live.pace.epoch, live.pace.seconds
            trial_view.loss = live.pace.loss
        if live.result:
            self._measured(live.result)

    def __enter__(self) -> "Progress":
        if self._console.is_terminal:
            self._live_display = Live(console=self._console, get_renderable=self.view, refresh_per_second=1 / VIEW_SECONDS)
            self._live_display.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live_display:
            self._live_display.stop()

    def on_preparation_begun(self, event: PreparationBegun) -> None:
        """Say what takes so long."""
        self.say("preparing data and classifiers; a minute or two where storage does not hold them yet")

    def on_classifiers_ready(self, event: ClassifiersReady) -> None:
        """Say how good they are."""
        qualities = ", ".join(f"{name} {quality.balanced_accuracy:.1%}" for name, quality in event.quality.items())
        measure = " or ".join(sorted({quality.measure for quality in event.quality.values()}))
        self.say(f"{event.source} {event.dataset}; {measure} of the classifiers on the test items: {qualities}")

    def on_stack_size_chosen(self, event: StackSizeChosen) -> None:
        """Say whether such trials are stacked."""
        if event.why_not:
            self.say(f"trials like {event.label} are trained one by one: {event.why_not}")
        elif event.size > 1:
            gain = event.gain.get(str(event.size))
            measured = f", measured to be {gain:.1f} times as fast as one by one" if gain else ""
            self.say(f"trials like {event.label} are stacked, up to {event.size} at once{measured}")

    def on_stack_halved(self, event: StackHalved) -> None:
        """Say so."""
        self.say(f"a stack of {event.size} did not fit into memory; it goes on as two halves")

    def on_storage_full(self, event: StorageFull) -> None:
        """Say which storage, and why."""
        self.say(event.error)

    def on_node_lost(self, event: NodeLost) -> None:
        """Say that no trial has failed by it."""
        self.say(f"a node was lost ({event.node[:8]}); its trials go on elsewhere, and have not failed by that")

    def on_trials_begun(self, event: TrialsBegun) -> None:
        """A worker has begun to train trials."""
        for trial_id in event.attempts:
            trial_view = self._views[trial_id]
            trial_view.status, trial_view.reason, trial_view.worker = "running", "", event.worker
            self._changed(trial_view)

    def on_epochs_ended(self, event: EpochsEnded) -> None:
        """Trials have finished an epoch."""
        for trial_id, epoch in event.epochs.items():
            trial_view = self._views[trial_id]
            trial_view.epoch, trial_view.epoch_seconds = epoch.epoch, epoch.values["train/seconds"]
            trial_view.loss = finite_loss(epoch)
            self._tell_at_times()

    def on_trial_retried(self, event: TrialRetried) -> None:
        """A trial waits for its next attempt."""
        self._unless_ended(event.trial_id, "pending", event.why)

    def on_trial_failed(self, event: TrialFailed) -> None:
        """A trial has no attempt left."""
        self._unless_ended(event.trial_id, "failed", event.why)

    def on_trial_stopped(self, event: TrialStopped) -> None:
        """A search has stopped a trial."""
        self._views[event.trial_id].stopped = True
        self._set_status(event.trial_id, "cancelled", f"stopped at epoch {event.epoch}")

    def on_trials_busy_elsewhere(self, event: TrialsBusyElsewhere) -> None:
        """Another sweep is at these trials."""
        for trial_id in event.trial_ids:
            trial_view = self._views[trial_id]
            trial_view.status = "pending"
            self.say(f"{trial_view.status:<10} {trial_view.name} (another sweep trains it: {event.holder})")

    def ended(self, result: TrialResult) -> None:
        """A trial has completed or diverged."""
        trial_view = self._views[result.trial.id]
        trial_view.status, trial_view.reason = result.status, ""
        self._measured(result)
        self._changed(trial_view)

    def _unless_ended(self, trial_id: str, status: str, reason: str) -> None:
        """What befalls a stack concerns those of its trials that have not ended."""
        if trial_id not in self._results:
            self._set_status(trial_id, status, reason)

    def _set_status(self, trial_id: str, status: str, reason: str) -> None:
        trial_view = self._views[trial_id]
        trial_view.status, trial_view.reason = status, reason
        self._changed(trial_view)

    def _measured(self, result: TrialResult) -> None:
        """Keeps what a result says of speed, and for the front."""
        trial_view, epochs = self._views[result.trial.id], result.trial.config.epochs
        self._results[result.trial.id] = result
        if result.status == "completed":
            trial_view.epoch, trial_view.epoch_seconds = epochs, result.train_seconds / epochs
            trial_view.evaluate_seconds = result.evaluate_seconds

    def _changed(self, trial_view: TrialView) -> None:
        if trial_view.status not in ("running", "pending"):
            self._renew_front()
        if trial_view.reason or not self._live_display:
            self.say(f"{trial_view.status:<10} {trial_view.name}{f' ({trial_view.reason})' if trial_view.reason else ''}")

    def _renew_front(self) -> None:
        """Make the front anew, but not each time: it takes longer the more trials there are, and with ten thousand short trials it took
        more time than all else.
        """
        started = time.monotonic()
        if self._results and started >= self._front_due:
            self.fronts = _fronts(self._spec, list(self._results.values()))
            self._collapsed = collapse.lines(self._spec, list(self._results.values()))
            self._front_due = started + FRONT_SECONDS + FRONT_REST * (time.monotonic() - started)

    def _tell_at_times(self) -> None:
        if not self._live_display and time.monotonic() - self._spoke > PLAIN_SECONDS:
            self.tell()

    def tell(self) -> None:
        """Say everything in plain lines."""
        self.say(self.summary())
        if self.fronts:
            self.say(f"           front so far: {'; '.join(front_lines(self.fronts))}")
        for line in self._collapsed:
            self.say(f"           {line}")
        for line in view.running_lines(self.views):
            self.say(f"           {line}")

    def say(self, line: str) -> None:
        """Print a line; on a terminal it stands above the live view."""
        self._spoke = time.monotonic()
        since = view.clock(self._spoke - self._started)
        is_one_line = not self._console.is_terminal
        self._console.print(escaped(f"[{since}] {line}"), markup=False, highlight=False, soft_wrap=is_one_line)

    def show(self) -> None:
        """Print the view as it is now."""
        self._console.print(self.view())

    def summary(self) -> str:
        """Returns counts by status, what is in use, and the time to go."""
        return view.summary(self.views, self._capacity, self._to_be_proposed())

    def view(self) -> Group:
        """Everything that is known, as it is now."""
        heading = self._heading or f"{view.clock(time.monotonic() - self._started)} elapsed"
        return view.view(
            Shown(
                heading=heading,
                views=self.views,
                capacity=self._capacity,
                fronts=self.fronts,
                is_search=self._spec.search is not None,
                note=self.note,
                collapsed=self._collapsed,
                to_be_proposed=self._to_be_proposed(),
                height=self._console.height if self._live_display else None,
            )
        )

    @property
    def views(self) -> list[TrialView]:
        """What is shown of each trial."""
        return list(self._views.values())

    def seconds_left(self) -> float | None:
        """Returns the seconds until the sweep ends; None while that is not known."""
        workers = self._capacity.workers(running_workers(self.views))
        return seconds_left(self.views, workers, self._to_be_proposed())

    def _to_be_proposed(self) -> int:
        """How many trials a search may still propose."""
        if self._spec.search is None:
            return 0
        cells = len({shown.trial.cell.id for shown in self.views})
        return max(0, self._spec.search.cells - cells) * len(self._spec.seed_list)


def _usual_console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


def _fronts(spec: SweepSpec, results: Sequence[TrialResult]) -> list[ShownFront]:
    from orchestrator.monitor.current_front import (
        current_fronts,  # pandas and scipy: seconds, for nothing before a trial has ended
    )

    return current_fronts(spec, results)
