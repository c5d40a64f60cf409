"""Measures how many trials to stack. The best number depends on networks, batch size and device.

The time of small networks on small batches goes into calls, and a stack makes one call for all its trials. Large networks use the whole
machine alone, and on a CPU a stack of them only overflows the caches sooner.
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
from mopoe_core.networks.stacked_layers import NotStackable
from mopoe_core.training.run import SELECTION_SEED, Run
from mopoe_core.training.stack import Stack, check_stackable
from mopoe_core.training.stacked_training import is_out_of_memory

WORTH = 1.05
"""A stack is used only if it is at least this many times as fast as its trials one after another."""
ROUND_SECONDS = 0.1
ROUNDS = 3
MEMORY_SHARE = 0.4
"""Twice a stack's size is tried only if the stack took at most this share of the memory that the device has left."""


@dataclass(frozen=True)
class Throughput:
    """The measured gains of stacks."""

    gain: dict[int, float]
    """For each size of a stack: the time of its trials' steps one after another, divided by the time of the stack's step."""
    most: int
    """The largest size that the caller allowed."""
    limit: str
    """The reason why no larger size was tried: `most`, `slower`, `memory`, or the layer that does not stack."""

    @property
    def size(self) -> int:
        """The fastest size; 1 if no stack is clearly faster than single trials."""
        best = max(self.gain, key=lambda size: self.gain[size], default=1)
        return best if self.gain.get(best, 0) >= WORTH else 1


def measure(config: TrainingConfig, most: int, dataset: Dataset, device: torch.device) -> Throughput:
    """Measure stacks of 2, 4, 8, ... trials of a configuration, up to `most`, until they become slower or memory becomes short."""
    one_batch = replace(dataset, train=dataset.train.take(config.batch_size, SELECTION_SEED))
    settings = TrainingConfig.model_validate(
        config.model_dump() | {"scale": None, "epochs": 1, "train_examples": None, "missing": 0.0}
    )
    gain: dict[int, float] = {}
    solo = Run(settings, 0, one_batch, device)
    size, limit = 2, ""
    while size <= most and not limit:
        memory_before = _memory_taken(device)
        try:
            check_stackable(solo.model, hides=config.missing > 0)
            gain[size] = _gain(solo, size, settings, one_batch, device)
        except NotStackable as error:
            limit = str(error)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            limit = "memory"
        else:
            limit = _limit_after(gain, size, _memory_taken(device) - memory_before, device)
        size *= 2
    return Throughput(gain, most, limit or "most")


def _limit_after(gain: dict[int, float], size: int, memory: int, device: torch.device) -> str:
    """The reason not to try twice this size, which took `memory` bytes; empty if there is none."""
    if gain[size] < max(gain.values()):
        return "slower"
    return "memory" if memory > MEMORY_SHARE * _memory_left(device) else ""


def _gain(solo: Run, size: int, settings: TrainingConfig, dataset: Dataset, device: torch.device) -> float:
    """The median gain over rounds. In each round solo steps and the stack's steps take turns, so that other load slows both."""
    stacked = Stack([Run(settings, seed, dataset, device) for seed in range(size)])
    rows_B = torch.arange(settings.batch_size, device=device)
    rows_TB = rows_B.expand(size, -1)
    ratios = []
    for _ in range(ROUNDS + 1):
        solo_seconds = _seconds_per_call(lambda: solo.step(rows_B), device)
        stack_seconds = _seconds_per_call(lambda: stacked.step(rows_TB), device)
        ratios.append(size * solo_seconds / stack_seconds)
    return statistics.median(ratios[1:])  # the first round warms up


def _seconds_per_call(call: Callable[[], Tensor], device: torch.device) -> float:
    """The mean over calls that together take more than ROUND_SECONDS."""
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
    """Bytes of memory at the peak until now: of the device, or on a CPU of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _memory_left(device: torch.device) -> int:
    """Bytes of memory that are free now."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
