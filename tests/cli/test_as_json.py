"""`--json` prints the content of the text as JSON, and nothing else."""

import json
from dataclasses import asdict
from pathlib import Path
from statistics import stdev

import pytest
import yaml

from mopoe_core.storage.whole_files import write_text
from orchestrator.execution import costs
from orchestrator.ledger import records
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import Identity
from orchestrator.ledger.training_progress import TrainingProgress
from orchestrator.spec.sweep_file import parse
from tests.support.builders import result
from tests.support.commands import typed_here

RAW = {
    "name": "t",
    "base": {"dataset": "mnist_svhn_text", "scale": "smoke"},
    "grid": {"model": ["mvae", "mopoe"]},
    "seeds": 2,
}
EVERY = parse(RAW).trials


@pytest.fixture
def begun(tmp_path):
    """A folder with a sweep file and its storage; of four trials, one has completed and one has failed."""
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(RAW))
    ledger = Ledger(tmp_path / "runs")
    ledger.begin(EVERY[0])
    ledger.record(result(EVERY[0].cell, EVERY[0].seed, {"coherence/joint": 0.5, "log_likelihood/joint": -60.0}))
    ledger.begin(EVERY[1])
    ledger.fail(EVERY[1], "Traceback\n  somewhere\nValueError: it broke")
    return tmp_path


