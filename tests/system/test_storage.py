"""Storage by URI: what is written is there whole or not at all, and nothing tells its secrets."""

import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import pytest
import torch
import yaml
from mlflow import MlflowClient

from mopoe_core.storage.file_facts import modified
from mopoe_core.storage.folders import listed, move_folder
from mopoe_core.storage.paths import local_counterpart, storage_path
from mopoe_core.storage.remote_path import RemotePath
from mopoe_core.storage.scratch import lock
from mopoe_core.storage.uri_secrets import masked
from mopoe_core.storage.whole_files import write_bytes, write_text
from mopoe_core.training.training import train
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.sweep_file import parse
from orchestrator.spec.trial import Trial
from tests.support.builders import COHERENCE, cell, result
from tests.support.commands import typed_here
from tests.support.naming import ran
from tests.support.stores import KEY, SECRET, s3
from tests.support.toys import TOYS, random_dataset
from tests.support.toys import config as settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def store():
    """An S3 server that listens on loopback."""
    with s3() as running:
        yield running


@pytest.fixture(params=["folder", "memory", "s3"])
def folder(request, tmp_path):
    """A folder of each kind, with nothing in it."""
    if request.param == "folder":
        return tmp_path / "storage"
    if request.param == "memory":
        return storage_path(f"memory://{uuid.uuid4().hex}")
    return storage_path(request.getfixturevalue("store").uri(uuid.uuid4().hex))


def test_every_kind_of_storage_does_what_a_dictionary_of_files_does(folder):
    """A hundred random writes, reads, moves, deletions and listings have the same outcome."""
    chance, truth = random.Random(0), {}
    names = [f"{part}/{stem}.{suffix}" for part in ("a", "b") for stem in ("x", "y") for suffix in ("json", "pt")]
    for step in range(100):
        name, other = chance.sample(names, 2)
        what = chance.choice(["write", "write", "read", "move", "delete", "list"])
        if what == "write":
            truth[name] = f"{name} {step}".encode()
            write_bytes(folder / name, truth[name])
        elif what == "move" and name in truth:
            truth[other] = truth.pop(name)
            write_bytes(folder / other, b"in the way")
            (folder / name).replace(folder / other)
        elif what == "delete":
            truth.pop(name, None)
            (folder / name).unlink(missing_ok=True)
        assert (folder / name).exists() == (name in truth)
        if name in truth:
            assert (folder / name).read_bytes() == truth[name]
        else:
            assert modified(folder / name) is None
            with pytest.raises(FileNotFoundError):
                (folder / name).read_bytes()
        for pattern, part in (("*.json", "a"), ("*", "b")):
            expected = sorted(n for n in truth if n.startswith(f"{part}/") and n.endswith(pattern.removeprefix("*")))
            assert [f"{part}/{path.name}" for path in listed(folder / part, pattern)] == expected
        deep = [f"{path.parent.name}/{path.name}" for path in listed(folder, "*/*.pt")]
        assert deep == sorted(n for n in truth if n.endswith(".pt"))


def test_a_ledger_is_the_same_on_every_kind_of_storage(folder):
    """Begin, record, fail, cancel, set aside, and what is read back."""
    ledger, trial, other = Ledger(folder), Trial(cell(), 0), Trial(cell(beta=2.0), 0)
    assert ledger.state(trial).status == "pending"
    assert not ledger.storage.exists()
    assert (ledger.begin(trial), ledger.begin(trial)) == (1, 2)
    kept = result(trial.cell, 0, {COHERENCE: 0.25})
    ledger.record(kept)
    assert ledger.result(trial) == kept
    assert list(ledger.results()) == [kept]
    ledger.begin(other)
    ledger.fail(other, "Traceback ...\nValueError: no")
    assert ledger.each(ledger.state, [trial, other])[1].error == "ValueError: no"
    ledger.begin(other)
    ledger.cancel(other)
    assert [state.status for state in ledger.each(ledger.state, [trial, other])] == ["completed", "cancelled"]
    aside = ledger.set_aside(trial)
    assert ledger.state(trial).status == "pending"
    assert sorted(path.name for path in (*aside.glob("*.json"), *aside.glob("*/*.json"))) == [
        "0001.json", "0002.json", "result.json", "trial.json",
    ]  # fmt: skip


