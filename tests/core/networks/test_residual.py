"""Residual blocks: counted, measured and computed by hand."""

import pytest
import torch
from torch.nn import functional as F

from mopoe_core.networks.networks import parameter_count
from mopoe_core.networks.residual import Residual1d, Residual2d, ResidualTranspose1d, ResidualTranspose2d

BLOCKS = {
    "1d": (lambda: Residual1d(6, 10, 1), 1),
    "1d, last": (lambda: Residual1d(6, 10, 0), 1),
    "1d, digit word": (lambda: Residual1d(6, 10, 1, a=1.0), 1),
    "2d": (lambda: Residual2d(6, 10, 1), 2),
    "2d, last": (lambda: Residual2d(6, 10, 0), 2),
    "transpose 1d": (lambda: ResidualTranspose1d(6, 10, 2, 1), 1),
    "transpose 1d, first": (lambda: ResidualTranspose1d(6, 10, 1, 0), 1),
    "transpose 2d": (lambda: ResidualTranspose2d(6, 10, 2, 1), 2),
    "transpose 2d, first": (lambda: ResidualTranspose2d(6, 10, 1, 0), 2),
}
FUNCTIONS = {
    "1d": lambda x, w, b: F.conv1d(x, w, b, stride=2, padding=1),
    "1d, last": lambda x, w, b: F.conv1d(x, w, b, stride=2),
    "1d, digit word": lambda x, w, b: F.conv1d(x, w, b, stride=2, padding=1),
    "2d": lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=1),
    "2d, last": lambda x, w, b: F.conv2d(x, w, b, stride=2),
    "transpose 1d": lambda x, w, b: F.conv_transpose1d(x, w, b, stride=2, padding=1),
    "transpose 1d, first": lambda x, w, b: F.conv_transpose1d(x, w, b),
    "transpose 2d": lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, padding=1),
    "transpose 2d, first": lambda x, w, b: F.conv_transpose2d(x, w, b),
}
"""The convolution that changes the length, in branch and shortcut."""


def made(case, seed=0):
    """A block whose batch norms have weights and statistics of their own, and an input."""
    build, axes = BLOCKS[case]
    chance = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        block = build()
    for name, values in block.state_dict().items():
        if values.ndim == 1 and "num_batches" not in name:
            values.copy_(torch.rand(values.shape, generator=chance) + 0.5)
    return block, torch.randn(3, 6, *[4] * axes, generator=chance)


