"""The ledger: what is known about every trial, as files on storage. It is the truth; MLflow and reports are made from it.

Every file is written whole or not at all. Every record says which trial, attempt or epoch it belongs to, under a checksum of itself, so
that a record that was cut, changed or moved is named and never used. docs/ledger-format.md describes each file; `layout` has the paths,
`state` how a status follows from the files.
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
from mopoe_core.storage.folders import listed, move_folder
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
from orchestrator.ledger.records import Identity
from orchestrator.ledger.result import TrialResult
from orchestrator.ledger.state import Known, State
from orchestrator.ledger.trial_records import TrialRecords
from orchestrator.spec.trial import Cell, Trial

AT_ONCE = 32
"""Requests to an object store at a time, where much is read. Each takes some ten milliseconds, most of them waiting."""

_S = TypeVar("_S")
_T = TypeVar("_T")


class Ledger:
    """The trials under one storage folder. Reading creates nothing."""

    def __init__(self, storage: AnyPath) -> None:
        self.storage = LocalPath(storage).absolute() if isinstance(storage, Path) else storage
        self.layout = Layout(self.storage)

    def folder(self, trial: Trial) -> AnyPath:
        """The folder of everything about a trial."""
        return self.layout.trial(trial.id).path

    def of(self, trial: Trial) -> TrialRecords:
        """The records of one trial."""
        return TrialRecords(trial, self.layout.trial(trial.id))

    def each(self, function: Callable[[_S], _T], things: Iterable[_S]) -> list[_T]:
        """`function` of every trial or file, in order. On remote storage, many are asked for at a time."""
        if not isinstance(self.storage, RemotePath):
            return [function(thing) for thing in things]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(function, things))

    # What a trial's files say

    def state(self, trial: Trial) -> State:
        """The trial's status, derived from its files."""
        return self._state(trial, self.of(trial).result())

    def known(self, trial: Trial) -> Known:
        """State, result and stamp together: a result is then read and checked once, which is what takes time for thousands of trials."""
        record = self.of(trial).result_record()
        if record is None:
            return Known(self._state(trial, None), None)
        result = self._parsed(trial, record.content)
        return Known(self._state(trial, record.content), result, _stamp(record.text.encode()))

    def _state(self, trial: Trial, result: Mapping[str, Any] | None) -> State:
        found = self.of(trial)
        return state.unfinished(found, lambda: self.holder(trial) is not None) if result is None else state.ended(found, result)

    def holder(self, trial: Trial) -> Holder | None:
        """Who trains the trial now."""
        return claims.living(self.storage, self.folder(trial))

    def checkpoint(self, trial: Trial) -> AnyPath:
        """The trial's newest checkpoint, whether it is there or not."""
        return self.of(trial).checkpoint()

    def samples(self, trial: Trial) -> dict[str, AnyPath]:
        """Pictures of generated samples by name."""
        return {path.stem: path for path in listed(self.layout.trial(trial.id).samples, "*.png")}

    def stamp(self, trial: Trial) -> str:
        """A checksum of the trial's result, without parsing it; empty if the trial has not ended."""
        try:
            return _stamp(self.layout.trial(trial.id).result.read_bytes())
        except FileNotFoundError:
            return ""

    def stack(self, trial: Trial) -> tuple[str, ...]:
        """The ids of the stack in which a trial was last trained; empty if it was trained alone, or not begun."""
        found = self.of(trial)
        return tuple(found.note("stack").get("trials", ())) if found.folder.note("stack").exists() else ()

    def at_epoch(self, trial: Trial, epoch: int) -> dict[str, float] | None:
        """The metrics of a trial after an epoch, by name; None if nobody asked for them."""
        values: dict[str, float] | None = self.of(trial).at_epoch(epoch).get("values")
        return values

    def started_ms(self, trial: Trial) -> int | None:
        """When the first attempt began, in milliseconds since 1970; None if there was none."""
        started: int | None = self.of(trial).attempt(1).get("started_ms")
        return started

    def ended_ms(self, trial: Trial) -> int | None:
        """When the trial last stopped without a result, in milliseconds since 1970; None if no record says so.

        The last attempt says it. If that was killed, the note of failure or of interruption does; else the last attempt that has a time.
        """
        found = self.of(trial)
        of_attempts = [found.attempt(number).get("ended_ms") for number in found.attempt_numbers()]
        of_notes = [found.lenient_note(kind).get(f"{kind}_ms") for kind in ("failed", "cancelled")]
        last = (ended for ended in (*of_attempts[-1:], *of_notes) if ended)
        return next(last, None) or max((ended for ended in of_attempts if ended), default=None)

    def last_failure(self, trial: Trial) -> Failure | None:
        """Why the last attempt failed; None if it did not, or was killed before it could say so."""
        content = self.of(trial).last_attempt()
        return Failure.recorded(content, trial.config.dataset) if content.get("error") else None

    def failure(self, trial: Trial) -> Failure:
        """Why a failed trial was given up; a failure without type and message if nothing is known of it."""
        return Failure.recorded(self.of(trial).lenient_note("failed"), trial.config.dataset)

    def host(self, trial: Trial) -> str:
        """The machine of the last attempt; empty if there was none."""
        return str(self.of(trial).last_attempt().get("host") or "")

    def check(self, trial: Trial) -> None:
        """Raise LedgerError if the ledger's trial of this id has another configuration, because a default was changed."""
        stored, now = self.of(trial).config(), trial.config.model_dump(mode="json")
        for field in stored:
            if field not in now or stored[field] != now[field]:
                current = repr(now[field]) if field in now else "no such field"
                raise LedgerError(
                    f"trial {trial.id} ({trial.label}): {field} was {stored[field]!r} when it was trained and is {current} now, "
                    f"under the same identity; restore the default of {field}, raise RECIPE in mopoe_core/config.py, or use "
                    "another --storage"
                )

    # What is written of a trial

    def begin(self, trial: Trial, worker: str = "") -> int:
        """Note a new attempt, by the worker of that token. Returns its number, from 1; no two attempts have the same."""
        self.check(trial)
        found = self.of(trial)
        if not found.folder.note("trial").exists():
            content = {
                "cell_id": trial.cell.id,
                "recipe": RECIPE,
                "seed": trial.seed,
                "config": trial.config.model_dump(mode="json"),
            }
            records.write(found.folder.note("trial"), found.identity("trial"), content)
        who = {"host": platform.node(), "process": os.getpid(), "started_ms": _now_ms(), "worker": worker}
        number = max(found.attempt_numbers(), default=0) + 1
        while not records.first(found.folder.attempt(number), found.identity("attempt", attempt=number), who):
            number += 1
        return number

    def note_stack(self, trials: Sequence[Trial]) -> None:
        """Note that these trials are trained as one stack, so that it can be formed again."""
        for trial in trials:
            self._write_note(trial, "stack", {"trials": [member.id for member in trials]})

    def end_attempt(self, trial: Trial, number: int, status: str, error: Failure | str = "") -> None:
        """Note how an attempt ended. An attempt that was killed has no such note. `error` may be the text of a traceback."""
        found = self.of(trial)
        path, identity = found.folder.attempt(number), found.identity("attempt", attempt=number)
        why = _failure(trial, error).as_record() if error else {"error": ""}
        records.write(path, identity, records.read(path, identity) | {"ended_ms": _now_ms(), "status": status, **why})

    def fail(self, trial: Trial, error: Failure | str) -> None:
        """Note that a trial has failed on its last allowed attempt. `error` may be a traceback, or a word about a killed worker."""
        count = len(self.of(trial).folder.attempts())
        content = {**_failure(trial, error).as_record(), "attempts": count, "failed_ms": _now_ms()}
        self._write_note(trial, "failed", content, attempt=count)

    def cancel(self, trial: Trial, stopped_at_epoch: int | None = None) -> None:
        """Note that the user interrupted a trial that had begun, or that a search stopped it after some epochs."""
        why = {} if stopped_at_epoch is None else {"stopped_at_epoch": stopped_at_epoch}
        count = len(self.of(trial).folder.attempts())
        self._write_note(trial, "cancelled", {"cancelled_ms": _now_ms(), **why}, attempt=count)

    def note_epoch(self, trial: Trial, epoch: int, metrics: Sequence[Metric]) -> None:
        """Keep the metrics that a trial in training has after an epoch; none if it has diverged."""
        found, values = self.of(trial), {metric.name: metric.value for metric in metrics}
        records.write(found.folder.epoch(epoch), found.identity("epoch", epoch=epoch), {"epoch": epoch, "values": values})

    def _write_note(self, trial: Trial, kind: str, content: dict[str, Any], attempt: int | None = None) -> None:
        found = self.of(trial)
        records.write(found.folder.note(kind), found.identity(kind, attempt=attempt), content)

    def record(self, result: TrialResult, attempt: Attempt | None = None) -> bool:
        """Keep a trial's result, unless it has one; returns whether it was kept. The file's arrival is what completes the trial.

        `attempt` is the one that has checkpoint and pictures, which then become the trial's.
        """
        found, files = self.of(result.trial), "" if attempt is None else attempt.files
        if attempt is not None:
            attempts.secure(attempt)
        content = {**result.as_record(), "files": files}
        if not records.first(found.folder.result, found.identity("result", attempt=result.attempts), content):
            return False
        self._publish(result.trial, files)
        return True

    def publish(self, trial: Trial) -> None:
        """Move the files that a trial's result names to the trial's folder, if the worker had no time to, and clear the attempts'."""
        self._publish(trial, str((self.of(trial).result() or {}).get("files", "")))

    def _publish(self, trial: Trial, files: str) -> None:
        folder = self.layout.trial(trial.id)
        if files:
            attempts.publish(folder, files)
        else:
            attempts.clear(folder)
        folder.note("progress").unlink(missing_ok=True)

    def set_aside(self, trial: Trial, among: str = "damaged") -> AnyPath:
        """Move everything about a trial into the folder `among`, so that it can be trained anew. Returns where it is now."""
        aside = self.layout.aside(among, f"{trial.id}-{_now_ms()}")
        move_folder(self.folder(trial), aside)
        return aside

    # Results

    def result(self, trial: Trial) -> TrialResult | None:
        """The trial's result, or None if it has not ended."""
        record = self.of(trial).result()
        return None if record is None else self._parsed(trial, record)

    def results_of(self, trials: Iterable[Trial]) -> list[TrialResult]:
        """The results of those of these trials that have ended."""
        return [result for result in self.each(self.result, trials) if result is not None]

    def results(self, but: Collection[str] = ()) -> Iterator[TrialResult]:
        """Every readable result in storage, of whatever sweep, to estimate from; `but` has the ids of trials to leave out.

        Results of an older recipe or configuration are passed over, and so are damaged ones: another sweep's loss is no error here.
        """
        yield from (result for _, result in self.finished(but) if result is not None)

    def finished(self, but: Collection[str] = ()) -> list[tuple[dict[str, Any], TrialResult | None]]:
        """The content of trial.json of every readable trial that has ended, with its result if `results` gives that."""
        folders = [path.parent for path in self.layout.results()]
        pairs = self.each(self._finished_in, (folder for folder in folders if folder.name not in but))
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
    """The trial of a trial.json; None if it is on a dataset of the user's own, whose code may not run here, or of an older recipe."""
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
