"""The queue, which decides which job is next. Pure: uses neither Ray nor files.

The canaries come first: one job for each dataset, networks and model. The other jobs wait until every canary has rehearsed a few steps of
training, checkpoint and evaluation. If a canary fails for good before that, nothing else starts.

A trial that fails is tried again after a pause that grows, as often as `resources.retries` allows, unless the next attempt would raise
the same error (module `retries`). When a stack has used up its tries, each of its trials gets one try alone, so that a trial that always
fails does not fail the others. A lost node, also one that the cloud took back, counts as no trial's failure (module `lost_nodes`).
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from orchestrator.execution.queue.job import Job
from orchestrator.execution.queue.lost_nodes import LostNodeRule, WorkerDeath
from orchestrator.spec.sections import Resources

FIRST_PAUSE = 2.0
"""Seconds before a second try; each further pause is twice as long, up to `LONGEST_PAUSE`."""
LONGEST_PAUSE = 120.0
ELSEWHERE_PAUSE = 2.0
"""Seconds between two checks of a trial that another sweep trains."""


@dataclass
class _Waiting:
    job: Job
    ids: tuple[str, ...]
    not_before: float = 0.0
    elsewhere: bool = False
    """Whether another sweep trains it."""


@dataclass
class _Running:
    job: Job
    unfinished: set[str]
    """Trials that have neither ended nor been put off."""
    rehearsed: bool = False
    busy: set[str] = field(default_factory=set)
    """Trials that another sweep trains."""
    raised: set[str] = field(default_factory=set)
    """Trials that have raised an error while the others went on."""
    certain_to_fail: set[str] = field(default_factory=set)
    """Trials for which another attempt would raise the same error."""


class JobSource(Protocol):
    """Adds jobs while a sweep runs, as a search that proposes cells."""

    def more(self, failed: Mapping[str, str]) -> Sequence[Job]:
        """Returns jobs to add now; none if the queue has to ask again later. `failed` has the reason for each trial that was given up."""

    @property
    def is_over(self) -> bool:
        """Whether there will be no more jobs."""


class Queue:
    """Decides which job is next. Each time a job is handed out, it gets a key of its own.

    `is_held_elsewhere` returns whether another sweep trains a trial; `lost` returns the nodes that are gone; `pause` returns the seconds
    to wait after a number of failed tries.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        resources: Resources,
        is_held_elsewhere: Callable[[str], bool] = lambda trial_id: False,
        lost: Callable[[], set[str]] = set,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[int], float] | None = None,
        source: JobSource | None = None,
    ) -> None:
        self._source = source
        self._waiting = [_Waiting(job, job.ids) for job in jobs]
        self._running: dict[str, _Running] = {}
        self._at_once, self._retries = resources.at_once, resources.retries
        self._is_held_elsewhere, self._clock, self._pause = is_held_elsewhere, clock, pause or _pause
        self._tries: Counter[str] = Counter()
        self._lost_nodes: LostNodeRule[_Running] = LostNodeRule(lost, clock)
        self.failed: dict[str, str] = {}
        """The error of each trial that was given up, by trial id."""
        self.stopped = ""
        """Why nothing more is handed out; empty while jobs are handed out."""

    @property
    def is_over(self) -> bool:
        """Whether nothing runs and nothing will be handed out any more."""
        if self._running:
            return False
        source_has_more = self._source is not None and not self._source.is_over
        has_more = bool(self._waiting) or self._lost_nodes.holds_back or source_has_more
        return bool(self.stopped) or not has_more

    @property
    def has_running_jobs(self) -> bool:
        """Whether a worker has a job."""
        return bool(self._running)

    @property
    def waiting(self) -> int:
        """How many jobs wait to be handed out."""
        return len(self._waiting)

    def next(self, key: str) -> Job | None:
        """Returns the job to start now, and notes it under `key`; None if no job can start now, or none is left."""
        self._take_verdicts()
        if self.stopped or (self._at_once and len(self._running) >= self._at_once):
            return None
        job = self._next_waiting(key)
        if job is None and self._refill():
            job = self._next_waiting(key)
        return job

    def _refill(self) -> bool:
        """Add the jobs that the source has now; returns whether there were any."""
        if self._source is None or self._rehearsing:
            return False
        jobs = self._source.more(self.failed)
        self._waiting += [_Waiting(job, job.ids) for job in jobs]
        return bool(jobs)

    def _next_waiting(self, key: str) -> Job | None:
        """Move the first waiting job that can start now to the running ones, under `key`; returns it, or None if there is none."""
        now, rehearsing = self._clock(), self._rehearsing
        for place, waiting in enumerate(self._waiting):
            if waiting.not_before > now or (rehearsing and not waiting.job.rehearse):
                continue
            if waiting.elsewhere and all(map(self._is_held_elsewhere, waiting.ids)):
                waiting.not_before = now + ELSEWHERE_PAUSE
                continue
            del self._waiting[place]
            self._running[key] = _Running(waiting.job, set(waiting.ids))
            return waiting.job
        return None

    @property
    def _rehearsing(self) -> bool:
        """Whether a canary has not ended its rehearsal yet."""
        is_waiting = any(waiting.job.rehearse for waiting in self._waiting)
        return is_waiting or any(running.job.rehearse and not running.rehearsed for running in self._running.values())

    def rehearsal_passed(self, key: str) -> None:
        """A job has passed its rehearsal, if it had one, and trains."""
        if key in self._running:
            self._running[key].rehearsed = True

    def trial_ended(self, key: str, trial_id: str) -> None:
        """A trial has completed or diverged, or a search has stopped it."""
        if key in self._running:
            self._running[key].unfinished.discard(trial_id)

    def trials_busy(self, key: str, trial_ids: Iterable[str]) -> None:
        """Other sweeps train these trials: they are queued again until that has ended. A job of only such trials needs no rehearsal."""
        if key in self._running:
            running = self._running[key]
            running.busy |= set(trial_ids)
            running.unfinished -= running.busy
            running.rehearsed = running.rehearsed or not running.unfinished

    def trial_raised(self, key: str, trial_id: str, fails_again: bool = False) -> None:
        """One trial of a job has raised an error; the others go on. `fails_again` is whether another attempt would raise it again."""
        if key in self._running:
            running = self._running[key]
            running.raised.add(trial_id)
            running.unfinished.discard(trial_id)
            if fails_again:
                running.certain_to_fail.add(trial_id)

    def stop(self, why: str) -> None:
        """Hand out nothing more."""
        self.stopped = self.stopped or why

    def job_finished(self, key: str, error: str = "") -> None:
        """A worker has finished a job; `error` is the last error of trials that raised one."""
        running = self._running.pop(key, None)
        if running is None:
            return
        self._put_off(running)
        if running.raised and not self.stopped:
            self._try_again(running, running.raised, error)

    def job_failed(self, key: str, error: str, node: str = "", fails_again: bool = False) -> None:
        """A job has ended with an error. `node` is the node of its process if the process died. `fails_again` is whether another attempt
        would end with the same error.
        """
        running = self._running.pop(key, None)
        if running is None:
            return
        self._put_off(running)
        trial_ids = running.unfinished | running.raised
        if fails_again:
            running.certain_to_fail |= running.unfinished
        if trial_ids:
            self._try_again(running, trial_ids, error, node)

    def _take_verdicts(self) -> None:
        """Forgive the attempts that lost nodes have ended, and fail the trials whose node turned out to be alive."""
        for verdict in self._lost_nodes.verdicts():
            death = verdict.death
            self._tries.subtract(verdict.forgiven)
            if again := death.out_of_tries & verdict.forgiven:
                self._add(death.job, again, 0.0)
            self._fail(death.job, verdict.failed, death.error)

    def _put_off(self, running: _Running) -> None:
        """Queue the trials of a job again that another sweep trains."""
        if running.busy:
            self._add(running, running.busy, ELSEWHERE_PAUSE, elsewhere=True)

    def _try_again(self, running: _Running, trial_ids: set[str], error: str, node: str = "") -> None:
        """Charge trials with a failed try, queue those again that have tries left, and fail the others.

        A trial of a stack gets one more try alone. If a worker died on `node`, the verdict on the node comes before any trial fails.
        """
        self._charge(trial_ids, running.certain_to_fail)
        again = {trial_id for trial_id in trial_ids if self._tries[trial_id] <= self._retries}
        out_of_tries = frozenset(trial_ids - again)
        if again:
            self._add(running, again, self._pause(max(self._tries[trial_id] for trial_id in again)))
        if len(running.job.members) > 1:
            for trial_id in sorted(out_of_tries):
                self._add(running, {trial_id}, self._pause(1))
            out_of_tries = frozenset()
        if node:
            self._lost_nodes.add(WorkerDeath(node, running, frozenset(trial_ids), out_of_tries, error))
        else:
            self._fail(running, out_of_tries, error)

    def _charge(self, trial_ids: set[str], certain_to_fail: set[str]) -> None:
        """Count a failed try for each trial; one that is certain to fail has no tries left then."""
        self._tries.update(trial_ids)
        for trial_id in trial_ids & certain_to_fail:
            self._tries[trial_id] = max(self._tries[trial_id], self._retries + 1)

    def _fail(self, running: _Running, trial_ids: frozenset[str], error: str) -> None:
        """Give trials up; if they are a canary that has not passed its rehearsal, the whole sweep stops."""
        self.failed |= dict.fromkeys(trial_ids, error)
        if trial_ids and running.job.rehearse and not running.rehearsed:
            self.stop("a canary failed before anything else started")

    def _add(self, running: _Running, trial_ids: Iterable[str], pause: float, elsewhere: bool = False) -> None:
        """Queue trials of a job again, ahead of jobs that have not begun; they wait `pause` seconds at least."""
        job = replace(running.job.only(trial_ids), rehearse=running.job.rehearse and not running.rehearsed)
        self._waiting.insert(0, _Waiting(job, job.ids, self._clock() + pause, elsewhere))


def _pause(tries: int) -> float:
    """Returns seconds that double with each try, more or less a random quarter: workers that fail together do not retry together."""
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (tries - 1)) * random.uniform(0.75, 1.25))
