"""Networks of many trials as one: T modules of the same shape become one module from (T, B, ...) to (T, B, ...).

The layers that have parameters or random draws are in `mopoe_core.networks.stacked_layers`. Training the stack trains every module, and
each module can be saved, loaded and evaluated as if it were alone.
"""

import copy
from collections.abc import Sequence
from typing import Any, cast

from torch import nn

from mopoe_core.networks.networks import Centre, Encoder, Transpose
from mopoe_core.networks.residual import Residual1d, Residual2d, ResidualTranspose1d, ResidualTranspose2d
from mopoe_core.networks.stacked_layers import (
    CONVOLUTIONS,
    NotStackable,
    StackedBatchNorm,
    StackedConvolution,
    StackedDropout,
    StackedFlatten,
    StackedLinear,
    StackedUnflatten,
)
from mopoe_core.random_streams import GlobalStream

CONTAINERS = (nn.Sequential, Encoder, Residual1d, Residual2d, ResidualTranspose1d, ResidualTranspose2d)
"""Modules that only combine their parts' outputs, so that a leading axis makes no difference to them."""
POINTWISE = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.Softplus, nn.Identity, Centre, Transpose)
"""Layers without parameters, to which leading axes make no difference."""
DROPOUTS = (nn.Dropout, nn.Dropout2d)
UNSTACKED = (
    nn.LayerNorm, nn.GroupNorm, nn.Softmax, nn.LogSoftmax, nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d,
    nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.Upsample, nn.PixelShuffle, nn.Embedding,
)  # fmt: skip
"""Layers of users' networks that do not stack, but treat each example alone."""
EXAMPLEWISE = (*CONTAINERS, *POINTWISE, *CONVOLUTIONS, *DROPOUTS, *UNSTACKED, nn.Linear, nn.Flatten, nn.Unflatten)
"""Layers whose output for an example does not depend on the rest of the batch."""


def mixes_examples(network: nn.Module) -> bool:
    """Whether a network's output for an example may depend, in training, on the rest of the batch.

    This is so for batch norm. Layers of unknown kinds are treated like batch norm.
    """
    return any(type(layer) not in EXAMPLEWISE for layer in network.modules())


def stack(modules: Sequence[nn.Module], streams: Sequence[GlobalStream]) -> nn.Module:
    """One module for T modules of the same shape, whose dropout draws from `streams`. Raises NotStackable for layers of unknown kinds."""
    kind, first = type(modules[0]), cast(Any, modules[0])
    if kind in POINTWISE:
        return modules[0]
    if kind in CONTAINERS:
        return _container(modules, streams)
    if kind is nn.Linear:
        return StackedLinear(modules)
    if kind in CONVOLUTIONS:
        return StackedConvolution(modules)
    if kind in (nn.BatchNorm1d, nn.BatchNorm2d):
        return StackedBatchNorm(modules)
    if kind in DROPOUTS:
        return StackedDropout(first.p, streams, whole_channels=kind is nn.Dropout2d)
    if kind is nn.Flatten:
        return StackedFlatten(first.start_dim, first.end_dim)
    if kind is nn.Unflatten:
        return StackedUnflatten(first.dim, first.unflattened_size)
    raise NotStackable(f"{kind.__name__} is not among the layers that stack")


def _container(modules: Sequence[nn.Module], streams: Sequence[GlobalStream]) -> nn.Module:
    """A copy of the first module with stacked parts; its `forward` stays the same."""
    container = copy.copy(modules[0])
    container._modules = {
        name: stack([module.get_submodule(name) for module in modules], streams) for name in modules[0]._modules
    }
    return container


def check_network(module: nn.Module) -> None:
    """Raises NotStackable if a network has a layer that does not stack. The network stays unchanged."""
    for name, layer in module.named_modules():
        if layer._forward_hooks or layer._forward_pre_hooks:
            raise NotStackable(f"{name or type(layer).__name__} has a hook, as torch's weight_norm and spectral_norm set one")
    if name := _used_twice(module):
        raise NotStackable(f"{name} is used twice in a network")
    stack([copy.deepcopy(module)], [])


def _used_twice(module: nn.Module) -> str:
    """The second name of a parameter or buffer that a network has under two names; empty if there is none. A stack would give each name
    a copy of its own.
    """
    named = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    once = {name for name, _ in (*module.named_parameters(), *module.named_buffers())}
    return next((name for name, _ in named if name not in once), "")
