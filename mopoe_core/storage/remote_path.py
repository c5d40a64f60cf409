"""Files under a URI, with the part of pathlib's interface that storage needs.

pyarrow opens them on S3, GCS, Azure and HDFS, and fsspec for other schemes. A file is written whole or not at all: object stores show an
object when its upload is complete, and elsewhere a file is written under another name and then moved.

A URI may contain a key and a secret. `str` hides them, so that no message, report or record has them.
"""

import fnmatch
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any, TypeVar
from urllib.parse import urlsplit

from mopoe_core.storage import exclusive_creation
from mopoe_core.storage.retries import is_transient, retried, retried_unless_done
from mopoe_core.storage.uri_secrets import masked, without_secrets

OBJECT_STORES = ("s3", "gcs", "abfs")

_T = TypeVar("_T")


@lru_cache(maxsize=8)
def _filesystem(uri: str) -> tuple[Any, str]:
    """Returns the file system that opens a URI, and the folder in it."""
    import pyarrow
    from pyarrow import fs

    try:
        filesystem, root = fs.FileSystem.from_uri(uri)
        return filesystem, root
    except pyarrow.ArrowInvalid as error:
        if "Unrecognized filesystem type" not in str(error):
            raise ValueError(without_secrets(error, uri)) from None
    except (OSError, pyarrow.ArrowException) as error:
        raise ValueError(without_secrets(error, uri)) from None
    try:
        opened, root = exclusive_creation.open_by_fsspec(uri)
    except (ImportError, ValueError, OSError) as error:
        raise ValueError(without_secrets(error, uri)) from None
    return fs.PyFileSystem(fs.FSSpecHandler(opened)), root


