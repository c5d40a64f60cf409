"""Passes the reports of Tune and its workers to the queue and to the sweep's observer."""

from typing import Any

from ray import tune
from ray.tune.experiment import Trial as TuneTrial

from orchestrator.execution.events import Event, Observer
from orchestrator.execution.queue.job import Job
from orchestrator.execution.queue.job_queue import Queue
from orchestrator.execution.queue.job_reports import JobReports
from orchestrator.execution.ray_tune.job_search import WorkerStart
from orchestrator.execution.ray_tune.worker import MESSAGES, JobEnded, JobRaised, JobTaken, WorkerStarted

DIED = "its worker was killed, or crashed, or its node was lost"


class MessageCallback(tune.Callback):
    """Receives the messages of all workers. Each time a job is handed out, Tune makes a trial of its own; its id is the queue's key."""

    def __init__(self, queue: Queue, worker_start: WorkerStart, observer: Observer) -> None:
        self._queue, self._worker_start, self._observer = queue, worker_start, observer
        self._reports: dict[str, JobReports] = {}
        """Reports of the running jobs, by key."""
        self._nodes: dict[str, str] = {}
        """The node that a job runs on, by key."""
        self._raised: dict[str, JobRaised] = {}
        """The error that ended a job, by key."""

    def __getstate__(self) -> dict[str, Any]:
        """Returns nothing: Tune pickles its callbacks for a restore that is never made, and an observer holds threads and locks."""
        return {}

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict[str, Any], **info: Any
    ) -> None:
        """A worker has sent a message."""
        (message,) = result[MESSAGES]
        key = trial.trial_id
        if isinstance(message, WorkerStarted):
            self._worker_start.started()
        elif isinstance(message, JobTaken):
            self._nodes[key] = message.node
        elif isinstance(message, JobRaised):
            self._raised[key] = message
        elif isinstance(message, Event):
            self._reports_of(trial).notify(message)
        elif isinstance(message, JobEnded) and trial.config["job"]:
            self._reports_of(trial).job_finished()
            self._forget(key)

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """A job has ended with an error. If the worker has not sent one, its process has died."""
        if not trial.config["job"]:
            return
        raised = self._raised.get(trial.trial_id)
        if raised is None:
            self._reports_of(trial).job_failed(DIED, self._nodes.get(trial.trial_id, ""))
        else:
            self._reports_of(trial).job_failed(raised.error, fails_again=raised.fails_again)
        self._forget(trial.trial_id)

    def _reports_of(self, trial: TuneTrial) -> JobReports:
        key = trial.trial_id
        if key not in self._reports:
            self._reports[key] = JobReports(key, Job(**trial.config["job"]), self._queue, self._observer)
        return self._reports[key]

    def _forget(self, key: str) -> None:
        self._reports.pop(key, None)
        self._nodes.pop(key, None)
        self._raised.pop(key, None)
