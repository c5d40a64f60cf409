"""`status`: how a sweep does, from any terminal."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Annotated

import typer

from mopoe_core.storage.files import AnyPath
from mopoe_core.storage.remote_path import RemotePath
from mopoe_core.terminal import say
from orchestrator.cli.common import ScaleOption, SpecArgument, StorageOption, Typed, counted, open_sweep, state_of
from orchestrator.ledger.ledger import Ledger
from orchestrator.monitor.progress import Progress
from orchestrator.monitor.snapshot import Seen, Watch
from orchestrator.spec.sweep_spec import SweepSpec

LOCAL_SECONDS = 2.0
REMOTE_SECONDS = 10.0
TrialsOption = Annotated[bool, typer.Option("--trials", help="List every trial with its id, state, attempts and error instead.")]
WatchOption = Annotated[
    bool,
    typer.Option(
        "--watch",
        help="Look again every few seconds, until nobody drives the sweep and all its trials have completed, diverged or failed. "
        "While trials are left it stays, also where the driver is gone. Ctrl-C ends it, and nothing else.",
    ),
]


def register(app: typer.Typer) -> None:
    """Make it a command of the application."""
    app.command()(status)


def status(
    file: SpecArgument,
    watch: WatchOption = False,
    trials: TrialsOption = False,
    scale: ScaleOption = None,
    storage: StorageOption = None,
) -> None:
    """Say how a sweep does, while it runs and after: counts, time to go, seeds, front so far, failures. Creates nothing."""
    spec, folder = open_sweep(file, scale, storage)
    if trials:
        _list(spec, folder)
        return
    looking, command = Watch(spec, folder), Typed(file, scale, storage).command("sweep")
    seen = looking.look()
    progress = Progress(seen, spec.name)
    progress.note = _driver(seen, command)
    if not watch:
        progress.show()
        return
    try:
        follow(looking, seen, progress, command, REMOTE_SECONDS if isinstance(folder, RemotePath) else LOCAL_SECONDS)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def follow(
    looking: Watch, seen: Seen, progress: Progress, command: str, seconds: float, pause: Callable[[float], None] = time.sleep
) -> None:
    """Show what changes until the sweep is over."""
    with progress:
        progress.say(progress.note)
        progress.tell()
        while not seen.over:
            pause(seconds)
            try:
                seen = looking.look()
            except OSError as error:  # of a store that is away for a while
                progress.say(f"storage: {error}; looking again")
                continue
            progress.see(seen)
            note = _driver(seen, command)
            if note != progress.note:
                progress.note = note
                progress.say(note)
        progress.tell()


def _driver(seen: Seen, command: str) -> str:
    if seen.driver is not None:
        return f"driven by {seen.driver}"
    return "nobody drives it now" if seen.over else f"nobody drives it now; `{command}` goes on"


def _list(spec: SweepSpec, folder: AnyPath) -> None:
    """A line a trial."""
    ledger, every = Ledger(folder), spec.trials
    states = list(zip(every, ledger.each(lambda trial: state_of(trial, ledger), every), strict=True))
    names = spec.labels
    width = max((len(f"{names[trial.cell.id]} seed={trial.seed}") for trial, _ in states), default=0)
    for trial, state in states:
        stopped = "" if state.stopped_at_epoch is None else f"stopped at epoch {state.stopped_at_epoch}"
        more, label = f"  {state.error or stopped}", f"{names[trial.cell.id]} seed={trial.seed}"
        say(f"{trial.id}  {label:<{width}}  {state.status:<9}  {_attempts(state.attempts)}{more}".rstrip())
    say(f"{spec.name}: {counted(Counter(state.status for _, state in states))} of {len(states)} trials")


def _attempts(count: int) -> str:
    return f"{count} attempt{'' if count == 1 else 's'}"
