"""Shared by several commands: arguments and options, opening a sweep file and its storage, commands to paste, warnings."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from mopoe_core.errors import UserError
from mopoe_core.storage.folders import nearest_existing
from mopoe_core.storage.paths import URI, AnyPath, local_folder, storage_path
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
    """The sweep file and options that the user typed, for commands on the same sweep that are printed to be pasted."""

    file: Path
    scale: str | None
    storage: str | None

    def command(self, name: str, *more: str) -> str:
        """Returns the command `name` on the same sweep, with `more` arguments and without secrets."""
        options: list[str] = []
        for option, value in (("--scale", self.scale), ("--storage", self.storage)):
            if value is not None:
                options += [option, value]
        return pasted([name, str(self.file), *options, *more])


def open_sweep(file: Path, scale: str | None, storage: str | None) -> tuple[SweepSpec, AnyPath]:
    """Returns the sweep and the folder of its ledger; a search has the cells that it has proposed.

    Raises UserError if the file is wrong, or the folder cannot be used.
    """
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
    """Raise SpecError if a search that has not begun names a sweep in `warm_start` that storage does not have."""
    if spec.search is None or spec.cells:
        return
    for index, name in enumerate(spec.search.warm_start):
        if not Layout(folder).sweep(name).record.exists():
            text = f"search.warm_start: {folder} has no sweep {name!r}; run it there first, or leave it out"
            raise SpecError(Mistake(text, ("search", "warm_start", index)))


def expanded(option: str, path: Path) -> Path:
    """Returns a path that an option names, with `~` and variables replaced. Raises UserError if a variable is not set, or it is a URI."""
    text = str(path)
    if uri := URI.match(text):
        text = f"{uri[0]}/{text[uri.end() :]}"  # `Path` has made one slash of two
    try:
        return local_folder(text)
    except ValueError as error:
        raise UserError(f"{option}: {masked(text)!r} {error}") from None


def _folders(spec: SweepSpec, storage: str | None) -> AnyPath:
    """Returns the folder of the ledger. Raises UserError if it or the folder of datasets cannot be used, before anything is written."""
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
    """Returns the folder of the ledger. Raises UserError if it cannot be used: SpecError if the sweep file names it."""
    address, option = (spec.storage, "storage") if storage is None else (storage, "--storage")
    error_type: type[UserError] = SpecError if storage is None else UserError
    try:
        folder = storage_path(address)
    except (ValueError, RuntimeError) as error:
        raise error_type(f"{option}: {masked(address)!r} {error}") from None
    if isinstance(folder, RemotePath):
        try:
            folder.exists()
        except OSError as error:
            raise error_type(f"{option}: {folder} cannot be reached ({folder.without_secrets(error)})") from None
        return folder
    nearest = nearest_existing(folder)
    if not nearest.is_dir():
        raise error_type(f"{option}: {nearest} is a file; name a folder")
    if "?" in str(folder) or "%" in str(folder):  # these are syntax in SQLite's URI: the database would be outside the folder
        raise error_type(f"{option}: {folder} has a '?' or '%', which MLflow's address cannot have; name another folder")
    return folder


def check_there(typed: Typed, folder: AnyPath) -> None:
    """Raise UserError if the storage folder does not exist yet."""
    if not folder.exists():
        option = "storage" if typed.storage is None else "--storage"
        raise UserError(f"{option}: {folder} is not there; run `{typed.command('sweep')}` first")


def warn(lines: Iterable[str]) -> None:
    """Print warnings about what is unusual but allowed, before anything trains."""
    for line in lines:
        complain(f"warning: {line}")


def counted(counts: Counter[str]) -> str:
    """Returns counts as text: `3 completed, 1 failed`."""
    return ", ".join(f"{count} {name}" for name, count in counts.items())
