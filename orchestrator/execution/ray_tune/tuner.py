"""Runs work on Ray Tune. This package is the only importer of Ray.

Ray is a queue here, not a memory: each call makes a fresh Tuner over the jobs it is given, without Tune checkpoints, loggers or
restore. Workers are reused between trials, because a new process that imports torch costs seconds.

Which job is next, and what is tried again, is for `queue.job_queue.Queue` to say.
"""

import os
import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any

from orchestrator.execution.ray_tune import environment  # noqa: F401  # first: Ray reads its settings when it is imported

# isort: split
import ray
from ray import tune

from mopoe_core.data.dataset_card import DataKey
from mopoe_core.errors import UserError
from mopoe_core.metrics.classifier_quality import Quality
from mopoe_core.storage.scratch import scratch
from orchestrator.execution.attempt import preparation
from orchestrator.execution.events import Observer
from orchestrator.execution.executor import Outcome, Work, prepare
from orchestrator.execution.queue.job import WorkerContext
from orchestrator.execution.queue.job_queue import Queue
from orchestrator.execution.queue.search_jobs import Proposer
from orchestrator.execution.ray_tune import node_slots, session, worker
from orchestrator.execution.ray_tune.callback import MessageCallback
from orchestrator.execution.ray_tune.job_search import JobSearch, WorkerStart
from orchestrator.execution.stack_sizes import Measured, StackSizes
from orchestrator.spec.sections import Resources


def run(work: Work, observer: Observer, search: Proposer | None = None) -> Outcome:
    """Run the work until all of its trials have ended, failed for good, or the user interrupts; returns how it ended.

    `observer` is called in this thread, and so is `search`, which finds further trials.
    """
    resources = work.resources
    with session.running_ray(), scratch("tune") as scratch_folder:
        nodes = session.nodes()
        context = work.context(node_slots.gpus(resources, node_slots.in_the_end(nodes)), search)
        prepare(work.todo, observer, partial(_train_classifiers, context))
        nodes = session.nodes()  # anew: while data were prepared, more may have joined
        slots = node_slots.slots(resources, context.gpu, node_slots.in_the_end(nodes))
        sizes = _stack_sizes(context, resources, observer).choose(work.todo, work.every, slots if search is None else 1)
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(slots)  # else Tune starts one worker at a time
        queue = work.queue(sizes, slots, search, session.lost_nodes(observer))
        jobs = queue.waiting if search is None else slots
        workers = min(node_slots.slots(resources, context.gpu, nodes), resources.at_once or jobs, jobs)
        _run_queue(queue, workers, observer, context, resources, scratch_folder)
        return Outcome(queue.failed, queue.stopped)


def _run_queue(
    queue: Queue, workers: int, observer: Observer, context: WorkerContext, resources: Resources, scratch_folder: str
) -> None:
    """Run the queue's jobs, by one Tuner after another, until it is over or the user interrupts."""
    while not queue.over:
        with WorkerStart(context.storage, workers) as worker_start:
            job_search = JobSearch(queue, worker_start)
            _tune(job_search, MessageCallback(queue, worker_start, observer), context, resources, scratch_folder)
        if not job_search.spent:
            return  # the user interrupted


def _tune(
    job_search: JobSearch, callback: MessageCallback, context: WorkerContext, resources: Resources, scratch_folder: str
) -> None:
    """Hand jobs to Tune until the search has no more or the user interrupts.

    Without Tune's own retries: it would start again at once, and take a lost node for a failure.
    """
    trainable = tune.with_parameters(worker.Worker, context=context)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": resources.cpu, "gpu": context.gpu}),
        tune_config=tune.TuneConfig(search_alg=job_search, num_samples=-1, reuse_actors=True),
        run_config=tune.RunConfig(
            name=f"sweep-{uuid.uuid4().hex}",
            storage_path=scratch_folder,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=0),
            callbacks=[callback],
            verbose=0,
        ),
    )
    tuner.fit()


def _train_classifiers(context: WorkerContext, key: DataKey, modalities: Sequence[str], data_hash: str) -> dict[str, Quality]:
    """Train the classifiers that storage lacks, a task each. Where Ray is local, storage is looked at in this process first."""
    is_local = "RAY_ADDRESS" not in os.environ
    stored = preparation.stored_classifiers(key, modalities, context, data_hash) if is_local else {}
    train = ray.remote(preparation.train_classifier).options(num_cpus=1, max_retries=0)
    tasks = {m: train.remote(key, m, context, data_hash) for m in modalities if m not in stored}
    return stored | {modality: _result_of(task) for modality, task in tasks.items()}


def _stack_sizes(context: WorkerContext, resources: Resources, observer: Observer) -> StackSizes:
    def why_unstackable(config: dict[str, Any]) -> str:
        return str(_result_of(ray.remote(preparation.why_unstackable).remote(config, context)))

    def measure(config: dict[str, Any], most: int) -> Measured:
        task = ray.remote(preparation.measure_stack_size).options(num_cpus=context.threads, num_gpus=context.gpu)
        measured: Measured = _result_of(task.remote(config, most, context))
        return measured

    return StackSizes(resources, why_unstackable, measure, observer)


def _result_of(task: Any) -> Any:
    """Returns what a task returns. What the user can mend, and errors of files, are raised as they were raised in the task."""
    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, (UserError, OSError)):
            raise error.cause from None
        raise
