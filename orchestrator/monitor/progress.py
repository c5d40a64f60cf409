"""Shows the progress of a sweep's trials: a live view on a terminal, plain lines elsewhere.

The driver gives it the events of its workers; `status` gives it the state that it reads from storage.
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
from orchestrator.execution.trials_to_come import has_ended_early
from orchestrator.ledger.result import TrialResult
from orchestrator.ledger.training_progress import finite_loss
from orchestrator.monitor import view
from orchestrator.monitor.eta import TrialView, running_workers, seconds_left
from orchestrator.monitor.live_state import LiveSweep
from orchestrator.monitor.shown_front import ShownFront, front_lines
from orchestrator.monitor.trial_views import TrialViews
from orchestrator.monitor.view import Shown
from orchestrator.spec.search_limits import cells_to_come
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial

PLAIN_SECONDS = 20.0
"""Seconds without a plain line after which everything is printed."""
VIEW_SECONDS = 1.0
"""Seconds between two drawings of the live view."""
FRONT_SECONDS = 1.0
FRONT_REST = 30.0
"""The front is computed again after `FRONT_SECONDS` plus `FRONT_REST` times the seconds that it took last time."""
PLAIN_WIDTH = 130
"""Columns of the output if there is no terminal."""


class Progress(Observer):
    """The present state of a sweep's trials. As a context manager, it shows them until it is left."""

    def __init__(self, live: LiveSweep, heading: str = "", console: Console | None = None) -> None:
        self.note = ""
        """A line below the summary."""
        self._spec, self._capacity = live.spec, live.capacity
        self._heading = heading
        self._trials = TrialViews()
        self.fronts: Sequence[ShownFront] = ()
        """The front so far of each group of comparable cells."""
        self._collapsed: Sequence[str] = ()
        self._ended_early = False
        """Whether a search has reached a limit of its `stop`."""
        self._front_due = 0.0
        """When the front may be computed again."""
        self._started = time.monotonic()
        self._last_line = 0.0
        """When the last line was printed."""
        self._console = console or _usual_console()
        self._live_display: Live | None = None
        self.add(live.spec, live.trials)
        for trial_id, trial in live.live_trials.items():
            self._trials.take(trial_id, trial)
        self._renew_front()

    def add(self, spec: SweepSpec, trials: Sequence[Trial]) -> None:
        """Show further trials that a search has proposed; `spec` is the search with its cells."""
        self._spec = spec
        self._trials.add(trials)

    def update(self, live: LiveSweep) -> None:
        """Take over the state that was read from storage later, and print what has changed."""
        self._capacity = live.capacity
        self.add(live.spec, live.trials)
        for trial_id, trial in live.live_trials.items():
            trial_view = self._trials[trial_id]
            before, epoch = (trial_view.status, trial_view.reason), trial_view.epoch
            self._trials.take(trial_id, trial)
            if (trial_view.status, trial_view.reason) != before:
                self._changed(trial_view)
            elif trial_view.epoch != epoch:
                self._tell_sometimes()

    def __enter__(self) -> "Progress":
        if self._console.is_terminal:
            self._live_display = Live(console=self._console, get_renderable=self.view, refresh_per_second=1 / VIEW_SECONDS)
            self._live_display.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live_display:
            self._live_display.stop()

    def on_preparation_begun(self, event: PreparationBegun) -> None:
        """Print why no trial runs yet."""
        self.say("preparing data and classifiers; a few minutes where storage does not hold them yet")

    def on_classifiers_ready(self, event: ClassifiersReady) -> None:
        """Print how good the classifiers are."""
        qualities = ", ".join(f"{name} {quality.balanced_accuracy:.1%}" for name, quality in event.quality.items())
        measure = " or ".join(sorted({quality.measure for quality in event.quality.values()}))
        self.say(f"{event.source} {event.dataset}; {measure} of the classifiers on the test items: {qualities}")

    def on_stack_size_chosen(self, event: StackSizeChosen) -> None:
        """Print whether such trials are stacked, and how many at once."""
        if event.why_not:
            self.say(f"trials like {event.label} are trained one by one: {event.why_not}")
        elif event.size > 1:
            gain = event.gain.get(str(event.size))
            measured = f", measured to be {gain:.1f} times as fast as one by one" if gain else ""
            self.say(f"trials like {event.label} are stacked, up to {event.size} at once{measured}")

    def on_stack_halved(self, event: StackHalved) -> None:
        """Print that a stack was halved."""
        self.say(f"a stack of {event.size} did not fit into memory; it goes on as two halves")

    def on_storage_full(self, event: StorageFull) -> None:
        """Print which storage is full."""
        self.say(event.error)

    def on_node_lost(self, event: NodeLost) -> None:
        """Print that a node was lost, and that no trial has failed by that."""
        self.say(f"a node was lost ({event.node[:8]}); its trials go on elsewhere, and have not failed by that")

    def on_trials_begun(self, event: TrialsBegun) -> None:
        """Show that a worker trains these trials."""
        for trial_id in event.attempts:
            trial_view = self._trials[trial_id]
            trial_view.status, trial_view.reason, trial_view.worker = "running", "", event.worker
            self._changed(trial_view)

    def on_epochs_ended(self, event: EpochsEnded) -> None:
        """Show the epoch, loss and speed of trials."""
        for trial_id, epoch in event.epochs.items():
            trial_view = self._trials[trial_id]
            trial_view.epoch, trial_view.epoch_seconds = epoch.epoch, epoch.values["train/seconds"]
            trial_view.loss = finite_loss(epoch)
            self._tell_sometimes()

    def on_trial_retried(self, event: TrialRetried) -> None:
        """Show that a trial waits for its next attempt, and why."""
        self._set_unless_ended(event.trial_id, "pending", event.why)

    def on_trial_failed(self, event: TrialFailed) -> None:
        """Show that a trial has failed, and why."""
        self._set_unless_ended(event.trial_id, "failed", event.why)

    def on_trial_stopped(self, event: TrialStopped) -> None:
        """Show that a search has stopped a trial."""
        self._trials[event.trial_id].stopped = True
        self._set_status(event.trial_id, "cancelled", f"stopped at epoch {event.epoch}")

    def on_trials_busy_elsewhere(self, event: TrialsBusyElsewhere) -> None:
        """Print that another sweep trains these trials."""
        for trial_id in event.trial_ids:
            trial_view = self._trials[trial_id]
            trial_view.status = "pending"
            self.say(f"{trial_view.status:<10} {trial_view.name} (another sweep trains it: {event.holder})")

    def ended(self, result: TrialResult) -> None:
        """Show that a trial has completed or diverged."""
        trial_view = self._trials.set_status(result.trial.id, result.status, "")
        self._trials.keep(result)
        self._changed(trial_view)

    def _set_unless_ended(self, trial_id: str, status: str, reason: str) -> None:
        """Set the status of a trial without a result: an error of a stack does not concern its trials that have ended."""
        if trial_id not in self._trials.results:
            self._set_status(trial_id, status, reason)

    def _set_status(self, trial_id: str, status: str, reason: str) -> None:
        self._changed(self._trials.set_status(trial_id, status, reason))

    def _changed(self, trial_view: TrialView) -> None:
        """Print the new status of a trial, unless the live view shows it anyway."""
        if trial_view.status not in ("running", "pending"):
            self._renew_front()
        if trial_view.reason or not self._live_display:
            reason = f" ({trial_view.reason})" if trial_view.reason else ""
            self.say(f"{trial_view.status:<10} {trial_view.name}{reason}")

    def _renew_front(self) -> None:
        """Compute the front again if that is due, and whether a search has ended early.

        More trials take longer: ten thousand short ones took more time than all else.
        """
        started = time.monotonic()
        results = self._trials.results
        if results and started >= self._front_due:
            self.fronts = _fronts(self._spec, list(results.values()))
            self._collapsed = collapse.lines(self._spec, list(results.values()))
            self._ended_early = self._spec.search is not None and has_ended_early(self._spec, results)
            self._front_due = started + FRONT_SECONDS + FRONT_REST * (time.monotonic() - started)

    def _tell_sometimes(self) -> None:
        if not self._live_display and time.monotonic() - self._last_line > PLAIN_SECONDS:
            self.tell()

    def tell(self) -> None:
        """Print the summary, the front, collapsed cells and running trials as plain lines."""
        self.say(self.summary())
        if self.fronts:
            self.say(f"           front so far: {'; '.join(front_lines(self.fronts))}")
        for line in self._collapsed:
            self.say(f"           {line}")
        for line in view.running_lines(self.views):
            self.say(f"           {line}")

    def say(self, line: str) -> None:
        """Print a line with the time since the start; on a terminal it appears above the live view."""
        self._last_line = time.monotonic()
        elapsed = view.clock(self._last_line - self._started)
        is_one_line = not self._console.is_terminal
        self._console.print(escaped(f"[{elapsed}] {line}"), markup=False, highlight=False, soft_wrap=is_one_line)

    def show(self) -> None:
        """Print the view once."""
        self._console.print(self.view())

    def summary(self) -> str:
        """Returns counts by status, the resources in use, and the remaining time, as one line."""
        return view.summary(self.views, self._capacity, self._to_be_proposed())

    def view(self) -> Group:
        """Returns the whole view of the present state."""
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
        """The shown state of each trial."""
        return self._trials.as_list()

    def seconds_left(self) -> float | None:
        """Returns the seconds until the sweep ends; None if that is not known yet."""
        workers = self._capacity.workers(running_workers(self.views))
        return seconds_left(self.views, workers, self._to_be_proposed())

    def _to_be_proposed(self) -> int:
        """Returns how many trials a search may still propose."""
        if self._spec.search is None or self._ended_early:
            return 0
        return cells_to_come(self._spec.search, self._spec.own_cell_count) * len(self._spec.seed_list)


def _usual_console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=PLAIN_WIDTH)


def _fronts(spec: SweepSpec, results: Sequence[TrialResult]) -> list[ShownFront]:
    # Imported here, because it imports pandas and scipy, which takes seconds and is not needed before a trial has ended.
    from orchestrator.monitor.current_front import current_fronts

    return current_fronts(spec, results)
