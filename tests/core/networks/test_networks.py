"""Network sizes against the protocol's tables and counts by hand, shapes, what an output depends on, and the range of log-variances."""

from copy import deepcopy
from dataclasses import replace
from math import prod

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.celeba import celeba
from mopoe_core.data.mnist_svhn_text import mnist_svhn_text
from mopoe_core.data.polymnist import polymnist
from mopoe_core.data.types import Modality
from mopoe_core.metrics.classifier_networks import classifier
from mopoe_core.models.model import MultimodalVAE
from mopoe_core.networks.networks import (
    LOGVAR_LIMIT,
    PAPER,
    Centre,
    FromOneConvTranspose1d,
    FromOneConvTranspose2d,
    WholeConv1d,
    WholeConv2d,
    networks,
    parameter_count,
    safe_logvar,
    small_width,
)

POLYMNIST = polymnist.modalities(5)
PUBLISHED = {m.architecture: m for m in (*mnist_svhn_text.MODALITIES, *POLYMNIST, *celeba.MODALITIES)}
LATENTS = {"mnist": 20, "svhn": 20, "digit_word": 20, "polymnist": 512, "celeba_image": 64, "celeba_text": 64}
TABLE = {
    "mnist": (330_040, 322_784, 165_866),
    "svhn": (236_360, 233_763, 233_066),
    "digit_word": (145_704, 143_175, 459_850),
    "polymnist": (1_667_648, 1_143_747, 130_568),
}
CELEBA = {
    "celeba_image": (21_559_040, 21_912_323, 21_502_632),
    "celeba_text": (13_250_816, 13_604_039, 16_261_544),
}
WIDTHS = {
    "mnist": (400, 400),
    "svhn": (128, 128),
    "digit_word": (128, 128),
    "polymnist": (512, 2048),
    "celeba_image": (640, 640),
    "celeba_text": (640, 640),
}
"""Of the vector that the heads read, and of the decoder's first layer."""
OTHERS = (
    Modality("picture", "image", (2, 5, 6)),
    Modality("text", "text", (9, 4)),
    Modality("vector", "vector", (7,), likelihood="normal"),
    Modality("number", "vector", (1,), likelihood="normal"),
)


def without_storage(architecture, latent, classes=10):
    """Encoder, decoder and classifier of a published architecture, none of whose weights is allocated."""
    modality = PUBLISHED[architecture]
    with torch.device("meta"):
        return *networks(modality, "paper", latent), classifier(modality, classes)


def conv(inputs, outputs, kernel, bias=True):
    """Weights of a convolution, transposed or not, with so many places in its kernel; with one, of a linear layer."""
    return inputs * outputs * kernel + (outputs if bias else 0)


def block(inputs, outputs, kernel, bias):
    """Weights of a residual block: in the branch two batch norms and two convolutions, in the shortcut a convolution and a norm."""
    branch = 2 * 2 * inputs + conv(inputs, inputs, 1, bias) + conv(inputs, outputs, kernel, bias)
    return branch + conv(inputs, outputs, kernel) + 2 * outputs


def path(widths, kernel, bias):
    """Weights of residual blocks in a row."""
    return sum(block(i, o, kernel, bias) for i, o in zip(widths, widths[1:], strict=False))


@pytest.mark.parametrize("architecture", TABLE)
def test_parameter_counts_are_those_of_the_protocol(architecture):
    """Encoder, decoder and classifier have exactly the published number of parameters."""
    assert tuple(map(parameter_count, without_storage(architecture, LATENTS[architecture]))) == TABLE[architecture]


@pytest.mark.parametrize("architecture", CELEBA)
def test_each_of_celebas_networks_has_its_published_count(architecture):
    """Encoder, decoder and the classifier of forty attributes each have the protocol's number of parameters."""
    assert tuple(map(parameter_count, without_storage(architecture, 64, classes=40))) == CELEBA[architecture]


def test_celebas_networks_have_the_parameters_of_their_layers():
    """All six networks have the sum over the layers of the protocol's table, written out, with the image's first convolution bare."""
    up, down, longer = [128, 256, 384, 512, 640], [640, 512, 384, 256, 128], [128, 256, 384, 512, 640, 640, 640]
    wider = [128, 256, 384, 512, 640, 768, 896]
    image = conv(3, 128, 9, bias=False) + path(up, 16, bias=False)
    text = conv(71, 128, 4) + path(longer, 4, bias=True)
    expected = {
        "celeba_image": (
            image + 4 * conv(640, 32, 1),
            conv(64, 640, 1) + path(down, 16, bias=False) + conv(128, 3, 9),
            image + conv(640, 40, 1),
        ),
        "celeba_text": (
            text + 4 * conv(640, 32, 1),
            conv(64, 640, 1) + path([640, 640, *down], 4, bias=True) + conv(128, 71, 4),
            conv(71, 128, 3) + path(wider, 4, bias=True) + conv(896, 40, 1),
        ),
    }
    for architecture, counts in expected.items():
        assert tuple(map(parameter_count, without_storage(architecture, 64, classes=40))) == counts == CELEBA[architecture]