def normed(x, state, name):
    """Batch norm with kept statistics, as its formula has it."""
    mean, variance, weight, bias = (
        state[f"{name}.{part}"].reshape(1, -1, *[1] * (x.ndim - 2)) for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / torch.sqrt(variance + 1e-5) * weight + bias


def pointwise(x, state, name):
    """A convolution of width 1 is a matrix at every place."""
    out = torch.einsum("oi,bi...->bo...", state[f"{name}.weight"].flatten(1), x)
    bias = state.get(f"{name}.bias")
    return out if bias is None else out + bias.reshape(1, -1, *[1] * (x.ndim - 2))


def parts(case, block, x):
    """Shortcut and branch in evaluation mode, from the block's weights by the protocol's order of layers."""
    state, function = block.state_dict(), FUNCTIONS[case]

    def convolved(h, name):
        return function(h, state[f"{name}.weight"], state.get(f"{name}.bias"))

    shortcut = normed(convolved(x, "shortcut.0"), state, "shortcut.1")
    # norm, ReLU, k1, dropout, norm, ReLU, convolution, dropout
    h = pointwise(F.relu(normed(x, state, "branch.0")), state, "branch.2")
    return shortcut, convolved(F.relu(normed(h, state, "branch.4")), "branch.6")


@pytest.mark.parametrize("case", BLOCKS)
def test_only_the_branch_of_an_image_has_no_bias(case):
    """Sequences have a bias in every convolution; images have one in the shortcut and none in the branch."""
    found = {name for name in made(case)[0].state_dict() if name.endswith(("branch.2.bias", "branch.6.bias", "shortcut.0.bias"))}
    assert found == ({"branch.2.bias", "branch.6.bias", "shortcut.0.bias"} if "1d" in case else {"shortcut.0.bias"})


@pytest.mark.parametrize("case", BLOCKS)
@torch.no_grad()
def test_a_block_is_its_formula(case):
    """In evaluation, out = 2 shortcut + 0.3 branch (1 shortcut for the digit word), each computed layer by layer from the weights."""
    block, x = made(case)
    shortcut, branch = parts(case, block, x)
    weight = 1.0 if "digit word" in case else 2.0
    torch.testing.assert_close(block.eval()(x), weight * shortcut + 0.3 * branch, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("block", "count"),
    [
        # norm 2 x 128, k1 128 x 128 + 128, norm 2 x 128, k4 128 x 256 x 4 + 256; shortcut the same k4 and norm 2 x 256
        (Residual1d(128, 256, 1), 256 + 16_512 + 256 + 131_328 + 131_328 + 512),
        # norm 2 x 640, bare k1 640 x 640, norm 2 x 640, bare k4 x 4 640 x 512 x 16; shortcut the same with 512 biases, and norm 2 x 512
        (ResidualTranspose2d(640, 512, 1, 0), 1280 + 409_600 + 1280 + 5_242_880 + 5_243_392 + 1024),
        (Residual2d(128, 256, 1), 256 + 16_384 + 256 + 524_288 + 524_544 + 512),
        (ResidualTranspose1d(256, 128, 2, 1), 512 + 65_792 + 512 + 131_200 + 131_200 + 256),
    ],
    ids=["1d", "transpose 2d", "2d", "transpose 1d"],
)
def test_a_block_has_the_parameters_of_its_layers(block, count):
    """Its number of parameters is the sum over its layers, written out."""
    assert parameter_count(block) == count


@pytest.mark.parametrize(
    ("case", "sizes"),
    [
        ("1d", {4: 2, 5: 2, 128: 64}),
        ("1d, last", {4: 1, 6: 2}),
        ("2d", {33: 16, 16: 8, 8: 4}),
        ("2d, last", {4: 1}),
        ("transpose 1d", {4: 8, 64: 128}),
        ("transpose 1d, first", {1: 4}),
        ("transpose 2d", {4: 8, 16: 32}),
        ("transpose 2d, first", {1: 4}),
    ],
)
def test_blocks_halve_and_double(case, sizes):
    """Lengths change as the protocol's networks need it, the channels to those that are asked for."""
    build, axes = BLOCKS[case]
    block = build().eval()
    for before, after in sizes.items():
        assert block(torch.zeros(2, 6, *[before] * axes)).shape == (2, 10, *[after] * axes)


@pytest.mark.parametrize("case", BLOCKS)
@torch.no_grad()
def test_dropout_takes_half_of_the_branch_and_none_of_the_shortcut(case):
    """In training about half of the outputs are the weighted shortcut alone, normed over the batch, and the others are more than that."""
    block, _ = made(case)
    chance = torch.Generator().manual_seed(1)
    x = torch.randn(32, 6, *[12] * BLOCKS[case][1], generator=chance)
    state = block.state_dict()
    raw = FUNCTIONS[case](x, state["shortcut.0.weight"], state["shortcut.0.bias"])
    over = [axis for axis in range(raw.ndim) if axis != 1]
    centred = (raw - raw.mean(over, keepdim=True)) / torch.sqrt(raw.var(over, correction=0, keepdim=True) + 1e-5)
    scale, shift = (state[f"shortcut.1.{part}"].reshape(1, -1, *[1] * (raw.ndim - 2)) for part in ("weight", "bias"))
    weight = 1.0 if "digit word" in case else 2.0
    shortcut = weight * (centred * scale + shift)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        out = block.train()(x)
    dropped = (out - shortcut).abs() < 1e-5
    assert float(dropped.double().mean()) == pytest.approx(0.5, abs=0.06)
    assert float((out - shortcut)[~dropped].abs().mean()) > 0.01
    share_of_a_channel = dropped.flatten(2).double().mean(-1)
    whole = (share_of_a_channel < 0.05) | (share_of_a_channel == 1)  # a value that is kept may be next to nothing
    assert bool(whole.all()) == ("2d" in case)


@pytest.mark.parametrize("case", BLOCKS)
def test_an_evaluated_block_keeps_its_statistics(case):
    """Evaluation leaves the running means and variances as they were; training moves every one of them."""
    block, x = made(case)
    kept = {name: value.clone() for name, value in block.state_dict().items()}
    block.eval()(x)
    assert all(torch.equal(value, kept[name]) for name, value in block.state_dict().items())
    block.train()(x)
    moved = {name for name, value in block.state_dict().items() if not torch.equal(value, kept[name])}
    assert moved == {name for name in kept if "running" in name or "num_batches" in name}
