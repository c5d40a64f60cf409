"""The layers of many trials as one: T layers of the same shape become one layer from (T, B, ...) to (T, B, ...).

The stacked layer's parameters are those of the T layers, one after the other. Each layer's parameters become views of them.

A linear layer is a batched product. On a GPU, where launches dominate the cost, convolutions are one grouped convolution or one batched
product of patches, whichever is faster (`mopoe_core.networks.unfolding`). On a CPU they run one trial after another: the grouped
convolutions of eight trials took half as long again. Batch norm normalises each trial by itself, and dropout draws from each trial's
random stream.

Shape suffixes: T stacked trial, B batch, I and O features in and out.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mopoe_core.networks import unfolding
from mopoe_core.networks.networks import FromOneConvTranspose1d, FromOneConvTranspose2d, WholeConv1d, WholeConv2d
from mopoe_core.networks.precision import as_autocast
from mopoe_core.networks.unfolding import Geometry
from mopoe_core.random_streams import GlobalStream


class NotStackable(Exception):
    """These modules cannot be stacked; the message says why."""


class Stacked(nn.Module):
    """A layer whose parameters are those of T modules."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        self.count = len(modules)
        self.sources: dict[str, list[nn.Parameter]] = {}
        """For each parameter (T, ...) of this layer, the T modules' parameters, which are views of it."""
        for name, parameter in modules[0].named_parameters(recurse=False):
            sources = [module.get_parameter(name) for module in modules]
            stacked = nn.Parameter(
                joined([source.detach() for source in sources], parameter), requires_grad=parameter.requires_grad
            )
            for source, view in zip(sources, stacked.detach().unbind(), strict=True):
                source.data = view
            self.register_parameter(name, stacked)
            self.sources[name] = sources
        for name, _ in modules[0].named_buffers(recurse=False):
            self.register_buffer(name, torch.stack([module.get_buffer(name) for module in modules]))
            for module, view in zip(modules, self.get_buffer(name).unbind(), strict=True):
                setattr(module, name, view)

    def parameter(self, name: str) -> Tensor | None:
        """A parameter (T, ...), or None if the modules have none of that name."""
        return self._parameters.get(name)


def joined(tensors: Sequence[Tensor], like: Tensor) -> Tensor:
    """The tensors in one, (T, *shape), each with the strides of `like`: a convolution's weights may be stored channels last."""
    out = torch.empty_strided((len(tensors), *like.shape), (like.numel(), *like.stride()), dtype=like.dtype, device=like.device)
    for view, tensor in zip(out.unbind(), tensors, strict=True):
        view.copy_(tensor)
    return out


class _Product(torch.autograd.Function):
    """x W^T + b for every trial. The gradient of W has W's memory layout; that of `baddbmm` has another, and would be copied."""

    @staticmethod
    def forward(ctx: Any, x_TBI: Tensor, weight_TOI: Tensor, bias_TO: Tensor | None) -> Tensor:
        ctx.save_for_backward(x_TBI, weight_TOI)
        ctx.has_bias = bias_TO is not None
        if bias_TO is None:
            return torch.bmm(x_TBI, weight_TOI.mT)
        return torch.baddbmm(bias_TO.unsqueeze(1), x_TBI, weight_TOI.mT)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient_TBO,) = gradients
        x_TBI, weight_TOI = ctx.saved_tensors
        x_grad = torch.bmm(gradient_TBO, weight_TOI) if ctx.needs_input_grad[0] else None
        weight_grad = torch.bmm(gradient_TBO.mT, x_TBI)
        bias_grad = gradient_TBO.sum(1) if ctx.has_bias else None
        return x_grad, weight_grad, bias_grad


class StackedLinear(Stacked):
    """T linear layers."""

    def forward(self, x: Tensor) -> Tensor:
        """From (T, ..., I) to (T, ..., O)."""
        flat_TBO = _Product.apply(*as_autocast(x.flatten(1, -2), self.parameter("weight"), self.parameter("bias")))
        return cast(Tensor, flat_TBO).reshape(*x.shape[:-1], -1)


CONVOLUTIONS: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.Conv1d: F.conv1d,
    nn.Conv2d: F.conv2d,
    nn.ConvTranspose1d: F.conv_transpose1d,
    nn.ConvTranspose2d: F.conv_transpose2d,
    WholeConv1d: F.conv1d,
    WholeConv2d: F.conv2d,
    FromOneConvTranspose1d: F.conv_transpose1d,
    FromOneConvTranspose2d: F.conv_transpose2d,
}
"""The function of each kind of convolution."""