@pytest.mark.parametrize(
    ("dataset", "modalities", "total"),
    [
        ("mnist_svhn_text", mnist_svhn_text.MODALITIES, 1_411_826),
        ("polymnist", POLYMNIST, 14_056_975),
        ("celeba", celeba.MODALITIES, 70_326_218),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_whole_model_has_the_published_number_of_parameters(dataset, modalities, total):
    """With the latents that the paper gives a dataset, encoders and decoders add up to the protocol's figure."""
    with torch.device("meta"):
        assert parameter_count(MultimodalVAE(TrainingConfig(dataset=dataset, model="mopoe"), modalities)) == total


@pytest.mark.parametrize("architecture", PAPER)
def test_private_dimensions_widen_the_heads_and_the_decoders_input(architecture):
    """P private dimensions add 2 P (features + 1) weights to the encoder and P widths to the decoder, and no weight elsewhere."""
    features, width = WIDTHS[architecture]
    modality, private = PUBLISHED[architecture], 3
    with torch.device("meta"):
        models = [
            MultimodalVAE(TrainingConfig(dataset="mnist_svhn_text", model="mopoe", private_dim=p), (modality,))
            for p in (0, private)
        ]
    before, after = (
        {"encoder": parameter_count(model.encoders[modality.name]), "decoder": parameter_count(model.decoders[modality.name])}
        for model in models
    )
    assert after["encoder"] - before["encoder"] == 2 * private * (features + 1)
    assert after["decoder"] - before["decoder"] == private * width


@pytest.mark.parametrize("modality", OTHERS, ids=lambda modality: modality.name)
def test_small_networks_have_one_hidden_layer(modality):
    """Their parameters are those of n-h, two heads h-D, and D-h-n, with h the stated width."""
    n, h, D = prod(modality.shape), small_width(prod(modality.shape)), 5
    encoder, decoder = networks(modality, "small", D)
    assert parameter_count(encoder) == n * h + h + 2 * (h * D + D)
    assert parameter_count(decoder) == D * h + h + h * n + n


@pytest.mark.parametrize("kind", ["paper", "small"])
@pytest.mark.parametrize("architecture", PAPER)
def test_networks_map_a_modality_to_a_latent_and_back(architecture, kind):
    """Encoders give (B, D) twice, decoders the modality's shape."""
    modality = PUBLISHED[architecture]
    with torch.device("meta"):
        encoder, decoder = networks(modality, kind, 7)
        mu, logvar = encoder(torch.zeros(2, *modality.shape))
        assert mu.shape == logvar.shape == (2, 7)
        assert decoder(mu).shape == (2, *modality.shape)


@pytest.mark.parametrize("modality", OTHERS, ids=lambda modality: modality.name)
def test_small_networks_fit_any_shape(modality):
    """So do those that are derived from a shape."""
    encoder, decoder = networks(modality, "small", 6)
    mu, logvar = encoder(torch.zeros(3, *modality.shape))
    assert mu.shape == logvar.shape == (3, 6)
    assert decoder(mu).shape == (3, *modality.shape)


@pytest.mark.parametrize("judge", ["", "small"])
@pytest.mark.parametrize("architecture", PAPER)
def test_classifiers_map_a_modality_to_logits(architecture, judge):
    """The published classifiers and the small ones give a logit for each class."""
    modality = PUBLISHED[architecture]
    modality = replace(modality, judge=f"small_{modality.kind}") if judge else modality
    with torch.device("meta"):
        assert classifier(modality, 13)(torch.zeros(2, *modality.shape)).shape == (2, 13)


@pytest.mark.parametrize("modality", OTHERS, ids=lambda modality: modality.name)
def test_small_classifiers_fit_any_shape(modality):
    """So do those of a user's own modalities."""
    assert classifier(modality, 4)(torch.zeros(2, *modality.shape)).shape == (2, 4)


@pytest.fixture(scope="module")
def trained_a_little():
    """CelebA's networks with the running means and variances of one batch, in evaluation mode, by architecture."""
    made = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for architecture in CELEBA:
            encoder, decoder = networks(PUBLISHED[architecture], "paper", 8)
            for part in (encoder.train(), decoder.train()):
                part(example(architecture, 4) if part is encoder else torch.randn(4, 8))
            made[architecture] = encoder.eval(), decoder.eval()
    return made


def example(architecture, batch, seed=0):
    """Random pictures in [0, 1], or random characters."""
    shape, chance = PUBLISHED[architecture].shape, torch.Generator().manual_seed(seed)
    if PUBLISHED[architecture].kind == "image":
        return torch.rand(batch, *shape, generator=chance)
    return F.one_hot(torch.randint(shape[1], (batch, shape[0]), generator=chance), shape[1]).float()


LAYERS = {
    "celeba_image encoder": [(F.conv2d, 2, 2), *[("block", F.conv2d, 2, 1)] * 3, ("block", F.conv2d, 2, 0)],
    "celeba_image decoder": [
        ("block", F.conv_transpose2d, 1, 0),
        *[("block", F.conv_transpose2d, 2, 1)] * 3,
        (F.conv_transpose2d, 2, 1),
    ],
    "celeba_text encoder": [(F.conv1d, 2, 1), *[("block", F.conv1d, 2, 1)] * 5, ("block", F.conv1d, 2, 0)],
    "celeba_text decoder": [
        ("block", F.conv_transpose1d, 1, 0),
        *[("block", F.conv_transpose1d, 2, 1)] * 5,
        (F.conv_transpose1d, 2, 1),
    ],
}
"""The protocol's lists without their linear layers: a convolution with its stride and padding, or a block around one."""


def by_the_list(layers, network, h):
    """The network's weights, in the order in which they are registered, at work in the layers of a list, in evaluation."""
    convolutions = iter_of(network, (nn.modules.conv._ConvNd,))
    norms = iter_of(network, (nn.BatchNorm1d, nn.BatchNorm2d))

    def convolved(x, function, stride, padding):
        layer = next(convolutions)
        more = {"output_padding": 1} if layer.kernel_size == (3, 3) and function is F.conv_transpose2d else {}
        return function(x, layer.weight, layer.bias, stride=stride, padding=padding, **more)

    for kind, *settings in layers:
        if kind != "block":
            h = convolved(h, kind, *settings)
            continue
        function, stride, padding = settings
        branch = convolved(F.relu(normed(h, next(norms))), getattr(F, f"conv{h.ndim - 2}d"), 1, 0)
        branch = convolved(F.relu(normed(branch, next(norms))), function, stride, padding)
        h = 2.0 * normed(convolved(h, function, stride, padding), next(norms)) + 0.3 * branch
    return h


@pytest.mark.parametrize("architecture", CELEBA)
@torch.no_grad()
def test_celebas_networks_are_the_layers_of_the_protocol(architecture, trained_a_little):
    """Encoder, decoder and classifier equal their lists of layers, written with functions that are given the same weights."""
    encoder, decoder = trained_a_little[architecture]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = classifier(PUBLISHED[architecture], 40)
        network(example(architecture, 4))
    network.eval()
    x, is_text = example(architecture, 3, seed=2), PUBLISHED[architecture].kind == "text"
    seen = x.transpose(1, 2) if is_text else x
    features = by_the_list(LAYERS[f"{architecture} encoder"], encoder, seen).flatten(1)
    mu, logvar = encoder(x)
    close = {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(mu, F.linear(features, encoder.mu.weight, encoder.mu.bias), **close)
    torch.testing.assert_close(logvar, safe_logvar(F.linear(features, encoder.logvar.weight, encoder.logvar.bias)), **close)
    judged = by_the_list(LAYERS[f"{architecture} encoder"], network, seen).flatten(1)
    (last,) = iter_of(network, nn.Linear)
    torch.testing.assert_close(network(x), F.linear(judged, last.weight, last.bias), **close)
    z = torch.randn(3, 8, generator=torch.Generator().manual_seed(3))
    (first,) = iter_of(decoder, nn.Linear)
    wide = F.linear(z, first.weight, first.bias)[(..., *[None] * (seen.ndim - 2))]
    decoded = by_the_list(LAYERS[f"{architecture} decoder"], decoder, wide)
    torch.testing.assert_close(decoder(z), decoded.transpose(1, 2) if is_text else decoded, **close)


@pytest.mark.parametrize("architecture", CELEBA)
@torch.no_grad()
def test_dropout_is_live_in_training_and_off_in_evaluation(architecture, trained_a_little):
    """In evaluation a residual network repeats itself to the bit, whatever the global generator did; in training it does not."""
    encoder, decoder = trained_a_little[architecture]
    for network, x in ((encoder.trunk, example(architecture, 2)), (decoder, torch.ones(2, 8))):
        first, _ = network(x), torch.rand(5)
        assert torch.equal(first, network(x))
        live = deepcopy(network).train()
        assert not torch.equal(live(x), live(x))


@pytest.mark.parametrize("architecture", CELEBA)
@torch.no_grad()
def test_an_examples_posterior_does_not_depend_on_its_batch(architecture, trained_a_little):
    """In evaluation an example is encoded among others as it is alone: batch norm uses what it has kept."""
    encoder, _ = trained_a_little[architecture]
    x = example(architecture, 3)
    together = encoder(x)
    for i in range(3):
        for head, own in zip(together, encoder(x[i : i + 1]), strict=True):
            torch.testing.assert_close(head[i : i + 1], own, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", CELEBA)
def test_every_pixel_and_every_character_reaches_the_posterior(architecture, trained_a_little):
    """No stride or padding leaves a pixel, or a place in the text, out of sight."""
    x = example(architecture, 1).requires_grad_()
    mu, logvar = trained_a_little[architecture][0](x)
    (gradient,) = torch.autograd.grad((mu + logvar).sum(), x)
    seen = gradient[0].abs().sum(0) if PUBLISHED[architecture].kind == "image" else gradient[0].abs().sum(-1)
    assert (seen > 0).all()


@torch.no_grad()
def test_every_place_of_a_decoded_text_depends_on_the_latent(trained_a_little):
    """Two latents give other logits at each of the 256 characters, each with its own distribution over the 71 symbols."""
    _, decoder = trained_a_little["celeba_text"]
    one, other = decoder(torch.stack([torch.zeros(8), torch.full((8,), 2.0)]))
    assert one.shape == (256, 71)
    assert ((one - other).abs().amax(-1) > 1e-6).all()


@torch.no_grad()
def test_the_digit_words_classifier_is_its_layers():
    """The residual text classifier equals its formula written with functions: out = shortcut + 0.3 branch, twice, then a linear layer."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = classifier(PUBLISHED["digit_word"], 10)
        for _ in range(3):
            network(example("digit_word", 16))
    network.eval()
    norms, convolutions = iter_of(network, nn.BatchNorm1d), iter_of(network, nn.Conv1d)
    (linear,) = iter_of(network, nn.Linear)
    x = example("digit_word", 5, seed=1)
    h = applied(x.transpose(1, 2), next(convolutions), 1, 0)
    for padding in (1, 0):
        b = applied(F.relu(normed(h, next(norms))), next(convolutions), 1, 0)
        b = applied(F.relu(normed(b, next(norms))), next(convolutions), 2, padding)
        h = normed(applied(h, next(convolutions), 2, padding), next(norms)) + 0.3 * b
    assert h.shape == (5, 128, 1)
    torch.testing.assert_close(network(x), h[..., 0] @ linear.weight.T + linear.bias, rtol=1e-4, atol=1e-5)


def iter_of(network, kind):
    """The layers of a kind, in the order in which they are registered: a block's branch, then its shortcut."""
    return iter([layer for layer in network.modules() if isinstance(layer, kind)])


def applied(x, layer, stride, padding):
    """A convolution's weights at work with a stride and a padding that the test knows, not the layer's."""
    return F.conv1d(x, layer.weight, layer.bias, stride, padding)


def normed(x, layer):
    """Batch norm with the statistics that were kept."""
    scale, mean, bias = (
        values.reshape(-1, *[1] * (x.ndim - 2))
        for values in (layer.weight / torch.sqrt(layer.running_var + 1e-5), layer.running_mean, layer.bias)
    )
    return (x - mean) * scale + bias


def test_small_widths_grow_with_the_root_of_the_size():
    """MNIST, SVHN and text get 64, 128 and 64 hidden units; tiny and huge modalities stay within 32 and 256."""
    assert [small_width(m.elements) for m in mnist_svhn_text.MODALITIES] == [64, 128, 64]
    assert (small_width(4), small_width(10**6)) == (32, 256)


def test_only_images_are_centred():
    """A small network sees a picture's grey as zero, and a vector's numbers as they are."""
    for modality, middle in ((OTHERS[0], 0.5), (OTHERS[2], 0.0)):
        encoder, _ = networks(modality, "small", 3)
        first = next(layer for layer in encoder.trunk if isinstance(layer, nn.Linear))
        at_the_middle = encoder.trunk(torch.full((1, *modality.shape), middle))
        torch.testing.assert_close(at_the_middle[0], F.relu(first.bias))


def test_log_variances_stay_in_range_and_keep_a_gradient():
    """Any raw value lands within the documented bound, moves little near zero, and has a gradient at 20."""
    raw = torch.tensor([-1e4, -40.0, -2.0, 0.0, 2.0, 40.0, 1e4], requires_grad=True)
    bent = safe_logvar(raw)
    assert bent.abs().max() <= LOGVAR_LIMIT + 1e-5
    torch.testing.assert_close(bent[2:5], raw[2:5], rtol=0, atol=1e-4)
    near = torch.tensor([-20.0, 20.0], requires_grad=True)
    safe_logvar(near).sum().backward()
    assert (near.grad > 1e-4).all()


@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 2e-6), (torch.float64, 1e-11)])
def test_log_variances_are_bent_by_two_softpluses(dtype, near):
    """They are 12 - softplus(24 - softplus(raw + 12)), computed here in float64, and so is their gradient, to a part in 10^5."""
    raw = torch.linspace(-30, 30, 2001, dtype=dtype, requires_grad=True)
    precise = raw.detach().double().requires_grad_()
    plain = LOGVAR_LIMIT - softplus(2 * LOGVAR_LIMIT - softplus(precise + LOGVAR_LIMIT))
    bent = safe_logvar(raw)
    torch.testing.assert_close(bent.double(), plain, rtol=0, atol=near)
    for output in (bent, plain):
        output.sum().backward()
    torch.testing.assert_close(raw.grad.double(), precise.grad, rtol=1e-5, atol=1e-16)
    assert torch.autograd.gradcheck(safe_logvar, precise)


def softplus(x):
    """log(1 + exp(x)) without torch's switch to x at 20."""
    return torch.logaddexp(x, torch.zeros_like(x))


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), float("nan")])
def test_log_variances_of_no_numbers(value):
    """Infinities land on the limits with no slope, and what is not a number stays so: a loss that diverges is seen."""
    raw = torch.tensor([value], requires_grad=True)
    bent = safe_logvar(raw)
    torch.testing.assert_close(bent, raw.detach().clamp(-LOGVAR_LIMIT, LOGVAR_LIMIT), equal_nan=True)
    bent.sum().backward()
    torch.testing.assert_close(raw.grad, torch.tensor([value]) * 0 if value != value else torch.zeros(1), equal_nan=True)


