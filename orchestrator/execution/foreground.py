"""One trial in the foreground: trained in this process, in a storage that is thrown away.

Nothing of the sweep's own storage changes. Its classifiers are used, so that they are the same and are not trained again.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mopoe_core.metric_names import Epoch
from mopoe_core.storage.folders import listed
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.scratch import scratch
from mopoe_core.storage.whole_files import write_bytes
from orchestrator.execution.events import EpochsEnded, Event, Observer
from orchestrator.execution.executor import Work
from orchestrator.ledger.layout import Layout
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.sections import Resources
from orchestrator.spec.trial import Trial


class _Raiser(Observer):
    """Raises whatever a trial raises, as soon as that is reported, with its own traceback. `on_epoch` is called with each epoch."""

    def __init__(self, on_epoch: Callable[[Epoch], None]) -> None:
        self._on_epoch = on_epoch

    def on_epochs_ended(self, event: EpochsEnded) -> None:
        """Of the one trial."""
        for epoch in event.epochs.values():
            self._on_epoch(epoch)

    def _raise(self, event: Event) -> None:
        """Raise the error that is being handled: an attempt reports it then."""
        error = sys.exception()
        if error is not None:
            raise error

    on_trial_retried = on_trial_failed = on_storage_full = on_trials_busy_elsewhere = _raise


@dataclass(frozen=True)
class Foreground:
    """Where trials are trained in the foreground."""

    storage: Path
    """The temporary one; its ledger has the trials' results."""
    data: str
    """Folder of datasets."""
    commit: str

    def train(
        self,
        trial: Trial,
        threads: int,
        gpu: float,
        on_epoch: Callable[[Epoch], None] = lambda epoch: None,
        rehearse: bool = False,
    ) -> TrialResult:
        """Train and evaluate a trial from its start. Whatever is raised on the way is raised here, with its own traceback.

        With `rehearse`, a few steps of everything come first, as for a sweep's first trials, so that most failures come within seconds.
        """
        from orchestrator.execution import in_process  # torch

        resources = Resources(cpu=threads, gpu=gpu, retries=0, data=self.data)
        work = Work([trial], [trial], Ledger(self.storage), resources, self.commit, "", {}, rehearse=rehearse)
        in_process.run(work, _Raiser(on_epoch))
        result = work.ledger.result(trial)
        if result is None:  # whatever else kept it from ending was raised
            raise KeyboardInterrupt
        return result


@contextmanager
def beside(storage: AnyPath, data: str, commit: str) -> Iterator[Foreground]:
    """A place for trials in the foreground, with the classifiers that `storage` holds; removed afterwards."""
    with scratch("here") as folder:
        for path in listed(Layout(storage).classifiers, "*/*.pt"):
            write_bytes(Layout(Path(folder)).classifiers / path.parent.name / path.name, path.read_bytes())
        yield Foreground(Path(folder), os.path.abspath(data), commit)
