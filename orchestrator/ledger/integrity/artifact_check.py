"""Checks that the checkpoint and the pictures in a trial's folder are those that its result names."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict

from mopoe_core.storage.checkpoint_owner import difference
from mopoe_core.storage.file_facts import Digest, size_if_there
from mopoe_core.storage.paths import AnyPath
from orchestrator.ledger import records
from orchestrator.ledger.layout import TrialFolder
from orchestrator.ledger.records import Identity
from orchestrator.ledger.result import TrialResult


def checkpoint_problem(folder: AnyPath, trial_id: str, named: Digest, size: int | None) -> str:
    """Returns what is wrong with a checkpoint, judged by its size alone; empty if nothing is.

    `named` is the checkpoint that the result names. `size` is the size on storage in bytes, None if there is no checkpoint.
    """
    if size is not None:
        return "" if size == named.size else f"it has {size} bytes, and the result names {named.size}"
    if _deleted(folder, trial_id) == asdict(named):
        return ""
    return "it is missing, and `gc` has not deleted it; `gc --accept-lost` keeps such results without their checkpoints"


def check_checkpoint(folder: AnyPath, path: AnyPath, result: TrialResult) -> bool:
    """Returns whether a trial that has ended has its checkpoint, at `path`.

    Raises DamagedError if the checkpoint is not the one that the result names, or if it is missing and no record in the trial's folder
    says that it was deleted.
    """
    named, size = result.checkpoint, size_if_there(path)
    if named is None:
        return size is not None
    problem = checkpoint_problem(folder, result.trial.id, named, size)
    if not problem and size is not None:
        problem = difference(named, Digest.of_file(path))
    if problem:
        raise records.damaged(path, problem)
    return size is not None


def check_picture(path: AnyPath, result: TrialResult) -> None:
    """Raise DamagedError if a picture is not the one that the result names. Results of earlier versions name no pictures."""
    expected_sha256 = result.samples.get(path.stem)
    if result.samples and expected_sha256 is None:
        raise records.damaged(path, "the result names no such picture")
    if expected_sha256 is not None and Digest.of_file(path).sha256 != expected_sha256:
        raise records.damaged(path, "it is not the picture that the result names")


def check_pictures(folder: AnyPath, paths: Mapping[str, AnyPath], result: TrialResult) -> None:
    """Raise DamagedError if a picture that the result names is missing, or if one of `paths` is not a picture that it names.

    Pictures may be missing where a record in the trial's folder says that the checkpoint was deleted: whoever accepts that a crash took
    the checkpoint accepts that it took the pictures too.
    """
    for path in paths.values():
        check_picture(path, result)
    missing = sorted(result.samples.keys() - paths.keys())
    named = result.checkpoint
    if missing and (named is None or _deleted(folder, result.trial.id) != asdict(named)):
        path = TrialFolder(folder).samples / f"{missing[0]}.png"
        raise records.damaged(path, "it is missing; `sweep --retrain-damaged` trains its trial again")


class CheckedPictures(Mapping[str, AnyPath]):
    """The pictures of a trial by name. Each is checked when it is read, because a report reads few of thousands."""

    def __init__(self, paths: Mapping[str, AnyPath], result: TrialResult) -> None:
        self._paths, self._result = paths, result

    def __getitem__(self, name: str) -> AnyPath:
        path = self._paths[name]
        check_picture(path, self._result)
        return path

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def note_deleted(folder: AnyPath, trial_id: str, named: Digest | None, why: str) -> None:
    """Record that a checkpoint will now be deleted. `named` is the checkpoint that the trial's result names."""
    content = {"checkpoint": None if named is None else asdict(named), "why": why, "deleted_ms": int(time.time() * 1000)}
    records.write(TrialFolder(folder).note("deleted"), Identity("deleted", trial_id), content)


def _deleted(folder: AnyPath, trial_id: str) -> object:
    """Returns the checkpoint that was deleted on purpose; None if there is no record of that."""
    record = TrialFolder(folder).note("deleted")
    return records.read(record, Identity("deleted", trial_id)).get("checkpoint") if record.exists() else None
