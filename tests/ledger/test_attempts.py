"""Each attempt at a trial has its own files. Those of the attempt with the first result become the trial's."""

import io
import itertools
import json
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from mopoe_core.errors import CheckpointError
from mopoe_core.storage import whole_files
from mopoe_core.storage.file_facts import Digest, size_if_there
from mopoe_core.storage.paths import storage_path
from mopoe_core.storage.whole_files import write_bytes
from mopoe_core.training import checkpoint
from mopoe_core.training.checkpoint import FORMAT
from orchestrator.execution import plan as planning
from orchestrator.ledger import attempts, records, trial_records
from orchestrator.ledger.attempts import Attempt, adopt
from orchestrator.ledger.integrity import artifact_check
from orchestrator.ledger.layout import TrialFolder
from orchestrator.ledger.leases.lease import LeaseLost
from orchestrator.ledger.ledger import Ledger
from tests.support.builders import COHERENCE, cell, result
from tests.support.naming import naming

RESULT = result(cell(), 0, {COHERENCE: 0.5})
TRIAL = RESULT.trial
WEIGHTS, PICTURES = b"weights of three epochs", {"given_a": b"picture a", "joint": b"picture b"}


@pytest.fixture(params=["folder", "memory"])
def ledger(request, tmp_path):
    """An empty ledger in a folder or on remote storage."""
    return Ledger(tmp_path / "runs" if request.param == "folder" else storage_path(f"memory://{tmp_path.name}/runs"))


def begun(ledger, worker, checkpoint=WEIGHTS):
    """An attempt with a checkpoint and pictures."""
    attempt = Attempt.of(ledger.folder(TRIAL), ledger.begin(TRIAL, worker), worker)
    write_bytes(attempt.checkpoint, checkpoint)
    for name, content in PICTURES.items():
        write_bytes(attempt.folder / f"{name}.png", content)
    return attempt


@pytest.fixture
def a_digit_is_a_checkpoint(monkeypatch):
    """A checkpoint's content is its number of epochs."""
    monkeypatch.setattr(
        checkpoint, "progress_in", lambda path, *_: SimpleNamespace(epochs=int(path.read_bytes())) if path.exists() else None
    )


def named(attempt, checkpoint=WEIGHTS):
    """A result that names an attempt's files."""
    samples = {name: Digest.of(content).sha256 for name, content in PICTURES.items()}
    return replace(RESULT, attempts=attempt.number, checkpoint=Digest.of(checkpoint), samples=samples)


def test_the_files_of_the_first_result_become_the_trials(ledger):
    """The second result is refused and changes nothing. Nothing of either attempt is left."""
    first, second = begun(ledger, "worker-a"), begun(ledger, "worker-b", b"other weights")
    assert (first.number, second.number) == (1, 2)
    assert ledger.record(named(second, b"other weights"), second)
    assert not ledger.record(named(first), first)
    assert ledger.result(TRIAL).attempts == 2
    assert ledger.checkpoint(TRIAL) == ledger.folder(TRIAL) / "checkpoint.pt"
    assert ledger.checkpoint(TRIAL).read_bytes() == b"other weights"
    assert {name: path.read_bytes() for name, path in ledger.samples(TRIAL).items()} == PICTURES
    assert list(ledger.folder(TRIAL).glob("attempts/*/*")) == []
    assert ledger.state(TRIAL).checkpoint_problem == ""


def test_what_a_late_attempt_writes_is_not_the_trials(ledger):
    """A worker wakes and writes its checkpoint after the trial has ended. The trial's checkpoint stays the one that the result names."""
    first = begun(ledger, "worker-a")
    second = begun(ledger, "worker-b")
    assert ledger.record(named(second), second)
    write_bytes(first.checkpoint, b"of an epoch long ago")
    assert ledger.checkpoint(TRIAL).read_bytes() == WEIGHTS
    state = ledger.state(TRIAL)
    assert (state.checkpoint_problem, state.has_checkpoint, state.unpublished) == ("", True, False)


