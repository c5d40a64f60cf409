"""The queue as Tune sees it: a searcher that hands out its jobs."""

import uuid
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from ray.tune.search import Searcher

from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.whole_files import write_text
from orchestrator.execution.queue.job_queue import Queue

MOST_JOBS = 2_000
"""Jobs before the workers are started anew, which costs some ten seconds."""


class WorkerStart:
    """Lets every worker start before the first job is handed out, with nothing to do but to wait for the others.

    Tune gives a job that waits for a worker of its own to one that has become free, and stops the one that was starting: with trials of a
    second there would be one worker for ever. The sign is a file in storage, which every worker sees.
    """

    def __init__(self, storage: AnyPath, workers: int) -> None:
        self._to_start = self._starting = workers
        self.name = f"alive/workers-{uuid.uuid4().hex}"  # there `gc` removes what a killed driver leaves
        self._sign = storage / self.name

    def __enter__(self) -> "WorkerStart":
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(OSError):
            self._sign.unlink(missing_ok=True)

    def one_more(self) -> bool:
        """Returns whether another worker is to be started."""
        self._to_start -= 1
        return self._to_start >= 0

    def started(self) -> None:
        """A worker has started."""
        self._starting -= 1
        if self._starting == 0:
            write_text(self._sign, "")


class JobSearch(Searcher):
    """Hands the queue's jobs to Tune, `MOST_JOBS` at most: Tune keeps all that it ran in memory to its end, so that a long sweep is run
    as several.
    """

    def __init__(self, queue: Queue, worker_start: WorkerStart) -> None:
        super().__init__()
        self._queue, self._worker_start = queue, worker_start
        self._jobs_left = MOST_JOBS

    @property
    def spent(self) -> bool:
        """Whether it has handed out all that it will, and that has ended."""
        return self._queue.over or (self._jobs_left <= 0 and not self._queue.in_hand)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its searcher for a restore that is never made."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Returns the next job, None where there is none for now, and `FINISHED` where there will be none."""
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
        """Nothing: the queue has it from the callback, which is told more."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to keep: the ledger remembers."""

    def restore(self, checkpoint_path: str) -> None:
        """Never called: a sweep is resumed from the ledger."""
