"""Jobs: stacks of trials on their way to workers, and what workers are told beside them. Pure."""

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
    """What the workers of a search do beside training, so that it can stop cells early."""

    rule: Early
    """Says after which epochs trials are evaluated."""
    stopped: AnyPath
    """Folder with a file for each cell that is to stop, named by its id."""


@dataclass(frozen=True)
class WorkerContext:
    """Where workers find things, and what all jobs of a sweep have in common.

    Handed over in memory, and not as part of a job: Tune writes those to disk, and a storage URI may hold a secret.
    """

    storage: AnyPath
    data: str
    """Folder of datasets."""
    root: str
    """Folder that a user's own dataset is looked for in."""
    threads: int
    gpu: float
    """GPUs that a worker has; a fraction shares one."""
    commit: str
    driver: str
    """The token of the driver's lease."""
    early_stopping: EarlyStopping | None = None


@dataclass(frozen=True)
class Job:
    """A stack of trials on its way to a worker: plain values, because Ray carries it."""

    members: list[tuple[dict[str, Any], int]]
    """Each trial's configuration and seed; a trial that is trained alone is a stack of one."""
    rehearse: bool
    """Whether a few steps of everything are tried first: this stack is the canary of its dataset, networks and model."""

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
        wanted = set(ids)
        members = [member for trial_id, member in zip(self.ids, self.members, strict=True) if trial_id in wanted]
        return replace(self, members=members)


def in_order(trials: Sequence[Trial]) -> list[Trial]:
    """Returns the trials seed by seed, so that the whole picture is there early and each further seed makes it surer."""
    return sorted(trials, key=lambda trial: trial.seed)


def jobs(stacks: Sequence[tuple[Trial, ...]], seconds: Mapping[str, float], failed: Collection[str] = frozenset()) -> list[Job]:
    """Returns jobs in the order in which they should start.

    The canaries come first. The others follow by their first seed, and of one seed the longest comes first, so that no worker is left
    with a long one when the others have ended. `seconds` is what each trial should take, by id.

    Stacks with trials that have `failed` before come last, and are no canaries: they would stop the sweep at each command again.
    """
    seen: set[tuple[DataKey, str, str]] = set()
    canaries: list[Job] = []
    others: list[Job] = []

    def rank(stack: tuple[Trial, ...]) -> tuple[bool, int, float]:
        return has_failed(stack), stack[0].seed, -sum(seconds.get(trial.id, 0.0) for trial in stack)

    def has_failed(stack: tuple[Trial, ...]) -> bool:
        return any(trial.id in failed for trial in stack)

    for stack in sorted(stacks, key=rank):
        kinds = {(trial.config.data_key, trial.config.networks, trial.config.model) for trial in stack}
        job = Job([(trial.config.model_dump(), trial.seed) for trial in stack], rehearse=not (has_failed(stack) or kinds <= seen))
        (canaries if job.rehearse else others).append(job)
        seen |= kinds
    return canaries + others
