"""The ledger: what is known about every trial, as files. It is the truth; MLflow and reports are made from it.

    <storage>/trials/<trial id>/
        trial.json          the full configuration and seed, as they were when the trial first began
        attempts/0001.json  host, process, when, and how that attempt ended
        claims/*.json       who trains it now (see `orchestrator.leases`)
        stack.json          the trials of the stack that it was begun in, if it was
        checkpoint.pt       everything needed to go on
        checkpoint.before   the one before, until the trial has ended: what is left if the machine loses the newest
        checkpoint.next     a stack's next one, for the moment until those of all its trials are written
        progress.json       epoch, epochs, seconds an epoch and when, of a trial in training: every 2 s at most (on object stores 30 s),
                            from a thread of its own (see `orchestrator.noting`); means nothing once there is a result
        samples/*.png       what the trained model generates
        result.json         how the trial ended: completed or diverged, history, long table, provenance
        failed.json         the last error, after the last allowed attempt
        cancelled.json      interrupted by the user, or stopped early by a search
        epochs/0030.json    the metrics after that epoch, where a search asked for them

Every file is written whole or not at all, and every record carries a checksum of itself: one that was cut or changed is named, and never
used. A status is derived from which files are there, so it cannot contradict them.
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

from mopoe_core.catalogue import is_own
from mopoe_core.config import RECIPE, TrainingConfig
from mopoe_core.files import AnyPath, listed, move_folder
from mopoe_core.names import Epoch, Metric
from mopoe_core.remote import RemotePath
from orchestrator import leases, records
from orchestrator.errors import DamagedError, LedgerError
from orchestrator.leases import Holder
from orchestrator.trial import ENDED, Cell, Trial, TrialResult

PROGRESS = "progress.json"
AT_ONCE = 32
"""Requests to an object store at a time, where much is read: each takes some ten milliseconds, most of them waiting."""

_S = TypeVar("_S")
_T = TypeVar("_T")


@dataclass(frozen=True)
class State:
    """What the ledger says of a trial now."""

    status: str
    """One of `orchestrator.trial.STATUSES`."""
    attempts: int
    has_checkpoint: bool
    error: str = ""
    """The last line of the traceback, for a failed trial."""
    stopped_at_epoch: int | None = None
    """Of a cancelled trial that a search stopped: the epochs that it was trained."""


@dataclass(frozen=True)
class Known:
    """A trial's state and, if it has ended, its result, of one reading."""

    state: State
    result: TrialResult | None


