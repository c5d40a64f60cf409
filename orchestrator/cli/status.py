"""The command `status`: how a sweep does, from any terminal."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Annotated

import typer

from mopoe_core.errors import UserError
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.remote_path import RemotePath
from mopoe_core.terminal import say
from orchestrator.cli import exit_codes
from orchestrator.cli.as_json import status_json
from orchestrator.cli.common import JsonOption, ScaleOption, SpecArgument, StorageOption, Typed, counted, open_sweep
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.snapshot import state_or_damage
from orchestrator.monitor import interrupts
from orchestrator.monitor.live_state import LiveSweep, StorageWatch
from orchestrator.monitor.progress import Progress
from orchestrator.spec.sweep_spec import SweepSpec

LOCAL_SECONDS = 2.0
"""Seconds between two readings of a local storage."""
REMOTE_SECONDS = 10.0
"""Seconds between two readings of a remote storage."""
TrialsOption = Annotated[bool, typer.Option("--trials", help="List every trial with its id, state, attempts and error instead.")]
WatchOption = Annotated[
    bool,
    typer.Option(
        "--watch",
        help="Look again every few seconds, until nobody drives the sweep and all its trials have completed, diverged or failed. "
        "While trials are left it stays, also where the driver is gone. Ctrl-C ends it, and nothing else.",
    ),
]


def status(
    file: SpecArgument,
    watch: WatchOption = False,
    trials: TrialsOption = False,
    scale: ScaleOption = None,
    storage: StorageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how a sweep is doing, while it runs and after: counts, remaining time, seeds, front so far, failures. Creates nothing."""
    if as_json and (watch or trials):
        raise UserError("--json: has every trial, once; leave --watch and --trials out")
    if watch and trials:
        raise UserError("--trials: lists every trial, once; leave --watch out")
    spec, folder = open_sweep(file, scale, storage)
    if trials:
        _list(spec, folder)
        return
    watching = StorageWatch(spec, folder)
    command = Typed(file, scale, storage).command("sweep")
    live = watching.look()
    progress = Progress(live, spec.name)
    if as_json:
        driver = None if live.driver is None else str(live.driver)
        say(status_json(spec, progress.views, progress.fronts, driver, progress.seconds_left()))
        return
    progress.note = driven_by(live, command)
    if not watch:
        progress.show()
        return
    seconds = REMOTE_SECONDS if isinstance(folder, RemotePath) else LOCAL_SECONDS
    try:
        with interrupts.noted() as interrupted:
            follow(watching, live, progress, command, seconds, interrupted.wait)
    except KeyboardInterrupt:  # the second Ctrl-C
        raise typer.Exit(exit_codes.DONE) from None


def follow(
    watching: StorageWatch,
    live: LiveSweep,
    progress: Progress,
    command: str,
    seconds: float,
    pause: Callable[[float], bool | None] = time.sleep,
) -> None:
    """Show what changes until the sweep is over, or until `pause` returns true."""
    with progress:
        progress.say(progress.note)
        progress.tell()
        while not live.is_over:
            if pause(seconds):
                return
            try:
                live = watching.look()
            except OSError as error:  # storage cannot be reached for a while
                progress.say(f"storage: {error}; looking again")
                continue
            progress.update(live)
            note = driven_by(live, command)
            if note != progress.note:
                progress.note = note
                progress.say(note)
        progress.tell()


def driven_by(live: LiveSweep, command: str) -> str:
    """Returns who drives the sweep; if nobody does and trials are left, also the command that goes on."""
    if live.driver is not None:
        return f"driven by {live.driver}"
    return "nobody drives it now" if live.is_over else f"nobody drives it now; `{command}` goes on"


def _list(spec: SweepSpec, folder: AnyPath) -> None:
    """List the trials, one per line."""
    ledger, trials = Ledger(folder), spec.trials
    states = ledger.each(lambda trial: state_or_damage(trial, ledger), trials)
    labels = spec.labels
    titles = [f"{labels[trial.cell.id]} seed={trial.seed}" for trial in trials]
    width = max(map(len, titles), default=0)
    for trial, title, state in zip(trials, titles, states, strict=True):
        stopped = "" if state.stopped_at_epoch is None else f"stopped at epoch {state.stopped_at_epoch}"
        reason = f"  {state.error or stopped}"
        say(f"{trial.id}  {title:<{width}}  {state.status:<9}  {_attempts(state.attempts)}{reason}".rstrip())
    say(f"{spec.name}: {counted(Counter(state.status for state in states))} of {len(trials)} trials")


def _attempts(count: int) -> str:
    return f"{count} attempt{'' if count == 1 else 's'}"
