"""Replaces a folder as a whole: a draft is built beside it and swapped in, so that a reader sees either the old or the new folder.

Several processes may replace the same folder at once. Each succeeds, and the folder of the last one stays. A process that is killed
leaves its hidden draft, which `gc` removes. Files that others have put into the folder are kept.
"""

import ctypes
import errno
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from mopoe_core.storage.durability import make_folder
from mopoe_core.storage.local_path import LocalPath

MOST_SWAPS = 100
"""Attempts at a swap, each of which another process may disturb."""
TAKEN = (errno.ENOTEMPTY, errno.EEXIST)
"""Errors of a rename to a folder that is not empty."""

_T = TypeVar("_T")


def replaced(folder: Path, build: Callable[[Path], _T], is_ours: Callable[[str], bool]) -> _T:
    """Let `build` fill an empty draft, and replace `folder` by it.

    Returns what `build` returned, with paths in the draft changed to paths in `folder`. Keeps files for which `is_ours(name)` is false.
    """
    target = LocalPath(folder).resolve()  # if the folder is a symbolic link, the link stays
    make_folder(target.parent)
    draft = target.with_name(draft_name(target))
    try:
        make_folder(draft)
        built = build(draft)
        _keep_others(target, draft, is_ours)
        _swap(draft, target)
        _keep_others(draft, target, is_ours)  # again: what was put into the old folder in the meantime
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    final: _T = moved(built, draft, folder)
    return final


def draft_name(folder: Path) -> str:
    """Returns a new name for a draft of a folder."""
    return f".{folder.name}.{uuid.uuid4().hex}"


def moved(value: Any, old: Path, new: Path) -> Any:
    """Returns the value with each path below `old` changed to one below `new`, also within dataclasses, sequences and mappings."""
    if isinstance(value, Path):
        return new / value.relative_to(old) if value.is_relative_to(old) else value
    if is_dataclass(value) and not isinstance(value, type):
        changed = {field.name: moved(getattr(value, field.name), old, new) for field in fields(value) if field.init}
        return replace(value, **changed)
    if type(value) in (tuple, list):
        return type(value)(moved(item, old, new) for item in value)
    if isinstance(value, Mapping):
        return {key: moved(item, old, new) for key, item in value.items()}
    return value


def _keep_others(folder: LocalPath, draft: LocalPath, is_ours: Callable[[str], bool]) -> None:
    """Put the files that others have put into the folder into the draft too: as links, or as copies if links are impossible."""
    with suppress(FileNotFoundError):  # there is no such folder, or another process has just swapped it
        for path in folder.iterdir():
            target = draft / path.name
            if is_ours(path.name) or target.exists():
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.copytree(path, target, symlinks=True, copy_function=_link)
            else:
                _link(path, target)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def _swap(draft: LocalPath, target: LocalPath) -> None:
    """Move `draft` to `target`. If there was a folder, it is afterwards at the draft's path."""
    draft_inode = draft.stat().st_ino
    for _ in range(MOST_SWAPS):
        if _renamed(draft, target):
            return
        if exchanged(draft, target) or _inode(target) == draft_inode:
            return
        if _swapped_in_two_steps(draft, target):
            return
    raise OSError(errno.EBUSY, "other processes replace this folder all the time", str(target))


def _renamed(draft: LocalPath, target: LocalPath) -> bool:
    """Rename `draft` to `target`; returns False if `target` is a folder with files."""
    try:
        draft.rename(target)
    except OSError as error:
        if error.errno not in TAKEN:
            raise
        return False
    return True


def _swapped_in_two_steps(draft: LocalPath, target: LocalPath) -> bool:
    """Move the old folder away, then `draft` to `target`; returns False if another process made a new folder in between."""
    old = draft.with_name(draft_name(target))
    with suppress(FileNotFoundError):  # another process has moved it away
        target.rename(old)
    try:
        if _renamed(draft, target):
            with suppress(FileNotFoundError):
                old.rename(draft)
            return True
    except OSError:
        with suppress(OSError):
            old.rename(target)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)
    return False


def _inode(folder: LocalPath) -> int | None:
    """Returns a folder's inode; None if it does not exist. One call, because another process may move the folder between two calls."""
    with suppress(FileNotFoundError):
        return folder.stat().st_ino
    return None


def exchanged(first: Path, second: Path) -> bool:
    """Exchange two folders in one step; returns False if the system or file system cannot do so, or a folder does not exist."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    at_cwd, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(renameat2(at_cwd, os.fsencode(first), at_cwd, os.fsencode(second), exchange) == 0)
