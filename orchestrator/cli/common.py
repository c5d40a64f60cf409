"""What the commands share that take a sweep file: their arguments, opening file and storage, and commands to paste."""

import os
import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from mopoe_core.errors import UserError
from mopoe_core.storage.files import AnyPath, expand, place
from mopoe_core.storage.remote_path import RemotePath, masked
from orchestrator.errors import DamagedError, Mistake, SpecError
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.proposals import resolve
from orchestrator.ledger.state import State
from orchestrator.spec import sweep_file
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial
from orchestrator.tracking import tracking_uri

SpecArgument = Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="The sweep file.")]
ScaleOption = Annotated[
    str | None, typer.Option("--scale", metavar="SCALE", help="paper, small or smoke, in place of the sizes in the file.")
]
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
        """A command on the same sweep; of secrets without."""
        options = [("--scale", self.scale), ("--storage", self.storage)]
        said = [word for option, value in options if value is not None for word in (option, value)]
        return pasted([name, str(self.file), *said, *more])


def pasted(words: list[str]) -> str:
    """A command of ours, to be pasted into a shell; of secrets without."""
    return f"python -m orchestrator {shlex.join(map(_masked_word, words))}"


def _masked_word(word: str) -> str:
    option, mark, value = word.partition("=")
    return f"{option}={masked(value)}" if mark and option.startswith("--") else masked(word)


def open_sweep(file: Path, scale: str | None, storage: str | None) -> tuple[SweepSpec, AnyPath]:
    """The sweep, a search with the cells that it has found, and where its ledger is. Raises UserError where either cannot be had."""
    spec = sweep_file.load(file, scale)
    tracking_uri.named()
    try:
        folder = _folders(spec, storage)
        found = resolve(spec, folder)
        _check_warm_start(found, folder)
        return found, folder
    except SpecError as error:
        raise spec.pointed(error) from None


def _check_warm_start(spec: SweepSpec, folder: AnyPath) -> None:
    """Raise SpecError where a search that has not begun starts from a sweep that storage does not have."""
    for index, name in enumerate(spec.search.warm_start if spec.search and not spec.cells else ()):
        if not (folder / "sweeps" / name / "sweep.json").exists():
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
    wrong: list[Mistake] = []
    try:
        _ = spec.resources.data_folder
    except SpecError as error:
        wrong += error.mistakes
    try:
        folder = _placed(spec, storage)
    except SpecError as error:
        raise SpecError(*wrong, *error.mistakes) from None
    if wrong:
        raise SpecError(*wrong)
    return folder


def _placed(spec: SweepSpec, storage: str | None) -> AnyPath:
    """Where the ledger is. Raises UserError where that is no place for one: SpecError where the file says so."""
    said, option = (spec.storage, "storage") if storage is None else (storage, "--storage")
    refuse: type[UserError] = SpecError if storage is None else UserError
    try:
        folder = place(said)
    except (ValueError, RuntimeError) as error:
        raise refuse(f"{option}: {masked(said)!r} {error}") from None
    if isinstance(folder, RemotePath):
        try:
            folder.exists()
        except OSError as error:
            raise refuse(f"{option}: {folder} cannot be reached ({folder.without_secrets(error)})") from None
        return folder
    nearest = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not nearest.is_dir():
        raise refuse(f"{option}: {nearest} is a file; name a folder")
    if "?" in str(folder) or "%" in str(folder):  # of SQLite's URI these are syntax: the database would be outside the folder
        raise refuse(f"{option}: {folder} has a '?' or '%', which MLflow's address cannot have; name another folder")
    return folder


def check_there(file: Path, folder: AnyPath) -> None:
    """Raise UserError where storage holds nothing yet."""
    if not folder.exists():
        raise UserError(f"storage: {folder} is not there; run `python -m orchestrator sweep {file}` first")


def counted(counts: Counter[str]) -> str:
    """`3 completed, 1 failed`."""
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def state_of(trial: Trial, ledger: Ledger) -> State:
    """A trial's state; of one with a damaged record or a lost checkpoint, what is wrong with it."""
    try:
        state = ledger.state(trial)
    except DamagedError as error:
        return State("damaged", 0, False, str(error))
    return State("damaged", state.attempts, state.has_checkpoint, state.lost) if state.lost else state
