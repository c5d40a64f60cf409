"""Something whose methods may be called only while a condition holds."""

from collections.abc import Callable
from typing import Any


class Checked:
    """Passes calls of methods on to `inner`, each after `check`, which raises where it is not to be called."""

    def __init__(self, inner: object, check: Callable[[], None]) -> None:
        self._inner, self._check = inner, check

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def checked(*args: Any, **named: Any) -> Any:
            self._check()
            return method(*args, **named)

        return checked
