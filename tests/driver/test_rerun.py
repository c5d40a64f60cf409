"""`rerun` resets trials without losing a file, or trains one trial in the foreground without changing storage."""

import os
import re
import traceback

import pytest
import yaml

from orchestrator.driver import reset_trials
from orchestrator.errors import LedgerError
from orchestrator.execution import provenance
from orchestrator.execution.attempt import attempt
from orchestrator.execution.checked_trials import is_damaged
from orchestrator.execution.foreground import Foreground
from orchestrator.ledger.leases.lease import Lease
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.sweep_file import parse
from tests.support.builders import COHERENCE, result
from tests.support.naming import unnamed


def contents(folder):
    """Returns every file below a folder by name, without heartbeats."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.parent.name != "alive")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def swept(tmp_path):
    """A failed, a diverged, a completed and a pending trial, with their sweep's file and ledger."""
    raw = {
        "name": "t",
        "base": {"dataset": "mnist_svhn_text", "networks": "small", "model": "mopoe"},
        "seeds": 4,
        "storage": str(tmp_path / "runs"),
    }
    path = tmp_path / "t.yaml"
    path.write_text(yaml.safe_dump(raw))
    ledger, every = Ledger(tmp_path / "runs"), parse(raw).trials
    for trial in every[:3]:
        ledger.begin(trial)
    ledger.fail(every[0], "ValueError: no")
    ledger.checkpoint(every[0]).write_bytes(b"half way")
    ledger.record(result(every[1].cell, 1, {}, "diverged"))
    ledger.record(result(every[2].cell, 2, {COHERENCE: 0.5}))
    return path, ledger, every


def statuses(ledger, every):
    """Returns the statuses of all trials."""
    return [ledger.state(trial).status for trial in every]


def test_failed_trials_start_over_and_nothing_of_them_is_lost(swept, types_here):
    """The failed trial is new to the plan, without checkpoint. Each of its files is where the output says; no other file changed."""
    path, ledger, every = swept
    before, others = contents(ledger.folder(every[0])), [contents(ledger.folder(trial)) for trial in every[1:]]
    code, out, err = types_here("rerun", path, "--failed")
    assert (code, err) == (0, "")
    assert statuses(ledger, every) == ["pending", "diverged", "completed", "pending"]
    assert not ledger.state(every[0]).has_checkpoint
    (aside,) = (ledger.storage / "aside").iterdir()
    assert contents(aside) == before
    assert not unnamed(out, every[0].label, "failed", aside, f" sweep {path}")
    assert [contents(ledger.folder(trial)) for trial in every[1:]] == others
    assert not list((ledger.storage / "alive").iterdir())


def test_any_trial_can_be_named_beside_those_of_a_status(swept, types_here):
    """A completed trial is named by its id, together with all diverged ones: both are reset. A pending trial has no files to move."""
    path, ledger, every = swept
    _, out, _ = types_here("rerun", path, "--trial", every[2].id, "--trial", every[3].id, "--diverged")
    assert statuses(ledger, every) == ["failed", "pending", "pending", "pending"]
    (line,) = [line for line in out.splitlines() if every[3].label in line]
    assert not unnamed(line, "pending")
    assert str(ledger.storage / "aside") not in line


def test_a_trial_that_is_being_trained_is_refused_and_no_other_is_touched(swept, types_here):
    """Exit 2 and one line that names who trains it. The failed trial of the same command does not change."""
    path, ledger, every = swept
    with Lease(ledger.storage) as lease:
        assert lease.claim(ledger.folder(every[2])) is None
        before = contents(ledger.storage)
        code, out, err = types_here("rerun", path, "--failed", "--trial", every[2].id)
        assert contents(ledger.storage) == before
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert not unnamed(err, every[2].id, f"process {os.getpid()}")


def test_a_damaged_trial_that_is_being_trained_is_not_moved(swept):
    """`--retrain-damaged` is refused while a process holds one of the trials, and nothing changes."""
    _, ledger, every = swept
    with Lease(ledger.storage) as trains, Lease(ledger.storage) as moves:
        assert trains.claim(ledger.folder(every[1])) is None
        before = contents(ledger.storage / "trials")
        with pytest.raises(LedgerError, match=every[1].id):
            reset_trials.reset(every[:2], ledger, moves, "damaged", lambda trial: True)
        assert contents(ledger.storage / "trials") == before
        (moved,) = reset_trials.reset(every[:1], ledger, moves, "damaged", lambda trial: True)
        assert (moved.aside.parent.name, ledger.folder(every[0]).exists()) == ("damaged", False)
        assert trains.claim(ledger.folder(every[0])) is None  # a worker may begin it anew


def test_a_trial_that_ends_before_it_is_claimed_is_not_reset(swept, types_here, monkeypatch):
    """A sweep tries the failed trial again and completes it, after `--failed` has chosen it. Its result stays where it is."""
    path, ledger, every = swept
    claim_or_wait = Lease.claim_or_wait

    def completes_first(self, folder, *words):
        if folder == ledger.folder(every[0]):
            ledger.record(result(every[0].cell, 0, {COHERENCE: 0.7}))
        return claim_or_wait(self, folder, *words)

    monkeypatch.setattr(Lease, "claim_or_wait", completes_first)
    code, out, err = types_here("rerun", path, "--failed", "--diverged")
    assert (code, err) == (0, "")
    assert statuses(ledger, every) == ["completed", "pending", "completed", "pending"]
    assert ledger.result(every[0]).value(COHERENCE) == 0.7
    (line,) = [line for line in out.splitlines() if every[0].id in line]
    assert str(ledger.storage / "aside") not in line


