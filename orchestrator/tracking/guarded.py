"""A proxy that checks a condition before each method call."""

from collections.abc import Callable
from typing import Any


class Guarded:
    """Passes method calls on to `inner`. Calls `check` before each; `check` raises if the method must not run."""

    def __init__(self, inner: object, check: Callable[[], None]) -> None:
        self._inner, self._check = inner, check

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def checked(*args: Any, **named: Any) -> Any:
            self._check()
            return method(*args, **named)

        return checked
