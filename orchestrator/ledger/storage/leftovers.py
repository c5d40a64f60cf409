"""What killed processes leave behind: in storage, and in this machine's folders for temporary files.

| where | what |
|---|---|
| `alive/*` | heartbeats, and the files by which workers wait for each other |
| `**/.<name>.<random>` | files and reports that were being written |
| `trials/<id>/` with a result | `checkpoint.before`, `checkpoint.next`, `progress.json`, `attempts/*/*` |
| `classifiers/**/*.lock`, `sweeps/*/*.lock*` | locks |
| `probe-*` | files by which `sweep` tries storage |
| `workers-*` | the names that earlier versions gave to the files by which workers wait |
| `<TMPDIR>/mopoe-<what>-<process>-*` | scratch folders |

All of it is left alone until it is a day old. The files under `mlartifacts` belong to MLflow.
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
)
from orchestrator.ledger.leases import claims

FORGOTTEN_SECONDS = 24 * 3600.0
"""How old something must be to count as left behind."""
DRAFT = re.compile(
    r"\.+(?:[^.].*\.[A-Za-z0-9]+|(?:workers-)?[0-9a-f]{32}|report|probe)\.(?:[a-z0-9_]{8}|[0-9a-f]{32})(?:-journal|-wal|-shm)?"
)
"""Names of files and folders that are being written."""

Parts = tuple[str, ...]
"""A path below storage, part by part."""


def find(storage: AnyPath) -> list[AnyPath]:
    """All that was left behind and is old, in order."""
    before = time.time() - FORGOTTEN_SECONDS
    ended: set[str] = set()
    alive = claims.tokens_here(storage)  # a process that was stopped days ago can still go on
    left: list[AnyPath] = []
    if_ended: list[tuple[str, AnyPath]] = []
    for parts, path, written in _entries(storage):
        if len(parts) == 3 and parts[0] == TRIALS and parts[2] == RESULT:
            ended.add(parts[1])
        if written is None or written >= before:
            continue
        if is_left(parts) and not (parts[0] == ALIVE and parts[-1] in alive):
            left.append(path)
        elif is_of_training(parts):
            if_ended.append((parts[1], path))
    left += [path for trial_id, path in if_ended if trial_id in ended]
    return [*sorted(left, key=str), *_scratch_folders(before)]


def is_left(parts: Parts) -> bool:
    """Whether a file of storage, or a folder that is being written, is of no use if it is old."""
    folder, name = parts[0], parts[-1]
    if DRAFT.fullmatch(name):
        return True
    if len(parts) == 1:
        return re.fullmatch(rf"workers-[0-9a-f]{{32}}|{PROBE}[0-9a-f]+", name) is not None
    if folder == TRIALS:
        return len(parts) == 3 and name.startswith(".")
    is_lock = (folder == CLASSIFIERS and name.endswith(".lock")) or (folder == SWEEPS and len(parts) == 3 and ".lock" in name)
    return folder == ALIVE or is_lock


def is_of_training(parts: Parts) -> bool:
    """Whether a file means nothing once its trial has a result."""
    of_attempt = len(parts) == 5 and parts[2] == ATTEMPTS
    return parts[0] == TRIALS and (of_attempt or (len(parts) == 3 and parts[2] in OF_TRAINING))


def remove(path: AnyPath) -> None:
    """Delete what was left behind."""
    if isinstance(path, Path) and path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    path.unlink(missing_ok=True)
    if isinstance(path, Path) and path.parent.parent.name == ATTEMPTS:
        with suppress(OSError):  # other files are in it
            path.parent.rmdir()


def _entries(storage: AnyPath) -> Iterator[tuple[Parts, AnyPath, float | None]]:
    """The files below storage and the folders that are being written, each with the time of its last change."""
    if isinstance(storage, RemotePath):
        prefix = f"{storage.path}/" if storage.path else ""
        for path, written in storage.below():
            yield tuple(path.path.removeprefix(prefix).split("/")), path, written
        return
    yield from _local_entries(LocalPath(storage), ())


def _local_entries(folder: LocalPath, parts: Parts) -> Iterator[tuple[Parts, AnyPath, float | None]]:
    for path in folder.glob("*"):
        here = (*parts, path.name)
        with suppress(FileNotFoundError):  # deleted since
            status = path.stat(follow_symlinks=False)
            if path.is_symlink() or not path.is_dir():
                yield here, path, status.st_mtime
            elif DRAFT.fullmatch(path.name):
                yield here, path, _newest(path)
            elif not path.name.startswith(".") and here != (MLFLOW_ARTIFACTS,):
                yield from _local_entries(path, here)


def _newest(folder: Path) -> float:
    """When anything in a folder was last changed."""
    times = [folder.stat().st_mtime]
    for path in folder.rglob("*"):
        with suppress(OSError):
            times.append(path.stat(follow_symlinks=False).st_mtime)
    return max(times)


def _scratch_folders(before: float) -> list[AnyPath]:
    """Scratch folders of this user whose process is gone, and locks on remote files."""
    folders: set[AnyPath] = set()
    for place in {tempfile.gettempdir(), "/tmp"}:  # where TMPDIR has a long name, Ray's are in /tmp
        for path in Path(place).glob("mopoe-*"):
            with suppress(OSError):  # deleted since
                if path.stat(follow_symlinks=False).st_uid == os.getuid() and _is_scratch(path) and _newest(path) < before:
                    folders.add(path)
    return sorted(folders, key=str)


def _is_scratch(path: Path) -> bool:
    """Whether it is a lock, or the scratch folder of a process that does not run here. Earlier versions named no process."""
    if re.fullmatch(rf"mopoe-{os.getuid()}-[0-9a-f]{{16}}\.lock", path.name):
        return True
    match = SCRATCH.fullmatch(path.name)
    return match is not None and path.is_dir() and not (match["process"] and Path(f"/proc/{match['process']}").exists())
