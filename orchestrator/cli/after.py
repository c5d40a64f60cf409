"""Commands for after a sweep: what failed and why, training again, an audit, a table for analysis, MLflow's UI."""

import os
import random
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from mopoe_core.errors import UserError
from mopoe_core.storage.files import AnyPath
from mopoe_core.terminal import complain, say
from orchestrator.cli.common import ScaleOption, SpecArgument, StorageOption, Typed, check_there, expanded, open_sweep, state_of
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec import sweep_spec as specs
from orchestrator.spec.trial import Trial, labels
from orchestrator.tracking.mlflow.artifact_location import follow_for_reading
from orchestrator.tracking.mlflow.ui import PORT

TrialOption = Annotated[list[str] | None, typer.Option("--trial", metavar="ID", help="A trial; may be said more than once.")]
FailedOption = Annotated[bool, typer.Option("--failed", help="Every failed trial.")]
DivergedOption = Annotated[bool, typer.Option("--diverged", help="Every diverged trial.")]
HereOption = Annotated[bool, typer.Option("--here", help="Train the one trial now, in this process; the ledger stays as it is.")]


def register(app: typer.Typer) -> None:
    """Make these commands of the application."""
    for command in (failures, rerun, audit, export, ui):
        app.command()(command)


def failures(file: SpecArgument, scale: ScaleOption = None, storage: StorageOption = None) -> None:
    """Group failed and diverged trials by cause, with what they share, and how to see one here. Creates nothing."""
    spec, folder = open_sweep(file, scale, storage)
    from orchestrator.analysis import failure_causes as causes
    from orchestrator.report.render.failure_lines import failure_lines

    ledger, every, typed = Ledger(folder), specs.trials(spec), Typed(file, scale, storage)
    states = dict(zip((t.id for t in every), ledger.each(lambda trial: state_of(trial, ledger), every), strict=True))
    groups = causes.find(every, states, ledger)
    counts = Counter(state.status for state in states.values())
    damaged = f", {counts['damaged']} damaged (`status --trials` says which)" if counts["damaged"] else ""
    ended = f"{counts['failed']} failed, {counts['diverged']} diverged{damaged}" if groups else f"nothing failed{damaged}"
    say(f"{spec.name}: {ended}, of {len(every)} trials")
    names = labels(specs.cells(spec))
    for line in failure_lines(groups, names, lambda trial: typed.command("rerun", "--trial", trial.id, "--here")):
        say(line)


def rerun(
    file: SpecArgument,
    scale: ScaleOption = None,
    storage: StorageOption = None,
    trial: TrialOption = None,
    failed: FailedOption = False,
    diverged: DivergedOption = False,
    here: HereOption = False,
) -> None:
    """Put trials back, so that the next `sweep` trains them from the start; with --here, train one now and change nothing.

    What is known of them is moved to `aside` in storage. Failed trials need this only to start over: `sweep` by itself tries them again
    from their last checkpoint.
    """
    spec, folder = open_sweep(file, scale, storage)
    check_there(file, folder)
    from orchestrator.driver import rerun as again

    every, typed = specs.trials(spec), Typed(file, scale, storage)
    chosen = again.named(trial or [], every)
    if here:
        _train_here(chosen, failed or diverged, spec, folder)
        return
    ledger = Ledger(folder)
    statuses = dict(zip(every, ledger.each(lambda t: state_of(t, ledger).status, every), strict=True))
    wanted = {status for status, said in (("failed", failed), ("diverged", diverged)) if said}
    if not chosen and not wanted:
        raise UserError("rerun: no trial is named; name some with --trial, --failed or --diverged (`failures` lists them)")
    ids = {t.id for t in chosen}
    chosen = [t for t in every if t.id in ids or statuses[t] in wanted]
    if not chosen:
        say(f"{spec.name}: no trial is {' or '.join(sorted(wanted))}; nothing was changed")
        return
    try:
        moved = again.put_back(chosen, ledger)
    except OSError as error:
        raise UserError(f"storage: {folder} cannot be changed ({error.strerror}); see that it can be written") from None
    for back in moved:
        where = "nothing was there of it" if back.aside is None else f"set aside as {back.aside}"
        say(f"{back.trial.id}  {back.trial.label}  {statuses[back.trial]}; {where}")
    say(f"to train {'it' if len(moved) == 1 else 'them'} from the start, now type  {typed.command('sweep')}")


