"""Writes names and content of local files and folders to disk, so that a machine that goes down loses neither."""

import errno
import os
from pathlib import Path

from mopoe_core.storage.local_path import LocalPath
from mopoe_core.storage.retries import retried

NOT_SYNCED = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)
"""Error numbers of a file system that cannot sync a folder, as some network shares cannot."""


def make_folder(folder: Path, durable: bool = True) -> None:
    """Makes a local folder with its parents, unless it is there.

    On return the parents' names are on disk, and with `durable` also the folder's name.
    """
    if folder.exists():
        return
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    LocalPath(folder).mkdir(parents=True, exist_ok=True)
    for path in reversed(missing):
        if durable or path != folder:
            sync(path.parent)


def sync(path: Path) -> None:
    """Has the system write a file, or the names in a folder, to disk."""
    retried(lambda: _sync(path))


def _sync(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:  # a folder in which this user may write, but which the user may not list
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in NOT_SYNCED:
            raise
    finally:
        os.close(handle)
