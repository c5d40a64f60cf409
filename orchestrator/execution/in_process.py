"""Runs jobs one after another in this process, with the same queue, attempts and events as a sweep on Ray.

`rerun --here`, `audit` and most tests train with it. Users' sweeps run on Ray Tune.
"""

import gc
import time
import traceback
from collections.abc import Sequence
from functools import partial
from itertools import count

from mopoe_core.data.dataset_card import DataKey
from mopoe_core.metrics.classifier_quality import Quality
from orchestrator.execution.attempt import attempt, preparation
from orchestrator.execution.attempt.attempt import Abandoned
from orchestrator.execution.events import Event, Observer
from orchestrator.execution.executor import Outcome, Work, prepare
from orchestrator.execution.queue.job import Job, WorkerContext
from orchestrator.execution.queue.job_queue import Queue
from orchestrator.execution.queue.job_reports import JobReports
from orchestrator.execution.queue.retries import fails_again
from orchestrator.execution.queue.search_jobs import Proposer
from orchestrator.execution.stack_sizes import StackSizes

WAIT_SECONDS = 0.02
"""Seconds before the queue is asked again, when its jobs wait for another sweep or for their next attempt."""


def run(work: Work, observer: Observer, search: Proposer | None = None) -> Outcome:
    """Run the work until all of its trials have ended, failed for good, or the user interrupts; returns how it ended.

    An error that `observer` raises ends the run, and is raised here.
    """
    context = work.context(work.resources.gpu, search)
    prepare(work.todo, observer, partial(_train_classifiers, context))
    why_unstackable = partial(preparation.why_unstackable, context=context)
    measure = partial(preparation.measure_stack_size, context=context)
    sizes = StackSizes(work.resources, why_unstackable, measure, observer).choose(work.todo, work.every, slots=1)
    queue = work.queue(sizes, 1, search)
    abandoned = None
    gc.freeze()  # an attempt collects garbage at its end; without this, going through all imported objects takes a quarter of a second
    try:
        _run_jobs(queue, context, observer)
    except Abandoned as error:
        abandoned = error.error
    except KeyboardInterrupt:
        pass  # the driver notes which trials were interrupted
    finally:
        gc.unfreeze()
    if abandoned is not None:
        raise abandoned
    return Outcome(queue.failed, queue.stopped)


def _train_classifiers(context: WorkerContext, key: DataKey, modalities: Sequence[str], data_hash: str) -> dict[str, Quality]:
    stored = preparation.stored_classifiers(key, modalities, context, data_hash)
    missing = [modality for modality in modalities if modality not in stored]
    return stored | {modality: preparation.train_classifier(key, modality, context, data_hash) for modality in missing}


def _run_jobs(queue: Queue, context: WorkerContext, observer: Observer) -> None:
    for number in count():
        if queue.is_over:
            return
        key = f"job {number}"
        job = queue.next(key)
        if job is None:
            time.sleep(WAIT_SECONDS)
        else:
            _run_job(job, context, JobReports(key, job, queue, observer))


def _run_job(job: Job, context: WorkerContext, reports: JobReports) -> None:
    try:
        attempt.run(job, context, partial(_report, reports))
    except (Abandoned, KeyboardInterrupt):
        raise
    except BaseException as error:
        reports.job_failed("".join(traceback.format_exception(error)), fails_again=fails_again(error))
    else:
        reports.job_finished()


def _report(reports: JobReports, event: Event) -> None:
    """Hand an event on. An observer's error is not the attempt's own, so it is raised as Abandoned, which an attempt lets pass."""
    try:
        reports.notify(event)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise Abandoned(error) from None
