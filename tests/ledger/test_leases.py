"""Leases: whichever process dies at whatever moment, at most one process holds a trial or sweep."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from mopoe_core.storage.paths import storage_path
from orchestrator.ledger.leases import claims, heartbeat
from orchestrator.ledger.leases import holder as holder_module
from orchestrator.ledger.leases.claims import apparent_holder
from orchestrator.ledger.leases.holder import is_stopped, surely_lives
from orchestrator.ledger.leases.lease import Lease, LeaseLost

HOLD = """
import sys, time
from pathlib import Path
from orchestrator.ledger.leases.lease import Lease
storage = Path(sys.argv[1])
with Lease(storage) as lease:
    assert lease.claim(storage / "thing") is None
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(params=["folder", "memory"])
def storage(request, tmp_path):
    """A local folder, and a remote file system."""
    return tmp_path if request.param == "folder" else storage_path(f"memory://{tmp_path.name}")


def claims_in(storage):
    """Returns the files of all claims on `storage / "thing"`."""
    return sorted(path for path in storage.rglob("claims/**/*.json") if path.parent.name == "thing")


def as_of_another_machine(storage, **more):
    """Change the only claim on `thing` to one by a process on another machine."""
    (claim,) = claims_in(storage)
    content = json.loads(claim.read_text())
    plain = {name: value for name, value in content.items() if name not in ("record", "sha256")}
    claim.write_text(json.dumps(plain | {"machine": "another"} | more))
    return claim


