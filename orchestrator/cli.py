"""The command line. Imports nothing heavy before a command needs it, so that `--help` and `plan` answer at once."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from mopoe_core.errors import UserError
from orchestrator import plan as planning
from orchestrator import spec as specs
from orchestrator.ledger import Ledger
from orchestrator.trial import Trial

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Sweeps of multimodal VAEs on Ray: seeds x beta x model x dataset, with MLflow and fronts of coherence against likelihood.",
)

SpecArgument = Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="The sweep file.")]
StorageOption = Annotated[str | None, typer.Option("--storage", metavar="FOLDER", help="In place of the file's `storage`.")]


@app.command()
def sweep(file: SpecArgument, storage: StorageOption = None) -> None:
    """Run what is missing, then write MLflow and the report. Typing it again is the resume."""
    spec, folder = _open(file, storage)
    _say(_plan_lines(spec, folder))
    from orchestrator import sweep as driver  # imports ray, mlflow and torch

    try:
        ended = driver.run(spec, file.read_text(encoding="utf-8"), folder, _command())
    except KeyboardInterrupt:  # before or after the trials; while they run, Ray ends them in order and `run` returns
        print(f"interrupted; `{_command()}` goes on", file=sys.stderr)
        raise typer.Exit(130) from None
    counts = Counter(ended.statuses.values())
    print(f"\n{spec.name}: {_counted(counts)} of {len(ended.statuses)} trials; {ended.ran} ran now, {ended.seconds:.0f} s in all")
    print(ended.paths.summary)
    print(f"report  {ended.paths.page}\nfigure  {ended.paths.figure}\nMLflow  {ended.tracking_uri}")
    if ended.tracking_uri.startswith("sqlite:"):
        print(f"compare {_ui_command(ended.tracking_uri)}")
    for problem in ended.tracking_problems[:3]:
        print(f"MLflow: {problem}; the next sweep command writes it", file=sys.stderr)
    unfinished = len(ended.statuses) - counts["completed"] - counts["diverged"]
    if unfinished:
        print(f"{unfinished} trials are not finished; `{_command()}` goes on with them", file=sys.stderr)
        raise typer.Exit(1)


@app.command()
def plan(file: SpecArgument, storage: StorageOption = None) -> None:
    """Say what is done, to resume and new, and what it would cost. Creates nothing."""
    spec, folder = _open(file, storage)
    _say(_plan_lines(spec, folder, list_cells=True))


@app.command()
def status(file: SpecArgument, storage: StorageOption = None) -> None:
    """List the sweep's trials and their states. Creates nothing."""
    spec, folder = _open(file, storage)
    ledger = Ledger(folder)
    states = [(trial, ledger.state(trial)) for trial in specs.trials(spec)]
    width = max(len(trial.label) for trial, _ in states)
    for trial, state in states:
        more = f"  {state.error}" if state.error else ""
        print(f"{trial.id}  {trial.label:<{width}}  {state.status:<9}  {_attempts(state.attempts)}{more}".rstrip())
    print(f"{spec.name}: {_counted(Counter(state.status for _, state in states))} of {len(states)} trials")


@app.command()
def report(file: SpecArgument, storage: StorageOption = None) -> None:
    """Write figure, tables and page from what the ledger holds."""
    spec, folder = _open(file, storage)
    if not Ledger(folder).storage.exists():
        raise UserError(f"storage: {folder} is not there; run `python -m orchestrator sweep {file}` first")
    from orchestrator import sweep as driver

    paths = driver.write_report(spec, folder, _command())
    print(paths.summary)
    print(f"report  {paths.page}\nfigure  {paths.figure}")


def main() -> None:
    """Entry point: a user error is one line on standard error and exit code 2."""
    _run(app)


def _run(command: Callable[[], None]) -> None:
    try:
        command()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _open(file: Path, storage: str | None) -> tuple[specs.SweepSpec, Path]:
    spec = specs.load(file)
    folder = Path(storage or spec.storage)
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise UserError(f"storage: {nearest} is a file; name a folder")
    return spec, folder


def _plan_lines(spec: specs.SweepSpec, folder: Path, list_cells: bool = False) -> list[str]:
    trials = specs.trials(spec)
    made = planning.make(trials, Ledger(folder))
    cells = len(trials) // len(spec.seed_list)
    lines = [f"{spec.name}: {len(trials)} trials = {cells} cells x {len(spec.seed_list)} seeds"]
    for word, group in (("done", made.done), ("resume", made.resume), ("new", made.fresh)):
        lines.append(f"  {word:<6}  {len(group):>4}")
        lines += [f"            {line}" for line in _by_cell(group)] if list_cells else []
    return [*lines, _cost(made, spec)] if made.to_run else [*lines, "  nothing to run"]


def _by_cell(trials: Sequence[Trial]) -> list[str]:
    """A line a cell with the seeds that are among `trials`."""
    seeds: dict[str, list[int]] = {}
    for trial in trials:
        seeds.setdefault(trial.cell.label, []).append(trial.seed)
    return [f"{label}: seed{'' if len(found) == 1 else 's'} {', '.join(map(str, found))}" for label, found in seeds.items()]


def _cost(made: planning.Plan, spec: specs.SweepSpec) -> str:
    hours = made.estimate.trial_hours
    wall = planning.wall_hours(made, spec.resources, os.cpu_count() or 1)
    known = len(made.to_run) - made.estimate.guessed
    basis = f"from past trials for {known}" if known else ""
    guess = (
        f"guessed for {made.estimate.guessed}: no past trial of that dataset, networks and model" if made.estimate.guessed else ""
    )
    return f"  about {hours:.2g} trial hours, {wall:.2g} hours on this machine ({'; '.join(part for part in (basis, guess) if part)})"


def _say(lines: list[str]) -> None:
    print("\n".join(lines), flush=True)


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _attempts(count: int) -> str:
    return f"{count} attempt{'' if count == 1 else 's'}"


def _ui_command(uri: str) -> str:
    """What opens the MLflow UI on loopback, with the mlflow of this environment and without its five helper processes."""
    mlflow = os.path.relpath(Path(sys.executable).with_name("mlflow"))
    return f"MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false {mlflow} ui --workers 1 --backend-store-uri {uri}"


def _command() -> str:
    return " ".join(["python -m orchestrator", *sys.argv[1:]])
