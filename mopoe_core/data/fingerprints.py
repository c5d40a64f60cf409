"""Fingerprints of the files that a dataset was built from. They show whether the files have changed since.

They cover names, sizes and times of change only, because every worker takes them: that costs a second or two for the hundreds of
thousands of images of PolyMNIST or CelebA.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

Places = Mapping[str, Path]
"""What a build reads: files, or folders of files. Their names here do not change when the data folder is moved."""


def fingerprints(places: Places) -> dict[str, str]:
    """Returns the fingerprint of each place that exists, by name. A folder without files counts as missing; hidden files are ignored."""
    fingerprint_of = {name: _fingerprint(path) for name, path in places.items()}
    return {name: value for name, value in fingerprint_of.items() if value}


def changed(places: Places, recorded: Mapping[str, str]) -> list[Path]:
    """Returns the places that exist and whose fingerprint is not the recorded one."""
    return [places[name] for name, value in fingerprints(places).items() if recorded.get(name) != value]


def _fingerprint(path: Path) -> str:
    """Returns the fingerprint of a file or folder; empty if there is none, or if it cannot be read."""
    try:
        files = _files_of(path) if path.is_dir() else [("", path.stat())]
    except OSError:
        return ""
    if not files:
        return ""
    lines = [f"{name} {status.st_size} {status.st_mtime_ns}" for name, status in files]
    return hashlib.sha256("\n".join(sorted(lines)).encode(errors="surrogateescape")).hexdigest()


def _files_of(folder: Path) -> list[tuple[str, os.stat_result]]:
    with os.scandir(folder) as entries:
        return [(entry.name, entry.stat()) for entry in entries if not entry.name.startswith(".")]
