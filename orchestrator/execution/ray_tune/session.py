"""A Ray to run on: started here, or connected to; and its nodes."""

import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

from orchestrator.execution.ray_tune import environment  # noqa: F401  # first: Ray reads its settings when it is imported

# isort: split
import ray

from orchestrator.execution import cpus
from orchestrator.execution.events import NodeLost, Observer
from orchestrator.execution.ray_tune import node_slots, ray_address

LONGEST_JOIN = 120.0
"""Seconds to wait for a first worker."""
NEXT = "orchestrator.execution.attempt.preparation"
"""Imports torch, which this process needs next, and which takes as long as Ray takes to start. It must import nothing of Ray: Ray's
packages import one another in circles, and two threads that begin at different ends of a circle would get half of a package."""


@contextmanager
def running_ray() -> Iterator[None]:
    """A Ray to run on: the one of this process, that of RAY_ADDRESS, or a local one that is stopped afterwards.

    While Ray's processes start, a thread imports torch.
    """
    threading.Thread(target=import_module, args=(NEXT,), name="import torch", daemon=True).start()
    if ray.is_initialized():
        yield
        return
    with ray_address.short_folder() as folder:
        _start(folder)
        with suppress(OSError):  # whoever has it may run code here; Ray writes it for all to read
            (Path.home() / ".ray" / "auth_token").chmod(0o600)
        with suppress(ValueError):  # not the main thread: then whoever has that minds its signals
            signal.signal(signal.SIGTERM, _like_ctrl_c)  # what schedulers and `ray job stop` send; Ray would exit on the spot
        try:
            yield
        finally:
            ray.shutdown()


def _start(folder: str | None) -> None:
    """Start Ray, or connect to it. `folder` is for its temporary files, where they must not be in the usual one. Raises UserError where
    that cannot be: Ray raises many classes, and exits where a cluster does not answer.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Ray's own start-up; nothing of ours runs in here
            ray.init(
                address=os.environ.get("RAY_ADDRESS", "local"),
                num_cpus=cpus.usable() if "RAY_ADDRESS" not in os.environ else None,  # Ray itself does not see an affinity
                include_dashboard=False if "RAY_ADDRESS" not in os.environ else None,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=folder,
            )
    except (Exception, SystemExit) as error:
        with suppress(Exception):
            ray.shutdown()
        raise ray_address.no_ray(error) from None


def _like_ctrl_c(number: int, frame: object) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def nodes() -> list[node_slots.Node]:
    """Returns what the living nodes have. Waits for a first worker where there is a head alone and no autoscaler to bring others:
    `ray up` returns before machines of one's own have joined.
    """
    deadline = time.monotonic() + LONGEST_JOIN
    while True:
        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        has_workers = any(node.get("CPU", 0) for node in (*alive, *node_slots.may_come()))
        if has_workers or "RAY_ADDRESS" not in os.environ or time.monotonic() > deadline:
            return alive
        time.sleep(1)


def lost_nodes(observer: Observer) -> Callable[[], set[str]]:
    """Returns a function that returns the nodes that are gone, and asks Ray not more than once a second."""
    asked, known = 0.0, set[str]()

    def lost() -> set[str]:
        nonlocal asked, known
        if time.monotonic() - asked > 1.0:
            asked = time.monotonic()
            gone = {node["NodeID"] for node in ray.nodes() if not node["Alive"]}
            for node in gone - known:
                observer.notify(NodeLost(node))
            known = gone
        return known

    return lost
