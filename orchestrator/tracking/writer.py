"""Writes to a tracker from a separate thread, in batches, so that the driver never waits for it."""

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from mopoe_core.metric_names import Epoch
from mopoe_core.storage.uri_secrets import without_secrets
from orchestrator.errors import LedgerError
from orchestrator.execution.events import EpochsEnded, Observer, TrialEnded, TrialsBegun, TrialStopped
from orchestrator.ledger.leases.lease import LeaseLost
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.trial import Trial
from orchestrator.tracking.circuit_breaker import AWAY_SECONDS, CircuitBreaker
from orchestrator.tracking.ledger_marks import digest, mark_of
from orchestrator.tracking.summaries import CellSummary, SweepSummary
from orchestrator.tracking.tracker import Connect, Tracker

BATCH_SECONDS = 1.0
"""How long the thread collects epochs before it writes all of them with one request."""
PATIENCE_SECONDS = 300.0
"""How long `close` waits for one request. The upload of a checkpoint may take minutes."""


@dataclass(frozen=True)
class _Message:
    """A job for the writing thread."""

    kind: str
    """`begun`, `epochs`, `changed` or `close`."""
    trial_id: str = ""
    epochs: tuple[Epoch, ...] = ()
    summaries: tuple[CellSummary, ...] = ()
    sweep: SweepSummary | None = None


