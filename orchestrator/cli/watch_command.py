"""The command `watch`: a sweep's report in the browser, drawn anew while the sweep runs."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.remote_path import RemotePath
from mopoe_core.storage.scratch import scratch
from mopoe_core.terminal import say
from orchestrator.cli.common import ScaleOption, SpecArgument, StorageOption, Typed, open_sweep
from orchestrator.cli.program import recorded_command
from orchestrator.cli.status import LOCAL_SECONDS, REMOTE_SECONDS, driven_by
from orchestrator.monitor import interrupts, page_server
from orchestrator.monitor.live_page import Draw, LivePage
from orchestrator.monitor.live_state import LiveSweep, StorageWatch

NICE = 10
"""How much lower the priority of this process is than that of a sweep's workers on the same cores."""


def watch(
    file: SpecArgument,
    port: Annotated[
        int, typer.Option("--port", metavar="P", help="Its port; only this machine can reach it. Any that is free when left out.")
    ] = 0,
    scale: ScaleOption = None,
    storage: StorageOption = None,
) -> None:
    """Show the report in the browser, drawn anew while the sweep runs. Writes nothing to storage; Ctrl-C ends it, and nothing else."""
    spec, folder = open_sweep(file, scale, storage)
    command = Typed(file, scale, storage).command("sweep")
    with scratch("watch") as drawings:
        page = LivePage(
            StorageWatch(spec, folder), spec.name, Path(drawings), _drawing(folder), lambda live: driven_by(live, command)
        )
        with interrupts.noted() as stop, page_server.served(page, port) as address:
            say(f"{spec.name}: {address}  (Ctrl-C ends it)")
            keep_up(page, stop, REMOTE_SECONDS if isinstance(folder, RemotePath) else LOCAL_SECONDS)


def keep_up(page: LivePage, stop: threading.Event, seconds: float) -> None:
    """Bring the page up to date every few `seconds` until `stop` is set. It does not wait for a drawing that is not finished then."""
    os.nice(NICE)

    def repeat(step: Callable[[], None]) -> None:
        while not stop.is_set():
            step()
            stop.wait(seconds)

    for step in (page.look, page.draw):
        threading.Thread(target=repeat, args=(step,), daemon=True, name=step.__name__).start()
    stop.wait()


def _drawing(folder: AnyPath) -> Draw:
    command = recorded_command()

    def draw(live: LiveSweep, into: Path) -> None:
        from orchestrator.driver import report_step  # imports pandas and matplotlib for seconds; the address is shown before

        report_step.write_report(live.spec, folder, command, to=into)

    return draw
