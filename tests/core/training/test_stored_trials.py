"""One trial of a storage, selected by its sweep, its seed and fields of its configuration."""

import json
import os
import shutil
import tarfile
from pathlib import Path

import fsspec
import pytest
import torch

import mopoe_core
from mopoe_core.data.own import user_data
from mopoe_core.errors import CheckpointError
from mopoe_core.training import stored_trials
from mopoe_core.training.stored_trials import Selection
from mopoe_core.training.sweep_membership import RecordedSweep
from orchestrator.ledger import records, sweep_records
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import Identity
from orchestrator.spec.sweep_file import parse
from tests.support import recorded
from tests.support.builders import COHERENCE, LIKELIHOOD, result
from tests.support.naming import names, naming

ROOT = Path(__file__).parents[3]
STORED = ROOT / "tests" / "old_storage"
BASE = {"dataset": "mnist_svhn_text", "networks": "small"}
SWEEPS = {
    "grid": {"base": BASE, "grid": {"model": ["mvae", "mopoe", "eq5"], "beta": [0.5, "1e0", 2]}, "seeds": 2},
    "zip": {"base": BASE | {"model": "mopoe"}, "zip": {"beta": [1, 2, 3], "latent_dim": [2, 3, 4]}, "grid": {"kl": ["sum", "mixture"]}},
    "exclude": {
        "base": BASE | {"estimator": "slices"},
        "grid": {"model": ["mvae", "mopoe"], "beta": [1, 2.5]},
        "exclude": [{"model": "mvae"}, {"model": "mopoe", "beta": 1.0}],
        "include": [{"model": "mvtcae", "estimator": "enumerate", "alpha": 0.5}],
    },
    "include": {"base": BASE, "include": [{"model": "mmvae"}, {"model": "mopoe", "beta": 1}], "seeds": [3, 5]},
    "preset": {"base": {"dataset": "celeba", "preset": "released_code", "scale": "small"}, "grid": {"model": ["mvae", "mopoe"]}},
}  # fmt: skip
"""Sweeps that use every section which makes cells."""


def selects(storage, **fields):
    """The id of the trial that is found."""
    return stored_trials.find(storage, Selection(fields.pop("sweep", ""), fields.pop("seed", None), fields)).id


def begun(storage, *specs):
    """Let the storage remember sweeps whose trials have all begun."""
    ledger = Ledger(storage)
    for spec in specs:
        sweep_records.write(spec, storage)
        for trial in spec.trials:
            ledger.begin(trial)
    return ledger


def completed(ledger, trial):
    """Give a trial a result, and a file that stands for its checkpoint."""
    ledger.record(result(trial.cell, trial.seed, {COHERENCE: 0.5, LIKELIHOOD: -1.0}))
    ledger.checkpoint(trial).write_text("weights")


