"""Runs work on Ray Tune. Only this package imports Ray.

Ray is a queue here, not a memory: each call makes a fresh Tuner over the given jobs, without Tune checkpoints, loggers or restore.
Workers are reused between trials, because a new process needs seconds to import torch.

`queue.job_queue.Queue` decides which job is next, and which trials are tried again.
"""

import os
from functools import partial

from mopoe_core.storage.scratch import scratch
from orchestrator.execution import node_slots
from orchestrator.execution.events import Observer
from orchestrator.execution.executor import Outcome, Work, prepare
from orchestrator.execution.queue.search_jobs import Proposer
from orchestrator.execution.ray_tune import session


def run(work: Work, observer: Observer, search: Proposer | None = None) -> Outcome:
    """Run the work until all of its trials have ended, failed for good, or the user interrupts; returns how it ended.

    `search` proposes further trials. It and `observer` are called in this thread.
    """
    resources = work.resources
    with session.running_ray(), scratch("tune") as scratch_folder:
        from orchestrator.execution.ray_tune import tune_jobs  # torch, which a thread has imported while Ray started

        nodes = session.nodes()
        context = work.context(node_slots.gpus(resources, node_slots.largest_cluster(nodes)), search)
        prepare(work.todo, observer, partial(tune_jobs.train_classifiers, context))
        nodes = session.nodes()  # asked again: more nodes may have joined while data were prepared
        slots = node_slots.slots(resources, context.gpu, node_slots.largest_cluster(nodes))
        sizes = tune_jobs.stack_sizes(context, resources, observer).choose(work.todo, work.every, slots if search is None else 1)
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(slots)  # else Tune starts one worker at a time
        queue = work.queue(sizes, slots, search, session.lost_nodes(observer))
        jobs = queue.waiting if search is None else slots
        workers = min(node_slots.slots(resources, context.gpu, nodes), resources.at_once or jobs, jobs)
        tune_jobs.run_queue(queue, workers, observer, context, resources, scratch_folder)
        return Outcome(queue.failed, queue.stopped)
