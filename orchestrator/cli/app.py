"""The command line. Imports nothing heavy before a command needs it, so that `--help` and `plan` answer at once."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mopoe_core.data.cards import DATASETS, find, is_own
from mopoe_core.data.own.user_code import only_permitted, permit
from mopoe_core.errors import UserError
from mopoe_core.spelling import choose
from mopoe_core.storage.files import AnyPath, is_full
from mopoe_core.storage.local_path import LocalPath
from mopoe_core.storage.remote_path import RemotePath, masked
from mopoe_core.terminal import complain, say
from orchestrator.cli import after, data_remarks, status, storage_errors
from orchestrator.cli.common import (
    ScaleOption,
    SpecArgument,
    StorageOption,
    Typed,
    check_there,
    counted,
    expanded,
    open_sweep,
    pasted,
)
from orchestrator.errors import DamagedError, SpecError
from orchestrator.execution import cpus
from orchestrator.execution import plan as planning
from orchestrator.execution.costs import Evaluation
from orchestrator.execution.ray_tune import ray_address
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.storage.check import remark, what_is_wrong
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial

if TYPE_CHECKING:
    from orchestrator.report.report import ReportPaths

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Sweeps of multimodal VAEs on Ray: seeds x beta x model x dataset, with MLflow and fronts of coherence against likelihood.",
)

AgainstOption = Annotated[bool, typer.Option("--against-paper", help="Put the published numbers beside the sweep's.")]
UnequalOption = Annotated[
    bool, typer.Option("--rank-unequal", help="Compare models whose complete seeds differ, on those that both have.")
]
RetrainOption = Annotated[
    bool, typer.Option("--retrain-damaged", help="Set trials with damaged records aside, and train them again.")
]


@app.command()
def sweep(
    file: SpecArgument, scale: ScaleOption = None, storage: StorageOption = None, retrain_damaged: RetrainOption = False
) -> None:
    """Run what is missing, then write MLflow and the report. Typing it again is the resume."""
    spec, folder = open_sweep(file, scale, storage)
    _check_cpus(spec)
    made = planning.make(spec.wanted, Ledger(folder), thorough=retrain_damaged)
    _warn(data_remarks.of_sweep(spec))
    _say(_plan_lines(spec, made))
    if made.damaged and not retrain_damaged:
        raise UserError(planning.damage(made, folder))
    if made.to_run or spec.search:
        ray_address.check_address()
    _make(folder)
    from orchestrator.driver import sweep as driver  # imports ray, mlflow and torch

    try:
        ended = driver.run(spec, spec.source, folder, typed_command(), retrain_damaged)
    except KeyboardInterrupt:
        # A second one, or before or after the trials; at the first, Ray ends them in order and `run` returns.
        complain(f"interrupted; `{typed_command()}` goes on")
        raise typer.Exit(130) from None
    except SpecError as error:  # of what a search finds in storage
        raise spec.pointed(error) from None
    counts = Counter(ended.statuses.values())
    say(f"\n{spec.name}: {counted(counts)} of {len(ended.statuses)} trials; {ended.ran} ran now, {ended.seconds:.0f} s in all")
    say(ended.paths.summary)
    if ended.paths.search:
        say(ended.paths.search.line)
    say("\n".join([*_places(ended.paths), f"MLflow  {masked(ended.tracking_uri)}"]))
    if ended.tracking_uri.startswith("sqlite:"):
        say(f"compare {Typed(file, scale, storage).command('ui')}")
    _tell_problems(ended.tracking_problems)
    if ended.stopped:
        complain(f"error: {ended.stopped}")
    if ended.unfinished:
        complain(f"{ended.unfinished} trials are not finished; `{typed_command()}` goes on with them")
        raise typer.Exit(1)


@app.command()
def plan(file: SpecArgument, scale: ScaleOption = None, storage: StorageOption = None) -> None:
    """Say what is done, to resume and new, and what it would cost. Creates nothing."""
    spec, folder = open_sweep(file, scale, storage)
    made = planning.make(spec.wanted, Ledger(folder))
    _warn(data_remarks.of_sweep(spec))
    _say(_plan_lines(spec, made, list_cells=True))
    if made.damaged:
        raise UserError(planning.damage(made, folder))


@app.command()
def report(
    file: SpecArgument,
    scale: ScaleOption = None,
    storage: StorageOption = None,
    against_paper: AgainstOption = False,
    rank_unequal: UnequalOption = False,
    to: Annotated[Path | None, typer.Option("--to", metavar="FOLDER", help="Another folder than that in storage.")] = None,
) -> None:
    """Write figure, tables and page from what the ledger holds."""
    spec, folder = open_sweep(file, scale, storage)
    check_there(file, folder)
    from orchestrator.driver import sweep as driver
    from orchestrator.report.paper import beside_published

    into = _report_folder(to) if to else None
    paths = driver.write_report(spec, folder, typed_command(), against_paper, rank_unequal, into)
    say(paths.summary)
    if paths.search:
        say(paths.search.line)
    for comparison in paths.paper.comparisons:
        say(beside_published.markdown(comparison))
    say("\n".join(_places(paths)))


@app.command()
def track(
    file: SpecArgument,
    scale: ScaleOption = None,
    storage: StorageOption = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Write every run anew.")] = False,
) -> None:
    """Bring MLflow to where the ledger is; nothing is trained. With --rebuild, make the sweep's runs anew from the ledger."""
    spec, folder = open_sweep(file, scale, storage)
    check_there(file, folder)
    from orchestrator.driver import sweep as driver

    uri, problems = driver.track(spec, folder, Typed(file, scale, storage).command("sweep"), rebuild)
    say(f"MLflow  {masked(uri)}")
    _tell_problems(problems)
    if problems:
        raise typer.Exit(1)