def members(storage, name):
    """The ids of the trials in storage that belong to a sweep, as the core reads it."""
    sweep = RecordedSweep.read(storage, name)
    trials = [stored_trials._read(path) for path in storage.glob("trials/*/trial.json")]
    return {trial.folder.name for trial in trials if sweep.has(trial.folder.name, trial.cell_id, trial.values["seed"])}


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_has_the_trials_that_its_file_makes(name, tmp_path):
    """Of all trials in a storage of five sweeps, those of one are the ones that the sweep file expands to."""
    specs = {other: parse({"name": other, **raw}) for other, raw in SWEEPS.items()}
    begun(tmp_path, *specs.values())
    assert members(tmp_path, name) == {trial.id for trial in specs[name].trials}


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A storage of an earlier version, with grids and searches on datasets of the user's own, whose code is not there."""
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(STORED / "storage.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "runs"


@pytest.mark.parametrize("name", ["halving", "hunt"])
def test_searches_have_the_trials_that_an_earlier_version_listed(name, old):
    """As it listed them, of those that have begun, without running the code of the dataset."""
    listed = json.loads((STORED / "expected.json").read_text())["trials"][name]
    assert members(old, name) == {row["trial_id"] for row in listed if row["attempts"]}


def test_a_grid_that_an_earlier_version_recorded_is_refused_until_its_ids_are_written(old, tmp_path):
    """The record is named. What it then says of the trials is what the sweep file expands to."""
    with pytest.raises(CheckpointError, check=naming(old / "sweeps" / "eighteen" / "sweep.json")):
        RecordedSweep.read(old, "eighteen")
    storage = shutil.copytree(old, tmp_path / "runs")
    spec = sweep_records.read_sweep(storage, "eighteen", frozenset())
    sweep_records.write(spec, storage)
    assert RecordedSweep.read(storage, "eighteen").trial_ids == {trial.id for trial in spec.trials}


def test_a_trial_that_has_not_completed_is_named_with_its_status(old):
    """For every trial of a sweep that has every status but running, and has begun."""
    for row in json.loads((STORED / "expected.json").read_text())["trials"]["fates"]:
        config = json.loads((old / "trials" / row["trial_id"] / "trial.json").read_text())["config"] if row["attempts"] else {}
        if row["attempts"] and row["status"] != "completed":
            with pytest.raises(CheckpointError, check=naming(old / "trials" / row["trial_id"], row["status"])):
                selects(old, seed=row["seed"], **config)


def test_seed_and_fields_select_one_trial(tmp_path):
    """Each trial of a grid is found by its model, beta and seed, in whatever spelling; an alias means its settings."""
    spec = parse({"name": "grid", **SWEEPS["grid"]})
    ledger = begun(tmp_path, spec)
    for trial in spec.trials:
        completed(ledger, trial)
    for trial in spec.trials:
        config = trial.config
        spelled = {"model": config.published_model} | ({"estimator": "stratified"} if config.published_model == "mopoe" else {})
        assert selects(tmp_path, sweep="grid", seed=trial.seed, beta=str(config.beta), **spelled) == trial.id


def test_the_sweep_tells_trials_apart_that_the_fields_do_not(tmp_path):
    """Two sweeps in one storage have mopoe at beta 1, with other sizes."""
    specs = [parse({"name": name, "base": BASE | {"model": "mopoe", "beta": 1, "epochs": n}}) for name, n in (("a", 1), ("b", 2))]
    ledger = begun(tmp_path, *specs)
    for spec in specs:
        completed(ledger, spec.trials[0])
        assert selects(tmp_path, sweep=spec.name, model="mopoe", beta=1) == spec.trials[0].id
    with pytest.raises(CheckpointError, check=naming("epochs", 1, 2)):
        selects(tmp_path, model="mopoe", beta=1)


def test_several_that_fit_are_told_apart_by_what_differs(tmp_path):
    """Every value of each field that differs is named, and no field that all share or that follows from the model."""
    begun(tmp_path, parse({"name": "grid", **SWEEPS["grid"] | {"grid": {"model": ["mvae", "mopoe"], "beta": [0.5, 2]}}}))
    with pytest.raises(CheckpointError) as caught:
        selects(tmp_path, sweep="grid", seed=1)
    message = str(caught.value)
    assert names(message, tmp_path, "grid", "model", "'mvae'", "'mopoe'", "beta", "0.5", "2.0")
    assert not any(names(message, field) for field in ("latent_dim", "prior_expert", "dataset"))


@pytest.mark.parametrize(
    ("wanted", "named"),
    [
        ({"sweep": "gird"}, ("'gird'", "'grid'")),
        ({"sweep": "grid", "beta": 7}, ("beta", 7, "0.5", "1.0", "2.0")),
        ({"betta": 1}, ("betta", "'beta'", "latent_dim", "seed")),
        ({"seed": 9}, ("seed", 9, 0, 1)),
    ],
)
def test_what_is_not_there_is_named_with_what_is(wanted, named, tmp_path):
    """A sweep, a value, a field."""
    begun(tmp_path, parse({"name": "grid", **SWEEPS["grid"]}))
    with pytest.raises(CheckpointError, check=naming(*named)):
        selects(tmp_path, **wanted)


def test_a_folder_without_trials_is_no_storage(tmp_path):
    """It is named."""
    with pytest.raises(CheckpointError, check=naming(tmp_path)):
        selects(tmp_path)


def test_trials_of_another_recipe_are_passed_over(tmp_path):
    """A trial that an earlier recipe trained with the same fields is not mistaken for today's, and is counted where none is left."""
    spec = parse({"name": "one", "base": BASE | {"model": "mopoe", "beta": 1}})
    ledger = begun(tmp_path, spec)
    completed(ledger, spec.trials[0])
    stored = records.read(tmp_path / "trials" / spec.trials[0].id / "trial.json", Identity("trial", spec.trials[0].id))
    older = stored | {"recipe": stored["recipe"] - 1}
    records.write(tmp_path / "trials" / "0123456789abcdef" / "trial.json", Identity("trial", "0123456789abcdef"), older)
    assert selects(tmp_path, model="mopoe") == spec.trials[0].id
    shutil.rmtree(tmp_path / "trials" / spec.trials[0].id)
    with pytest.raises(CheckpointError, check=naming(1)):
        selects(tmp_path, model="mopoe")


# With real checkpoints


def test_the_model_is_that_of_the_trials_checkpoint(store):
    """Bit for bit, for each seed; the dataset's code is not there, and is not needed."""
    trials = store.trials
    (store.home / "mine.py").unlink()
    user_data.forget()
    for trial in trials:
        model = mopoe_core.load(store.home / "runs", sweep="own", seed=trial.seed)
        weights = torch.load(store.ledger.checkpoint(trial), weights_only=True)["model"]
        assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_a_storage_is_a_string_or_a_uri(store):
    """A relative folder and a `file:` URI lead to the same model."""
    models = [mopoe_core.load(place, seed=0) for place in ("runs", f"file://{store.home / 'runs'}")]
    assert all(torch.equal(a, b) for a, b in zip(*(model.state_dict().values() for model in models), strict=True))


def test_a_storage_may_be_remote(store):
    """Files on an object store lead to the same model as on disk, and a trial that has not completed to its status."""
    remote = fsspec.filesystem("memory")
    remote.put(str(store.home / "runs"), "/bucket/runs", recursive=True)
    try:
        model, expected = (mopoe_core.load(place, sweep="own", seed=1) for place in ("memory://bucket/runs", "runs"))
        assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), expected.state_dict().values(), strict=True))
        with pytest.raises(CheckpointError, check=naming("failed")):
            mopoe_core.load("memory://bucket/runs", sweep="others", seed=2)
    finally:
        remote.rm("/bucket", recursive=True)