def test_moving_files_to_their_place_may_be_cut_anywhere(ledger, monkeypatch):
    """After an interruption before any step, the result counts and its checkpoint is found. Moving again finishes the work."""
    for step in itertools.count():
        here = Ledger(ledger.storage / f"step{step}")
        attempt, steps = begun(here, "worker-a"), itertools.count()

        def counted(function, steps=steps, step=step):
            def counting(*args, **more):
                if next(steps) == step:
                    raise KeyboardInterrupt
                return function(*args, **more)

            return counting

        with monkeypatch.context() as patched:
            patched.setattr(attempts, "copy", counted(attempts.copy))
            kind = type(attempt.folder)
            patched.setattr(kind, "unlink", counted(kind.unlink))
            try:
                here.record(named(attempt), attempt)
                cut = False
            except KeyboardInterrupt:
                cut = True
        if here.result(TRIAL) is None:  # cut before the result was there
            assert here.checkpoint(TRIAL) == attempt.checkpoint
            continue
        assert here.checkpoint(TRIAL).read_bytes() == WEIGHTS
        assert here.state(TRIAL).checkpoint_problem == ""
        if here.state(TRIAL).unpublished:
            assert planning.make([TRIAL], here).unpublished == (TRIAL,)
        here.publish(TRIAL)
        assert (here.folder(TRIAL) / "checkpoint.pt").read_bytes() == WEIGHTS
        assert {name: path.read_bytes() for name, path in here.samples(TRIAL).items()} == PICTURES
        assert list(here.folder(TRIAL).glob("attempts/*/*")) == []
        if not cut:
            break
    assert step > 5


def unmoved(ledger, monkeypatch, worker="worker-a"):
    """An attempt whose worker recorded its result and stands still before it moves its files; and what that worker does next."""
    attempt, left = begun(ledger, worker), []
    with monkeypatch.context() as patched:
        patched.setattr(attempts, "publish", lambda *words: left.append(words))
        assert ledger.record(named(attempt), attempt)
    assert ledger.state(TRIAL).unpublished
    return attempt, lambda: attempts.publish(*left[0])


def files_in(attempt):
    """The content of an attempt's files by name."""
    return {path.name: path.read_bytes() for path in attempt.folder.glob("*")}


def suspended_at(step, meanwhile):
    """Returns a decorator of functions. Before the call of this number, from 0, of any of them, `meanwhile` is called."""
    steps = itertools.count()

    def sleepy(function):
        def waking(*args, **more):
            if next(steps) == step:
                meanwhile()
            return function(*args, **more)

        return waking

    return sleepy


@pytest.mark.parametrize("has_ended", [False, True])
def test_a_worker_that_stood_still_while_its_trial_was_reset_removes_nothing_of_the_next_attempt(ledger, monkeypatch, has_ended):
    """It may stand still before any step of moving its files. The next attempt trains, or has ended and moved its own files."""
    for step in range(100):
        here = Ledger(ledger.storage / f"step{step}")
        _, move_files = unmoved(here, monkeypatch)
        after = []

        def reset(here=here, after=after):
            here.set_aside(TRIAL, "aside")
            after.append(begun(here, "worker-b", b"weights of the next attempt"))
            if has_ended:
                assert here.record(named(after[0], b"weights of the next attempt"), after[0])

        sleepy = suspended_at(step, reset)
        with monkeypatch.context() as patched:
            for owner, name in (
                *((attempts, name) for name in ("listed", "copy", "_sync")),
                (records, "read"),
                (artifact_check, "checkpoint_problem"),
                (TrialFolder, "attempt_files"),
                (type(here.storage), "unlink"),
            ):
                patched.setattr(owner, name, sleepy(getattr(owner, name)))
            move_files()
        if not after:  # the files were moved in fewer steps
            break
        if has_ended:
            assert here.checkpoint(TRIAL).read_bytes() == b"weights of the next attempt"
            assert here.state(TRIAL).checkpoint_problem == ""
            assert {name: path.read_bytes() for name, path in here.samples(TRIAL).items()} == PICTURES
        else:
            pictures = {f"{name}.png": content for name, content in PICTURES.items()}
            assert files_in(after[0]) == {"checkpoint.pt": b"weights of the next attempt"} | pictures
    assert 5 < step < 99


def test_to_publish_a_trial_that_was_reset_removes_nothing(ledger, monkeypatch):
    """A driver made its plan before the trial was reset. The next attempt keeps its checkpoint, and goes on to its result."""
    unmoved(ledger, monkeypatch)
    ledger.set_aside(TRIAL, "aside")
    attempt = begun(ledger, "worker-b")
    before = files_in(attempt)
    ledger.publish(TRIAL)
    assert files_in(attempt) == before
    assert ledger.record(named(attempt), attempt)
    assert ledger.state(TRIAL).checkpoint_problem == ""


def test_the_files_of_an_attempt_that_began_after_that_of_the_result_stay(ledger):
    """Its worker took the first one for dead, and still trains. What an attempt before that of the result left is removed."""
    early, first, later = begun(ledger, "worker-a"), begun(ledger, "worker-b"), begun(ledger, "worker-c")
    before = files_in(later)
    assert ledger.record(named(first), first)
    assert (files_in(early), files_in(first), files_in(later)) == ({}, {}, before)