class StackedConvolution(Stacked):
    """T convolutions or transposed convolutions, with zero padding."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__(modules)
        first: Any = modules[0]
        if first.padding_mode != "zeros" or isinstance(first.padding, str):
            raise NotStackable(f"{type(first).__name__} with padding {first.padding!r}, {first.padding_mode}")
        self._convolve = CONVOLUTIONS[type(first)]
        self._groups = first.groups
        self._settings = {"stride": first.stride, "padding": first.padding, "dilation": first.dilation}
        transposed = isinstance(first, nn.ConvTranspose1d | nn.ConvTranspose2d)
        if transposed:
            self._settings["output_padding"] = first.output_padding
        self._geometry = Geometry.of(transposed, self._settings)

    def forward(self, x: Tensor) -> Tensor:
        """From (T, B, channels, *size) to (T, B, channels out, *new size)."""
        weight, bias = cast(Tensor, self.parameter("weight")), self.parameter("bias")
        if one_by_one(x.device):
            return self._one_by_one(x, weight, bias)
        measurable = x.device.type == "cuda" and self._groups == 1
        if measurable and unfolding.is_faster(x, weight, bias, self._geometry, self._grouped):
            return unfolding.unfolded(x, weight, bias, self._geometry)
        return self._grouped(x, weight, bias)

    def _one_by_one(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """One convolution after another."""
        biases = [None] * self.count if bias is None else list(bias.unbind())
        outputs = [
            self._convolve(trial_x, trial_weight, trial_bias, groups=self._groups, **self._settings)
            for trial_x, trial_weight, trial_bias in zip(x.unbind(), weight.unbind(), biases, strict=True)
        ]
        return _stacked(outputs)

    def _grouped(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """One grouped convolution."""
        flat_bias = None if bias is None else bias.flatten()
        groups = self._groups * self.count
        out = self._convolve(_as_channels(x), weight.flatten(0, 1), flat_bias, groups=groups, **self._settings)
        return _as_trials(out, self.count)


class StackedBatchNorm(Stacked):
    """T batch norms. Each normalises over its trial's batch."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__(modules)
        first: Any = modules[0]
        if first.momentum is None or not first.track_running_stats:
            raise NotStackable(f"{type(first).__name__} without a momentum or running statistics")
        self._momentum, self._eps = first.momentum, first.eps

    def forward(self, x: Tensor) -> Tensor:
        """From (T, B, channels, *size) or (T, B, channels) to the same shape."""
        if self.training:
            self.get_buffer("num_batches_tracked").add_(1)
        weight, bias = self.parameter("weight"), self.parameter("bias")
        flat_weight = None if weight is None else weight.flatten()
        flat_bias = None if bias is None else bias.flatten()
        # Views, because the running statistics are updated in place.
        mean, variance = self.get_buffer("running_mean").view(-1), self.get_buffer("running_var").view(-1)
        out = F.batch_norm(_as_channels(x), mean, variance, flat_weight, flat_bias, self.training, self._momentum, self._eps)
        return _as_trials(out, self.count)


class StackedDropout(nn.Module):
    """Dropout. Each trial gets the noise that it would draw alone."""

    def __init__(self, p: float, streams: Sequence[GlobalStream], whole_channels: bool) -> None:
        super().__init__()
        self._p, self._streams, self._whole_channels = p, streams, whole_channels

    def forward(self, x: Tensor) -> Tensor:
        """From (T, B, ...) to the same shape."""
        if not self.training or self._p == 0:
            return x
        masks = []
        for stream in self._streams:
            with stream.entered():
                masks.append(self._mask(x[0]))
        return x * torch.stack(masks)

    def _mask(self, trial_x: Tensor) -> Tensor:
        """One trial's factors, 0 or 1 / (1 - p), of a shape that broadcasts to (B, ...)."""
        if self._whole_channels:
            mask = F.dropout2d(torch.ones((*trial_x.shape[:2], 1, 1), dtype=trial_x.dtype, device=trial_x.device), self._p)
            return mask.reshape(*trial_x.shape[:2], *[1] * (trial_x.ndim - 2))
        # With the strides of the input, because dropout draws in the order of the memory.
        return F.dropout(torch.ones_like(trial_x), self._p)


class StackedFlatten(nn.Module):
    """Flatten, with a leading axis of trials."""

    def __init__(self, start: int, end: int) -> None:
        super().__init__()
        self._start, self._end = _shifted(start), _shifted(end)

    def forward(self, x: Tensor) -> Tensor:
        """From (T, B, ...) to (T, B, ...)."""
        out: Tensor = x.flatten(self._start, self._end)
        return out


class StackedUnflatten(nn.Module):
    """Unflatten, with a leading axis of trials."""

    def __init__(self, axis: int, shape: Sequence[int]) -> None:
        super().__init__()
        self._axis, self._shape = _shifted(axis), tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        """From (T, B, ...) to (T, B, ...)."""
        out: Tensor = x.unflatten(self._axis, self._shape)
        return out


def _shifted(axis: int) -> int:
    """The axis after an axis of trials is put in front; an axis that is counted from the last stays."""
    return axis + 1 if axis >= 0 else axis


def one_by_one(device: torch.device) -> bool:
    """Whether convolutions run one trial after another. On a CPU eight trials' grouped convolutions took half as long again."""
    return device.type == "cpu"


def _stacked(outputs: Sequence[Tensor]) -> Tensor:
    """(T, B, channels, *size), channels last if every output is."""
    if outputs[0].ndim == 4 and all(out.is_contiguous(memory_format=torch.channels_last) for out in outputs):
        return torch.stack([out.permute(0, 2, 3, 1) for out in outputs]).permute(0, 1, 4, 2, 3)
    return torch.stack(list(outputs))


def _as_channels(x: Tensor) -> Tensor:
    """From (T, B, channels, ...) to (B, T * channels, ...). The result of `_as_trials` needs no copy."""
    return x.transpose(0, 1).flatten(1, 2)


def _as_trials(x: Tensor, count: int) -> Tensor:
    """From (B, T * channels, ...) to (T, B, channels, ...)."""
    trials: Tensor = x.unflatten(1, (count, -1))
    return trials.transpose(0, 1)
