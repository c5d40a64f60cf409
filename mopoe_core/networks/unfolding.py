"""A stack's convolutions as one batched product, instead of one grouped convolution. Which is faster depends on the shape and the GPU.

Both add the same products, in a different order. On a GPU the faster way is measured once for each shape and remembered until the process
ends. The product is used only if it is clearly faster. A trial that resumes in another process, which measures again, is then unlikely to
get the other answer.

Shape suffixes: T stacked trial, B batch, I and O channels in and out, K taps of the kernel, L positions.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

WORTH = 1.2
"""A batched product is used if it is this many times as fast."""
CALLS = 5
"""Measured calls of each way, after one that warms up. The fastest call counts."""
SLOW = 0.2
"""Seconds after which no further call is measured: calls so long are measured well enough by one."""

Convolution = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""Maps (T, B, I, *size), the weights and the bias to (T, B, O, *new size)."""


@dataclass(frozen=True)
class Geometry:
    """The settings of a convolution with one group."""

    transposed: bool
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    output_padding: tuple[int, ...] = ()

    @classmethod
    def of(cls, transposed: bool, settings: Mapping[str, Any]) -> "Geometry":
        """The geometry with the keyword arguments of torch's convolution functions."""
        return cls(transposed, **settings)

    def for_images(self) -> "Geometry":
        """The same geometry for a sequence that is seen as an image of height 1."""
        stride, padding, dilation = (1, *self.stride), (0, *self.padding), (1, *self.dilation)
        return Geometry(self.transposed, stride, padding, dilation, (0, *self.output_padding))


