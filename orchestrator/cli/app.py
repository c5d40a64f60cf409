"""The command line. Heavy packages are imported only by the commands that need them, so that `--help` and `plan` answer at once.

init_command       init
describe_commands  metrics, schema
run_commands       sweep, plan
status             status
watch_command      watch
result_commands    report, export, track, ui
trial_commands     failures, rerun, audit
storage_commands   gc, data
"""

import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated

import typer

from mopoe_core.data.own.user_code import only_permitted
from mopoe_core.errors import UserError
from mopoe_core.terminal import complain, say
from orchestrator.cli import exit_codes, storage_errors
from orchestrator.cli.describe_commands import metrics, schema
from orchestrator.cli.init_command import init
from orchestrator.cli.program import typed_command
from orchestrator.cli.result_commands import export, report, track, ui
from orchestrator.cli.run_commands import plan, sweep
from orchestrator.cli.status import status
from orchestrator.cli.storage_commands import data, gc
from orchestrator.cli.trial_commands import audit, failures, rerun
from orchestrator.cli.watch_command import watch
from orchestrator.errors import DamagedError


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"mopoe {version('mopoe')}")
        raise typer.Exit


app = typer.Typer(
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Sweeps of multimodal VAEs on Ray: seeds x beta x model x dataset, with MLflow and fronts of coherence against likelihood.",
)


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options that are written before the name of a command."""


for command in (
    init,
    sweep,
    plan,
    report,
    track,
    gc,
    data,
    status,
    watch,
    failures,
    rerun,
    audit,
    export,
    ui,
    metrics,
    schema,
):  # the order of `--help`
    app.command()(command)


def main() -> None:
    """Run the program."""
    run_command(app)


def run_command(command: Callable[[], None]) -> None:
    """Run a command. An error that the user can correct becomes one line on standard error and an exit code."""
    try:
        with only_permitted():
            command()
    except UserError as error:
        advice = f"; {error.mend}" if isinstance(error, DamagedError) else ""
        for line in f"{error}{advice}".split("\n"):  # a sweep file may have several mistakes
            complain(f"error: {line}")
        sys.exit(exit_codes.USER_ERROR)
    except OSError as error:
        ending = storage_errors.explain(error, typed_command(), sys.argv[1] if len(sys.argv) > 1 else "")
        complain(f"error: {ending.line}")
        sys.exit(ending.code)
