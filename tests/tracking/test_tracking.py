"""MLflow as a copy of the ledger: made again it is the same, its outages cost nothing, and nothing in it is doubled."""

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Metric as Point

from mopoe_core.metric_names import Epoch
from mopoe_core.storage.file_facts import Digest
from mopoe_core.storage.whole_files import write_bytes
from mopoe_core.training.checkpoint import FORMAT
from orchestrator.driver import tracking_step
from orchestrator.execution.events import EpochsEnded, TrialEnded, TrialsBegun
from orchestrator.ledger import attempts
from orchestrator.ledger.attempts import Attempt
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.sweep_file import parse
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial
from orchestrator.tracking import writer as writing
from orchestrator.tracking.mlflow.connection import catch_up, start_writer
from orchestrator.tracking.mlflow.store_address import default_uri
from orchestrator.tracking.summaries import CellSummary, SweepSummary
from orchestrator.tracking.writer import Writer
from tests.support.builders import COHERENCE, LIKELIHOOD, result
from tests.support.naming import unnamed
from tests.support.recorded import delete_as_gc_does
from tests.support.searches import Hunt, of, raw
from tests.support.stores import free_ports

BASE = {"dataset": "mnist_svhn_text", "networks": "small"}
SOON = 20.0
"""Seconds: far more than what must be bounded takes, far less than what is not."""

rebuild = partial(catch_up, anew=True)


@dataclass
class Sweep:
    """A sweep whose trials end when the test says so."""

    spec: SweepSpec
    ledger: Ledger

    @property
    def every(self) -> list[Trial]:
        """All trials of the sweep."""
        return self.spec.trials

    @property
    def uri(self) -> str:
        """The address of the store in its storage."""
        return default_uri(self.ledger.storage)

    def tracker(self, uri: str | None = None, **more: bool) -> Writer:
        """Returns the tracker of a driver."""
        return start_writer(self.spec.name, self.every, self.ledger, uri or self.uri, "abc", **more)

    def summaries(self) -> list[CellSummary]:
        """Returns the summaries of the cells, as a driver makes them."""
        return tracking_step.cell_summaries(self.spec, self.ledger.results_of(self.every))

    def close(self, tracker: Writer) -> list[str]:
        """Close a tracker as a driver does; returns the problems."""
        tracker.close(self.summaries())
        return tracker.problems

    def runs(self, command, uri: str | None = None) -> tuple[str, ...]:
        """Call `catch_up` or `rebuild`; returns the problems."""
        return command(self.spec.name, self.every, self.ledger, uri or self.uri, "abc", self.summaries())


def small_sweep(storage: Path, seeds: int = 2, name: str = "t", **grid: Sequence[object]) -> Sweep:
    """Returns a sweep with cells of these values, and two seeds for each."""
    raw = {"name": name, "base": BASE, "grid": grid or {"model": ["mvae", "mopoe"]}, "seeds": seeds}
    raw["objectives"] = [{"metric": COHERENCE, "goal": "max"}, {"metric": LIKELIHOOD, "goal": "max"}]
    return Sweep(parse(raw), Ledger(storage))


CLOCK = itertools.count(1_700_000_000_000, 1000)


def curve(trial: Trial, epochs: int = 3) -> tuple[Epoch, ...]:
    """Returns a learning curve; each epoch is a second after the last one made."""
    return tuple(Epoch(n, next(CLOCK), {"train/loss": 10.0 / n + trial.seed, "train/seconds": 1.5}) for n in range(1, epochs + 1))


def ended(trial: Trial, history: tuple[Epoch, ...], status: str = "completed") -> TrialResult:
    """Returns a result with this curve, by a worker at another commit than the driver's."""
    values = {COHERENCE: 0.5 + trial.seed / 10, LIKELIHOOD: -1900.0 - trial.seed, "probe/mnist": 0.9}
    return replace(result(trial.cell, trial.seed, values, status, commit="def"), history=history)


def checkpoint(ledger: Ledger, trial: Trial, history: Sequence[Epoch]) -> None:
    """Write the checkpoint that a worker leaves after each epoch."""
    whose = {"trial": trial.id, "seed": trial.seed, "config": trial.config.model_dump()}
    state = {"format": FORMAT, "history": [vars(epoch) for epoch in history], "diverged_at_step": None, **whose}
    torch.save(state, ledger.checkpoint(trial))


def begin(sweep: Sweep, tracker: Writer, trial: Trial, epochs: int = 3) -> tuple[Epoch, ...]:
    """Begin a trial as a worker does, and train some epochs."""
    sweep.ledger.begin(trial)
    tracker.on_trials_begun(TrialsBegun({trial.id: 1}, "worker"))
    history = curve(trial, epochs)
    for epoch in history:
        tracker.on_epochs_ended(EpochsEnded({trial.id: epoch}))
    checkpoint(sweep.ledger, trial, history)
    return history


def finish(sweep: Sweep, tracker: Writer, trial: Trial, history: tuple[Epoch, ...], status: str = "completed") -> None:
    """End a trial as a worker does: pictures, result, record of the attempt."""
    pictures = sweep.ledger.folder(trial) / "samples"
    pictures.mkdir(exist_ok=True)
    (pictures / "joint.png").write_bytes(b"picture")
    sweep.ledger.record(ended(trial, history, status))
    sweep.ledger.end_attempt(trial, 1, status)
    tracker.on_trial_ended(TrialEnded(trial.id, "completed"))


def complete(sweep: Sweep, tracker: Writer, *every: Trial) -> None:
    """Take trials from start to end."""
    for trial in every:
        finish(sweep, tracker, trial, begin(sweep, tracker, trial))


def record(sweep: Sweep, *every: Trial) -> None:
    """End trials while no tracker receives events."""
    for trial in every:
        sweep.ledger.begin(trial)
        sweep.ledger.record(ended(trial, curve(trial)))


def files(client: MlflowClient, run_id: str, folder: str | None = None) -> list[str]:
    """Returns every artifact of a run."""
    paths = []
    for entry in client.list_artifacts(run_id, folder):
        paths += files(client, run_id, entry.path) if entry.is_dir else [entry.path]
    return sorted(paths)


