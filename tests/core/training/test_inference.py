"""Samples of a trained model as arrays and strings, and latents as a table."""

import numpy as np
import pandas as pd
import pytest
import torch

import mopoe_core
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.celeba.celeba import MODALITIES as CELEBA
from mopoe_core.data.own import user_data
from mopoe_core.data.plain_values import given_examples, plain
from mopoe_core.data.types import Modality, Split
from mopoe_core.training import inference
from mopoe_core.training.inference import TrainedModel
from mopoe_core.training.training import train
from tests.support.naming import naming

CPU = torch.device("cpu")
SIZES = {"dataset": "mnist_svhn_text", "networks": "small", "epochs": 1, "batch_size": 64, "train_examples": 640}
SHAPES = {"mnist": (1, 28, 28), "svhn": (3, 32, 32), "text": ()}


@pytest.fixture(scope="module", params=[{"model": "mopoe"}, {"model": "mmvae", "private_dim": 3, "latent_dim": 4}], ids=str)
def model(request, dataset, tmp_path_factory):
    """Trained for ten steps: MoPoE, and a mixture with private latents."""
    path = tmp_path_factory.mktemp("trained") / "checkpoint.pt"
    train(TrainingConfig.model_validate(SIZES | request.param), 0, dataset, CPU, path)
    return mopoe_core.load(path)


@pytest.fixture
def given(dataset):
    """Three test examples as the networks see them."""
    return dataset.test.batch(torch.tensor([0, 9_000, 19_000]))


def equal(a, b):
    """Whether two sets of samples are the same in every modality."""
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def check_values(samples):
    """Images are finite floats in [0, 1]; text is strings of the modality's length, without gaps of the array's type."""
    for name in ("mnist", "svhn"):
        assert samples[name].dtype == np.float32
        assert samples[name].min() >= 0
        assert samples[name].max() <= 1
    assert samples["text"].dtype.kind == "U"
    assert {len(text) for text in samples["text"].flat} == {8}


def test_samples_of_the_prior_are_images_and_strings(model):
    """`count` of every modality, in its shape."""
    samples = model.sample(5)
    assert {name: values.shape for name, values in samples.items()} == {name: (5, *shape) for name, shape in SHAPES.items()}
    check_values(samples)


@pytest.mark.parametrize("subset", [("svhn",), ("mnist", "text"), ("mnist", "svhn", "text")])
def test_samples_given_any_subset(subset, model, given):
    """One example gives `count` samples, three give three times as many with an axis of their own."""
    single = model.sample(4, given={name: given[name][0] for name in subset})
    several = model.sample(4, given={name: given[name] for name in subset})
    assert {name: values.shape for name, values in single.items()} == {name: (4, *shape) for name, shape in SHAPES.items()}
    assert {name: values.shape for name, values in several.items()} == {name: (3, 4, *shape) for name, shape in SHAPES.items()}
    check_values(single)
    check_values(several)


def test_the_seed_decides_and_torchs_own_generator_does_not(model, given):
    """The same seed gives the same samples, another gives others, and the global generator is not moved."""
    state = torch.random.get_rng_state()
    for x in (None, {"svhn": given["svhn"]}):
        first = model.sample(3, given=x, seed=1)
        torch.rand(1)
        assert equal(first, model.sample(3, given=x, seed=1))
        assert not equal(first, model.sample(3, given=x, seed=2))
        torch.random.set_rng_state(state)
    model.sample(3)
    assert torch.equal(state, torch.random.get_rng_state())


def test_samples_given_examples_are_those_of_the_models_own_generation(model, given):
    """`sample(1)` is what `generate_given` makes of the same draws, with images cut to [0, 1] and text at its likeliest characters."""
    samples = model.sample(1, given={"mnist": given["mnist"], "text": given["text"]}, seed=4)
    chance = inference.generator(CPU, 4, "sample")
    generated = model.generate_given({"mnist": given["mnist"], "text": given["text"]}, chance)
    assert np.array_equal(samples["svhn"][:, 0], generated["svhn"].clamp(0, 1).numpy())
    alphabet = np.array(list(model.modalities[2].alphabet))
    assert samples["text"][:, 0].tolist() == ["".join(row) for row in alphabet[generated["text"].argmax(-1).numpy()]]


