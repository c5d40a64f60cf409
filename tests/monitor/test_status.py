"""`status`: the state of a sweep as read from storage in another terminal, while it runs and after."""

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from orchestrator.cli import program, status
from orchestrator.ledger import records
from orchestrator.ledger.leases.lease import Lease
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.proposals import Proposal, Proposals, resolve
from orchestrator.ledger.records import Identity
from orchestrator.ledger.state import State
from orchestrator.ledger.training_progress import TrainingProgress
from orchestrator.monitor import view
from orchestrator.monitor.live_state import LiveSweep, LiveTrial, StorageWatch
from orchestrator.monitor.progress import Progress
from orchestrator.spec.sweep_file import parse
from tests.support.builders import COHERENCE, LIKELIHOOD, result
from tests.support.naming import counts, unnamed
from tests.support.opened import of_name, opened

ROOT = Path(__file__).parents[2]
RAW = {
    "name": "t",
    "base": {"dataset": "mnist_svhn_text", "networks": "small", "epochs": 10},
    "grid": {"model": ["mvae", "mopoe"], "beta": [1, 2]},
    "seeds": 2,
    "objectives": [
        {"metric": COHERENCE, "goal": "max", "reference": 0},
        {"metric": LIKELIHOOD, "goal": "max", "reference": -100},
    ],
}
SPEC = parse(RAW)
EVERY = SPEC.trials
HOLD = """
import sys, time
from pathlib import Path
from orchestrator.ledger.leases.lease import Lease
with Lease(Path(sys.argv[1])) as lease:
    for folder in sys.argv[2:]:
        assert lease.claim(Path(folder)) is None
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def ledger(tmp_path):
    """An empty ledger."""
    return Ledger(tmp_path / "runs")


@pytest.fixture
def file(tmp_path, ledger):
    """The sweep file."""
    path = tmp_path / "t.yaml"
    path.write_text(yaml.safe_dump(RAW | {"storage": str(ledger.storage)}))
    return path


def completes(ledger, trial, coherence=0.5, likelihood=-50.0):
    """Record that a trial has completed."""
    ledger.begin(trial)
    ledger.record(result(trial.cell, trial.seed, {COHERENCE: coherence, LIKELIHOOD: likelihood}))


def holds(ledger, *folders):
    """Start another process that holds the leases of a worker or driver until it is killed."""
    words = [sys.executable, "-c", HOLD, str(ledger.storage), *map(str, folders)]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def ends(process):
    """Kill the process, as the kernel does."""
    process.kill()
    process.wait()
    process.stdout.close()


def statuses(seen):
    """Returns how many trials have each status."""
    return Counter(sight.state.status for sight in seen.live_trials.values())


def test_status_says_everything_at_once(ledger, file, types_here):
    """It shows counts, cores, remaining time, marks by model, epochs, the front with its hypervolume, and the last line of an error."""
    for trial in EVERY[:4]:
        completes(ledger, trial, 0.1 * (1 + trial.config.beta), -10 * trial.config.beta)
    ledger.begin(EVERY[4])
    ledger.fail(EVERY[4], "Traceback\n  somewhere\nValueError: it broke")
    with Lease(ledger.storage) as lease:
        assert lease.claim(ledger.folder(EVERY[5])) is None
        ledger.begin(EVERY[5])
        records.write(
            ledger.folder(EVERY[5]) / "progress.json",
            Identity("progress", EVERY[5].id),
            asdict(TrainingProgress(4, 10, 6.0, 0, 12.5)),
        )
        code, out, _ = types_here("status", file)
    assert code == 0
    (heading,) = [line for line in out.splitlines() if line.startswith("t: ")]
    assert counts(heading) == {"pending": 2, "running": 1, "completed": 4, "failed": 1}
    assert not unnamed(heading, "8 trials", re.compile(rf"\b1 of {os.cpu_count()} cores?\b"), "about")
    assert f"`{program.pasted(['sweep', str(file)])}`" in " ".join(out.split())  # a long path wraps
    assert not unnamed(out, re.compile(r"MVAE +β=1 ●● +β=2 ●●\s"), re.compile(r"MoPoE +β=1 ✗◐ +β=2 ··\s"))
    assert not unnamed(out, re.compile(r"◐ MoPoE β=1 seed=1 .* 4/10 .*\b12\.5\b.*\babout\b"))
    assert not unnamed(out, re.compile(r"coherence/joint +log_likelihood/joint *\n(?:.*\n)? +MVAE β=2 +0\.3 +-20\s"))
    assert "hypervolume " in out
    assert not unnamed(out, re.compile(r"MoPoE β=1 seed=0\b.*failed.*ValueError: it broke"))


def test_the_list_of_trials_stands_behind_an_option(ledger, file, types_here):
    """With --trials, each trial has a line with its id and attempts; without it, no ids are shown."""
    completes(ledger, EVERY[0])
    listed = types_here("status", file, "--trials")[1]
    assert f"{EVERY[0].id}  mvae beta=1 seed=0   completed  1 attempt\n" in listed
    assert counts(listed) == {"completed": 1, "pending": 7}
    assert EVERY[0].id not in types_here("status", file)[1]


def test_who_was_killed_is_not_shown_as_running(ledger):
    """A living worker and driver are seen from another process. After they are killed, the trial is pending and nobody drives."""
    worker = holds(ledger, ledger.folder(EVERY[0]))
    driver = holds(ledger, ledger.storage / "sweeps" / "t")
    watch = StorageWatch(SPEC, ledger.storage)
    try:
        alive = watch.look()
    finally:
        ends(worker)
        ends(driver)
    assert (statuses(alive)["running"], alive.driver.process) == (1, driver.pid)
    dead = watch.look()
    assert (statuses(dead)["running"], dead.driver, dead.is_over) == (0, None, False)


def test_a_result_is_read_once(ledger):
    """It is read once, however often the state is read; a new result is seen."""
    completes(ledger, EVERY[0])
    watch = StorageWatch(SPEC, ledger.storage)
    with opened() as before:
        for _ in range(3):
            watch.look()
    completes(ledger, EVERY[1])  # not counted: who writes a result reads it again
    with opened() as after:
        assert statuses(watch.look())["completed"] == 2
    reads = [list(of_name(count, "result.json").values()) for count in (before, after)]
    assert reads == [[1], [1]]


def test_it_is_over_when_nobody_drives_and_nothing_is_left(ledger):
    """It is not over while a driver lives or a trial may go on; a failed trial does not go on by itself."""
    watch = StorageWatch(SPEC, ledger.storage)
    assert not watch.look().is_over
    for trial in EVERY[:-1]:
        completes(ledger, trial)
    assert not watch.look().is_over
    ledger.begin(EVERY[-1])
    ledger.fail(EVERY[-1], "ValueError: no")
    with Lease(ledger.storage) as lease:
        assert lease.claim(ledger.storage / "sweeps" / "t") is None
        assert not watch.look().is_over
    assert watch.look().is_over


def test_cells_that_a_search_finds_meanwhile_are_shown(tmp_path):
    """The first reading has one cell, the next has two; a stopped cell does not keep the sweep from being over."""
    raw = {field: value for field, value in RAW.items() if field != "grid"}
    space = {"beta": {"low": 0.1, "high": 10}}
    spec = parse(raw | {"base": RAW["base"] | {"model": "mopoe"}, "search": {"space": space, "cells": 9}})
    kept, watch = Proposals(tmp_path, "t"), StorageWatch(spec, tmp_path)
    assert not watch.look().trials
    for number, beta in enumerate((1.0, 2.0)):
        kept.add(Proposal(number, spec.cell_of({"beta": beta}).id, {"beta": beta}, {}, {}, {}))
        assert len(watch.look().trials) == 2 * (number + 1)
    seen = watch.look()
    for trial in seen.trials[:2]:
        completes(Ledger(tmp_path), trial)
    for trial in seen.trials[2:]:
        Ledger(tmp_path).begin(trial)
        Ledger(tmp_path).cancel(trial, 3)
    assert watch.look().is_over
    assert len(resolve(spec, tmp_path).trials) == 4


def test_of_a_search_the_latest_cells_are_drawn(capsys):
    """Of thirty cells, twenty have marks, and all are counted."""
    space = {"beta": {"low": 0.1, "high": 100}}
    raw = {"name": "t", "base": RAW["base"] | {"model": "mopoe"}, "objectives": RAW["objectives"], "seeds": 2}
    spec = parse(raw | {"search": {"space": space, "cells": 30}})
    every = [t for beta in range(1, 31) for t in parse(raw | {"base": raw["base"] | {"model": "mopoe", "beta": beta}}).trials]
    Progress(LiveSweep(spec, every, {t.id: LiveTrial(State("pending", 0, False)) for t in every}, None)).show()
    out = capsys.readouterr().out
    assert "30 cells" in out
    assert "β=10 " not in out
    assert "β=11 " in out
    assert out.count("··") == view.LATEST


def test_a_watch_says_what_happens_and_ends_by_itself(ledger, file, capsys):
    """Without a terminal it prints a line for each change, none twice, and the whole state at the end."""
    watch = StorageWatch(SPEC, ledger.storage)
    seen = watch.look()
    progress = Progress(seen, "t")
    happens = [
        lambda: [completes(ledger, trial) for trial in EVERY[:-1]],
        lambda: None,
        lambda: (ledger.begin(EVERY[-1]), ledger.fail(EVERY[-1], "x\nValueError: no")),
    ]
    status.follow(watch, seen, progress, "command", 2.0, pause=lambda seconds: happens.pop(0)() and False)
    out = capsys.readouterr().out
    assert happens == []
    assert out.count("] completed  mvae beta=1 seed=0") == 1
    assert out.count("(ValueError: no)") == 1
    assert counts(out) == {"completed": 7, "failed": 1}


def test_a_store_that_is_away_for_a_moment_does_not_end_a_watch(ledger, capsys):
    """The problem is printed, and the storage is read again."""
    for trial in EVERY[:-1]:
        completes(ledger, trial)
    watch = StorageWatch(SPEC, ledger.storage)
    seen = watch.look()
    looks = [OSError("no route to host"), None]
    look = watch.look

    def flaky():
        error = looks.pop(0)
        if error:
            raise error
        completes(ledger, EVERY[-1])
        return look()

    watch.look = flaky
    status.follow(watch, seen, Progress(seen, "t"), "command", 2.0, pause=lambda seconds: None)
    assert "storage: no route to host" in capsys.readouterr().out
    assert looks == []


def test_ctrl_c_ends_a_watch_and_nothing_else(ledger, file):
    """Ctrl-C gives exit code 0 and no traceback, and the watched worker goes on."""
    worker = holds(ledger, ledger.folder(EVERY[0]))
    try:
        words = [sys.executable, "-m", "orchestrator", "status", str(file), "--watch"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(words, cwd=ROOT, **pipes) as watching:
            first = watching.stdout.readline() + watching.stdout.readline()
            watching.send_signal(signal.SIGINT)
            out, err = watching.communicate(timeout=30)
        assert (watching.returncode, err) == (0, "")
        assert "1 running" in first + out
        assert worker.poll() is None
    finally:
        ends(worker)


def test_damaged_records_are_shown_and_named(ledger, file, types_here):
    """A truncated result is counted as damaged, and its file is named."""
    completes(ledger, EVERY[0])
    path = ledger.folder(EVERY[0]) / "result.json"
    path.write_text(path.read_text()[:-40])
    out = types_here("status", file)[1]
    assert counts(out) == {"damaged": 1, "pending": 7}
    assert not unnamed(out, path)
