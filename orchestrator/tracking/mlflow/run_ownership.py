"""Decides which runs of an MLflow experiment belong to a storage, from tags and times alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.trial import Trial
from orchestrator.tracking.mlflow.artifact_location import STORAGE_TAG

NEEDED = {"trial": ("cell_id", "trial_id"), "cell": ("cell_id",), "sweep": ("sweep_id",)}
"""Tags that each kind of run has. A run that lacks one was not written by an orchestrator."""
FORMER = "former "
"""Begins the tag `kind` of a run whose trial or cell the sweep no longer has. Such runs stay, and are on no list of cells or trials."""


def kind_of(tags: Mapping[str, str]) -> str:
    """Returns `trial`, `cell` or `sweep`, also for a former one; another word, or none, for a run of somebody else."""
    return tags.get("kind", "").removeprefix(FORMER)


@dataclass(frozen=True)
class Owner:
    """A sweep in a storage."""

    storage_id: str
    sweep: str
    trials: Mapping[str, Sequence[Trial]]
    """The trials of each cell by its id."""
    ledger: Ledger

    def owns(self, tags: Mapping[str, str], started_ms: int | None) -> bool:
        """Returns whether a run with these tags and this start belongs to the sweep.

        Earlier versions wrote runs that name no storage. Such a run belongs to the sweep only if it began in the same millisecond as one
        of the sweep's trials in this ledger: another storage may have the same trials, but did not begin them at the same time.
        """
        kind = kind_of(tags)
        if kind not in NEEDED or not all(name in tags for name in NEEDED[kind]):
            return False
        if STORAGE_TAG in tags:
            return tags[STORAGE_TAG] == self.storage_id
        return started_ms is not None and started_ms in self._starts(kind, tags)

    def _starts(self, kind: str, tags: Mapping[str, str]) -> Iterator[int | None]:
        """Returns when the trials of a run began: the run of a sweep or cell has several, that of a trial one."""
        if kind == "sweep":
            trials = [trial for cell in self.trials.values() for trial in cell] if tags["sweep_id"] == self.sweep else []
        else:
            trials = list(self.trials.get(tags["cell_id"], ()))
        if kind == "trial":
            trials = [trial for trial in trials if trial.id == tags["trial_id"]]
        return (self.ledger.started_ms(trial) for trial in trials)
