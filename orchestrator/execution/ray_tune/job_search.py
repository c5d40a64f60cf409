"""A searcher that hands the queue's jobs to Tune."""

import uuid
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from ray.tune.search import Searcher

from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.whole_files import write_text
from orchestrator.execution.queue.job_queue import Queue

MOST_JOBS = 2_000
"""The most jobs that one Tuner runs. The next Tuner starts its workers anew, which costs about ten seconds."""


class WorkerStart:
    """Lets every worker start before the first job is handed out; until then the workers wait for each other.

    Without it, Tune gives a job whose worker is still starting to a worker that has become free, and stops the starting one: with trials
    of a second there would be only one worker, for ever. The signal to begin is a file in storage, which every worker sees.
    """

    def __init__(self, storage: AnyPath, workers: int) -> None:
        self._to_start = self._starting = workers
        self.name = f"alive/workers-{uuid.uuid4().hex}"  # a killed driver leaves the file in `alive`, where `gc` removes it
        self._signal_file = storage / self.name

    def __enter__(self) -> "WorkerStart":
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):
            self._signal_file.unlink(missing_ok=True)

    def one_more(self) -> bool:
        """Count one more worker; returns whether it is to be started."""
        self._to_start -= 1
        return self._to_start >= 0

    def started(self) -> None:
        """A worker has started. When the last one has, all are told to begin."""
        self._starting -= 1
        if self._starting == 0:
            write_text(self._signal_file, "")


class JobSearch(Searcher):
    """Hands the queue's jobs to Tune, at most `MOST_JOBS`.

    A Tuner keeps all its jobs in memory until its end, so a long sweep is run by several Tuners.
    """

    def __init__(self, queue: Queue, worker_start: WorkerStart) -> None:
        super().__init__()
        self._queue, self._worker_start = queue, worker_start
        self._jobs_left = MOST_JOBS

    @property
    def spent(self) -> bool:
        """Whether no further job will be handed out, and all jobs have ended."""
        return self._queue.is_over or (self._jobs_left <= 0 and not self._queue.has_running_jobs)

    def __getstate__(self) -> dict[str, Any]:
        """Returns nothing: Tune pickles its searcher for a restore that is never made."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Returns the next job, None if no job can start now, and `FINISHED` if there will be no more."""
        if self._worker_start.one_more():
            return {"job": None, "all_started": self._worker_start.name}
        if self.spent:
            finished: str = Searcher.FINISHED
            return finished
        job = self._queue.next(trial_id) if self._jobs_left > 0 else None
        if job is None:
            return None
        self._jobs_left -= 1
        return {"job": asdict(job)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Does nothing: the callback tells the queue, in more detail."""

    def save(self, checkpoint_path: str) -> None:
        """Does nothing: the ledger has everything."""

    def restore(self, checkpoint_path: str) -> None:
        """Does nothing, and is never called: a sweep is resumed from the ledger."""
