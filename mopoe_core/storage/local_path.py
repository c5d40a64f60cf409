"""Paths of local folders and mounted shares. Their calls are tried again if the file system fails for a moment (see `retries`).

`paths.storage_path` returns such a path for every local storage. It is equal to a plain path of the same name.
"""

import os
import re
from collections.abc import Generator
from fnmatch import fnmatchcase
from pathlib import Path, PosixPath
from typing import Any

from mopoe_core.storage.retries import retried, retried_unless_done

NO_FOLDER = (FileNotFoundError, NotADirectoryError)


class LocalPath(PosixPath):
    """A path of local storage. Its methods do the same as those of `pathlib.Path`, with retries."""

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """As `Path.stat`, which `exists`, `is_file` and `is_dir` call."""
        return retried(lambda: PosixPath.stat(self, follow_symlinks=follow_symlinks))

    def open(self, *arguments: Any, **options: Any) -> Any:  # pathlib has an overload for each mode
        """As `Path.open`. Reads and writes of the open file are not tried again."""
        return retried(lambda: PosixPath.open(self, *arguments, **options))

    def read_bytes(self) -> bytes:
        """As `Path.read_bytes`."""
        return retried(lambda: Path(self).read_bytes())

    def read_text(self, *arguments: Any, **options: Any) -> str:
        """As `Path.read_text`."""
        return retried(lambda: Path(self).read_text(*arguments, **options))

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """As `Path.mkdir`. Without `exist_ok` there is no second try, because it could take another process's folder for its own."""
        if exist_ok:
            retried(lambda: Path(self).mkdir(mode, parents, exist_ok))
        else:
            Path(self).mkdir(mode, parents, exist_ok)

    def unlink(self, missing_ok: bool = False) -> None:
        """As `Path.unlink`."""
        retried_unless_done(lambda: Path(self).unlink(missing_ok), lambda error: isinstance(error, FileNotFoundError))

    def rename(self, target: str | os.PathLike[str]) -> "LocalPath":
        """As `Path.rename`."""
        retried_unless_done(lambda: os.rename(self, target), lambda error: self._is_moved(error, target))
        return LocalPath(target)

    def replace(self, target: str | os.PathLike[str]) -> "LocalPath":
        """As `Path.replace`."""
        retried_unless_done(lambda: os.replace(self, target), lambda error: self._is_moved(error, target))
        return LocalPath(target)

    def _is_moved(self, error: OSError, target: str | os.PathLike[str]) -> bool:
        """Whether a move failed because the try before moved the file. Nobody else moves a file that a process has made or claimed."""
        return isinstance(error, FileNotFoundError) and os.path.lexists(target) and not os.path.lexists(self)

    def hardlink_to(self, target: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> None:
        """As `Path.hardlink_to`. On a second try, a taken name is no error if it is a name of the same file."""
        retried_unless_done(
            lambda: os.link(target, self),
            lambda error: isinstance(error, FileExistsError) and os.path.samefile(self, target),
        )

    def glob(self, pattern: str) -> Generator["LocalPath", None, None]:
        """Yields the files and folders below whose relative path matches a pattern; `**` is any number of folders.

        Yields none if there is no such folder. Unlike in pathlib, an unreadable folder is an error: otherwise a claim in it would count
        as missing.
        """
        matches = [self]
        for part in pattern.split("/"):
            if part == "**":
                matches = [below for folder in matches for below in folder._folders()]
            elif re.search(r"[*?\[]", part):
                matches = [folder / name for folder in matches for name in sorted(folder._names()) if fnmatchcase(name, part)]
            else:
                matches = [path for folder in matches if (path := folder / part).exists()]
        yield from matches

    def rglob(self, pattern: str) -> Generator["LocalPath", None, None]:
        """Yields the files and folders that match, in this folder or any below."""
        return self.glob(f"**/{pattern}")

    def iterdir(self) -> Generator["LocalPath", None, None]:
        """As `Path.iterdir`: raises FileNotFoundError if there is no such folder."""
        yield from [self / name for name in retried(lambda: os.listdir(self))]

    def _names(self) -> list[str]:
        try:
            return retried(lambda: os.listdir(self))
        except NO_FOLDER:
            return []

    def _folders(self) -> Generator["LocalPath", None, None]:
        """Yields this folder and all below it; links are not followed."""
        yield self
        for name in sorted(self._names()):
            below = self / name
            if below.is_dir() and not below.is_symlink():
                yield from below._folders()
