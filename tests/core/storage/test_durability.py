"""What is on disk when a machine goes down, checked by the order of system calls, and the rights of files."""

import os
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from mopoe_core.data.dataset_cache import Recipe, open_built, save
from mopoe_core.storage import durability, folders, whole_files
from mopoe_core.storage.file_facts import Digest
from orchestrator.ledger import records
from orchestrator.ledger.attempts import Attempt
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import Identity
from orchestrator.spec.trial import Trial
from orchestrator.tracking.mlflow import client, run_files, runs
from tests.support.builders import cell, result

NO_UMASK = 0o666


@dataclass
class Disk:
    """Records the calls that give names to files and that sync them, in order."""

    calls: list[tuple[str, str]] = field(default_factory=list)

    def names_lost(self, below: Path) -> set[str]:
        """Returns the names that a machine which goes down now could lose: those given after their folder's last sync."""
        lost = set()
        for what, path in self.calls:
            if what == "named":
                lost.add(path)
            elif what == "sync":
                lost = {name for name in lost if os.path.dirname(name) != path}
        return {os.path.relpath(name, below) for name in lost if os.path.lexists(name) and Path(name).is_relative_to(below)}

    def content_lost(self, below: Path) -> set[str]:
        """Returns the files whose bytes were never synced, under whatever name."""
        synced = {path for what, path in self.calls if what == "synced inode"}
        files = (path for path in below.rglob("*") if path.is_file())
        return {os.path.relpath(path, below) for path in files if str(path.stat().st_ino) not in synced}


@pytest.fixture
def disk(monkeypatch, tmp_path):
    """The calls from now on."""
    seen = Disk()

    def naming(call, last):
        def named(*arguments, **more):
            done = call(*arguments, **more)
            seen.calls.append(("named", os.path.abspath(arguments[last])))
            return done

        return named

    def fsync(handle):
        seen.calls.append(("sync", os.readlink(f"/proc/self/fd/{handle}")))
        seen.calls.append(("synced inode", str(os.fstat(handle).st_ino)))

    for name, last in (("replace", 1), ("link", 1), ("rename", 1), ("mkdir", 0)):
        monkeypatch.setattr(os, name, naming(getattr(os, name), last))
    monkeypatch.setattr(os, "fsync", fsync)
    return seen


def test_a_file_is_synced_before_it_has_its_name_and_its_folder_afterwards(disk, tmp_path):
    """A power cut leaves neither a name without content nor content without a name, also for folders that were made for it."""
    whole_files.write_text(tmp_path / "a" / "b" / "file", "text")
    acts = [(what, Path(path)) for what, path in disk.calls if what != "synced inode"]
    (named,) = [place for place, (what, path) in enumerate(acts) if (what, path.name) == ("named", "file")]
    assert acts[named - 1][0] == "sync"
    assert acts[named - 1][1].parent == tmp_path / "a" / "b"
    assert acts[named + 1] == ("sync", tmp_path / "a" / "b")
    assert disk.names_lost(tmp_path) == set()


def moved(folder):
    """Moves a file to the name of another."""
    (folder / "next").write_text("x")
    whole_files.move(folder / "next", folder / "file")


def unless_taken(folder):
    """Gives a finished file a free name."""
    (folder / "draft").write_text("x")
    whole_files.name_unless_taken(folder / "draft", folder / "file")


def folder_moved(folder):
    """Moves a folder."""
    (folder / "old").mkdir()
    folders.move_folder(folder / "old", folder / "aside" / "new")


def kept(folder):
    """Keeps a file that is replaced under another name."""
    for number in "12":
        whole_files.link_as(folder / "file", folder / "file.before")
        whole_files.write_bytes(folder / "file", number.encode())


@pytest.mark.parametrize("give", [moved, unless_taken, folder_moved, kept])
def test_whatever_gives_a_name_has_it_on_disk_afterwards(give, disk, tmp_path):
    """No function that gives a name returns before the name is on disk."""
    give(tmp_path)
    assert any(what == "named" for what, _ in disk.calls)
    assert disk.names_lost(tmp_path) - {"old"} == set()


def record_trial(ledger):
    """Records a trial from its beginning to its result, as a worker does. Returns the trial and the result."""
    trial = Trial(cell(epochs=1), 0)
    attempt = Attempt.of(ledger.folder(trial), ledger.begin(trial, "worker"), "worker")
    whole_files.write_bytes(attempt.checkpoint, b"weights")
    whole_files.write_bytes(attempt.folder / "unconditional.png", b"picture", durable=False)
    recorded = result(trial.cell, 0, {"coherence/joint": 0.5, "log_likelihood/joint": -1.0})
    named = {"checkpoint": Digest.of(b"weights"), "samples": {"unconditional": Digest.of(b"picture").sha256}}
    recorded = replace(recorded, **named)
    assert ledger.record(recorded, attempt)
    ledger.end_attempt(trial, attempt.number, "completed")
    return trial, recorded