@app.command()
def gc(
    file: SpecArgument,
    scale: ScaleOption = None,
    storage: StorageOption = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete them; else they are only listed.")] = False,
    accept_lost: Annotated[
        bool, typer.Option("--accept-lost", help="Let results whose checkpoint is lost count without it; nothing else is done.")
    ] = False,
) -> None:
    """Say which checkpoints no front of any sweep in storage has use for, and what killed processes left behind; and delete them."""
    spec, folder = open_sweep(file, scale, storage)
    from orchestrator.driver import retention  # imports pandas

    if accept_lost:
        _accept_lost(retention.accept_lost(spec, folder))
        return
    found = retention.surplus(spec, folder)
    for trial in found.trials:
        say(f"{trial.id}  {trial.label}")
    for path in found.leftovers:
        say(f"leftover  {path}")
    verb = "deleted" if delete else "can go; --delete deletes them"
    say(
        f"{len(found.trials)} checkpoints ({found.megabytes:.1f} MB) and {len(found.leftovers)} leftovers of killed processes {verb}"
    )
    if delete:
        retention.delete(found, folder)


@app.command()
def data(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Its name, or file.py:function for your own.")],
    source: Annotated[str, typer.Option("--source", metavar="SOURCE", help="original or embedded.")] = "original",
    folder: Annotated[Path, typer.Option("--data", metavar="FOLDER", help="Where datasets are kept.")] = Path("data"),
) -> None:
    """Fetch or build a dataset, check its counts and content, and show ten examples of it."""
    own = is_own(dataset)
    permit([dataset])
    try:
        card = find(dataset) or choose("dataset", dataset, DATASETS)
        source = choose("--source", "own" if own else source, card.sources)
    except ValueError as error:
        raise UserError(str(error)) from None
    from orchestrator.cli import data_check as checking  # imports torch

    _warn(data_remarks.of_datasets([dataset]))
    checked = checking.check(card, source, expanded("--data", folder))
    say("\n".join([f"{source} {dataset}", *(f"  {line}" for line in checked.lines)]))
    say(f"contact sheet  {checked.sheet}")


status.register(app)
after.register(app)


def main() -> None:
    """Entry point. A user error is one line on standard error and exit code 2; so is what storage raises, with exit code 1 or 2."""
    run_command(app)


def run_command(command: Callable[[], None]) -> None:
    """Runs a command; an error that the user can mend becomes one line on standard error and an exit code."""
    try:
        with only_permitted():
            command()
    except UserError as error:
        mend = f"; {error.mend}" if isinstance(error, DamagedError) else ""
        for line in f"{error}{mend}".split("\n"):  # a sweep file may have several mistakes
            complain(f"error: {line}")
        sys.exit(2)
    except OSError as error:
        told = storage_errors.told(error, typed_command(), sys.argv[1] if len(sys.argv) > 1 else "")
        complain(f"error: {told.line}")
        sys.exit(told.code)


def _report_folder(said: Path) -> Path:
    """The folder that `report --to` names. Raises UserError where it holds anything but a report: that would be replaced."""
    from orchestrator.report.report import PAGE, is_part

    folder = LocalPath(expanded("--to", said)).absolute()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--to: {folder} is a file; name a folder")
    there = [path.name for path in folder.iterdir()] if folder.exists() else []
    if there and (PAGE not in there or not all(map(is_part, there))):
        raise UserError(f"--to: {folder} holds other files than a report; name a new or empty folder, or one that holds a report")
    return folder


def _warn(lines: Sequence[str]) -> None:
    """Say what is odd and may still be meant, before anything trains."""
    for line in lines:
        complain(f"warning: {line}")


def _accept_lost(trials: Sequence[Trial]) -> None:
    for trial in trials:
        say(f"{trial.id}  {trial.label}")
    say(f"{len(trials)} results count without their checkpoints, which were lost")


