"""A tracker in one file: a folder with a file of JSON lines for each run."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mopoe_core.metric_names import Epoch
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.trial import Trial
from orchestrator.tracking.ledger_marks import is_stamp
from orchestrator.tracking.summaries import CellSummary, SweepSummary


@dataclass
class JsonLinesTracker:
    """The first line of a run's file has its mark and status; each further line is a point: name, step, value."""

    folder: Path
    ledger: Ledger
    show_progress: Callable[[], None]
    opened: bool = field(default=False, init=False)

    @property
    def complete_digest(self) -> str:
        """The digest in the file `whole`."""
        path = self.folder / "whole"
        return path.read_text() if path.exists() else ""

    def reachable(self) -> bool:
        """A folder always answers."""
        return True

    def open(self, anew: bool) -> None:
        """Make the folder; with `anew`, empty it."""
        self.folder.mkdir(exist_ok=True)
        for path in self.folder.glob("*.jsonl") if anew else ():
            path.unlink()
        self.set_complete_digest("")
        self.opened = True

    def set_complete_digest(self, digest: str) -> None:
        """Write the digest."""
        (self.folder / "whole").write_text(digest)

    def begin(self, trial: Trial) -> None:
        """Write a file without points."""
        if not self._path("trial", trial.id).exists():
            self._write("trial", trial.id, "", "running", [])

    def epochs(self, trial: Trial, epochs: Sequence[Epoch]) -> None:
        """Add the points that the file does not have."""
        self.begin(trial)
        existing = self.points(trial.id)
        self._write("trial", trial.id, "", "running", [*existing, *(point for point in curve(epochs) if point not in existing)])

    def project(self, trial: Trial, mark: str) -> None:
        """Write the file anew, unless it has this mark."""
        if self._head("trial", trial.id).get("mark") == mark:
            return
        result = self.ledger.result(trial) if is_stamp(mark) else None
        if result is None:
            self._write("trial", trial.id, mark, mark.partition(" ")[0], self.points(trial.id))
            return
        metrics = [[metric.name, 0, metric.value] for metric in result.metrics]
        self._write("trial", trial.id, mark, result.status, [*curve(result.history), *metrics])

    def withdraw(self, trial: Trial) -> None:
        """Delete the file."""
        self._path("trial", trial.id).unlink(missing_ok=True)

    def summarise(self, summary: CellSummary, marks: Mapping[str, str] | None = None) -> None:
        """Write the means of a cell."""
        means = [[name, summary.n, numbers["mean"]] for name, numbers in summary.plain_values.items()]
        self._write("cell", summary.cell.id, f"{summary.n}/{summary.n_planned}", "", means)

    def sweep(self, summary: SweepSummary) -> None:
        """Write the courses of the sweep."""
        points = [[name, step, float(v)] for name, course in summary.courses.items() for step, v in enumerate(course, 1)]
        self._write("sweep", summary.name, summary.content, "", points)

    def close(self) -> None:
        """Do nothing, because no run stays open."""

    def points(self, trial_id: str) -> list[list[Any]]:
        """Returns the points of a trial's run."""
        path = self._path("trial", trial_id)
        return [json.loads(line) for line in path.read_text().splitlines()[1:]] if path.exists() else []

    def _head(self, kind: str, key: str) -> dict[str, str]:
        path = self._path(kind, key)
        return dict(json.loads(path.read_text().splitlines()[0])) if path.exists() else {}

    def _path(self, kind: str, key: str) -> Path:
        return self.folder / f"{kind}-{key}.jsonl"

    def _write(self, kind: str, key: str, mark: str, status: str, points: Sequence[Any]) -> None:
        lines = [json.dumps({"mark": mark, "status": status}), *map(json.dumps, points)]
        self._path(kind, key).write_text("\n".join(lines) + "\n")
        self.show_progress()


def curve(epochs: Sequence[Epoch]) -> list[list[Any]]:
    """Returns the points of a learning curve."""
    return [[name, epoch.epoch, value] for epoch in epochs for name, value in epoch.values.items()]


def connect(folder: Path, ledger: Ledger) -> Callable[[Mapping[str, Sequence[Trial]], Callable[[], None]], JsonLinesTracker]:
    """Returns the function that `Writer` needs."""
    return lambda trials, show_progress: JsonLinesTracker(folder, ledger, show_progress)
