"""Counts how often files are opened for reading, whoever opens them."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_counts: list[Counter[str]] = []
"""Those that count now. An audit hook cannot be removed, so there is one, which looks here."""
_hooked = False


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _counts and isinstance(arguments[0], str) and not set(str(arguments[1] or "r")) & set("wax+"):
        for count in _counts:
            count[arguments[0]] += 1


@contextmanager
def opened() -> Iterator[Counter[str]]:
    """How often each file was opened, by its path, from entering the context to leaving it."""
    global _hooked
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked = True
    count: Counter[str] = Counter()
    _counts.append(count)
    try:
        yield count
    finally:
        _counts.remove(count)


def of_name(count: Counter[str], name: str) -> dict[str, int]:
    """The files of that name, with how often each was opened."""
    return {path: times for path, times in count.items() if Path(path).name == name}
