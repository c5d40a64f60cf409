"""A sweep's report for a browser on this machine, drawn anew while the ledger changes. Nothing is written to the ledger.

The ledger is read often, for the live state. A report is drawn only if a trial has ended or a search has found a cell since the last one.
A pause follows, because drawing needs seconds of a core that a running sweep needs, too.
"""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from mopoe_core.errors import UserError
from orchestrator.monitor import view
from orchestrator.monitor.eta import FINAL
from orchestrator.monitor.live_state import LiveSweep, StorageWatch
from orchestrator.monitor.progress import Progress

LEAST_REST = 3.0
REST = 3.0
"""After a drawing there is a pause of `LEAST_REST` seconds plus `REST` times the seconds that the drawing took."""
LIVE_WIDTH = 110
"""Columns of the live view on the page."""

Draw = Callable[[LiveSweep, Path], object]
"""Draws the report of a sweep into a folder that does not exist yet."""


@dataclass(frozen=True)
class Look:
    """The live state around the report, from one reading of the ledger."""

    completed: int
    trials: int
    summary: str
    read_at: str
    note: str
    """Which driver runs the sweep, if any."""
    live: str
    """The live view as plain text."""


@dataclass(frozen=True)
class Drawing:
    """The state of the report that is shown."""

    version: int = 0
    """The number of the report; 0 before the first."""
    report: str = ""
    """When the ledger was read for it, and whether the next one is being drawn."""
    problem: str = ""
    """Why the next one could not be drawn; empty if it could."""


class LivePage:
    """The page of one sweep. One thread may call `look`, another `draw`, and any thread `state` and `file`."""

    def __init__(self, watch: StorageWatch, sweep: str, folder: Path, draw: Draw, driver: Callable[[LiveSweep], str]) -> None:
        self._watch, self._sweep, self._folder, self._draw, self._driver = watch, sweep, folder, draw, driver
        self._progress: Progress | None = None
        self._live: LiveSweep | None = None
        """The sweep when the ledger was last read."""
        self._look = Look(0, 0, "", "", "", "")
        self._storage_problem = ""
        self._drawing = Drawing()
        self._drawn: Mapping[str, object] | None = None
        """The ends of trials (see `_ends`) that the report was drawn from."""
        self._due = 0.0
        """When the next report may be drawn."""

    @property
    def state(self) -> dict[str, Any]:
        """The state that the page's script shows."""
        drawing = self._drawing
        problem = self._storage_problem or drawing.problem
        return {"sweep": self._sweep, **asdict(self._look), **asdict(drawing), "problem": problem}

    def file(self, version: int, name: str) -> Path | None:
        """Returns the path of a report's file; None if the report has no such file, or the name leads out of its folder."""
        folder = self._report(version).resolve()
        path = (folder / name).resolve()
        return path if path.is_relative_to(folder) and path.is_file() else None

    def look(self) -> None:
        """Read the ledger, for the live state."""
        try:
            live = self._watch.look()
        except (OSError, UserError) as error:  # storage that cannot be reached for a while, or a damaged proposal
            self._storage_problem = f"{error}; looking again"
            return
        self._storage_problem = ""
        if self._progress is None:
            self._progress = Progress(live, live.spec.name, Console(quiet=True))
        self._progress.update(live)
        statuses = [trial.state.status for trial in live.live_trials.values()]
        self._look = Look(
            completed=statuses.count("completed"),
            trials=len(statuses),
            summary=self._progress.summary(),
            read_at=f"{datetime.now():%H:%M:%S}",
            note=self._driver(live),
            live=view.plain(self._progress.view(), LIVE_WIDTH),
        )
        self._live = live

    def draw(self) -> None:
        """Draw the report if a trial has ended since the last one and the pause is over."""
        live = self._live
        if live is None or not (live.results or live.is_over) or time.monotonic() < self._due:
            return
        ends = _ends(live)
        if ends != self._drawn and self._draw_next(live):
            self._drawn = ends

    def _draw_next(self, live: LiveSweep) -> bool:
        """Draw the next report into a new folder; returns whether that worked. The last report stays for browsers that still load it."""
        started = time.monotonic()
        read_at = f"{datetime.now():%H:%M:%S}"
        last = self._drawing
        progress = "drawing the report" if last.version == 0 else f"{last.report}, drawing a new one"
        self._drawing = replace(last, report=progress)
        try:
            self._draw(live, self._report(last.version + 1))
        except Exception as error:  # any error: the live state is still useful, and the next result may make the report possible
            problem = f"the report cannot be drawn now ({type(error).__name__}: {error})"
            self._drawing = replace(last, problem=problem)
        else:
            self._drawing = Drawing(last.version + 1, f"report of {read_at}")
            shutil.rmtree(self._report(last.version - 1), ignore_errors=True)
        finished = time.monotonic()
        self._due = finished + LEAST_REST + REST * (finished - started)
        return not self._drawing.problem

    def _report(self, version: int) -> Path:
        return self._folder / str(version)


def _ends(live: LiveSweep) -> dict[str, object]:
    """Returns the state of each trial that has ended or was stopped, None for the others, by trial id. A change needs a new report."""
    return {
        trial_id: trial.state if trial.state.status in FINAL or trial.state.stopped_at_epoch is not None else None
        for trial_id, trial in live.live_trials.items()
    }