@pytest.fixture
def clock(monkeypatch):
    """This process's clock, which the test sets; waiting advances it."""
    now = [1000.0]
    monkeypatch.setattr(heartbeat, "now", lambda: now[0])
    monkeypatch.setattr(heartbeat, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return now


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
    """The second process learns who the holder is, and leaves no file. After the holder has let go, the second one gets the claim."""
    with Lease(storage, driver="d") as first, Lease(storage) as second:
        assert first.claim(storage / "thing") is None
        holder = second.claim(storage / "thing")
        assert (holder.token, holder.process, holder.driver) == (first.holder.token, os.getpid(), "d")
        assert apparent_holder(storage, storage / "thing") == first.holder
        assert second.claim(storage / "other thing") is None
    with Lease(storage) as third:
        assert third.claim(storage / "thing") is None
    assert apparent_holder(storage, storage / "thing") is None
    left = [path for pattern in ("alive/*", "claims/*", "claims/*/*", "claims/*/*/*") for path in storage.glob(pattern)]
    assert [path for path in left if path.name.endswith(".json") or path.parent.name == "alive"] == []


def test_a_process_that_was_killed_holds_nothing_from_then_on(tmp_path, other):
    """On one machine this is seen at once, by process number and start time. The dead process's files are removed."""
    with Lease(tmp_path) as lease:
        holder = lease.claim(tmp_path / "thing")
        assert holder.process == other.pid
        assert surely_lives(holder)
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        assert not surely_lives(holder)
        assert lease.claim(tmp_path / "thing") is None
        assert [path.stem for path in claims_in(tmp_path)] == [lease.holder.token]
        assert [path.name for path in (tmp_path / "alive").iterdir()] == [lease.holder.token]


def test_a_process_of_another_machine_counts_as_dead_when_its_beat_has_not_changed(tmp_path, other, clock):
    """Until then it keeps its claim, because nobody can tell whether it is dead. Its process number means nothing here."""
    as_of_another_machine(tmp_path, process=1)
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    with Lease(tmp_path) as lease:
        assert lease.claim(tmp_path / "thing") is not None
        clock[0] += heartbeat.STALE_SECONDS - 1
        assert lease.claim(tmp_path / "thing") is not None
        clock[0] += 2
        assert lease.claim(tmp_path / "thing") is None


@pytest.mark.parametrize("skew", [-3600.0, -60.0, 60.0, 3600.0])
def test_no_clock_of_another_machine_or_of_the_storage_is_compared(tmp_path, other, clock, skew):
    """A holder on another machine keeps its claim while it beats, whatever its files' times. Without beats it loses the claim."""
    claim = as_of_another_machine(tmp_path)
    other.send_signal(signal.SIGSTOP)
    beat = tmp_path / "alive" / claim.stem
    with Lease(tmp_path) as lease:
        for number in range(20):
            assert lease.claim(tmp_path / "thing") is not None
            clock[0] += 10
            beat.write_text(f"{number:016d}")
            os.utime(beat, (time.time() + skew,) * 2)
        assert lease.claim(tmp_path / "thing") is not None
        clock[0] += heartbeat.STALE_SECONDS + 1
        assert lease.claim(tmp_path / "thing") is None


def test_a_claimer_that_slept_between_two_looks_does_not_take_from_one_that_beats(tmp_path, other, clock, monkeypatch):
    """It is suspended for two minutes after it has read the beat. That beat is then old, and must not count against the holder."""
    claim = as_of_another_machine(tmp_path)
    other.send_signal(signal.SIGSTOP)
    read, beat = heartbeat.beat_of, tmp_path / "alive" / claim.stem

    def slowly(storage, holder):
        beat_text = read(storage, holder)
        clock[0] += 120
        beat.write_text(f"{int(beat_text) + 1:016d}")
        return beat_text

    monkeypatch.setattr(heartbeat, "beat_of", slowly)
    with Lease(tmp_path) as lease:
        assert [lease.claim(tmp_path / "thing") is None for _ in range(5)] == [False] * 5


def test_a_process_that_is_stopped_on_this_machine_keeps_what_it_holds(tmp_path, other, clock):
    """It keeps its claim however long it is stopped, because it may continue. The message says that it is stopped."""
    other.send_signal(signal.SIGSTOP)
    with Lease(tmp_path) as lease:
        for _ in range(5):
            clock[0] += 1000
            holder = lease.claim_or_wait(tmp_path / "thing")
            assert holder.process == other.pid
        assert is_stopped(holder)
        other.send_signal(signal.SIGCONT)
        assert lease.claim_or_wait(tmp_path / "thing").process == other.pid


def test_a_process_that_proc_does_not_show_is_judged_by_its_beat(tmp_path, other, clock, monkeypatch):
    """/proc may hide other users' processes. Then an existing process does not count as dead, and a missing one does."""
    monkeypatch.setattr(holder_module, "stat", lambda process: [])
    with Lease(tmp_path) as lease:
        assert lease.claim(tmp_path / "thing").process == other.pid
        assert not surely_lives(lease.claim(tmp_path / "thing"))
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        assert lease.claim(tmp_path / "thing") is None


def test_another_users_process_is_not_taken_for_dead(tmp_path, other, monkeypatch):
    """A refused signal shows that the process exists."""

    def refused(process, number):
        raise PermissionError

    monkeypatch.setattr(holder_module.os, "kill", refused)
    monkeypatch.setattr(holder_module, "stat", lambda process: [])
    with Lease(tmp_path) as lease:
        assert lease.claim(tmp_path / "thing") is not None
    monkeypatch.undo()


def test_who_was_taken_over_while_asleep_finds_out_before_it_goes_on(tmp_path, clock):
    """A holder that was suspended for too long gets LeaseLost, and cannot get its lease back by beating."""
    with Lease(tmp_path) as sleeper:
        assert sleeper.claim(tmp_path / "mine") is None
        sleeper.check()
        (tmp_path / "alive" / sleeper.holder.token).unlink()  # as whoever takes over does
        clock[0] += 600.0
        with pytest.raises(LeaseLost):
            sleeper.check()
        assert not (tmp_path / "alive" / sleeper.holder.token).exists()


def test_who_stood_still_while_it_beat_was_not_heard_of_meanwhile(tmp_path, clock, monkeypatch):
    """A minute passes while a beat is written. The lease then counts from the start of the write."""
    write = heartbeat.write_beat
    with Lease(tmp_path) as lease:
        monkeypatch.setattr(heartbeat, "write_beat", lambda *what: (write(*what), clock.__setitem__(0, clock[0] + 60)))
        clock[0] += heartbeat.STALE_SECONDS / 2 + 1
        with pytest.raises(LeaseLost):
            lease.check()
        monkeypatch.setattr(heartbeat, "write_beat", write)
        lease.check()


def test_a_removed_heartbeat_that_a_late_write_makes_anew_gives_no_lease_back(storage, clock, monkeypatch):
    """A holder is suspended within a beat, after it has seen its heartbeat. Another takes over, and the write makes the file anew."""
    write = type(storage).write_bytes
    with Lease(storage) as sleeper:
        assert sleeper.claim(storage / "thing") is None
        mine = storage / "alive" / sleeper.holder.token

        def late_write(path, beat):
            clock[0] += 600.0
            mine.unlink()
            for claim in claims_in(storage):
                claim.unlink()
            write(mine, beat.encode())

        monkeypatch.setattr(heartbeat, "write_beat", late_write)
        with pytest.raises(LeaseLost):
            sleeper.confirm()
        monkeypatch.undo()
        with pytest.raises(LeaseLost):
            sleeper.check()


def test_a_slow_beat_costs_no_lease_that_nobody_has_taken(storage, clock, monkeypatch):
    """The store answers after a minute. The claim is still there, so that the holder goes on with its next beat."""
    write = heartbeat.write_beat
    with Lease(storage) as lease:
        assert lease.claim(storage / "thing") is None
        monkeypatch.setattr(heartbeat, "write_beat", lambda *what: (write(*what), clock.__setitem__(0, clock[0] + 60)))
        with suppress(LeaseLost):
            lease.confirm()
        monkeypatch.setattr(heartbeat, "write_beat", write)
        lease.confirm()


def test_a_process_whose_clock_stood_still_finds_out_when_it_confirms(tmp_path, clock):
    """A virtual machine was paused, so that its clock shows no time passed. Another process has taken over."""
    with Lease(tmp_path) as sleeper:
        assert sleeper.claim(tmp_path / "mine") is None
        (tmp_path / "alive" / sleeper.holder.token).unlink()
        sleeper.check()  # asks nobody, because the last beat seems to be of just now
        with pytest.raises(LeaseLost):
            sleeper.confirm()


def test_whatever_a_store_raises_the_next_beat_comes(tmp_path, clock, monkeypatch):
    """An exception in a library does not stop the heartbeat. A lease without a beat in time is lost."""

    def broken(*what):
        raise RuntimeError("the library is confused")

    write = heartbeat.write_beat
    monkeypatch.setattr(heartbeat, "beat_seconds", lambda storage: 0.01)
    with Lease(tmp_path) as lease:
        monkeypatch.setattr(heartbeat, "write_beat", broken)
        time.sleep(0.1)
        monkeypatch.setattr(heartbeat, "write_beat", write)
        before = (tmp_path / "alive" / lease.holder.token).read_text()
        time.sleep(0.1)
        assert (tmp_path / "alive" / lease.holder.token).read_text() > before
        monkeypatch.setattr(heartbeat, "write_beat", broken)
        clock[0] += 1000
        with pytest.raises(LeaseLost):
            lease.check()


def test_a_claim_stays_where_it_is_when_its_folder_is_moved(tmp_path):
    """A process that moves a folder aside also holds the new folder at the old path."""
    folder = tmp_path / "trials" / "4f0c"
    folder.mkdir(parents=True)
    with Lease(tmp_path) as mover, Lease(tmp_path) as claimer:
        assert mover.claim(folder) is None
        folder.rename(tmp_path / "aside")
        assert claimer.claim(folder) == mover.holder
        assert apparent_holder(tmp_path, folder) == mover.holder


def test_a_driver_of_an_earlier_version_is_seen(tmp_path):
    """Its claim is in the folder of its sweep."""
    folder = tmp_path / "sweeps" / "s"
    with Lease(tmp_path) as old, Lease(tmp_path) as new:
        (folder / "claims").mkdir(parents=True)
        claim = {"token": old.holder.token, "host": "h", "process": os.getpid(), "started_ms": 1}
        (folder / "claims" / f"{old.holder.token}.json").write_text(json.dumps(claim))
        assert new.claim(folder).token == old.holder.token


def test_a_driver_lets_go_for_the_workers_that_it_has_stopped(tmp_path, other):
    """Claims and heartbeats of its own workers are removed; those of another driver's workers stay."""
    (claim,) = claims_in(tmp_path)
    claims.release(tmp_path, tmp_path / "thing", "another driver")
    assert claim.exists()
    claims.release(tmp_path, tmp_path / "thing", "")
    assert not claim.exists()
    assert list((tmp_path / "alive").iterdir()) == []


def test_a_beat_keeps_a_lease_fresh(storage, monkeypatch):
    """The thread writes new beats, to a folder and to remote storage."""
    monkeypatch.setattr(heartbeat, "beat_seconds", lambda storage: 0.05)
    with Lease(storage) as lease:
        sign = storage / "alive" / lease.holder.token
        before = sign.read_bytes()
        time.sleep(0.3)
        assert sign.read_bytes() > before
        lease.check()


def test_a_claim_that_was_cut_is_that_of_a_dead_process_or_of_a_living_one(tmp_path, other):
    """Half a claim still has its token in its name. While that token beats, the claim counts."""
    (claim,) = claims_in(tmp_path)
    claim.write_text(claim.read_text()[:20])
    with Lease(tmp_path) as lease:
        assert lease.claim(tmp_path / "thing").token == claim.stem
        (tmp_path / "alive" / claim.stem).unlink()
        assert lease.claim(tmp_path / "thing") is None


def _contend(storage, start, inside, most_inside, wins):
    from mopoe_core.storage.paths import storage_path

    with Lease(storage_path(storage)) as lease:
        start.wait()
        deadline = time.monotonic() + 60
        while wins.value < 40 and time.monotonic() < deadline:
            things = storage_path(storage) / "thing"
            if lease.claim(things) is None:
                with inside.get_lock():
                    inside.value += 1
                    most_inside.value = max(most_inside.value, inside.value)
                time.sleep(0.002)
                with inside.get_lock():
                    inside.value -= 1
                    wins.value += 1
                (claim,) = storage_path(storage).glob(f"claims/**/{lease.holder.token}.json")
                claim.unlink()
            time.sleep(0.001 * (os.getpid() % 7))


def test_of_many_that_come_at_once_never_two_go_on(tmp_path):
    """Four processes claim and let go forty times. Never more than one of them holds the claim."""
    context = multiprocessing.get_context("spawn")
    start, inside, most_inside, wins = context.Barrier(4), context.Value("i", 0), context.Value("i", 0), context.Value("i", 0)
    processes = [context.Process(target=_contend, args=(str(tmp_path), start, inside, most_inside, wins)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(90)
        assert process.exitcode == 0
    assert most_inside.value == 1
    assert wins.value >= 40
