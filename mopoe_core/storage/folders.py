"""Lists and moves folders of storage."""

import os
from collections.abc import Callable
from pathlib import Path

from mopoe_core.storage.durability import make_folder, sync
from mopoe_core.storage.local_path import LocalPath
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.remote_path import RemotePath
from mopoe_core.storage.whole_files import copy


def nearest_existing(folder: Path) -> Path:
    """Returns the path, or the nearest one above it that exists. That may be a file."""
    return next(path for path in (folder, *folder.parents) if os.path.lexists(path))


def listed(folder: AnyPath, pattern: str) -> list[AnyPath]:
    """Returns the files below a folder whose relative path matches a pattern, sorted; none if there is no such folder."""
    paths: list[AnyPath] = [*(folder if isinstance(folder, RemotePath) else LocalPath(folder)).glob(pattern)]
    return sorted(paths, key=str)


def move_folder(folder: AnyPath, target: AnyPath, check: Callable[[], None] = lambda: None) -> None:
    """Moves a folder with all that is in it, three levels deep at most. `target` must not exist yet.

    Remote files are copied one by one and then removed. `check` is called before each is removed, and may raise an error. Files that
    appear in the meantime stay.
    """
    if isinstance(folder, Path) and isinstance(target, Path):
        make_folder(target.parent)
        LocalPath(folder).rename(target)
        sync(target.parent)
        sync(folder.parent)
        return
    paths = [path for pattern in ("*", "*/*", "*/*/*") for path in listed(folder, pattern)]
    for path in paths:
        copy(path, _new_path(path, folder, target))
    for path in paths:
        check()
        path.unlink()


def _new_path(path: AnyPath, folder: AnyPath, target: AnyPath) -> AnyPath:
    """Returns the path in `target` of a file that lies in `folder`."""
    parent = target if path.parent == folder else _new_path(path.parent, folder, target)
    return parent / path.name
