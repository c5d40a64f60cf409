"""Networks laid out for inference against the networks themselves."""

import pytest
import torch
from torch import nn

from mopoe_core.data.types import Modality
from mopoe_core.metrics import decoding
from mopoe_core.metrics.classifier_networks import RECIPES
from mopoe_core.metrics.decoding import with_fast_decoders
from mopoe_core.metrics.inference_layers import SubPixel, fast_network
from mopoe_core.models.model import MultimodalVAE
from tests.support.toys import config

CPU = torch.device("cpu")
KINDS = {
    "mnist": Modality("mnist", "image", (1, 28, 28), True, "mnist"),
    "svhn": Modality("svhn", "image", (3, 32, 32), False, "svhn"),
    "text": Modality("text", "text", (8, 71), architecture="digit_word"),
    "m0": Modality("m0", "image", (3, 28, 28), architecture="polymnist"),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "more"), [(4, 2, 1, 0), (3, 2, 1, 1), (3, 2, 0, 0), (5, 3, 2, 1), (2, 3, 1, 0)]
)
def test_a_sub_pixel_convolution_is_the_transposed_one(kernel, stride, padding, more, bias):
    """Whatever kernel, stride and padding, also of pictures that are not square."""
    layer = nn.ConvTranspose2d(5, 3, kernel, stride, padding, more, bias=bias).double()
    x = torch.randn(2, 5, 6, 4, dtype=torch.float64)
    assert SubPixel.suits(layer)
    torch.testing.assert_close(SubPixel(layer)(x), layer(x))


@pytest.mark.parametrize(
    "layer",
    [
        nn.ConvTranspose2d(4, 64, 4, 2, 1),
        nn.ConvTranspose2d(4, 3, 4, 1),
        nn.ConvTranspose2d(4, 3, (4, 2), 2),
        nn.ConvTranspose2d(4, 2, 4, 2, groups=2),
        nn.ConvTranspose2d(4, 3, 3, 2, dilation=2),
        nn.ConvTranspose2d(4, 3, 3, 2, 0, 1),
    ],
    ids=["many channels", "no stride", "not square", "groups", "dilation", "more than its padding"],
)
def test_other_layers_are_left_alone(layer):
    """What a sub-pixel convolution cannot do, or not faster, it does not take on."""
    assert not SubPixel.suits(layer)


@pytest.mark.parametrize("kind", KINDS)
def test_a_decoder_that_is_laid_out_decodes_the_same_and_the_models_own_stays_as_it_was(kind):
    """To rounding; and neither weights nor layers of the model itself change."""
    model = MultimodalVAE(config("mopoe", networks="paper", latent_dim=20), (KINDS[kind],)).eval()
    z, layers = torch.randn(9, 20), str(model)
    with torch.no_grad():
        before = model.decode(z, KINDS[kind])
        torch.testing.assert_close(with_fast_decoders(model, CPU).decode(z, KINDS[kind]), before, rtol=1e-5, atol=1e-6)
        assert torch.equal(model.decode(z, KINDS[kind]), before)
    assert str(model) == layers


def test_log_likelihoods_in_parts_of_samples_and_of_examples_are_those_of_one_call(monkeypatch):
    """Parts hold several samples of all examples, or some examples of one sample."""
    modality = KINDS["mnist"]
    model = MultimodalVAE(config("mopoe", networks="paper", latent_dim=20), (modality,)).eval()
    latents, x = torch.randn(7, 10, 20), torch.rand(10, 1, 28, 28)
    with torch.no_grad():
        expected = model.log_likelihood(latents, {"mnist": x}, modality)
        for at_once in (1, 3, 10, 25, 1000):
            monkeypatch.setattr(decoding, "CPU_AT_ONCE", at_once * modality.elements)
            torch.testing.assert_close(decoding.log_likelihood(model, latents, x, modality), expected)


JUDGED = {
    "mnist": KINDS["mnist"],
    "svhn": KINDS["svhn"],
    "digit_word": KINDS["text"],
    "polymnist": KINDS["m0"],
    "celeba_image": Modality("image", "image", (3, 64, 64)),
    "celeba_text": Modality("text", "text", (256, 71)),
    "small_image": Modality("picture", "image", (3, 20, 24)),
    "small_text": KINDS["text"],
    "small_vector": Modality("table", "vector", (5,)),
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_fast_classifier_says_the_same_and_the_given_one_stays_as_it_was(recipe):
    """To rounding in float64, after its running statistics have moved; so that no batch norm is the identity."""
    network = RECIPES[recipe].build(JUDGED[recipe], 10).double()
    x = torch.rand(6, *JUDGED[recipe].shape, dtype=torch.float64)
    for _ in range(3):
        network.train()(x)
    network.eval()
    layers = str(network)
    with torch.no_grad():
        before = network(x)
        torch.testing.assert_close(fast_network(network)(x), before)
        assert torch.equal(network(x), before)
    assert str(network) == layers
