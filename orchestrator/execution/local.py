"""One trial in the foreground: alone in this process, without Ray, by the code that workers run, in a storage that is thrown away.

Nothing of the sweep's own storage changes; the classifiers that it holds are used, so that judges are the same and are not trained again.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mopoe_core.metric_names import Epoch
from mopoe_core.storage.files import AnyPath, listed, scratch, write_bytes
from orchestrator.execution.job_queue import Job, Place
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.trial import Trial


@dataclass(frozen=True)
class Foreground:
    """Where trials are trained in the foreground."""

    storage: Path
    """The temporary one; its ledger has what came of the trials."""
    data: str
    """Folder of datasets."""
    commit: str

    def train(
        self, trial: Trial, threads: int, gpu: float, tell: Callable[[Epoch], None] = lambda epoch: None, rehearse: bool = False
    ) -> TrialResult:
        """Train and evaluate a trial from its start. Whatever is raised on the way is raised here, with its own traceback.

        With `rehearse`, a few steps of everything come first, as for a sweep's first trials, so that most failures come within seconds.
        """
        from orchestrator.execution import worker  # ray and torch

        def report(said: dict[str, Any]) -> None:
            """What a worker would tell the driver. Of an error that it would only tell, it is handling it now: that one is raised."""
            error = sys.exception() if said["kind"] in ("fell", "full", "busy") else None
            if error is not None:
                raise error
            if said["kind"] == "epochs":
                tell(Epoch(**said["epochs"][trial.id]))

        place = Place(self.storage, self.data, os.getcwd(), threads, gpu, self.commit, driver="")
        key, modalities, data_hash = trial.config.data_key, trial.config.modalities, trial.config.data_hash
        there = worker.prepared(key, modalities, place, data_hash)
        for modality in (name for name in modalities if name not in there):
            worker.prepare(key, modality, place, data_hash)
        worker.run(Job([(trial.config.model_dump(), trial.seed)], rehearse), place, report)
        result = Ledger(self.storage).result(trial)
        assert result is not None  # what kept it from ending was raised
        return result


@contextmanager
def beside(storage: AnyPath, data: str, commit: str) -> Iterator[Foreground]:
    """A place for trials in the foreground, with the classifiers that `storage` holds; gone afterwards."""
    with scratch("here") as folder:
        for path in listed(storage / "classifiers", "*/*.pt"):
            write_bytes(Path(folder) / "classifiers" / path.parent.name / path.name, path.read_bytes())
        yield Foreground(Path(folder), os.path.abspath(data), commit)
