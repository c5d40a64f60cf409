"""Finds, creates, writes and ends the runs of a sweep in MLflow. The key of a run is its trial's or cell's id, or the sweep's name."""

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mlflow.entities import Metric as Point
from mlflow.entities import Param, RunTag
from mlflow.entities import Run as StoredRun

from mopoe_core.storage.durability import make_folder, sync
from mopoe_core.storage.scratch import scratch
from orchestrator.tracking.ledger_marks import is_stamp
from orchestrator.tracking.mlflow.experiment import Experiment
from orchestrator.tracking.mlflow.points import IDENTITY
from orchestrator.tracking.mlflow.run_ownership import FORMER, kind_of

PARENT = "mlflow.parentRunId"
MOST_POINTS = 1_000  # MLflow takes no more in one call


@dataclass(slots=True)
class Run:
    """What the driver stores in memory about a run. It is small, because there is one for each trial and cell."""

    id: str
    status: str
    kind: str
    """The tag `kind`: `trial`, `cell` or `sweep`, or a former one."""
    mark: str = ""
    """The tag `projected`: the mark of the state that the run was last written from."""
    has_parameters: bool = False
    """Whether the run has all parameters. Earlier versions left out fields with their default."""
    written: set[tuple[int, int]] | None = None
    """Epoch and time of the points that this driver wrote; None if another driver may have written some."""
    artifacts: str = ""
    """Address of the artifacts; empty if it has to be read from MLflow."""
    has_lost_artifacts: bool = False
    """Whether the run had artifacts, and their folder is missing."""

    @property
    def is_new(self) -> bool:
        """Whether this driver created the run, so that its tags are up to date."""
        return self.written is not None

    @property
    def is_former(self) -> bool:
        """Whether the sweep had no such trial or cell when the run was last written."""
        return self.kind.startswith(FORMER)

    def is_complete(self, mark: str, statuses: Collection[str]) -> bool:
        """Returns whether the run has this mark, one of these statuses of MLflow, and its artifacts, and is no former one."""
        return self.mark == mark and self.status in statuses and not (self.has_lost_artifacts or self.is_former)


