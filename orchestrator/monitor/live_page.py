"""A sweep's report, drawn anew while the ledger changes, for a browser on this machine. Nothing is written to the ledger.

The ledger is read often, for the live state. A report is drawn only if a trial has ended or a cell was found since the last one, and then
there is a rest: drawing takes seconds of a core, which a sweep beside it needs.
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
"""After a drawing there is none for so many seconds, and for so many times as long as it took."""
LIVE_WIDTH = 110
"""Columns of the live view on the page."""

Draw = Callable[[LiveSweep, Path], object]
"""Draws the report of a sweep into a folder that is not there yet."""


@dataclass(frozen=True)
class Look:
    """What one look at the ledger gives to show around the report."""

    completed: int
    trials: int
    summary: str
    read_at: str
    note: str
    """Who drives the sweep."""
    live: str
    """The live view as plain text."""


@dataclass(frozen=True)
class Drawing:
    """The report that is shown."""

    version: int = 0
    """Counts the reports; 0 before the first."""
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
        """The sweep at the last look."""
        self._look = Look(0, 0, "", "", "", "")
        self._storage_problem = ""
        self._drawing = Drawing()
        self._drawn: Mapping[str, object] | None = None
        """What the report was drawn from."""
        self._due = 0.0

    @property
    def state(self) -> dict[str, Any]:
        """What the page shows now, for its script."""
        drawing = self._drawing
        problem = self._storage_problem or drawing.problem
        return {"sweep": self._sweep, **asdict(self._look), **asdict(drawing), "problem": problem}

    def file(self, version: int, name: str) -> Path | None:
        """The file of that name in a report; None where the report has no such file, or it lies outside of its folder."""
        folder = self._report(version).resolve()
        path = (folder / name).resolve()
        return path if path.is_relative_to(folder) and path.is_file() else None

    def look(self) -> None:
        """Read the ledger, for the live state."""
        try:
            live = self._watch.look()
        except (OSError, UserError) as error:  # a store that is away for a while, or a proposal that is damaged
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
        """Draw the report if something has ended since the last one, and the rest after that one is over."""
        live = self._live
        if live is None or not (live.results or live.is_over) or time.monotonic() < self._due:
            return
        ends = _ends(live)
        if ends != self._drawn and self._draw_next(live):
            self._drawn = ends

    def _draw_next(self, live: LiveSweep) -> bool:
        """Draw the next report beside the one that is shown, which stays until its readers have left it; returns whether it was drawn."""
        started, before, read_at = time.monotonic(), self._drawing, f"{datetime.now():%H:%M:%S}"
        self._drawing = replace(
            before, report="drawing the report" if before.version == 0 else f"{before.report}, drawing a new one"
        )
        try:
            self._draw(live, self._report(before.version + 1))
        except Exception as error:  # whatever it is, the live state is still worth showing, and the next result may mend it
            problem = f"the report cannot be drawn now ({type(error).__name__}: {error})"
            self._drawing = replace(before, problem=problem)
        else:
            self._drawing = Drawing(before.version + 1, f"report of {read_at}")
            shutil.rmtree(self._report(before.version - 1), ignore_errors=True)
        finished = time.monotonic()
        self._due = finished + LEAST_REST + REST * (finished - started)
        return not self._drawing.problem

    def _report(self, version: int) -> Path:
        return self._folder / str(version)


def _ends(live: LiveSweep) -> dict[str, object]:
    """What makes a new report worth its time: which trials there are, and how they have ended."""
    return {
        trial_id: trial.state if trial.state.status in FINAL or trial.state.stopped_at_epoch is not None else None
        for trial_id, trial in live.live_trials.items()
    }
