"""The ledger: what is known about every trial, as files. It is the truth; MLflow and reports are made from it.

    <storage>/trials/<trial id>/
        trial.json          the full configuration and seed, as they were when the trial first began
        attempts/0001.json  host, process, when, and how that attempt ended
        stack.json          the trials of the stack that it was begun in, if it was
        heartbeat           touched every few seconds while an attempt lives
        checkpoint.pt       everything needed to go on
        checkpoint.next     a stack's next one, for the moment until those of all its trials are written
        samples/*.png       what the trained model generates
        result.json         how the trial ended: completed or diverged, history, long table, provenance
        failed.json         the last error, after the last allowed attempt
        cancelled.json      interrupted by the user

Every file is written whole or not at all. A status is derived from which files are there, so it cannot contradict them.
"""

import json
import os
import platform
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mopoe_core.catalogue import is_own
from mopoe_core.config import RECIPE, TrainingConfig
from mopoe_core.files import write_text
from mopoe_core.names import Epoch, Metric
from orchestrator.errors import LedgerError
from orchestrator.trial import Cell, Trial, TrialResult

HEARTBEAT_SECONDS = 5
ENDED = ("completed", "diverged")
STALE_SECONDS = 30  # six missed heartbeats: a worker that is alive but starved of CPU still beats by then


@dataclass(frozen=True)
class State:
    """What the ledger says of a trial now."""

    status: str
    """One of `orchestrator.trial.STATUSES`."""
    attempts: int
    has_checkpoint: bool
    error: str = ""
    """The last line of the traceback, for a failed trial."""