def test_what_a_result_names_is_on_disk_before_the_result_is(disk, tmp_path, monkeypatch):
    """When `result.json` gets its name, the checkpoint and the pictures that it names are on disk."""
    lost, create = [], records.create

    def seen(path, *rest):
        if path.name == "result.json":
            lost.append(disk.names_lost(tmp_path))
        return create(path, *rest)

    monkeypatch.setattr(records, "create", seen)
    record_trial(Ledger(tmp_path / "runs"))
    assert lost == [set()]


def test_a_trial_that_has_a_result_loses_nothing_but_notes(disk, tmp_path):
    """Result, checkpoint, picture, configuration and the trial's folder are on disk. Only the notes of attempts may be lost."""
    trial, _ = record_trial(Ledger(tmp_path / "runs"))
    assert disk.names_lost(tmp_path) == {f"runs/trials/{trial.id}/attempts/0001.json"}
    assert disk.content_lost(tmp_path) == set()


@pytest.mark.parametrize(
    "kind", ["trial", "result", "failed", "cancelled", "deleted", "epoch", "sweep", "proposal", "stopped", "seeds"]
)
def test_records_are_durable_but_for_notes(kind, disk, tmp_path):
    """The name of each kind of record is on disk when it was written, except for notes, which nobody would miss."""
    records.write(tmp_path / "new" / "record.json", Identity(kind), {})
    assert disk.names_lost(tmp_path) == set()


@pytest.mark.parametrize("linked", [True, False])
def test_mlflows_artifacts_are_on_disk(linked, disk, tmp_path, monkeypatch):
    """Before MLflow's database names a run's artifacts, all of them are on disk with their content, linked or copied."""
    ledger = Ledger(tmp_path / "runs")
    _, recorded = record_trial(ledger)
    if not linked:
        monkeypatch.setattr(os, "link", lambda *arguments: (_ for _ in ()).throw(OSError("no links here")))
    into = tmp_path / "mlartifacts" / "1" / "run" / "artifacts"
    run_files.put(into, ledger, recorded)
    assert {path.name for path in into.iterdir()} == {
        "checkpoint.pt",
        "samples",
        "evaluation.csv",
        "provenance.json",
        "config.json",
    }
    assert disk.names_lost(into.parent.parent.parent) == set()
    assert disk.content_lost(into) == set()


def test_the_sweeps_artifacts_are_on_disk(disk, tmp_path):
    """Report and figures are copied, and on disk as those of trials are."""
    (tmp_path / "front.png").write_bytes(b"picture")
    runs.copy_files([tmp_path / "front.png"], tmp_path / "artifacts")
    assert disk.names_lost(tmp_path) == set()
    assert disk.content_lost(tmp_path / "artifacts") == set()


def test_a_file_system_that_cannot_sync_folders_will_do(tmp_path, monkeypatch):
    """Some network shares refuse it, which is no error. An error of the disk still is."""
    real = os.fsync

    def fsync(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, os.strerror(number))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    for number in durability.NOT_SYNCED:
        whole_files.write_text(tmp_path / "file", str(number))
        assert (tmp_path / "file").read_text() == str(number)
    number = 5
    with pytest.raises(OSError, check=lambda error: error.errno == number):
        whole_files.write_text(tmp_path / "file", "lost")


def test_a_built_dataset_is_on_disk_before_it_has_its_name(disk, tmp_path):
    """Its arrays are used for years, so neither they nor the folder's name may be lost."""
    open_built(tmp_path, "toy", "original", Recipe(["plain"], lambda into: save(into, {"train-labels": np.arange(3)})))
    (built,) = (tmp_path / "built").glob("toy-*/")
    assert {name for name in disk.names_lost(tmp_path) if built.name in name} == set()
    assert disk.content_lost(built) == set()


# Rights


@pytest.fixture(params=[0o000, 0o022, 0o027, 0o077], ids=oct)
def umask(request):
    """Sets the user's umask for one test."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def rights(path):
    """Returns the rights of a file or folder."""
    return stat.S_IMODE(path.stat().st_mode)


def test_files_have_the_rights_that_the_user_gives(umask, tmp_path, monkeypatch):
    """Records, checkpoints, pictures and artifacts have 0666 without the umask, and folders 0777. The umask is never changed."""
    monkeypatch.setattr(os, "umask", None)
    ledger = Ledger(tmp_path / "runs")
    _, recorded = record_trial(ledger)
    (tmp_path / "old").write_text("x")
    whole_files.write_text(tmp_path / "old", "y")
    run_files.put(tmp_path / "artifacts", ledger, recorded)
    client.make_database(f"sqlite:///{tmp_path}/runs/mlflow.db")
    for path in tmp_path.rglob("*"):
        assert rights(path) == (0o777 if path.is_dir() else NO_UMASK) & ~umask, path


def test_a_built_dataset_has_the_rights_that_the_user_gives(umask, tmp_path):
    """They are first made in a folder that only their owner can read."""
    open_built(tmp_path, "toy", "original", Recipe(["plain"], lambda into: save(into, {"train-labels": np.arange(3)})))
    below = [*(tmp_path / "built").rglob("*")]
    assert any(path.suffix == ".npy" for path in below)
    for path in below:
        assert rights(path) == (0o777 if path.is_dir() else NO_UMASK) & ~umask, path
