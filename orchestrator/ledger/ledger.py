"""The ledger: what is known about every trial, as files on storage. It is the truth; MLflow and reports are made from it.

Every file is written whole or not at all. Every record names the trial, attempt or epoch that it belongs to, and has a checksum. So a
record that was cut, changed or moved is reported and never used. docs/ledger-format.md describes each file, `layout` has the paths, and
`state` derives a trial's status from its files.
"""

import hashlib
import os
import platform
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from mopoe_core.config.training_config import RECIPE, TrainingConfig
from mopoe_core.data.cards import is_own
from mopoe_core.metric_names import Metric
from mopoe_core.storage.folders import move_folder
from mopoe_core.storage.local_path import LocalPath
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.remote_path import RemotePath
from orchestrator.errors import LedgerError
from orchestrator.ledger import attempts, records, state
from orchestrator.ledger.attempts import Attempt
from orchestrator.ledger.failure import Failure
from orchestrator.ledger.layout import Layout
from orchestrator.ledger.leases import claims
from orchestrator.ledger.leases.holder import Holder
from orchestrator.ledger.leases.lease import LeaseLost
from orchestrator.ledger.records import Identity
from orchestrator.ledger.result import TrialResult
from orchestrator.ledger.state import State, TrialReading
from orchestrator.ledger.trial_records import TrialRecords
from orchestrator.spec.trial import Cell, Trial

AT_ONCE = 32
"""Parallel requests to an object store when much is read. Each takes some ten milliseconds, most of them waiting."""

_S = TypeVar("_S")
_T = TypeVar("_T")


