"""A Ray worker: runs one attempt after another, each in its own thread. Tune carries their reports to the driver."""

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
"""Seconds for which a worker waits for the others to start."""


@dataclass(frozen=True)
class WorkerStarted:
    """A worker has started and waits for the others."""


@dataclass(frozen=True)
class JobTaken:
    """A worker has begun a job."""

    node: str
    """The id in Ray of the node that it runs on."""


@dataclass(frozen=True)
class JobRaised:
    """A job has ended with an error."""

    error: str
    """The traceback."""
    fails_again: bool = False
    """Whether another attempt would end in the same way."""


@dataclass(frozen=True)
class JobEnded:
    """A job has ended without an error of the whole job."""


Message = WorkerStarted | JobTaken | JobRaised | JobEnded | Event
"""A worker's message to the driver."""
Messages = queue.SimpleQueue[Message | BaseException]
"""Messages of the attempt's thread to Tune's; an exception ends the process."""
MESSAGES = "messages"
"""The key in the result of `step` for a list with one message."""


class Worker(tune.Trainable):
    """The Tune trainable: one attempt at the stack that `config["job"]` describes, then the next, in one process.

    It is a class, because Tune asks a function only every 0.2 s whether it has ended: most of the time of a trial of a fraction of a
    second. The attempt runs in a thread of its own, and `step` hands on its reports.
    """

    def setup(self, config: dict[str, Any], context: WorkerContext) -> None:
        """Start the first job of this process."""
        gc.freeze()  # without this, going through all imported objects after every trial takes a quarter of a second
        self._context = context
        self._start(config)

    def _start(self, config: dict[str, Any]) -> None:
        with suppress(OSError):  # another machine may lack the folder, which only a user's own dataset needs
            os.chdir(self._context.root)  # Tune has changed to a temporary folder
        self._messages: Messages = queue.SimpleQueue()
        target = self._attempt if config["job"] else self._wait_for_all
        threading.Thread(target=target, args=(config, self._context, self._messages), daemon=True, name="attempt").start()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start the next job."""
        self._start(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Returns the attempt's next message. Raises the error that ended the attempt, if any.

        The message is in a list, because Tune keeps statistics of every number in a dictionary, for every trial until the end.
        """
        message = self._messages.get()
        if isinstance(message, BaseException):
            raise message
        return {MESSAGES: [message], "done": isinstance(message, JobEnded)}

    @staticmethod
    def _wait_for_all(config: dict[str, Any], context: WorkerContext, messages: Messages) -> None:
        """Wait until every worker has started, or until `LONGEST_START` is over, because some cannot start."""
        messages.put(WorkerStarted())
        all_started = context.storage / config["all_started"]
        deadline = time.monotonic() + LONGEST_START
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
            messages.put(error)  # ends this process, because what broke in it (a GPU, say) may stay broken
