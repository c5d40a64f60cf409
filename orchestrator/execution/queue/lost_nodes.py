"""The lost-node rule: the loss of a node counts as no trial's failure.

When a worker dies, its trials are charged with a failed attempt at once. Whether its node is gone is known only later: Ray's health
check gives a node up to 25 s, while the deaths of its workers are reported at once. If the node turns out to be gone, the attempt is
forgiven. A trial whose tries are all used waits for that verdict before it counts as failed.

A trial is forgiven `MOST_LOST_NODES` lost nodes. One that loses more is assumed to kill them.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

VERDICT_SECONDS = 40.0
"""Seconds until it is certain whether a node is gone."""
MOST_LOST_NODES = 100

_Job = TypeVar("_Job")


@dataclass(frozen=True)
class WorkerDeath(Generic[_Job]):
    """A worker died during a job."""

    node: str
    job: _Job
    trial_ids: frozenset[str]
    """Trials that were charged with a failed attempt."""
    out_of_tries: frozenset[str]
    """Those of `trial_ids` that have no try left."""
    error: str


@dataclass(frozen=True)
class Verdict(Generic[_Job]):
    """Whether a worker's death was the loss of its node."""

    death: WorkerDeath[_Job]
    forgiven: frozenset[str]
    """Trials whose attempt does not count; empty if the node lives."""

    @property
    def failed(self) -> frozenset[str]:
        """Trials that have failed for good."""
        return self.death.out_of_tries - self.forgiven


class LostNodeRule(Generic[_Job]):
    """Remembers deaths of workers until it is known whether their nodes are gone. `lost` returns the nodes that are gone."""

    def __init__(self, lost: Callable[[], set[str]], clock: Callable[[], float] = time.monotonic) -> None:
        self._lost, self._clock = lost, clock
        self._undecided: list[tuple[WorkerDeath[_Job], float]] = []
        """Each death with the time at which its node counts as alive."""
        self._lost_nodes: Counter[str] = Counter()
        """How many nodes each trial has lost."""

    @property
    def holds_back(self) -> bool:
        """Whether a trial without tries left waits for a verdict."""
        return any(death.out_of_tries for death, _ in self._undecided)

    def add(self, death: WorkerDeath[_Job]) -> None:
        """A worker has died."""
        self._undecided.append((death, self._clock() + VERDICT_SECONDS))

    def verdicts(self) -> list[Verdict[_Job]]:
        """Returns the verdicts that are certain now; each is returned once."""
        if not self._undecided:
            return []
        lost, now = self._lost(), self._clock()
        verdicts, undecided = [], []
        for death, deadline in self._undecided:
            if death.node in lost:
                verdicts.append(Verdict(death, self._forgive(death)))
            elif now > deadline:
                verdicts.append(Verdict(death, frozenset()))
            else:
                undecided.append((death, deadline))
        self._undecided = undecided
        return verdicts

    def _forgive(self, death: WorkerDeath[_Job]) -> frozenset[str]:
        """Count the lost node for each trial; returns the trials that are forgiven."""
        self._lost_nodes.update(death.trial_ids)
        return frozenset(trial_id for trial_id in death.trial_ids if self._lost_nodes[trial_id] <= MOST_LOST_NODES)