def unfolded(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """The convolutions of T trials, from (T, B, I, *size) to (T, B, O, *new size), as one product of patches and weights."""
    is_sequence = x.ndim == 4
    if is_sequence:
        x, weight, geometry = x.unsqueeze(-2), weight.unsqueeze(-2), geometry.for_images()
    flat_out = _transposed(x, weight, geometry) if geometry.transposed else _convolved(x, weight, geometry)
    out = flat_out.unflatten(0, x.shape[:2])
    if bias is not None:
        out = out + bias[:, None, :, None, None]
    if is_sequence:
        out = out.squeeze(-2)
    return cast(Tensor, out)


def _transposed(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Transposed convolutions of images, without bias: from (T, B, I, *size) to (T * B, O, *new size)."""
    kernel = tuple(weight.shape[-2:])
    stride, padding, dilation = geometry.stride, geometry.padding, geometry.dilation
    size = tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + o + 1
        for n, s, p, d, k, o in zip(x.shape[-2:], stride, padding, dilation, kernel, geometry.output_padding, strict=True)
    )
    patches = torch.bmm(weight.flatten(2).mT, _by_position(x.flatten(3)))
    columns = patches.unflatten(2, (x.shape[1], -1)).transpose(1, 2).flatten(0, 1)
    return cast(Tensor, _Fold.apply(columns, size, kernel, dilation, padding, stride))


def _convolved(x: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """Convolutions of images, without bias: from (T, B, I, *size) to (T * B, O, *new size)."""
    kernel = tuple(weight.shape[-2:])
    stride, padding, dilation = geometry.stride, geometry.padding, geometry.dilation
    size = tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, s, p, d, k in zip(x.shape[-2:], stride, padding, dilation, kernel, strict=True)
    )
    columns = cast(Tensor, _Unfold.apply(x.flatten(0, 1), kernel, dilation, padding, stride))
    product = torch.bmm(weight.flatten(2), _by_position(columns.unflatten(0, x.shape[:2])))
    out: Tensor = product.unflatten(2, (x.shape[1], -1)).transpose(1, 2).unflatten(-1, size).flatten(0, 1)
    return out


class _Unfold(torch.autograd.Function):
    """`F.unfold`, in one copy (`_patches`)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *settings: tuple[int, ...]) -> Tensor:
        ctx.size, ctx.settings = tuple(x.shape[-2:]), settings
        return _patches(x, *settings)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return F.fold(gradients[0], ctx.size, *ctx.settings), None, None, None, None


class _Fold(torch.autograd.Function):
    """`F.fold`, with a backward pass in one copy (`_patches`)."""

    @staticmethod
    def forward(ctx: Any, columns: Tensor, size: tuple[int, ...], *settings: tuple[int, ...]) -> Tensor:
        ctx.settings = settings
        return F.fold(columns, size, *settings)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return _patches(gradients[0], *ctx.settings), None, None, None, None, None


def _patches(
    x_NIHW: Tensor, kernel: tuple[int, ...], dilation: tuple[int, ...], padding: tuple[int, ...], stride: tuple[int, ...]
) -> Tensor:
    """The patches of images, (N, I * K, L), as `F.unfold` gives them. On a GPU `F.unfold`, and the backward pass of `F.fold`, launch a
    kernel for each of the N images.
    """
    (kernel_h, kernel_w), (dilation_h, dilation_w), (padding_h, padding_w), (stride_h, stride_w) = (
        kernel,
        dilation,
        padding,
        stride,
    )
    padded = F.pad(x_NIHW, (padding_w, padding_w, padding_h, padding_h)) if any(padding) else x_NIHW
    (images, channels, height, width), (image, channel, row, column) = padded.shape, padded.stride()
    positions_h = (height - dilation_h * (kernel_h - 1) - 1) // stride_h + 1
    positions_w = (width - dilation_w * (kernel_w - 1) - 1) // stride_w + 1
    windows = padded.as_strided(
        (images, channels, kernel_h, kernel_w, positions_h, positions_w),
        (image, channel, dilation_h * row, dilation_w * column, stride_h * row, stride_w * column),
    )
    return windows.reshape(images, channels * kernel_h * kernel_w, positions_h * positions_w)


def _by_position(x_TBCL: Tensor) -> Tensor:
    """From (T, B, C, L) to (T, C, B * L)."""
    return x_TBCL.transpose(1, 2).flatten(2)


_REMEMBERED: dict[tuple[Any, ...], bool] = {}


def is_faster(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, grouped: Convolution) -> bool:
    """Whether the product is clearly faster for such tensors. It is measured on their device when a shape appears for the first time.

    That is never while a CUDA graph is recorded, because the steps before the recording have every shape.
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
    """Whether the product is `WORTH` times as fast by this clock; False if it runs out of memory, and True if the grouped convolution
    fails for another reason, as where cuDNN has none for these groups. Draws no random numbers.
    """
    try:
        product_seconds = clock(lambda x, weight, bias: unfolded(x, weight, bias, geometry), x, weight, bias)
    except torch.OutOfMemoryError:
        return False
    try:
        return clock(grouped, x, weight, bias) > WORTH * product_seconds
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:
        return True


def seconds(convolution: Convolution, x: Tensor, weight: Tensor, bias: Tensor | None) -> float:
    """Seconds of the fastest forward and backward pass on a GPU, on copies of these tensors."""
    leaves = [None if t is None else t.detach().clone().requires_grad_() for t in (x, weight, bias)]
    times = []
    for _ in range(CALLS + 1):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        with torch.enable_grad():
            out = convolution(*leaves)  # type: ignore[arg-type]
            torch.autograd.grad(out, [leaf for leaf in leaves if leaf is not None], torch.ones_like(out))
        end.record()
        end.synchronize()
        times.append(float(start.elapsed_time(end)) / 1e3)
        if len(times) > 1 and sum(times) > SLOW:
            break
    return min(times[1:], default=math.inf)


def _key(x: Tensor, weight: Tensor, geometry: Geometry) -> tuple[Any, ...]:
    """Everything that the times may depend on."""
    device = x.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    rounding = torch.backends.cudnn.conv.fp32_precision  # type: ignore[attr-defined]
    return str(x.device), tuple(x.shape), tuple(weight.shape), geometry, dtype, rounding
