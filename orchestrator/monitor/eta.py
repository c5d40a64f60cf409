"""What is known of trials while they train, what they occupy, and how long the rest will take. Pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TypeVar

from orchestrator.ledger.result import ENDED
from orchestrator.spec.sections import Resources
from orchestrator.spec.trial import Trial

_K = TypeVar("_K")
OVER = (*ENDED, "failed", "damaged")
"""Nothing becomes of these by themselves."""


@dataclass
class Shown:
    """What is known of one trial."""

    trial: Trial
    name: str
    """What tells its cell from the sweep's others, and its seed."""
    kind: str
    """The same for trials that should take as long as each other."""
    status: str
    epoch: int = 0
    epoch_seconds: float = 0.0
    """Of its last epoch, or of all on average where it has ended; 0 while nothing is known."""
    evaluate_seconds: float | None = None
    """None until it has ended."""
    worker: str = ""
    """The token of who trains it, while it runs: trials of one stack have the same."""
    why: str = ""
    """The last line of the error that ended its last attempt."""
    stopped: bool = False
    """Whether a search has stopped its cell early."""

    @property
    def over(self) -> bool:
        """Whether nothing of it is left to do."""
        return self.status in OVER or self.stopped


@dataclass(frozen=True)
class Room:
    """What a worker occupies, and what there is of it."""

    cpu: int
    """Cores of a worker."""
    gpu: float
    """GPUs of a worker."""
    cores: int | None
    """Of this machine, where all workers are on it; None on a cluster, whose nodes come and go."""
    at_once: int | None
    """Workers at a time, where the sweep says so."""

    def workers(self, running: int) -> int:
        """How many work at a time when there is enough to do; on a cluster, as many as do now. At least 1."""
        if self.cores is None:
            return max(1, running)
        return max(1, min(self.cores // self.cpu, self.at_once or self.cores))

    def said(self, running: int) -> str:
        """Cores, and GPUs where a worker has one, that so many workers have in use: `2 of 2 cores`."""
        cores, gpus = running * self.cpu, running * self.gpu
        of = _many(cores, "core") if self.cores is None else f"{cores} of {_many(self.cores, 'core')}"
        return f"{of}, {_many(gpus, 'GPU')}" if self.gpu else of


def room(resources: Resources, cores: int | None) -> Room:
    """Of a sweep's workers. Where CPUs will do, GPUs are not counted: none may be there."""
    return Room(resources.cpu, 0.0 if resources.cpu_will_do else resources.gpu, cores, resources.at_once)


@dataclass(frozen=True)
class ToGo:
    """How long the rest will take."""

    seconds: float
    with_evaluation: bool
    """Whether a trial has been evaluated, so that its seconds could be counted."""


def to_go(every: Collection[Shown], workers: int) -> ToGo | None:
    """Seconds until all have ended, by the measured speeds of trials of the same kind, or, while there are none, of any; None before the
    first epoch. What is left is spread over the workers, and takes no less than its longest trial.
    """
    epochs = _means((one.kind, one.epoch_seconds) for one in every if one.epoch_seconds)
    if not epochs:
        return None
    evaluations = _means((one.kind, one.evaluate_seconds) for one in every if one.evaluate_seconds is not None)
    usual = sum(epochs.values()) / len(epochs)
    usual_evaluation = sum(evaluations.values()) / len(evaluations) if evaluations else 0.0
    left = [
        (one.trial.config.epochs - one.epoch) * (one.epoch_seconds or epochs.get(one.kind, usual))
        + evaluations.get(one.kind, usual_evaluation)
        for one in every
        if not one.over
    ]
    return ToGo(max(sum(left) / workers, max(left, default=0.0)), bool(evaluations))


def _many(count: float, what: str) -> str:
    return f"{count:g} {what}{'' if count == 1 else 's'}"


def _means(pairs: Iterable[tuple[_K, float]]) -> dict[_K, float]:
    sums: dict[_K, tuple[float, int]] = {}
    for key, value in pairs:
        total, count = sums.get(key, (0.0, 0))
        sums[key] = (total + value, count + 1)
    return {key: total / count for key, (total, count) in sums.items()}
