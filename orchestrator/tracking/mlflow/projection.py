"""MLflow as a projection of the ledger. The only importer of MLflow, used by the driver alone.

One experiment a sweep; one run a trial, found or created by the tag `trial_id`; one run a cell, its parent, with the mean over seeds
under the metric's own name and `.sd`, `.low`, `.high` and `n` beside it. The sweep itself has a run, by the tag `sweep_id`, with the
hypervolume (of a search, after each cell) and the report.

All that a run holds, its times too, comes from the ledger: whether it was written while its trial ran, later, or anew after the database
was lost, it is the same but for its run id. MLflow stores identical points once and changes none, so writing again is harmless, and
a run with points that the ledger does not have is marked deleted and written anew.

    begun     create_run with all tags
    epochs    log_batch of points, with the parameters the first time
    ended     artifacts; log_batch of points and tags; set_terminated

The status comes last: a run that is FINISHED or FAILED and has the ledger's stamp in its tag `projected` is whole. When all are, the
experiment's tag `projected.<storage id>` says so, and a command that finds nothing new reads none of them.

Several storages may share a server and the name of a sweep, and so an experiment. A run belongs to the storage that its tag `storage_id`
names; a driver reads and changes no other's (see `orchestrator.tracking.mlflow.run_ownership`).

MLflow may be away: what could not be written then is written when it is back, at the end, or by the next command.
"""

import hashlib
import logging
import os
import queue
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # MLflow repeats a create_run that was heard, and makes two runs
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")  # of a server that accepts and never answers; the default is 120
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # set_terminated reads the run again to print its address

from mlflow import MlflowClient
from mlflow.entities import Metric as Point
from mlflow.entities import Param, RunTag
from mlflow.entities import Run as StoredRun

from mopoe_core.metric_names import Epoch
from mopoe_core.storage.files import AnyPath, make_folder, name_unless_taken, near, new_file, scratch, sync
from mopoe_core.storage.remote_path import without_secrets
from orchestrator.errors import LedgerError
from orchestrator.execution.events import EpochsEnded, Observer, TrialEnded, TrialsBegun, TrialStopped
from orchestrator.ledger.leases.leases import LeaseLost
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.ledger.storage_identity import Identity, identify
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Cell, Trial, spelled
from orchestrator.tracking import tracking_uri
from orchestrator.tracking.circuit_breaker import AWAY_SECONDS, Outages
from orchestrator.tracking.guarded import Checked
from orchestrator.tracking.mlflow import artifact_location, run_files
from orchestrator.tracking.mlflow.artifact_location import STORAGE_TAG
from orchestrator.tracking.mlflow.run_marks import RUN_STATUS, digest, is_stamp, mark_of, run_statuses
from orchestrator.tracking.mlflow.run_ownership import Owner
from orchestrator.tracking.mlflow.store_address import sqlite_file

for noisy in ("alembic", "mlflow"):
    logging.getLogger(noisy).setLevel(logging.ERROR)  # schema migrations, announced line by line

PARAMETERS = ("dataset", "source", "networks", "model", "beta", "latent_dim", "epochs", "batch_size", "learning_rate")
"""Logged for every run; other fields only where they are not the default, so that the compare view has few columns."""
PARENT = "mlflow.parentRunId"
PAGE = 200  # runs a search: half a second; MLflow reads every run's metrics, tags and parameters
MOST_POINTS = 1_000  # MLflow takes no more in one call
BATCH_SECONDS = 1.0
PATIENCE_SECONDS = 300.0
"""`close` waits no longer than this for a single call: an upload of a checkpoint may take minutes."""


def default_uri(storage: AnyPath) -> str:
    """MLFLOW_TRACKING_URI if it is set, else a SQLite file in or near storage (MLflow refuses its old file store)."""
    return tracking_uri.named() or f"sqlite:///{near(storage).absolute() / 'mlflow.db'}"


def catch_up(
    spec: SweepSpec,
    trials: Sequence[Trial],
    ledger: Ledger,
    uri: str,
    commit: str,
    summaries: Sequence["CellSummary"],
    sweep: "SweepSummary | None" = None,
    check: Callable[[], None] = lambda: None,
) -> tuple[str, ...]:
    """Bring MLflow to where the ledger is, looking at every run; returns what could not be written, a line each."""
    tracker = Tracker(spec, trials, ledger, uri, commit, check, look=True)
    tracker.close(summaries, sweep=sweep)
    return tuple(tracker.problems)


