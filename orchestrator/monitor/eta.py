"""Estimates how long the rest of a sweep will take, from the shown state of its trials and the capacity for workers. Pure."""

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
"""Statuses of trials for which nothing more is done by itself."""


@dataclass
class TrialView:
    """The state of one trial that is shown to the user."""

    trial: Trial
    name: str
    """The label that distinguishes its cell from the sweep's other cells, and its seed."""
    kind: str
    """Trials of one kind should take equally long."""
    status: str
    epoch: int = 0
    loss: float | None = None
    """The training loss of its last epoch; None if it is not known yet, or not finite."""
    epoch_seconds: float = 0.0
    """The duration of its last epoch, or the mean over its epochs if it has ended; 0 if not known yet."""
    evaluate_seconds: float | None = None
    """None until it has ended."""
    worker: str = ""
    """The token of its worker while it runs; trials of one stack have the same."""
    reason: str = ""
    """The reason for an unwanted status: the last line of an error, or the epoch at which a search stopped it."""
    stopped: bool = False
    """Whether a search has stopped its cell early."""

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do for it."""
        return self.status in FINAL or self.stopped


@dataclass(frozen=True)
class Capacity:
    """The resources that a worker needs, and those that are available."""

    cpu: int
    """Cores of a worker."""
    gpu: float
    """GPUs of a worker."""
    cores: int | None
    """Cores of this machine, if all workers are on it; None on a cluster, whose nodes come and go."""
    at_once: int | None
    """The most workers at a time; None if the sweep sets no limit."""

    def workers(self, running: int) -> int:
        """Returns how many workers train at a time if there is enough to do, at least 1. On a cluster these are the running ones."""
        if self.cores is None:
            return max(1, running)
        return max(1, min(self.cores // self.cpu, self.at_once or self.cores))

    def in_use(self, running: int) -> str:
        """Returns the cores, and the GPUs if workers have any, that `running` workers use: `2 of 2 cores`."""
        cores, gpus = running * self.cpu, running * self.gpu
        text = _many(cores, "core") if self.cores is None else f"{cores} of {_many(self.cores, 'core')}"
        return f"{text}, {_many(gpus, 'GPU')}" if self.gpu else text


def capacity_of(resources: Resources, cores: int | None) -> Capacity:
    """Returns the capacity for a sweep's workers. If the sweep may run on CPUs, GPUs are not counted: there may be none."""
    return Capacity(resources.cpu, 0.0 if resources.cpu_will_do else resources.gpu, cores, resources.at_once)


def running_workers(views: Collection[TrialView]) -> int:
    """Returns how many workers train now. Trials of one stack have the same worker."""
    return len({view.worker for view in views if view.status == "running"})


@dataclass(frozen=True)
class Rates:
    """Measured seconds of an epoch and of an evaluation, by kind of trial."""

    epochs: Mapping[str, float]
    """Empty until a first epoch has ended."""
    evaluations: Mapping[str, float]
    """Empty until a first trial has been evaluated."""

    @classmethod
    def of(cls, views: Collection[TrialView]) -> "Rates":
        """Returns the rates of a sweep's trials so far."""
        return cls(
            _means((view.kind, view.epoch_seconds) for view in views if view.epoch_seconds),
            _means((view.kind, view.evaluate_seconds) for view in views if view.evaluate_seconds is not None),
        )

    def left(self, view: TrialView) -> float:
        """Returns the seconds that a worker still needs for a trial."""
        return self._seconds(view, view.trial.config.epochs - view.epoch)

    def whole(self, view: TrialView) -> float:
        """Returns the seconds that a worker needs for a trial from its start to its end."""
        return self._seconds(view, view.trial.config.epochs)

    def _seconds(self, view: TrialView, epochs: int) -> float:
        """Returns the seconds of `epochs` epochs and the evaluation.

        They are those of trials of the same kind, or the mean over all kinds if there are none of this kind. Until a first trial has been
        evaluated, the evaluation is a guess: the seconds of `costs`, scaled like those of training.
        """
        epoch_seconds = view.epoch_seconds or self.epochs.get(view.kind, _mean(self.epochs.values()))
        if not self.evaluations:
            return epochs * epoch_seconds + _guessed_evaluation(view.trial.config, epoch_seconds)
        return epochs * epoch_seconds + self.evaluations.get(view.kind, _mean(self.evaluations.values()))


def seconds_left(views: Collection[TrialView], workers: int, to_be_proposed: int = 0) -> float | None:
    """Returns the seconds until all trials have ended, with those that a search has still to propose; None before the first epoch.

    The work left is divided by the number of workers; the result is at least the time of the longest trial.
    """
    rates = Rates.of(views)
    if not rates.epochs:
        return None
    if all(view.is_over for view in views):
        return 0.0  # a search that has ended proposes nothing more, also if `to_be_proposed` is above zero
    left = [rates.left(view) for view in views if not view.is_over]
    left += [_mean([rates.whole(view) for view in views])] * to_be_proposed
    return max(sum(left) / workers, max(left, default=0.0))


def stack_seconds_left(views: Collection[TrialView]) -> dict[str, float]:
    """Returns the seconds until each running trial ends, by trial id; empty before the first epoch.

    The trials of a stack end together. Each one's seconds are its share of the stack's time, so they are summed over the stack.
    """
    rates = Rates.of(views)
    if not rates.epochs:
        return {}
    running = [view for view in views if view.status == "running"]
    by_worker: dict[str, float] = {}
    for view in running:
        by_worker[view.worker] = by_worker.get(view.worker, 0.0) + rates.left(view)
    return {view.trial.id: by_worker[view.worker] for view in running}


def _guessed_evaluation(config: TrainingConfig, epoch_seconds: float) -> float:
    """Returns the seconds of an evaluation on a machine on which an epoch takes `epoch_seconds`."""
    return costs.evaluation_seconds(config) * epoch_seconds / costs.training_seconds(config, 1)


def _many(count: float, noun: str) -> str:
    return f"{count:g} {noun}{'' if count == 1 else 's'}"


def _means(pairs: Iterable[tuple[_K, float]]) -> dict[_K, float]:
    """Returns the mean of the values of each key."""
    values: dict[_K, list[float]] = {}
    for key, value in pairs:
        values.setdefault(key, []).append(value)
    return {key: _mean(of_key) for key, of_key in values.items()}


def _mean(values: Collection[float]) -> float:
    return sum(values) / len(values)