def test_whatever_form_an_example_has_it_is_the_same_example(model, given, dataset):
    """Tensors with a gradient, arrays, bytes and strings give the samples of the tensors that the networks see."""
    expected = model.sample(2, given=given)
    split = dataset.test
    rows = [0, 9_000, 19_000]
    codes = split.items["text"][split.rows["text"][rows]]
    texts = ["".join(dataset.modalities[2].alphabet[code] for code in row) for row in codes.tolist()]
    raw = {name: split.items[name][split.rows[name][rows]].numpy() for name in ("mnist", "svhn")}
    forms = [
        {name: values.clone().requires_grad_() for name, values in given.items()},
        {name: values.numpy() for name, values in given.items()},
        {**raw, "text": texts},
        {**raw, "text": np.array(texts)},
    ]
    assert raw["svhn"].dtype == np.uint8
    assert all(equal(expected, model.sample(2, given=form)) for form in forms)


def test_masks_are_given_as_truth_values_or_as_0_and_255(model, given):
    """Both are the same as floats of 0 and 1. Black images may be given as bytes."""
    mask = given["mnist"] > 0.5
    expected = model.sample(2, given={"mnist": mask.float()})
    for form in (mask, mask.numpy(), mask.byte() * 255):
        assert equal(expected, model.sample(2, given={"mnist": form}))
    black = torch.zeros_like(mask)
    assert equal(model.sample(2, given={"mnist": black.byte()}), model.sample(2, given={"mnist": black.float()}))


def test_samples_can_be_given_again(model):
    """What was sampled is what can be given: its shapes and values are accepted."""
    samples = model.sample(3)
    assert model.sample(2, given=samples)["mnist"].shape == (3, 2, 1, 28, 28)


def test_samples_that_pass_in_several_parts_have_the_same_shapes(model, given, monkeypatch):
    """With two at a time through the networks, counts and shapes stay as they are, and every value is finite."""
    monkeypatch.setattr(inference, "AT_ONCE", 2)
    assert model.sample(5)["svhn"].shape == (5, 3, 32, 32)
    samples = model.sample(5, given={"svhn": given["svhn"]})
    assert samples["mnist"].shape == (3, 5, 1, 28, 28)
    assert np.isfinite(samples["mnist"]).all()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda x: {}, ("mnist", "svhn", "text")),
        (lambda x: {"mnits": x["mnist"]}, ("'mnits'", "'mnist'", "svhn", "text")),
        (lambda x: {"svhn": x["mnist"]}, ("'svhn'", "(3, 1, 28, 28)", "(3, 32, 32)")),
        (lambda x: {"svhn": x["svhn"][:0]}, ("'svhn'", "(0, 3, 32, 32)")),
        (lambda x: {"svhn": x["svhn"] * 255}, ("'svhn'", "[0, 1]", "uint8")),
        (lambda x: {"mnist": (x["mnist"] > 0.5).byte()}, ("'mnist'", "uint8", 255, 1, "x.astype(bool)")),
        (lambda x: {"svhn": torch.full_like(x["svhn"], 15).byte().numpy()}, ("'svhn'", "uint8", 255, 15, "[0, 1]")),
        (lambda x: {"svhn": x["svhn"] * torch.nan}, ("'svhn'", "finite")),
        (lambda x: {"svhn": "three"}, ("'svhn'", "str")),
        (lambda x: {"svhn": None}, ("'svhn'", "NoneType")),
        (lambda x: {"svhn": [[1, 2], [3]]}, ("'svhn'", "list")),
        (lambda x: {"text": "Three"}, ("'text'", "'Three'", "'T'")),
        (lambda x: {"text": "seventeen"}, ("'text'", "'seventeen'", 9, 8)),
        (lambda x: {"text": [["one"], ["two"]]}, ("'text'", "(2, 1)")),
        (lambda x: {"text": 3}, ("'text'", "3")),
        (lambda x: {"mnist": x["mnist"], "svhn": x["svhn"][0]}, ("mnist", 3, "svhn")),
        (lambda x: {"mnist": x["mnist"], "svhn": x["svhn"][:2]}, ("mnist", 3, "svhn", 2)),
    ],
)
def test_what_cannot_be_given_is_named(change, named, model, given):
    """In one line, with the modality and what it needs."""
    with pytest.raises(ValueError, check=naming(*named)):
        model.sample(2, given=change(given))


