"""Runs the queue's jobs on Tune, and prepares classifiers and stack sizes in Ray tasks. Imports torch, so `tuner` imports it late."""

import uuid
from collections.abc import Sequence
from typing import Any

import ray
from ray import tune

from mopoe_core.data.dataset_card import DataKey
from mopoe_core.errors import UserError
from mopoe_core.metrics.classifier_quality import Quality
from orchestrator.execution import cluster
from orchestrator.execution.attempt import preparation
from orchestrator.execution.events import Observer
from orchestrator.execution.queue.job import WorkerContext
from orchestrator.execution.queue.job_queue import Queue
from orchestrator.execution.ray_tune import worker
from orchestrator.execution.ray_tune.callback import MessageCallback
from orchestrator.execution.ray_tune.job_search import JobSearch, WorkerStart
from orchestrator.execution.stack_sizes import Measured, StackSizes
from orchestrator.spec.sections import Resources


def run_queue(
    queue: Queue, workers: int, observer: Observer, context: WorkerContext, resources: Resources, scratch_folder: str
) -> None:
    """Run the queue's jobs, by one Tuner after another, until the queue is over or the user interrupts."""
    while not queue.is_over:
        with WorkerStart(context.storage, workers) as worker_start:
            job_search = JobSearch(queue, worker_start)
            _tune(job_search, MessageCallback(queue, worker_start, observer), context, resources, scratch_folder)
        if not job_search.spent:
            return  # the user interrupted


def _tune(
    job_search: JobSearch, callback: MessageCallback, context: WorkerContext, resources: Resources, scratch_folder: str
) -> None:
    """Hand jobs to Tune until the search has no more or the user interrupts.

    Tune's own retries are off: Tune would try again at once, and count a lost node as a failure.
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


def train_classifiers(context: WorkerContext, key: DataKey, modalities: Sequence[str], data_hash: str) -> dict[str, Quality]:
    """Train the classifiers that storage lacks, each in its own task; returns the quality of all, by modality.

    If Ray is local, this process looks first which classifiers storage has.
    """
    is_local = not cluster.is_named()
    stored = preparation.stored_classifiers(key, modalities, context, data_hash) if is_local else {}
    train = ray.remote(preparation.train_classifier).options(num_cpus=1, max_retries=0)
    tasks = {m: train.remote(key, m, context, data_hash) for m in modalities if m not in stored}
    return stored | {modality: _result_of(task) for modality, task in tasks.items()}


def stack_sizes(context: WorkerContext, resources: Resources, observer: Observer) -> StackSizes:
    """Returns an object that chooses the largest stack of each shape; it measures in Ray tasks."""

    def why_unstackable(config: dict[str, Any]) -> str:
        return str(_result_of(ray.remote(preparation.why_unstackable).remote(config, context)))

    def measure(config: dict[str, Any], most: int) -> Measured:
        task = ray.remote(preparation.measure_stack_size).options(num_cpus=context.threads, num_gpus=context.gpu)
        measured: Measured = _result_of(task.remote(config, most, context))
        return measured

    return StackSizes(resources, why_unstackable, measure, observer)


def _result_of(task: Any) -> Any:
    """Returns the result of a task. Errors that the user can correct, and errors of files, are raised as they were in the task."""
    try:
        return ray.get(task)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, (UserError, OSError)):
            raise error.cause from None
        raise