def printed(folder, *words):
    """Returns the JSON that a command prints, parsed."""
    done = typed_here(*words, "t.yaml", "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_plan_has_each_trial_once_and_its_seconds(begun):
    """Trials are listed by what has to be done for them. The wall time is at most the sum over the trials, which includes evaluation."""
    plan = printed(begun, "plan")
    assert plan["done"] == [EVERY[0].id]
    assert sorted(plan["done"] + plan["resume"] + plan["new"]) == sorted(trial.id for trial in EVERY)
    assert 0 < plan["seconds"] <= plan["trial_seconds"]
    assert 0 < plan["evaluation_seconds"] < plan["trial_seconds"]


def test_a_plan_says_why_trials_are_new(begun):
    """It has the one field that differs from finished trials with both values, and the data, scale and storage of the sweep."""
    plan = printed(begun, "plan")
    assert plan["differing"] == []
    assert plan["to_propose"] is None
    assert plan["data"] == [{"dataset": "mnist_svhn_text", "source": "embedded", "scale": "smoke"}]
    assert plan["storage"] == str(begun / "runs")
    usual = EVERY[0].config.learning_rate
    (begun / "t.yaml").write_text(yaml.safe_dump(RAW | {"base": RAW["base"] | {"learning_rate": 0.5}}))
    assert printed(begun, "plan")["differing"] == [{"field": "learning_rate", "trials": 1, "here": [0.5], "there": [usual]}]


def test_the_plan_of_a_search_counts_what_is_to_be_proposed(tmp_path):
    """It counts cells and trials; their seconds are a part of the wall time."""
    search = {"space": {"beta": {"low": 1, "high": 4}}, "cells": 5}
    (tmp_path / "t.yaml").write_text(
        yaml.safe_dump({"name": "t", "base": RAW["base"] | {"model": "mopoe"}, "search": search, "seeds": 2})
    )
    plan = printed(tmp_path, "plan")
    assert (plan["to_propose"]["cells"], plan["to_propose"]["trials"], plan["to_propose"]["guessed"]) == (5, 10, True)
    assert 0 < plan["seconds"] <= plan["to_propose"]["seconds"]


def test_a_status_has_each_trial_with_its_state(begun):
    """A failed trial has its reason, and the sweep has no driver."""
    status = printed(begun, "status")
    assert status["driver"] is None
    assert status["counts"] == {"completed": 1, "failed": 1, "pending": 2}
    by_id = {trial["id"]: trial for trial in status["trials"]}
    assert {trial.id: (trial.seed, by_id[trial.id]["status"]) for trial in EVERY} == {
        trial.id: (trial.seed, status) for trial, status in zip(EVERY, ("completed", "failed", "pending", "pending"), strict=True)
    }
    assert by_id[EVERY[1].id]["reason"] == "ValueError: it broke"


def test_a_status_has_the_front_of_complete_cells(begun):
    """There is no front while every cell lacks a seed; later it has the better cell with the means over its seeds."""
    assert printed(begun, "status")["fronts"] == []
    ledger = Ledger(begun / "runs")
    for trial, coherence in zip(EVERY[1:], (0.3, 0.7, 0.8), strict=True):
        ledger.begin(trial)
        ledger.record(result(trial.cell, trial.seed, {"coherence/joint": coherence, "log_likelihood/joint": -50.0}))
    (front,) = printed(begun, "status")["fronts"]
    (cell,) = front["cells"]
    assert (front["group"], front["hypervolume"]) == ("", None)
    assert (cell["cell_id"], cell["seeds"]) == (EVERY[2].cell.id, 2)
    assert cell["means"] == {"coherence/joint": pytest.approx(0.75), "log_likelihood/joint": -50.0}


def test_a_report_has_each_front_with_complete_and_incomplete_cells(begun):
    """A cell with one of two seeds is incomplete. The other has means and standard deviations, but no probability from two seeds."""
    ledger = Ledger(begun / "runs")
    for trial, coherence in zip(EVERY[2:], (0.7, 0.8), strict=True):
        ledger.begin(trial)
        ledger.record(result(trial.cell, trial.seed, {"coherence/joint": coherence, "log_likelihood/joint": -50.0}))
    report = printed(begun, "report")
    assert Path(report["page"]).is_file()
    assert len(report["sentences"]) == 3
    (front,) = report["fronts"]
    (cell,), (incomplete,) = front["cells"], front["incomplete"]
    assert (cell["cell_id"], cell["seeds"], cell["on_front"], cell["probability"]) == (EVERY[2].cell.id, 2, True, None)
    assert cell["means"] == {"coherence/joint": pytest.approx(0.75), "log_likelihood/joint": -50.0}
    assert cell["sds"]["coherence/joint"] == pytest.approx(stdev((0.7, 0.8)))
    assert (incomplete["cell_id"], incomplete["seeds"], incomplete["seeds_planned"]) == (EVERY[0].cell.id, 1, 2)
    assert incomplete["means"] == {"coherence/joint": 0.5, "log_likelihood/joint": -60.0}


@pytest.mark.parametrize("words", [("--table", "coherence/joint"), ("--figures", "f"), ("--against-paper",)])
def test_what_the_json_of_a_report_cannot_be_is_refused(begun, words):
    """The exit code is 2, and nothing is printed on standard output or written to disk."""
    done = typed_here("report", "t.yaml", "--json", *words, folder=begun)
    assert (done.returncode, done.stdout) == (2, "")
    assert not (begun / "f").exists()


@pytest.mark.parametrize("option", ["--watch", "--trials"])
def test_what_the_json_of_a_status_cannot_be_is_refused(begun, option):
    """The exit code is 2, and nothing is printed on standard output."""
    done = typed_here("status", "t.yaml", "--json", option, folder=begun)
    assert (done.returncode, done.stdout) == (2, "")


def test_a_trial_that_goes_on_is_planned_with_the_epochs_that_are_left(begun):
    """After one of two epochs, a trial needs half of its training and all of its evaluation."""
    ledger, trial = Ledger(begun / "runs"), EVERY[2]
    whole = printed(begun, "plan")
    ledger.begin(trial)
    write_text(ledger.folder(trial) / "attempts/0001-x/checkpoint.pt", "")
    epochs = trial.config.epochs
    records.write(
        ledger.folder(trial) / "progress.json",
        Identity("progress", trial.id),
        asdict(TrainingProgress(epochs - 1, epochs, 1.0, 0)),
    )
    rest = printed(begun, "plan")
    assert trial.id in rest["resume"]
    saved = costs.training_seconds(trial.config, epochs - 1)
    assert whole["trial_seconds"] - rest["trial_seconds"] == pytest.approx(saved, rel=1e-6) != 0


def test_failures_have_a_cause_trials_and_a_command(begun):
    """The command of a group is on its first trial."""
    (group,) = printed(begun, "failures")["groups"]
    assert [trial["id"] for trial in group["trials"]] == [EVERY[1].id]
    assert "ValueError" in group["cause"]
    assert set(group) == {"cause", "trials", "command", "traceback"}
    assert EVERY[1].id in group["command"].split()