@dataclass(frozen=True)
class RemotePath:
    """A file or folder at `path` below the folder that a URI names."""

    base: str
    """The URI as the user wrote it, with its secrets: for opening only."""
    path: str = ""

    @classmethod
    def open(cls, uri: str) -> "RemotePath":
        """Returns the folder that `uri` names. Raises ValueError if no file system opens it."""
        if not urlsplit(uri).netloc:
            raise ValueError("names no bucket or host")
        _filesystem(uri)
        return cls(uri)

    def __truediv__(self, more: str) -> "RemotePath":
        parts = more.split("/")
        if not all(parts) or {".", ".."} & set(parts):
            raise ValueError(f"{more!r} leads out of {self}")
        return RemotePath(self.base, f"{self.path}/{more}" if self.path else more)

    def __str__(self) -> str:
        uri, mark, options = masked(self.base).partition("?")
        return f"{uri.rstrip('/')}/{self.path}{mark}{options}" if self.path else masked(self.base)

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    @property
    def name(self) -> str:
        """The last part of the path."""
        return PurePosixPath(self.path or urlsplit(self.base).path).name

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def parent(self) -> "RemotePath":
        """The folder that holds it; for the URI's own folder, that folder."""
        return RemotePath(self.base, self.path.rpartition("/")[0])

    def with_name(self, name: str) -> "RemotePath":
        """Returns the path of that name in the same folder."""
        return self.parent / name

    def with_suffix(self, suffix: str) -> "RemotePath":
        """Returns the path with another suffix in the same folder."""
        return self.with_name(self.stem + suffix)

    def exists(self) -> bool:
        """Whether there is such a file, or a file below such a folder."""
        return bool(self._info().type.value)

    def modified(self) -> float | None:
        """Returns when it was last written, in seconds since 1970 by the store's clock; None if there is no such file.

        If the store has no times, returns the present time.
        """
        info = self._info()
        if not info.type.value:
            return None
        return time.time() if info.mtime_ns is None else info.mtime_ns / 1e9

    def size(self) -> int:
        """Returns the number of bytes of the file; 0 if there is none."""
        return int(self._info().size or 0)

    def read_bytes(self) -> bytes:
        """Returns the file's content. Raises FileNotFoundError if there is no such file."""
        return retried(self._read, _may_be_over)

    def _read(self) -> bytes:
        filesystem, full = self.filesystem_and_path()
        try:
            with filesystem.open_input_file(full) as file:
                return bytes(file.read())
        except FileNotFoundError:
            raise self._missing() from None
        except Exception as error:
            # Some of fsspec's file systems raise other errors for a file that is missing.
            if not self.exists():
                raise self._missing() from None
            raise self._error(error) from None

    def read_text(self, encoding: str = "utf-8") -> str:
        """As `read_bytes`, for text."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, content: bytes | memoryview) -> None:
        """Writes the file, whole or not at all. Raises OSError if that fails; a former file then stays."""
        filesystem, full = self.filesystem_and_path()
        write = self._upload if filesystem.type_name in OBJECT_STORES else self._write_and_move
        self._request(lambda: write(filesystem, full, content))

    @staticmethod
    def _upload(filesystem: Any, full: str, content: bytes | memoryview) -> None:
        """Uploads an object. It appears when its upload is complete, so that it is never there in part."""
        with filesystem.open_output_stream(full) as stream:
            stream.write(content)

    @staticmethod
    def _write_and_move(filesystem: Any, full: str, content: bytes | memoryview) -> None:
        folder, _, name = full.rpartition("/")
        filesystem.create_dir(folder, recursive=True)
        temporary = f"{folder}/.{name}.{uuid.uuid4().hex}"
        try:
            with filesystem.open_output_stream(temporary) as stream:
                stream.write(content)
            filesystem.move(temporary, full)
        except BaseException:
            with suppress(Exception):  # if deleting fails too, `gc` removes the file later
                if filesystem.get_file_info(temporary).type.value:
                    filesystem.delete_file(temporary)
            raise

    @property
    def is_exclusive(self) -> bool:
        """Whether the store itself refuses to create a file that exists, so that only one of several writers succeeds."""
        return exclusive_creation.can_create_exclusively(self.base, self.filesystem_and_path()[0])

    def create(self, content: bytes) -> bool:
        """Writes the whole file, unless there is one; returns whether it was written. See `is_exclusive`."""
        filesystem, full = self.filesystem_and_path()
        if self.is_exclusive:
            is_written = self._request(lambda: exclusive_creation.create(self.base, filesystem, full, content))
            return is_written or self.read_bytes() == content  # the answer to the first try may have been lost
        if self.exists():
            return False
        self.write_bytes(content)
        return True

    def copy(self, target: "RemotePath") -> None:
        """Copies the whole file. Raises FileNotFoundError if there is no such file."""
        filesystem, full = self.filesystem_and_path()
        if filesystem.type_name not in OBJECT_STORES:
            target.write_bytes(self.read_bytes())
            return
        try:
            self._request(lambda: filesystem.copy_file(full, target.filesystem_and_path()[1]))
        except OSError:
            if not self.exists():
                raise self._missing() from None
            raise

    def unlink(self, missing_ok: bool = False) -> None:
        """Deletes the file. Raises FileNotFoundError if there is none, unless `missing_ok`."""
        try:
            retried_unless_done(self._delete, lambda error: isinstance(error, FileNotFoundError), _may_be_over)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def _delete(self) -> None:
        filesystem, full = self.filesystem_and_path()
        try:
            filesystem.delete_file(full)
        except FileNotFoundError:
            raise self._missing() from None
        except Exception as error:  # the file may be deleted, and the answer lost
            if self.exists():
                raise self._error(error) from None

    def replace(self, target: "RemotePath") -> None:
        """Moves the file, in place of any file of that name. Raises FileNotFoundError if there is no file to move."""
        # Object stores move a file in the same way, and some other file systems cannot replace a file.
        target.write_bytes(self.read_bytes())
        self.unlink()

    def glob(self, pattern: str) -> Iterator["RemotePath"]:
        """Yields the files below whose relative path matches a pattern. A hidden file matches only a part that begins with a dot."""
        from pyarrow import fs

        filesystem, full = self.filesystem_and_path()
        parts = pattern.split("/")
        first_wildcard = next((i for i, part in enumerate(parts) if re.search(r"[*?\[]", part)), len(parts) - 1)
        fixed, patterns = parts[:first_wildcard], parts[first_wildcard:]
        start = "/".join([full, *fixed])
        selector = fs.FileSelector(start, allow_not_found=True, recursive=len(patterns) > 1)
        for info in sorted(self._request(lambda: filesystem.get_file_info(selector)), key=lambda info: info.path):
            names = info.path.removeprefix(start).strip("/").split("/")
            if info.is_file and len(names) == len(patterns) and all(map(_matches, names, patterns)):
                yield RemotePath(self.base, "/".join([*([self.path] if self.path else []), *fixed, *names]))

    def files_below(self) -> Iterator[tuple["RemotePath", float | None]]:
        """Yields all files below, hidden ones too, with the time when each was written, or None if the store has no times."""
        from pyarrow import fs

        filesystem, full = self.filesystem_and_path()
        selector = fs.FileSelector(full, allow_not_found=True, recursive=True)
        for info in self._request(lambda: filesystem.get_file_info(selector)):
            if info.is_file:
                path = info.path.removeprefix(full).strip("/")
                yield self / path, None if info.mtime_ns is None else info.mtime_ns / 1e9

    def without_secrets(self, error: Exception) -> str:
        """Returns an error's text on one line, with the secrets of the URI replaced by `***`."""
        return without_secrets(error, self.base)

    def _error(self, error: Exception) -> OSError:
        """Returns any error of a store's library as an OSError whose text names the path and contains no secret."""
        text = f"{self}: {without_secrets(error, self.base)}"
        number = getattr(error, "errno", None)
        return OSError(number, text) if isinstance(number, int) else OSError(text)

    def _missing(self) -> FileNotFoundError:
        return FileNotFoundError(f"{self}: there is no such file")

    def _request(self, call: Callable[[], _T]) -> _T:
        """Returns the result of a request to the store. It is repeated if it fails for a moment. Raises the OSError of `_error`."""

        def request() -> _T:
            try:
                return call()
            except Exception as error:
                raise self._error(error) from None

        return retried(request, _may_be_over)

    def filesystem_and_path(self) -> tuple[Any, str]:
        """Returns pyarrow's file system and the file's path in it."""
        filesystem, root = _filesystem(self.base)
        return filesystem, f"{root.rstrip('/')}/{self.path}" if self.path else root

    def _info(self) -> Any:
        filesystem, full = self.filesystem_and_path()
        return self._request(lambda: filesystem.get_file_info(full))


def _may_be_over(error: OSError) -> bool:
    """Whether a store's error may be over in a moment. An error without a number may be, because nothing says that it is not."""
    return is_transient(error) or (error.errno is None and not isinstance(error, FileNotFoundError))


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern) and (pattern.startswith(".") or not name.startswith("."))
