"""Network sizes against the protocol's table, and the range of log-variances."""

import pytest
import torch

from mopoe_core.classifiers import classifier
from mopoe_core.config import TrainingConfig
from mopoe_core.data.mnist_svhn_text import MODALITIES
from mopoe_core.model import MultimodalVAE
from mopoe_core.networks import LOGVAR_LIMIT, networks, parameter_count, safe_logvar, small_width

TABLE = {"mnist": (330_040, 322_784, 165_866), "svhn": (236_360, 233_763, 233_066), "text": (145_704, 143_175, 459_850)}


@pytest.mark.parametrize("modality", MODALITIES, ids=lambda modality: modality.name)
def test_parameter_counts_are_those_of_the_protocol(modality):
    """Encoder, decoder and classifier of every modality have exactly the published number of parameters."""
    encoder, decoder = networks(modality, "paper", 20)
    counted = (parameter_count(encoder), parameter_count(decoder), parameter_count(classifier(modality, 10)))
    assert counted == TABLE[modality.name]


def test_the_whole_model_has_1411826_parameters():
    """The sum over the three encoders and decoders is the protocol's figure."""
    config = TrainingConfig(dataset="mnist_svhn_text", model="mopoe")
    assert parameter_count(MultimodalVAE(config, MODALITIES)) == 1_411_826


@pytest.mark.parametrize("kind", ["paper", "small"])
@pytest.mark.parametrize("modality", MODALITIES, ids=lambda modality: modality.name)
def test_networks_map_a_modality_to_a_latent_and_back(modality, kind):
    """Encoders give (B, D) twice, decoders give the modality's shape."""
    encoder, decoder = networks(modality, kind, 7)
    mu, logvar = encoder(torch.zeros(2, *modality.shape))
    assert mu.shape == logvar.shape == (2, 7)
    assert decoder(mu).shape == (2, *modality.shape)


def test_small_widths_grow_with_the_root_of_the_size():
    """MNIST, SVHN and text get 64, 128 and 64 hidden units; tiny and huge modalities stay within 32 and 256."""
    assert [small_width(m.elements) for m in MODALITIES] == [64, 128, 64]
    assert (small_width(4), small_width(10**6)) == (32, 256)


def test_log_variances_stay_in_range_and_keep_a_gradient():
    """Any raw value lands within the documented bound, moves little near zero, and has a gradient at 20."""
    raw = torch.tensor([-1e4, -40.0, -2.0, 0.0, 2.0, 40.0, 1e4], requires_grad=True)
    bent = safe_logvar(raw)
    assert bent.abs().max() <= LOGVAR_LIMIT + 1e-5
    torch.testing.assert_close(bent[2:5], raw[2:5], rtol=0, atol=1e-4)
    near = torch.tensor([-20.0, 20.0], requires_grad=True)
    safe_logvar(near).sum().backward()
    assert (near.grad > 1e-4).all()
