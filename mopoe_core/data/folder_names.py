"""Lists and compares names in a folder: for messages, and to find files with another spelling or in another folder than expected."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mopoe_core.errors import DataError

JUNK = ("__macosx", "thumbs.db", "desktop.ini")
"""Names that macOS and Windows leave in folders and archives, beside hidden files."""
MOST_NAMED = 5


def normalised(name: str) -> str:
    """Returns the name in lower case, with `-` for other signs: `train-images.idx3-ubyte` becomes `train-images-idx3-ubyte`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def entries(folder: Path) -> list[Path]:
    """Returns the paths in a folder, sorted by name, without hidden files and junk; none if it cannot be read."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [folder / name for name in names if not name.startswith(".") and name.lower() not in JUNK]


def files_below(folder: Path, depth: int, enters: Callable[[str], bool] = lambda name: True) -> Iterator[Path]:
    """Yields the files in a folder, then those in its folders, down to `depth` levels. It enters a folder if `enters(name)` is true."""
    paths = entries(folder)
    yield from (path for path in paths if path.is_file())
    if depth:
        for path in paths:
            if enters(path.name) and path.is_dir():
                yield from files_below(path, depth - 1, enters)


def distinct(paths: Iterable[Path]) -> list[Path]:
    """Returns the paths that exist; of several paths of one file or folder (links, spellings) the first."""
    path_of_inode: dict[tuple[int, int], Path] = {}
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        path_of_inode.setdefault((status.st_dev, status.st_ino), path)
    return list(path_of_inode.values())


def first_few(names: Iterable[str]) -> str:
    """Returns the first few names and how many more there are: `a, b, c, d, e and 2 more`; `nothing` if there is none."""
    names = list(names)
    text = ", ".join(names[:MOST_NAMED]) or "nothing"
    return f"{text} and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else text


def names_in(folder: Path) -> str:
    """Returns the first few names in a folder, for a message. Folders end in `/`; the folder of built datasets is left out."""
    return first_few(f"{path.name}/" if path.is_dir() else path.name for path in entries(folder) if path.name != "built")


def copies_differ(first: Path, second: Path, what: str) -> DataError:
    """Returns the error for two files or folders that should be one, or copies, and differ. `what` is the noun for the one expected."""
    return DataError(
        f"{first} and {second}: both are there and differ; expected one {what}; keep the right one, move the other away"
    )
