"""Jobs, which are stacks of trials for workers, and the context that all workers get. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.dataset_card import DataKey
from mopoe_core.storage.paths import AnyPath
from orchestrator.spec.search_block import Early
from orchestrator.spec.trial import Cell, Trial


@dataclass(frozen=True)
class EarlyStopping:
    """What the workers of a search need to know so that it can stop cells early."""

    rule: Early
    """Gives the epochs after which trials are evaluated."""
    stopped: AnyPath
    """Folder with a file for each cell that is to stop, named by the cell's id."""


@dataclass(frozen=True)
class WorkerContext:
    """Folders and settings that all jobs of a sweep share.

    It is passed in memory, and not as part of a job: Tune writes jobs to disk, and a storage URI may contain a secret.
    """

    storage: AnyPath
    data: str
    """Folder of datasets."""
    root: str
    """Folder in which a user's own dataset is looked for."""
    threads: int
    gpu: float
    """GPUs of a worker; workers with a fraction share one."""
    commit: str
    driver: str
    """The token of the driver's lease."""
    early_stopping: EarlyStopping | None = None


@dataclass(frozen=True)
class Job:
    """A stack of trials for a worker, as plain values that Ray can carry."""

    members: list[tuple[dict[str, Any], int]]
    """Each trial's configuration and seed; a trial that is trained alone is a stack of one."""
    rehearse: bool
    """Whether the worker tries a few steps of everything first. Such a job is the canary of its dataset, networks and models."""

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The trials themselves."""
        return tuple(Trial(Cell(TrainingConfig.model_validate(config)), seed) for config, seed in self.members)

    @property
    def ids(self) -> tuple[str, ...]:
        """The trials' ids."""
        return tuple(trial.id for trial in self.trials)

    def only(self, ids: Iterable[str]) -> "Job":
        """Returns the same job with only these trials."""
        chosen_ids = set(ids)
        members = [member for trial_id, member in zip(self.ids, self.members, strict=True) if trial_id in chosen_ids]
        return replace(self, members=members)


def in_order(trials: Sequence[Trial]) -> list[Trial]:
    """Returns the trials seed by seed, so that all cells have a first result early and each further seed makes them more certain."""
    return sorted(trials, key=lambda trial: trial.seed)


def jobs(stacks: Sequence[tuple[Trial, ...]], seconds: Mapping[str, float], failed: Collection[str] = frozenset()) -> list[Job]:
    """Returns jobs in the order in which they should start.

    The canaries come first. The other jobs are sorted by their first seed; for one seed the longest comes first, so that no worker is
    left with a long job when the others have ended. `seconds` has how long each trial should take, by id.

    Stacks with trials that have `failed` before come last and are no canaries: a failing canary would stop the sweep in every command.
    """
    seen: set[tuple[DataKey, str, str]] = set()
    canaries: list[Job] = []
    others: list[Job] = []
    for stack in sorted(stacks, key=lambda stack: rank(stack, seconds, failed)):
        kinds = {(trial.config.data_key, trial.config.networks, trial.config.model) for trial in stack}
        is_canary = not _has_failed(stack, failed) and not kinds <= seen
        job = Job([(trial.config.model_dump(), trial.seed) for trial in stack], rehearse=is_canary)
        (canaries if is_canary else others).append(job)
        seen |= kinds
    return canaries + others


def rank(stack: Sequence[Trial], seconds: Mapping[str, float], failed: Collection[str]) -> tuple[bool, int, float]:
    """Returns the key by which stacks are sorted into the order in which they should start; canaries are not considered."""
    return _has_failed(stack, failed), stack[0].seed, -sum(seconds.get(trial.id, 0.0) for trial in stack)


def _has_failed(stack: Sequence[Trial], failed: Collection[str]) -> bool:
    return any(trial.id in failed for trial in stack)
