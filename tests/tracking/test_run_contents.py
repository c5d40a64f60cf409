"""The content of MLflow's runs of trials and cells, compared with the identity and with statistics computed here."""

import csv
import math
import shutil
import statistics
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient
from scipy import stats

from mopoe_core.config.training_config import RECIPE, TrainingConfig
from orchestrator.spec.trial import Cell, Trial
from tests.support.builders import COHERENCE, LIKELIHOOD
from tests.tracking.test_tracking import Sweep, catch_up, record, small_sweep, stored_runs


@pytest.fixture
def storage(tmp_path: Path, empty_mlflow_store: Path) -> Path:
    """A storage with an empty store."""
    shutil.copy(empty_mlflow_store, tmp_path / "mlflow.db")
    return tmp_path


def tracked(storage: Path, **fields: Any) -> Sweep:
    """A sweep of three seeds that have all ended, in MLflow."""
    sweep = small_sweep(storage, seeds=3, **fields)
    record(sweep, *sweep.every)
    assert sweep.runs(catch_up) == ()
    return sweep


def value(text: str) -> Any:
    """Returns the value that a parameter's text stands for."""
    return None if text == "None" else yaml.safe_load(text) if text else ""


@pytest.mark.parametrize(
    "fields",
    [
        {"model": ["mvae", "mopoe"]},
        {"reconstruction_weights": [[1.0, 2.5, 3.0]], "private_dim": [4], "model": ["mopoe"], "learning_rate": [1e-4]},
        {"train_examples": [640], "missing": [0.25], "alpha": [0.5], "model": ["mvtcae"]},
    ],
    ids=["defaults", "lists", "sizes"],
)
def test_a_runs_id_follows_from_its_parameters(storage, fields):
    """The parameters give the configuration, and with the seed the id of the trial or cell. No field is missing."""
    tracked(storage, **fields)
    kinds = set()
    for run in stored_runs(f"sqlite:///{storage / 'mlflow.db'}"):
        values = {name: value(text) for name, text in run.data.params.items()}
        seed = values.pop("seed", None)
        assert values.pop("recipe") == RECIPE
        assert values.keys() == TrainingConfig.model_fields.keys()
        cell = Cell(TrainingConfig.model_validate({name: given for name, given in values.items() if given not in (None, "", [])}))
        kinds.add(run.data.tags["kind"])
        assert cell.id == run.data.tags["cell_id"]
        assert run.data.tags["kind"] == "cell" or Trial(cell, seed).id == run.data.tags["trial_id"]
    assert kinds == {"cell", "trial"}


def table(run: Any, uri: str) -> dict[str, dict[str, str]]:
    """Returns the rows of a run's evaluation table, by metric."""
    path = MlflowClient(uri).download_artifacts(run.info.run_id, "evaluation.csv")
    with open(path, newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def test_a_cells_evaluation_table_has_the_spread_over_its_seeds(storage):
    """Mean, standard deviation, 95 % interval and number of seeds of each metric equal those computed from its trials' runs."""
    sweep = tracked(storage, model=["mopoe"])
    runs = stored_runs(sweep.uri)
    (cell,) = (run for run in runs if run.data.tags["kind"] == "cell")
    trials = [run for run in runs if run.data.tags["kind"] == "trial"]
    rows = table(cell, sweep.uri)
    assert rows.keys() == {COHERENCE, LIKELIHOOD, "probe/mnist"}
    for name, row in rows.items():
        values = [run.data.metrics[name] for run in trials]
        mean, sd = statistics.fmean(values), statistics.stdev(values)
        half = stats.t.ppf(0.975, len(values) - 1) * sd / math.sqrt(len(values))
        numbers = [float(row[part]) for part in ("mean", "sd", "low", "high")]
        assert numbers == pytest.approx([mean, sd, mean - half, mean + half], rel=1e-9)
        assert int(row["n"]) == len(values) == 3
        assert cell.data.metrics[name] == pytest.approx(mean, rel=1e-12)
    assert cell.data.metrics.keys() == {*rows, "n"}


def test_a_cells_table_that_was_deleted_is_written_again(storage):
    """`track` notices that the folder of artifacts is missing, and the run stays the same."""
    sweep = tracked(storage, model=["mopoe"])
    (cell,) = (run for run in stored_runs(sweep.uri) if run.data.tags["kind"] == "cell")
    before = table(cell, sweep.uri)
    shutil.rmtree(storage / "mlartifacts" / cell.info.run_id)
    assert sweep.runs(catch_up) == ()
    (after,) = (run for run in stored_runs(sweep.uri) if run.data.tags["kind"] == "cell")
    assert after.info.run_id == cell.info.run_id
    assert table(after, sweep.uri) == before
    points = MlflowClient(sweep.uri).get_metric_history(cell.info.run_id, COHERENCE)
    assert [point.step for point in points] == [0]
