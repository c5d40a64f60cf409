"""Batch norm of a single value per channel, which torch refuses in training: there is no variance.

Only hidden modalities (`missing`) lead there: a network with batch norm sees the examples that have its modality, and in a small batch
there may be one. A batch norm then uses its running statistics, as in evaluation, and leaves them as they are.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def by_running_statistics(network: nn.Module) -> Iterator[None]:
    """A context in which the batch norms of a network in training normalise a single value per channel by their running statistics."""
    norms = [
        layer for layer in network.modules() if isinstance(layer, _BatchNorm) and layer.training and layer.track_running_stats
    ]
    hooks = [
        hook
        for norm in norms
        for hook in (norm.register_forward_pre_hook(_evaluates_single_values), norm.register_forward_hook(_trains_again))
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for norm in norms:
            norm.train()


def _evaluates_single_values(norm: nn.Module, inputs: tuple[Any, ...]) -> None:
    x = inputs[0]
    norm.train(x.numel() > x.shape[1])


def _trains_again(norm: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
    norm.train()
