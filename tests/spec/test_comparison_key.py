"""Which numbers may be compared: what a key says, and how keys are told apart."""

import pytest

from mopoe_core.config.training_config import TrainingConfig
from orchestrator.analysis.comparable_groups import front_groups
from orchestrator.errors import SpecError
from orchestrator.spec.comparison_key import KEY_FIELDS, MeasuredWith, comparison_key, key_labels, measured_with
from orchestrator.spec.sweep_file import parse
from tests.support.naming import naming
from tests.support.searches import SPACE, raw

POLY = {"dataset": "polymnist", "networks": "small", "model": "mopoe"}
FACES = {"dataset": "celeba", "networks": "small", "model": "mopoe"}
TRAINING = (
    "model", "networks", "beta", "latent_dim", "private_dim", "beta_private", "private_weights", "estimator", "kl", "prior_expert",
    "alpha", "unimodal_reconstruction", "reconstruction_weights", "missing", "epochs", "batch_size", "learning_rate", "weight_decay",
    "train_examples", "precision",
)  # fmt: skip
"""What a sweep compares: fields of the model and its training."""


def key(fields, **changes):
    """Of a configuration."""
    return comparison_key(TrainingConfig.model_validate(fields | changes))


def test_every_field_of_a_configuration_is_of_the_meaning_or_of_the_training():
    """A new field has to be put into one of the two."""
    assert sorted([*KEY_FIELDS, *TRAINING]) == sorted(TrainingConfig.model_fields)


@pytest.mark.parametrize(
    ("fields", "changes"),
    [
        (POLY, {"dataset": "mnist_svhn_text"}),
        (POLY, {"source": "original"}),
        (POLY, {"scale": "small", "beta": 2.5}),
        (POLY, {"modality_count": 3}),
        (FACES, {"evaluate_on": "validation"}),
        (POLY, {"test_examples": 500}),
        (POLY, {"importance_samples": 12}),
        (FACES, {"given_private": "posterior"}),
        (POLY, {"likelihood": "normal"}),
        (POLY, {"preset": "released_code"}),
    ],
)
def test_cells_that_are_measured_in_another_way_have_another_key(fields, changes):
    """One field is enough; a preset that sets one of them, too."""
    assert key(fields) != key(fields, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "mvae"},
        {"beta": 7},
        {"latent_dim": 3},
        {"private_dim": 2},
        {"kl": "sum"},
        {"missing": 0.2},
        {"epochs": 3},
        {"batch_size": 64},
        {"learning_rate": 0.5},
        {"train_examples": 5000},
        {"networks": "paper"},
        {"test_examples": 2000},
        {"modality_count": 5},
    ],
)
def test_cells_that_are_trained_in_another_way_have_the_same_key(changes):
    """So has one that spells out what is left out: all test examples, all modalities."""
    assert key(POLY) == key(POLY, **changes)


def test_labels_say_only_what_differs():
    """The dataset by its name, other fields as `field=value`; nothing for a single key, and for a key that is named twice one label."""
    keys = [key(POLY), key(POLY, test_examples=500), key(POLY, test_examples=500)]
    assert key_labels(keys) == {keys[0]: "test_examples=all", keys[1]: "test_examples=500"}
    assert key_labels(keys[:1]) == {keys[0]: ""}
    others = [key(POLY), key(FACES, evaluate_on="validation")]
    assert key_labels(others) == {others[0]: "polymnist, evaluate_on=test", others[1]: "celeba, evaluate_on=validation"}
    scales = [key(POLY, scale="small"), key(POLY)]
    assert key_labels(scales)[scales[0]].split(", ")[0] == "small scale"
    assert key_labels(scales)[scales[1]].split(", ")[0] == "own sizes"


def test_hashes_are_as_long_as_they_have_to_be():
    """Two hashes that agree in their first ten digits are told apart; what is not known is called so."""
    config = TrainingConfig.model_validate(POLY)
    keys = [comparison_key(config, MeasuredWith(data)) for data in ("0123456789ab", "0123456789cd", "")]
    assert list(key_labels(keys).values()) == ["data 0123456789a", "data 0123456789c", "data unknown"]


def test_what_a_result_was_measured_with_is_in_its_provenance():
    """Hashes of data and classifiers; a result that lacks them says nothing; a part of the provenance says the same as the whole."""
    whole = {"commit": "x", "data_hash": "d", "classifiers": {"hash": "c", "accuracy": {"a": 0.9}}}
    assert measured_with(whole) == MeasuredWith("d", "c")
    assert measured_with({}) == MeasuredWith()
    assert measured_with(measured_with(whole).as_provenance()) == measured_with(whole)


@pytest.mark.parametrize("field", [field for field in KEY_FIELDS if field != "data_hash"])
def test_a_search_over_cells_that_cannot_be_compared_is_refused(field):
    """The message names the field and where it stands in the file."""
    values = {
        "dataset": ["polymnist", "celeba"],
        "source": ["embedded", "original"],
        "scale": ["small", "smoke"],
        "modality_count": [2, 3],
        "evaluate_on": ["test", "validation"],
        "likelihood": ["laplace", "normal"],
        "given_private": ["prior", "posterior"],
    }
    made = raw(space=SPACE | {field: values.get(field, [100, 200])})
    made["base"].pop(field, None)
    with pytest.raises(SpecError, check=naming(f"search.space.{field}")):
        parse(made)


def test_a_search_over_presets_is_refused():
    """A preset sets how many importance samples there are."""
    with pytest.raises(SpecError, check=naming("search.space.preset")):
        parse(raw(space=SPACE | {"preset": ["paper", "released_code"]}))


def test_an_objective_that_one_of_the_datasets_lacks_is_refused_with_its_name():
    """Every front needs all objectives."""
    grid = {"dataset": ["mnist_svhn_text", "polymnist"], "model": ["mopoe"]}
    objectives = [{"metric": name, "goal": "max"} for name in ("coherence/joint", "log_likelihood/mnist")]
    with pytest.raises(SpecError, check=naming("objectives[1].metric", "'log_likelihood/mnist'", "polymnist")):
        parse({"name": "t", "base": {"networks": "small"}, "grid": grid, "objectives": objectives})


def test_a_grid_over_presets_has_a_group_for_each():
    """The released code takes 12 importance samples and the paper 15: bounds of other tightness."""
    grid = {"preset": ["paper", "released_code"], "beta": [1, 2]}
    spec = parse({"name": "t", "base": {"dataset": "mnist_svhn_text", "networks": "small", "model": "mopoe"}, "grid": grid})
    found = front_groups(spec.cells, [])
    assert [group.label for group in found.groups] == ["importance_samples=15", "importance_samples=12"]
    assert [len(group.cells) for group in found.groups] == [2, 2]
