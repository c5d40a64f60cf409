"""Attempts: each worker that trains a trial has files of its own, so that none can harm another's.

    <storage>/trials/<id>/attempts/0002.json           who began the attempt, when, and how it ended
    <storage>/trials/<id>/attempts/0002-9f3a1c04/      its checkpoints (`checkpoint.pt`, `.before`, `.next`) and pictures, until the
                                                       trial has a result

A worker can be taken for dead, because it stood still, and wake when another has gone on with its trial. It then writes in its own
folder, where nobody looks any more. A result is created only where there is none, so that the first one counts. It names the files of
its attempt, and only these become the trial's.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mopoe_core.storage.files import AnyPath, copy, listed, sync
from orchestrator.errors import DamagedError
from orchestrator.ledger import records
from orchestrator.ledger.artifact_check import CHECKPOINT
from orchestrator.ledger.records import Identity
from orchestrator.spec.trial import Trial

CHECKPOINTS = (CHECKPOINT, "checkpoint.before", "checkpoint.next")
"""What training keeps: the newest checkpoint, the one before, and that of a stack which is about to take its place."""
TOKEN_DIGITS = 8


@dataclass(frozen=True)
class Attempt:
    """One worker's try at a trial."""

    number: int
    """From 1; no two attempts at a trial have the same."""
    folder: AnyPath
    """Its own files."""

    @classmethod
    def of(cls, trial_folder: AnyPath, number: int, worker: str) -> "Attempt":
        """The attempt of that number, by the worker of that token."""
        return cls(number, trial_folder / "attempts" / f"{number:04d}-{worker[:TOKEN_DIGITS]}")

    @property
    def checkpoint(self) -> AnyPath:
        """Its newest checkpoint, whether it is there or not."""
        return self.folder / CHECKPOINT

    @property
    def files(self) -> str:
        """Its folder, as a result names it."""
        return f"attempts/{self.folder.name}"


def newest_checkpoint(trial_folder: AnyPath) -> AnyPath | None:
    """The checkpoint of the last attempt that has one; None where there is none."""
    found = listed(trial_folder, f"attempts/*/{CHECKPOINT}")
    return found[-1] if found else None


def adopt(trial: Trial, attempt: Attempt, trial_folder: AnyPath) -> None:
    """Let an attempt go on from the newest checkpoints that earlier attempts have left. These stay: whoever made them may only have
    stood still, and be about to name them in a result.

    Raises CheckpointError, and copies nothing, where a checkpoint is that of another trial.
    """
    sources = [folder for folder in _sources(trial, trial_folder) if folder != attempt.folder]
    if not sources:
        return
    newest = max(sources, key=lambda folder: _epochs(trial, folder))
    for name in CHECKPOINTS:
        with suppress(FileNotFoundError):
            copy(newest / name, attempt.folder / name)


def _sources(trial: Trial, trial_folder: AnyPath) -> list[AnyPath]:
    """The folders with checkpoints, oldest attempt first. Earlier versions had them in the trial's own."""
    found = dict.fromkeys(path.parent for path in listed(trial_folder, "attempts/*/checkpoint.*"))
    own = [trial_folder] if listed(trial_folder, "checkpoint.*") else []
    return [*own, *(folder for folder in found if _is_of_attempt(folder, trial, trial_folder))]


def _is_of_attempt(folder: AnyPath, trial: Trial, trial_folder: AnyPath) -> bool:
    """Whether a folder is that of an attempt which was begun here. A worker that slept may make one after its trial was put back.

    A note that was cut tells nothing. Its attempt's checkpoints are believed: of a stack, all trials have to go on from the same epoch.
    """
    number, _, token = folder.name.partition("-")
    note = trial_folder / "attempts" / f"{number}.json"
    if not number.isdecimal() or not note.exists():
        return False
    try:
        worker = records.read(note, Identity("attempt", trial.id, attempt=int(number))).get("worker", "")
    except DamagedError:
        return True
    return str(worker)[:TOKEN_DIGITS] == token


def _epochs(trial: Trial, folder: AnyPath) -> int:
    """Of the newest usable checkpoint in a folder."""
    from mopoe_core.training.checkpoint import held

    found = [held(folder / name, trial.config, trial.seed, trial.id) for name in CHECKPOINTS]
    return max((one.epochs for one in found if one is not None), default=-1)


def publish(trial_folder: AnyPath, files: str) -> None:
    """Move the files that a result names to the trial's folder, and remove those of all attempts. It may be cut, and done again.

    The checkpoint comes last, and nothing is removed before: while it is not there, the attempt's own folder has everything.
    """
    folder = trial_folder / files
    with suppress(FileNotFoundError):  # another process moves them too, and has just removed what it has moved
        for picture in listed(folder, "*.png"):
            copy(picture, trial_folder / "samples" / picture.name)
        copy(folder / CHECKPOINT, trial_folder / CHECKPOINT)
    for place in (trial_folder / "samples", trial_folder):  # before anything is removed
        _sync(place)
    clear(trial_folder)


def secure(attempt: Attempt) -> None:
    """Have the names of an attempt's files on disk, and of the folders that they are in, so that a result may name them."""
    for folder in (attempt.folder, attempt.folder.parent, attempt.folder.parent.parent):
        _sync(folder)


def _sync(folder: AnyPath) -> None:
    if isinstance(folder, Path) and folder.exists():
        sync(folder)


def clear(trial_folder: AnyPath) -> None:
    """Remove the files of all attempts at a trial that has a result; what is said of the attempts stays."""
    for name in CHECKPOINTS[1:]:
        (trial_folder / name).unlink(missing_ok=True)
    files = listed(trial_folder, "attempts/*/*")
    for path in files:
        path.unlink(missing_ok=True)
    for folder in dict.fromkeys(path.parent for path in files):
        if isinstance(folder, Path):
            with suppress(OSError):  # another has just written to it: then it stays, and `gc` knows it
                folder.rmdir()