class Ledger:
    """The trials under one storage folder. Reading creates nothing."""

    def __init__(self, storage: AnyPath) -> None:
        self.storage = storage.absolute() if isinstance(storage, Path) else storage

    def folder(self, trial: Trial) -> AnyPath:
        """Where everything about a trial lies."""
        return self.storage / "trials" / trial.id

    def checkpoint(self, trial: Trial) -> AnyPath:
        """The trial's checkpoint, whether it is there or not."""
        return self.folder(trial) / "checkpoint.pt"

    def samples(self, trial: Trial) -> dict[str, AnyPath]:
        """Pictures of generated samples by name."""
        return {path.stem: path for path in listed(self.folder(trial) / "samples", "*.png")}

    def state(self, trial: Trial) -> State:
        """The trial's status, derived from its files."""
        return self._state(trial, self._record(trial))

    def known(self, trial: Trial) -> Known:
        """State and result: where both are wanted, a result is read and checked once, which is what takes time of thousands."""
        record = self._record(trial)
        return Known(self._state(trial, record), None if record is None else self._result(trial, record))

    def _state(self, trial: Trial, record: dict[str, Any] | None) -> State:
        """`record` is that of the trial's result, if there is one."""
        folder = self.folder(trial)
        if record is None and not folder.exists():
            return State("pending", 0, False)
        error = ""
        if record is not None:
            status = str(record.get("status"))
            if status not in ENDED:
                raise records.damaged(folder / "result.json", f"status {status!r} is not one of {', '.join(ENDED)}")
        elif (folder / "failed.json").exists():
            status, error = "failed", str(records.read(folder / "failed.json").get("error", "")).strip().rpartition("\n")[2]
        elif leases.living(self.storage, folder):
            status = "running"
        else:
            status = "cancelled" if (folder / "cancelled.json").exists() else "pending"
        stopped = _said(folder / "cancelled.json", "stopped_at_epoch") if status == "cancelled" else None
        return State(status, _attempts(folder), (folder / "checkpoint.pt").exists(), error, stopped)

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
            return hashlib.sha256((self.folder(trial) / "result.json").read_bytes()).hexdigest()[:32]
        except FileNotFoundError:
            return ""

    def check(self, trial: Trial) -> None:
        """Raise LedgerError if the ledger's trial of this id was given another configuration: a default has moved under it."""
        path = self.folder(trial) / "trial.json"
        if not path.exists():
            return
        stored, now = records.read(path).get("config"), trial.config.model_dump(mode="json")
        if not isinstance(stored, dict):
            raise records.damaged(path, "it holds no configuration")
        for field in stored:
            if field not in now or stored[field] != now[field]:
                found = repr(now[field]) if field in now else "no such field"
                raise LedgerError(
                    f"trial {trial.id} ({trial.label}): {field} was {stored[field]!r} when it was trained and is {found} now, "
                    f"under the same identity; restore the default of {field}, raise RECIPE in mopoe_core/config.py, or use "
                    "another --storage"
                )

    def begin(self, trial: Trial) -> int:
        """Note a new attempt; returns its number, from 1."""
        folder = self.folder(trial)
        self.check(trial)
        if not (folder / "trial.json").exists():
            identity = {"id": trial.id, "cell_id": trial.cell.id, "recipe": RECIPE, "seed": trial.seed}
            records.write(folder / "trial.json", identity | {"config": trial.config.model_dump(mode="json")})
        for name in ("failed.json", "cancelled.json"):
            (folder / name).unlink(missing_ok=True)
        number = _attempts(folder) + 1
        who = {"host": platform.node(), "process": os.getpid(), "started_ms": int(time.time() * 1000)}
        records.write(folder / "attempts" / f"{number:04d}.json", who)
        return number

    def note_stack(self, trials: Sequence[Trial]) -> None:
        """Note that these trials are trained as one stack, so that it can be formed again."""
        for trial in trials:
            records.write(self.folder(trial) / "stack.json", {"trials": [member.id for member in trials]})

    def stack(self, trial: Trial) -> tuple[str, ...]:
        """The ids of the stack that a trial was last trained in; empty where it was trained alone, or not begun."""
        path = self.folder(trial) / "stack.json"
        return tuple(records.read(path).get("trials", ())) if path.exists() else ()

    def end_attempt(self, trial: Trial, number: int, status: str, error: str = "") -> None:
        """Note how an attempt ended; one that was killed has no such note."""
        path = self.folder(trial) / "attempts" / f"{number:04d}.json"
        records.write(path, records.read(path) | {"ended_ms": int(time.time() * 1000), "status": status, "error": error})

    def started_ms(self, trial: Trial) -> int | None:
        """When the first attempt began, in milliseconds since 1970; None if there was none."""
        started: int | None = _said(self.folder(trial) / "attempts" / "0001.json", "started_ms")
        return started

    def ended_ms(self, trial: Trial) -> int | None:
        """When the trial last stopped without a result, in milliseconds since 1970; None where nothing says so.

        The last attempt says it; where that was killed, the note of failure or interruption; else the last attempt that could.
        """
        folder = self.folder(trial)
        attempts = [_said(path, "ended_ms") for path in listed(folder / "attempts", "*.json")]
        notes = [_said(folder / f"{name}.json", f"{name}_ms") for name in ("failed", "cancelled")]
        last = attempts[-1:] + notes
        return next((ended for ended in last if ended), None) or max((ended for ended in attempts if ended), default=None)

    def last_error(self, trial: Trial) -> str:
        """The traceback that ended the last attempt; empty if it was killed without leaving one."""
        attempts = listed(self.folder(trial) / "attempts", "*.json")
        return str(_said(attempts[-1], "error") or "") if attempts else ""

    def failure(self, trial: Trial) -> str:
        """Why a failed trial was given up: a traceback, or a word about a worker that left none; empty if it has not failed."""
        return str(_said(self.folder(trial) / "failed.json", "error") or "")

    def host(self, trial: Trial) -> str:
        """The machine of the last attempt; empty if there was none."""
        attempts = listed(self.folder(trial) / "attempts", "*.json")
        return str(_said(attempts[-1], "host") or "") if attempts else ""

    def record(self, result: TrialResult) -> None:
        """Keep a trial's result. The file's arrival is what completes the trial."""
        content = {
            "id": result.trial.id,
            "status": result.status,
            "metrics": [asdict(metric) for metric in result.metrics],
            "history": [asdict(epoch) for epoch in result.history],
            "diverged_at_step": result.diverged_at_step,
            "train_seconds": result.train_seconds,
            "evaluate_seconds": result.evaluate_seconds,
            "attempts": result.attempts,
            "provenance": result.provenance,
        }
        records.write(self.folder(result.trial) / "result.json", content)
        for name in ("checkpoint.before", "checkpoint.next", PROGRESS):
            (self.folder(result.trial) / name).unlink(missing_ok=True)

    def fail(self, trial: Trial, error: str) -> None:
        """Note that a trial has failed on its last allowed attempt."""
        note = {"error": error, "attempts": _attempts(self.folder(trial)), "failed_ms": int(time.time() * 1000)}
        records.write(self.folder(trial) / "failed.json", note)

    def cancel(self, trial: Trial, stopped_at_epoch: int | None = None) -> None:
        """Note that the user interrupted a trial that had begun, or that a search stopped it after some epochs."""
        why = {} if stopped_at_epoch is None else {"stopped_at_epoch": stopped_at_epoch}
        records.write(self.folder(trial) / "cancelled.json", {"cancelled_ms": int(time.time() * 1000), **why})

    def note_epoch(self, trial: Trial, epoch: int, metrics: Sequence[Metric]) -> None:
        """Keep the metrics of a trial that trains, as they are after an epoch; none where it has diverged."""
        values = {metric.name: metric.value for metric in metrics}
        records.write(self._epoch_path(trial, epoch), {"epoch": epoch, "values": values})

    def at_epoch(self, trial: Trial, epoch: int) -> dict[str, float] | None:
        """The metrics of a trial after an epoch, by name; None where nobody asked for them."""
        values: dict[str, float] | None = _said(self._epoch_path(trial, epoch), "values")
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
        path = self.folder(trial) / "result.json"
        return records.read(path) if path.exists() else None

    def _result(self, trial: Trial, record: dict[str, Any]) -> TrialResult:
        rest = ("diverged_at_step", "train_seconds", "evaluate_seconds", "attempts", "provenance")
        try:
            return TrialResult(
                trial=trial,
                status=record["status"],
                metrics=tuple(Metric(**metric) for metric in record["metrics"]),
                history=tuple(Epoch(**epoch) for epoch in record["history"]),
                **{name: record[name] for name in rest},
            )
        except (KeyError, TypeError) as error:
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
            identity = records.read(folder / "trial.json")
            trial = _known(identity)
            return identity, self.result(trial) if trial else None
        return None


def _known(identity: dict[str, Any]) -> Trial | None:
    if is_own(str(identity.get("config", {}).get("dataset"))):
        return None  # to read a ledger runs no user's code
    try:
        trial = Trial(Cell(TrainingConfig.model_validate(identity["config"])), identity["seed"])
    except (ValueError, KeyError):
        return None
    return trial if trial.id == identity["id"] else None


def _attempts(folder: AnyPath) -> int:
    return len(listed(folder / "attempts", "*.json"))


def _said(path: AnyPath, key: str) -> Any:
    """What a note has under this key; None where there is no such note, or none that can be used: the trial is none the worse for it."""
    if not path.exists():
        return None
    with suppress(DamagedError):
        return records.read(path).get(key)
    return None
