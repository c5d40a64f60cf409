"""Attempts at trials. Each attempt has its own folder, so that no worker can harm the files of another.

A worker that is suspended for long may be taken for dead. If it wakes after another worker has continued its trial, it writes into its
own attempt's folder, which nobody reads any more. A result is created only if there is none, so that the first one counts. It names the
folder of its attempt, and only the files of that folder become the trial's.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mopoe_core.storage.durability import sync
from mopoe_core.storage.file_facts import size_if_there
from mopoe_core.storage.folders import listed
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.whole_files import copy
from orchestrator.errors import DamagedError
from orchestrator.ledger import records
from orchestrator.ledger.integrity import artifact_check
from orchestrator.ledger.layout import CHECKPOINT, CHECKPOINTS, OF_TRAINING, TrialFolder
from orchestrator.ledger.records import Identity
from orchestrator.ledger.result import checkpoint_digest
from orchestrator.spec.trial import Trial

TOKEN_DIGITS = 8
"""Digits of the worker's token in the name of an attempt's folder."""


@dataclass(frozen=True)
class Attempt:
    """One worker's try at a trial."""

    number: int
    """From 1; unique among the attempts at a trial."""
    folder: AnyPath
    """The folder with this attempt's files."""

    @classmethod
    def of(cls, trial_folder: AnyPath, number: int, worker: str) -> "Attempt":
        """Returns the attempt with this number by the worker with this token."""
        return cls(number, TrialFolder(trial_folder).files_of(f"{number:04d}-{worker[:TOKEN_DIGITS]}"))

    @property
    def checkpoint(self) -> AnyPath:
        """Path of this attempt's newest checkpoint, which need not exist."""
        return self.folder / CHECKPOINT

    @property
    def files(self) -> str:
        """The folder's path within the trial's folder, as a result names it."""
        return f"attempts/{self.folder.name}"


def newest_checkpoint(folder: TrialFolder) -> AnyPath | None:
    """Returns the checkpoint of the last attempt that has one; None if no attempt has one."""
    checkpoints = folder.attempt_files(CHECKPOINT)
    return checkpoints[-1] if checkpoints else None


def is_recorded(attempt: Attempt, trial: Trial, trial_folder: TrialFolder) -> bool:
    """Returns whether the trial's folder has the attempt's record: it has none if the trial was reset since the attempt began."""
    return _has_attempt_record(attempt.folder, trial, trial_folder)


def adopt(trial: Trial, attempt: Attempt, trial_folder: AnyPath) -> None:
    """Copy the newest checkpoints of earlier attempts to an attempt's folder, so that it resumes from them.

    The originals stay: their worker may only have been suspended, and may still name them in a result. Raises CheckpointError, and copies
    nothing, if a checkpoint belongs to another trial.
    """
    folders = [folder for folder in _checkpoint_folders(trial, TrialFolder(trial_folder)) if folder != attempt.folder]
    if not folders:
        return
    newest = max(folders, key=lambda folder: _epochs(trial, folder))
    for name in CHECKPOINTS:
        with suppress(FileNotFoundError):
            copy(newest / name, attempt.folder / name)


def _checkpoint_folders(trial: Trial, trial_folder: TrialFolder) -> list[AnyPath]:
    """Returns the folders with checkpoints, oldest attempt first. Earlier versions kept checkpoints in the trial's own folder."""
    of_trial = [trial_folder.path] if listed(trial_folder.path, "checkpoint.*") else []
    with_checkpoints = dict.fromkeys(path.parent for path in trial_folder.attempt_files("checkpoint.*"))
    of_attempts = [folder for folder in with_checkpoints if _has_attempt_record(folder, trial, trial_folder)]
    return of_trial + of_attempts


def _has_attempt_record(folder: AnyPath, trial: Trial, trial_folder: TrialFolder) -> bool:
    """Returns whether an attempt's record names the worker whose folder this is.

    A worker that was suspended may make a folder without a record after its trial was reset. A record that was cut counts as a match,
    because all trials of a stack have to resume from the same epoch.
    """
    number, _, token = folder.name.partition("-")
    if not number.isdecimal():
        return False
    record = trial_folder.attempt(int(number))
    if not record.exists():
        return False
    try:
        worker = records.read(record, Identity("attempt", trial.id, attempt=int(number))).get("worker", "")
    except DamagedError:
        return True
    return str(worker)[:TOKEN_DIGITS] == token


