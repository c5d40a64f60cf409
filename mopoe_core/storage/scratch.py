"""Temporary files of one process: scratch folders, and locks on making a file."""

import hashlib
import os
import re
import tempfile
from pathlib import Path

from filelock import FileLock

from mopoe_core.storage.durability import make_folder
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.remote_path import RemotePath

SCRATCH = re.compile(r"mopoe-[a-z]+-(?:(?P<process>\d+)-)?[a-z0-9_]{8}")
"""Names of scratch folders."""


def scratch(purpose: str, parent: str | None = None) -> tempfile.TemporaryDirectory[str]:
    """Returns a temporary folder, to be used in `with`. Its name has the process's number: `gc` removes folders of killed processes."""
    return tempfile.TemporaryDirectory(prefix=f"mopoe-{purpose}-{os.getpid()}-", dir=parent, ignore_cleanup_errors=True)


def lock(path: AnyPath) -> FileLock:
    """Returns a lock on making a file. For a local file, the lock file is beside it. For a remote file, it locks only on this machine."""
    if isinstance(path, RemotePath):
        key = hashlib.sha256(str(path).encode()).hexdigest()[:16]
        return FileLock(Path(tempfile.gettempdir()) / f"mopoe-{os.getuid()}-{key}.lock")
    make_folder(path.parent)
    return FileLock(f"{path}.lock")
