"""Several storages in one MLflow store, and storages that were moved or copied: which runs belong to which, and where artifacts are."""

import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from mopoe_core.storage.remote_path import RemotePath
from orchestrator.driver import retention
from orchestrator.errors import DamagedError
from orchestrator.ledger.storage.identity import current_id, identify, read_identity
from orchestrator.tracking import writer
from orchestrator.tracking.mlflow import client
from orchestrator.tracking.mlflow import ui as serving
from orchestrator.tracking.mlflow.artifact_location import follow
from orchestrator.tracking.mlflow.connection import catch_up
from orchestrator.tracking.mlflow.run_links import run_links
from orchestrator.tracking.mlflow.store_address import default_uri
from tests.support.naming import unnamed
from tests.tracking.test_tracking import Sweep, complete, curve, ended, search_of, small_sweep

rebuild = partial(catch_up, anew=True)


@pytest.fixture(scope="session")
def tables(tmp_path_factory) -> Path:
    """A database with MLflow's tables, which take seconds to make."""
    path = tmp_path_factory.mktemp("tables") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def new_store(tables, monkeypatch) -> Callable[[Path], str]:
    """Makes a folder with an empty store; returns the store's address."""
    monkeypatch.setattr(writer, "BATCH_SECONDS", 0.1)

    def make(folder: Path) -> str:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(tables, folder / "mlflow.db")
        return f"sqlite:///{folder / 'mlflow.db'}"

    return make


def one_trial(storage: Path, seeds: int = 1) -> Sweep:
    """A sweep of one cell."""
    return small_sweep(storage, seeds=seeds, model=["mopoe"])


def run_all(sweep: Sweep, uri: str) -> None:
    """A driver runs every trial to its end."""
    tracker = sweep.tracker(uri)
    complete(sweep, tracker, *sweep.every)
    assert sweep.close(tracker) == []


def rows(uri: str, storage_id: str) -> dict[str, Any]:
    """Returns every row that the store has of a storage's runs, deleted ones too, by run id."""
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as store:
        of = "select run_uuid from tags where key = 'storage_id' and value = ?"
        rows_by_run = {}
        for (run_id,) in store.execute(of, (storage_id,)).fetchall():
            tables = [store.execute(f"select * from {name} where run_uuid = ? order by 1, 2", (run_id,)) for name in TABLES]
            rows_by_run[run_id] = [table.fetchall() for table in tables]
        return rows_by_run


TABLES = ("runs", "tags", "params", "metrics", "latest_metrics")