def _epochs(trial: Trial, folder: AnyPath) -> int:
    """Returns the epochs of the newest usable checkpoint in a folder; -1 if there is none."""
    from mopoe_core.training.checkpoint import progress_in  # imports torch, which takes seconds and only this function needs

    headers = [progress_in(folder / name, trial.config, trial.seed, trial.id) for name in CHECKPOINTS]
    return max((header.epochs for header in headers if header is not None), default=-1)


def publish(trial_folder: TrialFolder, files: str) -> None:
    """Copy the files that a result names to the trial's folder, then clear the attempts. May be interrupted and repeated.

    `files` is the attempt's folder as the result names it; empty if the trial has no files. The checkpoint is copied last, and nothing is
    removed before. Until it is there, the attempt's folder has everything.
    """
    if files:
        _copy_to_trial(trial_folder.path / files, trial_folder)
    _clear(trial_folder, files)


def _copy_to_trial(attempt_folder: AnyPath, trial_folder: TrialFolder) -> None:
    # There is nothing to copy if another process publishes the same trial and has just removed the files, or if the trial was reset.
    with suppress(FileNotFoundError):
        for picture in listed(attempt_folder, "*.png"):
            copy(picture, trial_folder.samples / picture.name)
        copy(attempt_folder / CHECKPOINT, trial_folder.checkpoint)
    for folder in (trial_folder.samples, trial_folder.path):  # before anything is removed
        _sync(folder)


def secure(attempt: Attempt) -> None:
    """Sync the folders of an attempt, so that the names of its files survive a crash. A result may name only such files."""
    for folder in (attempt.folder, attempt.folder.parent, attempt.folder.parent.parent):
        _sync(folder)


def _sync(folder: AnyPath) -> None:
    if isinstance(folder, Path) and folder.exists():
        sync(folder)


def _clear(trial_folder: TrialFolder, files: str) -> None:
    """Remove the files of the attempts up to the one with the result; the records of the attempts stay.

    Does nothing unless the trial's result names `files`, and the trial's folder has them. This process may have been suspended, and
    the trial may have been reset meanwhile. The files are listed before the result is read, so files of a later attempt are not removed.
    """
    paths = trial_folder.attempt_files()
    result = _result_in(trial_folder)
    if result is None or result.get("files", "") != files or not _is_published(trial_folder, result):
        return
    for name in OF_TRAINING:
        (trial_folder.path / name).unlink(missing_ok=True)
    of_ended = [path for path in paths if _number(path.parent) <= result["attempts"]]
    for path in of_ended:
        path.unlink(missing_ok=True)
    for folder in dict.fromkeys(path.parent for path in of_ended):
        if isinstance(folder, Path):
            with suppress(OSError):  # another worker has just written into the folder: it stays until `gc` removes it
                folder.rmdir()


def unneeded(paths: Sequence[AnyPath], trial_folder: TrialFolder) -> list[AnyPath]:
    """Returns those of these files of training that a trial with a result does not need.

    It needs those of the attempt that the result names until the trial's folder has them. Returns none if the result cannot be read.
    """
    result = _result_in(trial_folder)
    if result is None:
        return []
    needed_folder = None if _is_published(trial_folder, result) else trial_folder.path / result["files"]
    return [path for path in paths if path.parent != needed_folder]


def _result_in(trial_folder: TrialFolder) -> dict[str, Any] | None:
    """Returns the content of the result's record; None if it is missing or damaged."""
    with suppress(DamagedError):
        return records.read(trial_folder.result, Identity("result", trial_folder.path.name))
    return None


def _is_published(trial_folder: TrialFolder, result: Mapping[str, Any]) -> bool:
    """Returns whether the trial's folder has the files that its result names, except a checkpoint that was deleted on purpose."""
    if not result.get("files"):
        return True
    named, samples = checkpoint_digest(result), result.get("samples")
    if named is not None:
        size = size_if_there(trial_folder.checkpoint)
        if artifact_check.checkpoint_problem(trial_folder.path, trial_folder.path.name, named, size):
            return False
    return not samples or {path.stem for path in listed(trial_folder.samples, "*.png")}.issuperset(samples)


def _number(attempt_folder: AnyPath) -> float:
    """Returns the number in the name of an attempt's folder; infinity, which no attempt has, if the name has none."""
    number = attempt_folder.name.partition("-")[0]
    return int(number) if number.isdecimal() else float("inf")
