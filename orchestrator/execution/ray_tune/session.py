"""Starts Ray or connects to it, and lists its nodes."""

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

from orchestrator.execution import cluster, cpus, node_slots, ray_address
from orchestrator.execution.events import NodeLost, Observer

LONGEST_JOIN = 120.0
"""Seconds to wait for a first worker."""
NEXT = "orchestrator.execution.attempt.preparation"
"""The module that a thread imports while Ray starts. It imports torch, which this process needs next, and which takes as long as Ray
takes to start. It must import nothing of Ray: Ray's packages import one another in circles, and two threads that enter a circle at
different places would get half of a package."""


@contextmanager
def running_ray() -> Iterator[None]:
    """Provides a Ray to run on: that of this process, that of RAY_ADDRESS, or a local one. What it has started it stops afterwards.

    While Ray's processes start, a thread imports torch.
    """
    threading.Thread(target=import_module, args=(NEXT,), name="import torch", daemon=True).start()
    if ray.is_initialized():
        yield
        return
    with ray_address.short_folder() as folder:
        _start(folder)
        with suppress(OSError):  # the token lets its reader run code here, and Ray makes it readable by all users
            (Path.home() / ".ray" / "auth_token").chmod(0o600)
        with suppress(ValueError):  # not the main thread: signals are then the main thread's affair
            signal.signal(signal.SIGTERM, _like_ctrl_c)  # schedulers and `ray job stop` send it; Ray would exit at once
        try:
            yield
        finally:
            ray.shutdown()


def _start(folder: str | None) -> None:
    """Start Ray, or connect to it. `folder` is for its temporary files; None stands for Ray's usual one.

    Raises UserError if that fails: Ray itself raises many classes, and exits if a cluster does not answer.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # hides only the warnings of Ray's start-up
            ray.init(
                address=os.environ.get("RAY_ADDRESS", "local"),
                num_cpus=cpus.usable() if not cluster.is_named() else None,  # Ray itself does not see an affinity
                include_dashboard=False if not cluster.is_named() else None,
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
    """Returns the resources of the living nodes. Waits for a first worker if the cluster has only a head and no autoscaler:
    `ray up` returns before the user's own machines have joined.
    """
    deadline = time.monotonic() + LONGEST_JOIN
    while True:
        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        has_workers = any(node.get("CPU", 0) for node in (*alive, *node_slots.autoscaler_workers()))
        if has_workers or not cluster.is_named() or time.monotonic() > deadline:
            return alive
        time.sleep(1)


def lost_nodes(observer: Observer) -> Callable[[], set[str]]:
    """Returns a function that returns the ids of nodes that are gone. It asks Ray at most once a second, and reports new ones."""
    last_asked = 0.0
    gone: set[str] = set()

    def lost() -> set[str]:
        nonlocal last_asked, gone
        if time.monotonic() - last_asked > 1.0:
            last_asked = time.monotonic()
            gone_now = {node["NodeID"] for node in ray.nodes() if not node["Alive"]}
            for node in gone_now - gone:
                observer.notify(NodeLost(node))
            gone = gone_now
        return gone

    return lost