def stored_runs(uri: str, name: str = "t") -> list[Any]:
    """Returns the runs of a sweep's experiment that are not marked as deleted."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(name)
    return list(client.search_runs([experiment.experiment_id], max_results=1000)) if experiment else []


def stored(uri: str, name: str = "t") -> dict[tuple[str, str], dict[str, Any]]:
    """Returns all that MLflow has of a sweep except run ids, by kind and id. A doubled run is an error."""
    client, runs = MlflowClient(uri), stored_runs(uri, name)
    cells = {run.info.run_id: run.data.tags["cell_id"] for run in runs if run.data.tags["kind"].endswith("cell")}
    runs_by_key: dict[tuple[str, str], dict[str, Any]] = {}
    for run in runs:
        tags = dict(run.data.tags)
        if "mlflow.parentRunId" in tags:
            tags["mlflow.parentRunId"] = cells[tags["mlflow.parentRunId"]]
        key = (tags["kind"], tags[f"{tags['kind'].removeprefix('former ')}_id"])
        assert key not in runs_by_key, f"{key} is doubled"
        histories = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
        runs_by_key[key] = {
            "tags": tags,
            "params": run.data.params,
            "points": {name: sorted((p.step, repr(p.value), p.timestamp) for p in points) for name, points in histories.items()},
            "artifacts": files(client, run.info.run_id),
            "status": run.info.status,
            "times": (run.info.start_time, run.info.end_time),
        }
    return runs_by_key


def steps(uri: str, trial: Trial, name: str = "t") -> list[int]:
    """Returns the steps of a trial's learning curve in the store."""
    return [step for step, *_ in stored(uri, name)["trial", trial.id]["points"]["train/loss"]]


def other_store(storage: Path) -> str:
    """An empty store."""
    return f"sqlite:///{storage / 'another.db'}"


@pytest.fixture
def storage(tmp_path, empty_mlflow_store, monkeypatch) -> Path:
    """A storage folder with two empty stores, and trackers with short waits."""
    monkeypatch.setattr(writing, "BATCH_SECONDS", 0.1)
    for name in ("mlflow.db", "another.db"):
        shutil.copy(empty_mlflow_store, tmp_path / name)
    return tmp_path


@pytest.fixture
def eventful(storage) -> Sweep:
    """A sweep that two drivers brought to an end, the first interrupted, with trials of every status."""
    first = small_sweep(storage, model=["mvae", "mmvae", "mopoe"])
    one, two, three, four, five, six = first.every
    tracker = first.tracker()
    complete(first, tracker, one)
    finish(
        first, tracker, three, (*begin(first, tracker, three, 2), Epoch(3, next(CLOCK), {"train/loss": float("nan")})), "diverged"
    )
    unfinished = begin(first, tracker, two, 2)
    first.ledger.cancel(two)
    assert first.close(tracker) == []
    sweep = small_sweep(storage, seeds=3, model=["mvae", "mmvae", "mopoe"])
    tracker = sweep.tracker()
    sweep.ledger.begin(two)
    tracker.on_trials_begun(TrialsBegun({two.id: 1}, "worker"))
    finish(sweep, tracker, two, unfinished + tuple(replace(epoch, epoch=3) for epoch in curve(two, 1)))
    begin(sweep, tracker, four, 2)
    sweep.ledger.end_attempt(four, 1, "failed", "ValueError: no")
    sweep.ledger.fail(four, "ValueError: no")
    begin(sweep, tracker, five, 1)
    sweep.ledger.cancel(five)
    begin(sweep, tracker, six, 2)  # and its worker was killed
    assert sweep.close(tracker) == []
    return sweep


def test_a_rebuilt_store_equals_the_one_that_was_written_live(eventful, storage):
    """Equal are runs, tags, parameters, points with step, value and time, artifacts, statuses, start and end: all except run ids."""
    live = stored(eventful.uri)
    statuses = Counter((kind, run["status"]) for (kind, _), run in live.items())
    trial_statuses = {("trial", "FINISHED"): 2, ("trial", "FAILED"): 2, ("trial", "KILLED"): 1, ("trial", "SCHEDULED"): 1}
    assert statuses == trial_statuses | {("cell", "KILLED"): 3}
    assert any(points[-1][1] == "nan" for run in live.values() for points in run["points"].values())
    another = other_store(storage)
    for _ in range(2):
        assert eventful.runs(rebuild, another) == ()
        assert stored(another) == live


def test_each_curve_has_each_step_once_and_each_final_metric_is_one_bar(eventful):
    """This holds also for a trial that was interrupted and resumed, and for a cell whose numbers have changed."""
    kinds = set()
    for (kind, _), run in stored(eventful.uri).items():
        for name, points in run["points"].items():
            is_curve = name.startswith("train/")
            kinds.add((kind, is_curve))
            assert tuple(step for step, *_ in points) in ([(1, 2, 3), (1, 2), (1,)] if is_curve else [(0,)])
    assert kinds == {("trial", True), ("trial", False), ("cell", False)}


