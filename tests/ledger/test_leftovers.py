"""`gc` finds the files that killed processes left behind, and no others."""

import os
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import pytest

from mopoe_core.storage.paths import storage_path
from mopoe_core.storage.remote_path import RemotePath
from mopoe_core.storage.scratch import scratch
from mopoe_core.storage.whole_files import write_text
from orchestrator.driver import replaced_folder
from orchestrator.ledger import records
from orchestrator.ledger.leases.lease import Lease
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import Identity
from orchestrator.ledger.storage import leftovers
from tests.ledger.test_attempts import PICTURES, TRIAL, WEIGHTS, begun, unmoved

TOKEN = uuid.uuid4().hex
LEFT = (
    f"alive/{TOKEN}",
    f"alive/workers-{TOKEN}",
    f"alive/.{TOKEN}.abcd_123",
    f"workers-{TOKEN}",
    "probe-17",
    f".probe.{TOKEN}",
    f".storage.json.{TOKEN}",
    f"..storage.json.{TOKEN}.a1b2c3d4",
    f".mlflow.db.{TOKEN}-journal",
    "trials/ended/.result.json.a1b2c3d4",
    "trials/ended/checkpoint.before",
    "trials/ended/checkpoint.next",
    "trials/ended/progress.json",
    f"trials/ended/attempts/0001-{TOKEN}/checkpoint.pt",
    "trials/ended/claims/.x.json.a1b2c3d4",
    "trials/open/.checkpoint.pt.a1b2c3d4",
    f"trials/open/.checkpoint.next.{TOKEN}",
    "classifiers/a/b.pt.lock",
    "sweeps/s/search.log.lock",
    "sweeps/s/.sweep.yaml.a1b2c3d4",
    "damaged/x/.trial.json.a1b2c3d4",
)
KEPT = (
    "storage.json",
    "mlflow.db",
    ".gitignore",
    ".vscode.settings",
    "trials/ended/result.json",
    "trials/ended/checkpoint.pt",
    "trials/ended/attempts/0001.json",
    "trials/ended/claims/x.json",
    "trials/open/checkpoint.pt",
    "trials/open/checkpoint.before",
    "trials/open/progress.json",
    f"trials/open/attempts/0001-{TOKEN}/checkpoint.pt",
    "classifiers/a/b.pt",
    "sweeps/s/sweep.json",
    "sweeps/s/report/index.html",
    "aside/ended/checkpoint.before",
)


@pytest.fixture(params=["folder", "memory"])
def storage(request, tmp_path):
    """A local and a remote storage, with leftovers and other files, all of them a year old."""
    return tmp_path / "storage" if request.param == "folder" else storage_path(f"memory://{uuid.uuid4().hex}")


def make_old(folder):
    """Make all files and folders below a folder a year old."""
    then = time.time() - 2 * leftovers.FORGOTTEN_SECONDS
    for path in (*folder.rglob("*"), folder):
        os.utime(path, (then, then), follow_symlinks=False)


def names(storage, paths):
    """Returns the paths of all files below storage."""
    return sorted(str(path).removeprefix(f"{storage}/") for path in paths if str(path).startswith(f"{storage}/"))


def test_what_killed_processes_left_is_found_when_it_is_old_and_nothing_else(storage, monkeypatch):
    """Every kind of leftover is found on local and remote storage, but not while it is young. Removing them leaves all other files."""
    for name in (*LEFT, *KEPT):
        write_text(storage / name, "x")
    records.write(storage / "trials/ended/result.json", Identity("result", "ended"), {"attempts": 1, "files": ""})
    assert names(storage, leftovers.find(storage)) == []
    monkeypatch.setattr(leftovers, "FORGOTTEN_SECONDS", -60.0)
    files_below = RemotePath.files_below  # memory has no times
    monkeypatch.setattr(RemotePath, "files_below", lambda self: ((path, time.time()) for path, _ in files_below(self)))
    old_files = leftovers.find(storage)
    assert names(storage, old_files) == sorted(LEFT)
    for path in old_files:
        if str(path).startswith(str(storage)):
            leftovers.remove(path)
    assert names(storage, leftovers.find(storage)) == []
    assert [name for name in KEPT if not (storage / name).exists()] == []
    assert [name for name in LEFT if (storage / name).exists()] == []


def left_in_trials(storage):
    """Returns the leftovers in the folders of trials, after all files have become old."""
    make_old(storage)
    return [path for path in names(storage, leftovers.find(storage)) if path.startswith("trials/")]


