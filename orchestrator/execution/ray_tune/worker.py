"""What runs in a Ray worker: one attempt after another, each in a thread of its own, whose reports Tune carries to the driver."""

import gc
import os
import queue
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ray import get_runtime_context, tune

from orchestrator.execution.attempt import attempt
from orchestrator.execution.events import Event
from orchestrator.execution.queue.job import Job, WorkerContext
from orchestrator.execution.queue.retries import fails_again

LONGEST_START = 60.0
"""Seconds that a worker waits for the others to start."""


@dataclass(frozen=True)
class WorkerStarted:
    """A worker has started, and waits for the others."""


@dataclass(frozen=True)
class JobTaken:
    """A worker has begun a job."""

    node: str
    """Ray's id of the node that it runs on."""


@dataclass(frozen=True)
class JobRaised:
    """A job has ended with an error."""

    error: str
    """The traceback."""
    fails_again: bool = False
    """Whether another attempt would end in the same way."""


@dataclass(frozen=True)
class JobEnded:
    """A job has come to its end by itself."""


Message = WorkerStarted | JobTaken | JobRaised | JobEnded | Event
"""What a worker sends to the driver."""
Messages = queue.SimpleQueue[Message | BaseException]
"""From the attempt's thread to Tune's; an exception ends the process."""
MESSAGES = "messages"
"""The key of a list with one message in what `step` returns."""


class Worker(tune.Trainable):
    """The Tune trainable: one attempt at the stack that `config["job"]` describes, then the next, in one process.

    A class, because Tune asks a function every 0.2 s whether it has ended: of trials of a fraction of a second, that is most of the time.
    The attempt runs in a thread of its own, and `step` hands on what it reports.
    """

    def setup(self, config: dict[str, Any], context: WorkerContext) -> None:
        """The first job of this process."""
        gc.freeze()  # what was imported stays for ever: to look through it after every trial takes a quarter of a second
        self._context = context
        self._start(config)

    def _start(self, config: dict[str, Any]) -> None:
        with suppress(OSError):  # another machine may lack the folder, which only datasets of the user's own need
            os.chdir(self._context.root)  # Tune has gone to a temporary folder of its own
        self._messages: Messages = queue.SimpleQueue()
        target = self._attempt if config["job"] else self._wait_for_all
        threading.Thread(target=target, args=(config, self._context, self._messages), daemon=True, name="attempt").start()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The next job."""
        self._start(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Returns the attempt's next message; raises what ended it, if that was no success.

        In a list, because Tune keeps statistics of every number that it finds in a dictionary, of every trial to the end.
        """
        message = self._messages.get()
        if isinstance(message, BaseException):
            raise message
        return {MESSAGES: [message], "done": isinstance(message, JobEnded)}

    @staticmethod
    def _wait_for_all(config: dict[str, Any], context: WorkerContext, messages: Messages) -> None:
        """Until every worker has started, or some cannot."""
        messages.put(WorkerStarted())
        all_started, deadline = context.storage / config["all_started"], time.monotonic() + LONGEST_START
        while not all_started.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        messages.put(JobEnded())

    @staticmethod
    def _attempt(config: dict[str, Any], context: WorkerContext, messages: Messages) -> None:
        try:
            messages.put(JobTaken(get_runtime_context().get_node_id()))
            attempt.run(Job(**config["job"]), context, messages.put)
            messages.put(JobEnded())
        except BaseException as error:
            messages.put(JobRaised("".join(traceback.format_exception(error)), fails_again(error)))
            messages.put(error)  # so that this process ends: what broke in it (a GPU, say) may stay broken