def trial_runs(uri: str) -> list[Any]:
    """Returns the active runs of trials in experiment `t`."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("t").experiment_id
    return list(client.search_runs([experiment], "tags.kind = 'trial'"))


def downloaded(uri: str, run_id: str, name: str, into: Path) -> bytes:
    """Returns an artifact as MLflow downloads it."""
    into.mkdir(exist_ok=True)
    return Path(MlflowClient(uri).download_artifacts(run_id, name, str(into))).read_bytes()


@pytest.fixture
def served(monkeypatch) -> list[tuple[str, str]]:
    """Replaces `ui`'s server by a record of the store, and of where its trial's artifacts were at that time."""
    calls = []
    monkeypatch.setattr(
        serving, "become", lambda uri, port, environment: calls.append((uri, trial_runs(uri)[0].info.artifact_uri))
    )
    monkeypatch.setattr(serving, "address", lambda port: f"http://127.0.0.1:{port}")
    return calls


def test_two_storages_leave_each_others_runs_bit_equal(tmp_path, new_store):
    """They share a store and a sweep name. `track`, `track --rebuild` and a new result of one change no row of the other's runs.
    Each storage has its own runs of the same trials, cell and sweep.
    """
    uri = new_store(tmp_path / "shared")
    sweeps = [one_trial(tmp_path / "one"), one_trial(tmp_path / "other")]
    for sweep in sweeps:
        run_all(sweep, uri)
    ids = [read_identity(sweep.ledger.storage).id for sweep in sweeps]
    assert len(set(ids)) == 2
    for turn in (0, 1, 0):
        sweep, others = sweeps[turn], ids[1 - turn]
        search = search_of(sweep, tmp_path / f"report{turn}", [1.0 + turn])
        before = rows(uri, others)
        assert len(before) >= 2
        for command in (catch_up, rebuild, catch_up):
            assert command(sweep.spec.name, sweep.every, sweep.ledger, uri, "abc", sweep.summaries(), search) == ()
            assert rows(uri, others) == before
        (trial,) = sweep.every
        sweep.ledger.record(ended(trial, curve(trial)))
        assert sweep.close(sweep.tracker(uri)) == []
        assert rows(uri, others) == before
    assert sorted(run.data.tags["storage_id"] for run in trial_runs(uri)) == sorted(ids)


def test_a_command_with_nothing_new_is_believed_for_its_own_storage_only(tmp_path, new_store, monkeypatch):
    """A digest counts only for its own storage: a complete storage's runs are not read, an incomplete one's are."""
    uri = new_store(tmp_path / "shared")
    one, other = one_trial(tmp_path / "one"), one_trial(tmp_path / "other")
    run_all(one, uri)
    shutil.copytree(one.ledger.storage / "trials", other.ledger.storage / "trials")  # the same results, to the byte
    assert other.close(other.tracker(uri)) == []
    assert len(trial_runs(uri)) == 2
    monkeypatch.setattr(MlflowClient, "search_runs", None)
    assert one.close(one.tracker(uri)) == []
    assert other.close(other.tracker(uri)) == []


def test_an_experiment_that_comes_back_is_looked_at_by_every_storage(tmp_path, new_store):
    """Deleting it deletes the runs of both storages. The first driver restores it, and the second still finds its own run once."""
    uri = new_store(tmp_path / "shared")
    storages = [one_trial(tmp_path / name) for name in ("one", "other")]
    for sweep in storages:
        run_all(sweep, uri)
        assert sweep.runs(rebuild, uri) == ()  # leaves a deleted run behind, which comes back too
    MlflowClient(uri).delete_experiment(MlflowClient(uri).get_experiment_by_name("t").experiment_id)
    for sweep in storages:
        assert sweep.close(sweep.tracker(uri)) == []
    assert sorted(run.data.tags["storage_id"] for run in trial_runs(uri)) == sorted(
        read_identity(s.ledger.storage).id for s in storages
    )


def forget_storage(uri: str) -> None:
    """Change the store to an earlier version's form: no run names its storage."""
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as store, store:
        store.execute("delete from tags where key = 'storage_id'")
        store.execute("update experiment_tags set key = 'projected' where key like 'projected.%'")


def test_runs_of_earlier_versions_are_adopted_by_the_storage_that_trained_them_alone(tmp_path, new_store):
    """Another storage with the same trials does not touch them. Their own storage tags them, trial and cell, and they keep their ids."""
    uri = new_store(tmp_path / "shared")
    mine, other = one_trial(tmp_path / "mine"), one_trial(tmp_path / "other")
    run_all(mine, uri)
    forget_storage(uri)
    (mine.ledger.storage / "storage.json").unlink()
    before = {run.info.run_id: dict(run.data.tags) for run in trial_runs(uri)}
    (trial,) = other.every
    other.ledger.begin(trial)
    other.ledger.record(ended(trial, curve(trial)))
    assert other.runs(rebuild, uri) == ()
    after = {run.info.run_id: dict(run.data.tags) for run in trial_runs(uri)}
    assert {run_id: after[run_id] for run_id in before} == before
    assert len(after) == 2
    assert mine.runs(catch_up, uri) == ()
    adopted = {run.info.run_id: run.data.tags.get("storage_id") for run in trial_runs(uri)}
    assert len(adopted) == 2
    assert [adopted[run_id] for run_id in before] == [read_identity(mine.ledger.storage).id]
    assert len(rows(uri, read_identity(mine.ledger.storage).id)) == 2


