"""Attempts: each worker that trains a trial has files of its own, so that none can harm another's.

A worker that stands still can be taken for dead, and wake when another has gone on with its trial. It then writes into its own folder,
where nobody looks any more. A result is created only where there is none, so that the first one counts. It names the files of its
attempt, and only these become the trial's.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mopoe_core.storage.durability import sync
from mopoe_core.storage.folders import listed
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.whole_files import copy
from orchestrator.errors import DamagedError
from orchestrator.ledger import records
from orchestrator.ledger.layout import CHECKPOINT, CHECKPOINTS, TrialFolder
from orchestrator.ledger.records import Identity
from orchestrator.spec.trial import Trial

TOKEN_DIGITS = 8
"""How much of a worker's token names the folder of its attempt."""


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
        return cls(number, TrialFolder(trial_folder).files_of(f"{number:04d}-{worker[:TOKEN_DIGITS]}"))

    @property
    def checkpoint(self) -> AnyPath:
        """Its newest checkpoint, whether it is there or not."""
        return self.folder / CHECKPOINT

    @property
    def files(self) -> str:
        """Its folder, as a result names it."""
        return f"attempts/{self.folder.name}"


def newest_checkpoint(folder: TrialFolder) -> AnyPath | None:
    """The checkpoint of the last attempt that has one; None if none has."""
    checkpoints = folder.attempt_files(CHECKPOINT)
    return checkpoints[-1] if checkpoints else None


def adopt(trial: Trial, attempt: Attempt, trial_folder: AnyPath) -> None:
    """Let an attempt go on from the newest checkpoints that earlier attempts have left. These stay: the worker that made them may only
    have stood still, and be about to name them in a result.

    Raises CheckpointError, and copies nothing, if a checkpoint is another trial's.
    """
    sources = [folder for folder in _sources(trial, TrialFolder(trial_folder)) if folder != attempt.folder]
    if not sources:
        return
    newest = max(sources, key=lambda folder: _epochs(trial, folder))
    for name in CHECKPOINTS:
        with suppress(FileNotFoundError):
            copy(newest / name, attempt.folder / name)


def _sources(trial: Trial, trial_folder: TrialFolder) -> list[AnyPath]:
    """The folders with checkpoints, oldest attempt first. Earlier versions had checkpoints in the trial's own folder."""
    of_attempts = dict.fromkeys(path.parent for path in trial_folder.attempt_files("checkpoint.*"))
    of_trial = [trial_folder.path] if listed(trial_folder.path, "checkpoint.*") else []
    return [*of_trial, *(folder for folder in of_attempts if _is_of_attempt(folder, trial, trial_folder))]


def _is_of_attempt(folder: AnyPath, trial: Trial, trial_folder: TrialFolder) -> bool:
    """Whether an attempt that was begun here has this folder. A worker that slept may make another after its trial was put back.

    If the attempt's note was cut, its checkpoints are believed, because all trials of a stack have to go on from the same epoch.
    """
    number, _, token = folder.name.partition("-")
    if not number.isdecimal() or not (note := trial_folder.attempt(int(number))).exists():
        return False
    try:
        worker = records.read(note, Identity("attempt", trial.id, attempt=int(number))).get("worker", "")
    except DamagedError:
        return True
    return str(worker)[:TOKEN_DIGITS] == token


def _epochs(trial: Trial, folder: AnyPath) -> int:
    """The epochs of the newest usable checkpoint in a folder; -1 if there is none."""
    from mopoe_core.training.checkpoint import (
        held,
    )  # imports torch, which takes seconds, and which reading attempts does not need

    headers = [held(folder / name, trial.config, trial.seed, trial.id) for name in CHECKPOINTS]
    return max((header.epochs for header in headers if header is not None), default=-1)


def publish(trial_folder: TrialFolder, files: str) -> None:
    """Move the files that a result names to the trial's folder, and remove those of all attempts. It may be interrupted, and done again.

    The checkpoint comes last, and nothing is removed before: while it is not there, the attempt's own folder has everything.
    """
    folder = trial_folder.path / files
    with suppress(FileNotFoundError):  # another process moves them too, and has just removed what it has moved
        for picture in listed(folder, "*.png"):
            copy(picture, trial_folder.samples / picture.name)
        copy(folder / CHECKPOINT, trial_folder.checkpoint)
    for place in (trial_folder.samples, trial_folder.path):  # before anything is removed
        _sync(place)
    clear(trial_folder)


def secure(attempt: Attempt) -> None:
    """Sync the names of an attempt's files, and of the folders that they are in, so that a result may name them."""
    for folder in (attempt.folder, attempt.folder.parent, attempt.folder.parent.parent):
        _sync(folder)


def _sync(folder: AnyPath) -> None:
    if isinstance(folder, Path) and folder.exists():
        sync(folder)


def clear(trial_folder: TrialFolder) -> None:
    """Remove the files of all attempts at a trial that has a result; the records of the attempts stay."""
    for name in CHECKPOINTS[1:]:
        (trial_folder.path / name).unlink(missing_ok=True)
    files = trial_folder.attempt_files()
    for path in files:
        path.unlink(missing_ok=True)
    for folder in dict.fromkeys(path.parent for path in files):
        if isinstance(folder, Path):
            with suppress(OSError):  # another worker has just written to it: then it stays, and `gc` finds it
                folder.rmdir()
