"""The stamp of a report: what the report was made from, which files it has, and what other steps need to know of it.

    <report>/.stamp.json

While the inputs are the same and the files are as they were written, the report need not be drawn again. A file counts as unchanged while
its size and its time of change are the same: a table of thousands of trials takes long to read.
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
    """What the terminal and MLflow are told of a report, whether it was drawn now or by an earlier command."""

    page: Path
    summary: str
    """The table of cells for a terminal."""
    search_line: str
    """A search in one line; empty for any other sweep."""
    figures: Sequence[tuple[str, Path]]
    """The label of each group's front, which is empty where there is one group, and its figure."""
    files: Sequence[Path]
    """What goes to MLflow beside the page."""
    parameters: Mapping[str, str]
    cells: Sequence[str]
    """Ids of the cells that have ended, in their order."""
    courses: Mapping[str, Sequence[float]]
    """What was reached after each of these cells: the `hypervolume`, or the best of each objective. NaN is nothing yet."""
    counts: Mapping[str, int]
    """Cells by what came of them."""


def fingerprint(paths: Iterable[AnyPath]) -> list[tuple[str, int, int]]:
    """Name, size and time of change of each file; of a remote one, which each would take a request, the name alone."""
    return sorted(
        (path.name, 0, 0) if isinstance(path, RemotePath) else (path.name, path.stat().st_size, path.stat().st_mtime_ns)
        for path in paths
    )


@cache
def code() -> str:
    """A hash of the program, with its templates and the published tables, and of the versions of the libraries that draw."""
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
    """Put the stamp into a report's folder, which has all its other files already."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    content = {"inputs": dict(inputs), "files": _sizes_and_times(folder, names), "drawn": _as_record(drawn, folder)}
    records.write(folder / STAMP, Identity("report", sweep=sweep), content)


def read(folder: Path, sweep: str, inputs: Mapping[str, str], ledger: Ledger) -> DrawnReport | None:
    """What is known of the report in `folder`; None where it has to be drawn: something in it was made from other inputs, or a file of it
    was changed or removed, in remote storage too.
    """
    with suppress(DamagedError, OSError, KeyError, TypeError, ValueError):
        content = records.read(folder / STAMP, Identity("report", sweep=sweep))
        files = content["files"]
        if content["inputs"] == inputs and files == _sizes_and_times(folder, files) and _is_uploaded(files, sweep, ledger):
            return _from_record(content["drawn"], folder)
    return None


def _sizes_and_times(folder: Path, names: Iterable[str]) -> dict[str, list[int]]:
    """Size and time of change of files by their names. Raises OSError where one is not there, ValueError as `_below` does."""
    stats = {name: _below(folder, name).stat() for name in names}
    return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}


def _below(folder: Path, name: str) -> Path:
    """The file of that name. Raises ValueError where it is outside of the folder, also by a link: others may write to storage, and what a
    report has goes to MLflow.
    """
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{path}: is not in {folder}")
    return path


def _is_uploaded(files: Mapping[str, Sequence[int]], sweep: str, ledger: Ledger) -> bool:
    """Whether remote storage has the report too; true where storage is a folder."""
    if not isinstance(ledger.storage, RemotePath):
        return True
    there = ledger.layout.sweep(sweep).report
    sizes = ledger.each(lambda name: size_if_there(there / name), files)
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
