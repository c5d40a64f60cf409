"""Where everything lies on storage. No other module of the ledger spells such a path; docs/ledger-format.md says what each file holds."""

from dataclasses import dataclass
from pathlib import Path

from mopoe_core.storage.folders import listed
from mopoe_core.storage.paths import AnyPath, local_counterpart

TRIALS, ATTEMPTS, SWEEPS, CLAIMS, ALIVE, CLASSIFIERS = "trials", "attempts", "sweeps", "claims", "alive", "classifiers"
MLFLOW_ARTIFACTS = "mlartifacts"
RESULT, PROGRESS = "result.json", "progress.json"
CHECKPOINT = "checkpoint.pt"
CHECKPOINTS = (CHECKPOINT, "checkpoint.before", "checkpoint.next")
"""What training keeps: the newest checkpoint, the one before, and the one of a stack that is about to take the newest's place."""
OF_TRAINING = (*CHECKPOINTS[1:], PROGRESS)
"""Files of a trial's folder that mean nothing once the trial has a result."""
PROBE = "probe-"
"""Names of the files by which storage is tried begin so."""


def local_sweep_folder(storage: AnyPath, name: str) -> Path:
    """A sweep's folder on this machine: the one in storage, or where storage is remote, one in the user's cache."""
    return local_counterpart(storage) / SWEEPS / name


@dataclass(frozen=True)
class Layout:
    """The paths of one storage. The class creates nothing."""

    storage: AnyPath

    @property
    def identity(self) -> AnyPath:
        """The storage's own record."""
        return self.storage / "storage.json"

    @property
    def classifiers(self) -> AnyPath:
        """The folder of classifiers that judge coherence."""
        return self.storage / CLASSIFIERS

    def trial(self, trial_id: str) -> "TrialFolder":
        """Everything about one trial."""
        return TrialFolder(self.storage / TRIALS / trial_id)

    def results(self) -> list[AnyPath]:
        """The results of all trials of the storage, whatever sweep they belong to."""
        return listed(self.storage, f"{TRIALS}/*/{RESULT}")

    def sweep(self, name: str) -> "SweepFolder":
        """Everything about one sweep."""
        return SweepFolder(self.storage / SWEEPS / name)

    def sweep_records(self) -> list[AnyPath]:
        """The records of all sweeps of the storage."""
        return listed(self.storage, f"{SWEEPS}/*/{SweepFolder.RECORD}")

    def stack_size(self, key: str) -> AnyPath:
        """How fast stacks of one shape are on one kind of machine."""
        return self.storage / "stacks" / f"{key}.json"

    def heartbeat(self, token: str) -> AnyPath:
        """The heartbeat of the process with that token."""
        return self.storage / ALIVE / token

    def claims_on(self, folder: AnyPath) -> AnyPath:
        """The folder of claims on the trial or sweep of a folder. It is not in that folder, which may be moved while it is claimed."""
        place = self.storage / CLAIMS
        for name in filter(None, (folder.parent.name, folder.name)):  # a bucket's own folder has no name
            place = place / name
        return place

    def all_claims(self) -> list[AnyPath]:
        """Every claim on whatever is claimed."""
        return listed(self.storage / CLAIMS, "*/*/*.json")

    def aside(self, among: str, name: str) -> AnyPath:
        """Where a trial's folder is moved to, out of the way."""
        return self.storage / among / name

    def probe(self, name: str) -> AnyPath:
        """A file by which storage is tried."""
        return self.storage / f"{PROBE}{name}"

    def probes(self) -> list[AnyPath]:
        """The files by which storage is tried that a listing shows."""
        return listed(self.storage, f"{PROBE}*")


@dataclass(frozen=True)
class TrialFolder:
    """The paths in a trial's folder."""

    path: AnyPath

    def note(self, kind: str) -> AnyPath:
        """A record of which the folder has one: `trial`, `result`, `failed`, `cancelled`, `deleted`, `progress` or `stack`."""
        return self.path / f"{kind}.json"

    @property
    def result(self) -> AnyPath:
        """How the trial ended."""
        return self.path / RESULT

    @property
    def checkpoint(self) -> AnyPath:
        """The checkpoint of a trial that has ended."""
        return self.path / CHECKPOINT

    @property
    def samples(self) -> AnyPath:
        """The folder of pictures of generated samples."""
        return self.path / "samples"

    def attempt(self, number: int) -> AnyPath:
        """Who began an attempt, when, and how it ended."""
        return self.path / ATTEMPTS / f"{number:04d}.json"

    def attempts(self) -> list[AnyPath]:
        """The records of all attempts, in order."""
        return listed(self.path / ATTEMPTS, "*.json")

    def files_of(self, attempt: str) -> AnyPath:
        """The folder of an attempt's own files, by its name such as `0002-9f3a1c04`."""
        return self.path / ATTEMPTS / attempt

    def attempt_files(self, pattern: str = "*") -> list[AnyPath]:
        """The files of all attempts whose names match, oldest attempt first."""
        return listed(self.path, f"{ATTEMPTS}/*/{pattern}")

    def epoch(self, number: int) -> AnyPath:
        """The metrics after an epoch."""
        return self.path / "epochs" / f"{number:04d}.json"

    def epochs(self) -> list[AnyPath]:
        """The metrics after epochs, in order."""
        return listed(self.path / "epochs", "*.json")


@dataclass(frozen=True)
class SweepFolder:
    """The paths in a sweep's folder."""

    RECORD, REPORT = "sweep.json", "report"

    path: AnyPath

    @property
    def record(self) -> AnyPath:
        """The sweep as storage remembers it."""
        return self.path / self.RECORD

    @property
    def search(self) -> AnyPath:
        """The folder of what a search has proposed."""
        return self.path / "search"

    def proposal(self, number: int) -> AnyPath:
        """One proposal of a search."""
        return self.search / f"{number:04d}.json"

    def proposals(self) -> list[AnyPath]:
        """All proposals of a search."""
        return listed(self.search, "[0-9]*.json")

    @property
    def stopped_folder(self) -> AnyPath:
        """The folder of notes that cells of a search were stopped early."""
        return self.search / "stopped"

    def stopped(self, cell_id: str) -> AnyPath:
        """That a cell of a search was stopped early."""
        return self.stopped_folder / f"{cell_id}.json"

    def all_stopped(self) -> list[AnyPath]:
        """The notes of all cells that were stopped early."""
        return listed(self.stopped_folder, "*.json")

    def seeds(self, cell_id: str) -> AnyPath:
        """How many seeds a cell has, if that is more than it began with."""
        return self.search / "seeds" / f"{cell_id}.json"

    def all_seeds(self) -> list[AnyPath]:
        """The seed counts of all cells that were given more."""
        return listed(self.search / "seeds", "*.json")

    def overlap(self, token: str) -> AnyPath:
        """That another driver may have run the sweep at the same time."""
        return self.path / "overlaps" / f"{token}.json"

    def overlaps(self) -> list[AnyPath]:
        """All such notes."""
        return listed(self.path / "overlaps", "*.json")

    @property
    def report(self) -> AnyPath:
        """The folder of the report."""
        return self.path / self.REPORT

    @property
    def export(self) -> AnyPath:
        """The long table of all metrics."""
        return self.path / "export.parquet"

    @property
    def study(self) -> AnyPath:
        """Optuna's study of a search."""
        return self.path / "study.journal"