def _tell_problems(problems: Sequence[str]) -> None:
    for problem in problems[:3]:
        complain(f"MLflow: {problem}; `track` or the next sweep command writes it")


def _check_cpus(spec: SweepSpec) -> None:
    """Refuse here what a local Ray would refuse later; a cluster knows its own nodes."""
    most = cpus.usable()
    if "RAY_ADDRESS" not in os.environ and spec.resources.cpu > most:
        said = f"resources.cpu: {spec.resources.cpu} is more than the {most} that this process may use; lower it"
        raise spec.pointed(SpecError(said))


def _make(folder: AnyPath) -> None:
    """See that storage can be written and relied on, before anything else is done."""
    try:
        if not isinstance(folder, RemotePath):
            folder.mkdir(parents=True, exist_ok=True)
        wrong = what_is_wrong(folder)
    except OSError as error:
        if is_full(error) and not isinstance(folder, RemotePath):
            raise
        means = "a bucket that exists and that you may write to" if isinstance(folder, RemotePath) else "another folder"
        why = str(error) if isinstance(folder, RemotePath) else f"{folder} cannot be written: {error.strerror}"
        raise UserError(f"storage: {why}; name {means}") from None
    if wrong:
        raise UserError(f"storage: {folder} cannot be relied on: {wrong}; name another folder")
    _warn([said] if (said := remark(folder)) else [])


def _plan_lines(spec: SweepSpec, made: planning.Plan, list_cells: bool = False) -> list[str]:
    names = spec.labels
    counts = {len(seeds) for seeds in spec.seeds_by_cell.values()} or {len(spec.seed_list)}
    each = " to ".join(str(count) for count in sorted({min(counts), max(counts)}))
    lines = [f"{spec.name}: {len(spec.trials)} trials = {len(names)} cells x {each} seeds"]
    if spec.search:
        left = max(0, spec.search.cells - len(names))
        lines[0] += f" so far, by {spec.search.sampler}; up to {left} cells ({left * len(spec.seed_list)} trials) to be found"
    groups = [("done", made.done), ("resume", made.resume), ("new", made.fresh)]
    for word, group in [*groups, *([("damaged", tuple(made.damaged))] if made.damaged else [])]:
        lines.append(f"  {word:<6}  {len(group):>4}")
        lines += [f"            {line}" for line in _by_cell(group, names)] if list_cells else []
    if made.to_run:
        return [*lines, *(f"  {one.said}" for one in made.differing), *_cost(made, spec)]
    return lines if spec.search and len(names) < spec.search.cells else [*lines, "  nothing to run"]


def _by_cell(trials: Sequence[Trial], names: dict[str, str]) -> list[str]:
    """A line a cell with the seeds that are among `trials`; `names` gives each cell's label by its id."""
    seeds: dict[str, list[int]] = {}
    for trial in trials:
        seeds.setdefault(trial.cell.id, []).append(trial.seed)
    return [f"{names[key]}: seed{'' if len(found) == 1 else 's'} {', '.join(map(str, found))}" for key, found in seeds.items()]


def _cost(made: planning.Plan, spec: SweepSpec) -> list[str]:
    estimate, most = made.estimate, cpus.usable()
    wall = planning.wall_hours(made, spec.resources, most)
    known = len(made.to_run) - estimate.guessed
    basis = f"from past trials for {known}" if known else ""
    guess = f"guessed for {estimate.guessed}: no past trial of that dataset, networks and model" if estimate.guessed else ""
    here = f"{most} CPU{'' if most == 1 else 's'}"
    return [
        f"  about {estimate.trial_hours:.2g} trial hours, {wall:.2g} hours on the {here} of this process "
        f"({'; '.join(part for part in (basis, guess) if part)})",
        f"  {estimate.evaluation_hours:.2g} of the trial hours are evaluation: {_evaluated(estimate.work)}",
    ]


def _evaluated(work: Sequence[Evaluation]) -> str:
    """What evaluations do, as a product of ranges."""
    subsets, tested, samples = (_range([getattr(one, name) for one in work]) for name in ("subsets", "test_examples", "samples"))
    return f"{subsets} subsets x {tested} test examples x {samples} importance samples"


def _range(numbers: Sequence[int]) -> str:
    return f"{min(numbers)}" if min(numbers) == max(numbers) else f"{min(numbers)} to {max(numbers)}"


def _places(paths: "ReportPaths") -> list[str]:
    """Where page and figures are; of several fronts each with the label of its group."""
    figures = [f"figure  {front.png}{f'  ({front.label})' if front.label else ''}" for front in paths.fronts]
    return [f"report  {paths.page}", *figures]


def _say(lines: list[str]) -> None:
    say("\n".join(lines))


def typed_command() -> str:
    """What was typed, to be pasted into a shell again; of secrets without."""
    return pasted(sys.argv[1:])
