"""Networks of many trials as one: T modules of the same shape become one module from (T, B, ...) to (T, B, ...).

The parameters of the result are the parameters of the T modules, one behind the other: each module's own become views of them, so that
what trains the stack trains every module, and each can be saved, loaded and evaluated as if it were alone.

A linear layer is a batched product. On a GPU, where a launch is what costs, convolutions are one grouped convolution or one batched
product of patches, whichever is faster (`mopoe_core.networks.unfolding`). On a CPU, where eight trials' grouped convolutions took half as
long again, they are one trial after another. Batch norm normalises each trial by itself, and dropout draws from each trial's own stream.

Shape suffixes: T stacked trial, B batch, I and O features in and out.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mopoe_core.networks import unfolding
from mopoe_core.networks.networks import (
    Centre,
    Encoder,
    FromOneConvTranspose1d,
    FromOneConvTranspose2d,
    Transpose,
    WholeConv1d,
    WholeConv2d,
)
from mopoe_core.networks.precision import as_autocast
from mopoe_core.networks.residual import Residual1d, Residual2d, ResidualTranspose1d, ResidualTranspose2d
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
        """For each of its parameters (T, ...), those of the modules, which are views of it."""
        for name, parameter in modules[0].named_parameters(recurse=False):
            each = [module.get_parameter(name) for module in modules]
            stacked = nn.Parameter(joined([one.detach() for one in each], parameter), requires_grad=parameter.requires_grad)
            for one, part in zip(each, stacked.detach().unbind(), strict=True):
                one.data = part
            self.register_parameter(name, stacked)
            self.sources[name] = each
        for name, _ in modules[0].named_buffers(recurse=False):
            self.register_buffer(name, torch.stack([module.get_buffer(name) for module in modules]))
            for module, part in zip(modules, self.get_buffer(name).unbind(), strict=True):
                setattr(module, name, part)

    def parameter(self, name: str) -> Tensor | None:
        """A parameter (T, ...), or None where the modules have none of that name."""
        return self._parameters.get(name)


def joined(each: Sequence[Tensor], like: Tensor) -> Tensor:
    """Tensors one behind the other, (T, *shape), each with the strides of `like`: a convolution's weights may lie channels last."""
    out = torch.empty_strided((len(each), *like.shape), (like.numel(), *like.stride()), dtype=like.dtype, device=like.device)
    for part, one in zip(out.unbind(), each, strict=True):
        part.copy_(one)
    return out


class _Product(torch.autograd.Function):
    """x W^T + b for every trial. The gradient of W is made in W's own layout, which `baddbmm` does not: it would be copied."""

    @staticmethod
    def forward(ctx: Any, x_TBI: Tensor, weight_TOI: Tensor, bias_TO: Tensor | None) -> Tensor:
        ctx.save_for_backward(x_TBI, weight_TOI)
        ctx.has_bias = bias_TO is not None
        if bias_TO is None:
            return torch.bmm(x_TBI, weight_TOI.mT)
        return torch.baddbmm(bias_TO.unsqueeze(1), x_TBI, weight_TOI.mT)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient_TBO,), (x_TBI, weight_TOI) = gradients, ctx.saved_tensors
        to_x = torch.bmm(gradient_TBO, weight_TOI) if ctx.needs_input_grad[0] else None
        to_weight = torch.bmm(gradient_TBO.mT, x_TBI)
        return to_x, to_weight, gradient_TBO.sum(1) if ctx.has_bias else None


class StackedLinear(Stacked):
    """T linear layers."""

    def forward(self, x: Tensor) -> Tensor:
        """(T, ..., I) to (T, ..., O)."""
        flat_TBO = _Product.apply(*as_autocast(x.flatten(1, -2), self.parameter("weight"), self.parameter("bias")))
        return cast(Tensor, flat_TBO).reshape(*x.shape[:-1], -1)


_CONVOLUTIONS: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.Conv1d: F.conv1d,
    nn.Conv2d: F.conv2d,
    nn.ConvTranspose1d: F.conv_transpose1d,
    nn.ConvTranspose2d: F.conv_transpose2d,
    WholeConv1d: F.conv1d,
    WholeConv2d: F.conv2d,
    FromOneConvTranspose1d: F.conv_transpose1d,
    FromOneConvTranspose2d: F.conv_transpose2d,
}


