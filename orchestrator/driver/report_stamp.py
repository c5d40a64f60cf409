"""The stamp of a report: hashes of its inputs, its files, and what terminal and MLflow show of it.

    <report>/.stamp.json

If inputs and files are unchanged, the report is not drawn again. A file counts as unchanged if its size and its modification time are the
same, because a table of thousands of trials takes long to read.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import mopoe_core
import orchestrator
from mopoe_core.storage.file_facts import size_if_there
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.remote_path import RemotePath
from orchestrator.errors import DamagedError
from orchestrator.ledger import records
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import Identity
from orchestrator.tracking.ledger_marks import digest

STAMP = ".stamp.json"
LIBRARIES = ("jinja2", "matplotlib", "moocore", "numpy", "pandas", "pyarrow", "scipy")
"""Their versions may change a figure or a table."""


@dataclass(frozen=True)
class DrawnReport:
    """What terminal and MLflow show of a report, whether it was drawn now or by an earlier command."""

    page: Path
    summary: str
    """The table of cells for a terminal."""
    search_line: str
    """A summary of a search in one line; empty for any other sweep."""
    figures: Sequence[tuple[str, Path]]
    """For each group of cells the label and the figure of its front. The label is empty if there is only one group."""
    files: Sequence[Path]
    """The files that MLflow gets in addition to the page."""
    parameters: Mapping[str, str]
    """The parameters of the sweep's run in MLflow."""
    cells: Sequence[str]
    """Ids of the cells that have ended, in the order of the sweep or search."""
    courses: Mapping[str, Sequence[float]]
    """The `hypervolume`, or the best value of each objective, after each of `cells`. NaN if there is no value yet."""
    counts: Mapping[str, int]
    """Number of cells by outcome."""


def fingerprint(paths: Iterable[AnyPath]) -> list[tuple[str, int, int]]:
    """Returns name, size and modification time of each file; for a remote file only the name, because the rest takes a request."""
    return sorted(
        (path.name, 0, 0) if isinstance(path, RemotePath) else (path.name, path.stat().st_size, path.stat().st_mtime_ns)
        for path in paths
    )


@cache
def code() -> str:
    """Returns a hash of this program, its templates, the published tables, and the versions of the libraries that draw."""
    folders = [Path(str(package.__file__)).parent for package in (mopoe_core, orchestrator)]
    files = sorted(path for folder in folders for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    contents = [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]
    return digest(contents, [_version(library) for library in LIBRARIES])


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return ""


def write(folder: Path, sweep: str, inputs: Mapping[str, str], drawn: DrawnReport) -> None:
    """Write the stamp of a report. The folder must have all its other files already."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    content = {"inputs": dict(inputs), "files": _sizes_and_times(folder, names), "drawn": _as_record(drawn, folder)}
    records.write(folder / STAMP, Identity("report", sweep=sweep), content)


def read(folder: Path, sweep: str, inputs: Mapping[str, str], ledger: Ledger) -> DrawnReport | None:
    """Returns what the stamp says of the report in `folder`; None if the report must be drawn again.

    That is so if its inputs have changed, or if one of its files was changed or removed, here or in remote storage.
    """
    with suppress(DamagedError, OSError, KeyError, TypeError, ValueError):
        content = records.read(folder / STAMP, Identity("report", sweep=sweep))
        files = content["files"]
        if content["inputs"] == inputs and files == _sizes_and_times(folder, files) and _is_uploaded(files, sweep, ledger):
            return _from_record(content["drawn"], folder)
    return None


def _sizes_and_times(folder: Path, names: Iterable[str]) -> dict[str, list[int]]:
    """Returns size and modification time of files by name. Raises OSError if a file is missing, ValueError as `_below` does."""
    stats = {name: _below(folder, name).stat() for name in names}
    return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}


def _below(folder: Path, name: str) -> Path:
    """Returns the file with a name. Raises ValueError if it is outside of the folder, also through a link.

    Others may write to storage, and all files that a stamp names are sent to MLflow.
    """
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{path}: is not in {folder}")
    return path


def _is_uploaded(files: Mapping[str, Sequence[int]], sweep: str, ledger: Ledger) -> bool:
    """Returns whether remote storage has the report's files too; true if storage is local."""
    if not isinstance(ledger.storage, RemotePath):
        return True
    remote_folder = ledger.layout.sweep(sweep).report
    sizes = ledger.each(lambda name: size_if_there(remote_folder / name), files)
    return sizes == [size or None for size, _ in files.values()]


def _as_record(drawn: DrawnReport, folder: Path) -> dict[str, Any]:
    def name(path: Path) -> str:
        return path.relative_to(folder).as_posix()

    return {
        **vars(drawn),
        "page": name(drawn.page),
        "figures": [(label, name(path)) for label, path in drawn.figures],
        "files": [name(path) for path in drawn.files],
        "courses": {course: list(map(float, values)) for course, values in drawn.courses.items()},
        "counts": dict(drawn.counts),
    }


def _from_record(record: dict[str, Any], folder: Path) -> DrawnReport:
    drawn = DrawnReport(**record)
    return replace(
        drawn,
        page=_below(folder, record["page"]),
        figures=[(label, _below(folder, name)) for label, name in record["figures"]],
        files=[_below(folder, name) for name in record["files"]],
    )
