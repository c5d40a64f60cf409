"""MLflow as a projection of the ledger. The only importer of MLflow, used by the driver alone.

One experiment a sweep; one run a trial, found or created by the tag `trial_id`; one run a cell, its parent, with the mean over seeds
under the metric's own name and `.sd`, `.low`, `.high` and `n` beside it. Everything that is written carries a timestamp from the ledger,
and MLflow stores identical points once: writing a trial again changes nothing.

MLflow may be away: what could not be written is counted, and the next `sweep` writes it.
"""

import hashlib
import json
import logging
import os
import queue
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # the default of 7 with backoff blocks for minutes

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric as Point
from mlflow.entities import Param, RunTag

from mopoe_core.files import AnyPath, near
from mopoe_core.names import Epoch
from mopoe_core.remote import without_secrets
from orchestrator.ledger import Ledger
from orchestrator.spec import SweepSpec
from orchestrator.trial import Cell, Trial, TrialResult

for noisy in ("alembic", "mlflow"):
    logging.getLogger(noisy).setLevel(logging.ERROR)  # schema migrations, announced line by line

RUN_STATUS = {
    "pending": "SCHEDULED",
    "running": "RUNNING",
    "completed": "FINISHED",
    "diverged": "FAILED",
    "failed": "FAILED",
    "cancelled": "KILLED",
}
PARAMETERS = ("dataset", "source", "networks", "model", "beta", "latent_dim", "epochs", "batch_size", "learning_rate")
"""Logged for every run; other fields only where they are not the default, so that the compare view has few columns."""
BATCH_SECONDS = 1.0
AWAY_SECONDS = 30.0
"""A store that does not answer is left alone for so long: each refused call costs seconds of retries."""


def default_uri(storage: AnyPath) -> str:
    """MLFLOW_TRACKING_URI if it is set, else a SQLite file in or near storage (MLflow refuses its old file store)."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{near(storage).absolute() / 'mlflow.db'}"


@dataclass(frozen=True)
class CellSummary:
    """What a cell's run says: one row of the cell table, by metric."""

    cell: Cell
    n: int
    n_planned: int
    values: Mapping[str, Mapping[str, float]]
    """Metric name to `mean`, `sd`, `low`, `high`."""


