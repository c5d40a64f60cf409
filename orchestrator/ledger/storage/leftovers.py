"""Finds the files that killed processes left behind, in storage and in this machine's folders for temporary files.

| where | what |
|---|---|
| `alive/*` | heartbeats, and the files with which workers wait for each other |
| `**/.<name>.<random>` | files and reports that were being written |
| `trials/<id>/` with a result | `checkpoint.before`, `checkpoint.next`, `progress.json`, `attempts/*/*` |
| `classifiers/**/*.lock`, `sweeps/*/*.lock*` | locks |
| `probe-*` | files with which `sweep` tests storage |
| `workers-*` | the files with which workers wait for each other, in earlier versions |
| `<TMPDIR>/mopoe-<what>-<process>-*` | scratch folders |

A file counts only once it is a day old. The files under `mlartifacts` belong to MLflow and never count. The folder of the attempt that a
result names never counts while the trial's folder lacks one of its files: a worker may have died before it moved them.
"""

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mopoe_core.storage.local_path import LocalPath
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.remote_path import RemotePath
from mopoe_core.storage.scratch import SCRATCH
from orchestrator.errors import LedgerError
from orchestrator.ledger import attempts
from orchestrator.ledger.layout import (
    ALIVE,
    ATTEMPTS,
    CLASSIFIERS,
    MLFLOW_ARTIFACTS,
    OF_TRAINING,
    PROBE,
    RESULT,
    SWEEPS,
    TRIALS,
    Layout,
)
from orchestrator.ledger.leases import claims

FORGOTTEN_SECONDS = 24 * 3600.0
"""Age from which a file counts as left behind."""
DRAFT = re.compile(
    r"\.+(?:[^.].*\.[A-Za-z0-9]+|(?:workers-)?[0-9a-f]{32}|report|probe)\.(?:[a-z0-9_]{8}|[0-9a-f]{32})(?:-journal|-wal|-shm)?"
)
"""Names of files and folders that are being written."""

Parts = tuple[str, ...]
"""The names in a path below storage."""


def find(storage: AnyPath, now: float | None = None) -> list[AnyPath]:
    """Returns all old files and folders that were left behind, sorted.

    `now` is the time by the storage's clock in seconds since 1970; by default the time of this machine, which may differ.
    """
    oldest_kept = (time.time() if now is None else now) - FORGOTTEN_SECONDS
    living_tokens = claims.tokens_here(storage)  # a process that was stopped days ago can still continue
    ended_trials: set[str] = set()
    unused: list[AnyPath] = []
    unused_if_ended: dict[str, list[AnyPath]] = {}
    for parts, path, modified_at in _entries(storage):
        if len(parts) == 3 and parts[0] == TRIALS and parts[2] == RESULT:
            ended_trials.add(parts[1])
        if modified_at is None or modified_at >= oldest_kept:
            continue
        if is_left(parts) and not (parts[0] == ALIVE and parts[-1] in living_tokens):
            unused.append(path)
        elif is_of_training(parts):
            unused_if_ended.setdefault(parts[1], []).append(path)
    for trial_id in unused_if_ended.keys() & ended_trials:
        with suppress(LedgerError):  # a record is damaged, so that it is not known what the trial needs
            unused += attempts.unneeded(unused_if_ended[trial_id], Layout(storage).trial(trial_id))
    return [*sorted(unused, key=str), *_scratch_folders(oldest_kept)]


def is_left(parts: Parts) -> bool:
    """Returns whether a file of storage, or a folder that is being written, has no use once it is old."""
    folder, name = parts[0], parts[-1]
    if DRAFT.fullmatch(name):
        return True
    if len(parts) == 1:
        return re.fullmatch(rf"workers-[0-9a-f]{{32}}|{PROBE}[0-9a-f]+", name) is not None
    if folder == TRIALS:
        return len(parts) == 3 and name.startswith(".")
    if folder == CLASSIFIERS:
        return name.endswith(".lock")
    if folder == SWEEPS:
        return len(parts) == 3 and ".lock" in name
    return folder == ALIVE


def is_of_training(parts: Parts) -> bool:
    """Returns whether a file has no use once its trial has a result."""
    if parts[0] != TRIALS:
        return False
    is_of_attempt = len(parts) == 5 and parts[2] == ATTEMPTS
    return is_of_attempt or (len(parts) == 3 and parts[2] in OF_TRAINING)


def remove(path: AnyPath) -> None:
    """Delete a file or folder that was left behind, and its attempt's folder if that is then empty."""
    if isinstance(path, Path) and path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    path.unlink(missing_ok=True)
    if isinstance(path, Path) and path.parent.parent.name == ATTEMPTS:
        with suppress(OSError):  # the folder has other files
            path.parent.rmdir()


def _entries(storage: AnyPath) -> Iterator[tuple[Parts, AnyPath, float | None]]:
    """Yields the files below storage and the folders that are being written, each with the time of its last change."""
    if isinstance(storage, RemotePath):
        prefix = f"{storage.path}/" if storage.path else ""
        for path, modified_at in storage.files_below():
            yield tuple(path.path.removeprefix(prefix).split("/")), path, modified_at
        return
    yield from _local_entries(LocalPath(storage), ())


def _local_entries(folder: LocalPath, parts: Parts) -> Iterator[tuple[Parts, AnyPath, float | None]]:
    for path in folder.glob("*"):
        path_parts = (*parts, path.name)
        with suppress(FileNotFoundError):  # deleted in the meantime
            status = path.stat(follow_symlinks=False)
            if path.is_symlink() or not path.is_dir():
                yield path_parts, path, status.st_mtime
            elif DRAFT.fullmatch(path.name):
                yield path_parts, path, _last_change(path)
            elif not path.name.startswith(".") and path_parts != (MLFLOW_ARTIFACTS,):
                yield from _local_entries(path, path_parts)


def _last_change(folder: Path) -> float:
    """Returns when anything in a folder was last changed."""
    times = [folder.stat().st_mtime]
    for path in folder.rglob("*"):
        with suppress(OSError):
            times.append(path.stat(follow_symlinks=False).st_mtime)
    return max(times)


def _scratch_folders(oldest_kept: float) -> list[AnyPath]:
    """Returns this user's old scratch folders whose process is gone, and old locks on remote files."""
    leftovers: set[AnyPath] = set()
    for folder in {tempfile.gettempdir(), "/tmp"}:  # if TMPDIR has a long name, Ray's folders are in /tmp
        for path in Path(folder).glob("mopoe-*"):
            with suppress(OSError):  # deleted in the meantime
                is_mine = path.stat(follow_symlinks=False).st_uid == os.getuid()
                if is_mine and _is_scratch(path) and _last_change(path) < oldest_kept:
                    leftovers.add(path)
    return sorted(leftovers, key=str)


def _is_scratch(path: Path) -> bool:
    """Returns whether a path is a lock, or the scratch folder of a process that no longer runs. Earlier versions named no process."""
    if re.fullmatch(rf"mopoe-{os.getuid()}-[0-9a-f]{{16}}\.lock", path.name):
        return True
    match = SCRATCH.fullmatch(path.name)
    return match is not None and path.is_dir() and not (match["process"] and Path(f"/proc/{match['process']}").exists())
