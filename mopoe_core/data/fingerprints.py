"""Fingerprints of the files that a dataset was built from, so that a build is not taken for files that are others by now.

Names, sizes and times of change only: they cost a second or two for the hundreds of thousands of images of PolyMNIST or CelebA, and
every worker asks for them.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

Places = Mapping[str, Path]
"""What a build reads: files, or folders of files, by a name that stays when the whole of them is moved."""


def fingerprints(places: Places) -> dict[str, str]:
    """Of each place that is there, by name. Folders without files count as not there, and hidden files not at all."""
    found = {name: _fingerprint(path) for name, path in places.items()}
    return {name: value for name, value in found.items() if value}


def changed(places: Places, recorded: Mapping[str, str]) -> list[Path]:
    """Those of the places that are there and not as `recorded`."""
    return [places[name] for name, value in fingerprints(places).items() if recorded.get(name) != value]


def _fingerprint(path: Path) -> str:
    """Empty where there is nothing that can be looked at."""
    try:
        files = _listed(path) if path.is_dir() else [("", path.stat())]
    except OSError:
        return ""
    lines = [f"{name} {status.st_size} {status.st_mtime_ns}" for name, status in files]
    return hashlib.sha256("\n".join(sorted(lines)).encode(errors="surrogateescape")).hexdigest() if lines else ""


def _listed(folder: Path) -> list[tuple[str, os.stat_result]]:
    with os.scandir(folder) as entries:
        return [(entry.name, entry.stat()) for entry in entries if not entry.name.startswith(".")]
