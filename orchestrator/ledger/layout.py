"""The paths of all files on storage. No other module of the ledger spells them out; docs/ledger-format.md describes each file."""

from dataclasses import dataclass
from pathlib import Path

from mopoe_core.storage.folders import listed
from mopoe_core.storage.paths import AnyPath, local_counterpart

TRIALS, ATTEMPTS, SWEEPS, CLAIMS, ALIVE, CLASSIFIERS = "trials", "attempts", "sweeps", "claims", "alive", "classifiers"
MLFLOW_ARTIFACTS = "mlartifacts"
RESULT, PROGRESS = "result.json", "progress.json"
CHECKPOINT = "checkpoint.pt"
CHECKPOINTS = (CHECKPOINT, "checkpoint.before", "checkpoint.next")
"""The newest checkpoint, the one before it, and in a stack the next one, which replaces the newest when all trials have theirs."""
OF_TRAINING = (*CHECKPOINTS[1:], PROGRESS)
"""Files of a trial's folder that have no use once the trial has a result."""
PROBE = "probe-"
"""Prefix of the files with which `sweep` tests storage."""


def local_sweep_folder(storage: AnyPath, name: str) -> Path:
    """Returns a sweep's folder on this machine: the one in storage, or a folder in the user's cache if storage is remote."""
    return local_counterpart(storage) / SWEEPS / name


@dataclass(frozen=True)
class Layout:
    """The paths of one storage. The class creates nothing."""

    storage: AnyPath

    @property
    def identity(self) -> AnyPath:
        """The record of which storage this is."""
        return self.storage / "storage.json"

    @property
    def classifiers(self) -> AnyPath:
        """The folder of the classifiers that measure coherence."""
        return self.storage / CLASSIFIERS

    def trial(self, trial_id: str) -> "TrialFolder":
        """Returns the paths of one trial."""
        return TrialFolder(self.storage / TRIALS / trial_id)

    def results(self) -> list[AnyPath]:
        """Returns the results of all trials, whatever sweep they belong to."""
        return listed(self.storage, f"{TRIALS}/*/{RESULT}")

    def sweep(self, name: str) -> "SweepFolder":
        """Returns the paths of one sweep."""
        return SweepFolder(self.storage / SWEEPS / name)

    def sweep_records(self) -> list[AnyPath]:
        """Returns the records of all sweeps."""
        return listed(self.storage, f"{SWEEPS}/*/{SweepFolder.RECORD}")

    def stack_size(self, key: str) -> AnyPath:
        """Returns the record of the measured stack size for one shape of model on one kind of machine."""
        return self.storage / "stacks" / f"{key}.json"

    def heartbeat(self, token: str) -> AnyPath:
        """Returns the heartbeat of the process with this token."""
        return self.storage / ALIVE / token

    def claims_on(self, folder: AnyPath) -> AnyPath:
        """Returns the folder of claims on a trial or sweep, given by its folder. That folder may be moved while it is claimed."""
        claims = self.storage / CLAIMS
        for name in filter(None, (folder.parent.name, folder.name)):  # the top folder of a bucket has no name
            claims = claims / name
        return claims

    def all_claims(self) -> list[AnyPath]:
        """Returns all claims on trials and sweeps."""
        return listed(self.storage / CLAIMS, "*/*/*.json")

    def aside(self, folder_name: str, name: str) -> AnyPath:
        """Returns where a trial's folder is moved so that the trial can be trained anew; `among` is the folder for such trials."""
        return self.storage / folder_name / name

    def probe(self, name: str) -> AnyPath:
        """Returns the path of a file with which `sweep` tests storage."""
        return self.storage / f"{PROBE}{name}"

    def probes(self) -> list[AnyPath]:
        """Returns the test files that a listing of storage shows."""
        return listed(self.storage, f"{PROBE}*")


@dataclass(frozen=True)
class TrialFolder:
    """The paths in a trial's folder."""

    path: AnyPath

    def note(self, kind: str) -> AnyPath:
        """Returns the path of the record of a kind: `trial`, `result`, `failed`, `cancelled`, `deleted`, `progress` or `stack`."""
        return self.path / f"{kind}.json"

    @property
    def result(self) -> AnyPath:
        """The record of how the trial ended."""
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
        """Returns the record of an attempt: who began it, when, and how it ended."""
        return self.path / ATTEMPTS / f"{number:04d}.json"

    def attempts(self) -> list[AnyPath]:
        """Returns the records of all attempts, in order."""
        return listed(self.path / ATTEMPTS, "*.json")

    def files_of(self, attempt: str) -> AnyPath:
        """Returns the folder of an attempt's files, by a name such as `0002-9f3a1c04`."""
        return self.path / ATTEMPTS / attempt

    def attempt_files(self, pattern: str = "*") -> list[AnyPath]:
        """Returns the files of all attempts whose names match the pattern, oldest attempt first."""
        return listed(self.path, f"{ATTEMPTS}/*/{pattern}")

    def epoch(self, number: int) -> AnyPath:
        """Returns the record of the metrics after an epoch."""
        return self.path / "epochs" / f"{number:04d}.json"

    def epochs(self) -> list[AnyPath]:
        """Returns the records of the metrics after epochs, in order."""
        return listed(self.path / "epochs", "*.json")


@dataclass(frozen=True)
class SweepFolder:
    """The paths in a sweep's folder."""

    RECORD, REPORT = "sweep.json", "report"

    path: AnyPath

    @property
    def record(self) -> AnyPath:
        """The record of the sweep's specification."""
        return self.path / self.RECORD

    @property
    def search(self) -> AnyPath:
        """The folder of a search's proposals."""
        return self.path / "search"

    def proposal(self, number: int) -> AnyPath:
        """Returns the record of one proposal."""
        return self.search / f"{number:04d}.json"

    def proposals(self) -> list[AnyPath]:
        """Returns the records of all proposals."""
        return listed(self.search, "[0-9]*.json")

    @property
    def stopped_folder(self) -> AnyPath:
        """The folder of the records of cells that a search stopped early."""
        return self.search / "stopped"

    def stopped(self, cell_id: str) -> AnyPath:
        """Returns the record that a search stopped a cell early."""
        return self.stopped_folder / f"{cell_id}.json"

    def all_stopped(self) -> list[AnyPath]:
        """Returns the records of all cells that were stopped early."""
        return listed(self.stopped_folder, "*.json")

    def seeds(self, cell_id: str) -> AnyPath:
        """Returns the record of how many seeds a cell has, if that is more than it began with."""
        return self.search / "seeds" / f"{cell_id}.json"

    def all_seeds(self) -> list[AnyPath]:
        """Returns the records of all cells that were given more seeds."""
        return listed(self.search / "seeds", "*.json")

    def overlap(self, token: str) -> AnyPath:
        """Returns the record that another driver may have run the sweep at the same time."""
        return self.path / "overlaps" / f"{token}.json"

    def overlaps(self) -> list[AnyPath]:
        """Returns all records of overlaps."""
        return listed(self.path / "overlaps", "*.json")

    @property
    def report(self) -> AnyPath:
        """The folder of the report."""
        return self.path / self.REPORT

    @property
    def export(self) -> AnyPath:
        """The exported long table of all metrics."""
        return self.path / "export.parquet"

    @property
    def study(self) -> AnyPath:
        """Optuna's study of a search."""
        return self.path / "study.journal"
