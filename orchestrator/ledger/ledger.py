"""The ledger: what is known about every trial, as files. It is the truth; MLflow and reports are made from it.

    <storage>/trials/<trial id>/
        trial.json          the full configuration and seed, as they were when the trial first began
        attempts/0001.json  host, process, when, and how that attempt ended
        attempts/0001-*/    the attempt's own files, until there is a result (see `orchestrator.ledger.attempts`): checkpoint.pt,
                            everything needed to go on; checkpoint.before, the one before, in case the machine loses the newest;
                            checkpoint.next, a stack's next one, for the moment until those of all its trials are written; *.png
        stack.json          the trials of the stack that it was begun in, if it was
        checkpoint.pt       of a trial that has ended, everything that was needed to go on
        progress.json       epoch, epochs, seconds an epoch and when, of a trial in training: every 2 s at most (on object stores 30 s),
                            from a thread of its own (see `orchestrator.noting`); means nothing once there is a result
        samples/*.png       what the trained model generates
        result.json         how the trial ended: completed or diverged, history, long table, provenance, and the SHA-256 of its
                            checkpoint and pictures
        deleted.json        that `gc` deleted the checkpoint, or that the user does without it
        failed.json         the last error, after the last allowed attempt
        cancelled.json      interrupted by the user, or stopped early by a search
        epochs/0030.json    the metrics after that epoch, where a search asked for them

Every file is written whole or not at all, and every record says of which trial, attempt or epoch it is, under a checksum of itself: one
that was cut, changed or moved is named, and never used. A status is derived from which files are there, so it cannot contradict them.
"""

import hashlib
import os
import platform
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from mopoe_core.config.training_config import RECIPE, TrainingConfig
from mopoe_core.data.cards import is_own
from mopoe_core.metric_names import Metric
from mopoe_core.storage.files import AnyPath, Digest, listed, move_folder, size_if_there
from mopoe_core.storage.local_path import LocalPath
from mopoe_core.storage.remote_path import RemotePath
from orchestrator.errors import DamagedError, LedgerError, MisplacedError
from orchestrator.ledger import artifact_check, attempts, records, result_columns
from orchestrator.ledger.attempts import Attempt
from orchestrator.ledger.leases import leases
from orchestrator.ledger.leases.leases import Holder
from orchestrator.ledger.records import Identity
from orchestrator.ledger.result import ENDED, TrialResult
from orchestrator.spec.trial import Cell, Trial

PROGRESS = "progress.json"
AT_ONCE = 32
"""Requests to an object store at a time, where much is read: each takes some ten milliseconds, most of them waiting."""

_S = TypeVar("_S")
_T = TypeVar("_T")


@dataclass(frozen=True)
class State:
    """What the ledger says of a trial now."""

    status: str
    """One of `orchestrator.spec.trial.STATUSES`."""
    attempts: int
    has_checkpoint: bool
    error: str = ""
    """The last line of the traceback, for a failed trial."""
    stopped_at_epoch: int | None = None
    """Of a cancelled trial that a search stopped: the epochs that it was trained."""
    lost: str = ""
    """Of a trial that has ended: what is wrong with its checkpoint, as far as its name and size tell; empty for nothing."""
    unpublished: bool = False
    """Of a trial that has ended: whether its files still have to be moved from its attempt's folder to its own."""


@dataclass(frozen=True)
class Known:
    """A trial's state and, if it has ended, its result, of one reading."""

    state: State
    result: TrialResult | None
    stamp: str = ""
    """What `Ledger.stamp` gives; empty if the trial has not ended."""


