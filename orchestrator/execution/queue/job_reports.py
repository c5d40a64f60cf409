"""Passes the reports of an attempt at a job to the queue and to the sweep's observer."""

from orchestrator.execution.events import (
    Event,
    Observer,
    StorageFull,
    TrialEnded,
    TrialFailed,
    TrialRaised,
    TrialRetried,
    TrialsBegun,
    TrialsBusyElsewhere,
    TrialStopped,
)
from orchestrator.execution.queue.job import Job
from orchestrator.execution.queue.job_queue import Queue

MOST_SHOWN = 200
"""Characters of an error that a line of progress shows."""


class JobReports(Observer):
    """Receives the events of a job that was handed out under `key`. Passes them to the queue, and then to the sweep's observer."""

    def __init__(self, key: str, job: Job, queue: Queue, observer: Observer) -> None:
        self.error = ""
        """The last traceback of the job or of one of its trials."""
        self._key, self._job, self._queue, self._observer = key, job, queue, observer

    def notify(self, event: Event) -> None:
        """Pass an event to the queue if it concerns the queue, and to the observer in any case."""
        super().notify(event)
        self._observer.notify(event)

    def on_trials_begun(self, event: TrialsBegun) -> None:
        """The job has passed its rehearsal."""
        self._queue.rehearsal_passed(self._key)

    def on_trial_ended(self, event: TrialEnded) -> None:
        """The trial needs no further attempt."""
        self._queue.trial_ended(self._key, event.trial_id)

    def on_trial_stopped(self, event: TrialStopped) -> None:
        """The trial needs no further attempt."""
        self._queue.trial_ended(self._key, event.trial_id)

    def on_trials_busy_elsewhere(self, event: TrialsBusyElsewhere) -> None:
        """The trials are queued again."""
        self._queue.trials_busy(self._key, event.trial_ids)

    def on_trial_raised(self, event: TrialRaised) -> None:
        """The trial is tried again when the others of its stack have ended, unless it would raise the same error."""
        self.error = event.error
        self._queue.trial_raised(self._key, event.trial_id, event.fails_again)
        kind = TrialFailed if event.fails_again and len(self._job.ids) == 1 else TrialRetried
        self._observer.notify(kind(event.trial_id, last_line(event.error)))

    def on_storage_full(self, event: StorageFull) -> None:
        """Nothing more is handed out."""
        self._queue.stop(event.error)

    def job_finished(self) -> None:
        """The attempt has finished without an error of the whole job."""
        self._queue.job_finished(self._key, self.error)

    def job_failed(self, error: str, node: str = "", fails_again: bool = False) -> None:
        """The attempt has ended with an error. `node` is the node of its process if the process died. `fails_again` is whether another
        attempt would end with the same error.
        """
        self._queue.job_failed(self._key, error, node, fails_again)
        for trial_id in self._job.ids:
            kind = TrialFailed if trial_id in self._queue.failed else TrialRetried
            self._observer.notify(kind(trial_id, last_line(error)))


def last_line(error: str) -> str:
    """Returns the last line of a traceback, shortened; the ledger has the whole traceback."""
    return error.strip().rpartition("\n")[2][:MOST_SHOWN]
