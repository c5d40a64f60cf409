"""Names in a folder: for messages, and to find files that are spelled or nested in another way than expected."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mopoe_core.errors import DataError

JUNK = ("__macosx", "thumbs.db", "desktop.ini")
"""What macOS and Windows leave in folders and archives, beside hidden files."""
MOST_NAMED = 5


def plain(name: str) -> str:
    """The name in lower case, with one `-` in place of other signs: `train-images.idx3-ubyte` becomes `train-images-idx3-ubyte`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def entries(folder: Path) -> list[Path]:
    """What is in a folder, sorted by name, without hidden files and junk; nothing where it cannot be read."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [folder / name for name in names if not name.startswith(".") and name.lower() not in JUNK]


def files_below(folder: Path, depth: int, enters: Callable[[str], bool] = lambda name: True) -> Iterator[Path]:
    """The files in a folder, then those in its folders down to `depth` levels; `enters` says by name which folders are looked into."""
    inside = entries(folder)
    yield from (path for path in inside if path.is_file())
    if depth:
        for path in inside:
            if enters(path.name) and path.is_dir():
                yield from files_below(path, depth - 1, enters)


def distinct(paths: Iterable[Path]) -> list[Path]:
    """Those that exist, each file or folder once, whatever links or spellings lead to it."""
    seen: dict[tuple[int, int], Path] = {}
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        seen.setdefault((status.st_dev, status.st_ino), path)
    return list(seen.values())


def some(names: Iterable[str]) -> str:
    """The first few names and how many more there are; `nothing` where there is none."""
    names = list(names)
    shown = ", ".join(names[:MOST_NAMED]) or "nothing"
    return f"{shown} and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else shown


def names_in(folder: Path) -> str:
    """Some of the names in a folder, for a message; folders end in `/`. What this program built there is left out."""
    return some(f"{path.name}/" if path.is_dir() else path.name for path in entries(folder) if path.name != "built")


def refuse_two(first: Path, second: Path, what: str) -> DataError:
    """The error for two files or folders that differ where only one is expected."""
    return DataError(
        f"{first} and {second}: both are there and differ; expected one {what}; keep the right one, move the other away"
    )