def rebuild(
    spec: SweepSpec,
    trials: Sequence[Trial],
    ledger: Ledger,
    uri: str,
    commit: str,
    summaries: Sequence["CellSummary"],
    sweep: "SweepSummary | None" = None,
    check: Callable[[], None] = lambda: None,
) -> tuple[str, ...]:
    """As `catch_up`, with every run of the sweep's experiment written anew.

    Runs that were written there from this storage are marked deleted; all others in the same experiment are left alone.
    """
    tracker = Tracker(spec, trials, ledger, uri, commit, check, anew=True)
    tracker.close(summaries, sweep=sweep)
    return tuple(tracker.problems)


@dataclass(frozen=True)
class CellSummary:
    """What a cell's run says: one row of the cell table, by metric."""

    cell: Cell
    n: int
    n_planned: int
    values: Mapping[str, Mapping[str, float]]
    """Metric name to `mean`, `sd`, `low`, `high`."""
    group: str = ""
    """What tells the cells that it may be compared with from the sweep's others; empty where it may be with all."""

    @property
    def tags(self) -> dict[str, str]:
        """The tag `group` of a cell that may not be compared with all others of its sweep."""
        return {"group": self.group} if self.group else {}


@dataclass(frozen=True)
class SweepSummary:
    """What the run of a whole sweep says."""

    name: str
    """The sweep's."""
    parameters: Mapping[str, str]
    told: Sequence[str]
    """Ids of the cells of which something was told, in their order."""
    courses: Mapping[str, Sequence[float]]
    """What was reached after each of them: the `hypervolume`, or the best of each objective. NaN is nothing yet."""
    counts: Mapping[str, int]
    """Cells by what came of them; `open` ones are still to be told."""
    files: Sequence[Path]
    """What goes with it; names are distinct."""
    page: Path | None = None
    """The report's page, which goes with it too. It says when and how it was made, and links to MLflow's runs, so that another page is no
    reason to write the run anew."""

    @property
    def content(self) -> str:
        """A hash of all of it."""
        files = [(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in self.files]
        courses = [(name, list(map(float, course))) for name, course in self.courses.items()]
        return digest(sorted(self.parameters.items()), list(self.told), courses, sorted(self.counts.items()), files)


@dataclass(slots=True)
class _Run:
    """What the driver has to remember of a run. There are as many as trials and cells, so it is little."""

    id: str
    status: str
    projected: str = ""
    has_parameters: bool = False
    told: set[tuple[int, int]] | None = None
    """Epoch and time of the points that this driver wrote; None where another may have."""
    artifacts: str = ""
    """Where they go; empty where that has to be asked."""

    @property
    def is_new(self) -> bool:
        """Whether it has the tags that it was to be made with: one that was found may have others."""
        return self.told is not None


class Projection:
    """The MLflow runs of one sweep. `get_on` is called after each call to MLflow in what may take many, `check` before each: it raises
    LeaseLost where another driver may have taken over.
    """

    def __init__(
        self,
        spec: SweepSpec,
        trials: Mapping[str, Sequence[Trial]],
        ledger: Ledger,
        identity: Identity,
        uri: str,
        commit: str,
        get_on: Callable[[], None],
        check: Callable[[], None],
    ) -> None:
        """`trials` has those of each cell by its id; a search adds to it. `identity` is the ledger's storage's."""
        make_database(uri)
        self._uri = uri
        self._identity = identity
        self._owner = Owner(identity.id, spec.name, trials, ledger)
        self._client = Checked(MlflowClient(tracking_uri=uri), check)
        self._ledger = ledger
        self._commit = commit
        self._get_on = get_on
        self._trials = trials
        self._runs: dict[str, _Run] = {}
        """Id of a trial or cell, or name of the sweep, to its run."""
        self.opened = False
        """Whether the runs that are there have been found, so that some may have been written."""
        self._orphaned: set[str] = set()
        """Cells with trials' runs that name another run than the cell's as their parent."""
        self._doubted: set[tuple[str, str]] = set()
        """Kind and id of runs that MLflow did not say it made; it may have."""
        self.whole = ""
        """What the experiment says of itself: the `digest` that was given to `note_whole` last, if nothing was written since."""
        self._whole_tag = f"projected.{identity.id}"
        self._experiment = self._find_experiment(spec.name)

    def _find_experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        moved = self._follow()
        if found is None:
            try:
                return self._make_experiment(name)
            except Exception:  # another storage's driver may have been faster
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage == "active":
            self.whole = "" if moved else found.tags.get(self._whole_tag, "")
        else:  # MLflow brings all its runs back, deleted ones too, of every storage: what it says of itself is not to be believed
            self._client.restore_experiment(found.experiment_id)
            for tag in [tag for tag in found.tags if tag.startswith("projected.")]:
                self._client.set_experiment_tag(found.experiment_id, tag, "")
        return str(found.experiment_id)

    def _make_experiment(self, name: str) -> str:
        # The tag makes the UI open on runs and charts; without it, it opens on traces of language models.
        tags = {"mlflow.experimentKind": "custom_model_development"}
        made = str(self._client.create_experiment(name, artifact_location=self._artifact_location(), tags=tags))
        self.opened = True  # there are no runs to look for
        return made

    def _follow(self) -> bool:
        return artifact_location.follow(self._uri, self._ledger.storage, self._identity)

    def _artifact_location(self) -> str | None:
        if sqlite_file(self._uri) is None:
            return None
        return artifact_location.folder_of(self._ledger.storage).as_uri()

    def reachable(self) -> bool:
        """Whether the store answers."""
        try:
            self._client.get_experiment(self._experiment)
        except Exception:  # whatever a store raises; see Outages
            return False
        return True

    def open(self, anew: bool) -> None:
        """Find the runs that are there; with `anew`, mark them deleted. To be called before anything else is written."""
        if self.whole:
            self.note_whole("")
        if anew:
            self._delete_runs([run.info.run_id for run in self._pages()])
        else:
            self._find_runs()
            self._follow()  # of the runs that have just been adopted
        self.opened = True

    def note_whole(self, digest: str) -> None:
        """Note with the experiment that all its runs are as the ledger has them."""
        self._client.set_experiment_tag(self._experiment, self._whole_tag, digest)
        self.whole = digest

    def _find_runs(self) -> None:
        found: dict[str, list[_Run]] = {}
        parents: dict[str, set[str]] = {}
        for run in self._pages():
            tags = run.data.tags
            found.setdefault(tags[f"{tags['kind']}_id"], []).append(self._adopted(run))
            if tags["kind"] == "trial":
                parents.setdefault(tags["cell_id"], set()).add(tags.get(PARENT, ""))
        doubled = [run.id for runs in found.values() if len(runs) > 1 for run in runs]
        self._delete_runs(doubled)  # which of them is right is not known, and the ledger is
        self._runs = {key: runs[0] for key, runs in found.items() if len(runs) == 1}
        self._orphaned = {cell for cell, named in parents.items() if cell not in self._runs or named != {self._runs[cell].id}}

    def _adopted(self, run: StoredRun) -> _Run:
        """A run that was found. An earlier version's gets the storage's tag; one that has lost its artifacts counts as not whole."""
        tags, run_id = run.data.tags, run.info.run_id
        if STORAGE_TAG not in tags:
            self._client.set_tag(run_id, STORAGE_TAG, self._identity.id)
        known = _known(run)
        has_artifacts = tags["kind"] == "sweep" or (tags["kind"] == "trial" and is_stamp(known.projected))
        if has_artifacts and artifact_location.is_lost(self._uri, self._ledger.storage, run.info.artifact_uri, run_id):
            known.projected = ""
        return known

    def _pages(self, only: str = "") -> Iterator[StoredRun]:
        """The experiment's runs that belong to the storage."""
        token = None
        while True:
            page = self._client.search_runs([self._experiment], only, max_results=PAGE, page_token=token)
            self._get_on()
            yield from (run for run in page if self._owner.owns(run.data.tags, run.info.start_time))
            token = page.token
            if not token:
                return

    def _delete_runs(self, run_ids: Sequence[str]) -> None:
        for run_id in run_ids:
            self._client.delete_run(run_id)
            self._get_on()

    def begin(self, trial: Trial) -> None:
        """The trial's run, RUNNING."""
        run = self._runs.get(trial.id)
        if run is None:
            self._create_trial(trial, self._tags_of_trial(trial, "running", "", self._commit))
        elif run.status != "RUNNING":
            self._client.update_run(run.id, status="RUNNING")
            self._client.set_tag(run.id, "status", "running")
            run.status = "RUNNING"

    def epochs(self, trial: Trial, epochs: Sequence[Epoch]) -> None:
        """Points of the learning curve."""
        self.begin(trial)
        run = self._runs[trial.id]
        self._log(run, trial.cell, {"seed": trial.seed}, _points(epochs, run.told or set()))
        if run.told is not None:
            run.told |= _times(epochs)

    def project(self, trial: Trial, mark: str) -> None:
        """Everything the ledger knows of a trial that does not run; nothing if that has been written before."""
        run = self._runs.get(trial.id)
        if run is not None and run.projected == mark and run.status in run_statuses(mark):
            return
        result = self._ledger.result(trial) if is_stamp(mark) else None
        status = result.status if result else mark.partition(" ")[0]
        history = result.history if result else self._history_so_far(trial)
        tags = self._tags_of_trial(trial, status, mark, str(result.provenance.get("commit", "")) if result else "")
        if run is not None and self._shows_otherwise(run, mark, history):
            self._delete(trial.id)
            run = None
        if run is None:
            run = self._create_trial(trial, tags)
            tags = {} if run.is_new else tags
        if result:
            self._put(run, lambda folder: run_files.put(folder, self._ledger, result))
        points = _points(history, run.told or set()) + (_finals(result) if result else [])
        self._log(run, trial.cell, {"seed": trial.seed}, points, tags)
        self._end(run, RUN_STATUS[status], self._ended_ms(result) if result else self._stopped_ms(trial, status))
        run.projected, run.told, run.artifacts = mark, None, ""  # and no more of it is remembered

    def _history_so_far(self, trial: Trial) -> tuple[Epoch, ...]:
        """Of a trial that has not ended, from its checkpoint."""
        checkpoint = self._ledger.checkpoint(trial)
        if not checkpoint.exists():
            return ()
        from mopoe_core.training.training import history_in  # torch: seconds, where a trial has not ended

        return history_in(checkpoint, trial.config, trial.seed, trial.id)

    def _shows_otherwise(self, run: _Run, mark: str, history: Sequence[Epoch]) -> bool:
        """Whether a run has points that the ledger does not have: of another result, or of epochs that were trained again."""
        if is_stamp(run.projected) and run.projected != mark:
            return True
        if not is_stamp(mark) or not history:
            return False
        told = run.told
        if told is None:
            name = next(iter(history[0].values))
            told = {(point.step, point.timestamp) for point in self._client.get_metric_history(run.id, name)}
        return not told <= _times(history)

    def _ended_ms(self, result: TrialResult) -> int:
        """When the trial's evaluation ended; of one that diverged in its first epoch, when its attempt did."""
        if result.history:
            return result.history[-1].timestamp_ms + int(result.evaluate_seconds * 1000)
        return self._ledger.ended_ms(result.trial) or self._ledger.started_ms(result.trial) or 0

    def _stopped_ms(self, trial: Trial, status: str) -> int | None:
        """When a trial without a result stopped; None for a pending one that left no note."""
        return self._ledger.ended_ms(trial) or (None if status == "pending" else self._ledger.started_ms(trial))

    def summarise(self, summary: CellSummary, marks: Mapping[str, str] | None = None) -> None:
        """The run of a cell, with the times of its trials; `marks` has those of its trials, if the caller knows them.

        MLflow shows the highest step's points and keeps all: a cell whose numbers have changed has a run made anew, or one that
        loses a seed would go on showing the mean of more, and none that is made from the ledger would have the points of before.
        """
        cell, members = summary.cell, self._trials.get(summary.cell.id, [])
        if not (summary.n or cell.id in self._runs or cell.id in self._orphaned):
            return
        stamps = [mark for trial in members if is_stamp(mark := marks.get(trial.id, "") if marks else self._ledger.stamp(trial))]
        content = digest(summary.n, _plain(summary.values), sorted(stamps), *summary.tags.values())
        count = f"{summary.n}/{summary.n_planned}"
        complete, mark = summary.n == summary.n_planned, f"{content} {count}"
        status, run_status = ("completed", "FINISHED") if complete else ("pending", "KILLED")
        known = self._runs.get(cell.id)
        if known is not None and known.projected.partition(" ")[0] not in ("", content):
            self._delete(cell.id)
            self._orphaned.add(cell.id)
        run = self._run_of_cell(cell)
        if run.projected == mark and run.status == run_status:
            return
        ended_ms = self._cell_ended_ms(members)
        tags = {"projected": mark, "n": count, "status": status, **summary.tags}
        self._log(run, cell, {}, _cell_points(summary, ended_ms), tags)
        self._end(run, run_status, ended_ms)
        run.projected = mark

    def sweep(self, summary: SweepSummary) -> None:
        """The run of the sweep, with the times of its trials; made anew where it says something else, for the reason that cells' are, or
        was not written to its end.
        """
        mark, known = summary.content, self._runs.get(summary.name)
        done = not summary.counts.get("open")
        status, run_status = ("completed", "FINISHED") if done else ("pending", "KILLED")
        if known is not None and known.projected == mark and known.status == run_status:
            return
        if known is not None and known.projected != mark:
            self._delete(summary.name)
        run = self._runs.get(summary.name) or self._create_sweep(summary)
        ends = [self._cell_ended_ms(self._trials.get(cell_id, [])) for cell_id in summary.told]
        self._put(run, partial(copy_files, [*summary.files, *([summary.page] if summary.page else [])]))
        parameters = [] if run.has_parameters else [Param(name, value) for name, value in summary.parameters.items()]
        tags = {"projected": mark, "status": status, **{f"cells_{name}": str(count) for name, count in summary.counts.items()}}
        points = _sweep_points(summary, ends)
        for start in range(0, len(points), MOST_POINTS):
            self._client.log_batch(run.id, points[start : start + MOST_POINTS])
        self._client.log_batch(run.id, [], parameters, [RunTag(*tag) for tag in tags.items()])
        run.has_parameters = True
        self._end(run, run_status, max(ends, default=None))
        run.projected = mark

    def _create_sweep(self, summary: SweepSummary) -> _Run:
        started = [ms for own in self._trials.values() for trial in own if (ms := self._ledger.started_ms(trial))]
        tags = {"kind": "sweep", "sweep_id": summary.name, "status": "pending", "mlflow.runName": summary.name}
        return self._create("sweep", summary.name, tags, min(started, default=None))

    def _cell_ended_ms(self, members: Sequence[Trial]) -> int:
        """When the last of a cell's completed trials ended; where none completed, when the last of them stopped."""
        results = [result for trial in members if (result := self._ledger.result(trial)) is not None]
        completed = [self._ended_ms(result) for result in results if result.status == "completed"]
        stopped = [ms for trial in members if (ms := self._ledger.ended_ms(trial) or self._ledger.started_ms(trial))]
        return max(completed or stopped, default=0)

    def close(self) -> None:
        """Leave no run RUNNING of which nothing else was said, as of trials that the sweep no longer has; nor one that was made twice."""
        for run in [run for run in self._runs.values() if run.status == "RUNNING"]:
            self._client.set_tag(run.id, "status", "cancelled")
            self._end(run, "KILLED", int(time.time() * 1000))
        for kind, key in [doubt for doubt in self._doubted if doubt[1] in self._runs]:
            found = [run.info.run_id for run in self._search(kind, key)]
            self._delete_runs([run_id for run_id in found if run_id != self._runs[key].id])
            self._doubted.remove((kind, key))

    def _run_of_cell(self, cell: Cell) -> _Run:
        run = self._runs.get(cell.id)
        if run is None:
            started = [ms for trial in self._trials.get(cell.id, []) if (ms := self._ledger.started_ms(trial))]
            tags = {"kind": "cell", "status": "pending", "mlflow.runName": cell.label, **cell_tags(cell)}
            run = self._create("cell", cell.id, tags, min(started, default=None))
        if cell.id in self._orphaned:
            for child in self._pages(f"tags.kind = 'trial' and tags.cell_id = '{cell.id}'"):
                self._client.set_tag(child.info.run_id, PARENT, run.id)
            self._orphaned.discard(cell.id)
        return run

    def _tags_of_trial(self, trial: Trial, status: str, mark: str, commit: str) -> dict[str, str]:
        commit = commit or self._commit
        about = {"kind": "trial", "trial_id": trial.id, "seed": str(trial.seed), "status": status, "projected": mark}
        commits = {"git_commit": commit, "mlflow.source.git.commit": commit}
        parent = {PARENT: self._run_of_cell(trial.cell).id}
        return {**about, "mlflow.runName": trial.label, **cell_tags(trial.cell), **commits, **parent}

    def _create_trial(self, trial: Trial, tags: Mapping[str, str]) -> _Run:
        return self._create("trial", trial.id, tags, self._ledger.started_ms(trial))

    def _create(self, kind: str, key: str, tags: Mapping[str, str], started_ms: int | None) -> _Run:
        """A new run; the one that is there, if MLflow made it and could not say so."""
        if (kind, key) in self._doubted and (made := next(iter(self._search(kind, key)), None)) is not None:
            self._runs[key] = self._placed(made, _known(made))
            return self._runs[key]
        try:
            made = self._client.create_run(self._experiment, start_time=started_ms, tags={**tags, STORAGE_TAG: self._identity.id})
        except Exception:
            self._doubted.add((kind, key))
            raise
        self._runs[key] = _Run(made.info.run_id, made.info.status, told=set())
        return self._placed(made, self._runs[key])

    def _placed(self, made: StoredRun, run: _Run) -> _Run:
        """The run, with its artifacts in this storage."""
        run.artifacts = artifact_location.place_run(self._uri, self._ledger.storage, made.info.artifact_uri, run.id)
        return run

    def _search(self, kind: str, key: str) -> list[StoredRun]:
        return list(self._pages(f"tags.kind = '{kind}' and tags.{kind}_id = '{key}'"))

    def _delete(self, key: str) -> None:
        self._client.delete_run(self._runs[key].id)
        del self._runs[key]

    def _log(
        self, run: _Run, cell: Cell, more: Mapping[str, Any], points: Sequence[Point], tags: Mapping[str, str] | None = None
    ) -> None:
        """Points and tags in one call, with the run's parameters if it has none."""
        logged = {field: getattr(cell.config, field) for field in PARAMETERS} | cell.config.canonical() | dict(more)
        parameters = [] if run.has_parameters else [Param(name, str(value)) for name, value in logged.items()]
        self._client.log_batch(run.id, points, parameters, [RunTag(name, value) for name, value in (tags or {}).items()])
        run.has_parameters = True

    def _end(self, run: _Run, status: str, ended_ms: int | None) -> None:
        if ended_ms is None:
            self._client.update_run(run.id, status=status)
        else:
            self._client.set_terminated(run.id, status, ended_ms)
        run.status = status

    def _put(self, run: _Run, put: Callable[[Path], object]) -> None:
        """Artifacts, straight into their place if that is a folder of this machine: the client would read the run first, for 5 ms."""
        where = urlsplit(run.artifacts or self._client.get_run(run.id).info.artifact_uri)
        if where.scheme == "file":
            put(Path(url2pathname(where.path)))
            return
        with scratch("artifacts") as folder:
            put(Path(folder))
            self._client.log_artifacts(run.id, folder)


@dataclass(frozen=True)
class _Item:
    """Something that was told to the tracker."""

    kind: str
    """`begun`, `epoch`, `changed`, `summary` or `close`."""
    key: str = ""
    """Id of a trial or cell."""
    epochs: tuple[Epoch, ...] = ()
    summaries: tuple[CellSummary, ...] = ()
    sweep: SweepSummary | None = None


class Tracker(Observer):
    """Writes to MLflow from a thread of its own, in batches, so that the driver never waits for it.

    With `look`, `close` looks at every run, whatever the experiment says of itself; with `anew`, every run is written anew. `check` is
    called before each call to MLflow, and raises LeaseLost where another driver may have taken over. Then nothing more is written.
    """

    def __init__(
        self,
        spec: SweepSpec,
        trials: Sequence[Trial],
        ledger: Ledger,
        uri: str,
        commit: str,
        check: Callable[[], None] = lambda: None,
        look: bool = False,
        anew: bool = False,
    ) -> None:
        self.outages = Outages(self._answers, passed=LeaseLost)
        self._check = check
        self._lost: LeaseLost | None = None
        self._ledger = ledger
        self._trials: dict[str, Trial] = {}
        self._of_cell: dict[str, list[Trial]] = {}
        self.add(trials)
        identity = identify(ledger.storage)
        self._connect = partial(
            Projection, spec, self._of_cell, ledger, identity, uri, commit, get_on=self.outages.get_on, check=check
        )
        self._look, self._anew = look, anew
        self._uri, self._password = uri, urlsplit(uri).password
        self._projection: Projection | None = None
        self._queue: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._missed: set[str] = set()
        """Trials whose end could not be written."""
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def add(self, trials: Sequence[Trial]) -> None:
        """Trials that a search has come to want, before anything else is said of them."""
        for trial in trials:
            if trial.id not in self._trials:
                self._trials[trial.id] = trial
                self._of_cell.setdefault(trial.cell.id, []).append(trial)

    @property
    def problems(self) -> list[str]:
        """What could not be written, one line each: the first few, and how many more. A later command writes it from the ledger."""
        notes = [without_secrets(note, self._uri) for note in self.outages.notes]
        return [note.replace(self._password, "***") if self._password else note for note in notes]  # however short it is

    @property
    def behind(self) -> int:
        """What was told and is not written yet; of more than can be written in moments, the user should hear."""
        return self._queue.qsize()

    def begun(self, trial_id: str) -> None:
        """A trial has started."""
        self._queue.put(_Item("begun", trial_id))

    def epoch(self, trial_id: str, epoch: Epoch) -> None:
        """A trial has finished an epoch."""
        self._queue.put(_Item("epoch", trial_id, epochs=(epoch,)))

    def changed(self, trial_id: str) -> None:
        """A trial has ended, one way or another: write what the ledger says."""
        self._queue.put(_Item("changed", trial_id))

    def on_trials_begun(self, event: TrialsBegun) -> None:
        """Trials have started."""
        for trial_id in event.attempts:
            self.begun(trial_id)

    def on_epochs_ended(self, event: EpochsEnded) -> None:
        """Trials have finished an epoch."""
        for trial_id, epoch in event.epochs.items():
            self.epoch(trial_id, epoch)

    def on_trial_ended(self, event: TrialEnded) -> None:
        """A trial has completed or diverged."""
        self.changed(event.trial_id)

    def on_trial_stopped(self, event: TrialStopped) -> None:
        """A search has stopped a trial."""
        self.changed(event.trial_id)

    def summary(self, summary: CellSummary) -> None:
        """A cell's numbers have changed."""
        self._queue.put(_Item("summary", summary.cell.id, summaries=(summary,)))

    def close(self, summaries: Sequence[CellSummary], within: float = float("inf"), sweep: SweepSummary | None = None) -> None:
        """Write everything that is outstanding, then the state of all trials, cells and the sweep as the ledger has it, and stop.

        `within` seconds, if need be without having written all. Without `sweep`, its run stays as it is. Raises LeaseLost where another
        driver may have taken over.
        """
        self.outages.get_on()
        deadline = time.monotonic() + within
        self._closing.set()
        self._queue.put(_Item("close", summaries=tuple(summaries), sweep=sweep))
        while self._thread.is_alive():
            self._thread.join(min(1.0, PATIENCE_SECONDS, within))
            if time.monotonic() > deadline:
                self.outages.give_up("interrupted before all was written")
                return
            if self.outages.silent_seconds() > PATIENCE_SECONDS:
                self.outages.give_up(f"MLflow has not answered for {PATIENCE_SECONDS:.0f} s")
                return
        if self._lost is not None:
            raise self._lost

    def _work(self) -> None:
        try:
            self._work_on()
        except LeaseLost as error:
            self._lost = error

    def _work_on(self) -> None:
        while True:
            items = self._next_items()
            self._missed -= {item.key for item in items if item.kind == "begun"}
            for item in _shortened(items):
                if not self.outages.attempt(f"{item.kind} {item.key}", partial(self._apply, item)) and item.kind == "changed":
                    self._missed.add(item.key)
            if items and items[-1].kind == "close":
                self.outages.again()
                self._settle(items[-1].summaries, items[-1].sweep)
                return
            for key in list(self._missed):
                if self.outages.attempt(f"changed {key}", partial(self._project, key)):
                    self._missed.remove(key)

    def _next_items(self) -> list[_Item]:
        """What has come; nothing, after a while, if there is something to try again."""
        try:
            items = [self._queue.get(timeout=AWAY_SECONDS if self._missed else None)]
        except queue.Empty:
            return []
        if items[0].kind == "epoch":
            self._closing.wait(BATCH_SECONDS)  # let more epochs arrive: one call for all of them
        while not self._queue.empty():
            items.append(self._queue.get())
        return items

    def _apply(self, item: _Item) -> None:
        if item.kind == "begun":
            self._opened().begin(self._trials[item.key])
        elif item.kind == "epoch":
            self._opened().epochs(self._trials[item.key], item.epochs)
        elif item.kind == "changed":
            self._project(item.key)
        elif item.kind == "summary":
            self._opened().summarise(item.summaries[0])

    def _project(self, key: str) -> None:
        self._opened().project(self._trials[key], mark_of(self._ledger, self._trials[key]))

    def _settle(self, summaries: Sequence[CellSummary], sweep: SweepSummary | None) -> None:
        """Write what the ledger says of every trial, then every cell, then the sweep; nothing if that is what the experiment says it
        has.
        """
        attempt, marks = self.outages.attempt, self._marks()
        cells = [(s.cell.id, s.n, s.n_planned, _plain(s.values), *s.tags.values()) for s in summaries]
        whole = digest(sorted(marks.items()), cells, *([sweep.content] if sweep else []))
        if not attempt("experiment", self._connected) or self._has(whole):
            return
        done = [attempt(f"trial {key}", partial(self._settle_trial, key, mark)) for key, mark in marks.items() if mark]
        done += [attempt(f"cell {summary.cell.id}", partial(self._settle_cell, summary, marks)) for summary in summaries]
        done += [attempt(f"sweep {sweep.name}", partial(self._settle_sweep, sweep))] if sweep else []
        done += [attempt("closing", self._close_runs)]
        if all(done) and len(marks) == len(self._trials):
            attempt("experiment", partial(self._connected().note_whole, whole))

    def _marks(self) -> dict[str, str]:
        """What the ledger says of each trial; entries that cannot be read are noted and left out."""
        marks: dict[str, str] = {}
        for trial in self._trials.values():
            try:
                marks[trial.id] = mark_of(self._ledger, trial)
            except (LedgerError, OSError) as error:
                self.outages.note(f"trial {trial.id}: {error}")
        return marks

    def _has(self, whole: str) -> bool:
        """Whether nothing has been written since the experiment had all this, and nobody asked to look."""
        projection = self._connected()
        return projection.whole == whole and not (projection.opened or self._look or self._anew)

    def _settle_trial(self, key: str, mark: str) -> None:
        self._opened().project(self._trials[key], mark)

    def _settle_cell(self, summary: CellSummary, marks: Mapping[str, str]) -> None:
        self._opened().summarise(summary, marks)

    def _settle_sweep(self, summary: SweepSummary) -> None:
        self._opened().sweep(summary)

    def _close_runs(self) -> None:
        self._opened().close()

    def _connected(self) -> Projection:
        if self._projection is None:
            self._projection = self._connect()
        return self._projection

    def _opened(self) -> Projection:
        projection = self._connected()
        if not projection.opened:
            projection.open(self._anew)
        return projection

    def _answers(self) -> bool:
        return self._projection is not None and self._projection.reachable()


def _shortened(items: Sequence[_Item]) -> list[_Item]:
    """Without what a later item of the same trial says again; an item's epochs are those of all that it stands for."""
    kept: dict[tuple[str, str], _Item] = {}
    for item in reversed(items):
        if (item.key, "changed") in kept and item.kind in ("begun", "epoch", "changed"):
            continue
        later = kept.get((item.key, item.kind))
        if later is None:
            kept[item.key, item.kind] = item
        elif item.kind == "epoch":
            kept[item.key, "epoch"] = _Item("epoch", item.key, epochs=item.epochs + later.epochs)
    return [item for item in reversed(kept.values()) if item.kind != "close"]


def make_database(uri: str) -> None:
    """See that a SQLite file is there whole or not at all: MLflow makes one in dozens of steps, and does not go on with one whose maker
    was killed on the way.
    """
    path = sqlite_file(uri)
    if path is None or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    new_file(temporary)
    MlflowClient(tracking_uri=f"sqlite:///{temporary}").search_experiments(max_results=1)
    name_unless_taken(temporary, path)  # another storage's driver may have made it meanwhile, and written to it


def _known(run: StoredRun) -> _Run:
    return _Run(run.info.run_id, run.info.status, run.data.tags.get("projected", ""), bool(run.data.params))


def cell_tags(cell: Cell) -> dict[str, str]:
    """Returns the tags that a cell's run and the runs of its trials have."""
    config = cell.config
    return {"cell_id": cell.id, "model": config.model, "dataset": config.dataset, "beta": spelled(config.beta)}


def _times(epochs: Iterable[Epoch]) -> set[tuple[int, int]]:
    return {(epoch.epoch, epoch.timestamp_ms) for epoch in epochs}


def _points(epochs: Sequence[Epoch], told: set[tuple[int, int]]) -> list[Point]:
    """Points of the epochs that were not told before."""
    new = [epoch for epoch in epochs if (epoch.epoch, epoch.timestamp_ms) not in told]
    return [Point(name, value, epoch.timestamp_ms, epoch.epoch) for epoch in new for name, value in epoch.values.items()]


def _finals(result: TrialResult) -> list[Point]:
    at_ms, step = (result.history[-1].timestamp_ms, result.history[-1].epoch) if result.history else (0, 0)
    return [Point(metric.name, metric.value, at_ms, step) for metric in result.metrics]


def _cell_points(summary: CellSummary, at_ms: int) -> list[Point]:
    if not summary.n:
        return []
    points = []
    for name, numbers in summary.values.items():
        points.append(Point(name, numbers["mean"], at_ms, summary.n))
        spread = {part: numbers[part] for part in ("sd", "low", "high") if numbers[part] == numbers[part]}
        points += [Point(f"{name}.{part}", value, at_ms, summary.n) for part, value in spread.items()]
    return [*points, Point("n", summary.n, at_ms, summary.n)]  # last: the compare view opens on the first metric


def _sweep_points(summary: SweepSummary, ends: Sequence[int]) -> list[Point]:
    """What was reached after so many cells, the step, at the time at which the last of them had ended."""
    since = list(accumulate(ends, max))
    points = [Point("cells", len(since), since[-1], len(since))] if since else []
    for name, course in summary.courses.items():
        reached = zip(since, map(float, course), strict=True)
        points += [Point(name, value, at_ms, step) for step, (at_ms, value) in enumerate(reached, 1) if value == value]
    return points


def copy_files(files: Sequence[Path], into: Path) -> None:
    """Copies files into a folder; when it returns, their content and names are on disk."""
    make_folder(into)
    for path in files:
        shutil.copyfile(path, into / path.name)
        sync(into / path.name)
    sync(into)


def _plain(values: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {name: {part: float(number) for part, number in numbers.items()} for name, numbers in values.items()}