class Ledger:
    """The trials under one storage folder. Reading creates nothing."""

    def __init__(self, storage: AnyPath) -> None:
        self.storage = LocalPath(storage).absolute() if isinstance(storage, Path) else storage
        self.layout = Layout(self.storage)

    def folder(self, trial: Trial) -> AnyPath:
        """Returns the folder of a trial."""
        return self.layout.trial(trial.id).path

    def of(self, trial: Trial) -> TrialRecords:
        """Returns the records of one trial."""
        return TrialRecords(trial, self.layout.trial(trial.id))

    def each(self, function: Callable[[_S], _T], things: Iterable[_S]) -> list[_T]:
        """Returns `function` of each thing, in order. On remote storage, makes up to `AT_ONCE` calls at a time."""
        if not isinstance(self.storage, RemotePath):
            return [function(thing) for thing in things]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(function, things))

    # Reading a trial

    def state(self, trial: Trial) -> State:
        """Returns the trial's status, derived from its files."""
        return self._state(trial, self.of(trial).result())

    def read(self, trial: Trial) -> TrialReading:
        """Returns state, result and stamp from one reading of the result, which takes long for thousands of trials."""
        record = self.of(trial).result_record()
        if record is None:
            return TrialReading(self._state(trial, None), None)
        result = self._parsed(trial, record.content)
        return TrialReading(self._state(trial, record.content), result, _stamp(record.text.encode()))

    def _state(self, trial: Trial, result: Mapping[str, Any] | None) -> State:
        trial_records = self.of(trial)
        if result is not None:
            return state.ended(trial_records, result)
        return state.unfinished(trial_records, lambda: self.holder(trial) is not None)

    def holder(self, trial: Trial) -> Holder | None:
        """Returns who trains the trial now; None if nobody does."""
        return claims.apparent_holder(self.storage, self.folder(trial))

    def checkpoint(self, trial: Trial) -> AnyPath:
        """Returns the path of the trial's newest checkpoint, which need not exist."""
        return self.of(trial).checkpoint()

    def samples(self, trial: Trial) -> dict[str, AnyPath]:
        """Returns the pictures of generated samples by name."""
        return self.of(trial).samples()

    def stamp(self, trial: Trial) -> str:
        """Returns a checksum of the trial's result without parsing it; empty if the trial has not ended."""
        try:
            return _stamp(self.layout.trial(trial.id).result.read_bytes())
        except FileNotFoundError:
            return ""

    def stack(self, trial: Trial) -> tuple[str, ...]:
        """Returns the ids of the stack in which a trial was last trained; empty if it was trained alone, or has not begun."""
        trial_records = self.of(trial)
        return tuple(trial_records.note("stack").get("trials", ())) if trial_records.folder.note("stack").exists() else ()

    def at_epoch(self, trial: Trial, epoch: int) -> dict[str, float] | None:
        """Returns the metrics of a trial after an epoch, by name; None if they were not recorded."""
        values: dict[str, float] | None = self.of(trial).at_epoch(epoch).get("values")
        return values

    def started_ms(self, trial: Trial) -> int | None:
        """Returns when the first attempt began, in milliseconds since 1970; None if there was no attempt."""
        started: int | None = self.of(trial).attempt(1).get("started_ms")
        return started

    def ended_ms(self, trial: Trial) -> int | None:
        """Returns when the trial last stopped without a result, in milliseconds since 1970; None if no record has a time.

        The time is that of the last attempt. If that attempt was killed, the time is that of the record of failure or cancellation, else
        that of the latest attempt that has a time.
        """
        trial_records = self.of(trial)
        of_attempts: list[int | None] = [
            trial_records.attempt(number).get("ended_ms") for number in trial_records.attempt_numbers()
        ]
        of_notes: list[int | None] = [trial_records.lenient_note(kind).get(f"{kind}_ms") for kind in ("failed", "cancelled")]
        for ended_ms in (*of_attempts[-1:], *of_notes):
            if ended_ms:
                return ended_ms
        return max((ended_ms for ended_ms in of_attempts if ended_ms), default=None)

    def last_failure(self, trial: Trial) -> Failure | None:
        """Returns why the last attempt failed; None if it did not fail, or was killed before it could record a failure."""
        content = self.of(trial).last_attempt()
        return Failure.recorded(content, trial.config.dataset) if content.get("error") else None

    def failure(self, trial: Trial) -> Failure:
        """Returns why a trial failed; without type and message if no readable record says why."""
        return Failure.recorded(self.of(trial).lenient_note("failed"), trial.config.dataset)

    def host(self, trial: Trial) -> str:
        """Returns the machine of the last attempt; empty if there was no attempt."""
        return str(self.of(trial).last_attempt().get("host") or "")

    def check(self, trial: Trial) -> None:
        """Raise LedgerError if the stored trial with this id has another configuration, because a default was changed."""
        stored, current = self.of(trial).config(), trial.config.model_dump(mode="json")
        for field in stored:
            if field not in current or stored[field] != current[field]:
                value = repr(current[field]) if field in current else "no such field"
                raise LedgerError(
                    f"trial {trial.id} ({trial.label}): {field} was {stored[field]!r} when it was trained and is {value} now, "
                    f"under the same identity; restore the default of {field}, raise RECIPE in "
                    "mopoe_core/config/training_config.py, or use another --storage"
                )

    # Writing a trial

    def begin(self, trial: Trial, worker: str = "") -> int:
        """Record a new attempt by the worker with this token. Returns the attempt's number, from 1, which no other attempt has."""
        self.check(trial)
        self._record_config(trial)
        trial_records = self.of(trial)
        content = {"host": platform.node(), "process": os.getpid(), "started_ms": _now_ms(), "worker": worker}
        number = max(trial_records.attempt_numbers(), default=0) + 1
        while not records.create(
            trial_records.folder.attempt(number), trial_records.identity("attempt", attempt=number), content
        ):
            number += 1
        return number

    def _record_config(self, trial: Trial) -> None:
        """Write trial.json, unless it exists."""
        if self.of(trial).folder.note("trial").exists():
            return
        content = {
            "cell_id": trial.cell.id,
            "recipe": RECIPE,
            "seed": trial.seed,
            "config": trial.config.model_dump(mode="json"),
        }
        self._write_note(trial, "trial", content)

    def note_stack(self, trials: Sequence[Trial]) -> None:
        """Record that these trials are trained as one stack, so that the same stack can be formed again."""
        for trial in trials:
            self._write_note(trial, "stack", {"trials": [member.id for member in trials]})

    def end_attempt(self, trial: Trial, number: int, status: str, error: Failure | str = "", worker: str = "") -> None:
        """Record how an attempt ended. `error` may be the text of a traceback. An attempt that is killed never records its end.

        With `worker`, the token of its worker, nothing is recorded if the trial was reset since the attempt began.
        """
        trial_records = self.of(trial)
        path, identity = trial_records.folder.attempt(number), trial_records.identity("attempt", attempt=number)
        if worker and not path.exists():
            return
        failure = _failure(trial, error).as_record() if error else {"error": ""}
        end = {"ended_ms": _now_ms(), "status": status, **failure}
        records.update(path, identity, lambda begun: None if worker and begun.get("worker") != worker else begun | end)

    def fail(self, trial: Trial, error: Failure | str) -> None:
        """Record that a trial failed on its last allowed attempt. `error` may be a traceback, or a message about a killed worker."""
        count = len(self.of(trial).folder.attempts())
        content = {**_failure(trial, error).as_record(), "attempts": count, "failed_ms": _now_ms()}
        self._write_note(trial, "failed", content, attempt=count)

    def cancel(self, trial: Trial, stopped_at_epoch: int | None = None) -> None:
        """Record that the user interrupted a trial that had begun, or that a search stopped it after some epochs."""
        by_search = {} if stopped_at_epoch is None else {"stopped_at_epoch": stopped_at_epoch}
        count = len(self.of(trial).folder.attempts())
        self._write_note(trial, "cancelled", {"cancelled_ms": _now_ms(), **by_search}, attempt=count)

    def note_epoch(self, trial: Trial, epoch: int, metrics: Sequence[Metric]) -> None:
        """Record the metrics of a trial in training after an epoch. A trial that has diverged has no metrics."""
        trial_records = self.of(trial)
        content = {"epoch": epoch, "values": {metric.name: metric.value for metric in metrics}}
        records.write(trial_records.folder.epoch(epoch), trial_records.identity("epoch", epoch=epoch), content)

    def _write_note(self, trial: Trial, kind: str, content: dict[str, Any], attempt: int | None = None) -> None:
        trial_records = self.of(trial)
        records.write(trial_records.folder.note(kind), trial_records.identity(kind, attempt=attempt), content)

    def record(self, result: TrialResult, attempt: Attempt | None = None) -> bool:
        """Record a trial's result, unless it has one; returns whether it was recorded. The trial has ended once the file exists.

        `attempt` is the attempt whose checkpoint and pictures become the trial's. Raises LeaseLost, or FileNotFoundError at the last
        moment, if the trial was reset since the attempt began: its files are no longer there.
        """
        trial_records = self.of(result.trial)
        files = "" if attempt is None else attempt.files
        if attempt is not None:
            attempts.secure(attempt)
            if not attempts.is_recorded(attempt, result.trial, trial_records.folder):
                raise LeaseLost(f"{trial_records.folder.path}: this process was suspended, and the trial was reset meanwhile")
        content = {**result.as_record(), "files": files}
        identity = trial_records.identity("result", attempt=result.attempts)
        has_files = attempt is not None and (result.checkpoint is not None or result.samples)
        draft_folder = attempt.folder if attempt is not None and has_files else None
        try:
            is_first = records.create(trial_records.folder.result, identity, content, draft_folder)
        except FileNotFoundError:
            if trial_records.result() is None:
                raise
            is_first = False  # another worker was first, and has removed the files of this attempt
        if not is_first:
            return False
        attempts.publish(trial_records.folder, files)
        return True

    def publish(self, trial: Trial) -> None:
        """Move the files that a trial's result names to the trial's folder, if its worker did not, and remove those of its attempts.

        Does nothing if the trial has no result: it may have been reset since the caller saw one.
        """
        if (result := self.of(trial).result()) is not None:
            attempts.publish(self.layout.trial(trial.id), str(result.get("files", "")))

    def set_aside(self, trial: Trial, folder_name: str = "damaged", check: Callable[[], None] = lambda: None) -> AnyPath:
        """Move a trial's folder into the folder `folder_name` of storage, so that it can be trained anew. Returns its new path.

        `check` is called before a remote file is removed.
        """
        aside = self.layout.aside(folder_name, f"{trial.id}-{_now_ms()}")
        move_folder(self.folder(trial), aside, check)
        return aside

    # Results

    def result(self, trial: Trial) -> TrialResult | None:
        """Returns the trial's result; None if it has not ended."""
        record = self.of(trial).result()
        return None if record is None else self._parsed(trial, record)

    def results_of(self, trials: Iterable[Trial]) -> list[TrialResult]:
        """Returns the results of the trials that have ended."""
        return [result for result in self.each(self.result, trials) if result is not None]

    def results(self, excluded_ids: Collection[str] = ()) -> Iterator[TrialResult]:
        """Yields the results in storage, whatever their sweep, for estimates; leaves out the trials with the ids `excluded_ids`.

        Skips results of an older recipe or configuration. Skips damaged results too: they may belong to another sweep.
        """
        yield from (result for _, result in self.finished(excluded_ids) if result is not None)

    def finished(self, excluded_ids: Collection[str] = ()) -> list[tuple[dict[str, Any], TrialResult | None]]:
        """Returns the content of trial.json of each trial that `results` would read, and the result; None for a skipped result."""
        folders = [path.parent for path in self.layout.results()]
        pairs = self.each(self._finished_in, (folder for folder in folders if folder.name not in excluded_ids))
        return [pair for pair in pairs if pair is not None]

    def _finished_in(self, folder: AnyPath) -> tuple[dict[str, Any], TrialResult | None] | None:
        with suppress(LedgerError):
            content = records.read(self.layout.trial(folder.name).note("trial"), Identity("trial", folder.name))
            trial = _trial_of(content)
            return content, self.result(trial) if trial is not None and trial.id == folder.name else None
        return None

    def _parsed(self, trial: Trial, record: dict[str, Any]) -> TrialResult:
        try:
            return TrialResult.from_record(trial, record)
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise records.damaged(self.layout.trial(trial.id).result, f"{type(error).__name__}: {error}") from None


def _failure(trial: Trial, error: Failure | str) -> Failure:
    return error if isinstance(error, Failure) else Failure.parsed(error, trial.config.dataset)


def _trial_of(stored: dict[str, Any]) -> Trial | None:
    """Returns the trial of a trial.json; None if it has an older recipe, or a user's own dataset, whose code may not run here."""
    if is_own(str(stored.get("config", {}).get("dataset"))):
        return None
    try:
        return Trial(Cell(TrainingConfig.model_validate(stored["config"])), stored["seed"])
    except (ValueError, KeyError):
        return None


def _stamp(result: bytes) -> str:
    return hashlib.sha256(result).hexdigest()[:32]


def _now_ms() -> int:
    return int(time.time() * 1000)
