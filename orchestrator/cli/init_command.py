"""The command that writes a first sweep file: `init`."""

import math
import re
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer
import yaml

from mopoe_core.errors import UserError
from mopoe_core.storage.whole_files import create
from mopoe_core.terminal import say
from orchestrator.cli.common import expanded
from orchestrator.cli.program import pasted
from orchestrator.spec.fields import NAME

COHERENCE = {"mnist_svhn_text": "coherence/joint", "polymnist": "coherence/joint", "celeba": "coherence/text/image"}
"""The coherence metric that is an objective of a first sweep, by dataset."""
OF_OWN_DATA = "coherence/given_1"
"""The same for a user's own dataset."""
OWN_FUNCTION = "dataset"
"""The function in the template of a user's own dataset."""


class Purpose(StrEnum):
    """The purpose of a sweep file."""

    grid = "grid"
    search = "search"
    own = "own"


class FirstDataset(StrEnum):
    """A dataset that `init` offers."""

    mnist_svhn_text = "mnist_svhn_text"
    polymnist = "polymnist"
    celeba = "celeba"


def init(
    file: Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="The file to write; it must not exist yet.")],
    purpose: Annotated[
        Purpose, typer.Option(help="grid: all combinations; search: Optuna proposes; own: data of your own.")
    ] = Purpose.grid,
    dataset: Annotated[
        FirstDataset | None, typer.Option(help="The dataset, mnist_svhn_text when left out; not with `own`.")
    ] = None,
) -> None:
    """Write a commented sweep file to begin with, and for data of your own a Python file beside it."""
    file = expanded("SWEEP.yaml", file)
    name = _sweep_name(file)
    if purpose is Purpose.own:
        if dataset is not None:
            raise UserError(
                f"--dataset: {dataset.value} is not for --purpose own, whose data are your own; leave out one of them"
            )
        data = file.with_name(f"{name}_data.py")
        texts = {data: _template("own_data.py"), file: _filled("own", name, f"{data}:{OWN_FUNCTION}", OF_OWN_DATA)}
    else:
        offered = (dataset or FirstDataset.mnist_svhn_text).value
        texts = {file: _filled(purpose.value, name, offered, COHERENCE[offered])}
    _write(texts)
    paths = "\n".join(f"wrote   {path}" for path in texts)
    say(f"{paths}\nnext    {pasted(['plan', str(file)])}\nthen    {pasted(['sweep', str(file)])}")


def _sweep_name(file: Path) -> str:
    """Returns the sweep's name, which is the file's name without its ending. Raises UserError if the file's name cannot be used."""
    if file.suffix not in (".yaml", ".yml"):
        raise UserError(f"SWEEP.yaml: '{file}' must end in .yaml or .yml")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", file.stem) or not re.match(NAME, file.stem):
        raise UserError(f"SWEEP.yaml: '{file.stem}' must begin with a letter and have letters, digits, _ and - only, at most 64")
    return file.stem.replace("-", "_")


def _write(texts: dict[Path, str]) -> None:
    """Write texts to files, by path. Raises UserError before any is written if a file exists already or a folder does not."""
    for path in texts:
        if path.exists():
            raise UserError(f"SWEEP.yaml: {path} is there already; name another file, or remove it")
        if not path.parent.is_dir():
            raise UserError(f"SWEEP.yaml: {path.parent} is no folder; make it first")
    for path, text in texts.items():
        create(path, text.encode())


def _filled(purpose: str, name: str, dataset: str, coherence: str) -> str:
    """Returns the template of a sweep file with its placeholders replaced."""
    text = _template(f"{purpose}.yaml")
    for placeholder, value in {"@NAME@": name, "@DATASET@": dataset, "@COHERENCE@": coherence}.items():
        text = text.replace(placeholder, _in_yaml(value))
    return text


def _in_yaml(text: str) -> str:
    """Returns a text as YAML writes it: in quotes if it would be read as something else without them."""
    return yaml.safe_dump([text], width=math.inf, allow_unicode=True).removeprefix("- ").rstrip("\n")


def _template(name: str) -> str:
    return files("orchestrator.cli").joinpath("templates", name).read_text(encoding="utf-8")
