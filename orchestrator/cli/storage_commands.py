"""The commands about files on disk: `gc` and `data`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from mopoe_core.data.cards import DATASETS, find, is_own
from mopoe_core.data.own.user_code import permit
from mopoe_core.errors import UserError
from mopoe_core.spelling import choose
from mopoe_core.terminal import say
from orchestrator.cli import data_remarks
from orchestrator.cli.common import ScaleOption, SpecArgument, StorageOption, expanded, open_sweep, warn
from orchestrator.ledger.leases.command_lease import command_lease
from orchestrator.spec.trial import Trial


def gc(
    file: SpecArgument,
    scale: ScaleOption = None,
    storage: StorageOption = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete them; without this they are only listed.")] = False,
    accept_lost: Annotated[
        bool, typer.Option("--accept-lost", help="Let results whose checkpoint is lost count without it; nothing else is done.")
    ] = False,
) -> None:
    """List the checkpoints that no front of any sweep in storage has use for, and what killed processes left behind; or delete both."""
    if delete and accept_lost:
        raise UserError("--accept-lost: deletes nothing; leave --delete out, and type it in a second command")
    spec, folder = open_sweep(file, scale, storage)
    from orchestrator.driver import retention  # imports pandas

    if accept_lost:
        with command_lease(folder, "type this again") as lease:
            _tell_accepted(retention.accept_lost(spec, folder, lease))
        return
    surplus = retention.surplus(spec, folder)
    for trial in surplus.trials:
        say(f"{trial.id}  {trial.label}")
    for path in surplus.leftovers:
        say(f"leftover  {path}")
    sizes = f"{len(surplus.trials)} checkpoints ({surplus.megabytes:.1f} MB)"
    verb = "deleted" if delete else "can go; --delete deletes them"
    say(f"{sizes} and {len(surplus.leftovers)} leftovers of killed processes {verb}")
    if delete:
        with command_lease(folder, "type this again") as lease:
            kept = retention.delete(surplus, folder, lease)
        for trial in kept:
            say(f"{trial.id}  {trial.label}  has changed since then, or is being trained; its checkpoint stays")


def _tell_accepted(trials: Sequence[Trial]) -> None:
    for trial in trials:
        say(f"{trial.id}  {trial.label}")
    say(f"{len(trials)} results count without their checkpoints, which were lost")


def data(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Its name, or file.py:function for your own.")],
    source: Annotated[str, typer.Option("--source", metavar="SOURCE", help="original or embedded.")] = "original",
    folder: Annotated[Path, typer.Option("--data", metavar="FOLDER", help="Where datasets are kept.")] = Path("data"),
) -> None:
    """Fetch or build a dataset, check its counts and content, and show ten examples of it."""
    permit([dataset])
    try:
        card = find(dataset) or choose("dataset", dataset, DATASETS)
        source = choose("--source", "own" if is_own(dataset) else source, card.sources)
    except ValueError as error:
        raise UserError(str(error)) from None
    from orchestrator.cli import data_check  # imports torch

    warn(data_remarks.of_datasets([dataset]))
    checked = data_check.check(card, source, expanded("--data", folder))
    say("\n".join([f"{source} {dataset}", *(f"  {line}" for line in checked.lines)]))
    say(f"contact sheet  {checked.sheet}")