def test_pictures_are_found_before_they_are_moved(ledger, monkeypatch):
    """They are those of the attempt that the result names, and of no other."""
    attempt, move_files = unmoved(ledger, monkeypatch)
    write_bytes(begun(ledger, "worker-b").folder / "another.png", b"of no result")
    assert {name: path.read_bytes() for name, path in ledger.samples(TRIAL).items()} == PICTURES
    assert {path.parent for path in ledger.samples(TRIAL).values()} == {attempt.folder}
    move_files()
    assert {name: path.read_bytes() for name, path in ledger.samples(TRIAL).items()} == PICTURES
    assert {path.parent for path in ledger.samples(TRIAL).values()} == {ledger.folder(TRIAL) / "samples"}


@pytest.mark.parametrize("looks", range(4))
def test_files_that_are_moved_between_two_looks_are_not_lost(ledger, monkeypatch, looks):
    """The worker moves them after any look at a size; a plan with every check finds nothing damaged."""
    for thorough in (False, True):
        here = Ledger(ledger.storage / f"thorough{thorough}")
        _, move_files = unmoved(here, monkeypatch)
        counts = itertools.count()

        def size(path, counts=counts, move_files=move_files):
            found = size_if_there(path)
            if next(counts) == looks:
                move_files()
            return found

        with monkeypatch.context() as patched:
            for module in (trial_records, artifact_check):
                patched.setattr(module, "size_if_there", size)
            plan = planning.make([TRIAL], here, thorough=thorough)
        assert (plan.damaged, plan.done) == ({}, (TRIAL,))


@pytest.mark.usefixtures("a_digit_is_a_checkpoint")
def test_an_attempt_goes_on_from_the_newest_checkpoint(ledger):
    """Of two earlier attempts, the one with more epochs gives both of its checkpoints. Both attempts keep their files."""
    old, older = begun(ledger, "worker-a", b"5"), begun(ledger, "worker-b", b"3")
    write_bytes(old.folder / "checkpoint.before", b"4")
    new = Attempt.of(ledger.folder(TRIAL), ledger.begin(TRIAL, "worker-c"), "worker-c")
    adopt(TRIAL, new, ledger.folder(TRIAL))
    assert {path.name: path.read_bytes() for path in new.folder.glob("*")} == {"checkpoint.pt": b"5", "checkpoint.before": b"4"}
    assert (old.checkpoint.read_bytes(), older.checkpoint.read_bytes()) == (b"5", b"3")
    assert ledger.checkpoint(TRIAL) == new.checkpoint


@pytest.mark.usefixtures("a_digit_is_a_checkpoint")
def test_an_attempt_whose_note_was_cut_is_gone_on_from(ledger):
    """Its checkpoint is the newest, and the other trials of a stack resume from the same epoch."""
    begun(ledger, "worker-a", b"3")
    last = begun(ledger, "worker-b", b"7")
    note = ledger.folder(TRIAL) / "attempts" / "0002.json"
    write_bytes(note, note.read_bytes()[:50])
    new = Attempt.of(ledger.folder(TRIAL), ledger.begin(TRIAL, "worker-c"), "worker-c")
    adopt(TRIAL, new, ledger.folder(TRIAL))
    assert new.checkpoint.read_bytes() == last.checkpoint.read_bytes() == b"7"


def test_a_checkpoint_of_another_trial_is_not_copied(ledger):
    """The error names its present path, so that nothing is left of it once the user has moved it."""
    ledger.begin(TRIAL)
    content = io.BytesIO()
    torch.save({"format": FORMAT, "trial": "0" * 16, "seed": 0, "config": {}, "history": [], "diverged_at_step": None}, content)
    write_bytes(ledger.folder(TRIAL) / "checkpoint.pt", content.getvalue())
    attempt = Attempt.of(ledger.folder(TRIAL), ledger.begin(TRIAL, "worker-a"), "worker-a")
    with pytest.raises(CheckpointError, check=naming(ledger.folder(TRIAL) / "checkpoint.pt", "0" * 16)):
        adopt(TRIAL, attempt, ledger.folder(TRIAL))
    assert not attempt.checkpoint.exists()