class StackedConvolution(Stacked):
    """T convolutions, or transposed ones, with zeros around."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__(modules)
        first: Any = modules[0]
        if first.padding_mode != "zeros" or isinstance(first.padding, str):
            raise NotStackable(f"{type(first).__name__} with padding {first.padding!r}, {first.padding_mode}")
        self._apply_one = _CONVOLUTIONS[type(first)]
        self._groups = first.groups
        self._settings = {"stride": first.stride, "padding": first.padding, "dilation": first.dilation}
        transposed = isinstance(first, nn.ConvTranspose1d | nn.ConvTranspose2d)
        if transposed:
            self._settings["output_padding"] = first.output_padding
        self._geometry = Geometry.of(transposed, self._settings)

    def forward(self, x: Tensor) -> Tensor:
        """(T, B, channels, *size) to (T, B, channels out, *new size)."""
        weight, bias = cast(Tensor, self.parameter("weight")), self.parameter("bias")
        if one_by_one(x.device):
            each_bias = [None] * self.count if bias is None else list(bias.unbind())
            each = zip(x.unbind(), weight.unbind(), each_bias, strict=True)
            return _stacked([self._apply_one(*one, groups=self._groups, **self._settings) for one in each])
        measurable = x.device.type == "cuda" and self._groups == 1
        if measurable and unfolding.is_faster(x, weight, bias, self._geometry, self._grouped):
            return unfolding.unfolded(x, weight, bias, self._geometry)
        return self._grouped(x, weight, bias)

    def _grouped(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        flat_bias = None if bias is None else bias.flatten()
        groups = self._groups * self.count
        out = self._apply_one(_as_channels(x), weight.flatten(0, 1), flat_bias, groups=groups, **self._settings)
        return _as_trials(out, self.count)


class StackedBatchNorm(Stacked):
    """T batch norms, each over its own trial's batch."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__(modules)
        first: Any = modules[0]
        if first.momentum is None or not first.track_running_stats:
            raise NotStackable(f"{type(first).__name__} without a momentum or running statistics")
        self._momentum, self._eps = first.momentum, first.eps

    def forward(self, x: Tensor) -> Tensor:
        """(T, B, channels, *size), or (T, B, channels)."""
        if self.training:
            self.get_buffer("num_batches_tracked").add_(1)
        weight, bias = (None if p is None else p.flatten() for p in (self.parameter("weight"), self.parameter("bias")))
        # Views: the running statistics are updated in place.
        mean, variance = self.get_buffer("running_mean").view(-1), self.get_buffer("running_var").view(-1)
        out = F.batch_norm(_as_channels(x), mean, variance, weight, bias, self.training, self._momentum, self._eps)
        return _as_trials(out, self.count)


class StackedDropout(nn.Module):
    """Dropout whose noise is what each trial would draw alone."""

    def __init__(self, p: float, streams: Sequence[GlobalStream], whole_channels: bool) -> None:
        super().__init__()
        self._p, self._streams, self._whole_channels = p, streams, whole_channels

    def forward(self, x: Tensor) -> Tensor:
        """(T, B, ...)."""
        if not self.training or self._p == 0:
            return x
        drop, shape = (F.dropout2d, (*x.shape[1:3], 1, 1)) if self._whole_channels else (F.dropout, x.shape[1:])
        masks = []
        for stream in self._streams:
            with stream.entered():
                masks.append(drop(torch.ones(shape, dtype=x.dtype, device=x.device), self._p))
        return x * torch.stack(masks)


class _Flatten(nn.Module):
    """Flatten, with the axis of trials in front."""

    def __init__(self, start: int, end: int) -> None:
        super().__init__()
        self._start, self._end = (axis + (axis >= 0) for axis in (start, end))

    def forward(self, x: Tensor) -> Tensor:
        """(T, B, ...)."""
        out: Tensor = x.flatten(self._start, self._end)
        return out


