"""Calls on the files below a folder, counted, of which one fails: what a disk or a share does that is away for a moment."""

import builtins
import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CALLS = (
    "stat", "lstat", "open", "mkdir", "rmdir", "unlink", "remove", "rename", "replace", "link", "listdir", "scandir", "utime",
    "chmod", "fsync", "fstat",
)  # fmt: skip
"""The functions of `os` that can fail."""
LAYERS = (
    "local_path.py", "retries.py", "paths.py", "durability.py", "scratch.py", "file_facts.py", "folders.py", "whole_files.py",
    "exclusive_creation.py", "remote_path.py", "record_format.py", "records.py",
)  # fmt: skip
"""Modules through which others call: a call's site is who calls them."""


@dataclass(frozen=True)
class Call:
    """A call on a file."""

    function: str
    path: str
    """Below the folder."""
    site: str
    """The line of this project that it comes from, without the modules through which all of them go."""
    is_main: bool
    """Whether it was made in the main thread."""


@dataclass
class Injection:
    """Fails the first call that `strikes` says, or every one, with this error number. With `after`, the call does its work first."""

    folder: Path
    error: int = 0
    strikes: Callable[[int, Call], bool] = lambda number, call: False
    after: bool = False
    every: bool = False
    calls: list[Call] = field(default_factory=list)
    struck: Call | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def active(self) -> Iterator["Injection"]:
        """While it counts and fails."""
        kept = {name: getattr(os, name) for name in CALLS}
        opened = builtins.open
        try:
            for name, function in kept.items():
                setattr(os, name, self._failing(name, function))
            io.open = self._failing("open", opened)
            builtins.open = io.open
            yield self
        finally:
            for name, function in kept.items():
                setattr(os, name, function)
            io.open = builtins.open = opened

    def _failing(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            below = self._below(arguments[0]) if arguments else None
            if below is None or not self._strikes(name, below):
                return function(*arguments, **named)
            if self.after:
                _close(function(*arguments, **named))
            file = None if isinstance(arguments[0], int) else str(arguments[0])
            raise OSError(self.error, os.strerror(self.error), file)

        return call

    def _below(self, argument: Any) -> str | None:
        try:
            path = os.readlink(f"/proc/self/fd/{argument}") if isinstance(argument, int) else os.fspath(argument)
        except (TypeError, OSError):
            return None
        base = str(self.folder)
        return path[len(base) :] if isinstance(path, str) and path.startswith(base) else None

    def _strikes(self, name: str, below: str) -> bool:
        made = Call(name, below, _site(), threading.current_thread() is threading.main_thread())
        with self._lock:
            self.calls.append(made)
            if (self.every or self.struck is None) and self.strikes(len(self.calls) - 1, made):
                self.struck = made
                return True
        return False


def _close(done: Any) -> None:
    """What nobody gets."""
    if isinstance(done, int):
        os.close(done)
    elif hasattr(done, "close"):
        done.close()


def _site() -> str:
    frame, site = sys._getframe(3), "elsewhere"
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT / "orchestrator") or path.is_relative_to(ROOT / "mopoe_core"):
            site = f"{path.relative_to(ROOT)}:{frame.f_lineno}"
            if path.name not in LAYERS:
                break
        frame = frame.f_back  # type: ignore[assignment]
    return site
