"""Real processes that are stopped, and wake when another has gone on in their place."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from mopoe_core.data.own import user_data
from mopoe_core.storage.file_facts import Digest
from orchestrator.ledger.integrity import inspection
from orchestrator.ledger.leases import overlaps
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.sweep_file import parse
from orchestrator.tracking.mlflow.store_address import default_uri
from tests.support.standing_still import RAW, STALE, STALE_ON_RAY, prepare
from tests.support.users import ROOT, wait_for

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder with a dataset of its own, and in it."""
    monkeypatch.chdir(tmp_path)
    user_data.search_from(tmp_path)
    yield tmp_path
    user_data.search_from(Path())


@pytest.fixture
def starts():
    """Starts processes; those that are left are ended."""
    started = []

    def start(*words, cwd=ROOT):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen([sys.executable, "-m", *map(str, words)], cwd=cwd, env=ENVIRONMENT, **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def is_stopped(process):
    """Whether it stands still."""
    return Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "T"


@pytest.mark.slow
@pytest.mark.parametrize("where", ["checkpoint", "result", "publish"])
def test_a_worker_that_stood_still_harms_nothing_when_it_wakes(home, starts, where):
    """Stopped before its second checkpoint, before its result, or before it moves its files, it is taken for dead by a worker of another
    machine, which ends the trial. When it wakes, the result stays as it is, and its checkpoint is the one that it names, of all epochs.
    """
    prepare(home)
    (trial, *_), ledger = parse(RAW).trials, Ledger(home / "runs")
    sleeper = starts("tests.support.standing_still", "worker", home, "a", where)
    wait_for(lambda: sleeper.poll() is not None or is_stopped(sleeper))
    other = starts("tests.support.standing_still", "worker", home, "b")
    out, err = other.communicate(timeout=180)
    assert other.returncode == 0, out + err
    record = (ledger.folder(trial) / "result.json").read_bytes()
    sleeper.send_signal(signal.SIGCONT)
    out, err = sleeper.communicate(timeout=60)
    assert sleeper.returncode == 0, out + err
    assert (ledger.folder(trial) / "result.json").read_bytes() == record
    result = ledger.result(trial)
    assert (result.status, len(result.history)) == ("completed", 3)
    assert Digest.of_file(ledger.checkpoint(trial)) == result.checkpoint
    inspection.inspect(trial, ledger)
    assert ledger.state(trial).checkpoint_problem == ""
    assert len(ledger.samples(trial)) == len(result.samples) > 0


def runs(home):
    """The MLflow runs of the sweep: how many of each trial and cell, and of which status."""
    client = MlflowClient(default_uri(home / "runs"))
    found = client.search_runs([client.get_experiment_by_name("own").experiment_id], max_results=1000)
    ids = Counter(run.data.tags[f"{run.data.tags['kind']}_id"] for run in found)
    return set(ids.values()), Counter((run.data.tags["kind"], run.info.status) for run in found)


def ended(home):
    """Whether every trial has a result, from one attempt that completed."""
    ledger = Ledger(home / "runs")
    return [ledger.state(trial).status for trial in parse(yaml.safe_load((home / "own.yaml").read_text())).trials]


WHOLE = ({1}, Counter({("trial", "FINISHED"): 3, ("cell", "FINISHED"): 1, ("sweep", "FINISHED"): 1}))


on_executors = pytest.mark.parametrize("executor", ["here", pytest.param("ray", marks=pytest.mark.long)])
"""Trials in the driver's process, or in workers of Ray."""


def driver_words(home, machine, executor):
    """The words that start a driver of that machine."""
    return ["tests.support.standing_still", "driver", home, machine, *(["ray"] if executor == "ray" else [])]


@on_executors
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_driver_that_was_stopped_is_not_replaced_on_its_machine(home, starts, executor):
    """After Ctrl-Z and longer than a silent process is waited for, the same command says that the sweep is stopped, and exits 2. With
    `fg` the sweep goes on and ends, with each run in MLflow once.
    """
    prepare(home, epochs=60)
    driver = starts(*driver_words(home, "a", executor))
    wait_for(lambda: driver.poll() is not None or any(Ledger(home / "runs").storage.glob("trials/*/attempts/*.json")))
    driver.send_signal(signal.SIGSTOP)
    time.sleep((STALE_ON_RAY if executor == "ray" else STALE) + 1)
    again = starts(*driver_words(home, "a", executor))
    _, err = again.communicate(timeout=120)
    driver.send_signal(signal.SIGCONT)
    assert (again.returncode, f"process {driver.pid} " in err, "stopped" in err) == (2, True, True), err
    out, err = driver.communicate(timeout=300)
    assert driver.returncode == 0, out + err
    assert ended(home) == ["completed"] * 3
    assert runs(home) == WHOLE


@on_executors
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_driver_that_was_taken_over_leaves_when_it_wakes(home, starts, executor):
    """Stopped, it is taken for dead by a driver of another machine. When it wakes it says so in one line and exits 2, and the other ends
    the sweep. Then MLflow has each run once, and no note of the two is left.
    """
    prepare(home, epochs=100 if executor == "ray" else 300)
    first = starts(*driver_words(home, "a", executor))
    wait_for(lambda: first.poll() is not None or any(Ledger(home / "runs").storage.glob("trials/*/attempts/*.json")))
    time.sleep(3 if executor == "ray" else 1)
    first.send_signal(signal.SIGSTOP)
    second = starts(*driver_words(home, "b", executor))
    sweep_folder = home / "runs" / "sweeps" / "own"
    wait_for(lambda: second.poll() is not None or overlaps.noted(sweep_folder))
    time.sleep(5 if executor == "ray" else 1)
    first.send_signal(signal.SIGCONT)
    out, err = first.communicate(timeout=120)
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert (first.returncode, len(errors)) == (2, 1), out + err
    assert "Traceback" not in err
    out, err = second.communicate(timeout=300)
    assert second.returncode == 0, out + err
    assert ended(home) == ["completed"] * 3
    assert runs(home) == WHOLE
    assert overlaps.noted(sweep_folder) == []
