"""The whole way, as a user goes it: a sweep on a real local Ray with a real MLflow store, and what further commands make of it.

The further ones are typed in this process and train in it, which gives the same numbers to the last bit.
"""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from mlflow import MlflowClient

from mopoe_core.config.training_config import TrainingConfig
from orchestrator.execution import plan
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.sections import Resources
from orchestrator.spec.sweep_file import parse
from orchestrator.tracking.mlflow.store_address import default_uri
from tests.support.naming import counts, ran, unnamed
from tests.support.recorded import exchange
from tests.support.users import User

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def user(classifier_folder, data_folder, jury, tmp_path_factory):
    """A user whose storage holds trained classifiers, so that each test need not train them."""
    return User.with_classifiers(tmp_path_factory.mktemp("home"), classifier_folder, data_folder)


@pytest.fixture(scope="module")
def swept(user):
    """A sweep that has run once."""
    path = user.spec()
    return path, user.types("sweep", path)


def test_a_sweep_completes_and_says_where_everything_is(user, swept):
    """Three trials complete; the page, the figure and the MLflow store exist where the output says."""
    path, done = swept
    assert (counts(done.stdout), ran(done.stdout)) == ({"completed": 3}, 3)
    report = user.storage / "sweeps" / "tiny" / "report"
    assert not unnamed(done.stdout, report / "index.html")
    assert (report / "index.html").exists()
    assert (report / "front.png").exists()
    assert {r.status for r in user.results(path).values()} == {"completed"}
    assert "Traceback" not in done.stderr


def test_mlflow_has_a_run_a_trial_and_a_run_a_cell_all_finished(user, swept):
    """Trial runs carry parameters, a curve without gap or repeat, final metrics and artifacts, under their cell's run."""
    assert user.kinds() == {("trial", "FINISHED"): 3, ("cell", "FINISHED"): 3}
    client = MlflowClient(default_uri(user.storage))
    cells = {run.data.tags["cell_id"]: run for run in user.runs() if run.data.tags["kind"] == "cell"}
    for run in user.runs():
        if run.data.tags["kind"] == "trial":
            assert [point.step for point in client.get_metric_history(run.info.run_id, "train/loss")] == [1, 2, 3]
            paths = {a.path for a in client.list_artifacts(run.info.run_id)}
            assert paths >= {"checkpoint.pt", "evaluation.csv", "provenance.json", "samples"}
            samples = {Path(a.path).name for a in client.list_artifacts(run.info.run_id, "samples")}
            assert samples >= {"dataset.png", "unconditional.png", "tuples.png", "given_mnist.png", "given_svhn.text.png"}
            parent = cells[run.data.tags["cell_id"]]
            assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
            assert parent.data.metrics["coherence/joint"] == run.data.metrics["coherence/joint"]
            assert parent.data.metrics["n"] == 1
            assert set(run.data.params) == {"recipe", "seed", *TrainingConfig.model_fields}
            assert {point.step for point in client.get_metric_history(run.info.run_id, "coherence/joint")} == {0}


def test_every_result_says_where_it_comes_from(user, swept):
    """Source, data hash, classifiers' accuracies, versions and commit are part of the ledger's result."""
    for found in user.results(swept[0]).values():
        where = found.provenance
        assert where["source"] == "embedded"
        assert len(where["data_hash"]) == 64
        assert set(where["classifiers"]["accuracy"]) == {"mnist", "svhn", "text"}
        assert {"torch", "ray", "mlflow"} <= set(where["packages"])
        assert where["commit"]


def test_the_same_command_again_trains_nothing_and_gives_the_same_table(user, swept):
    """Nothing runs, no run is added, and the tables are equal to the last digit."""
    report = user.storage / "sweeps" / "tiny" / "report"
    before = {name: (report / name).read_bytes() for name in ("cells.csv", "cells.md", "trials.parquet", "front.svg")}
    points = user.points()
    done = user.types_here("sweep", swept[0])
    assert ran(done.stdout) == 0
    assert {name: (report / name).read_bytes() for name in before} == before
    assert user.kinds() == {("trial", "FINISHED"): 3, ("cell", "FINISHED"): 3}
    assert user.points() == points


