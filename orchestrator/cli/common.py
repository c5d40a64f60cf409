"""What several commands need: arguments, opening a sweep file and its storage, commands on the same sweep, warnings."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from mopoe_core.errors import UserError
from mopoe_core.storage.folders import nearest_there
from mopoe_core.storage.paths import AnyPath, expand, storage_path
from mopoe_core.storage.remote_path import RemotePath
from mopoe_core.storage.uri_secrets import masked
from mopoe_core.terminal import complain
from orchestrator.cli.program import pasted
from orchestrator.errors import Mistake, SpecError
from orchestrator.ledger.layout import Layout
from orchestrator.ledger.proposals import resolve
from orchestrator.spec import sweep_file
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tracking import tracking_uri

SpecArgument = Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="The sweep file.")]
ScaleOption = Annotated[
    str | None, typer.Option("--scale", metavar="SCALE", help="paper, small or smoke, in place of the sizes in the file.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
StorageOption = Annotated[
    str | None, typer.Option("--storage", metavar="FOLDER", help="Folder or URI, in place of the file's `storage`.")
]


@dataclass(frozen=True)
class Typed:
    """How the user named a sweep, to name it so again in a command to paste."""

    file: Path
    scale: str | None
    storage: str | None

    def command(self, name: str, *more: str) -> str:
        """A command on the same sweep, without secrets."""
        options = [("--scale", self.scale), ("--storage", self.storage)]
        words = [word for option, value in options if value is not None for word in (option, value)]
        return pasted([name, str(self.file), *words, *more])


def open_sweep(file: Path, scale: str | None, storage: str | None) -> tuple[SweepSpec, AnyPath]:
    """The sweep, a search with the cells that it has found, and where its ledger is. Raises UserError where either cannot be had."""
    spec = sweep_file.load(file, scale)
    tracking_uri.named()
    try:
        folder = _folders(spec, storage)
        resolved = resolve(spec, folder)
        _check_warm_start(resolved, folder)
        return resolved, folder
    except SpecError as error:
        raise spec.pointed(error) from None


def _check_warm_start(spec: SweepSpec, folder: AnyPath) -> None:
    """Raise SpecError where a search that has not begun starts from a sweep that storage does not have."""
    for index, name in enumerate(spec.search.warm_start if spec.search and not spec.cells else ()):
        if not Layout(folder).sweep(name).record.exists():
            text = f"search.warm_start: {folder} has no sweep {name!r}; run it there first, or leave it out"
            raise SpecError(Mistake(text, ("search", "warm_start", index)))


def expanded(option: str, path: Path) -> Path:
    """A path that an option names, with `~` and variables replaced. Raises UserError where a variable is not set."""
    try:
        return Path(expand(str(path)))
    except ValueError as error:
        raise UserError(f"{option}: {str(path)!r} {error}") from None


def _folders(spec: SweepSpec, storage: str | None) -> AnyPath:
    """Where the ledger is. Raises UserError where it, or the folder of datasets, cannot be had: here, before anything is written."""
    mistakes: list[Mistake] = []
    try:
        _ = spec.resources.data_folder
    except SpecError as error:
        mistakes += error.mistakes
    try:
        folder = _storage_folder(spec, storage)
    except SpecError as error:
        raise SpecError(*mistakes, *error.mistakes) from None
    if mistakes:
        raise SpecError(*mistakes)
    return folder


def _storage_folder(spec: SweepSpec, storage: str | None) -> AnyPath:
    """Where the ledger is. Raises UserError where that is no place for one: SpecError where the file says so."""
    address, option = (spec.storage, "storage") if storage is None else (storage, "--storage")
    refuse: type[UserError] = SpecError if storage is None else UserError
    try:
        folder = storage_path(address)
    except (ValueError, RuntimeError) as error:
        raise refuse(f"{option}: {masked(address)!r} {error}") from None
    if isinstance(folder, RemotePath):
        try:
            folder.exists()
        except OSError as error:
            raise refuse(f"{option}: {folder} cannot be reached ({folder.without_secrets(error)})") from None
        return folder
    nearest = nearest_there(folder)
    if not nearest.is_dir():
        raise refuse(f"{option}: {nearest} is a file; name a folder")
    if "?" in str(folder) or "%" in str(folder):  # in SQLite's URI these are syntax: the database would be outside the folder
        raise refuse(f"{option}: {folder} has a '?' or '%', which MLflow's address cannot have; name another folder")
    return folder


def check_there(file: Path, folder: AnyPath) -> None:
    """Raise UserError where storage holds nothing yet."""
    if not folder.exists():
        raise UserError(f"storage: {folder} is not there; run `{pasted(['sweep', str(file)])}` first")


def warn(lines: Iterable[str]) -> None:
    """Say what is odd and may still be meant, before anything trains."""
    for line in lines:
        complain(f"warning: {line}")


def counted(counts: Counter[str]) -> str:
    """`3 completed, 1 failed`."""
    return ", ".join(f"{count} {name}" for name, count in counts.items())
