"""How many kernels a training step launches, alone and in a stack: `python -m benchmarks.speed.kernels`.

Counted without a GPU, as the operations that reach the backend while a step runs, with convolutions done as on a GPU; what only changes
a tensor's shape, or allocates, is not counted. A fused update of Adam counts as one. Where launches are what a step costs, a stack of K
is at most K times the kernels of one step over the kernels of its own faster than K steps.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.loading import load
from mopoe_core.networks import stacked_modules
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


class _Count(TorchDispatchMode):
    """Counts what reaches the backend."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view and func.name().split(".")[0] not in FREE:
            self.kernels += 1
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class Kernels:
    """The count for one model, dataset and kind of networks."""

    name: str
    alone: int
    stacked: int
    """Of a step of sixteen trials at once."""

    @property
    def bound(self) -> float:
        """How much faster a stack of sixteen can be where only launches cost."""
        return STACKED * self.alone / self.stacked


def kernels(config: TrainingConfig, data: Path) -> Kernels:
    """Count the kernels of a step."""
    dataset = load(config.data_key, data)
    rows_B = torch.arange(config.batch_size)
    alone, together = Run(config, 0, dataset, CPU), Stack([Run(config, seed, dataset, CPU) for seed in range(STACKED)])
    before, stacked_modules.one_by_one = stacked_modules.one_by_one, lambda device: False
    try:
        alone.step(rows_B)  # the first makes Adam's state
        with _Count() as one:
            alone.step(rows_B)
        with _Count() as many:
            together.step(rows_B.expand(STACKED, -1))
    finally:
        stacked_modules.one_by_one = before
    return Kernels(f"{config.model}/{config.dataset}/{config.networks}", one.kernels, many.kernels)


def rows(data: Path) -> Iterator[Kernels]:
    """The counts for the paper's three models on MNIST-SVHN-Text, small networks and the paper's; small batches, which count the same."""
    for networks in ("small", "paper"):
        for model in ("mvae", "mmvae", "mopoe"):
            fields = {"dataset": "mnist_svhn_text", "networks": networks, "model": model, "batch_size": 8}
            yield kernels(TrainingConfig.model_validate(fields), data)


def main() -> None:
    """Print the counts."""
    for row in rows(Path("data")):
        print(f"{row.name:32} alone {row.alone:4}  stack of {STACKED} {row.stacked:4}  at most {row.bound:.1f} times as fast")


if __name__ == "__main__":
    main()
