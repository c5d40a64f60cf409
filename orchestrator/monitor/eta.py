"""How long the rest of a sweep will take, from what is shown of its trials and what their workers need. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from mopoe_core.config.training_config import TrainingConfig
from orchestrator.execution import costs
from orchestrator.ledger.result import ENDED
from orchestrator.spec.sections import Resources
from orchestrator.spec.trial import Trial

_K = TypeVar("_K")
FINAL = (*ENDED, "failed", "damaged")
"""Statuses that a trial does not leave by itself."""


@dataclass
class TrialView:
    """What is shown of one trial."""

    trial: Trial
    name: str
    """What tells its cell from the sweep's others, and its seed."""
    kind: str
    """Trials of one kind should take as long as each other."""
    status: str
    epoch: int = 0
    loss: float | None = None
    """The training loss of its last epoch; None while nothing is known, and where it is not finite."""
    epoch_seconds: float = 0.0
    """What its last epoch took, or an epoch on average where it has ended; 0 while nothing is known."""
    evaluate_seconds: float | None = None
    """None until it has ended."""
    worker: str = ""
    """The token of who trains it, while it runs: trials of one stack have the same."""
    reason: str = ""
    """Why it has its status, where that is not as it should be: the last line of an error, or when a search stopped it."""
    stopped: bool = False
    """Whether a search has stopped its cell early."""

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is left to do."""
        return self.status in FINAL or self.stopped


@dataclass(frozen=True)
class Capacity:
    """What a worker needs, and what there is of it."""

    cpu: int
    """Cores of a worker."""
    gpu: float
    """GPUs of a worker."""
    cores: int | None
    """Of this machine, where all workers are on it; None on a cluster, whose nodes come and go."""
    at_once: int | None
    """The most workers at a time, where the sweep says so."""

    def workers(self, running: int) -> int:
        """How many work at a time when there is enough to do; on a cluster, as many as do now. At least 1."""
        if self.cores is None:
            return max(1, running)
        return max(1, min(self.cores // self.cpu, self.at_once or self.cores))

    def in_use(self, running: int) -> str:
        """Cores, and GPUs where a worker has one, that so many workers have in use: `2 of 2 cores`."""
        cores, gpus = running * self.cpu, running * self.gpu
        text = _many(cores, "core") if self.cores is None else f"{cores} of {_many(self.cores, 'core')}"
        return f"{text}, {_many(gpus, 'GPU')}" if self.gpu else text


def capacity_of(resources: Resources, cores: int | None) -> Capacity:
    """The capacity for a sweep's workers. Where CPUs will do, GPUs are not counted: there may be none."""
    return Capacity(resources.cpu, 0.0 if resources.cpu_will_do else resources.gpu, cores, resources.at_once)


def running_workers(views: Collection[TrialView]) -> int:
    """How many workers train now: trials of one stack have the same."""
    return len({view.worker for view in views if view.status == "running"})


@dataclass(frozen=True)
class Rates:
    """What an epoch and an evaluation take, as measured by kind of trial."""

    epochs: Mapping[str, float]
    """Seconds of an epoch by kind; empty until a first epoch has ended."""
    evaluations: Mapping[str, float]

    @classmethod
    def of(cls, views: Collection[TrialView]) -> "Rates":
        """The rates of a sweep's trials so far."""
        return cls(
            _means((view.kind, view.epoch_seconds) for view in views if view.epoch_seconds),
            _means((view.kind, view.evaluate_seconds) for view in views if view.evaluate_seconds is not None),
        )

    def left(self, view: TrialView) -> float:
        """Returns the seconds that a worker has still to spend on a trial."""
        return self._seconds(view, view.trial.config.epochs - view.epoch)

    def whole(self, view: TrialView) -> float:
        """Returns the seconds that a worker spends on a trial from its start to its end."""
        return self._seconds(view, view.trial.config.epochs)

    def _seconds(self, view: TrialView, epochs: int) -> float:
        """Returns the seconds of so many epochs and the evaluation.

        A trial takes what trials of its kind took, or those of any kind while there are none. Until a trial has been evaluated,
        evaluation is counted as `costs` has it, scaled as training is.
        """
        epoch_seconds = view.epoch_seconds or self.epochs.get(view.kind, _mean(self.epochs.values()))
        if not self.evaluations:
            return epochs * epoch_seconds + _guessed_evaluation(view.trial.config, epoch_seconds)
        return epochs * epoch_seconds + self.evaluations.get(view.kind, _mean(self.evaluations.values()))


def seconds_left(views: Collection[TrialView], workers: int, to_be_proposed: int = 0) -> float | None:
    """Returns the seconds until all trials have ended, also those that a search has still to propose; None before the first epoch.

    What is left is spread over the workers, and takes no less than its longest trial.
    """
    rates = Rates.of(views)
    if not rates.epochs:
        return None
    if all(view.is_over for view in views):
        return 0.0  # a search that has ended proposes nothing more, whatever room it has left
    left = [rates.left(view) for view in views if not view.is_over]
    left += [_mean([rates.whole(view) for view in views])] * to_be_proposed
    return max(sum(left) / workers, max(left, default=0.0))


def stack_seconds_left(views: Collection[TrialView]) -> dict[str, float]:
    """Returns the seconds until each running trial has ended, by its id; empty before the first epoch.

    A worker divides its time between the trials of its stack, whose seconds are shares of the stack's: they end together.
    """
    rates = Rates.of(views)
    running = [view for view in views if view.status == "running"] if rates.epochs else []
    by_worker: dict[str, float] = {}
    for view in running:
        by_worker[view.worker] = by_worker.get(view.worker, 0.0) + rates.left(view)
    return {view.trial.id: by_worker[view.worker] for view in running}


def _guessed_evaluation(config: TrainingConfig, epoch_seconds: float) -> float:
    """Returns the seconds of an evaluation on a machine on which an epoch takes so long."""
    return costs.evaluation_seconds(config) * epoch_seconds / costs.training_seconds(config, 1)


def _many(count: float, noun: str) -> str:
    return f"{count:g} {noun}{'' if count == 1 else 's'}"


def _means(pairs: Iterable[tuple[_K, float]]) -> dict[_K, float]:
    """The mean of the values of each key."""
    values: dict[_K, list[float]] = {}
    for key, value in pairs:
        values.setdefault(key, []).append(value)
    return {key: _mean(of_key) for key, of_key in values.items()}


def _mean(values: Collection[float]) -> float:
    return sum(values) / len(values)
