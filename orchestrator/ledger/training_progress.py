"""The progress of a trial in training, as a small file in its folder. `status`, the live view and `plan`'s estimate read it.

The worker passes its epochs on in memory, and a thread writes the latest one every few seconds. So training waits for no disk and no
network. A trial that ends before the first of these writes leaves no such file.
"""

import math
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields

from mopoe_core.metric_names import Epoch
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.remote_path import RemotePath
from orchestrator.errors import DamagedError
from orchestrator.ledger import records
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import Identity
from orchestrator.spec.trial import Trial

NOTE_SECONDS = 2.0
REMOTE_NOTE_SECONDS = 30.0  # each note is a request, which object stores bill


@dataclass(frozen=True)
class TrainingProgress:
    """The progress of a trial when its worker last recorded it."""

    epoch: int
    """Number of epochs trained."""
    epochs: int
    """Number of epochs to train."""
    seconds: float
    """Seconds that the last epoch took; in a stack, the trial's share of the stack's epoch."""
    time_ms: int
    """When the last epoch ended, in milliseconds since 1970 by the worker's clock."""
    loss: float | None = None
    """The training loss of the last epoch; None if it was not finite, or if an earlier version wrote the record."""


def read_progress(trial: Trial, ledger: Ledger) -> TrainingProgress | None:
    """Returns the progress that the trial's worker last recorded; None if there is no usable record."""
    with suppress(FileNotFoundError, DamagedError, TypeError):
        content = records.read(ledger.layout.trial(trial.id).note("progress"), Identity("progress", trial.id))
        return TrainingProgress(
            **{field.name: content[field.name] for field in fields(TrainingProgress) if field.name in content}
        )
    return None


class ProgressWriter:
    """Records the progress of an attempt while its context is open. Call it with the epochs that have ended, by trial id."""

    def __init__(self, trials: Sequence[Trial], ledger: Ledger) -> None:
        self._trials = {trial.id: trial for trial in trials}
        self._ledger = ledger
        self._latest: dict[str, Epoch] = {}
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._write_on, daemon=True, name="progress")

    def __enter__(self) -> "ProgressWriter":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def __call__(self, epochs: Mapping[str, Epoch]) -> None:
        """Store the epochs for the thread, and return at once."""
        with self._lock:
            self._latest.update(epochs)

    def _write_on(self) -> None:
        while not self._stop.wait(interval(self._ledger.storage)):
            with self._lock:
                unwritten, self._latest = self._latest, {}
            for trial_id, epoch in unwritten.items():
                with suppress(OSError):  # a trial must not fail because its progress cannot be shown
                    self._write(self._trials[trial_id], epoch)

    def _write(self, trial: Trial, epoch: Epoch) -> None:
        folder = self._ledger.layout.trial(trial.id)
        if not folder.result.exists():
            seconds, loss = epoch.values["train/seconds"], finite_loss(epoch)
            progress = TrainingProgress(epoch.epoch, trial.config.epochs, seconds, epoch.timestamp_ms, loss)
            records.write(folder.note("progress"), Identity("progress", trial.id), asdict(progress))


def finite_loss(epoch: Epoch) -> float | None:
    """Returns the training loss of an epoch; None if it is missing or not finite."""
    loss = epoch.values.get("train/loss", math.nan)
    return loss if math.isfinite(loss) else None


def interval(storage: AnyPath) -> float:
    """Returns the seconds between two writes of a trial's progress."""
    return REMOTE_NOTE_SECONDS if isinstance(storage, RemotePath) else NOTE_SECONDS