def test_one_more_seed_runs_one_more_trial_a_cell(user, swept, undrawn):
    """With two seeds in place of one, the plan and the sweep have exactly three new trials, and the old ones are untouched."""
    first = user.results(swept[0])
    path = user.spec(seeds=2)
    assert re.search(r"^ *done +3\b", user.types_here("plan", path).stdout, re.MULTILINE)
    assert ran(user.types_here("sweep", path).stdout) == 3
    assert user.kinds() == {("trial", "FINISHED"): 6, ("cell", "FINISHED"): 3}
    later = user.results(path)
    assert {key: later[key] for key in first} == first
    table = pd.read_csv(user.storage / "sweeps" / "tiny" / "report" / "cells.csv")
    assert set(table.n) == {2}


def test_another_sweep_shares_the_trials(user, swept, undrawn):
    """A sweep of another name with the same cells trains nothing and gets an experiment of its own."""
    done = user.types_here("sweep", user.spec(name="other"))
    assert ran(done.stdout) == 0
    assert user.kinds("other") == {("trial", "FINISHED"): 3, ("cell", "FINISHED"): 3}


def test_the_same_trial_in_another_storage_is_bit_equal(user, swept, tmp_path, undrawn, empty_mlflow_store):
    """Weights and metrics of a trial that is trained again elsewhere, without Ray, equal those of a worker of Ray."""
    (tmp_path / "classifiers").symlink_to(user.storage / "classifiers")
    shutil.copy(empty_mlflow_store, tmp_path / "mlflow.db")
    path = user.spec(name="again", storage=str(tmp_path), grid={"model": ["mopoe"]})
    user.types_here("sweep", path)
    (trial,) = parse(yaml.safe_load(path.read_text())).trials
    first, second = Ledger(user.storage), Ledger(tmp_path)
    assert first.result(trial).metrics == second.result(trial).metrics
    states = [torch.load(ledger.checkpoint(trial), weights_only=True)["model"] for ledger in (first, second)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_status_and_report_read_the_ledger(user, swept):
    """Both commands work after the fact and say what the sweep said."""
    assert re.search(r"\bcompleted +1 attempt\b", user.types_here("status", swept[0], "--trials").stdout)
    assert "coherence/joint" in user.types_here("report", swept[0]).stdout


def test_what_was_tampered_with_stops_the_sweep_and_is_trained_again_if_asked(user, swept, undrawn):
    """A better number in a result: exit 2, and the file is named. If asked, only that trial is trained again, to the old number, and two
    whose checkpoints were exchanged, which no plan sees.
    """
    path = user.spec(seeds=2)
    before = user.results(path)
    forged = user.trials(path)[0]
    file = Ledger(user.storage).folder(forged) / "result.json"
    file.write_text(file.read_text().replace('"value": 0.', '"value": 0.9', 1))
    refused = user.types_here("sweep", path, code=2)
    assert str(file) in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert counts(user.types_here("status", path).stdout) == {"damaged": 1, "completed": 5}
    exchanged = user.trials(path)[1:3]
    exchange(*(Path(str(Ledger(user.storage).checkpoint(trial))) for trial in exchanged))
    assert ran(user.types_here("sweep", path, "--retrain-damaged").stdout) == 3
    after, again = user.results(path), {forged.id, *(trial.id for trial in exchanged)}
    assert {key: after[key] for key in before if key not in again} == {key: before[key] for key in before if key not in again}
    assert {key: after[key].metrics for key in again} == {key: before[key].metrics for key in again}
    assert plan.make(user.trials(path), Ledger(user.storage), thorough=True).damaged == {}
    assert user.kinds() == {("trial", "FINISHED"): 6, ("cell", "FINISHED"): 3}


def test_failure_and_divergence_are_results(user, undrawn):
    """One trial that always raises, when it records its result, and one that diverges: the rest complete, both are told apart, and the
    exit code is 1.
    """
    path = user.spec(
        name="trouble", base={"epochs": 2}, grid={"model": ["mvae", "mopoe"], "latent_dim": [5]},
        include=[{"model": "mmvae", "learning_rate": 1e18}],
    )  # fmt: skip
    ledger = Ledger(user.storage)
    failing, fine, diverging = parse(yaml.safe_load(path.read_text())).trials
    ledger.folder(failing).mkdir(parents=True)
    (ledger.folder(failing) / "result.json").symlink_to("nowhere")
    done = user.types_here("sweep", path, code=1)
    assert [ledger.state(t).status for t in (failing, fine, diverging)] == ["failed", "completed", "diverged"]
    assert ledger.state(failing).attempts == 2
    assert "FileNotFoundError" in ledger.failure(failing).type
    assert ledger.result(diverging).diverged_at_step > 0
    assert not unnamed(done.stderr.splitlines()[-1], 1, f"mopoe sweep {path}")
    by_status = {run.data.tags["status"]: run for run in user.runs("trouble") if run.data.tags["kind"] == "trial"}
    assert {status: run.info.status for status, run in by_status.items()} == {
        "failed": "FAILED",
        "diverged": "FAILED",
        "completed": "FINISHED",
    }
    assert not any(run.info.status == "RUNNING" for run in user.runs("trouble"))
    (ledger.folder(failing) / "result.json").unlink()
    assert ran(user.types_here("sweep", path).stdout) == 1


def test_auto_measures_and_remembers(user, tmp_path, undrawn, empty_mlflow_store):
    """`stack: auto` keeps in storage what it measured, and completes the sweep."""
    shutil.copy(empty_mlflow_store, tmp_path / "mlflow.db")
    (tmp_path / "classifiers").symlink_to(user.storage / "classifiers")
    auto = {"resources": {"data": str(user.data), "stack": "auto"}, "storage": str(tmp_path), "grid": {"model": ["mopoe"]}}
    path = user.spec(name="auto", seeds=4, **auto)
    user.types_here("sweep", path)
    (kept,) = (tmp_path / "stacks").glob("*.json")
    measured = json.loads(kept.read_text())
    assert measured["size"] in (1, 2, 4)
    assert measured["gain"]["2"] > 0
    every = parse(yaml.safe_load(path.read_text())).trials
    assert {Ledger(tmp_path).state(trial).status for trial in every} == {"completed"}


def test_bad_files_exit_with_2_and_leave_storage_untouched(user, tmp_path):
    """A mistake in the file, a resource that no node has and a file that is not there: one line, exit 2, no traceback, no folder."""
    storage = tmp_path / "none"
    bad = user.spec(name="bad", grid={"model": ["mopeo"]}, storage=str(storage))
    for words in (["sweep", bad], ["plan", bad], ["status", bad], ["report", bad], ["sweep", tmp_path / "absent.yaml"]):
        done = user.types_here(*words, code=2)
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""
    user.types_here("plan", user.spec(name="fine", storage=str(storage)))
    assert not storage.exists()
    (tmp_path / "file").write_text("x")
    for below in ("file", "file/deeper"):
        done = user.types_here("sweep", user.spec(name="onfile", storage=str(tmp_path / below)), code=2)
        assert done.stderr.count("\n") == 1
        assert not unnamed(done.stderr, "storage", tmp_path / "file")


def test_a_storage_that_cannot_be_is_refused_in_one_line(user, tmp_path):
    """A URI that nothing opens, one without a bucket, a server that is not there, nothing, a place where no folder can be made and a
    link into nowhere are each named, without the secret that a URI holds.
    """
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    path = user.spec(name="where")
    nobody = "s3://key:hidden@bucket/x?endpoint_override=127.0.0.1:9&scheme=http"
    for storage in ("nosuch://bucket/x", "s3://", nobody, "", " ", "/proc/none/of/this", str(tmp_path / "link")):
        done = user.types_here("sweep", path, "--storage", storage, code=2)
        assert "hidden" not in done.stdout + done.stderr
        assert done.stderr.startswith(("error: storage: ", "error: --storage: "))
        assert done.stderr.count("\n") == 1


def test_more_than_any_node_has_is_refused(user, tmp_path):
    """10,000 CPUs a trial are named as a mistake before a worker starts."""
    done = user.types_here("sweep", user.spec(name="huge", resources={"cpu": 10_000}, storage=str(tmp_path / "s")), code=2)
    assert not unnamed(done.stderr, "resources.cpu", 10000)
    assert not (tmp_path / "s").exists()


def test_every_worker_is_started_before_the_first_job(tmp_path):
    """Two workers are first given nothing; the file that lets them go on is there when both have started, and then come the jobs."""
    from orchestrator.execution.queue.job import jobs
    from orchestrator.execution.queue.job_queue import Queue
    from orchestrator.execution.ray_tune import job_search

    spec = parse({"name": "t", "base": {"dataset": "mnist_svhn_text", "model": "mopoe"}, "seeds": 2})
    with job_search.WorkerStart(tmp_path, 2) as worker_start:
        search = job_search.JobSearch(Queue(jobs([(trial,) for trial in spec.trials], {}), Resources()), worker_start)
        assert [search.suggest(name)["job"] for name in ("a", "b")] == [None, None]
        assert search.suggest("c")["job"]["rehearse"]
        worker_start.started()
        assert not (tmp_path / worker_start.name).exists()
        worker_start.started()
        assert (tmp_path / worker_start.name).exists()
    assert not (tmp_path / worker_start.name).exists()


@pytest.mark.parametrize("learning_rate", [1e7, 1e9, 1e20])
def test_a_model_whose_metrics_are_not_finite_has_none(learning_rate, dataset, jury, tmp_path):
    """One absurd step leaves finite weights and infinite or undefined metrics: the long table is empty, so the trial is diverged."""
    from mopoe_core.training.training import train
    from orchestrator.execution.attempt.materials import Materials, finite_metrics
    from tests.support.builders import cell

    sizes = {"epochs": 1, "batch_size": 500, "train_examples": 500, "test_examples": 100}
    config = cell("mopoe", learning_rate=learning_rate, **sizes).config
    trained = train(config, 0, dataset, torch.device("cpu"), tmp_path / "c.pt")
    assert trained.diverged_at_step is None
    assert finite_metrics(trained, 0, Materials(dataset, jury, torch.device("cpu"))) == ()


def test_a_long_sweep_is_run_as_several(tmp_path, monkeypatch):
    """With two jobs a Tuner, the third is not handed out before the first two have ended, and then by a search of its own."""
    from orchestrator.execution.queue.job import jobs
    from orchestrator.execution.queue.job_queue import Queue
    from orchestrator.execution.ray_tune import job_search

    monkeypatch.setattr(job_search, "MOST_JOBS", 2)
    every = parse({"name": "t", "base": {"dataset": "mnist_svhn_text", "model": "mopoe"}, "seeds": 3}).trials
    queue = Queue(jobs([(trial,) for trial in every], {}), Resources())
    with job_search.WorkerStart(tmp_path, 0) as worker_start:
        first = job_search.JobSearch(queue, worker_start)
        for key in ("a", "b"):
            assert first.suggest(key)["job"]
            queue.rehearsal_passed(key)
        assert first.suggest("c") is None
        for key, trial in zip(("a", "b"), every, strict=False):
            queue.trial_ended(key, trial.id)
            queue.job_finished(key)
        assert first.suggest("c") == job_search.Searcher.FINISHED
        assert first.spent
        assert not queue.is_over
        assert job_search.JobSearch(queue, worker_start).suggest("c")["job"]
