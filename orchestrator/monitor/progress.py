"""Follows a sweep's trials and says how they do: a live view on a terminal, plain lines elsewhere.

It is told by whoever knows: the driver by its workers, `status` by storage.
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


class Progress(Observer):
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
            shown = self._shown[trial_id]
            shown.status, shown.why, shown.worker = "running", "", event.worker
            self._changed(shown)

    def on_epochs_ended(self, event: EpochsEnded) -> None:
        """Trials have finished an epoch."""
        for trial_id, epoch in event.epochs.items():
            shown = self._shown[trial_id]
            shown.epoch, shown.epoch_seconds = epoch.epoch, epoch.values["train/seconds"]
            self._tell_at_times()

    def on_trial_retried(self, event: TrialRetried) -> None:
        """A trial waits for its next attempt."""
        self._unless_ended(event.trial_id, "pending", event.why)

    def on_trial_failed(self, event: TrialFailed) -> None:
        """A trial has no attempt left."""
        self._unless_ended(event.trial_id, "failed", event.why)

    def on_trial_stopped(self, event: TrialStopped) -> None:
        """A search has stopped a trial."""
        self._shown[event.trial_id].stopped = True
        self._set_status(event.trial_id, "cancelled", f"stopped at epoch {event.epoch}")

    def on_trials_busy_elsewhere(self, event: TrialsBusyElsewhere) -> None:
        """Another sweep is at these trials."""
        for trial_id in event.trial_ids:
            shown = self._shown[trial_id]
            shown.status = "pending"
            self.say(f"{shown.status:<10} {shown.name} (another sweep trains it: {event.holder})")

    def ended(self, result: TrialResult) -> None:
        """A trial has completed or diverged."""
        shown = self._shown[result.trial.id]
        shown.status, shown.why = result.status, ""
        self._measured(result)
        self._changed(shown)

    def _unless_ended(self, trial_id: str, status: str, why: str) -> None:
        """What befalls a stack concerns those of its trials that have not ended."""
        if trial_id not in self._found:
            self._set_status(trial_id, status, why)

    def _set_status(self, trial_id: str, status: str, why: str) -> None:
        shown = self._shown[trial_id]
        shown.status, shown.why = status, why
        self._changed(shown)

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
