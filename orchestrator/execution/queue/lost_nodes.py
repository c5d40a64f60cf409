"""The lost-node rule: the loss of a node is nobody's failure.

When a worker dies, its trials are charged with a failed attempt at once. Whether its node is gone is known only later: Ray's health
check gives a node up to 25 s, while the deaths of its workers are reported at once. If the node turns out to be gone, the attempt is
forgiven. A trial whose tries are all used waits for that verdict before it counts as failed.

A trial that has lost `MOST_LOST_NODES` nodes is what kills them, and is forgiven no more.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

VERDICT_SECONDS = 40.0
"""How long it may take until a node is known to be gone."""
MOST_LOST_NODES = 100

_Job = TypeVar("_Job")


@dataclass(frozen=True)
class WorkerDeath(Generic[_Job]):
    """A worker died while it was at a job."""

    node: str
    job: _Job
    trial_ids: frozenset[str]
    """Those that were charged with a failed attempt."""
    out_of_tries: frozenset[str]
    """Those of them that have no try left."""
    error: str


@dataclass(frozen=True)
class Verdict(Generic[_Job]):
    """What a death came to."""

    death: WorkerDeath[_Job]
    forgiven: frozenset[str]
    """Trials whose attempt does not count; empty where the node lives."""

    @property
    def failed(self) -> frozenset[str]:
        """Trials that have failed for good."""
        return self.death.out_of_tries - self.forgiven


class LostNodeRule(Generic[_Job]):
    """Remembers deaths of workers until it is known whether their nodes are gone. `lost` says which nodes are."""

    def __init__(self, lost: Callable[[], set[str]], clock: Callable[[], float] = time.monotonic) -> None:
        self._lost, self._clock = lost, clock
        self._undecided: list[tuple[WorkerDeath[_Job], float]] = []
        """Deaths, and until when a verdict is waited for."""
        self._lost_nodes: Counter[str] = Counter()
        """How many nodes each trial has lost."""

    @property
    def holds_back(self) -> bool:
        """Whether a trial without a try left waits for a verdict."""
        return any(death.out_of_tries for death, _ in self._undecided)

    def add(self, death: WorkerDeath[_Job]) -> None:
        """A worker has died."""
        self._undecided.append((death, self._clock() + VERDICT_SECONDS))

    def verdicts(self) -> list[Verdict[_Job]]:
        """Returns the verdicts that can be given now; each is returned once."""
        if not self._undecided:
            return []
        lost, now = self._lost(), self._clock()
        verdicts, undecided = [], []
        for death, until in self._undecided:
            if death.node in lost:
                verdicts.append(Verdict(death, self._forgiven(death)))
            elif now > until:
                verdicts.append(Verdict(death, frozenset()))
            else:
                undecided.append((death, until))
        self._undecided = undecided
        return verdicts

    def _forgiven(self, death: WorkerDeath[_Job]) -> frozenset[str]:
        self._lost_nodes.update(death.trial_ids)
        return frozenset(trial_id for trial_id in death.trial_ids if self._lost_nodes[trial_id] <= MOST_LOST_NODES)
