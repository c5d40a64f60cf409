"""The command that writes a first sweep file: `init`."""

import re
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from mopoe_core.errors import UserError
from mopoe_core.storage.whole_files import create
from mopoe_core.terminal import say
from orchestrator.cli.program import pasted

COHERENCE = {"mnist_svhn_text": "coherence/joint", "polymnist": "coherence/joint", "celeba": "coherence/text/image"}
"""The metric of coherence that a first sweep on a dataset looks at."""
OF_OWN_DATA = "coherence/given_1"
OWN_FUNCTION = "dataset"


class Purpose(StrEnum):
    """What a sweep file is for."""

    grid = "grid"
    search = "search"
    own = "own"


class FirstDataset(StrEnum):
    """A dataset that a first sweep may be on."""

    mnist_svhn_text = "mnist_svhn_text"
    polymnist = "polymnist"
    celeba = "celeba"


def init(
    file: Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="The file to write; it must not exist yet.")],
    purpose: Annotated[
        Purpose, typer.Option(help="grid: all combinations; search: Optuna proposes; own: data of your own.")
    ] = Purpose.grid,
    dataset: Annotated[FirstDataset, typer.Option(help="The dataset; not with `own`.")] = FirstDataset.mnist_svhn_text,
) -> None:
    """Write a commented sweep file to begin with, and for data of your own a Python file beside it."""
    name = _sweep_name(file)
    if purpose is Purpose.own:
        data = file.with_name(f"{name}_data.py")
        written = {data: _template("own_data.py"), file: _filled("own", name, f"{data}:{OWN_FUNCTION}", OF_OWN_DATA)}
    else:
        written = {file: _filled(purpose.value, name, dataset.value, COHERENCE[dataset.value])}
    _write(written)
    paths = "\n".join(f"wrote   {path}" for path in written)
    say(f"{paths}\nnext    {pasted(['plan', str(file)])}\nthen    {pasted(['sweep', str(file)])}")


def _sweep_name(file: Path) -> str:
    """Returns the name of the sweep, which is that of its file. Raises UserError where that is no name."""
    if file.suffix not in (".yaml", ".yml"):
        raise UserError(f"SWEEP.yaml: '{file}' must end in .yaml or .yml")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", file.stem):
        raise UserError(f"SWEEP.yaml: '{file.stem}' must begin with a letter and have letters, digits, _ and - only")
    return file.stem.replace("-", "_")


def _write(written: dict[Path, str]) -> None:
    """Writes the files, all or none. Raises UserError where one is there already or the folder is not."""
    for path in written:
        if path.exists():
            raise UserError(f"SWEEP.yaml: {path} is there already; name another file, or remove it")
        if not path.parent.is_dir():
            raise UserError(f"SWEEP.yaml: {path.parent} is no folder; make it first")
    for path, text in written.items():
        create(path, text.encode())


def _filled(purpose: str, name: str, dataset: str, coherence: str) -> str:
    text = _template(f"{purpose}.yaml")
    for mark, value in {"@NAME@": name, "@DATASET@": dataset, "@COHERENCE@": coherence}.items():
        text = text.replace(mark, value)
    return text


def _template(name: str) -> str:
    return files("orchestrator.cli").joinpath("templates", name).read_text(encoding="utf-8")
