"""A name that is none of the known ones is an error that says it and what is allowed; nothing else takes its place."""

import pytest

from mopoe_core.config import presets
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data import loading
from mopoe_core.data.cards import DATASETS
from mopoe_core.data.celeba import celeba
from mopoe_core.data.dataset_card import DataKey
from mopoe_core.data.mnist_svhn_text import mnist_svhn_text
from mopoe_core.data.polymnist import polymnist
from mopoe_core.data.types import Modality
from mopoe_core.errors import DataError
from mopoe_core.models.likelihoods import numeric_likelihood
from mopoe_core.networks.networks import networks


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        (DataKey("mnist_svhn_txt", "embedded", 3, "test"), "mnist_svhn_txt", tuple(DATASETS)),
        (DataKey("fashion", "embedded", 3, "test"), "fashion", tuple(DATASETS)),
        (DataKey("polymnist", "orignal", 5, "test"), "orignal", ("embedded", "original")),
        (DataKey("mnist_svhn_text", "own", 3, "test"), "own", ("embedded", "original")),
        (DataKey("celeba", "embedded", 2, "train"), "train", ("test", "validation")),
        (DataKey("polymnist", "embedded", 5, "validation"), "validation", ("test",)),
    ],
)
def test_no_dataset_stands_in_for_an_unknown_one(key, value, allowed, tmp_path):
    """The error is the user's to mend; nothing is built."""
    with pytest.raises(DataError, match=repr(value)) as error:
        loading.load(key, tmp_path)
    assert all(name in str(error.value) for name in allowed)
    assert list(tmp_path.iterdir()) == []


def test_every_dataset_has_a_loader():
    """And no loader is without a dataset."""
    assert set(loading.LOADERS) == set(DATASETS)


@pytest.mark.parametrize("module", [mnist_svhn_text, polymnist, celeba])
def test_no_source_stands_in_for_an_unknown_one(module, tmp_path):
    """Each loader says which sources it has."""
    with pytest.raises(DataError, match=r"'orignal'.*embedded, original"):
        module.load("orignal", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_network_likelihood_or_kind_stands_in_for_an_unknown_one():
    """Each error has the value and what is allowed."""
    modality = Modality("x", "vector", (3,))
    with pytest.raises(ValueError, match=r"'large'.*paper, small"):
        networks(modality, "large", 4)
    with pytest.raises(ValueError, match=r"''.*mnist"):
        networks(modality, "paper", 4)
    with pytest.raises(ValueError, match=r"'poisson'.*laplace, normal, bernoulli"):
        numeric_likelihood("poisson", False)
    with pytest.raises(ValueError, match=r"'sound'.*vector, image, text"):
        Modality("x", "sound", (3,))


def test_no_preset_or_scale_stands_in_for_an_unknown_one():
    """Each error has the value and what is allowed."""
    with pytest.raises(ValueError, match=r"'released'.*paper, released_code"):
        presets.preset_fields("released", "celeba", "mopoe")
    for scaled in (lambda: presets.scale_fields("tiny", "celeba", "paper"), lambda: presets.scale_defaults("tiny")):
        with pytest.raises(ValueError, match=r"'tiny'.*paper, small, smoke"):
            scaled()


COMPONENTS = {"mvae": 4, "mmvae": 3, "mopoe": 7, "mvtcae": 1, "mmjsd": 4, "mmvm": 3}


@pytest.mark.parametrize("model", COMPONENTS)
def test_the_number_of_components_is_that_of_the_papers(model):
    """Of three modalities: as the models' papers count them."""
    assert TrainingConfig.model_validate({"dataset": "mnist_svhn_text", "model": model}).components == COMPONENTS[model]


def test_every_known_name_is_still_taken():
    """Kinds, likelihoods and presets as the catalogue has them."""
    assert [Modality("x", kind, (3, 2)).kind for kind in ("image", "text", "vector")] == ["image", "text", "vector"]
    assert [type(numeric_likelihood(name, True)).__name__ for name in ("laplace", "normal", "bernoulli")] == [
        "Laplace",
        "Normal",
        "Bernoulli",
    ]
    assert all(presets.preset_fields(preset, "celeba", "mopoe") for preset in presets.PRESETS)
