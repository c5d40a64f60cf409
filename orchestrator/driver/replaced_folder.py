"""A folder that is replaced whole: it is built beside its place and swapped in, so that a reader sees the old one or the new one.

Several processes may do so at once. Each succeeds, and the last one's folder stays. One that is killed leaves its hidden folder, which
`gc` removes. What others have put into the folder stays in it.
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
"""Times that other processes may come between the two moves of a swap."""
TAKEN = (errno.ENOTEMPTY, errno.EEXIST)

_T = TypeVar("_T")


def replaced(folder: Path, build: Callable[[Path], _T], is_ours: Callable[[str], bool]) -> _T:
    """Give `build` an empty folder to fill, and let that take the place of `folder`.

    Returns what `build` returns, with the paths that the files have afterwards. Files that `is_ours` does not name are kept.
    """
    place = LocalPath(folder).resolve()  # through a link, which stays
    make_folder(place.parent)
    draft = place.with_name(draft_name(place))
    try:
        make_folder(draft)
        built = build(draft)
        _keep_others(place, draft, is_ours)
        _swap(draft, place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    final: _T = moved(built, draft, folder)
    return final


def draft_name(place: Path) -> str:
    """A new name for what is built beside a folder."""
    return f".{place.name}.{uuid.uuid4().hex}"


def moved(value: Any, old: Path, new: Path) -> Any:
    """The value with all paths below `old`, also within dataclasses, sequences and mappings, as paths below `new`."""
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


def _keep_others(place: LocalPath, draft: LocalPath, is_ours: Callable[[str], bool]) -> None:
    """Let what others have put into the folder be in the new one as well: linked, or copied where the file system has no links."""
    with suppress(FileNotFoundError):  # there is no such folder, or another process has just swapped it
        for other in place.iterdir():
            target = draft / other.name
            if is_ours(other.name) or target.exists():
                continue
            if other.is_dir() and not other.is_symlink():
                shutil.copytree(other, target, symlinks=True, copy_function=_link)
            else:
                _link(other, target)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def _swap(draft: LocalPath, place: LocalPath) -> None:
    """Move `draft` to `place`; what was there is then in the draft's place, or in one beside it."""
    built = draft.stat().st_ino
    for _ in range(MOST_SWAPS):
        try:
            draft.rename(place)  # where there is nothing yet, or an empty folder
            return
        except OSError as error:
            if error.errno not in TAKEN:
                raise
        if exchanged(draft, place) or _inode(place) == built:
            return
        old = draft.with_name(draft_name(place))
        with suppress(FileNotFoundError):  # another process has moved it away
            place.rename(old)
        try:
            draft.rename(place)
            return
        except OSError as error:
            if error.errno not in TAKEN:
                with suppress(OSError):
                    old.rename(place)
                raise
        finally:
            shutil.rmtree(old, ignore_errors=True)
    raise OSError(errno.EBUSY, "other processes replace this folder all the time", str(place))


def _inode(place: LocalPath) -> int | None:
    """The number of what is there; None if nothing is. Asked once: another process may move it away between two questions."""
    with suppress(FileNotFoundError):
        return place.stat().st_ino
    return None


def exchanged(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False where the system or the file system cannot, or one is not there."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)
