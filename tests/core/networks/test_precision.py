"""The precision of the networks: what it changes, what it leaves alone, and where it is refused."""

import contextlib

import pytest
import torch

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.errors import PrecisionError
from mopoe_core.networks import precision
from mopoe_core.training.run import Run
from mopoe_core.training.stack import Stack
from tests.support.naming import naming
from tests.support.toys import TOYS, random_dataset

CPU, GPU = torch.device("cpu"), torch.device("cuda")
ROWS = torch.arange(32)


def run(policy: str, seed: int = 0) -> Run:
    """A small run on random data."""
    fields = {"dataset": "mnist_svhn_text", "networks": "small", "latent_dim": 4, "batch_size": 32, "train_examples": 500}
    return Run(
        TrainingConfig.model_validate({**fields, "model": "mopoe", "precision": policy}), seed, random_dataset(TOYS[:3]), CPU
    )


def products() -> list[str]:
    """How a GPU would round the factors of matrix products and convolutions."""
    return [torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision]


def test_bf16_rounds_the_networks_and_nothing_else():
    """The loss of the first step moves by less than 2 %, and not by nothing; it, the weights and Adam's state are float32."""
    rounded, exact = run("bf16"), run("fp32")
    terms, wanted = rounded.step(ROWS), exact.step(ROWS)
    assert terms.dtype == torch.float32
    assert 0 < float((terms / wanted - 1).abs()[0]) < 0.02
    assert {p.dtype for p in rounded.model.parameters()} == {torch.float32}
    assert {state["exp_avg"].dtype for state in rounded.optimiser.state.values()} == {torch.float32}


def test_posteriors_and_decoded_parameters_are_float32():
    """What follows from the networks is computed in float32: the KL, the likelihoods, the metrics."""
    model = run("bf16").model.eval()
    encoded = model.encode(run("bf16").split.batch(ROWS))
    assert encoded.shared.mu.dtype == encoded.shared.logvar.dtype == torch.float32
    assert all(model.decode(encoded.shared.mu[0], m).dtype == torch.float32 for m in model.modalities)


def test_a_stack_in_bf16_takes_the_steps_of_its_runs():
    """Losses of two stacked runs are those of each alone, to bfloat16's 1 %, for three steps."""
    alone, stacked = [run("bf16", seed) for seed in range(2)], Stack([run("bf16", seed) for seed in range(2)])
    for _ in range(3):
        wanted = torch.stack([one.step(ROWS) for one in alone])
        assert torch.allclose(stacked.step(ROWS.expand(2, -1)), wanted, rtol=0.01, atol=0.01)


def test_a_cpu_has_no_tf32():
    """A run that asks for it is refused in one line that names the field and what is allowed."""
    with pytest.raises(PrecisionError, check=naming("precision", "'tf32'", "fp32", "bf16")):
        run("tf32")


@pytest.mark.parametrize(("policy", "wanted"), [("fp32", "ieee"), ("tf32", "tf32")])
def test_a_gpu_rounds_as_the_policy_says_and_afterwards_as_before(policy, wanted):
    """Convolutions too, which torch rounds to TF32 when nobody asks; the setting is restored, also after an error."""
    before = products()
    inside = []
    with contextlib.suppress(KeyError), precision.in_forward(policy, GPU):
        inside = products()
        raise KeyError
    assert inside == [wanted] * 2
    assert products() == before
    with precision.in_backward(policy, CPU):
        assert products() == before