@pytest.mark.parametrize("name", ["new place", "new#place", "deeper/down"])
@pytest.mark.parametrize("earlier", [False, True], ids=["tagged", "of an earlier version"])
def test_artifacts_follow_a_moved_storage(tmp_path, new_store, name, earlier):
    """Every run's artifacts are downloaded from and written to the new place. Runs keep their ids; the old folder is not made again."""
    old, new = tmp_path / "old", tmp_path / name
    new_store(old)
    sweep = one_trial(old)
    run_all(sweep, sweep.uri)
    (run,) = trial_runs(sweep.uri)
    if earlier:
        forget_storage(sweep.uri)
        (old / "storage.json").unlink()
    new.parent.mkdir(exist_ok=True)
    old.rename(new)
    moved = one_trial(new)
    assert moved.close(moved.tracker()) == []
    content = moved.ledger.checkpoint(*moved.every).read_bytes()
    assert downloaded(moved.uri, run.info.run_id, "checkpoint.pt", tmp_path / "a") == content
    (again,) = trial_runs(moved.uri)
    assert (again.info.run_id, again.info.artifact_uri) == (
        run.info.run_id,
        f"{(new / 'mlartifacts').as_uri()}/{run.info.run_id}/artifacts",
    )
    assert moved.runs(rebuild) == ()
    (anew,) = trial_runs(moved.uri)
    assert downloaded(moved.uri, anew.info.run_id, "checkpoint.pt", tmp_path / "b") == content
    assert (new / "mlartifacts" / anew.info.run_id / "artifacts" / "checkpoint.pt").is_file()
    assert MlflowClient(moved.uri).get_experiment_by_name("t").artifact_location == (new / "mlartifacts").as_uri()
    assert not old.exists()


def test_a_moved_storage_is_followed_in_a_store_of_several(tmp_path, new_store):
    """Its artifacts are found at the new place. Those of the other storage stay in that storage's folder."""
    uri = new_store(tmp_path / "shared")
    one, other = one_trial(tmp_path / "one"), one_trial(tmp_path / "other")
    run_all(one, uri)
    run_all(other, uri)
    places = {run.data.tags["storage_id"]: run.info.artifact_uri for run in trial_runs(uri)}
    for sweep in (one, other):
        assert places[read_identity(sweep.ledger.storage).id].startswith((sweep.ledger.storage / "mlartifacts").as_uri() + "/")
    other_rows = rows(uri, read_identity(other.ledger.storage).id)
    one.ledger.storage.rename(tmp_path / "moved")
    moved = one_trial(tmp_path / "moved")
    assert moved.close(moved.tracker(uri)) == []
    (run,) = [run for run in trial_runs(uri) if run.data.tags["storage_id"] == read_identity(tmp_path / "moved").id]
    expected = moved.ledger.checkpoint(*moved.every).read_bytes()
    assert downloaded(uri, run.info.run_id, "checkpoint.pt", tmp_path / "a") == expected
    assert rows(uri, read_identity(other.ledger.storage).id) == other_rows
    assert not (tmp_path / "one").exists()


def test_a_copied_storage_and_its_original_do_not_share_a_run_or_an_artifact(tmp_path, new_store):
    """The copy gets a new id, takes over the runs in its own store, and writes nothing into the original's folder or store."""
    new_store(tmp_path / "original")
    original = one_trial(tmp_path / "original")
    run_all(original, original.uri)
    shutil.copytree(tmp_path / "original", tmp_path / "copy")
    copy = one_trial(tmp_path / "copy")
    before = {path: path.read_bytes() for path in (tmp_path / "original").rglob("*") if path.is_file()}
    assert copy.runs(catch_up) == ()
    assert copy.runs(rebuild) == ()
    assert {path: path.read_bytes() for path in (tmp_path / "original").rglob("*") if path.is_file()} == before
    ids = [read_identity(sweep.ledger.storage).id for sweep in (original, copy)]
    assert len(set(ids)) == 2
    (run,) = trial_runs(copy.uri)
    assert run.data.tags["storage_id"] == ids[1]
    assert run.info.artifact_uri.startswith((tmp_path / "copy").as_uri())
    assert [run.data.tags["storage_id"] for run in trial_runs(original.uri)] == [ids[0]]