class Ledger:
    """The trials under one storage folder. Reading creates nothing."""

    def __init__(self, storage: AnyPath) -> None:
        self.storage = LocalPath(storage).absolute() if isinstance(storage, Path) else storage

    def folder(self, trial: Trial) -> AnyPath:
        """Where everything about a trial lies."""
        return self.storage / "trials" / trial.id

    def checkpoint(self, trial: Trial) -> AnyPath:
        """The trial's newest checkpoint, whether it is there or not."""
        newest = attempts.newest_checkpoint(self.folder(trial))
        if newest is None:
            return self.folder(trial) / artifact_check.CHECKPOINT
        record = self._record(trial)
        return newest if record is None else self._checkpoint_of(trial, record)[0]

    def _checkpoint_of(self, trial: Trial, record: dict[str, Any]) -> tuple[AnyPath, int | None]:
        """That of a trial with this result, which may still be among the files of its attempt, and its size; None if it is not there."""
        folder = self.folder(trial)
        place, named = folder / artifact_check.CHECKPOINT, _digest(record)
        found = size_if_there(place)
        if record.get("files") and named is not None and found != named.size:
            unpublished = folder / record["files"] / artifact_check.CHECKPOINT
            size = size_if_there(unpublished)
            return (place, found) if size is None else (unpublished, size)
        return place, found

    def samples(self, trial: Trial) -> dict[str, AnyPath]:
        """Pictures of generated samples by name."""
        return {path.stem: path for path in listed(self.folder(trial) / "samples", "*.png")}

    def state(self, trial: Trial) -> State:
        """The trial's status, derived from its files."""
        return self._state(trial, self._record(trial))

    def known(self, trial: Trial) -> Known:
        """State and result: where both are wanted, a result is read and checked once, which is what takes time of thousands."""
        record = self._result_record(trial)
        if record is None:
            return Known(self._state(trial, None), None)
        return Known(self._state(trial, record.content), self._result(trial, record.content), _stamp(record.text.encode()))

    def _state(self, trial: Trial, record: dict[str, Any] | None) -> State:
        """`record` is that of the trial's result, if there is one."""
        folder = self.folder(trial)
        if record is not None:
            return self._ended(trial, record)
        if not folder.exists():
            return State("running" if leases.living(self.storage, folder) else "pending", 0, False)
        error, stopped, numbers = "", None, self._attempt_numbers(trial)
        last = max(numbers, default=0)
        if self._is_last_word(trial, "failed", last):
            status, error = "failed", self._last_line(trial)
        elif leases.living(self.storage, folder):
            status = "running"
        else:
            status = "cancelled" if self._is_last_word(trial, "cancelled", last) else "pending"
        if status in ("pending", "cancelled"):
            self._identified(trial)  # of a folder that was moved, no other record need tell
        if status == "cancelled":
            stopped = self._said(trial, "cancelled.json", Identity("cancelled", trial.id), "stopped_at_epoch")
        return State(status, len(numbers), self.checkpoint(trial).exists(), error, stopped)

    def _is_last_word(self, trial: Trial, kind: str, last: int) -> bool:
        """Whether a note that a trial has failed, or was cancelled, is of its last attempt.

        A note that does not say of which attempt it is was written before attempts had files of their own. It counts until one has.
        """
        path = self.folder(trial) / f"{kind}.json"
        if not path.exists():
            return False
        try:
            said = self._load(trial, path.name, Identity(kind, trial.id)).said
        except MisplacedError:
            raise
        except DamagedError:
            return True
        attempt = said.get("attempt")
        return attempt >= last if isinstance(attempt, int) else not self._of_last_attempt(trial, "worker")

    def _ended(self, trial: Trial, record: dict[str, Any]) -> State:
        """The state of a trial with a result."""
        folder, status = self.folder(trial), str(record.get("status"))
        if status not in ENDED:
            raise records.damaged(folder / "result.json", f"status {status!r} is not one of {', '.join(ENDED)}")
        (path, found), named, lost = self._checkpoint_of(trial, record), _digest(record), ""
        if named is not None and (said := artifact_check.lost(folder, trial.id, named, found)):
            lost = str(records.damaged(path, said))
        unpublished = path.parent != folder
        return State(status, _attempts(folder), found is not None, lost=lost, unpublished=unpublished)

    def _last_line(self, trial: Trial) -> str:
        """Of the error that a failed trial was given up for."""
        note = self._read(trial, "failed.json", Identity("failed", trial.id))
        return str(note.get("error", "")).strip().rpartition("\n")[2]

    def each(self, what: Callable[[_S], _T], things: Iterable[_S]) -> list[_T]:
        """`what` of every trial or file, in order; where storage is remote, many at a time."""
        if not isinstance(self.storage, RemotePath):
            return [what(thing) for thing in things]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(what, things))

    def holder(self, trial: Trial) -> Holder | None:
        """Who trains the trial now."""
        return leases.living(self.storage, self.folder(trial))

    def stamp(self, trial: Trial) -> str:
        """A checksum of the trial's result, without parsing it; empty if the trial has not ended."""
        try:
            return _stamp((self.folder(trial) / "result.json").read_bytes())
        except FileNotFoundError:
            return ""

    def check(self, trial: Trial) -> None:
        """Raise LedgerError if the ledger's trial of this id was given another configuration: a default has moved under it."""
        stored, now = self._identified(trial), trial.config.model_dump(mode="json")
        for field in stored:
            if field not in now or stored[field] != now[field]:
                found = repr(now[field]) if field in now else "no such field"
                raise LedgerError(
                    f"trial {trial.id} ({trial.label}): {field} was {stored[field]!r} when it was trained and is {found} now, "
                    f"under the same identity; restore the default of {field}, raise RECIPE in mopoe_core/config.py, or use "
                    "another --storage"
                )

    def _identified(self, trial: Trial) -> dict[str, Any]:
        """The configuration that trial.json has; empty where there is no such file. Raises DamagedError where it is another trial's."""
        path = self.folder(trial) / "trial.json"
        if not path.exists():
            return {}
        stored = records.read(path, Identity("trial", trial.id))
        if not isinstance(stored.get("config"), dict):
            raise records.damaged(path, "it holds no configuration")
        if stored.get("seed") != trial.seed:
            raise MisplacedError(
                f"{path}: is not the record that belongs here (its seed is {stored.get('seed')!r}, not {trial.seed})"
            )
        return dict(stored["config"])

    def check_notes(self, trial: Trial) -> None:
        """Raise DamagedError where a note of a trial's folder belongs elsewhere, or its stack's was cut."""
        self.stack(trial)
        for number in self._attempt_numbers(trial):
            self._of_attempt(trial, number, "status")
        for path in listed(self.folder(trial) / "epochs", "*.json"):
            self.at_epoch(trial, _number(path))
        for kind in ("failed", "cancelled", "deleted", "progress"):
            self._said(trial, f"{kind}.json", Identity(kind, trial.id), "")

    def begin(self, trial: Trial, worker: str = "") -> int:
        """Note a new attempt, by the worker of that token; returns its number, from 1. No two attempts have the same."""
        folder = self.folder(trial)
        self.check(trial)
        if not (folder / "trial.json").exists():
            content = {
                "cell_id": trial.cell.id,
                "recipe": RECIPE,
                "seed": trial.seed,
                "config": trial.config.model_dump(mode="json"),
            }
            records.write(folder / "trial.json", Identity("trial", trial.id), content)
        who = {"host": platform.node(), "process": os.getpid(), "started_ms": int(time.time() * 1000), "worker": worker}
        number = max(self._attempt_numbers(trial), default=0) + 1
        while not records.first(self._attempt_path(trial, number), Identity("attempt", trial.id, attempt=number), who):
            number += 1
        return number

    def note_stack(self, trials: Sequence[Trial]) -> None:
        """Note that these trials are trained as one stack, so that it can be formed again."""
        for trial in trials:
            content = {"trials": [member.id for member in trials]}
            records.write(self.folder(trial) / "stack.json", Identity("stack", trial.id), content)

    def stack(self, trial: Trial) -> tuple[str, ...]:
        """The ids of the stack that a trial was last trained in; empty where it was trained alone, or not begun."""
        if not (self.folder(trial) / "stack.json").exists():
            return ()
        return tuple(self._read(trial, "stack.json", Identity("stack", trial.id)).get("trials", ()))

    def end_attempt(self, trial: Trial, number: int, status: str, error: str = "") -> None:
        """Note how an attempt ended; one that was killed has no such note."""
        path, identity = self._attempt_path(trial, number), Identity("attempt", trial.id, attempt=number)
        content = records.read(path, identity) | {"ended_ms": int(time.time() * 1000), "status": status, "error": error}
        records.write(path, identity, content)

    def started_ms(self, trial: Trial) -> int | None:
        """When the first attempt began, in milliseconds since 1970; None if there was none."""
        started: int | None = self._of_attempt(trial, 1, "started_ms")
        return started

    def ended_ms(self, trial: Trial) -> int | None:
        """When the trial last stopped without a result, in milliseconds since 1970; None where nothing says so.

        The last attempt says it; where that was killed, the note of failure or interruption; else the last attempt that could.
        """
        numbers = self._attempt_numbers(trial)
        attempts = [self._of_attempt(trial, number, "ended_ms") for number in numbers]
        notes = [self._said(trial, f"{kind}.json", Identity(kind, trial.id), f"{kind}_ms") for kind in ("failed", "cancelled")]
        last = attempts[-1:] + notes
        return next((ended for ended in last if ended), None) or max((ended for ended in attempts if ended), default=None)

    def last_error(self, trial: Trial) -> str:
        """The traceback that ended the last attempt; empty if it was killed without leaving one."""
        return str(self._of_last_attempt(trial, "error") or "")

    def failure(self, trial: Trial) -> str:
        """Why a failed trial was given up: a traceback, or a word about a worker that left none; empty if it has not failed."""
        return str(self._said(trial, "failed.json", Identity("failed", trial.id), "error") or "")

    def host(self, trial: Trial) -> str:
        """The machine of the last attempt; empty if there was none."""
        return str(self._of_last_attempt(trial, "host") or "")

    def _attempt_path(self, trial: Trial, number: int) -> AnyPath:
        return self.folder(trial) / "attempts" / f"{number:04d}.json"

    def _attempt_numbers(self, trial: Trial) -> list[int]:
        return [_number(path) for path in listed(self.folder(trial) / "attempts", "*.json")]

    def _of_attempt(self, trial: Trial, number: int, key: str) -> Any:
        return self._said(trial, f"attempts/{number:04d}.json", Identity("attempt", trial.id, attempt=number), key)

    def _of_last_attempt(self, trial: Trial, key: str) -> Any:
        numbers = self._attempt_numbers(trial)
        return self._of_attempt(trial, numbers[-1], key) if numbers else None

    def record(self, result: TrialResult, attempt: Attempt | None = None) -> bool:
        """Keep a trial's result, unless it has one; returns whether it was kept. The file's arrival is what completes the trial.

        `attempt` is the one that has checkpoint and pictures, which then become the trial's.
        """
        folder = self.folder(result.trial)
        content = {
            "status": result.status,
            "metrics": [asdict(metric) for metric in result.metrics],
            "history": [asdict(epoch) for epoch in result.history],
            "diverged_at_step": result.diverged_at_step,
            "train_seconds": result.train_seconds,
            "evaluate_seconds": result.evaluate_seconds,
            "attempts": result.attempts,
            "provenance": result.provenance,
            "checkpoint": None if result.checkpoint is None else asdict(result.checkpoint),
            "samples": dict(result.samples),
            "files": "" if attempt is None else attempt.files,
        }
        identity = Identity("result", result.trial.id, attempt=result.attempts)
        if attempt is not None:
            attempts.secure(attempt)
        if not records.first(folder / "result.json", identity, content):
            return False
        self._publish(result.trial, attempt.files if attempt else "")
        return True

    def publish(self, trial: Trial) -> None:
        """Move the files that a trial's result names to the trial's folder, where the worker had no time to, and remove what training
        left.
        """
        self._publish(trial, str((self._record(trial) or {}).get("files", "")))

    def _publish(self, trial: Trial, files: str) -> None:
        if files:
            attempts.publish(self.folder(trial), files)
        else:
            attempts.clear(self.folder(trial))
        (self.folder(trial) / PROGRESS).unlink(missing_ok=True)

    def fail(self, trial: Trial, error: str) -> None:
        """Note that a trial has failed on its last allowed attempt."""
        attempts = _attempts(self.folder(trial))
        note = {"error": error, "attempts": attempts, "failed_ms": int(time.time() * 1000)}
        records.write(self.folder(trial) / "failed.json", Identity("failed", trial.id, attempt=attempts), note)

    def cancel(self, trial: Trial, stopped_at_epoch: int | None = None) -> None:
        """Note that the user interrupted a trial that had begun, or that a search stopped it after some epochs."""
        why = {} if stopped_at_epoch is None else {"stopped_at_epoch": stopped_at_epoch}
        identity = Identity("cancelled", trial.id, attempt=_attempts(self.folder(trial)))
        records.write(self.folder(trial) / "cancelled.json", identity, {"cancelled_ms": int(time.time() * 1000), **why})

    def note_epoch(self, trial: Trial, epoch: int, metrics: Sequence[Metric]) -> None:
        """Keep the metrics of a trial that trains, as they are after an epoch; none where it has diverged."""
        values = {metric.name: metric.value for metric in metrics}
        identity = Identity("epoch", trial.id, epoch=epoch)
        records.write(self._epoch_path(trial, epoch), identity, {"epoch": epoch, "values": values})

    def at_epoch(self, trial: Trial, epoch: int) -> dict[str, float] | None:
        """The metrics of a trial after an epoch, by name; None where nobody asked for them."""
        identity = Identity("epoch", trial.id, epoch=epoch)
        values: dict[str, float] | None = self._said(trial, f"epochs/{epoch:04d}.json", identity, "values")
        return values

    def _epoch_path(self, trial: Trial, epoch: int) -> AnyPath:
        return self.folder(trial) / "epochs" / f"{epoch:04d}.json"

    def set_aside(self, trial: Trial, among: str = "damaged") -> AnyPath:
        """Move everything about a trial out of the way, so that it can be trained anew; returns where in the folder `among` it is now."""
        aside = self.storage / among / f"{trial.id}-{int(time.time() * 1000)}"
        move_folder(self.folder(trial), aside)
        return aside

    def result(self, trial: Trial) -> TrialResult | None:
        """The trial's result, or None if it has not ended."""
        record = self._record(trial)
        return None if record is None else self._result(trial, record)

    def _record(self, trial: Trial) -> dict[str, Any] | None:
        record = self._result_record(trial)
        return None if record is None else record.content

    def _result_record(self, trial: Trial) -> records.Record | None:
        path = self.folder(trial) / "result.json"
        return records.load(path, Identity("result", trial.id)) if path.exists() else None

    def _result(self, trial: Trial, record: dict[str, Any]) -> TrialResult:
        rest = ("diverged_at_step", "train_seconds", "evaluate_seconds", "attempts")
        try:
            return TrialResult(
                trial=trial,
                status=record["status"],
                metrics=result_columns.metrics(record["metrics"]),
                history=result_columns.history(record["history"]),
                provenance=result_columns.provenance(record["provenance"]),
                checkpoint=_digest(record),
                samples=record.get("samples", {}),
                **{name: record[name] for name in rest},
            )
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise records.damaged(self.folder(trial) / "result.json", f"{type(error).__name__}: {error}") from None

    def results_of(self, trials: Iterable[Trial]) -> list[TrialResult]:
        """The results of these trials that are there."""
        return [result for result in self.each(self.result, trials) if result is not None]

    def results(self, but: Collection[str] = ()) -> Iterator[TrialResult]:
        """Every readable result in storage, of whatever sweep, to estimate from; `but` has the ids of trials to leave out.

        Those of an older recipe or configuration are passed over, and so are damaged ones: another sweep's loss is not this one's error.
        """
        yield from (result for _, result in self.finished(but) if result is not None)

    def finished(self, but: Collection[str] = ()) -> list[tuple[dict[str, Any], TrialResult | None]]:
        """Every readable trial in storage that has ended, as `trial.json` says it, with its result where `results` gives that."""
        folders = [path.parent for path in listed(self.storage, "trials/*/result.json")]
        found = self.each(self._finished_in, (folder for folder in folders if folder.name not in but))
        return [one for one in found if one is not None]

    def _finished_in(self, folder: AnyPath) -> tuple[dict[str, Any], TrialResult | None] | None:
        with suppress(LedgerError):
            identity = records.read(folder / "trial.json", Identity("trial", folder.name))
            trial = _known(identity)
            return identity, self.result(trial) if trial is not None and trial.id == folder.name else None
        return None

    def _read(self, trial: Trial, name: str, identity: Identity) -> dict[str, Any]:
        return self._load(trial, name, identity).content

    def _load(self, trial: Trial, name: str, identity: Identity) -> records.Record:
        """A record of a trial's folder.

        One of format 1 does not say which trial it is of. It is believed in a folder that was begun then, and nowhere else.
        """
        path = self.folder(trial) / name
        record = records.load(path, identity)
        if record.format == 1 and self._format(trial) > 1:
            raise MisplacedError(f"{path}: is not the record that belongs here (it does not say of which trial it is)")
        return record

    def _format(self, trial: Trial) -> int:
        path = self.folder(trial) / "trial.json"
        return records.load(path, Identity("trial", trial.id)).format if path.exists() else 1

    def _said(self, trial: Trial, name: str, identity: Identity, key: str) -> Any:
        """What a note has under this key; None where there is no such note, or where it was cut: the trial is none the worse for it.

        Raises MisplacedError where it is another trial's.
        """
        if not (self.folder(trial) / name).exists():
            return None
        try:
            return self._read(trial, name, identity).get(key)
        except MisplacedError:
            raise
        except DamagedError:
            return None


def _known(stored: dict[str, Any]) -> Trial | None:
    if is_own(str(stored.get("config", {}).get("dataset"))):
        return None  # to read a ledger runs no user's code
    try:
        return Trial(Cell(TrainingConfig.model_validate(stored["config"])), stored["seed"])
    except (ValueError, KeyError):
        return None


def _stamp(result: bytes) -> str:
    return hashlib.sha256(result).hexdigest()[:32]


def _digest(record: dict[str, Any]) -> Digest | None:
    """What the record of a result says of its checkpoint; None where it names none."""
    named = record.get("checkpoint")
    return None if named is None else Digest(**named)


def _number(path: AnyPath) -> int:
    """The number that a record's name is; -1, which no record's is, for any other name."""
    return int(path.stem) if path.stem.isdecimal() else -1


def _attempts(folder: AnyPath) -> int:
    return len(listed(folder / "attempts", "*.json"))
