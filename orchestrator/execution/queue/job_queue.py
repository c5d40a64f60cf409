"""The queue that says which job is next. Pure: knows neither Ray nor files.

The canaries come first, one job of each dataset, networks and model. The others are held back until every canary has rehearsed a few
steps of training, checkpoint and evaluation; if one fails for good before that, nothing else starts.

A trial that fails is tried again after a pause that grows, as often as `retries` says, unless its error would only come again
(`retries`). When a stack has used up its tries, each of its trials has one of its own, so that one that always fails takes no other with
it. A node that was lost, or taken back by the cloud, is nobody's failure (`lost_nodes`).
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
"""Seconds until a trial that another sweep trains is looked at again."""


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
    """Trials that have raised while the others went on."""
    hopeless: set[str] = field(default_factory=set)
    """Trials that another attempt would not help."""


class JobSource(Protocol):
    """Where further jobs come from while a sweep runs: a search proposes cells."""

    def more(self, failed: Mapping[str, str]) -> Sequence[Job]:
        """Returns jobs to be added now, none where it is to be asked again; `failed` has the trials that were given up, and why."""

    @property
    def over(self) -> bool:
        """Whether there will be no more."""


class Queue:
    """Which job is next. A key names one handing out of a job.

    `held` says whether another sweep is at a trial, `lost` which nodes are gone. `pause` is how long to wait before try number n + 1.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        resources: Resources,
        held: Callable[[str], bool] = lambda trial_id: False,
        lost: Callable[[], set[str]] = set,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[int], float] | None = None,
        source: JobSource | None = None,
    ) -> None:
        self._source = source
        self._waiting = [_Waiting(job, job.ids) for job in jobs]
        self._running: dict[str, _Running] = {}
        self._at_once, self._retries = resources.at_once, resources.retries
        self._held, self._clock, self._pause = held, clock, pause or _pause
        self._tries: Counter[str] = Counter()
        self._lost_nodes: LostNodeRule[_Running] = LostNodeRule(lost, clock)
        self.failed: dict[str, str] = {}
        """Trials that were given up, and why."""
        self.stopped = ""
        """Why nothing more is handed out, where that is so."""

    @property
    def over(self) -> bool:
        """Whether nothing will be handed out any more, whatever happens."""
        more = self._waiting or self._lost_nodes.holds_back or not (self._source is None or self._source.over)
        return not self._running and (bool(self.stopped) or not more)

    @property
    def in_hand(self) -> bool:
        """Whether a job is with a worker."""
        return bool(self._running)

    @property
    def waiting(self) -> int:
        """How many jobs wait to be handed out."""
        return len(self._waiting)

    def next(self, key: str) -> Job | None:
        """Returns the job to start now, under `key`; None where there is none yet, or no more."""
        self._take_verdicts()
        if self.stopped or (self._at_once and len(self._running) >= self._at_once):
            return None
        return self._next_waiting(key) or (self._next_waiting(key) if self._refilled() else None)

    def _refilled(self) -> bool:
        """Whether the source has given more."""
        more = [] if self._source is None or self._rehearsing else self._source.more(self.failed)
        self._waiting += [_Waiting(job, job.ids) for job in more]
        return bool(more)

    def _next_waiting(self, key: str) -> Job | None:
        now, rehearsing = self._clock(), self._rehearsing
        for place, waiting in enumerate(self._waiting):
            if waiting.not_before > now or (rehearsing and not waiting.job.rehearse):
                continue
            if waiting.elsewhere and all(map(self._held, waiting.ids)):
                waiting.not_before = now + ELSEWHERE_PAUSE
                continue
            del self._waiting[place]
            self._running[key] = _Running(waiting.job, set(waiting.ids))
            return waiting.job
        return None

    @property
    def _rehearsing(self) -> bool:
        """Whether a canary has still to come through its rehearsal."""
        waiting = any(waiting.job.rehearse for waiting in self._waiting)
        return waiting or any(running.job.rehearse and not running.rehearsed for running in self._running.values())

    def rehearsed(self, key: str) -> None:
        """A job has begun in earnest."""
        if key in self._running:
            self._running[key].rehearsed = True

    def ended(self, key: str, trial_id: str) -> None:
        """A trial has completed or diverged, or a search has stopped it."""
        if key in self._running:
            self._running[key].unfinished.discard(trial_id)

    def busy(self, key: str, trial_ids: Iterable[str]) -> None:
        """Other sweeps are at these trials: they come again when those have ended. What trains there needs no rehearsal."""
        if key in self._running:
            running = self._running[key]
            running.busy |= set(trial_ids)
            running.unfinished -= running.busy
            running.rehearsed = running.rehearsed or not running.unfinished

    def raised(self, key: str, trial_id: str, fails_again: bool = False) -> None:
        """One trial of a job has raised; the others go on. `fails_again` is whether it would only raise again."""
        if key in self._running:
            self._running[key].raised.add(trial_id)
            self._running[key].unfinished.discard(trial_id)
            self._running[key].hopeless |= {trial_id} if fails_again else set()

    def stop(self, why: str) -> None:
        """Hand out nothing more."""
        self.stopped = self.stopped or why

    def done(self, key: str, error: str = "") -> None:
        """A worker has come to the end of a job by itself; `error` is that of trials that raised on the way."""
        running = self._running.pop(key, None)
        if running is None:
            return
        self._put_off(running)
        if running.raised and not self.stopped:
            self._try_again(running, running.raised, error)

    def broke(self, key: str, error: str, node: str = "", fails_again: bool = False) -> None:
        """What ran a job has ended with an error; `node` is where its process was, if that died. `fails_again` is whether another attempt
        would end with the same error.
        """
        running = self._running.pop(key, None)
        if running is None:
            return
        self._put_off(running)
        trial_ids = running.unfinished | running.raised
        running.hopeless |= running.unfinished if fails_again else set()
        if trial_ids:
            self._try_again(running, trial_ids, error, node)

    def _take_verdicts(self) -> None:
        """Forgive the failures of lost nodes, and fail for good what has waited long enough to be forgiven."""
        for verdict in self._lost_nodes.verdicts():
            death = verdict.death
            self._tries.subtract(verdict.forgiven)
            if again := death.out_of_tries & verdict.forgiven:
                self._add(death.job, again, 0.0)
            self._fail(death.job, verdict.failed, death.error)

    def _put_off(self, running: _Running) -> None:
        if running.busy:
            self._add(running, running.busy, ELSEWHERE_PAUSE, elsewhere=True)

    def _try_again(self, running: _Running, trial_ids: set[str], error: str, node: str = "") -> None:
        self._tries.update(trial_ids)
        for trial_id in trial_ids & running.hopeless:
            self._tries[trial_id] = max(self._tries[trial_id], self._retries + 1)
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

    def _fail(self, running: _Running, trial_ids: frozenset[str], error: str) -> None:
        self.failed |= dict.fromkeys(trial_ids, error)
        if trial_ids and running.job.rehearse and not running.rehearsed:
            self.stop("a canary failed before anything else started")

    def _add(self, running: _Running, trial_ids: Iterable[str], pause: float, elsewhere: bool = False) -> None:
        """Put trials of a job back, ahead of those that have not begun."""
        job = replace(running.job.only(trial_ids), rehearse=running.job.rehearse and not running.rehearsed)
        self._waiting.insert(0, _Waiting(job, job.ids, self._clock() + pause, elsewhere))


def _pause(tries: int) -> float:
    """Returns twice as long each time, and never the same for two workers that broke at once."""
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (tries - 1)) * random.uniform(0.75, 1.25))