class Projection:
    """The MLflow runs of one sweep."""

    def __init__(self, spec: SweepSpec, ledger: Ledger, uri: str, commit: str) -> None:
        self._client = MlflowClient(tracking_uri=uri)
        self._ledger = ledger
        self._commit = commit
        self._experiment = self._find_experiment(spec.name, uri)
        self._runs: dict[str, tuple[str, dict[str, str]]] = {}
        """Trial or cell id to run id and tags."""
        self._find_runs()

    def _find_experiment(self, name: str, uri: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            if found.lifecycle_stage == "deleted":
                self._client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)
        artifacts = (near(self._ledger.storage) / "mlartifacts").as_uri() if uri.startswith("sqlite:") else None
        # The tag makes the UI open on runs and charts; without it, it opens on traces of language models.
        tags = {"mlflow.experimentKind": "custom_model_development"}
        return str(self._client.create_experiment(name, artifact_location=artifacts, tags=tags))

    def _find_runs(self) -> None:
        token = None
        while True:
            page = self._client.search_runs([self._experiment], max_results=1000, page_token=token)
            for run in page:
                key = run.data.tags.get("trial_id") or run.data.tags.get("cell_id")
                if key:
                    self._runs[key] = (run.info.run_id, dict(run.data.tags))
            token = page.token
            if not token:
                return

    def reachable(self) -> bool:
        """Whether the store answers."""
        try:
            self._client.get_experiment(self._experiment)
        except Exception:  # see Tracker._write
            return False
        return True

    def begin(self, trial: Trial) -> None:
        """The trial's run, RUNNING."""
        run_id = self._run(trial)
        self._client.update_run(run_id, status="RUNNING")
        self._tag(trial.id, {"status": "running", "projected": ""})  # what stood there before may have to be written again

    def epochs(self, trial: Trial, epochs: Sequence[Epoch]) -> None:
        """Points of the learning curve."""
        points = [Point(name, value, e.timestamp_ms, e.epoch) for e in epochs for name, value in e.values.items()]
        self._client.log_batch(self._run(trial), metrics=points)

    def project(self, trial: Trial, status: str, result: TrialResult | None) -> None:
        """Everything the ledger knows of a trial; nothing if that has been written before."""
        stamp = _stamp(status, result and (result.metrics, result.history, result.attempts, result.provenance))
        if self._runs.get(trial.id, ("", {}))[1].get("projected") == stamp:
            return
        run_id = self._run(trial)
        self._parameters(run_id, trial.cell, {"seed": trial.seed})
        if result is not None:
            self.epochs(trial, result.history)
            end = result.history[-1]
            finals = [Point(m.name, m.value, end.timestamp_ms, end.epoch) for m in result.metrics]
            self._client.log_batch(run_id, metrics=finals)
            self._artifacts(run_id, trial, result)
        if status in ("completed", "diverged", "failed", "cancelled"):
            evaluated_ms = int(result.evaluate_seconds * 1000) if result else 0
            end_ms = result.history[-1].timestamp_ms + evaluated_ms if result else int(time.time() * 1000)
            self._client.set_terminated(run_id, RUN_STATUS[status], end_ms)
        else:
            self._client.update_run(run_id, status=RUN_STATUS[status])
        self._tag(trial.id, {"status": status, "projected": stamp})

    def summarise(self, summary: CellSummary) -> None:
        """The run of a cell. Each change of its numbers has a step of its own, because MLflow shows the highest step: with n as the
        step, a cell that loses a seed would go on showing the mean of more. A cell without a seed has no numbers.
        """
        if not summary.n:
            return
        stamp = _stamp(summary.n, summary.n_planned, summary.values)
        run_id = self._run_of_cell(summary.cell)
        if self._runs[summary.cell.id][1].get("projected") == stamp:
            return
        self._parameters(run_id, summary.cell, {})
        now, step = int(time.time() * 1000), int(self._runs[summary.cell.id][1].get("step", 0)) + 1
        points = [Point("n", summary.n, now, step)]
        for name, numbers in summary.values.items():
            points.append(Point(name, numbers["mean"], now, step))
            spread = {part: numbers[part] for part in ("sd", "low", "high") if numbers[part] == numbers[part]}
            points += [Point(f"{name}.{part}", value, now, step) for part, value in spread.items()]
        self._client.log_batch(run_id, metrics=points)
        complete = summary.n == summary.n_planned
        self._client.set_terminated(run_id, "FINISHED" if complete else "KILLED")
        count, status = f"{summary.n}/{summary.n_planned}", "completed" if complete else "pending"
        self._tag(summary.cell.id, {"projected": stamp, "n": count, "status": status, "step": str(step)})

    def close_cells(self, summaries: Sequence[CellSummary]) -> None:
        """End the runs of cells that still lack seeds when the driver stops: nothing is left RUNNING."""
        for summary in summaries:
            if summary.n < summary.n_planned and summary.cell.id in self._runs:
                self._client.set_terminated(self._runs[summary.cell.id][0], "KILLED")
                self._tag(summary.cell.id, {"status": "pending"})

    def _run(self, trial: Trial) -> str:
        if trial.id in self._runs:
            return self._runs[trial.id][0]
        tags = {"trial_id": trial.id, "seed": str(trial.seed), "mlflow.parentRunId": self._run_of_cell(trial.cell)}
        started_ms = self._ledger.started_ms(trial)
        return self._create(trial.id, trial.cell, trial.label, "trial", tags, {"seed": trial.seed}, started_ms)

    def _run_of_cell(self, cell: Cell) -> str:
        return self._runs[cell.id][0] if cell.id in self._runs else self._create(cell.id, cell, cell.label, "cell", {}, {})

    def _create(
        self,
        key: str,
        cell: Cell,
        name: str,
        kind: str,
        more: dict[str, str],
        parameters: dict[str, Any],
        started_ms: int | None = None,
    ) -> str:
        config = cell.config
        tags = {
            "kind": kind,
            "cell_id": cell.id,
            "status": "pending",
            "model": config.model,
            "dataset": config.dataset,
            "beta": f"{config.beta:g}",
            "git_commit": self._commit,
            "mlflow.source.git.commit": self._commit,
            "mlflow.runName": name,
            **more,
        }
        run = self._client.create_run(self._experiment, start_time=started_ms, tags=tags, run_name=name)
        self._runs[key] = (run.info.run_id, tags)  # before anything else can fail: a second run of this key must not be made
        self._parameters(run.info.run_id, cell, parameters)
        return str(run.info.run_id)

    def _parameters(self, run_id: str, cell: Cell, more: dict[str, Any]) -> None:
        """Log a run's parameters; again is harmless, and mends a run whose first try failed."""
        logged = {field: getattr(cell.config, field) for field in PARAMETERS} | cell.config.canonical() | more
        self._client.log_batch(run_id, params=[Param(k, str(v)) for k, v in logged.items()])

    def _tag(self, key: str, tags: dict[str, str]) -> None:
        run_id, known = self._runs[key]
        self._client.log_batch(run_id, tags=[RunTag(k, v) for k, v in tags.items()])
        known.update(tags)

    def _artifacts(self, run_id: str, trial: Trial, result: TrialResult) -> None:
        """Checkpoint, evaluation table, pictures and provenance."""
        folder = self._ledger.folder(trial)
        if self._ledger.checkpoint(trial).exists():
            self._client.log_artifact(run_id, str(self._ledger.checkpoint(trial)))
        if (folder / "samples").is_dir():
            self._client.log_artifacts(run_id, str(folder / "samples"), "samples")
        with tempfile.TemporaryDirectory() as scratch:
            pd.DataFrame([asdict(m) for m in result.metrics]).to_csv(Path(scratch) / "evaluation.csv", index=False)
            (Path(scratch) / "provenance.json").write_text(json.dumps(result.provenance, indent=1), encoding="utf-8")
            (Path(scratch) / "config.json").write_text(trial.config.model_dump_json(indent=1), encoding="utf-8")
            self._client.log_artifacts(run_id, scratch)


