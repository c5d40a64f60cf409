"""What every executor is given and returns, and what all do alike.

There are two: `ray_tune.tuner`, and `in_process`, which runs one job after another.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from mopoe_core.data.dataset_card import DataKey
from orchestrator.execution import stacks
from orchestrator.execution.events import ClassifiersReady, Observer, PreparationBegun
from orchestrator.execution.queue.job import WorkerContext, in_order, jobs
from orchestrator.execution.queue.job_queue import Queue
from orchestrator.execution.queue.search_jobs import Proposer, SearchJobs
from orchestrator.ledger.leases import claims
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.sections import Resources
from orchestrator.spec.trial import Trial

if TYPE_CHECKING:
    from mopoe_core.metrics.classifier_quality import Quality


@dataclass(frozen=True)
class Work:
    """What of a sweep is to be run, and how."""

    todo: Sequence[Trial]
    """The trials to run; a search adds to them."""
    every: Sequence[Trial]
    """All trials of the sweep: stacks are formed of these, so that they do not depend on when the sweep was cut."""
    ledger: Ledger
    resources: Resources
    commit: str
    """Of the code, for the results to say."""
    driver: str
    """The token of the driver's lease."""
    seconds: Mapping[str, float]
    """What each trial should take, by id."""
    failed: frozenset[str] = frozenset()
    """Ids of trials that an earlier command gave up: they come last."""
    rehearse: bool = True
    """Whether canaries try a few steps of everything first."""

    def context(self, gpu: float, search: Proposer | None) -> WorkerContext:
        """Returns what all of its jobs have in common; `gpu` is what a worker has."""
        return WorkerContext(
            storage=self.ledger.storage,
            data=self.resources.data_folder,
            root=os.getcwd(),
            threads=self.resources.cpu,
            gpu=gpu,
            commit=self.commit,
            driver=self.driver,
            early_stopping=search.early_stopping if search else None,
        )

    def queue(
        self, sizes: Mapping[str, int], slots: int, search: Proposer | None, lost_nodes: Callable[[], set[str]] = set
    ) -> Queue:
        """Returns the queue of its jobs. `sizes` is the largest stack by shape, `slots` how many workers there are."""
        by_id = {trial.id: trial for trial in self.todo}

        def is_elsewhere(trial_id: str) -> bool:
            trial = by_id[trial_id]
            folder = self.ledger.folder(trial)
            return self.ledger.result(trial) is None and claims.held_by(self.ledger.storage, folder) is not None

        if search is None:
            source = None
            formed = stacks.form(in_order(self.todo), in_order(self.every), sizes, slots, self.ledger)
            first = jobs(formed, self.seconds, self.failed)
        else:
            source = SearchJobs(search, self.ledger, max(sizes.values(), default=1), slots, by_id)
            first = source.first(self.todo)
        first = [replace(job, rehearse=job.rehearse and self.rehearse) for job in first]
        return Queue(first, self.resources, is_elsewhere, lost_nodes, source=source)


@dataclass(frozen=True)
class Outcome:
    """How running the work ended; whether a trial is complete is for the ledger to say."""

    errors: Mapping[str, str]
    """Trial id to the error of the last attempt, of trials that were given up."""
    stopped: str = ""
    """Why the sweep stopped before its end, if it did so by itself."""


class Executor(Protocol):
    """Runs work until all of its trials have ended, failed for good, or the user interrupts."""

    def __call__(self, work: Work, observer: Observer, search: Proposer | None = None) -> Outcome:
        """Returns how it ended. `observer` and `search`, which finds further trials, are called in the caller's thread."""


def prepare(
    trials: Sequence[Trial],
    observer: Observer,
    train_classifiers: Callable[[DataKey, Sequence[str], str], Mapping[str, "Quality"]],
) -> None:
    """Have data and classifiers ready before any trial starts, so that what is wrong with them is reported once.

    `train_classifiers` returns the quality of the classifiers of a dataset's modalities, and checks that its data have this hash.
    """
    observer.notify(PreparationBegun())
    needed = {(c.data_key, c.modalities, c.data_hash) for c in (trial.config for trial in trials)}
    for key, modalities, data_hash in sorted(needed, key=str):
        quality = train_classifiers(key, modalities, data_hash)
        observer.notify(ClassifiersReady(key.dataset, key.source, quality))