def test_a_checkpoint_that_is_not_the_results_is_refused(store):
    """Another trial's is in its place, or it was cut, or `gc` has deleted it."""
    storage, path = store.home / "runs", store.ledger.checkpoint(store.trials[0])
    whole = path.read_bytes()
    shutil.copy(store.ledger.checkpoint(store.trials[1]), path)
    with pytest.raises(CheckpointError, check=naming(path)):
        mopoe_core.load(storage, seed=0)
    os.truncate(path, len(whole) // 2)
    with pytest.raises(CheckpointError, check=naming(path)):
        mopoe_core.load(storage, seed=0)
    path.write_bytes(whole)
    recorded.delete_as_gc_does(store.ledger, store.trials[0])
    with pytest.raises(CheckpointError, check=naming(path, "gc")):
        mopoe_core.load(storage, seed=0)


def test_a_checkpoint_that_was_not_moved_yet_is_loaded_from_its_attempt(store):
    """As after a crash between the result and the move of its files."""
    trial = store.trials[0]
    folder, expected = store.ledger.folder(trial), mopoe_core.load(store.home / "runs", seed=0).state_dict()
    attempt = folder / store.ledger.of(trial).result()["files"]
    attempt.mkdir(parents=True)
    (folder / "checkpoint.pt").rename(attempt / "checkpoint.pt")
    model = mopoe_core.load(store.home / "runs", seed=0)
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


def test_code_runs_only_if_the_caller_names_the_dataset(store):
    """A dataset that leaves a mark when it is called is called only if `dataset=` names it."""
    mark = store.home / "ran"
    user_data.forget()
    (store.home / "mine.py").write_text((store.home / "mine.py").read_text() + f"\n\nopen({str(mark)!r}, 'w').close()\n")
    storage = store.home / "runs"
    mopoe_core.load(storage, sweep="own", seed=0)
    with pytest.raises(CheckpointError, check=naming("dataset", "'mine.py:made'")):
        mopoe_core.load(storage, dataset="other.py:made", seed=0)
    with pytest.raises(CheckpointError):
        mopoe_core.load(storage, sweep="own")
    assert not mark.exists()
    mopoe_core.load(storage, dataset="mine.py:made", seed=0)
    assert mark.exists()


def test_a_checkpoints_file_takes_no_selection(store):
    """It is one trial's already."""
    path = store.ledger.checkpoint(store.trials[0])
    with pytest.raises(CheckpointError, check=naming(path, "seed")):
        mopoe_core.load(path, seed=0)
