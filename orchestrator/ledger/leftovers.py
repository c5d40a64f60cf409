"""What killed processes leave behind: in storage, and in this machine's folders for temporary files.

    <storage>/alive/*                   signs of life, and the signs by which workers wait for each other
    <storage>/**/.<name>.<random>       files and reports that were being written
    <storage>/trials/<id>/              of a trial with a result: checkpoint.before, checkpoint.next, progress.json, attempts/*/*
    <storage>/classifiers/**/*.lock, <storage>/sweeps/*/*.lock*
    <storage>/probe-*                   files by which `sweep` tries storage
    <storage>/workers-*                 as earlier versions named signs by which workers wait
    <TMPDIR>/mopoe-<what>-<process>-*   scratch folders

All of it is left alone until it is a day old. What MLflow keeps under `mlartifacts` is MLflow's.
"""

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from mopoe_core.storage.files import SCRATCH, AnyPath
from mopoe_core.storage.local_path import LocalPath
from mopoe_core.storage.remote_path import RemotePath
from orchestrator.ledger.attempts import CHECKPOINTS
from orchestrator.ledger.leases import leases
from orchestrator.ledger.ledger import PROGRESS

FORGOTTEN_SECONDS = 24 * 3600.0
"""How old something must be to count as left behind."""
DRAFT = re.compile(
    r"\.+(?:[^.].*\.[A-Za-z0-9]+|(?:workers-)?[0-9a-f]{32}|report|probe)\.(?:[a-z0-9_]{8}|[0-9a-f]{32})(?:-journal|-wal|-shm)?"
)
"""Names of files and folders that are being written."""
OF_TRAINING = (*CHECKPOINTS[1:], PROGRESS)
"""Files of a trial's folder that mean nothing once there is a result."""

Parts = tuple[str, ...]
"""A path below storage, part by part."""


def find(storage: AnyPath) -> list[AnyPath]:
    """All that was left behind and is old, in order."""
    before = time.time() - FORGOTTEN_SECONDS
    ended: set[str] = set()
    alive = leases.tokens_here(storage)  # a process that was stopped days ago can still go on
    found: list[AnyPath] = []
    if_ended: list[tuple[str, AnyPath]] = []
    for parts, path, written in _entries(storage):
        if len(parts) == 3 and parts[0] == "trials" and parts[2] == "result.json":
            ended.add(parts[1])
        if written is None or written >= before:
            continue
        if is_left(parts) and not (parts[0] == "alive" and parts[-1] in alive):
            found.append(path)
        elif is_of_training(parts):
            if_ended.append((parts[1], path))
    found += [path for trial_id, path in if_ended if trial_id in ended]
    return [*sorted(found, key=str), *_scratch_folders(before)]


def is_left(parts: Parts) -> bool:
    """Whether a file of storage, or a folder that is being written, is of no use if it is old."""
    folder, name = parts[0], parts[-1]
    if DRAFT.fullmatch(name):
        return True
    if len(parts) == 1:
        return re.fullmatch(r"workers-[0-9a-f]{32}|probe-[0-9a-f]+", name) is not None
    if folder == "trials":
        return len(parts) == 3 and name.startswith(".")
    is_lock = (folder == "classifiers" and name.endswith(".lock")) or (folder == "sweeps" and len(parts) == 3 and ".lock" in name)
    return folder == "alive" or is_lock


def is_of_training(parts: Parts) -> bool:
    """Whether a file means nothing once its trial has a result."""
    of_attempt = len(parts) == 5 and parts[2] == "attempts"
    return parts[0] == "trials" and (of_attempt or (len(parts) == 3 and parts[2] in OF_TRAINING))


def remove(path: AnyPath) -> None:
    """Delete what was left behind."""
    if isinstance(path, Path) and path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    path.unlink(missing_ok=True)
    if isinstance(path, Path) and path.parent.parent.name == "attempts":
        with suppress(OSError):  # others are in it
            path.parent.rmdir()


def _entries(storage: AnyPath) -> Iterator[tuple[Parts, AnyPath, float | None]]:
    """Files below storage, and folders that are being written, with when each was last changed."""
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
            elif not path.name.startswith(".") and here != ("mlartifacts",):
                yield from _local_entries(path, here)


def _newest(folder: Path) -> float:
    """When anything in a folder was last changed."""
    times = [folder.stat().st_mtime]
    for path in folder.rglob("*"):
        with suppress(OSError):
            times.append(path.stat(follow_symlinks=False).st_mtime)
    return max(times)


def _scratch_folders(before: float) -> list[AnyPath]:
    """Those of this user whose process is gone, and locks on remote files."""
    found: set[AnyPath] = set()
    for place in {tempfile.gettempdir(), "/tmp"}:  # where TMPDIR has a long name, Ray's are in /tmp
        for path in Path(place).glob("mopoe-*"):
            with suppress(OSError):  # deleted since
                if path.stat(follow_symlinks=False).st_uid == os.getuid() and _is_scratch(path) and _newest(path) < before:
                    found.add(path)
    return sorted(found, key=str)


def _is_scratch(path: Path) -> bool:
    """Whether it is a lock, or the scratch folder of a process that does not run here. Earlier versions named no process."""
    if re.fullmatch(rf"mopoe-{os.getuid()}-[0-9a-f]{{16}}\.lock", path.name):
        return True
    of = SCRATCH.fullmatch(path.name)
    return of is not None and path.is_dir() and not (of["process"] and Path(f"/proc/{of['process']}").exists())