def test_looking_at_a_copy_changes_nothing_of_the_originals(tmp_path, new_store, served, types_here, monkeypatch):
    """`ui` shows a copy that no driver has used yet. Copy and original share a store, and no row of the original's runs changes."""
    uri = new_store(tmp_path / "shared")
    original = one_trial(tmp_path / "original")
    run_all(original, uri)
    shutil.copytree(tmp_path / "original", tmp_path / "copy")
    before = rows(uri, read_identity(tmp_path / "original").id)
    record = (tmp_path / "copy" / "storage.json").read_bytes()
    raw = {"name": "t", "base": {"dataset": "mnist_svhn_text", "model": "mopoe"}, "storage": str(tmp_path / "copy")}
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(raw))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert types_here("ui", tmp_path / "t.yaml")[0] == 0
    assert len(served) == 1
    assert rows(uri, read_identity(tmp_path / "original").id) == before
    assert (tmp_path / "copy" / "storage.json").read_bytes() == record


def test_two_drivers_that_make_one_store_at_once_lose_nothing(tmp_path, tables, monkeypatch):
    """The second to finish finds the first one's database and experiment, with what the first has written."""
    path = tmp_path / "mlflow.db"
    whole = MlflowClient.search_experiments

    def be_slower(self, *args, **more):
        shutil.copy(tables, path)
        MlflowClient(f"sqlite:///{path}").create_experiment("t", artifact_location=(tmp_path / "first").as_uri())
        return whole(self, *args, **more)

    with monkeypatch.context() as raced:
        raced.setattr(MlflowClient, "search_experiments", be_slower)
        client.make_database(f"sqlite:///{path}")
    monkeypatch.setattr(writer, "BATCH_SECONDS", 0.1)
    asked = MlflowClient.get_experiment_by_name
    answers = iter([None])
    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", lambda self, name: next(answers, asked(self, name)))
    sweep = one_trial(tmp_path / "storage")
    run_all(sweep, f"sqlite:///{path}")
    assert len(trial_runs(f"sqlite:///{path}")) == 1
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_artifacts_that_were_not_moved_along_are_written_again(tmp_path, new_store):
    """If `mlartifacts` was left behind, the run keeps its id and gets its files again at the new place."""
    new_store(tmp_path / "old")
    sweep = one_trial(tmp_path / "old")
    run_all(sweep, sweep.uri)
    (run,) = trial_runs(sweep.uri)
    (tmp_path / "old").rename(tmp_path / "new")
    shutil.rmtree(tmp_path / "new" / "mlartifacts")
    moved = one_trial(tmp_path / "new")
    assert moved.close(moved.tracker()) == []
    expected = moved.ledger.checkpoint(*moved.every).read_bytes()
    assert downloaded(moved.uri, run.info.run_id, "checkpoint.pt", tmp_path / "a") == expected


def test_one_storage_by_several_names_is_one(tmp_path, new_store, monkeypatch):
    """A link, a relative path and a path with `..` give one id and the same runs, and change no address."""
    uri = new_store(tmp_path / "real")
    sweep = one_trial(tmp_path / "real")
    run_all(sweep, uri)
    before = rows(uri, read_identity(tmp_path / "real").id)
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    for name in (tmp_path / "link", Path("real"), tmp_path / "real" / ".." / "real", Path("link/")):
        same = one_trial(name)
        assert same.close(same.tracker(uri)) == []
        assert identify(name).id == read_identity(tmp_path / "real").id
    assert rows(uri, read_identity(tmp_path / "real").id) == before


