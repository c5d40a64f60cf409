"""The commands that plan and run: `sweep` and `plan`."""

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from mopoe_core.errors import UserError
from mopoe_core.storage.uri_secrets import masked
from mopoe_core.terminal import complain, say
from orchestrator.cli import data_remarks, exit_codes, long_sweeps
from orchestrator.cli.as_json import plan_json
from orchestrator.cli.common import JsonOption, ScaleOption, SpecArgument, StorageOption, Typed, counted, open_sweep, warn
from orchestrator.cli.plan_text import plan_lines
from orchestrator.cli.program import recorded_command, typed_command
from orchestrator.cli.result_commands import tell_report, tell_tracking_problems
from orchestrator.driver import preconditions
from orchestrator.errors import SpecError
from orchestrator.execution import cpus, gpus
from orchestrator.execution import plan as planning
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.storage import check as storage_check
from orchestrator.monitor import interrupts

if TYPE_CHECKING:
    from orchestrator.driver.sweep import SweepOutcome

STOPPING = (
    "stopping: what has completed is safe, and each running trial goes on after its last finished epoch when you type the same command "
    "again; press Ctrl-C again to end at once"
)
"""The answer to the first Ctrl-C."""
RetrainOption = Annotated[
    bool, typer.Option("--retrain-damaged", help="Set trials with damaged records aside, and train them again.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Start without asking, even if it takes more than a day.")]


def sweep(
    file: SpecArgument,
    scale: ScaleOption = None,
    storage: StorageOption = None,
    retrain_damaged: RetrainOption = False,
    yes: YesOption = False,
) -> None:
    """Run what is missing, then write MLflow and the report. Typing it again is the resume."""
    spec, folder = open_sweep(file, scale, storage)
    todo = planning.make(spec.wanted, Ledger(folder), thorough=retrain_damaged, spec=spec)
    warn(data_remarks.of_sweep(spec))
    say("\n".join(plan_lines(spec, todo, folder)))
    if todo.damaged and not retrain_damaged:
        raise UserError(planning.damage_message(todo, folder))
    preconditions.check(spec, todo, folder)
    long_sweeps.confirm(spec, todo, yes)
    preconditions.make_storage(folder)
    if warning := storage_check.exclusive_create_warning(folder):
        warn([warning])
    from orchestrator.driver import sweep as driver

    try:
        with interrupts.answered(lambda: complain(STOPPING)):
            outcome = driver.run(spec, spec.source, folder, recorded_command(), retrain_damaged)
    except KeyboardInterrupt:
        # The second Ctrl-C, or one before or after the trials. At the first, Ray ends the trials in order and `run` returns.
        complain(f"interrupted; `{typed_command()}` goes on")
        raise typer.Exit(exit_codes.INTERRUPTED) from None
    except SpecError as error:  # raised for what a search reads from storage
        raise spec.pointed(error) from None
    _tell_outcome(spec.name, outcome, Typed(file, scale, storage))
    if outcome.unfinished:
        complain(f"{outcome.unfinished} trials are not finished; `{typed_command()}` goes on with them")
        raise typer.Exit(exit_codes.UNFINISHED)


def _tell_outcome(name: str, outcome: "SweepOutcome", typed: Typed) -> None:
    """Print how a sweep ended, and where its report and MLflow's runs are."""
    counts = counted(Counter(outcome.statuses.values()))
    say(f"\n{name}: {counts} of {len(outcome.statuses)} trials; {outcome.ran} ran now, {outcome.seconds:.0f} s in all")
    tell_report(outcome.report)
    say(f"MLflow  {masked(outcome.tracking_uri)}")
    if outcome.tracking_uri.startswith("sqlite:"):
        say(f"compare {typed.command('ui')}")
    tell_tracking_problems(outcome.tracking_problems)
    if outcome.stop_reason:
        complain(f"error: {outcome.stop_reason}")


def plan(file: SpecArgument, scale: ScaleOption = None, storage: StorageOption = None, as_json: JsonOption = False) -> None:
    """Show which trials are done, to resume and new, what the rest would cost, and what would keep it from running. Creates nothing."""
    spec, folder = open_sweep(file, scale, storage)
    todo = planning.make(spec.wanted, Ledger(folder), spec=spec)
    warn(data_remarks.of_sweep(spec))
    if as_json:
        wall_seconds = planning.wall_hours(todo, spec.resources, cpus.usable(), gpus.usable()) * 3600
        say(plan_json(spec, todo, folder, wall_seconds))
    else:
        say("\n".join(plan_lines(spec, todo, folder, list_cells=True)))
    if todo.damaged:
        raise UserError(planning.damage_message(todo, folder))
    if todo.to_run or todo.to_come.trials:
        preconditions.check_results(spec, todo, Ledger(folder))
        preconditions.check(spec, todo, folder)
