"""Jobs on their way to workers, and the queue that says which is next. Pure: knows neither Ray nor files.

The canaries come first, one job of each dataset, networks and model. The others are held back until every canary has rehearsed a few
steps of training, checkpoint and evaluation; if one fails for good before that, nothing else starts.

A trial that fails is tried again after a pause that grows, as often as `retries` says. When a stack has used up its tries, each of its
trials has one of its own, so that one that always fails takes no other with it. A node that was lost, or taken back by the cloud, is
nobody's failure.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.cards import DataKey
from mopoe_core.storage.files import AnyPath
from orchestrator.spec.search_block import Early
from orchestrator.spec.sections import Resources
from orchestrator.spec.trial import Cell, Trial

FIRST_PAUSE = 2.0
"""Seconds before a second try; each further pause is twice as long, up to `LONGEST_PAUSE`."""
LONGEST_PAUSE = 120.0
ELSEWHERE_PAUSE = 2.0
"""Seconds until a trial that another sweep trains is looked at again."""
MOST_LOST_NODES = 100
"""A trial that has lost so many nodes is what kills them."""
VERDICT_SECONDS = 40.0
"""How long it may take until a node is known to be gone: Ray's health check gives it up to 25 s; its workers' deaths are told at once."""


@dataclass(frozen=True)
class Watch:
    """What the workers of a search do beside training, so that it can stop cells early."""

    early: Early
    stopped: AnyPath
    """Folder with a file for each cell that is to stop, named by its id."""


@dataclass(frozen=True)
class Place:
    """Where workers find things, and what all jobs of a sweep have in common.

    Handed over in memory, and not as part of a job: Tune writes those to disk, and a storage URI may hold a secret.
    """

    storage: AnyPath
    data: str
    root: str
    """Folder that a user's own dataset is looked for in."""
    threads: int
    gpu: float
    commit: str
    driver: str
    """The token of the driver's lease."""
    watch: Watch | None = None


