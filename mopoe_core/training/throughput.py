"""How many trials to stack: measured, because it depends on networks, batch and device.

Small networks on small batches are bound by the calls they make, and a stack makes one for all its trials; large ones fill the machine
alone, and on a CPU a stack of them only leaves the caches sooner.
"""

import os
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.types import Dataset
from mopoe_core.networks.stacked_modules import NotStackable
from mopoe_core.training.run import SELECTION_SEED, Run
from mopoe_core.training.stack import Stack, check_stackable
from mopoe_core.training.stacked_training import is_out_of_memory

WORTH = 1.05
"""A stack is used only where it is this much faster than its trials one after another."""
ROUND_SECONDS = 0.1
ROUNDS = 3
MEMORY_SHARE = 0.4
"""Of the memory that a device has left, how much a stack may take before twice its size is not tried."""


@dataclass(frozen=True)
class Throughput:
    """What was measured."""

    gain: dict[int, float]
    """Size of a stack to the time of its trials' steps one after another over that of the stack's."""
    most: int
    """The largest size that was asked for."""
    limit: str
    """Why no larger size was tried: `most`, `slower`, `memory`, or the layer that does not stack."""

    @property
    def size(self) -> int:
        """The fastest size; 1 where none is worth it."""
        best = max(self.gain, key=lambda size: self.gain[size], default=1)
        return best if self.gain.get(best, 0) >= WORTH else 1


def measure(config: TrainingConfig, most: int, dataset: Dataset, device: torch.device) -> Throughput:
    """Try stacks of 2, 4, 8 and so on up to `most` trials of a configuration, until they get slower or memory gets short."""
    few = replace(dataset, train=dataset.train.take(config.batch_size, SELECTION_SEED))
    settings = TrainingConfig.model_validate(
        config.model_dump() | {"scale": None, "epochs": 1, "train_examples": None, "missing": 0.0}
    )
    gain: dict[int, float] = {}
    solo = Run(settings, 0, few, device)
    rows_B = torch.arange(config.batch_size, device=device)
    size, limit = 2, "most"
    while size <= most:
        before = _memory_taken(device)
        try:
            check_stackable(solo.model, hides=config.missing > 0)
            gain[size] = _gain(solo, rows_B, size, settings, few, device)
        except NotStackable as error:
            return Throughput(gain, most, str(error))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            limit = "memory"
            break
        if gain[size] < max(gain.values()):
            limit = "slower"
            break
        if _memory_taken(device) - before > MEMORY_SHARE * _memory_left(device):
            limit = "memory"
            break
        size *= 2
    return Throughput(gain, most, limit)


def _gain(solo: Run, rows_B: Tensor, size: int, settings: TrainingConfig, dataset: Dataset, device: torch.device) -> float:
    """The median over rounds, in which solo steps and the stack's take turns: what else the machine does hits both."""
    stacked = Stack([Run(settings, seed, dataset, device) for seed in range(size)])
    rows_TB = rows_B.expand(size, -1)
    ratios = []
    for _ in range(ROUNDS + 1):
        alone = _seconds_a_call(lambda: solo.step(rows_B), device)
        together = _seconds_a_call(lambda: stacked.step(rows_TB), device)
        ratios.append(size * alone / together)
    return statistics.median(ratios[1:])  # the first warms up


def _seconds_a_call(call: Callable[[], Tensor], device: torch.device) -> float:
    calls, started = 0, time.perf_counter()
    while True:
        call()
        calls += 1
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        passed = time.perf_counter() - started
        if passed > ROUND_SECONDS:
            return passed / calls


def _memory_taken(device: torch.device) -> int:
    """Bytes at the peak so far: of the device, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _memory_left(device: torch.device) -> int:
    """Bytes that are free now."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