def audit(
    file: SpecArgument,
    sample: Annotated[int, typer.Option("--sample", metavar="N", help="Completed trials to train again.")],
    seed: Annotated[int | None, typer.Option("--seed", metavar="K", help="Of the choice; a new one when left out.")] = None,
    scale: ScaleOption = None,
    storage: StorageOption = None,
) -> None:
    """Train some completed trials again, here, and compare with what is recorded. Exit 1 where one parts. The ledger stays as it is."""
    spec, folder = open_sweep(file, scale, storage)
    check_there(file, folder)
    from orchestrator.driver import audit as auditing

    ledger = Ledger(folder)
    drawn = random.randrange(2**31) if seed is None else seed
    chosen = auditing.choose(ledger.results_of(specs.trials(spec)), sample, drawn)
    minutes = sum(result.train_seconds + result.evaluate_seconds for result in chosen) / 60
    say(f"{spec.name}: {sample} of the completed trials, chosen by --seed {drawn}; took {minutes:.2g} minutes when recorded")
    names, holds = labels(specs.cells(spec)), True
    for recorded, verdict in auditing.run(chosen, spec, ledger):
        trial, holds = recorded.trial, holds and verdict.holds
        say(f"{trial.id}  {names[trial.cell.id]} seed={trial.seed}  {verdict.said}")
    if not holds:
        raise typer.Exit(1)


def export(
    file: SpecArgument,
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE.parquet", help="Beside the report when left out.")] = None,
    scale: ScaleOption = None,
    storage: StorageOption = None,
) -> None:
    """Write one tidy table, a row a trial and metric, as parquet."""
    spec, folder = open_sweep(file, scale, storage)
    check_there(file, folder)
    from orchestrator.report import export as exporting  # pandas

    ledger, every = Ledger(folder), specs.trials(spec)
    known = ledger.each(ledger.known, every)
    statuses = {t.id: one.state.status for t, one in zip(every, known, strict=True)}
    table = exporting.tidy(every, statuses, [one.result for one in known if one.result is not None])
    path = expanded("--to", to) if to else exporting.default_path(spec, folder)
    rows = exporting.write(table, path)
    say(f"{rows} rows of {len(every)} trials\ntable   {path}")


def ui(
    file: SpecArgument,
    port: Annotated[int, typer.Option("--port", metavar="P", help="On loopback.")] = PORT,
    scale: ScaleOption = None,
    storage: StorageOption = None,
) -> None:
    """Start MLflow's UI on the sweep's store, for this machine alone. Ctrl-C ends it."""
    spec, folder = open_sweep(file, scale, storage)
    from orchestrator.tracking.mlflow import ui as serving

    address = serving.address(port)
    from orchestrator.tracking.mlflow.projection import default_uri  # mlflow

    uri = default_uri(folder)
    serving.check_store(uri, Typed(file, scale, storage).command("sweep"))
    if hindrance := follow_for_reading(uri, folder):
        complain(f"warning: {hindrance}")
    say(f"{spec.name}: {address}  (Ctrl-C ends it)")
    serving.become(uri, port, os.environ)


def _train_here(chosen: list[Trial], others: bool, spec: specs.SweepSpec, folder: AnyPath) -> None:
    if len(chosen) != 1 or others:
        raise UserError("--here: trains one trial; name it with one --trial, without --failed or --diverged")
    from orchestrator.driver import rerun as again

    (trial,) = chosen
    say(f"{trial.id}  {trial.label}: in this process, in a temporary storage")
    result = again.here(trial, spec, folder)
    if result.status == "diverged":
        say(f"diverged at step {result.diverged_at_step}")
        return
    say("completed: " + ", ".join(f"{o.metric} {result.value(o.metric)!r}" for o in spec.objectives))