def test_centring_is_twice_a_picture_less_one():
    """To the bit, and within [-1, 1]."""
    x = torch.rand(3, 2, 4, 4)
    assert torch.equal(Centre()(x), 2 * x - 1)


@pytest.mark.parametrize("architecture", ["svhn", "polymnist"])
def test_channels_last_is_an_order_of_memory_alone(architecture):
    """The published convolutions have the weights that plain layers draw, and give the output of the same weights channels first."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parts = networks(PUBLISHED[architecture], "paper", 8)
        torch.manual_seed(0)
        first = nn.Conv2d(*((3, 32, 4) if architecture == "svhn" else (3, 32, 3)))
    encoder, decoder = parts
    assert torch.equal(next(layer for layer in encoder.modules() if isinstance(layer, nn.Conv2d)).weight, first.weight)
    for network, x in ((encoder.trunk, example(architecture, 4)), (decoder, torch.randn(4, 8))):
        kernels = [p for p in network.parameters() if p.ndim == 4]
        assert all(p.is_contiguous(memory_format=torch.channels_last) for p in kernels)
        out = network(x)
        for parameter in kernels:
            parameter.data = parameter.data.contiguous()
        torch.testing.assert_close(network(x), out, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("whole", "plain", "settings", "size"),
    [
        (WholeConv1d, nn.Conv1d, (6, 5, 4, 2, 0), (4,)),
        (WholeConv2d, nn.Conv2d, (6, 5, 4, 2, 0), (4, 4)),
        (FromOneConvTranspose1d, nn.ConvTranspose1d, (6, 5, 4, 1, 0), (1,)),
        (FromOneConvTranspose2d, nn.ConvTranspose2d, (6, 5, 4, 1, 0), (1, 1)),
    ],
)
def test_a_convolution_done_as_one_product_is_that_convolution(whole, plain, settings, size):
    """The same parameters, drawn alike, give the same output and gradients in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ours = whole(*settings).double()
        torch.manual_seed(0)
        theirs = plain(*settings).double()
    x = torch.randn(7, 6, *size, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-12)
    found, wanted = (torch.autograd.grad(layer(x).sin().sum(), [x, *layer.parameters()]) for layer in (ours, theirs))
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)
