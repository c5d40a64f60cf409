"""A store that an earlier version wrote: final metrics at the step of the last epoch, nine parameters, a cell's spread as metrics."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.support.builders import COHERENCE
from tests.tracking.test_tracking import (
    Server,
    Sweep,
    catch_up,
    other_store,
    rebuild,
    record,
    small_sweep,
    stored,
    stored_runs,
)

LOGGED = ("seed", "dataset", "source", "networks", "model", "beta", "latent_dim", "epochs", "batch_size", "learning_rate")
"""The parameters that earlier versions wrote for each run."""
OF_KIND = "select run_uuid from tags where key = 'kind' and value = ?"


def make_earlier(database: Path) -> None:
    """Change a store to the form that earlier versions wrote: three epochs for each trial, two seeds for each cell."""
    with closing(sqlite3.connect(database)) as store, store:
        for name in ("metrics", "latest_metrics"):
            store.execute(f"update {name} set step = 3 where key not like 'train/%' and run_uuid in ({OF_KIND})", ("trial",))
            store.execute(f"update {name} set step = 2 where run_uuid in ({OF_KIND})", ("cell",))
        store.execute(f"delete from params where key not in ({','.join('?' * len(LOGGED))})", LOGGED)
        tag = f"update tags set value = 'fedcba9876543210 2/2' where key = 'projected' and run_uuid in ({OF_KIND})"
        store.execute(tag, ("cell",))
        for folder in store.execute(f"select artifact_uri from runs where run_uuid in ({OF_KIND})", ("cell",)).fetchall():
            shutil.rmtree(folder[0].removeprefix("file://"), ignore_errors=True)


@pytest.fixture
def sweep(tmp_path: Path, empty_mlflow_store: Path) -> Sweep:
    """Four trials that have ended, in a store of an earlier version."""
    for name in ("mlflow.db", "another.db"):
        shutil.copy(empty_mlflow_store, tmp_path / name)
    sweep = small_sweep(tmp_path)
    record(sweep, *sweep.every)
    assert sweep.runs(catch_up) == ()
    make_earlier(tmp_path / "mlflow.db")
    assert {point.step for point in points(sweep.uri)} == {2, 3}
    return sweep


def points(uri: str) -> list:
    """Returns every point of the coherence, of trials and cells."""
    client = MlflowClient(uri)
    return [point for run in stored_runs(uri) for point in client.get_metric_history(run.info.run_id, COHERENCE)]


def trial_runs(uri: str) -> dict[str, str]:
    """Returns the id of each trial's run."""
    return {run.data.tags["trial_id"]: run.info.run_id for run in stored_runs(uri) if run.data.tags["kind"] == "trial"}


def test_it_is_brought_to_todays_form_by_catching_up(sweep):
    """The store then equals one written anew. No point is doubled, and the runs of trials are the same ones, with a user's notes."""
    client, before = MlflowClient(sweep.uri), trial_runs(sweep.uri)
    for run_id in before.values():
        client.set_tag(run_id, "mlflow.note.content", "looks odd")
    assert sweep.runs(catch_up) == ()
    assert trial_runs(sweep.uri) == before
    assert {client.get_run(run_id).data.tags["mlflow.note.content"] for run_id in before.values()} == {"looks odd"}
    for run_id in before.values():
        client.delete_tag(run_id, "mlflow.note.content")
    assert sweep.runs(rebuild, other_store(sweep.ledger.storage)) == ()
    assert stored(sweep.uri) == stored(other_store(sweep.ledger.storage))


def test_a_command_with_nothing_new_leaves_it(sweep):
    """A sweep with nothing to do does not read the runs."""
    before = stored(sweep.uri)
    assert sweep.close(sweep.tracker()) == []
    assert stored(sweep.uri) == before


def test_another_storages_runs_keep_their_form(sweep, tmp_path):
    """Two storages share a store. The runs of the one that is not caught up keep the form of the earlier version."""
    folder = tmp_path / "second"
    folder.mkdir()
    second = small_sweep(folder)
    record(second, *second.every)
    assert second.runs(catch_up, sweep.uri) == ()
    assert sorted(point.step for point in points(sweep.uri)) == [0] * 6 + [2] * 2 + [3] * 4


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running MLflow server."""
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_on_a_server_no_point_is_doubled_and_a_rebuild_brings_the_form(sweep, server):
    """On a server points cannot be moved: a complete trial's run does not change, and an incomplete one is replaced."""
    assert sweep.runs(catch_up, server.uri) == ()
    make_earlier(server.folder / "m.db")
    before, client = trial_runs(server.uri), MlflowClient(server.uri)
    unfinished = sweep.every[0].id
    client.update_run(before[unfinished], status="RUNNING")
    assert sweep.runs(catch_up, server.uri) == ()
    after = trial_runs(server.uri)
    assert {trial for trial, run_id in after.items() if run_id != before[trial]} == {unfinished}
    assert sorted(point.step for point in points(server.uri)) == [0, 0, 0, 3, 3, 3]
    assert all("recipe" in client.get_run(run_id).data.params for run_id in after.values())
    assert sweep.runs(rebuild, server.uri) == ()
    assert sweep.runs(rebuild, other_store(sweep.ledger.storage)) == ()
    assert stored(server.uri) == stored(other_store(sweep.ledger.storage))
