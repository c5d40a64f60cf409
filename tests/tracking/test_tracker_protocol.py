"""The contract that the writer relies on, tested with every tracker: MLflow, and one that writes JSON lines."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient

from orchestrator.ledger.result import TrialResult
from orchestrator.tracking import writer as writing
from orchestrator.tracking.mlflow.connection import connect
from orchestrator.tracking.tracker import Connect
from orchestrator.tracking.writer import Writer
from tests.support.builders import COHERENCE
from tests.support.users import wait_for
from tests.tracking import json_lines_tracker
from tests.tracking.test_tracking import Sweep, begin, ended, finish, record, small_sweep, stored_runs


@dataclass
class JsonLines:
    """The tracker that writes JSON lines."""

    folder: Path

    def connect(self, sweep: Sweep) -> Connect:
        """Returns the function that makes the tracker of a sweep."""
        return json_lines_tracker.connect(self.folder / "lines", sweep.ledger)

    def trials(self) -> dict[str, tuple[str, dict[int, float], float | None]]:
        """Returns status, loss by epoch and coherence of each trial's run, by the trial's id."""
        trials = {}
        for path in (self.folder / "lines").glob("trial-*.jsonl"):
            head, *points = map(json.loads, path.read_text().splitlines())
            losses = [(step, value) for name, step, value in points if name == "train/loss"]
            assert len(losses) == len(dict(losses)), "a point is doubled"
            coherence = next((value for name, _, value in points if name == COHERENCE), None)
            trials[path.stem.removeprefix("trial-")] = (head["status"], dict(losses), coherence)
        return trials


@dataclass
class Mlflow:
    """MLflow with a SQLite store."""

    folder: Path

    @property
    def uri(self) -> str:
        """Its address."""
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    def connect(self, sweep: Sweep) -> Connect:
        """Returns the function that makes the tracker of a sweep."""
        return connect(sweep.spec.name, sweep.ledger, self.uri, "abc")

    def trials(self) -> dict[str, tuple[str, dict[int, float], float | None]]:
        """Returns the same as `JsonLines.trials`."""
        client, trials = MlflowClient(self.uri), {}
        for run in stored_runs(self.uri):
            if run.data.tags["kind"] == "trial":
                points = client.get_metric_history(run.info.run_id, "train/loss")
                assert len(points) == len({point.step for point in points}), "a point is doubled"
                assert run.data.tags["trial_id"] not in trials, "a run is doubled"
                losses = {point.step: point.value for point in points}
                trials[run.data.tags["trial_id"]] = (run.data.tags["status"], losses, run.data.metrics.get(COHERENCE))
        return trials


Kind = JsonLines | Mlflow


@pytest.fixture(params=[JsonLines, Mlflow])
def tracker(request, tmp_path, monkeypatch) -> Kind:
    """Each tracker in turn, empty."""
    monkeypatch.setattr(writing, "BATCH_SECONDS", 0.05)
    return request.param(tmp_path)


@pytest.fixture
def sweep(tmp_path) -> Sweep:
    """Four trials that have not begun."""
    return small_sweep(tmp_path)


def in_ledger(sweep: Sweep) -> dict[str, tuple[str, dict[int, float], float | None]]:
    """Returns what a tracker should have of the trials that have ended, made from the ledger alone."""
    ended: list[TrialResult] = sweep.ledger.results_of(sweep.every)
    return {r.trial.id: (r.status, {e.epoch: e.values["train/loss"] for e in r.history}, r.value(COHERENCE)) for r in ended}


def driver(tracker: Kind, sweep: Sweep, **more: bool) -> Writer:
    """Returns the writer of a new driver."""
    return Writer(tracker.connect(sweep), sweep.every, sweep.ledger, **more)


def close(sweep: Sweep, writer: Writer) -> None:
    """Close a writer as a driver does; nothing may be left unwritten."""
    writer.close(sweep.summaries())
    assert writer.problems == []


def test_what_was_written_live_is_what_the_ledger_has(tracker, sweep):
    """Each trial that has ended has one run, with its status, every epoch once and its metrics."""
    writer = driver(tracker, sweep)
    for trial in sweep.every[:3]:
        finish(sweep, writer, trial, begin(sweep, writer, trial))
    close(sweep, writer)
    assert tracker.trials() == in_ledger(sweep)
    assert len(in_ledger(sweep)) == 3


def test_writing_again_doubles_nothing(tracker, sweep):
    """A second driver sends the same events. No run and no point changes."""
    record(sweep, *sweep.every)
    for more in ({}, {}, {"look": True}):
        close(sweep, driver(tracker, sweep, **more))
    assert tracker.trials() == in_ledger(sweep)


def test_a_driver_that_was_cut_is_caught_up(tracker, sweep):
    """A driver dies while a trial is in training; the trial ends unseen. The next driver writes all of it, and no epoch twice."""
    first, other = sweep.every[:2]
    dead = driver(tracker, sweep)  # never closed: from here on its thread has nothing to write
    history = begin(sweep, dead, first, 2)
    wait_for(lambda: not dead.behind and len(tracker.trials().get(first.id, ("", {}, None))[1]) == 2)
    sweep.ledger.record(ended(first, history))
    record(sweep, other)
    close(sweep, driver(tracker, sweep))
    assert tracker.trials() == in_ledger(sweep)


def test_all_runs_can_be_made_anew(tracker, sweep):
    """After `anew` the tracker has each of the ledger's trials once, also those that it had before."""
    record(sweep, *sweep.every)
    close(sweep, driver(tracker, sweep))
    close(sweep, driver(tracker, sweep, anew=True))
    assert tracker.trials() == in_ledger(sweep)


def test_a_trial_that_was_reset_has_no_run_until_it_begins_again(tracker, sweep):
    """Its result is withdrawn, and no tracker shows it any more. Once it has ended again, its run is back."""
    record(sweep, *sweep.every)
    close(sweep, driver(tracker, sweep))
    trial = sweep.every[0]
    sweep.ledger.set_aside(trial, "aside")
    close(sweep, driver(tracker, sweep))
    assert tracker.trials() == in_ledger(sweep)
    assert trial.id not in tracker.trials()
    record(sweep, trial)
    close(sweep, driver(tracker, sweep))
    assert tracker.trials() == in_ledger(sweep)
    assert len(tracker.trials()) == 4


def test_a_complete_tracker_is_not_opened_again(tracker, sweep):
    """A driver with nothing new reads no run: the tracker is still complete, and was not opened."""
    record(sweep, *sweep.every)
    close(sweep, driver(tracker, sweep))
    trackers = []
    connect = tracker.connect(sweep)
    close(sweep, Writer(lambda *rest: trackers.append(connect(*rest)) or trackers[-1], sweep.every, sweep.ledger))
    assert [(one.opened, bool(one.complete_digest)) for one in trackers] == [(False, True)]


def test_a_fault_of_the_writer_itself_is_a_problem(tmp_path, monkeypatch):
    """Its thread ends with an error that no tracker has raised. The sweep then does not count as written."""
    sweep = small_sweep(tmp_path)

    def faulty(self):
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(Writer, "_write_next", faulty)
    writer = Writer(JsonLines(tmp_path).connect(sweep), sweep.every, sweep.ledger)
    writer.close([])
    assert [problem.split(":")[0] for problem in writer.problems] == ["ZeroDivisionError"]
