"""How far a trial in training is, as a small file in its folder. It is for those who watch; nothing else reads it.

The worker hands its epochs over in memory, and a thread writes the latest of them now and then, so that training waits for no disk and no
network. A trial that takes less time than that leaves no such file.
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
class Pace:
    """How far a trial was when its worker last noted it."""

    epoch: int
    """Epochs that it has been trained."""
    epochs: int
    seconds: float
    """Seconds that its last epoch took; in a stack, its share of the stack's."""
    time_ms: int
    """When that epoch ended, in milliseconds since 1970 by the worker's clock."""
    loss: float | None = None
    """The training loss of that epoch; None if it was not finite, or an earlier version wrote the note."""


def pace(trial: Trial, ledger: Ledger) -> Pace | None:
    """What the trial's worker noted last; None if there is no such note, or none that can be used."""
    with suppress(FileNotFoundError, DamagedError, TypeError):
        note = records.read(ledger.layout.trial(trial.id).note("progress"), Identity("progress", trial.id))
        return Pace(**{field.name: note[field.name] for field in fields(Pace) if field.name in note})
    return None


class Noting:
    """Notes the epochs of an attempt while its context is open. Call it with the epochs that have ended, by trial id."""

    def __init__(self, trials: Sequence[Trial], ledger: Ledger) -> None:
        self._trials = {trial.id: trial for trial in trials}
        self._ledger = ledger
        self._latest: dict[str, Epoch] = {}
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._write_on, daemon=True, name="noting")

    def __enter__(self) -> "Noting":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def __call__(self, epochs: Mapping[str, Epoch]) -> None:
        """Take the epochs, and return at once."""
        with self._lock:
            self._latest.update(epochs)

    def _write_on(self) -> None:
        while not self._stop.wait(interval(self._ledger.storage)):
            with self._lock:
                waiting, self._latest = self._latest, {}
            for trial_id, epoch in waiting.items():
                with suppress(OSError):  # watching is not worth a trial
                    self._write(self._trials[trial_id], epoch)

    def _write(self, trial: Trial, epoch: Epoch) -> None:
        folder = self._ledger.layout.trial(trial.id)
        if not folder.result.exists():
            loss = finite_loss(epoch)
            noted = Pace(epoch.epoch, trial.config.epochs, epoch.values["train/seconds"], epoch.timestamp_ms, loss)
            records.write(folder.note("progress"), Identity("progress", trial.id), asdict(noted))


def finite_loss(epoch: Epoch) -> float | None:
    """The training loss of an epoch; None where there is no finite one."""
    loss = epoch.values.get("train/loss", math.nan)
    return loss if math.isfinite(loss) else None


def interval(storage: AnyPath) -> float:
    """The least number of seconds between two notes of one trial."""
    return REMOTE_NOTE_SECONDS if isinstance(storage, RemotePath) else NOTE_SECONDS