class Ledger:
    """The trials under one storage folder. Reading creates nothing."""

    def __init__(self, storage: Path) -> None:
        self.storage = storage.absolute()

    def folder(self, trial: Trial) -> Path:
        """Where everything about a trial lies."""
        return self.storage / "trials" / trial.id

    def checkpoint(self, trial: Trial) -> Path:
        """The trial's checkpoint, whether it is there or not."""
        return self.folder(trial) / "checkpoint.pt"

    def samples(self, trial: Trial) -> dict[str, Path]:
        """Pictures of generated samples by name."""
        return {path.stem: path for path in sorted((self.folder(trial) / "samples").glob("*.png"))}

    def state(self, trial: Trial) -> State:
        """The trial's status, derived from its files."""
        folder = self.folder(trial)
        if not folder.exists():
            return State("pending", 0, False)
        error = ""
        if (folder / "result.json").exists():
            status = str(_read(folder / "result.json").get("status"))
            if status not in ENDED:
                raise _damaged(folder / "result.json", f"status {status!r} is not one of {', '.join(ENDED)}")
        elif (folder / "failed.json").exists():
            status, error = "failed", str(_read(folder / "failed.json").get("error", "")).strip().rpartition("\n")[2]
        elif _is_fresh(folder / "heartbeat"):
            status = "running"
        else:
            status = "cancelled" if (folder / "cancelled.json").exists() else "pending"
        return State(status, _attempts(folder), (folder / "checkpoint.pt").exists(), error)

    def check(self, trial: Trial) -> None:
        """Raise LedgerError if the ledger's trial of this id was given another configuration: a default has moved under it."""
        path = self.folder(trial) / "trial.json"
        if not path.exists():
            return
        stored, now = _read(path).get("config"), trial.config.model_dump(mode="json")
        if not isinstance(stored, dict):
            raise _damaged(path, "it holds no configuration")
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
            _write(folder / "trial.json", identity | {"config": trial.config.model_dump(mode="json")})
        for name in ("failed.json", "cancelled.json"):
            (folder / name).unlink(missing_ok=True)
        number = _attempts(folder) + 1
        who = {"host": platform.node(), "process": os.getpid(), "started_ms": int(time.time() * 1000)}
        _write(folder / "attempts" / f"{number:04d}.json", who)
        return number

    def note_stack(self, trials: Sequence[Trial]) -> None:
        """Note that these trials are trained as one stack, so that it can be formed again."""
        for trial in trials:
            _write(self.folder(trial) / "stack.json", {"trials": [member.id for member in trials]})

    def stack(self, trial: Trial) -> tuple[str, ...]:
        """The ids of the stack that a trial was last trained in; empty where it was trained alone, or not begun."""
        path = self.folder(trial) / "stack.json"
        return tuple(_read(path).get("trials", ())) if path.exists() else ()

    def end_attempt(self, trial: Trial, number: int, status: str, error: str = "") -> None:
        """Note how an attempt ended; one that was killed has no such note."""
        path = self.folder(trial) / "attempts" / f"{number:04d}.json"
        _write(path, _read(path) | {"ended_ms": int(time.time() * 1000), "status": status, "error": error})

    def started_ms(self, trial: Trial) -> int | None:
        """When the first attempt began, in milliseconds since 1970; None if there was none."""
        path = self.folder(trial) / "attempts" / "0001.json"
        return int(_read(path)["started_ms"]) if path.exists() else None

    def last_error(self, trial: Trial) -> str:
        """The traceback that ended the last attempt; empty if it was killed without leaving one."""
        attempts = sorted((self.folder(trial) / "attempts").glob("*.json"))
        return str(_read(attempts[-1]).get("error", "")) if attempts else ""

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
        _write(self.folder(result.trial) / "result.json", content)

    def fail(self, trial: Trial, error: str) -> None:
        """Note that a trial has failed on its last allowed attempt."""
        _write(self.folder(trial) / "failed.json", {"error": error, "attempts": _attempts(self.folder(trial))})

    def cancel(self, trial: Trial) -> None:
        """Note that the user interrupted a trial that had begun."""
        (self.folder(trial) / "heartbeat").unlink(missing_ok=True)
        _write(self.folder(trial) / "cancelled.json", {"cancelled_ms": int(time.time() * 1000)})

    def result(self, trial: Trial) -> TrialResult | None:
        """The trial's result, or None if it has not ended."""
        path = self.folder(trial) / "result.json"
        if not path.exists():
            return None
        raw = _read(path)
        rest = ("diverged_at_step", "train_seconds", "evaluate_seconds", "attempts", "provenance")
        try:
            return TrialResult(
                trial=trial,
                status=raw["status"],
                metrics=tuple(Metric(**metric) for metric in raw["metrics"]),
                history=tuple(Epoch(**epoch) for epoch in raw["history"]),
                **{name: raw[name] for name in rest},
            )
        except (KeyError, TypeError) as error:
            raise _damaged(path, f"{type(error).__name__}: {error}") from None

    def results(self) -> Iterator[TrialResult]:
        """Every readable result in storage, of whatever sweep, to estimate from.

        Those of an older recipe or configuration are passed over, and so are damaged ones: another sweep's loss is not this one's error.
        """
        for path in sorted(self.storage.glob("trials/*/result.json")):
            with suppress(LedgerError):
                trial = _known(_read(path.parent / "trial.json"))
                found = self.result(trial) if trial else None
                if found:
                    yield found

    @contextmanager
    def heartbeat(self, *trials: Trial) -> Iterator[None]:
        """While inside, touch the trials' heartbeats from a thread of its own; not of those that have ended."""
        paths, stop = [self.folder(trial) / "heartbeat" for trial in trials], threading.Event()

        def beat() -> None:
            while True:
                for path in paths:
                    if not (path.parent / "result.json").exists():
                        path.touch()
                if stop.wait(HEARTBEAT_SECONDS):
                    return

        thread = threading.Thread(target=beat, daemon=True, name=f"heartbeat-{trials[0].id}")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            for path in paths:
                path.unlink(missing_ok=True)


def _known(identity: dict[str, Any]) -> Trial | None:
    if is_own(str(identity.get("config", {}).get("dataset"))):
        return None  # to read a ledger runs no user's code
    try:
        trial = Trial(Cell(TrainingConfig.model_validate(identity["config"])), identity["seed"])
    except (ValueError, KeyError):
        return None
    return trial if trial.id == identity["id"] else None


def _attempts(folder: Path) -> int:
    return len(list((folder / "attempts").glob("*.json")))


def _is_fresh(heartbeat: Path) -> bool:
    try:
        return time.time() - heartbeat.stat().st_mtime < STALE_SECONDS
    except FileNotFoundError:
        return False


def _write(path: Path, content: dict[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=1))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _damaged(path, "it is missing") from None
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    if not isinstance(content, dict):
        raise _damaged(path, "it holds no mapping")
    return content


def _damaged(path: Path, why: str) -> LedgerError:
    return LedgerError(f"{path}: is damaged ({why}); delete the trial's folder {path.parent} to train it again")
