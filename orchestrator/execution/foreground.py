"""Trains one trial in the foreground: in this process, with a temporary storage.

The sweep's storage does not change. Its classifiers are copied, so that they are the same and are not trained again.
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
    """Raises a trial's error as soon as it is reported, with its own traceback. `on_epoch` is called with each epoch."""

    def __init__(self, on_epoch: Callable[[Epoch], None]) -> None:
        self._on_epoch = on_epoch

    def on_epochs_ended(self, event: EpochsEnded) -> None:
        """Hand on the epochs of the one trial."""
        for epoch in event.epochs.values():
            self._on_epoch(epoch)

    def _raise(self, event: Event) -> None:
        """Raise the error that is being handled: an attempt reports its failure while it handles the error."""
        error = sys.exception()
        if error is not None:
            raise error

    on_trial_retried = on_trial_failed = on_storage_full = on_trials_busy_elsewhere = _raise


@dataclass(frozen=True)
class Foreground:
    """A temporary storage in which trials are trained in the foreground."""

    storage: Path
    """The temporary folder; its ledger has the trials' results."""
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
        """Train and evaluate a trial from its start; returns its result. Raises the trial's error with its own traceback.

        With `rehearse`, a few steps of everything come first, as for a sweep's first trials, so that most failures come within seconds.
        """
        from orchestrator.execution import in_process  # torch

        resources = Resources(cpu=threads, gpu=gpu, retries=0, data=self.data)
        work = Work([trial], [trial], Ledger(self.storage), resources, self.commit, "", {}, rehearse=rehearse)
        in_process.run(work, _Raiser(on_epoch))
        result = work.ledger.result(trial)
        if result is None:  # only an interruption ends a trial without a result and without an error
            raise KeyboardInterrupt
        return result


@contextmanager
def beside(storage: AnyPath, data: str, commit: str) -> Iterator[Foreground]:
    """Yields a place to train trials in the foreground, with copies of the classifiers in `storage`; it is removed afterwards."""
    with scratch("here") as folder:
        for path in listed(Layout(storage).classifiers, "*/*.pt"):
            write_bytes(Layout(Path(folder)).classifiers / path.parent.name / path.name, path.read_bytes())
        yield Foreground(Path(folder), os.path.abspath(data), commit)