def test_a_place_of_the_users_own_is_kept(tmp_path, new_store):
    """An experiment of that name has another artifact location. Runs go there, and a move of the storage does not change it."""
    new_store(tmp_path / "old")
    sweep = one_trial(tmp_path / "old")
    place = (tmp_path / "elsewhere").as_uri()
    MlflowClient(sweep.uri).create_experiment("t", artifact_location=place)
    run_all(sweep, sweep.uri)
    (tmp_path / "old").rename(tmp_path / "new")
    moved = one_trial(tmp_path / "new")
    assert moved.runs(rebuild) == ()
    assert MlflowClient(moved.uri).get_experiment_by_name("t").artifact_location == place
    (run,) = trial_runs(moved.uri)
    assert run.info.artifact_uri == f"{place}/{run.info.run_id}/artifacts"
    assert not (tmp_path / "old").exists()


def test_drivers_that_start_at_once_agree_on_an_id(tmp_path):
    """Sixteen drivers start at once in a new storage, and sixteen in a new copy of it."""
    with ThreadPoolExecutor(16) as pool:
        first = set(pool.map(identify, [tmp_path / "one"] * 16))
        shutil.copytree(tmp_path / "one", tmp_path / "copy")
        second = set(pool.map(identify, [tmp_path / "copy"] * 16))
    assert len(first) == len(second) == 1
    assert {each.id for each in first}.isdisjoint({each.id for each in second})
    assert {each.copied_from for each in second} == {each.id for each in first}
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["storage.json"]


def test_an_object_store_gets_an_id_without_exclusive_creation(monkeypatch):
    """The id depends on bucket, folder and server, not on secrets. Once recorded, it does not depend on the URI's options either."""
    written: dict[str, bytes] = {}
    monkeypatch.setattr(RemotePath, "exists", lambda self: self.path in written)
    monkeypatch.setattr(RemotePath, "write_bytes", lambda self, content: written.update({self.path: bytes(content)}))
    monkeypatch.setattr(RemotePath, "read_bytes", lambda self: written[self.path])
    ids = []
    for uri in ("s3://key:secret@bucket/a", "s3://bucket/a", "s3://bucket/a?endpoint_override=other.example:9000"):
        ids.append(identify(RemotePath(uri)).id)
        written.clear()
    assert ids[0] == ids[1] != ids[2]
    assert identify(RemotePath("s3://bucket/b")).id not in ids
    assert identify(RemotePath("s3://bucket/b?region=eu")).id == read_identity(RemotePath("s3://bucket/b")).id
    assert list(written) == ["storage.json"]
    assert b"secret" not in written["storage.json"]


def test_a_network_folder_that_is_mounted_twice_is_no_copy(tmp_path, monkeypatch):
    """Device numbers differ, but a file that is made in one appears in the other."""
    made = identify(tmp_path / "here")
    (tmp_path / "other").symlink_to("here")
    monkeypatch.setattr(Path, "samefile", lambda self, other: False)
    monkeypatch.setattr(Path, "resolve", lambda self, strict=False: self)
    assert identify(tmp_path / "other").id == made.id
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == ["storage.json"]


def test_a_damaged_record_is_named_and_used_by_nobody(tmp_path):
    """The record was cut. The error names the file and the remedy, and nothing is written."""
    identify(tmp_path)
    (tmp_path / "storage.json").write_text('{"id": "f"')
    with pytest.raises(DamagedError, match=r"storage\.json: .*\bdelete\b"):
        identify(tmp_path)
    assert current_id(tmp_path) == ""
    assert (tmp_path / "storage.json").read_text() == '{"id": "f"'


def test_links_of_a_report_lead_to_the_storages_own_runs(tmp_path, new_store):
    """Two storages with the same trials have different runs. A storage without an id has the runs of earlier versions."""
    uri = new_store(tmp_path / "shared")
    storages = [one_trial(tmp_path / name) for name in ("one", "other")]
    for sweep in storages:
        run_all(sweep, uri)
    runs = {run.data.tags["storage_id"]: run.info.run_id for run in trial_runs(uri)}
    for sweep in storages:
        storage_id = read_identity(sweep.ledger.storage).id
        assert (
            run_links(uri, "t", storage_id)[sweep.every[0].id]
            .partition("?")[0]
            .partition("?")[0]
            .endswith(f"/runs/{runs[storage_id]}")
        )
    assert run_links(uri, "t") == {}
    with closing(sqlite3.connect(uri.removeprefix("sqlite:///"))) as store, store:
        store.execute("delete from tags where key = 'storage_id' and value = ?", (read_identity(tmp_path / "one").id,))
    assert (
        run_links(uri, "t")[storages[0].every[0].id]
        .partition("?")[0]
        .partition("?")[0]
        .endswith(f"/runs/{runs[read_identity(tmp_path / 'one').id]}")
    )