class Runs:
    """The runs of one sweep that belong to one storage."""

    def __init__(self, client: Any, experiment: Experiment) -> None:
        self._client, self._experiment = client, experiment
        self._runs: dict[str, Run] = {}
        self.orphaned: set[str] = set()
        """Ids of cells with a trial whose run does not have the cell's run as its parent."""
        self._doubted: set[tuple[str, str]] = set()
        """Kind and key of runs for which `create_run` failed. MLflow may have created them nevertheless."""

    def find(self) -> None:
        """Look up all runs. Deletes all runs of a key that has several, because MLflow cannot tell which is right; the ledger can."""
        by_key: dict[str, list[Run]] = {}
        parents: dict[str, set[str]] = {}
        for stored in self._experiment.runs():
            tags = stored.data.tags
            by_key.setdefault(tags[f"{kind_of(tags)}_id"], []).append(self._adopted(stored))
            if tags["kind"] == "trial":
                parents.setdefault(tags["cell_id"], set()).add(tags.get(PARENT, ""))
        self._experiment.delete([run.id for runs in by_key.values() if len(runs) > 1 for run in runs])
        self._runs = {key: runs[0] for key, runs in by_key.items() if len(runs) == 1}
        self.orphaned = {cell for cell, ids in parents.items() if cell not in self._runs or ids != {self._runs[cell].id}}

    def _adopted(self, stored: StoredRun) -> Run:
        """Returns a run that MLflow had before this driver began."""
        self._experiment.adopt(stored)
        run = _read(stored)
        has_artifacts = is_stamp(run.mark) if kind_of(stored.data.tags) == "trial" else bool(run.mark)
        run.has_lost_artifacts = has_artifacts and self._experiment.has_lost_artifacts(stored)
        return run

    def get(self, key: str) -> Run | None:
        """Returns the run with this key; None if there is none."""
        return self._runs.get(key)

    def create(self, kind: str, key: str, tags: Mapping[str, str], started_ms: int | None) -> Run:
        """Create a run. Returns an existing one if MLflow made it in an earlier call that failed."""
        if (kind, key) in self._doubted and (existing := self._experiment.runs_of(kind, key)):
            return self._add(key, existing[0], _read(existing[0]))
        try:
            stored = self._experiment.create_run(dict(tags), started_ms)
        except Exception:
            self._doubted.add((kind, key))
            raise
        return self._add(key, stored, Run(stored.info.run_id, stored.info.status, kind, written=set()))

    def _add(self, key: str, stored: StoredRun, run: Run) -> Run:
        self._runs[key] = run
        run.artifacts = self._experiment.place_artifacts(stored)
        return run

    def delete(self, key: str) -> None:
        """Mark a run as deleted, and forget it."""
        self._client.delete_run(self._runs[key].id)
        del self._runs[key]

    def mark_running(self, run: Run) -> None:
        """Set a trial's run that existed before back to RUNNING."""
        if run.is_former:
            self._set_kind(run, "trial")
        self._client.update_run(run.id, status="RUNNING")
        self._client.set_tag(run.id, "status", "running")
        run.status = "RUNNING"

    def log(
        self,
        run: Run,
        parameters: Callable[[], Sequence[Param]],
        points: Sequence[Point],
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Write points and tags with one request, and the parameters unless the run has them.

        If there are more points than MLflow takes in one call, all but the last of them are written in earlier requests.
        """
        last_batch = len(points) - len(points) % MOST_POINTS if len(points) > MOST_POINTS else 0
        for start in range(0, last_batch, MOST_POINTS):
            self._client.log_batch(run.id, points[start : start + MOST_POINTS])
        missing_parameters = [] if run.has_parameters else list(parameters())
        run_tags = [RunTag(name, value) for name, value in (tags or {}).items()]
        self._client.log_batch(run.id, points[last_batch:], missing_parameters, run_tags)
        run.has_parameters = True

    def complete_parameters(self, run: Run, parameters: Callable[[], Sequence[Param]]) -> None:
        """Write the parameters that an earlier version left out of a run. MLflow keeps those that it has."""
        if not run.has_parameters:
            self._client.log_batch(run.id, params=list(parameters()))
            run.has_parameters = True

    def end(self, run: Run, status: str, ended_ms: int | None) -> None:
        """Set the final status of a run, and the time of its end if `ended_ms` is given."""
        if ended_ms is None:
            self._client.update_run(run.id, status=status)
        else:
            self._client.set_terminated(run.id, status, ended_ms)
        run.status = status

    def put_artifacts(self, run: Run, put: Callable[[Path], object]) -> None:
        """Let `put` write a run's artifacts: directly into a local folder, because MLflow's client would need 5 ms to read the run."""
        address = urlsplit(run.artifacts or self._client.get_run(run.id).info.artifact_uri)
        if address.scheme == "file":
            put(Path(url2pathname(address.path)))
            return
        with scratch("artifacts") as folder:
            put(Path(folder))
            self._client.log_artifacts(run.id, folder)

    def set_parent(self, cell_id: str, parent: Run) -> None:
        """Make a cell's run the parent of the runs of its trials."""
        for child in self._experiment.runs(f"tags.kind = 'trial' and tags.cell_id = '{cell_id}'"):
            self._client.set_tag(child.info.run_id, PARENT, parent.id)
        self.orphaned.discard(cell_id)

    def points_of(self, run: Run, metric: str) -> set[tuple[int, int]]:
        """Returns epoch and time of each point of a metric."""
        return {(point.step, point.timestamp) for point in self._client.get_metric_history(run.id, metric)}

    def _set_kind(self, run: Run, kind: str) -> None:
        self._client.set_tag(run.id, "kind", kind)
        run.kind = kind

    def close(self, now_ms: int, present: Collection[str]) -> None:
        """End the runs that are still RUNNING, and delete those that exist twice.

        `present` has the ids of the sweep's trials and cells. The runs of all others are marked as former.
        """
        for key, run in self._runs.items():
            if run.kind in ("trial", "cell") and key not in present:
                self._set_kind(run, FORMER + run.kind)
        for run in [run for run in self._runs.values() if run.status == "RUNNING"]:
            self._client.set_tag(run.id, "status", "cancelled")
            self.end(run, "KILLED", now_ms)
        for kind, key in [doubt for doubt in self._doubted if doubt[1] in self._runs]:
            ids = [stored.info.run_id for stored in self._experiment.runs_of(kind, key)]
            self._experiment.delete([run_id for run_id in ids if run_id != self._runs[key].id])
            self._doubted.remove((kind, key))


def _read(stored: StoredRun) -> Run:
    parameters, tags = stored.data.params.keys(), stored.data.tags
    has_parameters = bool(parameters) if tags["kind"] == "sweep" else parameters >= set(IDENTITY)
    return Run(stored.info.run_id, stored.info.status, tags["kind"], tags.get("projected", ""), has_parameters)


def copy_files(files: Sequence[Path], into: Path) -> None:
    """Copy files to a folder. Content and names are synced on return."""
    make_folder(into)
    for path in files:
        shutil.copyfile(path, into / path.name)
        sync(into / path.name)
    sync(into)
