"""Paths of local folders and mounted shares, whose calls are tried again where the file system fails for a moment (see `retries`).

`paths.storage_path` makes them, so that whoever has a path of storage has this. They are equal to plain paths of the same name.
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
    """A path of storage that is no URI."""

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """As of a path; `exists`, `is_file` and `is_dir` ask it."""
        return retried(lambda: PosixPath.stat(self, follow_symlinks=follow_symlinks))

    def open(self, *arguments: Any, **named: Any) -> Any:  # pathlib has an overload a mode
        """As of a path. What is then read or written is not tried again."""
        return retried(lambda: PosixPath.open(self, *arguments, **named))

    def read_bytes(self) -> bytes:
        """As of a path."""
        return retried(lambda: Path(self).read_bytes())

    def read_text(self, *arguments: Any, **named: Any) -> str:
        """As of a path."""
        return retried(lambda: Path(self).read_text(*arguments, **named))

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """As of a path. Who asks for a folder that must be new gets no second try: a folder that is there then may be another's."""
        if exist_ok:
            retried(lambda: Path(self).mkdir(mode, parents, exist_ok))
        else:
            Path(self).mkdir(mode, parents, exist_ok)

    def unlink(self, missing_ok: bool = False) -> None:
        """As of a path."""
        retried_unless_done(lambda: Path(self).unlink(missing_ok), lambda error: isinstance(error, FileNotFoundError))

    def rename(self, target: str | os.PathLike[str]) -> "LocalPath":
        """As of a path."""
        retried_unless_done(lambda: os.rename(self, target), lambda error: self._is_moved(error, target))
        return LocalPath(target)

    def replace(self, target: str | os.PathLike[str]) -> "LocalPath":
        """As of a path."""
        retried_unless_done(lambda: os.replace(self, target), lambda error: self._is_moved(error, target))
        return LocalPath(target)

    def _is_moved(self, error: OSError, target: str | os.PathLike[str]) -> bool:
        """Whether a move has failed because the try before it has moved the file: nobody else moves what a process has made or holds."""
        return isinstance(error, FileNotFoundError) and os.path.lexists(target) and not os.path.lexists(self)

    def hardlink_to(self, target: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> None:
        """As of a path. A name that is taken is ours if it is that of the same file."""
        retried_unless_done(
            lambda: os.link(target, self),
            lambda error: isinstance(error, FileExistsError) and os.path.samefile(self, target),
        )

    def glob(self, pattern: str) -> Generator["LocalPath", None, None]:
        """The files and folders below whose path matches, part by part; `**` is any number of folders.

        None where there is no such folder. Unlike pathlib, a folder that must not be read is an error: a claim that is not seen would
        count as none.
        """
        found = [self]
        for part in pattern.split("/"):
            if part == "**":
                found = [below for folder in found for below in folder._folders()]
            elif re.search(r"[*?\[]", part):
                found = [folder / name for folder in found for name in sorted(folder._names()) if fnmatchcase(name, part)]
            else:
                found = [there for folder in found if (there := folder / part).exists()]
        yield from found

    def rglob(self, pattern: str) -> Generator["LocalPath", None, None]:
        """What matches in this folder or any below."""
        return self.glob(f"**/{pattern}")

    def iterdir(self) -> Generator["LocalPath", None, None]:
        """As of a path: raises FileNotFoundError where there is no such folder."""
        yield from [self / name for name in retried(lambda: os.listdir(self))]

    def _names(self) -> list[str]:
        try:
            return retried(lambda: os.listdir(self))
        except NO_FOLDER:
            return []

    def _folders(self) -> Generator["LocalPath", None, None]:
        """This folder and all below it; links are not followed."""
        yield self
        for name in sorted(self._names()):
            below = self / name
            if below.is_dir() and not below.is_symlink():
                yield from below._folders()
