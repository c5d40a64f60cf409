"""Leases: whoever dies when, at most one process holds a thing."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from mopoe_core.files import place
from orchestrator import leases
from orchestrator.leases import Lease, LeaseLost, living

HOLD = """
import sys, time
from pathlib import Path
from orchestrator.leases import Lease
storage = Path(sys.argv[1])
with Lease(storage) as lease:
    assert lease.claim(storage / "thing") is None
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(params=["folder", "memory"])
def storage(request, tmp_path):
    """A local folder, and a file system that is reached by URI."""
    return tmp_path if request.param == "folder" else place(f"memory://{tmp_path.name}")


@pytest.fixture
def other(tmp_path):
    """Another process, which holds `tmp_path / "thing"`."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_what_one_holds_another_does_not_get_until_it_is_released(storage):
    """The second is told who holds it, and leaves nothing behind; after the first has let go, it gets it."""
    with Lease(storage, driver="d") as first, Lease(storage) as second:
        assert first.claim(storage / "thing") is None
        holder = second.claim(storage / "thing")
        assert (holder.token, holder.process, holder.driver) == (first.holder.token, os.getpid(), "d")
        assert living(storage, storage / "thing") == first.holder
        assert second.claim(storage / "other thing") is None
    with Lease(storage) as third:
        assert third.claim(storage / "thing") is None
    assert living(storage, storage / "thing") is None
    left = [path for pattern in ("alive/*", "thing/claims/*", "other thing/claims/*") for path in storage.glob(pattern)]
    assert left == []


def test_a_process_that_was_killed_holds_nothing_from_then_on(tmp_path, other):
    """On one machine that is seen at once, by its number and when it began; what it left is removed."""
    with Lease(tmp_path) as lease:
        holder = lease.claim(tmp_path / "thing")
        assert holder.process == other.pid
        assert leases.surely_lives(holder)
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        assert not leases.surely_lives(holder)
        assert lease.claim(tmp_path / "thing") is None
        assert [path.stem for path in (tmp_path / "thing" / "claims").iterdir()] == [lease.holder.token]
        assert [path.name for path in (tmp_path / "alive").iterdir()] == [lease.holder.token]


def test_a_process_of_another_machine_counts_as_dead_when_it_has_not_been_heard_of(tmp_path, other):
    """Before that it holds what it holds, dead or not: nobody can tell. Its number means nothing here."""
    (claim,) = (tmp_path / "thing" / "claims").iterdir()
    elsewhere = json.loads(claim.read_text()) | {"machine": "another", "process": 1}
    claim.write_text(json.dumps(elsewhere))
    os.kill(other.pid, signal.SIGKILL)
    with Lease(tmp_path) as lease:
        assert lease.claim(tmp_path / "thing") is not None
        long_ago = time.time() - leases.STALE_SECONDS - 1
        os.utime(tmp_path / "alive" / claim.stem, (long_ago, long_ago))
        assert lease.claim(tmp_path / "thing") is None


def test_staleness_is_by_the_clock_of_the_storage(tmp_path, other, monkeypatch):
    """A claimer whose own clock is an hour ahead takes nothing from a process of another machine that beats."""
    (claim,) = (tmp_path / "thing" / "claims").iterdir()
    claim.write_text(json.dumps(json.loads(claim.read_text()) | {"machine": "another"}))
    now = time.time()
    monkeypatch.setattr(leases.time, "time", lambda: now + 3600)
    with Lease(tmp_path) as lease:
        assert lease.claim(tmp_path / "thing") is not None


def test_who_was_taken_over_while_asleep_finds_out_before_it_goes_on(tmp_path, other, monkeypatch):
    """A holder that stood still for too long is told so, and does not come back to life by beating."""
    clock = [0.0]
    monkeypatch.setattr(leases, "_now", lambda: clock[0])
    with Lease(tmp_path) as sleeper:
        assert sleeper.claim(tmp_path / "mine") is None
        sleeper.check()
        (tmp_path / "alive" / sleeper.holder.token).unlink()  # as whoever takes over does
        clock[0] = 600.0
        with pytest.raises(LeaseLost):
            sleeper.check()
        assert not (tmp_path / "alive" / sleeper.holder.token).exists()


def test_a_driver_lets_go_for_the_workers_that_it_has_stopped(tmp_path, other):
    """Their claims and signs of life go; those of another driver's workers stay."""
    (claim,) = (tmp_path / "thing" / "claims").iterdir()
    leases.release(tmp_path, tmp_path / "thing", "another driver")
    assert claim.exists()
    leases.release(tmp_path, tmp_path / "thing", "")
    assert not claim.exists()
    assert list((tmp_path / "alive").iterdir()) == []


def test_a_beat_keeps_a_lease_fresh(storage, monkeypatch):
    """The thread writes the sign of life anew, on a folder and by URI."""
    monkeypatch.setattr(leases, "_beat_seconds", lambda storage: 0.05)
    with Lease(storage) as lease:
        before = lease._heard
        time.sleep(0.3)
        assert lease._heard > before
        lease.check()


def test_a_claim_that_was_cut_is_that_of_a_dead_process_or_of_a_living_one(tmp_path, other):
    """Half a claim still names its token: while that beats, the thing is held."""
    (claim,) = (tmp_path / "thing" / "claims").iterdir()
    claim.write_text(claim.read_text()[:20])
    with Lease(tmp_path) as lease:
        assert lease.claim(tmp_path / "thing").token == claim.stem
        (tmp_path / "alive" / claim.stem).unlink()
        assert lease.claim(tmp_path / "thing") is None


def _contend(storage, start, inside, most, wins):
    from mopoe_core.files import place

    with Lease(place(storage)) as lease:
        start.wait()
        deadline = time.monotonic() + 60
        while wins.value < 40 and time.monotonic() < deadline:
            things = place(storage) / "thing"
            if lease.claim(things) is None:
                with inside.get_lock():
                    inside.value += 1
                    most.value = max(most.value, inside.value)
                time.sleep(0.002)
                with inside.get_lock():
                    inside.value -= 1
                    wins.value += 1
                (things / "claims" / f"{lease.holder.token}.json").unlink()
            time.sleep(0.001 * (os.getpid() % 7))


def test_of_many_that_come_at_once_never_two_go_on(tmp_path):
    """Four processes claim and let go forty times: there is never more than one inside."""
    context = multiprocessing.get_context("spawn")
    start, inside, most, wins = context.Barrier(4), context.Value("i", 0), context.Value("i", 0), context.Value("i", 0)
    processes = [context.Process(target=_contend, args=(str(tmp_path), start, inside, most, wins)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(90)
        assert process.exitcode == 0
    assert most.value == 1
    assert wins.value >= 40
