"""A trained model, taken out of a sweep and used."""

import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
import torch

import mopoe_core
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.training.trained_model import load_on
from mopoe_core.training.training import train
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.sweep_file import parse
from orchestrator.tracking.mlflow.connection import catch_up
from tests.support.builders import result
from tests.support.naming import unnamed

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]
SIZES = {"dataset": "mnist_svhn_text", "networks": "small", "epochs": 1, "batch_size": 64, "train_examples": 640}
NAMES = ("mnist", "svhn", "text")


def chance():
    """The same every time."""
    return torch.Generator().manual_seed(7)


@pytest.fixture(scope="module", params=[{"model": "mopoe"}, {"model": "mmvae", "private_dim": 3}, {"model": "mvae"}], ids=str)
def checkpoint(request, dataset, tmp_path_factory):
    """Of a model trained for ten steps on embedded data, with the model itself."""
    path = tmp_path_factory.mktemp("trained") / "checkpoint.pt"
    return path, train(TrainingConfig.model_validate(SIZES | request.param), 0, dataset, CPU, path).model


@pytest.fixture
def given(dataset):
    """Five test examples."""
    return dataset.test.batch(torch.arange(5))


def test_a_checkpoint_loads_without_any_data(checkpoint, given, tmp_path):
    """The model of the checkpoint alone is bit-equal to the trained one, in evaluation mode, and no dataset is built for it."""
    path, trained = checkpoint
    model = mopoe_core.load(path, data=tmp_path / "none")
    assert not model.training
    assert not (tmp_path / "none").exists()
    assert model.modalities == trained.modalities
    made, expected = (one.generate_given({"mnist": given["mnist"]}, chance()) for one in (model, trained))
    assert all(torch.equal(made[name], expected[name]) for name in NAMES)


def test_loading_moves_no_random_number(checkpoint):
    """Torch's global generator is where it was."""
    before = torch.random.get_rng_state()
    mopoe_core.load(checkpoint[0])
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_checkpoint_that_names_no_modalities_takes_them_from_the_dataset(checkpoint, dataset, data_folder, tmp_path):
    """As written before: the dataset is found under `data`."""
    state = torch.load(checkpoint[0], weights_only=True)
    del state["modalities"]
    torch.save(state, tmp_path / "old.pt")
    model, known = mopoe_core.load(tmp_path / "old.pt", data=data_folder), load_on(checkpoint[0], dataset, torch.device("cpu"))
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), known.state_dict().values(), strict=True))


def test_every_subset_gives_every_modality(checkpoint, given):
    """Given any subset, each modality has its shape, and what is not given has no influence."""
    model = mopoe_core.load(checkpoint[0])
    for subset in ({"text"}, {"mnist", "text"}, set(NAMES)):
        made = model.generate_given({name: given[name] for name in subset}, chance())
        assert {name: value.shape for name, value in made.items()} == {name: given[name].shape for name in NAMES}
        assert made["text"].sum(-1).allclose(torch.ones(()))


def test_the_posterior_given_a_subset_is_that_of_the_present(checkpoint, given):
    """`posterior_given` equals `posterior` with the others marked as hidden, whatever stands in their place."""
    model = mopoe_core.load(checkpoint[0])
    present_BM = torch.tensor([[True, False, True]]).expand(5, -1)
    whole = given | {"svhn": torch.full_like(given["svhn"], torch.nan)}
    expected = model.posterior(whole, present_BM, torch.rand(5, generator=chance()))
    found = model.posterior_given({"mnist": given["mnist"], "text": given["text"]}, chance())
    assert torch.equal(found.mu, expected.mu)
    assert torch.equal(found.logvar, expected.logvar)


def test_a_modality_that_there_is_not_is_named(checkpoint, given):
    """A slip in a name, and nothing at all, are told with what is allowed."""
    model = mopoe_core.load(checkpoint[0])
    for x in ({"mnits": given["mnist"]}, {}):
        with pytest.raises(ValueError, match=r"^x: ") as caught:
            model.generate_given(x, chance())
        assert not unnamed(caught.value, *x, *NAMES)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    """A file that is not there, and one that is something else, are named."""
    with pytest.raises(FileNotFoundError, match=r"none\.pt"):
        mopoe_core.load(tmp_path / "none.pt")
    (tmp_path / "other.pt").write_text("x")
    with pytest.raises(ValueError, match=r"other\.pt: "):
        mopoe_core.load(tmp_path / "other.pt")


def test_three_lines_load_a_model_from_an_mlflow_run(checkpoint, given, tmp_path):
    """As `docs/trained-models.md` has them: from a run in a real SQLite store, by its id alone, to the numbers of the trained model."""
    path, trained = checkpoint
    spec = parse({"name": "t", "base": trained.config.model_dump(exclude_defaults=True)})
    (trial,), ledger = spec.trials, Ledger(tmp_path)
    ledger.begin(trial)
    ledger.checkpoint(trial).write_bytes(path.read_bytes())
    ledger.record(result(trial.cell, 0, {"coherence/joint": 0.5, "log_likelihood/joint": -1.0}))
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert catch_up(spec.name, [trial], ledger, uri, "commit", []) == ()
    client = mlflow.MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name("t").experiment_id], "tags.kind = 'trial'")
    run_id = runs[0].info.run_id

    found = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="checkpoint.pt", tracking_uri=uri)
    model = mopoe_core.load(found)
    made, expected = (one.generate_given({"svhn": given["svhn"]}, chance()) for one in (model, trained))
    assert all(torch.equal(made[name], expected[name]) for name in NAMES)


def test_importing_the_package_loads_nothing_heavy():
    """`import mopoe_core` has `load`, and neither torch nor numpy."""
    code = "import sys, mopoe_core; assert callable(mopoe_core.load); assert not {'torch', 'numpy'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_weights_of_other_networks_are_refused(checkpoint, tmp_path):
    """A checkpoint whose weights are those of other layers, as an earlier version's may be, is one line that names the file."""
    state = torch.load(checkpoint[0], weights_only=True)
    state["model"].pop(next(iter(state["model"])))
    torch.save(state, tmp_path / "old.pt")
    with pytest.raises(ValueError, match=r"old\.pt: .*\bmnist_svhn_text\b") as caught:
        mopoe_core.load(tmp_path / "old.pt")
    assert "\n" not in str(caught.value)
