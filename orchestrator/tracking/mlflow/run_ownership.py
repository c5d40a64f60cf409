"""Which runs of an MLflow experiment belong to a storage. Knows nothing of MLflow but tags and times."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.trial import Trial
from orchestrator.tracking.mlflow.artifact_location import STORAGE_TAG

NEEDED = {"trial": ("cell_id", "trial_id"), "cell": ("cell_id",), "sweep": ("sweep_id",)}
"""Tags of each kind of run. What lacks one was not written by an orchestrator."""


@dataclass(frozen=True)
class Owner:
    """A sweep in a storage."""

    storage_id: str
    sweep: str
    trials: Mapping[str, Sequence[Trial]]
    """Those of each cell by its id."""
    ledger: Ledger

    def owns(self, tags: Mapping[str, str], started_ms: int | None) -> bool:
        """Whether a run with these tags and this start is the sweep's.

        A run that an earlier version wrote names no storage. It is the sweep's only if it began in the millisecond in which one of its
        trials began here: another storage may hold the same trials, but has not begun them at the same time. All others are left alone.
        """
        kind = tags.get("kind", "")
        if kind not in NEEDED or not all(name in tags for name in NEEDED[kind]):
            return False
        if STORAGE_TAG in tags:
            return tags[STORAGE_TAG] == self.storage_id
        return started_ms is not None and started_ms in self._starts(kind, tags)

    def _starts(self, kind: str, tags: Mapping[str, str]) -> Iterator[int | None]:
        """When the trials began that a run is of."""
        if kind == "sweep":
            members = [trial for cell in self.trials.values() for trial in cell] if tags["sweep_id"] == self.sweep else []
        else:
            members = list(self.trials.get(tags["cell_id"], ()))
        if kind == "trial":
            members = [trial for trial in members if trial.id == tags["trial_id"]]
        return (self.ledger.started_ms(trial) for trial in members)
