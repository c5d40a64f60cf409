"""The code on the page about trained models runs as it stands, and gives what its comments say."""

import re
import shutil
from contextlib import chdir
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch

from mopoe_core.training.training import train
from orchestrator.ledger import sweep_records
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec import sweep_file
from orchestrator.spec.sweep_file import parse
from orchestrator.tracking.mlflow.connection import catch_up
from tests.support.builders import COHERENCE, LIKELIHOOD, result

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "trained-models.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
RAW = {
    "name": "mst",
    "base": {"dataset": "mnist_svhn_text", "networks": "small", "epochs": 1, "batch_size": 64, "train_examples": 640},
    "grid": {"model": ["mopoe"], "beta": [1, 2.5]},
    "seeds": 2,
}
"""A small sweep of the name that the page uses."""


@pytest.fixture(scope="module")
def names(tmp_path_factory, dataset, data_folder, empty_mlflow_store):
    """What the page's variables are after all its blocks have run, in a folder with the storage and the MLflow run that it speaks of."""
    home, spec = tmp_path_factory.mktemp("page"), parse(RAW)
    (home / "data").symlink_to(data_folder)
    ledger = Ledger(home / "runs")
    sweep_records.write(spec, ledger.storage)
    for trial in spec.trials:
        ledger.begin(trial)
    (trial,) = (trial for trial in spec.trials if (trial.config.beta, trial.seed) == (2.5, 0))
    train(trial.config, trial.seed, dataset, torch.device("cpu"), ledger.checkpoint(trial), trial=trial.id)
    ledger.record(result(trial.cell, trial.seed, {COHERENCE: 0.5, LIKELIHOOD: -1.0}))
    shutil.copy(empty_mlflow_store, home / "runs" / "mlflow.db")
    names = {}
    with chdir(home):
        run = mlflow_run(spec, trial, ledger)
        for block in BLOCKS:
            exec(compile(block.replace('run_id="..."', f"run_id={run!r}"), "trained-models.md", "exec"), names)
            names.setdefault("of_storage", names["model"].state_dict())
    return names


def mlflow_run(spec, trial, ledger):
    """The id of the trial's run in a store of MLflow's, in the storage."""
    uri = f"sqlite:///{Path('runs/mlflow.db')}"
    assert catch_up(spec.name, [trial], ledger, uri, "commit", []) == ()
    client = mlflow.MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name(spec.name).experiment_id], "tags.kind = 'trial'")
    return run.info.run_id


def test_storage_and_mlflow_have_the_trial_that_the_page_asks_for(names):
    """MoPoE at beta 2.5 of the sweep, whichever of the two it was loaded from: the file from MLflow has the weights of the storage's."""
    model, path = names["model"], names["path"]
    weights = torch.load(path, weights_only=True)["model"]
    assert (model.config.model, model.config.beta) == ("mopoe", 2.5)
    assert all(torch.equal(value, weights[name]) for name, value in names["of_storage"].items())


def test_samples_and_tables_are_as_the_comments_say(names):
    """Shapes, strings and columns."""
    samples, test, model = names["samples"], names["test"], names["model"]
    assert samples["mnist"].shape == (8, 1, 28, 28)
    assert 0 <= samples["mnist"].min() <= samples["mnist"].max() <= 1
    assert [type(text) for text in samples["text"].tolist()] == [str] * 8
    assert model.sample(8, given={"text": "three"})["svhn"].shape == (8, 3, 32, 32)
    assert model.sample(4, given={"mnist": names["x"]})["text"].shape == (8, 4)
    assert names["table"].columns.tolist() == ["label", *(f"z{d}" for d in range(model.config.latent_dim))]
    assert np.array_equal(names["table"]["label"], test.labels.numpy())


def test_tensors_are_as_the_comments_say(names):
    """Of the posterior, of every modality and of a decoder."""
    assert names["q"].mu.shape == names["q"].logvar.shape == (5, names["model"].config.latent_dim)
    assert {name: value.shape[0] for name, value in names["generated"].items()} == {"mnist": 5, "svhn": 5, "text": 5}
    assert names["digits"].shape == (8, 1, 28, 28)


def test_the_page_has_a_block_for_each_method():
    """Everything public that a trained model offers beyond torch's own is used by some block that ran."""
    for method in ("load", "sample", "latents", "posterior_given", "generate_given", "generate"):
        assert any(re.search(rf"\.{method}\(", block) for block in BLOCKS), method


def test_the_sweep_that_the_page_names_is_there():
    """`tabular` is the sweep of `examples/tabular.yaml`, and has the cell and the dataset that the page loads."""
    spec = sweep_file.load(ROOT / "examples" / "tabular.yaml")
    reference = re.search(r'sweep="tabular", dataset="([^"]+)"', PAGE)[1]
    assert (spec.name, reference) == ("tabular", spec.cells[0].config.dataset)
    assert ("mopoe", 1.0) in {(cell.config.model, cell.config.beta) for cell in spec.cells}