def test_what_a_result_names_is_no_leftover_before_it_has_been_moved(tmp_path, monkeypatch):
    """A worker died between its result and the move of its files. Only the files of the other attempt are left over."""
    ledger = Ledger(tmp_path)
    attempt, move_files = unmoved(ledger, monkeypatch)
    other = begun(ledger, "worker-b")
    assert left_in_trials(tmp_path) == names(tmp_path, other.folder.iterdir())
    for path in leftovers.find(tmp_path):
        if path.is_relative_to(tmp_path):
            leftovers.remove(path)
    assert attempt.checkpoint.read_bytes() == WEIGHTS
    move_files()
    assert ledger.state(TRIAL).checkpoint_problem == ""
    assert {name: path.read_bytes() for name, path in ledger.samples(TRIAL).items()} == PICTURES
    assert left_in_trials(tmp_path) == []


def test_what_is_left_of_a_move_is_a_leftover_once_the_trial_has_its_files(tmp_path, monkeypatch):
    """The move was cut after the last copy. While a picture is missing in the trial's folder, nothing of the attempt is left over."""
    ledger = Ledger(tmp_path)
    attempt, move_files = unmoved(ledger, monkeypatch)
    with monkeypatch.context() as patched:
        patched.setattr("orchestrator.ledger.attempts._clear", lambda *_: None)
        move_files()
    assert left_in_trials(tmp_path) == names(tmp_path, attempt.folder.iterdir())
    (ledger.folder(TRIAL) / "samples" / "joint.png").unlink()
    assert left_in_trials(tmp_path) == []


def test_nothing_of_a_trial_is_left_over_if_its_result_is_damaged(tmp_path, monkeypatch):
    """It is not known which attempt the result names."""
    ledger = Ledger(tmp_path)
    unmoved(ledger, monkeypatch)
    (ledger.folder(TRIAL) / "result.json").write_text("{")
    assert left_in_trials(tmp_path) == []


def test_the_beat_of_a_process_that_is_there_is_no_leftover(tmp_path):
    """The process may have been stopped for days, and may continue. The heartbeat of a process that is gone is a leftover."""
    with Lease(tmp_path) as lease:
        assert lease.claim(tmp_path / "sweeps" / "s") is None
        write_text(tmp_path / "alive" / "0123", "x")
        make_old(tmp_path)
        assert names(tmp_path, leftovers.find(tmp_path)) == ["alive/0123"]


def test_a_half_built_report_is_one_leftover(tmp_path):
    """It is old only if everything in it is old. A link that leads out of storage is not followed."""
    report = tmp_path / "runs" / "sweeps" / "s" / "report"
    draft = report.with_name(replaced_folder.draft_name(report))
    write_text(draft / "paper" / "a.md", "half")
    (tmp_path / "classifiers").mkdir()
    (tmp_path / "classifiers" / "x.lock").touch()
    (tmp_path / "runs" / "classifiers").symlink_to(tmp_path / "classifiers")
    make_old(tmp_path)
    assert names(tmp_path, leftovers.find(tmp_path / "runs")) == [str(draft.relative_to(tmp_path))]
    os.utime(draft / "paper" / "a.md")
    assert names(tmp_path, leftovers.find(tmp_path / "runs")) == []
    make_old(tmp_path)
    (leftover,) = [path for path in leftovers.find(tmp_path / "runs") if path.is_relative_to(tmp_path)]
    leftovers.remove(leftover)
    assert not draft.exists()


def test_scratch_folders_of_processes_that_are_gone_are_found(tmp_path, monkeypatch):
    """Folders of a running process do not count, however old they are, nor do files of other programs with similar names."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    own = f"mopoe-{os.getuid()}-0123456789abcdef.lock"
    (tmp_path / own).touch()
    for name in (f"mopoe-tune-{gone.stdout.strip()}-a1b2c3d4", "mopoe-here-abcd_123", "mopoe-mine", "other-tune-1-a1b2c3d4"):
        write_text(tmp_path / name / "deep" / "file", "x")
    with scratch("tune") as running:
        assert leftovers.SCRATCH.fullmatch(Path(running).name)
        make_old(tmp_path)
        expected = [own, f"mopoe-tune-{gone.stdout.strip()}-a1b2c3d4", "mopoe-here-abcd_123"]
        assert names(tmp_path, leftovers.find(tmp_path / "nowhere")) == sorted(expected)


def test_gc_lists_leftovers_and_deletes_them(store, types_here):
    """`gc` lists their paths. Without `--delete` all of them stay."""
    left = store.ledger.storage / "alive" / f"workers-{TOKEN}"
    write_text(left, "")
    make_old(store.ledger.storage / "alive")
    code, out, err = types_here("gc", store.file)
    assert code == 0, err
    assert f"leftover  {left}" in out.splitlines()
    assert left.exists()
    assert types_here("gc", store.file, "--delete")[0] == 0
    assert not left.exists()