def test_training_goes_on_from_a_checkpoint_wherever_that_is(folder, tmp_path):
    """Cut after its second epoch and taken up again, a run has the weights of one that was not."""
    toys = random_dataset(TOYS[:3])
    config = settings("mopoe", epochs=4, batch_size=100, train_examples=500)

    class Cut(Exception):
        pass

    def cut(epoch):
        if epoch.epoch == 2:
            raise Cut

    whole = train(config, 0, toys, torch.device("cpu"), tmp_path / "whole.pt")
    with pytest.raises(Cut):
        train(config, 0, toys, torch.device("cpu"), folder / "t" / "checkpoint.pt", cut)
    told = []
    again = train(config, 0, toys, torch.device("cpu"), folder / "t" / "checkpoint.pt", lambda epoch: told.append(epoch.epoch))
    assert told == [1, 2, 3, 4]
    pairs = zip(whole.model.parameters(), again.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_write_that_is_cut_half_way_leaves_what_was_there(store):
    """The line breaks in the middle of twelve megabytes: an error, the old content, no half file; and later it works."""
    name = uuid.uuid4().hex
    direct, through = (
        storage_path(store.uri(name)) / "checkpoint.pt",
        storage_path(store.uri(name, store.line.port)) / "checkpoint.pt",
    )
    through.write_bytes(b"old")
    new = os.urandom(12_000_000)
    store.line.most = 3_000_000
    try:
        with pytest.raises(OSError, match="checkpoint") as caught:
            through.write_bytes(new)
    finally:
        store.line.most = float("inf")
    assert store.line.cuts > 0
    assert SECRET not in str(caught.value)
    assert direct.read_bytes() == b"old"
    assert [path.name for path in listed(storage_path(store.uri(name)), "*")] == ["checkpoint.pt"]
    through.write_bytes(new)
    assert direct.read_bytes() == new


def test_a_write_that_fails_half_way_leaves_what_was_there_on_other_file_systems(monkeypatch):
    """Where a store would show half a file, the file is written under another name first, which is removed."""
    path = storage_path(f"memory://{uuid.uuid4().hex}") / "a.json"
    path.write_bytes(b"old")
    filesystem, full = path.filesystem_and_path()

    class Failing:
        type_name = filesystem.type_name

        def __getattr__(self, name):
            return getattr(filesystem, name)

        def open_output_stream(self, name):
            stream = filesystem.open_output_stream(name)
            stream.write(b"half of the n")
            stream.close()
            raise OSError("the line is down")

    monkeypatch.setattr(RemotePath, "filesystem_and_path", lambda self: (Failing(), full))
    with pytest.raises(OSError, match="the line is down"):
        path.write_bytes(b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [info.base_name for info in filesystem.get_file_info(_all_of(full))] == ["a.json"]


def _all_of(full):
    from pyarrow import fs

    return fs.FileSelector(full.rpartition("/")[0])


def test_a_path_cannot_leave_its_storage(folder):
    """A name with `..`, or an absolute one, is refused by URI; a trial's folder is named by its hash anyway."""
    if isinstance(folder, RemotePath):
        for name in ("../x", "a/../../x", "/x", "a//x", "."):
            with pytest.raises(ValueError, match=re.escape(repr(name))):
                folder / name
    assert Ledger(folder).folder(Trial(cell(), 0)).parent == folder / "trials"


def test_a_folder_moves_with_all_that_is_in_it(folder):
    """Files of two levels arrive, and no file stays."""
    for name in ("one/a.json", "one/deep/b.json"):
        write_text(folder / name, name)
    move_folder(folder / "one", folder / "two")
    assert (folder / "two" / "deep" / "b.json").read_text(encoding="utf-8") == "one/deep/b.json"
    assert (folder / "two" / "a.json").exists()
    assert [*listed(folder / "one", "*"), *listed(folder / "one", "*/*")] == []


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("s3://AKIA:se/cret@bucket/x", "s3://***@bucket/x"),
        ("s3://AKIA:secret@bucket/x?endpoint_override=h:1&scheme=http", "s3://***@bucket/x?endpoint_override=h:1&scheme=http"),
        ("abfs://box/x?sas_token=secret&region=north", "abfs://box/x?sas_token=***&region=north"),
        ("s3://bucket/x", "s3://bucket/x"),
        ("s3://bucket/x@y", "s3://bucket/x@y"),
        ("runs/a@b", "runs/a@b"),
        ("--scale", "--scale"),
    ],
)
def test_a_uri_is_shown_without_what_could_be_secret(uri, shown):
    """User, password and unknown options are masked; what is no URI is left as it is."""
    assert masked(uri) == shown
    assert "secret" not in masked(uri)


