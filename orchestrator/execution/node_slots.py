"""The resources of a cluster's nodes, and how many trials fit on them. Imports no Ray: `session` asks Ray for the nodes."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from orchestrator.errors import SpecError
from orchestrator.execution import cluster, cpus
from orchestrator.execution import gpus as graphics
from orchestrator.spec.sections import Resources
from orchestrator.spec.trial import spelled

BOOTSTRAP = "~/ray_bootstrap_config.yaml"
"""The cluster's file with its defaults filled in. `ray up` leaves it on the head, where the driver runs."""

Node = Mapping[str, float]
"""A node's resources by name."""


def autoscaler_workers() -> list[Node]:
    """Returns the worker nodes that an autoscaler may run at once, of the node types whose resources are in the cluster's file.

    Empty if Ray is local, and for the user's own machines, which join by themselves. The file is read because Ray does not give the
    numbers: `get_max_resources_from_cluster_config()` of its global state was None on every cluster that was tried.
    """
    bootstrap = Path(BOOTSTRAP).expanduser()
    if not cluster.is_named() or not bootstrap.is_file():
        return []
    config = yaml.safe_load(bootstrap.read_text(encoding="utf-8"))
    worker_types = [kind for name, kind in config["available_node_types"].items() if name != config["head_node_type"]]
    nodes: list[Node] = [kind["resources"] for kind in worker_types for _ in range(kind["max_workers"]) if kind.get("resources")]
    return nodes[: config["max_workers"]]


def largest_cluster(nodes: Sequence[Node]) -> list[Node]:
    """Returns the most nodes that the cluster may have: `nodes`, or its head with the workers that an autoscaler may start."""
    heads = [node for node in nodes if "node:__internal_head__" in node]
    return max([*nodes], [*heads, *autoscaler_workers()], key=len)


def gpus(resources: Resources, nodes: Sequence[Node]) -> float:
    """Returns the GPUs to ask for a worker. Raises SpecError if no node has the CPUs or GPUs of a worker: it would wait for ever."""
    most = {name: max((node.get(name, 0) for node in nodes), default=0) for name in ("CPU", "GPU")}
    gpu = 0.0 if resources.cpu_will_do and most["GPU"] == 0 else resources.gpu
    for name, needed in (("CPU", resources.cpu), ("GPU", gpu)):
        if needed > most[name]:
            advice = "lower it, or write cpu_will_do: true to train on CPUs" if name == "GPU" and not most[name] else "lower it"
            raise SpecError(
                f"resources.{name.lower()}: {spelled(needed)} is more than any node has ({spelled(most[name])}); {advice}"
            )
    return gpu


def this_machine() -> Node:
    """Returns the resources of a Ray that is started here. GPUs that cannot be counted without Ray are taken to be enough."""
    count = graphics.usable()
    return {"CPU": float(cpus.usable()), "GPU": math.inf if count is None else float(count)}


def slots(resources: Resources, gpu: float, nodes: Sequence[Node]) -> int:
    """Returns how many workers train at once, at least 1. Counts node by node, because a worker is on one node."""
    workers = 0
    for node in nodes:
        by_cpu = int(node.get("CPU", 0) // resources.cpu)
        workers += min(by_cpu, int(node.get("GPU", 0) / gpu + 1e-9)) if gpu else by_cpu
    return max(1, min(workers, resources.at_once or workers))
