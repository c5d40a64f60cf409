"""A stack's convolutions as one batched product: the same numbers, and chosen only where it is clearly faster."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mopoe_core.networks import unfolding
from mopoe_core.networks.stacked_layers import StackedConvolution
from mopoe_core.networks.unfolding import CALLS, WORTH, Geometry, measured, unfolded

LAYERS = [
    (lambda: nn.Conv1d(4, 6, 3, 2, 1), (9,)),
    (lambda: nn.Conv1d(4, 6, 1), (5,)),
    (lambda: nn.Conv2d(4, 6, 4, 2, 1, bias=False), (8, 8)),
    (lambda: nn.Conv2d(4, 6, 3, dilation=2), (9, 7)),
    (lambda: nn.ConvTranspose1d(4, 3, 4, 2, 1), (5,)),
    (lambda: nn.ConvTranspose2d(4, 3, 3, 2, 1, 1), (5, 4)),
    (lambda: nn.ConvTranspose2d(4, 3, 4, 1, 0, bias=False), (1, 1)),
]


@pytest.mark.parametrize(("make", "size"), LAYERS)
def test_the_product_is_the_convolutions(make, size):
    """Outputs and all gradients of five trials are those of each layer alone, in float64."""
    layers = [make().double() for _ in range(5)]
    x = torch.randn(5, 3, 4, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    expected = torch.stack([layer(part) for layer, part in zip(layers, x, strict=True)])
    stacked = StackedConvolution(layers)
    weight, bias = stacked.parameter("weight"), stacked.parameter("bias")
    found = unfolded(x, weight, bias, stacked._geometry)
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-13)
    leaves = [p for layer in layers for p in layer.parameters()]
    wanted = torch.autograd.grad(expected.sin().sum(), [x, *leaves])
    gradients = torch.autograd.grad(found.sin().sum(), [x, *stacked.parameters()])
    assert torch.allclose(gradients[0], wanted[0], rtol=1e-10, atol=1e-12)
    together = torch.cat([g[t].flatten() for t in range(5) for g in gradients[1:]])
    assert torch.allclose(together, torch.cat([g.flatten() for g in wanted[1:]]), rtol=1e-10, atol=1e-12)


WINDOWS = [  # kernel, dilation, padding, stride, size
    ((4, 4), (1, 1), (1, 1), (2, 2), (8, 8)),
    ((3, 3), (1, 1), (2, 2), (2, 2), (9, 9)),
    ((1, 4), (1, 1), (0, 1), (1, 2), (1, 9)),
    ((1, 1), (1, 1), (0, 0), (1, 1), (5, 5)),
    ((3, 2), (2, 1), (1, 0), (1, 2), (7, 6)),
]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("kernel", "dilation", "padding", "stride", "size"), WINDOWS)
def test_patches_in_one_copy_are_torchs(kernel, dilation, padding, stride, size, layout, dtype):
    """To the bit and in the same type: both directions and their gradients, also of images that are a part of a larger tensor."""
    settings, rng = (kernel, dilation, padding, stride), torch.Generator().manual_seed(0)
    larger = torch.randn(4, 5, *size, generator=rng).to(dtype)
    x = larger.to(memory_format=layout)[1:].requires_grad_()
    columns = F.unfold(x, *settings).detach().requires_grad_()
    pairs = (
        (x, F.unfold(x, *settings), unfolding._Unfold.apply(x, *settings)),
        (columns, F.fold(columns, size, *settings), unfolding._Fold.apply(columns, size, *settings)),
    )
    for source, expected, found in pairs:
        assert found.dtype == dtype
        assert torch.equal(found, expected)
        upstream = torch.randn(found.shape, generator=rng).to(dtype)
        gradients = [torch.autograd.grad(out, source, upstream)[0] for out in (expected, found)]
        assert torch.equal(*gradients)


@pytest.mark.parametrize("geometry", [Geometry(False, (2, 2), (1, 1), (1, 1)), Geometry(True, (2, 2), (1, 1), (1, 1), (0, 0))])
def test_patches_are_not_made_image_by_image(geometry):
    """Torch's `im2col`, which on a GPU launches a kernel for each image, is in neither pass."""
    x, weight = torch.randn(2, 3, 4, 8, 8, requires_grad=True), torch.randn(2, 4, 4, 4, 4, requires_grad=True)
    with torch.profiler.profile() as profile:
        unfolded(x, weight, None, geometry).sum().backward()
    names = {event.key for event in profile.key_averages()}
    assert "aten::col2im" in names
    assert "aten::im2col" not in names


