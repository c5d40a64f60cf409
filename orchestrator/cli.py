"""The command line. Imports nothing heavy before a command needs it, so that `--help` and `plan` answer at once."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from mopoe_core.catalogue import DATASETS, find, is_own
from mopoe_core.config import choose
from mopoe_core.errors import UserError
from orchestrator import plan as planning
from orchestrator import spec as specs
from orchestrator.ledger import Ledger
from orchestrator.trial import Trial, labels

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Sweeps of multimodal VAEs on Ray: seeds x beta x model x dataset, with MLflow and fronts of coherence against likelihood.",
)

SpecArgument = Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="The sweep file.")]
ScaleOption = Annotated[
    str | None, typer.Option("--scale", metavar="SCALE", help="paper, small or smoke, in place of the sizes in the file.")
]
AgainstOption = Annotated[bool, typer.Option("--against-paper", help="Put the published numbers beside the sweep's.")]
StorageOption = Annotated[str | None, typer.Option("--storage", metavar="FOLDER", help="In place of the file's `storage`.")]


@app.command()
def sweep(file: SpecArgument, scale: ScaleOption = None, storage: StorageOption = None) -> None:
    """Run what is missing, then write MLflow and the report. Typing it again is the resume."""
    spec, folder = _open(file, scale, storage)
    _check_cpus(spec)
    _say(_plan_lines(spec, folder))
    _make(folder)
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
def plan(file: SpecArgument, scale: ScaleOption = None, storage: StorageOption = None) -> None:
    """Say what is done, to resume and new, and what it would cost. Creates nothing."""
    spec, folder = _open(file, scale, storage)
    _say(_plan_lines(spec, folder, list_cells=True))


@app.command()
def status(file: SpecArgument, scale: ScaleOption = None, storage: StorageOption = None) -> None:
    """List the sweep's trials and their states. Creates nothing."""
    spec, folder = _open(file, scale, storage)
    ledger = Ledger(folder)
    states = [(trial, ledger.state(trial)) for trial in specs.trials(spec)]
    names = labels(specs.cells(spec))
    width = max(len(f"{names[trial.cell.id]} seed={trial.seed}") for trial, _ in states)
    for trial, state in states:
        more, label = f"  {state.error}" if state.error else "", f"{names[trial.cell.id]} seed={trial.seed}"
        print(f"{trial.id}  {label:<{width}}  {state.status:<9}  {_attempts(state.attempts)}{more}".rstrip())
    print(f"{spec.name}: {_counted(Counter(state.status for _, state in states))} of {len(states)} trials")


@app.command()
def report(
    file: SpecArgument, scale: ScaleOption = None, storage: StorageOption = None, against_paper: AgainstOption = False
) -> None:
    """Write figure, tables and page from what the ledger holds."""
    spec, folder = _open(file, scale, storage)
    if not Ledger(folder).storage.exists():
        raise UserError(f"storage: {folder} is not there; run `python -m orchestrator sweep {file}` first")
    from orchestrator import against
    from orchestrator import sweep as driver

    paths = driver.write_report(spec, folder, _command(), against_paper)
    print(paths.summary)
    for comparison in paths.paper.comparisons:
        print(against.markdown(comparison))
    print(f"report  {paths.page}\nfigure  {paths.figure}")


@app.command()
def data(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Its name, or file.py:function for your own.")],
    source: Annotated[str, typer.Option("--source", metavar="SOURCE", help="original or embedded.")] = "original",
    folder: Annotated[Path, typer.Option("--data", metavar="FOLDER", help="Where datasets are kept.")] = Path("data"),
) -> None:
    """Fetch or build a dataset, check its counts and content, and show ten examples of it."""
    own = is_own(dataset)
    try:
        card = find(dataset) or choose("dataset", dataset, DATASETS)
        source = choose("--source", "own" if own else source, card.sources)
    except ValueError as error:
        raise UserError(str(error)) from None
    from orchestrator import data as checking  # imports torch

    checked = checking.check(card, source, folder.expanduser())
    print("\n".join([f"{source} {dataset}", *(f"  {line}" for line in checked.lines)]))
    print(f"contact sheet  {checked.sheet}")


def main() -> None:
    """Entry point: a user error is one line on standard error and exit code 2."""
    _run(app)


def _run(command: Callable[[], None]) -> None:
    try:
        command()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _open(file: Path, scale: str | None, storage: str | None) -> tuple[specs.SweepSpec, Path]:
    spec = specs.load(file, scale)
    try:
        folder = Path(spec.storage if storage is None else specs.local_folder(storage)).expanduser().absolute()
    except (ValueError, RuntimeError) as error:
        raise UserError(f"--storage: {storage!r} {error}") from None
    nearest = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not nearest.is_dir():
        raise UserError(f"storage: {nearest} is a file; name a folder")
    return spec, folder


def _check_cpus(spec: specs.SweepSpec) -> None:
    """Refuse here what a local Ray would refuse later; a cluster knows its own nodes."""
    most = os.cpu_count() or 1
    if "RAY_ADDRESS" not in os.environ and spec.resources.cpu > most:
        raise UserError(f"resources.cpu: {spec.resources.cpu} is more than this machine has ({most}); lower it")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK | os.X_OK)
    except OSError as error:
        raise UserError(f"storage: {folder} cannot be made: {error.strerror}; name another folder") from None
    if not writable:
        raise UserError(f"storage: {folder} cannot be written; name another folder")


def _plan_lines(spec: specs.SweepSpec, folder: Path, list_cells: bool = False) -> list[str]:
    trials = specs.trials(spec)
    made = planning.make(trials, Ledger(folder))
    names = labels(specs.cells(spec))
    lines = [f"{spec.name}: {len(trials)} trials = {len(names)} cells x {len(spec.seed_list)} seeds"]
    for word, group in (("done", made.done), ("resume", made.resume), ("new", made.fresh)):
        lines.append(f"  {word:<6}  {len(group):>4}")
        lines += [f"            {line}" for line in _by_cell(group, names)] if list_cells else []
    return [*lines, _cost(made, spec)] if made.to_run else [*lines, "  nothing to run"]


def _by_cell(trials: Sequence[Trial], names: dict[str, str]) -> list[str]:
    """A line a cell with the seeds that are among `trials`; `names` gives each cell's label by its id."""
    seeds: dict[str, list[int]] = {}
    for trial in trials:
        seeds.setdefault(trial.cell.id, []).append(trial.seed)
    return [f"{names[key]}: seed{'' if len(found) == 1 else 's'} {', '.join(map(str, found))}" for key, found in seeds.items()]


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
