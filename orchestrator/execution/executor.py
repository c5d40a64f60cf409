"""The input and output of an executor, and the steps that all executors share.

There are two executors: `ray_tune.tuner`, and `in_process`, which runs one job after another.
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
    """The trials of a sweep that are to be run, and how to run them."""

    todo: Sequence[Trial]
    """The trials to run; a search adds to them."""
    every: Sequence[Trial]
    """All trials of the sweep. Stacks are formed from these, so that stacks do not depend on when a sweep was interrupted."""
    ledger: Ledger
    resources: Resources
    commit: str
    """The git commit of the code, to be recorded in each result."""
    driver: str
    """The token of the driver's lease."""
    seconds: Mapping[str, float]
    """How long each trial should take, by id."""
    failed: frozenset[str] = frozenset()
    """Ids of trials that an earlier command gave up; they run last."""
    rehearse: bool = True
    """Whether canaries try a few steps of everything first."""

    def context(self, gpu: float, search: Proposer | None) -> WorkerContext:
        """Returns the context that all jobs share; `gpu` is how many GPUs a worker has."""
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
        """Returns the queue of the jobs. `sizes` has the largest stack by shape; `slots` is how many workers there are.

        `lost_nodes` returns the nodes that are gone.
        """
        by_id = {trial.id: trial for trial in self.todo}

        def is_held_elsewhere(trial_id: str) -> bool:
            trial = by_id[trial_id]
            folder = self.ledger.folder(trial)
            return self.ledger.result(trial) is None and claims.holder_or_clear_claims(self.ledger.storage, folder) is not None

        if search is None:
            source = None
            formed = stacks.form(in_order(self.todo), in_order(self.every), sizes, slots, self.ledger)
            first_jobs = jobs(formed, self.seconds, self.failed)
        else:
            source = SearchJobs(search, self.ledger, max(sizes.values(), default=1), slots, by_id)
            first_jobs = source.first(self.todo)
        first_jobs = [replace(job, rehearse=job.rehearse and self.rehearse) for job in first_jobs]
        return Queue(first_jobs, self.resources, is_held_elsewhere, lost_nodes, source=source)


@dataclass(frozen=True)
class Outcome:
    """How the run ended. The ledger says which trials are complete."""

    errors: Mapping[str, str]
    """The error of the last attempt at each trial that was given up, by trial id."""
    stopped: str = ""
    """Why the sweep stopped itself before its end; empty if it did not."""


class Executor(Protocol):
    """Runs work until all of its trials have ended, failed for good, or the user interrupts."""

    def __call__(self, work: Work, observer: Observer, search: Proposer | None = None) -> Outcome:
        """Returns how the run ended. `search` proposes further trials. It and `observer` are called in the caller's thread."""


def prepare(
    trials: Sequence[Trial],
    observer: Observer,
    train_classifiers: Callable[[DataKey, Sequence[str], str], Mapping[str, "Quality"]],
) -> None:
    """Prepare data and classifiers before any trial starts, so that a fault in them is reported only once.

    `train_classifiers` takes a dataset's key, its modalities and the expected hash of its data. It checks the hash, and returns the
    quality of each modality's classifier.
    """
    observer.notify(PreparationBegun())
    configs = [trial.config for trial in trials]
    datasets = {(config.data_key, config.modalities, config.data_hash) for config in configs}
    for key, modalities, data_hash in sorted(datasets, key=str):
        quality = train_classifiers(key, modalities, data_hash)
        observer.notify(ClassifiersReady(key.dataset, key.source, quality))