@pytest.mark.parametrize(("gain", "expected"), [(WORTH * 1.01, True), (WORTH * 0.99, False), (0.5, False)])
def test_the_product_is_taken_only_where_it_is_clearly_faster(gain, expected):
    """By a clock that says how many times as fast it is."""
    times = iter((1.0, gain))
    geometry = Geometry(False, (1,), (0,), (1,))
    assert measured(torch.zeros(1), torch.zeros(1), None, geometry, lambda *t: t[0], lambda *t: next(times)) == expected


def test_where_there_is_no_grouped_convolution_the_product_is_taken():
    """As where cuDNN finds no engine for so many groups. If memory runs out for it, the caller is told."""

    def failing(error: RuntimeError):
        def clock(convolution, *tensors):
            if convolution is grouped:
                raise error
            return 1.0

        return clock

    def grouped(x, weight, bias):
        return x

    tensors = torch.zeros(1), torch.zeros(1), None, Geometry(False, (1,), (0,), (1,)), grouped
    assert measured(*tensors, failing(RuntimeError("GET was unable to find an engine to execute this computation")))
    with pytest.raises(torch.OutOfMemoryError):
        measured(*tensors, failing(torch.OutOfMemoryError("no room")))


def test_a_shape_is_measured_once(monkeypatch):
    """And another shape for itself; what is asked for is remembered."""
    asked = []
    monkeypatch.setattr(unfolding, "_REMEMBERED", {})
    monkeypatch.setattr(unfolding, "measured", lambda x, *others: asked.append(x.shape) or len(asked) == 1)
    geometry = Geometry(False, (1,), (0,), (1,))
    small, large, weight = torch.zeros(2, 3, 4, 5), torch.zeros(2, 6, 4, 5), torch.zeros(2, 7, 4, 1)
    answers = [unfolding.is_faster(x, weight, None, geometry, lambda *t: t[0]) for x in (small, large, small, large)]
    assert answers == [True, False, True, False]
    assert len(asked) == 2


@pytest.mark.parametrize(("each", "calls"), [(0.001, CALLS + 1), (0.06, 4), (1.0, 2)])
def test_slow_ways_are_measured_by_few_calls(monkeypatch, each, calls):
    """After `SLOW` seconds no further call is made, but always one beside the one that warms up; the time is that of a call."""
    now, made = [0.0], []

    class Event:
        """An event on a GPU's clock."""

        def __init__(self, enable_timing: bool) -> None:
            self.at = 0.0

        def record(self) -> None:
            """Reads the clock."""
            self.at = now[0]

        def synchronize(self) -> None:
            """Nothing to wait for."""

        def elapsed_time(self, end: "Event") -> float:
            """Milliseconds."""
            return (end.at - self.at) * 1e3

    def convolution(x, weight, bias):
        made.append(now.__setitem__(0, now[0] + each))
        return x * weight

    monkeypatch.setattr(torch.cuda, "Event", Event)
    assert unfolding.seconds(convolution, torch.ones(2), torch.ones(2), None) == pytest.approx(each)
    assert len(made) == calls


def test_where_memory_is_short_the_product_is_not_taken():
    """Patches take as many times the memory as the kernel has taps."""

    def clock(*arguments):
        raise torch.OutOfMemoryError("no room")

    assert not measured(torch.zeros(1), torch.zeros(1), None, Geometry(False, (1,), (0,), (1,)), lambda *t: t[0], clock)
