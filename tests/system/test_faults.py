"""What goes wrong with real processes, nodes and disks, and that nothing is lost by it. Random kills are in test_chaos.py."""

import errno
import os
import platform
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.ledger.ledger import Ledger
from tests.support.naming import line_naming, names_in_order
from tests.support.users import ROOT, User, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def running(user: User, path: Path) -> list:
    """Trials that somebody trains now."""
    ledger = Ledger(user.storage)
    return [trial for trial in user.trials(path) if ledger.holder(trial) is not None]


def test_a_second_driver_is_refused_and_another_sweep_with_the_same_trials_trains_none_twice(user):
    """While a sweep runs, the same command says who runs it and since when, and exits 2. A sweep of another name with the same cells and
    one more runs beside it: everything completes, with one attempt a trial and one run a trial in either experiment.
    """
    one = user.spec("one", base={"epochs": 30}, grid={"model": ["mopoe"], "beta": [1, 2]}, seeds=2)
    two = user.spec("two", base={"epochs": 30}, grid={"model": ["mopoe"], "beta": [1, 2, 3]}, seeds=2)
    first = user.starts("sweep", one)
    try:
        wait_for(lambda: running(user, one) or first.poll() is not None)
        again = user.types_here("sweep", one, code=2)
        assert names_in_order(line_naming(again.stderr, "error", first.pid), "one", first.pid, platform.node())
        assert re.search(r"\b20\d\d-\d\d-\d\d", again.stderr)
        beside = user.types("sweep", two)
        out, err = first.communicate(timeout=300)
    finally:
        first.kill()
        first.wait()
    assert first.returncode == 0, out + err
    assert line_naming(beside.stdout, "6 completed", 6)
    assert {(state.status, state.attempts) for state in user.states(two)} == {("completed", 1)}
    assert user.kinds("one") == {("trial", "FINISHED"): 4, ("cell", "FINISHED"): 2}
    assert user.kinds("two") == {("trial", "FINISHED"): 6, ("cell", "FINISHED"): 3}
    assert list((user.storage / "alive").iterdir()) == []


def test_an_impatient_user_is_obeyed_and_nothing_is_lost(user, undrawn):
    """Ctrl-C twice ends the command within seconds, with exit code 130 and what to type. The same command then goes on without being told
    to wait, and in the end no run of MLflow is left RUNNING.
    """
    path = user.spec("hasty", base={"epochs": 40}, grid={"model": ["mopoe"], "beta": [1, 2]})
    driver = user.starts("sweep", path)
    try:
        wait_for(lambda: all(state.has_checkpoint for state in user.states(path)) or driver.poll() is not None)
        driver.send_signal(signal.SIGINT)
        time.sleep(1.0)  # two that come while the process is busy count as one
        driver.send_signal(signal.SIGINT)
        out, err = driver.communicate(timeout=60)
    finally:
        driver.kill()
        driver.wait()
    assert driver.returncode == 130, out + err
    assert line_naming(err, f"mopoe sweep {path}`")
    assert "Traceback" not in err
    assert not running(user, path)
    assert {state.status for state in user.states(path)} == {"cancelled"}
    done = user.types_here("sweep", path)
    assert line_naming(done.stdout, "2 completed", 2)
    assert "waiting" not in done.stdout
    assert user.kinds("hasty") == {("trial", "FINISHED"): 2, ("cell", "FINISHED"): 2}


def test_a_lost_node_costs_no_trial_and_is_no_failure(user):
    """Three nodes, two of them with a (pretended) GPU; one is lost while it trains. With no retries allowed every trial completes all the
    same: that node's goes on elsewhere from its checkpoint, and has two attempts; nothing is doubled.
    """
    from ray.cluster_utils import Cluster

    soon = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 1000, "health_check_failure_threshold": 3}
    head = {"num_cpus": 1, "include_dashboard": False, "_system_config": soon}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        nodes = [cluster.add_node(num_cpus=1, num_gpus=1) for _ in range(2)]
        resources = {"gpu": 1, "retries": 0}
        path = user.spec("nodes", base={"epochs": 40}, grid={"model": ["mopoe"]}, seeds=4, resources=resources)
        driver = user.starts("sweep", path, RAY_ADDRESS=cluster.address)
        try:
            wait_for(lambda: sum(state.has_checkpoint for state in user.states(path)) >= 2 or driver.poll() is not None)
            cluster.remove_node(nodes[1], allow_graceful=False)
            out, err = driver.communicate(timeout=300)
        finally:
            driver.kill()
            driver.wait()
    finally:
        cluster.shutdown()
    assert driver.returncode == 0, out + err
    assert "node" in out
    states = user.states(path)
    assert [state.status for state in states] == ["completed"] * 4
    assert sorted(state.attempts for state in states) == [1, 1, 1, 2]
    for found in user.results(path).values():
        assert [epoch.epoch for epoch in found.history] == list(range(1, 41))
    assert user.kinds("nodes") == {("trial", "FINISHED"): 4, ("cell", "FINISHED"): 1}


FULL = """
set -e
mount -t tmpfs -o size={small} none {disk}
mkdir {disk}/runs
ln -s {classifiers} {disk}/runs/classifiers
head -c {filler} /dev/zero > {disk}/filler
set +e
{command} > {home}/full.out 2> {home}/full.err
echo $? > {home}/full.code
set -e
{status} > {home}/full.status
rm {disk}/filler
{command} > {home}/room.out 2> {home}/room.err
{status} > {home}/room.status
"""


def test_a_full_disk_stops_the_sweep_and_room_lets_it_go_on(user, classifier_folder):
    """On a disk of a few megabytes the sweep ends with one clear line and exit code 1; no trial has failed. With room the same command
    completes it.
    """
    disk = user.home / "disk"
    disk.mkdir()
    isolated = ["unshare", "--mount", *([] if os.getuid() == 0 else ["--user", "--map-root-user"]), "sh", "-c"]
    if subprocess.run([*isolated, f"mount -t tmpfs none {disk}"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    path = user.spec("full", grid={"model": ["mopoe"]}, seeds=2)
    command, status = (f"{sys.executable} -m orchestrator {word} {path} --storage {disk}/runs" for word in ("sweep", "status"))
    script = FULL.format(
        small="200m",
        filler=199 * 2**20,
        disk=disk,
        home=user.home,
        command=command,
        status=status,
        classifiers=classifier_folder,
    )
    done = subprocess.run([*isolated, script], cwd=ROOT, capture_output=True, text=True, timeout=400)
    said = {name: (user.home / name).read_text() for name in ("full.out", "full.err", "full.code", "full.status", "room.out")}
    assert done.returncode == 0, f"{said}{done.stderr}"
    assert said["full.code"] == "1\n"
    assert os.strerror(errno.ENOSPC)[1:] in said["full.err"]
    assert f"mopoe sweep {path} --storage {disk}/runs`" in said["full.err"]
    assert "Traceback" not in said["full.err"]
    assert "failed" not in said["full.status"]
    assert line_naming(said["room.out"], "2 completed", 2)