@pytest.mark.parametrize("count", [0, -1, 2.5, "8"])
def test_a_count_is_a_whole_number_from_one_on(count, model):
    """Anything else is named."""
    with pytest.raises(ValueError, check=naming("count", repr(count))):
        model.sample(count)


def test_short_texts_are_filled_up_as_the_dataset_fills_them():
    """With spaces, and CelebA's with stars: the codes are those of the whole string."""
    for text in (Modality("t", "text", (8, 27), alphabet=" abcdefghijklmnopqrstuvwxyz"), CELEBA[1]):
        filling = "*" if text is CELEBA[1] else " "
        short, whole = (given_examples(text, value)[0] for value in ("one", "one".ljust(text.shape[0], filling)))
        assert torch.equal(short, whole)
        assert plain(text, short).tolist() == ["one".ljust(text.shape[0], filling)]


def test_latents_are_a_row_for_each_test_example(model, dataset):
    """Labels are the split's, numbers the posterior means of the shared latent, and a subset gives other means than all."""
    test = dataset.test.take(700, 0)
    table = model.latents(test)
    assert table.columns.tolist() == ["label", *(f"z{d}" for d in range(model.config.latent_dim))]
    assert (table.index.name, len(table)) == ("example", 700)
    assert table["label"].tolist() == test.labels.tolist()
    pd.testing.assert_frame_equal(table, model.latents(test))
    assert not table.equals(model.latents(test, given=["svhn"]))


def test_latents_given_a_modality_are_its_encoders_means(dataset, model):
    """Of one modality the posterior is that of its encoder, for both models."""
    test = dataset.test.take(5, 0)
    mu, _ = model.encoders["svhn"](test.batch(torch.arange(5))["svhn"])
    expected = mu[:, : model.config.latent_dim].detach().numpy()
    table = model.latents(test, given=["svhn"]).drop(columns="label").to_numpy()
    assert np.allclose(table, expected, atol=1e-5)


def test_latents_given_what_there_is_not_are_refused(model, dataset):
    """The modality is named."""
    with pytest.raises(ValueError, check=naming("'mnits'", "'mnist'")):
        model.latents(dataset.test.take(2, 0), given=["mnits"])


def test_attributes_are_columns(tmp_path):
    """Where labels are attributes, the table of latents has a column for each, by its name."""
    config = TrainingConfig.model_validate(
        {"dataset": "celeba", "networks": "small", "model": "mopoe", "latent_dim": 3, "private_dim": 0}
    )
    model = TrainedModel(config, CELEBA).eval()
    split = small_celeba(len(config.attributes))
    table = model.latents(split, given=["text"])
    assert table.columns.tolist() == [*config.attributes, "z0", "z1", "z2"]
    assert np.array_equal(table[list(config.attributes)].to_numpy(), split.labels.numpy())


def small_celeba(attributes):
    """A split of four faces that are noise, with texts of one character, and attributes."""
    chance, rows = torch.Generator().manual_seed(0), torch.arange(4)
    labels = torch.randint(0, 2, (4, attributes), generator=chance, dtype=torch.uint8)
    items = {
        "image": torch.randint(0, 256, (4, *CELEBA[0].shape), generator=chance, dtype=torch.uint8),
        "text": torch.zeros(4, CELEBA[1].shape[0], dtype=torch.uint8),
    }
    names = ("image", "text")
    return Split(CELEBA, items, dict.fromkeys(names, labels), dict.fromkeys(names, rows), labels)


def test_vectors_are_given_and_sampled_as_they_are(store):
    """A dataset of the user's own with two vectors: float samples of any size, in the modality's shape."""
    user_data.forget()
    model = mopoe_core.load(store.home / "runs", sweep="own", seed=0)
    samples = model.sample(4, given={"a": [100.0, -3, 0]})
    assert {name: values.shape for name, values in samples.items()} == {"a": (4, 3), "b": (4, 3)}
    assert np.isfinite(samples["b"]).all()
    with pytest.raises(ValueError, check=naming("'b'", "(2,)", "(3,)")):
        model.sample(4, given={"b": [1.0, 2.0]})