class Tracker:
    """Writes to MLflow from a thread of its own, in batches, so that the driver never waits for it."""

    def __init__(self, spec: SweepSpec, trials: Sequence[Trial], ledger: Ledger, uri: str, commit: str) -> None:
        self._arguments = (spec, ledger, uri, commit)
        self._trials = {trial.id: trial for trial in trials}
        self._ledger = ledger
        self._queue: queue.Queue[tuple[str, str, Any] | None] = queue.Queue()
        self._projection: Projection | None = None
        self._away_until = 0.0
        self.problems: list[str] = []
        """What could not be written, one line each; the next sweep command writes it from the ledger."""
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def begun(self, trial_id: str) -> None:
        """A trial has started."""
        self._queue.put(("begun", trial_id, None))

    def epoch(self, trial_id: str, epoch: Epoch) -> None:
        """A trial has finished an epoch."""
        self._queue.put(("epoch", trial_id, epoch))

    def changed(self, trial_id: str) -> None:
        """A trial has ended, one way or another: write what the ledger says."""
        self._queue.put(("changed", trial_id, None))

    def summary(self, summary: CellSummary) -> None:
        """A cell's numbers have changed."""
        self._queue.put(("summary", summary.cell.id, summary))

    def close(self, summaries: Sequence[CellSummary]) -> None:
        """Write everything that is outstanding, then the state of all trials and cells as the ledger has it, and stop."""
        self._away_until = 0.0  # one more try
        for trial in self._trials.values():
            if self._ledger.state(trial).attempts:
                self.changed(trial.id)
        for summary in summaries:
            self.summary(summary)
        self._queue.put(("close", "", list(summaries)))
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        while True:
            batch = [self._queue.get()]
            if batch[0] is not None and batch[0][0] == "epoch":
                time.sleep(BATCH_SECONDS)  # let more epochs arrive: one call for all of them
            while not self._queue.empty():
                batch.append(self._queue.get())
            self._write([item for item in batch if item is not None])
            if None in batch:
                return

    def _write(self, items: list[tuple[str, str, Any]]) -> None:
        curves: dict[str, list[Epoch]] = {}
        for kind, trial_id, epoch in items:
            if kind == "epoch":
                curves.setdefault(trial_id, []).append(epoch)
        for kind, key, what in items:
            if kind == "epoch":
                what = curves.pop(key, None)
                if what is None:
                    continue
            if time.monotonic() < self._away_until:
                continue  # what is skipped here is in the ledger, and the next sweep command writes it
            try:
                self._apply(kind, key, what)
            except Exception as error:  # whatever a tracking store raises, no trial may suffer for it
                self.problems.append(f"{kind} {key}: {without_secrets(error, self._arguments[2])}")
                if self._projection is None or not self._projection.reachable():
                    self._away_until = time.monotonic() + AWAY_SECONDS

    def _apply(self, kind: str, key: str, what: Any) -> None:
        if self._projection is None:
            self._projection = Projection(*self._arguments)
        if kind == "begun":
            self._projection.begin(self._trials[key])
        elif kind == "epoch":
            self._projection.epochs(self._trials[key], what)
        elif kind == "changed":
            trial = self._trials[key]
            self._projection.project(trial, self._ledger.state(trial).status, self._ledger.result(trial))
        elif kind == "summary":
            self._projection.summarise(what)
        else:
            self._projection.close_cells(what)


def _stamp(*parts: Any) -> str:
    """A hash of what a run shows; by `repr`, because a diverged trial's history holds NaN, which JSON refuses."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