class _Unflatten(nn.Module):
    """Unflatten, with the axis of trials in front."""

    def __init__(self, axis: int, shape: Sequence[int]) -> None:
        super().__init__()
        self._axis, self._shape = axis + (axis >= 0), tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        """(T, B, ...)."""
        out: Tensor = x.unflatten(self._axis, self._shape)
        return out


def one_by_one(device: torch.device) -> bool:
    """Whether convolutions are done one trial after another: on a CPU eight trials' grouped ones took half as long again."""
    return device.type == "cpu"


def _stacked(each: Sequence[Tensor]) -> Tensor:
    """(T, B, channels, *size), channels last where each of them is."""
    if each[0].ndim == 4 and all(one.is_contiguous(memory_format=torch.channels_last) for one in each):
        return torch.stack([one.permute(0, 2, 3, 1) for one in each]).permute(0, 1, 4, 2, 3)
    return torch.stack(list(each))


def _as_channels(x: Tensor) -> Tensor:
    """(T, B, channels, ...) to (B, T * channels, ...): no copy where `_as_trials` made it."""
    return x.transpose(0, 1).flatten(1, 2)


def _as_trials(x: Tensor, count: int) -> Tensor:
    """(B, T * channels, ...) to (T, B, channels, ...)."""
    trials: Tensor = x.unflatten(1, (count, -1))
    return trials.transpose(0, 1)


CONTAINERS = (nn.Sequential, Encoder, Residual1d, Residual2d, ResidualTranspose1d, ResidualTranspose2d)
"""They only pass on what their parts make of it, so that a leading axis does not matter to them."""
POINTWISE = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Identity, Centre, Transpose)
"""Without parameters, and the same whatever stands in front."""
DROPOUTS = (nn.Dropout, nn.Dropout2d)
UNSTACKED = (
    nn.LayerNorm, nn.GroupNorm, nn.Softmax, nn.LogSoftmax, nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.Upsample, nn.PixelShuffle, nn.Embedding,
)  # fmt: skip
"""Layers of users' networks that do not stack, and treat each example alone as those that do."""
EXAMPLEWISE = (*CONTAINERS, *POINTWISE, *_CONVOLUTIONS, *DROPOUTS, *UNSTACKED, nn.Linear, nn.Flatten, nn.Unflatten)
"""What becomes of an example is the same whatever else is in its batch."""


def mixes_examples(network: nn.Module) -> bool:
    """Whether what a network makes of an example may depend, in training, on the rest of its batch.

    Batch norm does so. A layer of a kind that is not known here counts as if it did.
    """
    return any(type(layer) not in EXAMPLEWISE for layer in network.modules())


def stack(modules: Sequence[nn.Module], streams: Sequence[GlobalStream]) -> nn.Module:
    """One module for T of the same shape. Raises NotStackable where a layer is of a kind that is not known here."""
    kind, first = type(modules[0]), cast(Any, modules[0])
    if kind in POINTWISE:
        return modules[0]
    if kind in CONTAINERS:
        return _container(modules, streams)
    if kind is nn.Linear:
        return StackedLinear(modules)
    if kind in _CONVOLUTIONS:
        return StackedConvolution(modules)
    if kind in (nn.BatchNorm1d, nn.BatchNorm2d):
        return StackedBatchNorm(modules)
    if kind in DROPOUTS:
        return StackedDropout(first.p, streams, whole_channels=kind is nn.Dropout2d)
    if kind is nn.Flatten:
        return _Flatten(first.start_dim, first.end_dim)
    if kind is nn.Unflatten:
        return _Unflatten(first.dim, first.unflattened_size)
    raise NotStackable(f"{kind.__name__} is not among the layers that stack")


def _container(modules: Sequence[nn.Module], streams: Sequence[GlobalStream]) -> nn.Module:
    """The first module with its parts replaced by stacked ones; its own forward stays."""
    made = copy.copy(modules[0])
    made._modules = {name: stack([module.get_submodule(name) for module in modules], streams) for name in modules[0]._modules}
    return made


def check_network(module: nn.Module) -> None:
    """Raise NotStackable where a network has a layer that does not stack; the network is left as it was."""
    stack([copy.deepcopy(module)], [])
