"""Counts the kernels that a training step launches, alone and in a stack: `python -m benchmarks.speed.kernels`.

The count needs no GPU: it counts the operations that reach the backend during a step, with convolutions computed as on a GPU. Operations
that only change a tensor's shape or allocate memory do not count. A fused update of Adam counts as one. If launches alone cost time, a
stack of K trials is faster than K solo steps by at most K times the kernels of a solo step over the kernels of the stack's step.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.loading import load
from mopoe_core.networks import stacked_layers
from mopoe_core.training.run import Run
from mopoe_core.training.stack import Stack

CPU = torch.device("cpu")
STACKED = 16
FREE = {
    "aten::detach",
    "aten::empty",
    "aten::empty_like",
    "aten::new_empty",
    "aten::_unsafe_view",
    "aten::resize_",
    "aten::lift_fresh",
}
"""Operations that launch no kernel."""


class _Count(TorchDispatchMode):
    """Counts the kernels that reach the backend while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view and func.name().split(".")[0] not in FREE:
            self.kernels += 1
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class Kernels:
    """The kernels of a step, for one model, dataset and kind of networks."""

    name: str
    alone: int
    """Kernels of a step of one trial."""
    stacked: int
    """Kernels of a step of a stack of sixteen trials."""

    @property
    def bound(self) -> float:
        """The highest speedup of a stack of sixteen if launches alone cost time."""
        return STACKED * self.alone / self.stacked


def kernels(config: TrainingConfig, data: Path) -> Kernels:
    """Counts the kernels of a solo step and of a stack's step."""
    dataset = load(config.data_key, data)
    rows_B = torch.arange(config.batch_size)
    run = Run(config, 0, dataset, CPU)
    stack = Stack([Run(config, seed, dataset, CPU) for seed in range(STACKED)])
    original, stacked_layers.one_by_one = stacked_layers.one_by_one, lambda device: False
    try:
        run.step(rows_B)  # the first step creates Adam's state
        with _Count() as alone:
            run.step(rows_B)
        with _Count() as stacked:
            stack.step(rows_B.expand(STACKED, -1))
    finally:
        stacked_layers.one_by_one = original
    return Kernels(f"{config.model}/{config.dataset}/{config.networks}", alone.kernels, stacked.kernels)


def rows(data: Path) -> Iterator[Kernels]:
    """Yields the counts of the paper's three models on MNIST-SVHN-Text, for both kinds of networks. A batch's size changes no count."""
    for networks in ("small", "paper"):
        for model in ("mvae", "mmvae", "mopoe"):
            fields = {"dataset": "mnist_svhn_text", "networks": networks, "model": model, "batch_size": 8}
            yield kernels(TrainingConfig.model_validate(fields), data)


def main() -> None:
    """Prints the counts."""
    for row in rows(Path("data")):
        print(f"{row.name:32} alone {row.alone:4}  stack of {STACKED} {row.stacked:4}  at most {row.bound:.1f} times as fast")


if __name__ == "__main__":
    main()
