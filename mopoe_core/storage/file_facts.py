"""Digest, size and time of a file in storage."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.remote_path import RemotePath
from mopoe_core.storage.retries import retried


@dataclass(frozen=True)
class Digest:
    """SHA-256 and size: two files with the same digest hold the same bytes."""

    sha256: str
    size: int

    @classmethod
    def of(cls, content: bytes | memoryview) -> "Digest":
        """Returns the digest of these bytes."""
        return cls(hashlib.sha256(content).hexdigest(), len(content))

    @classmethod
    def of_file(cls, path: AnyPath) -> "Digest":
        """Returns the digest of a file. Raises FileNotFoundError if there is none."""
        if isinstance(path, RemotePath):
            return cls.of(path.read_bytes())
        return retried(lambda: cls._of_local(path))

    @classmethod
    def _of_local(cls, path: Path) -> "Digest":
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            return cls(sha256, os.fstat(file.fileno()).st_size)


def modified(path: AnyPath) -> float | None:
    """Returns when a file was last written, in seconds since 1970 by the clock of its storage; None if there is no such file."""
    if isinstance(path, RemotePath):
        return path.modified()
    try:
        return retried(lambda: _modified(path))
    except FileNotFoundError:
        return None


def _modified(path: Path) -> float:
    # The file is opened, because NFS then asks the server. A bare stat may be answered from memory for a minute.
    with path.open("rb") as file:
        return os.fstat(file.fileno()).st_mtime


def size(path: AnyPath) -> int:
    """Returns the number of bytes of a file. For a missing file, raises FileNotFoundError (local) or returns 0 (remote)."""
    return path.size() if isinstance(path, RemotePath) else path.stat().st_size


def size_if_there(path: AnyPath) -> int | None:
    """Returns the number of bytes of a file, by one request; None if there is no such file, or if it is remote and empty."""
    if isinstance(path, RemotePath):
        return path.size() or None
    try:
        return size(path)
    except FileNotFoundError:
        return None
