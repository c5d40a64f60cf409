"""How many trials to stack, measured."""

import pytest
import torch
from torch import nn

from mopoe_core.networks.networks import Encoder
from mopoe_core.training import throughput
from mopoe_core.training.throughput import Throughput, measure
from tests.core.training.test_stack import CPU, config, random_dataset
from tests.support.toys import TOYS


@pytest.fixture(scope="module")
def toys():
    """Three small modalities."""
    return random_dataset(TOYS[:3])


def test_it_tries_powers_of_two_up_to_what_is_asked(toys, monkeypatch):
    """With 5 trials to stack, 2 and 4 are measured, each by a positive gain, and the training data are left as they were."""
    monkeypatch.setattr(throughput, "ROUND_SECONDS", 0.01)
    found = measure(config(), 5, toys, CPU)
    assert set(found.gain) <= {2, 4}
    assert all(gain > 0 for gain in found.gain.values())
    assert found.limit in ("most", "slower")
    assert len(toys.train) == 500


def test_where_memory_ends_no_larger_size_is_tried(toys, monkeypatch):
    """A stack of four that does not fit leaves what was measured for two."""
    monkeypatch.setattr(throughput, "ROUND_SECONDS", 0.01)

    class Small(throughput.Stack):
        def __init__(self, runs):
            if len(runs) > 2:
                raise torch.OutOfMemoryError("no room")
            super().__init__(runs)

    monkeypatch.setattr(throughput, "Stack", Small)
    found = measure(config(), 16, toys, CPU)
    assert set(found.gain) == {2}
    assert found.limit == "memory"


def test_networks_that_do_not_stack_are_named(toys, monkeypatch):
    """A layer norm is the limit, and the size is one."""

    def with_norm(modality, kind, latent):
        trunk = nn.Sequential(nn.Flatten(), nn.Linear(modality.elements, 8), nn.LayerNorm(8))
        return Encoder(trunk, 8, latent), nn.Sequential(nn.Linear(latent, modality.elements), nn.Unflatten(1, modality.shape))

    monkeypatch.setattr("mopoe_core.models.model.networks", with_norm)
    found = measure(config(), 16, toys, CPU)
    assert (found.size, found.gain) == (1, {})
    assert "LayerNorm" in found.limit


@pytest.mark.parametrize(
    ("gain", "size"), [({}, 1), ({2: 1.2, 4: 1.9, 8: 1.8}, 4), ({2: 1.04, 4: 0.9}, 1), ({2: 0.7}, 1)], ids=str
)
def test_the_fastest_size_is_taken_if_it_is_worth_it(gain, size):
    """One in twenty is the least that a stack must gain."""
    assert Throughput(gain, 8, "most").size == size
