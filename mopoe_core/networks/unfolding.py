"""A stack's convolutions as one batched product, in place of one grouped convolution; which is faster depends on the shape and the GPU.

Both add up the same products, in another order. On a GPU the faster of them is measured once for each shape and remembered as long as the
process lives. The grouped convolution is left only where the product is clearly faster, so that a trial that goes on in another process,
where it is measured again, is not likely to find the other answer.

Shape suffixes: T stacked trial, B batch, I and O channels in and out, K taps of the kernel, L positions.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

WORTH = 1.2
"""How many times as fast a batched product has to be."""
CALLS = 5
"""Of each way, after one that warms up. The fastest counts."""

Convolution = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""From (T, B, I, *size), the weights and the bias to (T, B, O, *new size)."""


@dataclass(frozen=True)
class Geometry:
    """How a convolution without groups of its own moves over its input."""

    transposed: bool
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    output_padding: tuple[int, ...] = ()

    @classmethod
    def of(cls, transposed: bool, settings: Mapping[str, Any]) -> "Geometry":
        """From the settings of torch's own functions."""
        return cls(transposed, **settings)


def unfolded(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """The convolutions of T trials, (T, B, I, *size) to (T, B, O, *new size), as one product of patches and weights."""
    flat = x.ndim == 4  # sequences: images of height 1
    if flat:
        x, weight = x.unsqueeze(-2), weight.unsqueeze(-2)
    stride, padding, dilation, more = (
        _pair(setting, flat, usual)
        for setting, usual in ((geometry.stride, 1), (geometry.padding, 0), (geometry.dilation, 1), (geometry.output_padding, 0))
    )
    kernel = tuple(weight.shape[-2:])
    if geometry.transposed:
        size = tuple(
            (n - 1) * s - 2 * p + d * (k - 1) + o + 1
            for n, s, p, d, k, o in zip(x.shape[-2:], stride, padding, dilation, kernel, more, strict=True)
        )
        patches = torch.bmm(weight.flatten(2).mT, _by_position(x.flatten(3)))
        columns = patches.unflatten(2, (x.shape[1], -1)).transpose(1, 2).flatten(0, 1)
        out = F.fold(columns, size, kernel, dilation, padding, stride)
    else:
        size = tuple(
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, s, p, d, k in zip(x.shape[-2:], stride, padding, dilation, kernel, strict=True)
        )
        columns = F.unfold(x.flatten(0, 1), kernel, dilation, padding, stride)
        product = torch.bmm(weight.flatten(2), _by_position(columns.unflatten(0, x.shape[:2])))
        out = product.unflatten(2, (x.shape[1], -1)).transpose(1, 2).unflatten(-1, size).flatten(0, 1)
    out = out.unflatten(0, x.shape[:2])
    if bias is not None:
        out = out + bias[:, None, :, None, None]
    if flat:
        out = out.squeeze(-2)
    return cast(Tensor, out)


def _by_position(x_TBCL: Tensor) -> Tensor:
    """(T, B, C, L) to (T, C, B * L)."""
    return x_TBCL.transpose(1, 2).flatten(2)


def _pair(setting: tuple[int, ...], flat: bool, usual: int) -> tuple[int, ...]:
    """A setting for both axes of an image."""
    return (usual, *(setting or (usual,))) if flat else setting or (usual, usual)


_REMEMBERED: dict[tuple[Any, ...], bool] = {}


def is_faster(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, grouped: Convolution) -> bool:
    """Whether the product is worth it for such tensors; measured on their device when they are seen for the first time.

    Never while a CUDA graph is recorded: the steps before it have seen every shape.
    """
    key = _key(x, weight, geometry)
    if key not in _REMEMBERED:
        _REMEMBERED[key] = measured(x, weight, bias, geometry, grouped, seconds)
    return _REMEMBERED[key]


def measured(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    grouped: Convolution,
    clock: Callable[[Convolution, Tensor, Tensor, Tensor | None], float],
) -> bool:
    """Whether the product is `WORTH` times as fast by this clock. It draws no random numbers; where memory is short, it is not."""
    try:
        together = clock(lambda x, weight, bias: unfolded(x, weight, bias, geometry), x, weight, bias)
    except torch.OutOfMemoryError:
        return False
    return clock(grouped, x, weight, bias) > WORTH * together


def seconds(way: Convolution, x: Tensor, weight: Tensor, bias: Tensor | None) -> float:
    """Of one forward and backward pass on a GPU, the fastest of some, on copies of these tensors."""
    leaves = [None if t is None else t.detach().clone().requires_grad_() for t in (x, weight, bias)]
    taken = []
    for _ in range(CALLS + 1):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        with torch.enable_grad():
            out = way(*leaves)  # type: ignore[arg-type]
            torch.autograd.grad(out, [leaf for leaf in leaves if leaf is not None], torch.ones_like(out))
        end.record()
        end.synchronize()
        taken.append(float(start.elapsed_time(end)) / 1e3)
    return min(taken[1:], default=math.inf)


def _key(x: Tensor, weight: Tensor, geometry: Geometry) -> tuple[Any, ...]:
    kind = x.device.type
    rounded = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
    how = torch.backends.cudnn.conv.fp32_precision  # type: ignore[attr-defined]
    return str(x.device), tuple(x.shape), tuple(weight.shape), geometry, rounded, how
