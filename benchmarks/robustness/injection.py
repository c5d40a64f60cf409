"""Counts the calls on files below a folder and lets one fail, as a disk or a network share does that is unavailable for a moment."""

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
"""Modules of the storage layer. A call's site is the line that calls into them."""


@dataclass(frozen=True)
class Call:
    """A call on a file."""

    function: str
    path: str
    """The path below the folder."""
    site: str
    """The line of this project that made the call, outside of `LAYERS`."""
    is_main: bool
    """Whether the main thread made the call."""


@dataclass
class Injection:
    """Lets the first call for which `strikes(number, call)` is true fail with the error number `error`."""

    folder: Path
    error: int = 0
    strikes: Callable[[int, Call], bool] = lambda number, call: False
    after: bool = False
    """Whether the failing call does its work first."""
    every: bool = False
    """Whether every such call fails, and not only the first."""
    calls: list[Call] = field(default_factory=list)
    struck: Call | None = None
    """The last call that failed."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def active(self) -> Iterator["Injection"]:
        """Counts calls and lets them fail while the context is active."""
        originals = {name: getattr(os, name) for name in CALLS}
        original_open = builtins.open
        try:
            for name, function in originals.items():
                setattr(os, name, self._failing(name, function))
            io.open = self._failing("open", original_open)
            builtins.open = io.open
            yield self
        finally:
            for name, function in originals.items():
                setattr(os, name, function)
            io.open = builtins.open = original_open

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
        """Returns the path below the folder of a path or file descriptor; None if it is elsewhere."""
        try:
            path = os.readlink(f"/proc/self/fd/{argument}") if isinstance(argument, int) else os.fspath(argument)
        except (TypeError, OSError):
            return None
        base = str(self.folder)
        return path[len(base) :] if isinstance(path, str) and path.startswith(base) else None

    def _strikes(self, name: str, below: str) -> bool:
        """Records a call; returns whether it fails."""
        current = Call(name, below, _site(), threading.current_thread() is threading.main_thread())
        with self._lock:
            self.calls.append(current)
            if (self.every or self.struck is None) and self.strikes(len(self.calls) - 1, current):
                self.struck = current
                return True
        return False


def _close(result: Any) -> None:
    """Closes the file that a failing call has opened, because no caller gets it."""
    if isinstance(result, int):
        os.close(result)
    elif hasattr(result, "close"):
        result.close()


def _site() -> str:
    """Returns the file and line of this project that made the current call, outside of `LAYERS` if possible."""
    frame, site = sys._getframe(3), "elsewhere"
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(ROOT / "orchestrator") or path.is_relative_to(ROOT / "mopoe_core"):
            site = f"{path.relative_to(ROOT)}:{frame.f_lineno}"
            if path.name not in LAYERS:
                break
        frame = frame.f_back  # type: ignore[assignment]
    return site