def test_ui_of_a_moved_storage_shows_the_artifacts_at_the_new_place(tmp_path, new_store, served, types_here, monkeypatch):
    """`ui` is the first command after the move. If the store cannot be changed, `ui` says so, and shows it nevertheless."""
    new_store(tmp_path / "old")
    sweep = one_trial(tmp_path / "old")
    run_all(sweep, sweep.uri)
    (tmp_path / "old").rename(tmp_path / "new")
    raw = {"name": "t", "base": {"dataset": "mnist_svhn_text", "model": "mopoe"}, "storage": str(tmp_path / "new")}
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(raw))
    code, _, err = types_here("ui", tmp_path / "t.yaml")
    assert (code, err) == (0, "")
    ((uri, artifacts),) = served
    assert uri == default_uri(tmp_path / "new")
    assert artifacts.startswith((tmp_path / "new" / "mlartifacts").as_uri())
    (tmp_path / "new").rename(tmp_path / "third")

    def read_only(*arguments: object) -> bool:
        raise sqlite3.OperationalError("attempt to write a readonly database")

    monkeypatch.setattr("orchestrator.tracking.mlflow.artifact_location.follow", read_only)
    code, _, err = types_here("ui", tmp_path / "t.yaml", "--storage", tmp_path / "third")
    assert code == 0
    assert err.startswith(f"warning: {tmp_path}/third/mlflow.db: attempt to write a readonly database")
    assert [uri for uri, _ in served] == [default_uri(tmp_path / "new"), default_uri(tmp_path / "third")]


@pytest.mark.parametrize("command", ["sweep", "track"])
def test_an_address_in_the_folder_that_was_moved_is_refused(tmp_path, types_here, monkeypatch, command):
    """MLFLOW_TRACKING_URI still names the old place: exit 2, one line that names it, and nothing is written, there or in storage."""
    (tmp_path / "new").mkdir()
    raw = {"name": "t", "base": {"dataset": "mnist_svhn_text", "model": "mopoe"}, "storage": str(tmp_path / "new")}
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(raw))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/old/mlflow.db")
    code, _, err = types_here(command, tmp_path / "t.yaml")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("error: MLFLOW_TRACKING_URI: ")
    assert not unnamed(err, tmp_path / "old")
    assert not (tmp_path / "old").exists()
    assert list((tmp_path / "new").iterdir()) == []


def test_gc_finds_mlflows_links_where_mlflow_puts_them(tmp_path, new_store):
    """A checkpoint and its link among the run's artifacts are both deleted, because otherwise the disk space stays in use."""
    new_store(tmp_path)
    sweep = one_trial(tmp_path)
    run_all(sweep, sweep.uri)
    (run,), (trial,) = trial_runs(sweep.uri), sweep.every
    links = list(retention.mlflow_links(tmp_path, [sweep.ledger.checkpoint(trial)]))
    assert links == [tmp_path / "mlartifacts" / run.info.run_id / "artifacts" / "checkpoint.pt"]


def test_following_a_storage_that_was_not_moved_writes_nothing(tmp_path, new_store):
    """No byte of the file changes."""
    uri = new_store(tmp_path)
    sweep = one_trial(tmp_path)
    run_all(sweep, uri)
    before = (tmp_path / "mlflow.db").read_bytes()
    assert follow(uri, tmp_path, read_identity(tmp_path)) is False
    assert (tmp_path / "mlflow.db").read_bytes() == before
