"""What a cluster's nodes have, and how many trials fit on them. Imports no Ray: `session` asks it what nodes there are."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from orchestrator.errors import SpecError
from orchestrator.execution import cpus
from orchestrator.execution import gpus as graphics
from orchestrator.spec.sections import Resources
from orchestrator.spec.trial import spelled

BOOTSTRAP = "~/ray_bootstrap_config.yaml"
"""What `ray up` leaves on the head, where the driver runs: the cluster's file with its defaults filled in."""

Node = Mapping[str, float]
"""A node's resources by name."""


def may_come() -> list[Node]:
    """Returns the workers that an autoscaler may have at once, of the types whose resources its file states.

    From the file, because Ray does not tell: `get_max_resources_from_cluster_config()` of its global state was None on every cluster that
    was tried. Empty where Ray is local, and for machines of one's own, which come by themselves.
    """
    bootstrap = Path(BOOTSTRAP).expanduser()
    if "RAY_ADDRESS" not in os.environ or not bootstrap.is_file():
        return []
    config = yaml.safe_load(bootstrap.read_text(encoding="utf-8"))
    workers = [kind for name, kind in config["available_node_types"].items() if name != config["head_node_type"]]
    most: list[Node] = [kind["resources"] for kind in workers for _ in range(kind["max_workers"]) if kind.get("resources")]
    return most[: config["max_workers"]]


def in_the_end(nodes: Sequence[Node]) -> list[Node]:
    """Returns the nodes with those that an autoscaler may bring."""
    heads = [node for node in nodes if "node:__internal_head__" in node]
    return max([*nodes], [*heads, *may_come()], key=len)


def gpus(resources: Resources, nodes: Sequence[Node]) -> float:
    """Returns the GPUs to ask for a trial. Raises SpecError where a trial would wait for ever for what no node has."""
    most = {name: max((node.get(name, 0) for node in nodes), default=0) for name in ("CPU", "GPU")}
    gpu = 0.0 if resources.cpu_will_do and most["GPU"] == 0 else resources.gpu
    for name, wanted in (("CPU", resources.cpu), ("GPU", gpu)):
        if wanted > most[name]:
            advice = "lower it, or write cpu_will_do: true to train on CPUs" if name == "GPU" and not most[name] else "lower it"
            raise SpecError(
                f"resources.{name.lower()}: {spelled(wanted)} is more than any node has ({spelled(most[name])}); {advice}"
            )
    return gpu


def this_machine() -> Node:
    """Returns what a Ray that is started here would have. GPUs that cannot be counted without Ray are taken to be enough."""
    count = graphics.usable()
    return {"CPU": float(cpus.usable()), "GPU": math.inf if count is None else float(count)}


def slots(resources: Resources, gpu: float, nodes: Sequence[Node]) -> int:
    """Returns how many stacks train at once. Counted node by node, because no worker has a part on two."""
    fit = 0
    for node in nodes:
        here = int(node.get("CPU", 0) // resources.cpu)
        fit += min(here, int(node.get("GPU", 0) / gpu + 1e-9)) if gpu else here
    return max(1, min(fit, resources.at_once or fit))