@dataclass(frozen=True)
class Job:
    """A stack of trials on its way to a worker: plain values, because Ray carries it."""

    members: list[tuple[dict[str, Any], int]]
    """Each trial's configuration and seed; a trial that is trained alone is a stack of one."""
    rehearse: bool
    """Try a few steps of everything first: this stack is the canary of its dataset and model."""

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The trials themselves."""
        return tuple(Trial(Cell(TrainingConfig.model_validate(config)), seed) for config, seed in self.members)

    def only(self, ids: Iterable[str]) -> "Job":
        """The same with only these trials."""
        wanted = set(ids)
        kept = [member for trial, member in zip(self.trials, self.members, strict=True) if trial.id in wanted]
        return replace(self, members=kept)


def in_order(trials: Sequence[Trial]) -> list[Trial]:
    """Seed by seed, so that the whole picture is there early, and is made surer by every further seed."""
    return sorted(trials, key=lambda trial: trial.seed)


def jobs(stacks: Sequence[tuple[Trial, ...]], seconds: Mapping[str, float]) -> list[Job]:
    """Jobs in the order in which they should start: the canaries; then by the first seed, and of one seed the longest first, so that
    no worker is left with a long one when the others have ended. `seconds` is what each trial should take, by id.
    """
    seen: set[tuple[DataKey, str, str]] = set()
    canaries: list[Job] = []
    others: list[Job] = []
    longest_first = sorted(stacks, key=lambda stack: (stack[0].seed, -sum(seconds.get(trial.id, 0.0) for trial in stack)))
    for stack in longest_first:
        kinds = {(trial.config.data_key, trial.config.networks, trial.config.model) for trial in stack}
        job = Job([(trial.config.model_dump(), trial.seed) for trial in stack], rehearse=not kinds <= seen)
        (canaries if job.rehearse else others).append(job)
        seen |= kinds
    return canaries + others


@dataclass
class _Waiting:
    job: Job
    ids: tuple[str, ...]
    not_before: float = 0.0
    elsewhere: bool = False
    """Whether another sweep trains it."""


@dataclass
class _Live:
    job: Job
    left: set[str]
    """Trials that have neither ended nor been put off."""
    rehearsed: bool = False
    busy: set[str] = field(default_factory=set)
    fallen: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Blamed:
    """Trials whose worker died, which was counted as a failure; if it turns out that their node was lost, it was none."""

    node: str
    until: float
    live: _Live
    trial_ids: frozenset[str]
    error: str
    spent: frozenset[str]
    """Those that have no try left, and wait for the verdict."""


class Source(Protocol):
    """Where further jobs come from while a sweep runs: a search proposes cells."""

    def more(self, failed: Mapping[str, str]) -> Sequence[Job]:
        """Jobs to be added now, none where it is to be asked again; `failed` has the trials that were given up, and why."""

    @property
    def over(self) -> bool:
        """Whether there will be no more."""


class Proposer(Protocol):
    """What finds the cells of a search."""

    def next(self, failed: Mapping[str, str], at_once: int) -> Sequence[Trial]:
        """Trials to be trained now, of one cell or several; none where those that train have to be waited for.

        `failed` has the trials that were given up, and why; `at_once` is how many cells keep all workers busy.
        """

    @property
    def over(self) -> bool:
        """Whether there will be no more."""

    @property
    def watch(self) -> Watch | None:
        """What the workers have to do for it."""


class Queue:
    """Which job is next. A key names one handing out of a job.

    `held` says whether another sweep is at a trial, `lost` which nodes are gone. `pause` is how long to wait before try number n + 1.
    """

    def __init__(
        self,
        jobs_: Sequence[Job],
        resources: Resources,
        held: Callable[[str], bool] = lambda trial_id: False,
        lost: Callable[[], set[str]] = set,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[int], float] | None = None,
        source: Source | None = None,
    ) -> None:
        self._source = source
        self._waiting = [_Waiting(job, _ids(job)) for job in jobs_]
        self._live: dict[str, _Live] = {}
        self._at_once, self._retries = resources.at_once, resources.retries
        self._held, self._lost, self._clock, self._pause = held, lost, clock, pause or _pause
        self._tries: Counter[str] = Counter()
        self._blamed: list[_Blamed] = []
        self._lost_nodes: Counter[str] = Counter()
        self.failed: dict[str, str] = {}
        """Trials that were given up, and why."""
        self.stopped = ""
        """Why nothing more is handed out, where that is so."""

    @property
    def over(self) -> bool:
        """Whether nothing will be handed out any more, whatever happens."""
        undecided = (
            self._waiting or any(blamed.spent for blamed in self._blamed) or not (self._source is None or self._source.over)
        )
        return not self._live and (bool(self.stopped) or not undecided)

    @property
    def in_hand(self) -> bool:
        """Whether a job is with a worker."""
        return bool(self._live)

    def next(self, key: str) -> Job | None:
        """The job to start now, under `key`; None where there is none yet, or no more."""
        self._judge()
        if self.stopped or (self._at_once and len(self._live) >= self._at_once):
            return None
        return self._next_waiting(key) or (self._next_waiting(key) if self._refilled() else None)

    def _refilled(self) -> bool:
        """Whether the source has given more."""
        more = [] if self._source is None or self._rehearsing else self._source.more(self.failed)
        self._waiting += [_Waiting(job, _ids(job)) for job in more]
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
            self._live[key] = _Live(waiting.job, set(waiting.ids))
            return waiting.job
        return None

    @property
    def _rehearsing(self) -> bool:
        """Whether a canary has still to come through its rehearsal."""
        waiting = any(waiting.job.rehearse for waiting in self._waiting)
        return waiting or any(live.job.rehearse and not live.rehearsed for live in self._live.values())

    def rehearsed(self, key: str) -> None:
        """A job has begun in earnest."""
        if key in self._live:
            self._live[key].rehearsed = True

    def ended(self, key: str, trial_id: str) -> None:
        """A trial has completed or diverged."""
        if key in self._live:
            self._live[key].left.discard(trial_id)

    def busy(self, key: str, trial_ids: Sequence[str]) -> None:
        """Other sweeps are at these trials: they come again when those have ended. What trains there needs no rehearsal."""
        if key in self._live:
            live = self._live[key]
            live.busy |= set(trial_ids)
            live.left -= live.busy
            live.rehearsed = live.rehearsed or not live.left

    def fell(self, key: str, trial_id: str) -> None:
        """One trial of a job has raised; the others go on."""
        if key in self._live:
            self._live[key].fallen.add(trial_id)
            self._live[key].left.discard(trial_id)

    def stop(self, why: str) -> None:
        """Hand out nothing more."""
        self.stopped = self.stopped or why

    def done(self, key: str, error: str = "") -> None:
        """A worker has come to the end of a job by itself; `error` is that of trials that fell on the way."""
        live = self._live.pop(key, None)
        if live is None:
            return
        self._put_off(live)
        if live.fallen and not self.stopped:
            self._try_again(live, live.fallen, error)

    def broke(self, key: str, error: str, node: str = "") -> None:
        """What ran a job has ended with an error; `node` is where its process was, if that died."""
        live = self._live.pop(key, None)
        if live is None:
            return
        self._put_off(live)
        left = live.left | live.fallen
        if left:
            self._try_again(live, left, error, node)

    def _judge(self) -> None:
        """Forgive the failures of lost nodes, and fail for good what has waited long enough to be forgiven."""
        if not self._blamed:
            return
        lost, now = self._lost(), self._clock()
        kept = []
        for blamed in self._blamed:
            if blamed.node in lost:
                self._lost_nodes.update(blamed.trial_ids)
                forgiven = {trial_id for trial_id in blamed.trial_ids if self._lost_nodes[trial_id] <= MOST_LOST_NODES}
                self._tries.subtract(forgiven)
                if blamed.spent & forgiven:
                    self._add(blamed.live, set(blamed.spent & forgiven), 0.0)
                self._fail(blamed.live, blamed.spent - forgiven, blamed.error)
            elif now > blamed.until:
                self._fail(blamed.live, blamed.spent, blamed.error)
            else:
                kept.append(blamed)
        self._blamed = kept

    def _put_off(self, live: _Live) -> None:
        if live.busy:
            self._add(live, live.busy, ELSEWHERE_PAUSE, elsewhere=True)

    def _try_again(self, live: _Live, trial_ids: set[str], error: str, node: str = "") -> None:
        self._tries.update(trial_ids)
        again = {trial_id for trial_id in trial_ids if self._tries[trial_id] <= self._retries}
        spent = frozenset(trial_ids - again)
        if again:
            self._add(live, again, self._pause(max(self._tries[trial_id] for trial_id in again)))
        if len(live.job.members) > 1:
            for trial_id in sorted(spent):
                self._add(live, {trial_id}, self._pause(1))
            spent = frozenset()
        if node:
            until = self._clock() + VERDICT_SECONDS
            self._blamed.append(_Blamed(node, until, live, frozenset(trial_ids), error, spent))
        else:
            self._fail(live, spent, error)

    def _fail(self, live: _Live, trial_ids: frozenset[str], error: str) -> None:
        self.failed |= dict.fromkeys(trial_ids, error)
        if trial_ids and live.job.rehearse and not live.rehearsed:
            self.stop("a canary failed before anything else started")

    def _add(self, live: _Live, trial_ids: set[str], pause: float, elsewhere: bool = False) -> None:
        """Put trials of a job back, ahead of those that have not begun."""
        job = replace(live.job.only(trial_ids), rehearse=live.job.rehearse and not live.rehearsed)
        self._waiting.insert(0, _Waiting(job, _ids(job), self._clock() + pause, elsewhere))


def _ids(job: Job) -> tuple[str, ...]:
    return tuple(trial.id for trial in job.trials)


def _pause(tries: int) -> float:
    """Twice as long each time, and never the same for two workers that broke at once."""
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (tries - 1)) * random.uniform(0.75, 1.25))