def test_a_process_that_was_suspended_resets_nothing(swept, types_here, monkeypatch):
    """Another process takes its heartbeat away after it has claimed the trial. It exits with 2, and no file moves."""
    path, ledger, every = swept
    before = contents(ledger.storage / "trials")
    claim_or_wait = Lease.claim_or_wait

    def is_taken_over(self, folder, *words):
        holder = claim_or_wait(self, folder, *words)
        for beat in (ledger.storage / "alive").iterdir():
            beat.unlink()
        self._beat()  # as its thread will before long
        return holder

    monkeypatch.setattr(Lease, "claim_or_wait", is_taken_over)
    code, _, err = types_here("rerun", path, "--failed")
    assert (code, err.count("\n")) == (2, 1)
    assert contents(ledger.storage / "trials") == before


def test_a_trial_that_is_sound_again_is_not_set_aside_as_damaged(swept):
    """Another process has repaired or retrained it since the plan was made."""
    _, ledger, every = swept
    with Lease(ledger.storage) as lease:
        (kept,) = reset_trials.reset(every[2:3], ledger, lease, "damaged", lambda trial: is_damaged(trial, ledger))
    assert kept.has_changed
    assert ledger.state(every[2]).status == "completed"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], ["--trial", "--failed", "--diverged"]),
        (["--trial", "abc"], ["--trial", "'abc'", 4, "status --trials"]),
        (["--here"], ["--here", "--trial"]),
        (["--here", "--failed"], ["--here", "--trial"]),
    ],
)
def test_a_mistake_is_one_line(swept, types_here, words, named):
    """Exit 2, what is allowed, and what to do; storage does not change."""
    path, ledger, _ = swept
    before = contents(ledger.storage)
    code, out, err = types_here("rerun", path, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert not unnamed(err, *named)
    assert contents(ledger.storage) == before


def test_where_none_has_the_status_nothing_is_changed(swept, types_here):
    """A second `--failed` says that no trial has failed."""
    path, ledger, _ = swept
    types_here("rerun", path, "--failed")
    before = contents(ledger.storage)
    code, out, _ = types_here("rerun", path, "--failed")
    assert (code, out.count("\n")) == (0, 1)
    assert not unnamed(out, "t", "failed")
    assert contents(ledger.storage) == before


@pytest.fixture
def own_sweep(own_home):
    """A sweep of three trials on a dataset of the user's own; the second raises and the third diverges."""
    raw = {
        "name": "own",
        "base": {"dataset": "mine.py:made", "model": "mopoe", "batch_size": 50, "epochs": 2},
        "grid": {"latent_dim": [2, 5]},
        "include": [{"latent_dim": 2, "learning_rate": 1e18}],
    }
    (own_home / "own.yaml").write_text(yaml.safe_dump(raw))
    (own_home / "runs").mkdir()
    return own_home / "own.yaml", parse(raw).trials


def test_a_trial_trained_here_says_its_epochs_and_objectives_and_changes_nothing(own_sweep, types_here):
    """The numbers are those that a worker records, storage stays empty, and for a diverged trial the output says where."""
    path, (fine, _, diverging) = own_sweep
    code, out, err = types_here("rerun", path, "--trial", fine.id, "--here")
    assert (code, err) == (0, "")
    assert not unnamed(out, "epoch 2/2", "loss")
    recorded = Foreground(path.parent / "elsewhere", "data", provenance.commit()).train(fine, 1, 0.0)
    for metric in ("coherence/joint", "log_likelihood/joint"):
        assert not unnamed(out, "completed", f"{metric} {recorded.value(metric)!r}")
    last = types_here("rerun", path, "--trial", diverging.id, "--here")[1].splitlines()[-1]
    assert not unnamed(last, "diverged", re.compile(r"\bstep \d+"))
    assert not list((path.parent / "runs").iterdir())


def test_a_failure_here_is_raised_from_where_it_happened(own_sweep, types_here):
    """The exception leaves the program with its own frames, so that the traceback is complete and pdb can be used."""
    path, (_, failing, _) = own_sweep
    with pytest.raises(ValueError, match="five is too many") as caught:
        types_here("rerun", path, "--trial", failing.id, "--here")
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "forward"


def test_what_a_worker_would_only_report_is_raised_here(own_sweep, tmp_path, monkeypatch):
    """An error in the evaluation, which a worker only records, is raised with its own innermost frame."""

    def broken(*arguments):
        raise FileExistsError("in the way")

    monkeypatch.setattr(attempt, "write_pictures", broken)
    place = Foreground(tmp_path / "here", "data", "")
    with pytest.raises(FileExistsError) as caught:
        place.train(own_sweep[1][0], 1, 0.0)
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "broken"