class Writer(Observer):
    """An observer of a sweep's events that writes them to a tracker.

    With `look`, `close` compares every run with the ledger, even if the tracker says that it is complete. With `anew`, it writes every
    run anew. If the tracker raises LeaseLost, another driver may have taken over, and nothing more is written. Messages in `problems`
    call the tracker `name`, and do not contain the secrets of its `address`.
    """

    def __init__(
        self,
        connect: Connect,
        trials: Sequence[Trial],
        ledger: Ledger,
        name: str = "tracker",
        address: str = "",
        look: bool = False,
        anew: bool = False,
    ) -> None:
        self.breaker = CircuitBreaker(self._reachable, passed=LeaseLost)
        self._lost: LeaseLost | None = None
        self._ledger = ledger
        self._trials: dict[str, Trial] = {}
        self._trials_by_cell: dict[str, list[Trial]] = {}
        self.add(trials)
        self._connect = partial(connect, self._trials_by_cell, self.breaker.show_progress)
        self._look, self._anew = look, anew
        self._name, self._address, self._password = name, address, urlsplit(address).password
        self._tracker: Tracker | None = None
        self._queue: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._missed: set[str] = set()
        """Ids of trials whose end could not be written yet."""
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def add(self, trials: Sequence[Trial]) -> None:
        """Add trials that a search has proposed. Call it before any of their events."""
        for trial in trials:
            if trial.id not in self._trials:
                self._trials[trial.id] = trial
                self._trials_by_cell.setdefault(trial.cell.id, []).append(trial)

    @property
    def problems(self) -> list[str]:
        """One line for each thing that could not be written: the first few, and the number of further ones.

        A later command writes these from the ledger.
        """
        notes = [without_secrets(note, self._address) for note in self.breaker.notes]
        return [note.replace(self._password, "***") if self._password else note for note in notes]  # short passwords too

    @property
    def behind(self) -> int:
        """Number of messages that are not written yet."""
        return self._queue.qsize()

    def on_trials_begun(self, event: TrialsBegun) -> None:
        """Queue the start of trials."""
        for trial_id in event.attempts:
            self._queue.put(_Message("begun", trial_id))

    def on_epochs_ended(self, event: EpochsEnded) -> None:
        """Queue the epochs that trials have finished."""
        for trial_id, epoch in event.epochs.items():
            self._queue.put(_Message("epochs", trial_id, epochs=(epoch,)))

    def on_trial_ended(self, event: TrialEnded) -> None:
        """Queue the end of a trial that completed or diverged."""
        self._queue.put(_Message("changed", event.trial_id))

    def on_trial_stopped(self, event: TrialStopped) -> None:
        """Queue the end of a trial that a search stopped."""
        self._queue.put(_Message("changed", event.trial_id))

    def close(self, summaries: Sequence[CellSummary], within: float = float("inf"), sweep: SweepSummary | None = None) -> None:
        """Write all queued messages, then all trials, cells and the sweep from the ledger. Ends the thread.

        Gives up after `within` seconds. Without `sweep`, the run of the sweep does not change. Raises LeaseLost if another driver may
        have taken over.
        """
        self.breaker.show_progress()
        deadline = time.monotonic() + within
        self._closing.set()
        self._queue.put(_Message("close", summaries=tuple(summaries), sweep=sweep))
        while self._thread.is_alive():
            self._thread.join(min(1.0, PATIENCE_SECONDS, within))
            if time.monotonic() > deadline:
                self.breaker.give_up("interrupted before all was written")
                return
            if self.breaker.silent_seconds() > PATIENCE_SECONDS:
                self.breaker.give_up(f"{self._name} has not answered for {PATIENCE_SECONDS:.0f} s")
                return
        if self._lost is not None:
            raise self._lost

    def _work(self) -> None:
        try:
            while not self._write_next():
                pass
        except LeaseLost as error:
            self._lost = error
        except Exception as error:  # a fault of this program: without a note, the run would count as written
            self.breaker.note(f"{type(error).__name__}: {error}")

    def _write_next(self) -> bool:
        """Write the queued messages; returns whether `close` was among them."""
        messages = self._next_messages()
        self._missed -= {message.trial_id for message in messages if message.kind == "begun"}
        for message in _merged(messages):
            name = f"{message.kind} {message.trial_id}"
            is_written = self.breaker.attempt(name, partial(self._apply, message))
            if message.kind == "changed" and not is_written:
                self._missed.add(message.trial_id)
        if messages and messages[-1].kind == "close":
            self.breaker.retry_now()
            self._write_everything(messages[-1].summaries, messages[-1].sweep)
            return True
        self._write_missed()
        return False

    def _write_missed(self) -> None:
        """Try again to write the ends of trials that could not be written before."""
        for trial_id in list(self._missed):
            if self.breaker.attempt(f"changed {trial_id}", partial(self._project, trial_id)):
                self._missed.remove(trial_id)

    def _next_messages(self) -> list[_Message]:
        """Wait for messages and return them. Returns none after a while if earlier messages have to be tried again."""
        try:
            messages = [self._queue.get(timeout=AWAY_SECONDS if self._missed else None)]
        except queue.Empty:
            return []
        if messages[0].kind == "epochs":
            self._closing.wait(BATCH_SECONDS)  # collects more epochs for one request
        while not self._queue.empty():
            messages.append(self._queue.get())
        return messages

    def _apply(self, message: _Message) -> None:
        trial = self._trials[message.trial_id]
        if message.kind == "begun":
            self._opened().begin(trial)
        elif message.kind == "epochs":
            self._opened().epochs(trial, message.epochs)
        else:
            self._project(trial.id)

    def _project(self, trial_id: str) -> None:
        self._write_trial(trial_id, mark_of(self._ledger, self._trials[trial_id]))

    def _write_everything(self, summaries: Sequence[CellSummary], sweep: SweepSummary | None) -> None:
        """Write all trials and cells and the sweep from the ledger; nothing if the tracker has all of it already."""
        attempt, marks = self.breaker.attempt, self._marks()
        cells = [(s.cell.id, s.n, s.n_planned, s.plain_values, *s.tags.values()) for s in summaries]
        complete_digest = digest(sorted(marks.items()), cells, *([sweep.content] if sweep else []))
        if not attempt("experiment", self._connected) or self._has(complete_digest):
            return
        jobs: list[tuple[str, Callable[[], None]]] = [
            *((f"trial {trial_id}", partial(self._write_trial, trial_id, mark)) for trial_id, mark in marks.items()),
            *((f"cell {summary.cell.id}", partial(self._write_cell, summary, marks)) for summary in summaries),
            *([(f"sweep {sweep.name}", partial(self._write_sweep, sweep))] if sweep else []),
            ("closing", self._close_runs),
        ]
        successes = [attempt(name, job) for name, job in jobs]
        if all(successes) and len(marks) == len(self._trials):
            attempt("experiment", partial(self._connected().set_complete_digest, complete_digest))

    def _marks(self) -> dict[str, str]:
        """Returns the mark of each trial by its id. Leaves out trials whose records cannot be read, and notes these as problems."""
        marks: dict[str, str] = {}
        for trial in self._trials.values():
            try:
                marks[trial.id] = mark_of(self._ledger, trial)
            except (LedgerError, OSError) as error:
                self.breaker.note(f"trial {trial.id}: {error}")
        return marks

    def _has(self, complete_digest: str) -> bool:
        """Returns whether the tracker has everything of this digest already.

        False if runs were opened, and so may have been written, or if `look` or `anew` asks for a comparison.
        """
        tracker = self._connected()
        return tracker.complete_digest == complete_digest and not (tracker.opened or self._look or self._anew)

    def _write_trial(self, trial_id: str, mark: str) -> None:
        trial = self._trials[trial_id]
        if mark:
            self._opened().project(trial, mark)
        else:
            self._opened().withdraw(trial)

    def _write_cell(self, summary: CellSummary, marks: Mapping[str, str]) -> None:
        self._opened().summarise(summary, marks)

    def _write_sweep(self, summary: SweepSummary) -> None:
        self._opened().sweep(summary)

    def _close_runs(self) -> None:
        self._opened().close()

    def _connected(self) -> Tracker:
        if self._tracker is None:
            self._tracker = self._connect()
        return self._tracker

    def _opened(self) -> Tracker:
        tracker = self._connected()
        if not tracker.opened:
            tracker.open(self._anew)
        return tracker

    def _reachable(self) -> bool:
        return self._tracker is not None and self._tracker.reachable()


def _merged(messages: Sequence[_Message]) -> list[_Message]:
    """Returns the messages without `close` and without superfluous ones; the epochs of a trial become one message.

    A message is superfluous if a later one of its trial has the same kind or is `changed`.
    """
    merged: dict[tuple[str, str], _Message] = {}
    for message in reversed(messages):
        if message.kind == "close" or (message.trial_id, "changed") in merged:
            continue
        later = merged.get((message.trial_id, message.kind))
        if later is None:
            merged[message.trial_id, message.kind] = message
        elif message.kind == "epochs":
            merged[message.trial_id, "epochs"] = _Message("epochs", message.trial_id, message.epochs + later.epochs)
    return list(reversed(merged.values()))