def test_no_spelling_of_a_remote_path_tells_a_secret(store):
    """str, repr and the local folder beside it; the same for what is below it."""
    path = storage_path(store.uri("x")) / "a" / "b.json"
    said = f"{path} {path!r} {path.parent} {local_counterpart(path)} {lock(path).lock_file}"
    assert SECRET not in said
    assert KEY not in said


def test_local_uris_are_folders(tmp_path):
    """`file://` is the folder itself."""
    assert storage_path(f"file://{tmp_path}") == tmp_path
    assert local_counterpart(tmp_path) == tmp_path


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_sweep_whose_storage_is_s3(store, tmp_path, classifier_folder, data_folder, jury, undrawn):
    """Two trials end as in a folder, to the last bit; ledger and report are in the bucket; no file, log or run holds the secret."""
    base = {"dataset": "mnist_svhn_text", "networks": "small", "epochs": 2, "batch_size": 64}
    raw = {
        "name": "far",
        "base": base | {"train_examples": 640, "test_examples": 100},
        "grid": {"model": ["mopoe", "mvae"]},
        "resources": {"data": str(data_folder)},
        "storage": store.uri("sweeps"),
    }
    file = tmp_path / "far.yaml"
    file.write_text(yaml.safe_dump(raw))
    for path in classifier_folder.glob("*/*.pt"):
        write_bytes(storage_path(raw["storage"]) / "classifiers" / path.parent.name / path.name, path.read_bytes())
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "classifiers").symlink_to(classifier_folder)
    scratch = Path(tempfile.mkdtemp(prefix="m-"))  # a short name: Ray makes sockets in it, whose paths have a limit
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "TMPDIR": str(scratch)}

    def types(*more):
        command = [sys.executable, "-m", "orchestrator", "sweep", str(file), *more]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    outputs = [types(), types("--storage", raw["storage"])]
    said = "".join(outputs)
    assert [ran(output) for output in outputs] == [2, 0]
    done = typed_here("sweep", file, "--storage", tmp_path / "near")
    assert done.returncode == 0, done.stdout + done.stderr
    far, close = Ledger(storage_path(raw["storage"])), Ledger(tmp_path / "near")
    for trial in parse(raw).trials:
        assert far.result(trial).metrics == close.result(trial).metrics
        assert far.state(trial).attempts == 1
        assert far.samples(trial).keys() == close.samples(trial).keys()
    report = far.storage / "sweeps" / "far" / "report"
    assert b"<html" in (report / "index.html").read_bytes()
    assert listed(far.storage / "alive", "*") == []
    (database,) = (tmp_path / "cache").rglob("mlflow.db")
    client = MlflowClient(f"sqlite:///{database}")
    runs = client.search_runs([client.get_experiment_by_name("far").experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    files = [*tmp_path.rglob("*"), *scratch.rglob("*")]
    kept = [(path, path.read_bytes()) for path in files if path.is_file() and path != file]
    kept += [(path, path.read_bytes()) for pattern in ("*/*", "*/*/*", "*/*/*/*") for path in far.storage.glob(pattern)]
    assert len(kept) > 50
    assert [str(path) for path, content in kept if SECRET.encode() in content or KEY.encode() in content] == []
    assert SECRET not in said
    assert KEY not in said
    shutil.rmtree(scratch)