def test_an_attempt_goes_on_from_what_an_earlier_version_left(ledger):
    """Earlier versions wrote checkpoints into the trial's own folder."""
    ledger.begin(TRIAL)
    write_bytes(ledger.folder(TRIAL) / "checkpoint.pt", b"new")
    write_bytes(ledger.folder(TRIAL) / "checkpoint.before", b"old")
    assert ledger.state(TRIAL).has_checkpoint
    attempt = Attempt.of(ledger.folder(TRIAL), ledger.begin(TRIAL, "worker-a"), "worker-a")
    adopt(TRIAL, attempt, ledger.folder(TRIAL))
    assert (attempt.checkpoint.read_bytes(), (attempt.folder / "checkpoint.before").read_bytes()) == (b"new", b"old")
    write_bytes(attempt.checkpoint, WEIGHTS)
    assert ledger.record(replace(named(attempt), samples={}), attempt)
    assert ledger.checkpoint(TRIAL).read_bytes() == WEIGHTS
    assert sorted(path.name for path in ledger.folder(TRIAL).glob("checkpoint.*")) == ["checkpoint.pt"]


def test_a_trial_that_was_put_back_does_not_go_on_from_a_worker_that_slept(ledger):
    """The worker wakes and writes its checkpoint into the trial's new folder, where no record names its attempt."""
    slept = begun(ledger, "worker-a")
    ledger.set_aside(TRIAL, "aside")
    write_bytes(slept.checkpoint, b"of the trial as it was")
    new = Attempt.of(ledger.folder(TRIAL), ledger.begin(TRIAL, "worker-b"), "worker-b")
    adopt(TRIAL, new, ledger.folder(TRIAL))
    assert not new.checkpoint.exists()


def test_a_worker_that_was_suspended_before_its_result_records_nothing_in_a_trial_that_was_reset(ledger, monkeypatch):
    """It is suspended before any step of recording. Meanwhile the trial is reset, and another worker begins or completes it. The result
    of that other worker counts, and its attempt's record stays as it is.
    """
    for step, has_ended in itertools.product(range(60), (False, True)):
        here = Ledger(ledger.storage / f"step{step}-{has_ended}")
        slept, after = begun(here, "worker-a"), []

        def reset(here=here, after=after, has_ended=has_ended):
            here.set_aside(TRIAL, "aside")
            after.append(begun(here, "worker-b", b"weights of the next attempt"))
            if has_ended:
                assert here.record(named(after[0], b"weights of the next attempt"), after[0])

        sleepy = suspended_at(step, reset)
        storage = type(here.storage)
        with monkeypatch.context() as patched:
            for owner, name in (
                (attempts, "_sync"),
                (records, "read"),
                (records, "create"),
                (records, "write_whole"),
                (whole_files, "name_unless_taken"),
                *((storage, name) for name in ("exists", "read_text")),
            ):
                patched.setattr(owner, name, sleepy(getattr(owner, name)))
            with suppress(LeaseLost, FileNotFoundError):
                here.record(named(slept), slept)
            here.end_attempt(TRIAL, slept.number, "overtaken", worker="worker-a")
        if not after:  # recording took fewer steps
            break
        recorded = here.of(TRIAL).attempt(after[0].number)
        assert (recorded["worker"], recorded.get("status")) == ("worker-b", None)
        if has_ended:
            assert here.checkpoint(TRIAL).read_bytes() == b"weights of the next attempt"
            assert here.state(TRIAL).checkpoint_problem == ""
    assert 3 < step < 59


def test_a_failure_counts_until_another_attempt_has_begun(ledger):
    """A record that a trial has failed or was cancelled belongs to one attempt."""
    statuses = []
    for note in (lambda: ledger.fail(TRIAL, "ValueError: no"), lambda: ledger.cancel(TRIAL), lambda: None):
        ledger.begin(TRIAL, "worker")
        statuses.append(ledger.state(TRIAL).status)
        note()
        statuses.append(ledger.state(TRIAL).status)
    assert statuses == ["pending", "failed", "pending", "cancelled", "pending", "pending"]


def test_two_that_begin_at_once_have_two_numbers(ledger, monkeypatch):
    """Neither overwrites the other's record, although both saw the same attempts."""
    ledger.begin(TRIAL, "worker-a")
    monkeypatch.setattr("orchestrator.ledger.layout.listed", lambda *_: [])  # the note of the first is not there yet
    assert ledger.begin(TRIAL, "worker-b") == 2
    monkeypatch.undo()
    notes = [json.loads((ledger.folder(TRIAL) / "attempts" / f"{number:04d}.json").read_bytes()) for number in (1, 2)]
    assert [note["worker"] for note in notes] == ["worker-a", "worker-b"]