def test_a_database_that_was_deleted_is_made_again(eventful, storage):
    """By `rebuild` in a process that never saw the old database, at the same path; and by `catch_up`."""
    live = stored(eventful.uri)
    (storage / "mlflow.db").unlink()
    code = (
        "from tests.tracking.test_tracking import *\n"
        f"sweep = small_sweep(Path({str(storage)!r}), seeds=3, model=['mvae', 'mmvae', 'mopoe'])\n"
        "assert sweep.runs(rebuild) == ()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2], timeout=200)
    shutil.copy(storage / "mlflow.db", storage / "made_again.db")  # this process knows the deleted one by the other name
    assert stored(f"sqlite:///{storage / 'made_again.db'}") == live
    assert eventful.runs(catch_up, other_store(storage)) == ()
    assert stored(other_store(storage)) == live


def test_a_rebuild_puts_a_wrong_experiment_right_and_leaves_others_runs(eventful):
    """There are doubled runs, wrong points, a deleted run, a run of a trial that the sweep does not have, and another user's run."""
    live, client = stored(eventful.uri), MlflowClient(eventful.uri)
    experiment = client.get_experiment_by_name("t").experiment_id
    runs = {run.data.tags.get("trial_id"): run for run in stored_runs(eventful.uri)}
    one, two, three, *_ = [trial for trial in eventful.every if trial.id in runs]
    client.create_run(experiment, tags=dict(runs[one.id].data.tags))
    client.log_batch(runs[two.id].info.run_id, [Point("train/loss", 1e9, 5, 2), Point("nonsense", 1, 5, 9)])
    client.delete_run(runs[three.id].info.run_id)
    gone = {"kind": "trial", "trial_id": "f" * 16, "cell_id": "f" * 16, "storage_id": runs[one.id].data.tags["storage_id"]}
    client.create_run(experiment, tags=gone)
    theirs = client.create_run(experiment, tags={"kind": "mine", "cell_id": "of my own"}).info.run_id
    client.log_metric(theirs, "x", 1.0)
    assert eventful.runs(rebuild) == ()
    assert client.get_run(theirs).info.lifecycle_stage == "active"
    client.delete_run(theirs)
    assert stored(eventful.uri) == live


def test_an_experiment_that_was_deleted_comes_back(eventful):
    """Each of its runs comes back once, although MLflow also restores runs that were deleted before it."""
    live, client = stored(eventful.uri), MlflowClient(eventful.uri)
    client.delete_experiment(client.get_experiment_by_name("t").experiment_id)
    assert eventful.runs(catch_up) == ()
    assert stored(eventful.uri) == live


def test_catching_up_mends_what_it_can_see(eventful):
    """A doubled, a deleted and a RUNNING run, and a missing run of a cell, are repaired without writing the others anew."""
    live, client = stored(eventful.uri), MlflowClient(eventful.uri)
    runs = {run.data.tags.get("trial_id", run.data.tags["cell_id"]): run for run in stored_runs(eventful.uri)}
    one, two, three, four, *_ = [trial for trial in eventful.every if trial.id in runs]
    client.create_run(runs[one.id].info.experiment_id, tags=dict(runs[one.id].data.tags))
    client.delete_run(runs[two.id].info.run_id)
    client.update_run(runs[three.id].info.run_id, status="RUNNING")
    client.delete_run(runs[four.cell.id].info.run_id)
    assert eventful.runs(catch_up) == ()
    assert stored(eventful.uri) == live
    after = {run.data.tags.get("trial_id", run.data.tags["cell_id"]): run.info.run_id for run in stored_runs(eventful.uri)}
    same = {key for key, run_id in after.items() if run_id == runs[key].info.run_id}
    assert set(after) - same == {one.id, two.id, four.cell.id}


def test_a_command_with_nothing_new_reads_no_run_and_writes_nothing(eventful, monkeypatch):
    """It requests only the experiment, and reads only the checksums of results."""
    calls = []
    for name in ("search_runs", "create_run", "log_batch", "set_terminated", "update_run", "set_experiment_tag", "get_run"):
        monkeypatch.setattr(MlflowClient, name, lambda self, *args, name=name, **more: calls.append(name))
    summaries = eventful.summaries()
    monkeypatch.setattr(Ledger, "result", lambda self, trial: calls.append("result"))
    tracker = eventful.tracker()
    tracker.close(summaries)
    assert tracker.problems == []
    assert calls == []


def test_what_was_written_by_hand_into_a_whole_experiment_is_seen_by_catching_up(eventful):
    """`catch_up`, which compares every run, notices a deleted run; a sweep with nothing to do does not compare."""
    live, client = stored(eventful.uri), MlflowClient(eventful.uri)
    client.delete_run(next(run.info.run_id for run in stored_runs(eventful.uri) if run.data.tags["kind"] == "trial"))
    assert eventful.close(eventful.tracker()) == []
    assert len(stored(eventful.uri)) == len(live) - 1
    assert eventful.runs(catch_up) == ()
    assert stored(eventful.uri) == live


def test_a_run_left_running_by_a_killed_driver_is_put_right(storage):
    """This holds whether its trial has ended meanwhile or not, and for a trial that the sweep no longer has."""
    sweep = small_sweep(storage, seeds=3, model=["mopoe"])
    killed = sweep.tracker()
    histories = [begin(sweep, killed, trial, 2) for trial in sweep.every]
    wait_for(lambda: curves_begun(sweep, 3))
    killed.breaker.give_up("the driver was killed")
    sweep.ledger.record(ended(sweep.every[0], histories[0]))
    fewer = small_sweep(storage, seeds=2, model=["mopoe"])
    assert fewer.runs(catch_up) == ()
    statuses = Counter((run.data.tags["kind"], run.info.status) for run in stored_runs(sweep.uri))
    trial_statuses = {("trial", "FINISHED"): 1, ("trial", "SCHEDULED"): 1, ("former trial", "KILLED"): 1}
    assert statuses == trial_statuses | {("cell", "KILLED"): 1}
    points = {key: run["points"] for (_, key), run in stored(sweep.uri).items()}
    assert [[step for step, *_ in points[trial.id]["train/loss"]] for trial in sweep.every] == [[1, 2]] * 3


def curves_begun(sweep: Sweep, count: int) -> bool:
    """Returns whether this number of curves has begun."""
    return count == sum("train/loss" in run.data.metrics for run in stored_runs(sweep.uri))


def test_epochs_that_were_trained_again_replace_the_first_ones(storage):
    """A power failure lost a checkpoint, and a worker repeats an epoch. Its run has the step once, with this driver and with the next."""
    for model, same_driver in (("mopoe", True), ("mvae", False)):
        sweep = small_sweep(storage, seeds=1, model=[model])
        (trial,) = sweep.every
        tracker = sweep.tracker()
        first = begin(sweep, tracker, trial, 3)
        if not same_driver:
            assert sweep.close(tracker) == []
            tracker = sweep.tracker()
        again = (*first[:2], replace(first[2], timestamp_ms=next(CLOCK)))
        sweep.ledger.begin(trial)
        tracker.on_trials_begun(TrialsBegun({trial.id: 1}, "worker"))
        tracker.on_epochs_ended(EpochsEnded({trial.id: again[2]}))
        time.sleep(1.5 * writing.BATCH_SECONDS)
        finish(sweep, tracker, trial, again)
        assert sweep.close(tracker) == []
        assert steps(sweep.uri, trial) == [1, 2, 3]


@pytest.mark.parametrize("epochs_too", [True, False])
def test_a_trial_that_was_trained_or_evaluated_anew_has_only_its_new_points(storage, epochs_too):
    """Its result was lost or tampered with, and made again. Neither curve nor metrics keep old points."""
    sweep = small_sweep(storage, seeds=1, model=["mopoe"])
    (trial,) = sweep.every
    tracker = sweep.tracker()
    complete(sweep, tracker, trial)
    assert sweep.close(tracker) == []
    before = sweep.ledger.result(trial)
    history = curve(trial) if epochs_too else before.history
    metrics = tuple(replace(metric, value=metric.value / 2) for metric in before.metrics)
    sweep.ledger.record(replace(before, history=history, metrics=metrics))
    assert sweep.close(sweep.tracker()) == []
    assert sweep.runs(rebuild, other_store(storage)) == ()
    assert stored(sweep.uri) == stored(other_store(storage))
    assert {len(points) for name, points in stored(sweep.uri)["trial", trial.id]["points"].items() if name == COHERENCE} == {1}


def test_a_trial_that_fails_twice_is_failed_in_mlflow_both_times(storage):
    """A second attempt sets the run to RUNNING, and its failure sets it to FAILED again."""
    sweep = small_sweep(storage, seeds=1, model=["mopoe"])
    (trial,) = sweep.every
    for _ in range(2):
        sweep.ledger.begin(trial)
        tracker = sweep.tracker()
        tracker.on_trials_begun(TrialsBegun({trial.id: 1}, "worker"))
        wait_for(lambda: ("trial", "RUNNING") in {(run.data.tags["kind"], run.info.status) for run in stored_runs(sweep.uri)})
        sweep.ledger.fail(trial, "ValueError: no")
        assert sweep.close(tracker) == []
        assert stored(sweep.uri)["trial", trial.id]["status"] == "FAILED"


def test_a_cell_that_loses_a_seed_shows_the_mean_of_those_left(storage):
    """MLflow shows the present numbers of a cell, also if it has fewer seeds than before. Every run has its parent."""
    for seeds in (3, 2):
        sweep = small_sweep(storage, seeds=seeds, model=["mopoe"])
        (of,) = {trial.cell for trial in sweep.every}
        record(sweep, *[trial for trial in sweep.every if sweep.ledger.result(trial) is None])
        summary = CellSummary(of, seeds, seeds, {"probe/mnist": {"mean": seeds / 10, "sd": 0.1, "low": 0.0, "high": 1.0}})
        tracker = sweep.tracker()
        tracker.close([summary])
        assert tracker.problems == []
    cell = next(run for run in stored_runs(sweep.uri) if run.data.tags["kind"] == "cell")
    assert (cell.data.metrics["n"], cell.data.metrics["probe/mnist"]) == (2, 0.2)
    parents = {run.data.tags["mlflow.parentRunId"] for run in stored_runs(sweep.uri) if run.data.tags["kind"] == "trial"}
    assert parents == {cell.info.run_id}


@pytest.mark.parametrize("made", [True, False])
def test_a_run_that_mlflow_could_not_say_it_made_is_not_made_twice(storage, monkeypatch, made):
    """If the answer to create_run is lost and the run exists, it is used; if it does not exist, one is made."""
    sweep = small_sweep(storage)
    whole, lost = MlflowClient.create_run, set()

    def lose_first_answers(self, *args, **more):
        key = more["tags"].get("trial_id", more["tags"]["cell_id"])
        if key in lost:
            return whole(self, *args, **more)
        lost.add(key)
        if made:
            whole(self, *args, **more)
        raise OSError("the line is down")

    monkeypatch.setattr(MlflowClient, "create_run", lose_first_answers)
    tracker = sweep.tracker()
    complete(sweep, tracker, *sweep.every)
    wait_for(lambda: finished(sweep.uri) == 4)
    assert Counter(kind for kind, _ in stored(sweep.uri)) == {"trial": 4, "cell": 2}
    sweep.close(tracker)
    assert len(lost) == 6
    assert sweep.runs(rebuild, other_store(storage)) == ()
    assert stored(sweep.uri) == stored(other_store(storage))


def test_a_run_that_is_made_long_after_it_was_asked_for_is_not_left(storage, monkeypatch):
    """A slow server makes a run after its driver has requested it again. The driver finds both when it closes."""
    sweep = small_sweep(storage, seeds=1, model=["mopoe"])
    (trial,) = sweep.every
    whole, late = MlflowClient.create_run, []

    def slow(self, *args, **more):
        if not late:
            late.append(more)
            raise OSError("timed out")
        return whole(self, *args, **more)

    monkeypatch.setattr(MlflowClient, "create_run", slow)
    tracker = sweep.tracker()
    history = begin(sweep, tracker, trial)
    wait_for(lambda: curves_begun(sweep, 1))
    experiment = MlflowClient(sweep.uri).get_experiment_by_name("t").experiment_id
    whole(MlflowClient(sweep.uri), experiment, **late[0])
    finish(sweep, tracker, trial, history)
    assert sweep.close(tracker) == []
    assert Counter(kind for kind, _ in stored(sweep.uri)) == {"trial": 1, "cell": 1}


def test_a_hiccup_while_a_run_is_written_doubles_no_run(storage, monkeypatch):
    """If MLflow refuses the parameters of a new run, the run is used nevertheless, and gets them later."""
    sweep = small_sweep(storage, seeds=1, model=["mopoe"])
    (trial,) = sweep.every
    whole, refusals = MlflowClient.log_batch, []

    def refuse_thrice(self, run_id, *args, **more):
        if len(refusals) < 3:
            refusals.append(run_id)
            raise OSError("the line is down")
        return whole(self, run_id, *args, **more)

    monkeypatch.setattr(MlflowClient, "log_batch", refuse_thrice)
    tracker = sweep.tracker()
    complete(sweep, tracker, trial)
    sweep.close(tracker)
    assert len(refusals) == 3
    assert sorted((kind, run["status"]) for (kind, _), run in stored(sweep.uri).items()) == [
        ("cell", "FINISHED"),
        ("trial", "FINISHED"),
    ]
    assert all(run["params"]["model"] == "mopoe" for run in stored(sweep.uri).values())


def test_damaged_entries_cost_only_their_own_runs(storage):
    """A result and a record of failure were cut. Their trials are named, their runs are not left RUNNING, and the others are written."""
    sweep = small_sweep(storage)
    tracker = sweep.tracker()
    no_result, no_note, *others = sweep.every
    complete(sweep, tracker, no_result, *others)
    begin(sweep, tracker, no_note)
    summaries = sweep.summaries()
    (sweep.ledger.folder(no_result) / "result.json").write_text("{")
    (sweep.ledger.folder(no_note) / "failed.json").write_text("{")
    tracker.close(summaries)
    for trial in (no_result, no_note):
        assert any(trial.id in problem for problem in tracker.problems)
    statuses = {key: run["status"] for (_, key), run in stored(sweep.uri).items()}
    assert [statuses[trial.id] for trial in others] == ["FINISHED"] * 2
    assert "RUNNING" not in statuses.values()


def test_a_cell_whose_trials_were_all_reset_has_no_run(storage):
    """MLflow is as if the cell had never begun: the same as a store that is made from the ledger."""
    sweep = small_sweep(storage)
    record(sweep, *sweep.every)
    assert sweep.runs(catch_up) == ()
    reset = [trial for trial in sweep.every if trial.cell == sweep.every[0].cell]
    for trial in reset:
        sweep.ledger.set_aside(trial, "aside")
    assert sweep.runs(catch_up) == ()
    assert Counter(kind for kind, _ in stored(sweep.uri)) == {"trial": 2, "cell": 1}
    assert sweep.runs(rebuild, other_store(storage)) == ()
    assert stored(sweep.uri) == stored(other_store(storage))


def test_a_run_has_the_pictures_that_a_worker_has_not_moved(storage, monkeypatch):
    """The worker died between its result and the move of its files. The run is FINISHED, with checkpoint and pictures."""
    sweep = small_sweep(storage, seeds=1, model=["mopoe"])
    (trial,) = sweep.every
    end_with_picture(sweep, trial, monkeypatch)
    assert sweep.runs(catch_up) == ()
    run = stored(sweep.uri)["trial", trial.id]
    assert run["status"] == "FINISHED"
    assert {"checkpoint.pt", "samples/joint.png"} <= set(run["artifacts"])


@pytest.mark.parametrize("is_accepted", [False, True])
def test_a_run_without_a_picture_that_its_result_names_is_completed_later(storage, monkeypatch, is_accepted):
    """While the picture is missing, the run is not FINISHED, and one line names the file. If a note says that the trial's checkpoint was
    deleted too, the run is complete without both.
    """
    sweep = small_sweep(storage, seeds=1, model=["mopoe"])
    (trial,) = sweep.every
    end_with_picture(sweep, trial, monkeypatch)
    sweep.ledger.publish(trial)
    picture = Path(str(sweep.ledger.samples(trial)["joint"]))
    picture.rename(storage / "elsewhere.png")
    if is_accepted:
        delete_as_gc_does(sweep.ledger, trial)
        assert sweep.runs(catch_up) == ()
        assert stored(sweep.uri)["trial", trial.id]["status"] == "FINISHED"
        return
    (problem,) = [line for line in sweep.runs(catch_up) if trial.id in line]
    assert str(picture) in problem
    assert ("trial", "FINISHED") not in {(kind, run["status"]) for (kind, _), run in stored(sweep.uri).items()}
    (storage / "elsewhere.png").rename(picture)
    assert sweep.runs(catch_up) == ()
    run = stored(sweep.uri)["trial", trial.id]
    assert (run["status"], "samples/joint.png" in run["artifacts"]) == ("FINISHED", True)


def end_with_picture(sweep: Sweep, trial: Trial, monkeypatch) -> None:
    """End a trial with a checkpoint and a picture, as a worker does that dies before it moves them to the trial's folder."""
    attempt = Attempt.of(sweep.ledger.folder(trial), sweep.ledger.begin(trial, "worker"), "worker")
    for path, content in ((attempt.checkpoint, b"weights"), (attempt.folder / "joint.png", b"picture")):
        write_bytes(path, content)
    named = replace(ended(trial, curve(trial)), checkpoint=Digest.of(b"weights"), samples={"joint": Digest.of(b"picture").sha256})
    with monkeypatch.context() as patched:
        patched.setattr(attempts, "publish", lambda *_: None)
        assert sweep.ledger.record(named, attempt)


def kinds_of(sweep: Sweep) -> dict[str, str]:
    """Returns the tag `kind` of each run of the sweep's storage, by the id of its trial or cell."""
    identity = json.loads((Path(str(sweep.ledger.storage)) / "storage.json").read_text())["id"]
    runs = [run.data.tags for run in stored_runs(sweep.uri) if run.data.tags["storage_id"] == identity]
    kinds = {tags.get("trial_id", tags["cell_id"]): tags["kind"] for tags in runs}
    assert len(kinds) == len(runs), "a run is doubled"
    return kinds


def test_runs_of_cells_and_seeds_that_left_the_sweep_are_told_apart(storage):
    """They stay, and their kind says that they are former ones; so no list of cells or trials has them. Those of another storage in the
    same experiment, and of another sweep of this storage, stay as they are. Once they are back in the file, all is as before.
    """
    whole, fewer = small_sweep(storage, seeds=3), small_sweep(storage, seeds=2, model=["mopoe"])
    elsewhere, another = small_sweep(storage / "elsewhere", seeds=3), small_sweep(storage, seeds=3, name="another")
    record(whole, *whole.every)
    record(elsewhere, *elsewhere.every)
    for sweep in (whole, elsewhere, another):
        assert sweep.runs(catch_up, whole.uri) == ()
    live, others = kinds_of(whole), stored(whole.uri, "another")
    assert fewer.runs(catch_up) == ()
    present = {key for trial in fewer.every for key in (trial.id, trial.cell.id)}
    assert kinds_of(whole) == {key: kind if key in present else f"former {kind}" for key, kind in live.items()}
    assert stored(whole.uri, "another") == others
    identity = json.loads((storage / "elsewhere" / "storage.json").read_text())["id"]
    kinds_elsewhere = {run.data.tags["kind"] for run in stored_runs(whole.uri) if run.data.tags["storage_id"] == identity}
    assert kinds_elsewhere == {"trial", "cell"}
    assert whole.runs(catch_up) == ()
    assert kinds_of(whole) == live
    cells = {run.info.run_id: run.data.tags["cell_id"] for run in stored_runs(whole.uri) if run.data.tags["kind"] == "cell"}
    trials = [run for run in stored_runs(whole.uri) if run.data.tags["kind"] == "trial"]
    assert all(cells[run.data.tags["mlflow.parentRunId"]] == run.data.tags["cell_id"] for run in trials)
    assert {run.data.tags["n"] for run in stored_runs(whole.uri) if run.data.tags["kind"] == "cell"} == {"3/3"}


def search_of(sweep: Sweep, folder: Path, volumes: Sequence[float], **more: Any) -> SweepSummary:
    """Returns the summary of a search with these cells and a figure."""
    folder.mkdir(exist_ok=True)
    (folder / "front.png").write_bytes(repr(volumes).encode())
    cells = tuple(dict.fromkeys(trial.cell.id for trial in sweep.every))[: len(volumes)]
    fields = {"counts": {"completed": len(volumes)}, "files": (folder / "front.png",), **more}
    return SweepSummary("t", {"sampler": "tpe", "cells": "9"}, cells, {"hypervolume": tuple(volumes)}, **fields)


def close_search(sweep: Sweep, search: SweepSummary | None) -> list[str]:
    """Run a driver's command that finds nothing to train; returns the problems."""
    tracker = sweep.tracker()
    tracker.close(sweep.summaries(), sweep=search)
    return tracker.problems


def curve_of(run: dict[str, Any], name: str = "hypervolume") -> list[tuple[int, float]]:
    """Returns steps and values of a metric."""
    return [(step, float(value)) for step, value, _ in run["points"][name]]


def test_a_search_has_one_run_with_its_course_and_figures(storage):
    """After two commands, after catching up and after a rebuild there is one run, the same each time, with the times of the trials."""
    sweep = small_sweep(storage, seeds=1)
    record(sweep, *sweep.every)
    search = search_of(sweep, storage / "report", [1.5, 2.5])
    for _ in range(2):
        assert close_search(sweep, search) == []
    live = stored(sweep.uri)
    assert Counter(kind for kind, _ in live) == {"trial": 2, "cell": 2, "sweep": 1}
    run = live["sweep", "t"]
    assert curve_of(run) == [(1, 1.5), (2, 2.5)]
    assert curve_of(run, "cells") == [(0, 2)]
    assert (run["params"], run["artifacts"], run["status"]) == ({"sampler": "tpe", "cells": "9"}, ["front.png"], "FINISHED")
    cells = [live["cell", trial.cell.id]["times"][1] for trial in sweep.every]
    assert [time for *_, time in run["points"]["hypervolume"]] == [cells[0], max(cells)]
    assert run["times"][1] == max(cells)
    for command, uri in ((catch_up, sweep.uri), (rebuild, sweep.uri), (rebuild, other_store(storage))):
        assert command(sweep.spec.name, sweep.every, sweep.ledger, uri, "abc", sweep.summaries(), search) == ()
        assert stored(uri) == live


@pytest.mark.parametrize(
    "change",
    [
        {"volumes": [1.0, 2.0, 3.0]},
        {"volumes": [1.0, 1.5]},
        {"volumes": [1.0]},
        {"volumes": [1.0, 2.0], "counts": {"completed": 2, "open": 1}},
    ],
    ids=["a cell more", "another reference", "a cell fewer", "a cell is open"],
)
def test_a_search_that_says_something_else_has_a_run_made_anew(storage, change):
    """No old point stays, and there is one run. While a cell is open, the run is not FINISHED."""
    sweep = small_sweep(storage, seeds=1, model=["mvae", "mmvae", "mopoe"])
    record(sweep, *sweep.every)
    assert close_search(sweep, search_of(sweep, storage / "report", [1.0, 2.0])) == []
    search = search_of(sweep, storage / "report", **change)
    assert close_search(sweep, search) == []
    run = stored(sweep.uri)["sweep", "t"]
    assert curve_of(run) == (list(enumerate(change["volumes"], 1)) if len(change["volumes"]) > 1 else [(0, 1.0)])
    assert run["status"] == ("KILLED" if "counts" in change else "FINISHED")
    assert (
        catch_up(sweep.spec.name, sweep.every, sweep.ledger, other_store(storage), "abc", sweep.summaries(), search, anew=True)
        == ()
    )
    assert stored(sweep.uri) == stored(other_store(storage))


def test_a_search_with_nothing_new_is_not_read_and_one_with_a_new_figure_is_written(storage, monkeypatch):
    """The experiment's digest covers the search: with the same figures no run is read, with another figure the run is written."""
    sweep = small_sweep(storage, seeds=1)
    record(sweep, *sweep.every)
    search = search_of(sweep, storage / "report", [1.0, 2.0])
    assert close_search(sweep, search) == []
    calls, whole = [], MlflowClient.search_runs
    monkeypatch.setattr(MlflowClient, "search_runs", lambda self, *args, **more: calls.append(1) or whole(self, *args, **more))
    assert close_search(sweep, search) == []
    assert calls == []
    search.files[0].write_bytes(b"drawn otherwise")
    assert close_search(sweep, search) == []
    assert calls
    (run,) = [run for run in stored_runs(sweep.uri) if run.data.tags["kind"] == "sweep"]
    assert Path(MlflowClient(sweep.uri).download_artifacts(run.info.run_id, "front.png")).read_bytes() == b"drawn otherwise"


def test_a_command_that_was_interrupted_leaves_the_run_of_a_search(storage):
    """Without figures the run of the search is not written, and the next command still sees that it is complete."""
    sweep = small_sweep(storage, seeds=1)
    record(sweep, *sweep.every)
    search = search_of(sweep, storage / "report", [1.0, 2.0])
    assert close_search(sweep, search) == []
    live = stored(sweep.uri)
    assert close_search(sweep, None) == []
    assert stored(sweep.uri) == live
    assert close_search(sweep, search) == []
    assert stored(sweep.uri) == live


@pytest.mark.parametrize("call", ["log_batch", "set_terminated"])
def test_a_search_whose_run_was_not_written_to_its_end_is_written_again(storage, monkeypatch, call):
    """Nothing is left of a run with other numbers, and there is one run."""
    sweep = small_sweep(storage, seeds=1)
    record(sweep, *sweep.every)
    assert close_search(sweep, None) == []
    with monkeypatch.context() as broken:
        broken.setattr(MlflowClient, call, refuse)
        assert close_search(sweep, search_of(sweep, storage / "report", [5.0, 6.0]))
    assert close_search(sweep, search_of(sweep, storage / "report", [1.0, 2.0])) == []
    assert curve_of(stored(sweep.uri)["sweep", "t"]) == [(1, 1.0), (2, 2.0)]


def test_a_long_course_is_written_whole(storage):
    """There are more points than MLflow takes in one call, and none for the cells before the first one with a number."""
    sweep = small_sweep(storage, seeds=1, model=["mopoe"])
    record(sweep, *sweep.every)
    volumes = [float("nan")] * 3 + [float(n) for n in range(2500)]
    search = replace(search_of(sweep, storage / "report", volumes), ended_cell_ids=(sweep.every[0].cell.id,) * len(volumes))
    assert close_search(sweep, search) == []
    assert curve_of(stored(sweep.uri)["sweep", "t"]) == [(n + 4, float(n)) for n in range(2500)]


def test_track_draws_and_writes_what_a_search_has_found(storage, undrawn):
    """Parameters, course and figures are made from proposals and results alone; `--rebuild` gives the same."""
    hunt = Hunt(storage, raw())
    for beta in (1.0, 2.0):
        hunt.complete(hunt.propose(beta=beta, latent_dim=8, model="mopoe"), of(0.2 * beta, -1900), of(0.2 * beta, -1900))
    assert tracking_step.track(hunt.spec, hunt.storage, "sweep", rebuild=False) == (default_uri(storage), ())
    live = stored(default_uri(storage), "hunt")
    run = live["sweep", "hunt"]
    assert dict(curve_of(run)) == pytest.approx({1: 20.0, 2: 40.0})
    assert json.loads(run["params"]["space"])["beta"] == {"low": 0.1, "high": 20, "log": True}
    assert (run["params"]["sampler"], run["params"]["cells"], run["params"]["seed"]) == ("tpe", "20", "0")
    assert {"front.png", "history.svg", "slices.svg"} <= set(run["artifacts"])
    assert tracking_step.track(hunt.spec, hunt.storage, "sweep", rebuild=True) == (default_uri(storage), ())
    assert stored(default_uri(storage), "hunt") == live


class RemoteFile:
    """A file that is not on this machine: it has bytes and no path."""

    def __init__(self, path: Path) -> None:
        self._path, self.name, self.stem = path, path.name, path.stem

    def exists(self) -> bool:
        """Returns whether it exists."""
        return self._path.exists()

    def read_bytes(self) -> bytes:
        """Returns its content."""
        return self._path.read_bytes()

    def stat(self) -> os.stat_result:
        """Returns its size."""
        return self._path.stat()

    def open(self, mode: str) -> BinaryIO:
        """Returns a stream to read from."""
        return self._path.open(mode)


def test_artifacts_come_from_files_that_are_not_on_this_machine(storage, monkeypatch):
    """If storage is remote, checkpoint and pictures reach MLflow byte for byte."""
    sweep = small_sweep(storage, seeds=1, model=["mopoe"])
    (trial,) = sweep.every
    tracker = sweep.tracker()
    complete(sweep, tracker, trial)
    local, samples = sweep.ledger.checkpoint(trial), sweep.ledger.samples(trial)
    monkeypatch.setattr(Ledger, "checkpoint", lambda self, trial: RemoteFile(local))
    monkeypatch.setattr(Ledger, "samples", lambda self, trial: {name: RemoteFile(path) for name, path in samples.items()})
    assert sweep.close(tracker) == []
    run = next(run for run in stored_runs(sweep.uri) if run.data.tags["kind"] == "trial")
    client = MlflowClient(sweep.uri)
    for name, expected in (("checkpoint.pt", local.read_bytes()), ("samples/joint.png", b"picture")):
        assert Path(client.download_artifacts(run.info.run_id, name)).read_bytes() == expected


def writers() -> set[threading.Thread]:
    """Returns the threads that write to MLflow."""
    return {thread for thread in threading.enumerate() if thread.name == "MLflow"}


def test_events_return_at_once_and_problems_are_bounded_while_mlflow_hangs(storage, monkeypatch):
    """A server accepts and never answers. 3,000 events take no time, `close` ends, few lines are stored, and no thread is left."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    sweep, before = small_sweep(storage, seeds=500), writers()
    with hanging_server() as port:
        started = time.monotonic()
        tracker = sweep.tracker(f"http://127.0.0.1:{port}")
        for trial in sweep.every:
            tracker.on_trials_begun(TrialsBegun({trial.id: 1}, "worker"))
            tracker.on_epochs_ended(EpochsEnded({trial.id: curve(trial, 1)[0]}))
            tracker.on_trial_ended(TrialEnded(trial.id, "completed"))
        assert time.monotonic() - started < 1
        record(sweep, *sweep.every[:30])
        tracker.close(sweep.summaries())
        assert time.monotonic() - started < SOON
    assert 1 <= len(tracker.problems) <= 21
    assert writers() == before


def test_close_gives_up_a_call_that_never_returns(storage, monkeypatch):
    """`close` ends with a message, even if the call has no time-out."""
    monkeypatch.setattr(writing, "PATIENCE_SECONDS", 0.5)
    sweep, release, before = small_sweep(storage), threading.Event(), writers()
    record(sweep, *sweep.every)
    monkeypatch.setattr(MlflowClient, "create_run", lambda *args, **more: release.wait(60))
    tracker = sweep.tracker()
    started = time.monotonic()
    tracker.close(sweep.summaries())
    assert time.monotonic() - started < SOON
    assert any(not unnamed(problem, "MLflow") for problem in tracker.problems)
    release.set()
    wait_for(lambda: writers() == before)


def test_problems_keep_the_first_and_count_the_rest(storage, monkeypatch):
    """A store that answers and refuses everything gives twenty lines and a number, not thousands of lines."""
    monkeypatch.setattr(MlflowClient, "log_batch", refuse)
    sweep = small_sweep(storage, seeds=13)
    record(sweep, *sweep.every)
    tracker = sweep.tracker()
    tracker.close([])
    assert len(tracker.problems) == 21
    assert not unnamed(tracker.problems[-1], 6)


def refuse(*args: object, **more: object) -> None:
    """Raise as a broken store does."""
    raise OSError("the host is full")


def hanging_server() -> Any:
    """A socket that listens and never answers, as a context; gives its port."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)

    class Context:
        def __enter__(self) -> int:
            return int(listening.getsockname()[1])

        def __exit__(self, *args: object) -> None:
            listening.close()

    return Context()


class Server:
    """A real MLflow server that can be killed and started again, on the same port and store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (self.port,) = free_ports(1)
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        stores = ["--backend-store-uri", f"sqlite:///{self.folder}/m.db", "--artifacts-destination", f"{self.folder}/artifacts"]
        where = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *where, *stores],
                env=os.environ | settings,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(self.answers)

    def answers(self) -> bool:
        """Returns whether the server answers."""
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2):
                return True
        except OSError:
            return False

    def kill(self) -> None:
        """Send SIGKILL to the process and its workers."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    """A server that has not been started."""
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.kill()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_server_that_comes_late_and_is_killed_in_between_gets_everything_once(storage, server, monkeypatch):
    """It is not there at first, then dies while it is written to, and comes back. The same driver writes each run and point once."""
    monkeypatch.setattr("orchestrator.tracking.circuit_breaker.AWAY_SECONDS", 0.5)
    monkeypatch.setattr(writing, "AWAY_SECONDS", 0.5)
    sweep = small_sweep(storage, seeds=12)
    tracker = sweep.tracker(server.uri)
    complete(sweep, tracker, *sweep.every[:4])
    time.sleep(2 * writing.BATCH_SECONDS)
    assert tracker.problems
    server.start()
    wait_for(lambda: finished(server.uri) >= 4)  # without a further event
    writer = threading.Thread(target=complete, args=(sweep, tracker, *sweep.every[4:16]))
    writer.start()
    wait_for(lambda: finished(server.uri) >= 6)
    server.kill()
    writer.join()
    complete(sweep, tracker, *sweep.every[16:])
    started = time.monotonic()
    begin(sweep, tracker, sweep.every[0])
    assert time.monotonic() - started < 1
    finish(sweep, tracker, sweep.every[0], sweep.ledger.result(sweep.every[0]).history)
    server.start()
    sweep.close(tracker)
    assert len(tracker.problems) <= 21
    assert sweep.runs(rebuild, other_store(storage)) == ()
    assert stored(server.uri) == stored(other_store(storage))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_server_that_dies_for_good_is_caught_up_by_the_next_command(storage, server):
    """The driver ends soon and leaves RUNNING runs behind. When the server is back, the next driver writes each run and point once."""
    if not server.answers():
        server.start()
    sweep = small_sweep(storage, name="gone")
    tracker = sweep.tracker(server.uri)
    begun = {trial: begin(sweep, tracker, trial) for trial in sweep.every[:2]}
    wait_for(lambda: Counter(run.info.status for run in stored_runs(server.uri, "gone"))["RUNNING"] == 3)
    server.kill()
    for trial, history in begun.items():
        finish(sweep, tracker, trial, history)
    complete(sweep, tracker, sweep.every[2])
    started = time.monotonic()
    assert sweep.close(tracker)
    assert time.monotonic() - started < SOON
    server.start()
    assert sweep.runs(catch_up, server.uri) == ()
    assert sweep.runs(rebuild, other_store(storage)) == ()
    assert stored(server.uri, "gone") == stored(other_store(storage), "gone")


def finished(uri: str) -> int:
    """Returns the runs of trials that are FINISHED."""
    return sum(run.info.status == "FINISHED" and run.data.tags["kind"] == "trial" for run in stored_runs(uri))


def wait_for(happened, seconds: float = 120) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def test_the_run_of_a_sweep_has_the_report_and_its_hypervolume(storage, undrawn):
    """For a grid, after `track`: page, front and tables are artifacts of one run, which has the front's hypervolume as computed here.
    A second `track` does not change the run.
    """
    raw_spec = {
        "name": "g",
        "base": {"dataset": "mnist_svhn_text", "networks": "small", "model": "mopoe"},
        "grid": {"beta": [1, 2]},
        "objectives": [
            {"metric": COHERENCE, "goal": "max", "reference": 0},
            {"metric": LIKELIHOOD, "goal": "max", "reference": -2000},
        ],
    }
    spec, ledger = parse(raw_spec), Ledger(storage)
    values = {1.0: (0.2, -1900.0), 2.0: (0.4, -1950.0)}
    for trial in spec.trials:
        ledger.begin(trial)
        ledger.record(result(trial.cell, trial.seed, dict(zip((COHERENCE, LIKELIHOOD), values[trial.config.beta], strict=True))))
    assert tracking_step.track(spec, storage, "sweep", rebuild=False) == (default_uri(storage), ())
    run = stored(default_uri(storage), "g")["sweep", "g"]
    assert {"index.html", "front.svg", "front.png", "cells.csv", "cells.md", "trials.parquet"} <= set(run["artifacts"])
    assert curve_of(run) == [(0, pytest.approx(0.4 * 50 + 0.2 * 50))]
    assert run["status"] == "FINISHED"
    before = {run.info.run_id for run in stored_runs(default_uri(storage), "g")}
    assert tracking_step.track(spec, storage, "sweep", rebuild=False) == (default_uri(storage), ())
    assert {run.info.run_id for run in stored_runs(default_uri(storage), "g")} == before
