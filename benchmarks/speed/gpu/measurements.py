"""Measures times of steps and of the evaluation, floating-point operations, and memory."""

from dataclasses import dataclass, replace
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.gpu.cases import EXAMPLES, Case, random_data, tested_on, untrained_classifiers
from benchmarks.speed.gpu.clock import seconds_a_call, synchronize
from mopoe_core.data.types import Dataset
from mopoe_core.metrics.evaluation import evaluate
from mopoe_core.training.run import Run
from mopoe_core.training.stack import Stack
from mopoe_core.training.stacked_training import is_out_of_memory

SIZES = (4, 16, 64)
ROUNDS = 3
COUNTED_BATCH = 8
TESTED = (512, EXAMPLES)
REHEARSED_TESTED = (50, 100)


@dataclass(frozen=True)
class StepTime:
    """The time of one way to take a step. Speedups are over one trial alone in the same rounds."""

    case: str
    precision: str
    way: str
    """`eager`, `graph`, or `stack of 16`."""
    trials: int
    seconds: float | None
    """None if memory was too small, or would have been."""
    over_eager: float | None = None
    """Speedup over the same number of eager steps of one trial."""
    over_graph: float | None = None
    """Speedup over the same number of graphed steps of one trial."""
    peak_bytes: int = 0
    is_graphed: bool = False
    was_tried: bool = True
    """False if the step was not taken, because by the memory of a smaller stack it cannot fit."""


@dataclass(frozen=True)
class EvaluationTime:
    """The time of one evaluation of a model."""

    case: str
    precision: str
    seconds: float
    examples: int
    fixed: float
    """Seconds that do not depend on the number of test examples: the fits of the probes, the samples from the prior, the table."""
    per_example: float
    """Seconds that each further test example adds."""

    def seconds_for(self, examples: int) -> float:
        """Returns the seconds of an evaluation on so many test examples."""
        return self.fixed + self.per_example * examples


def alone(case: Case, policy: str, device: torch.device, is_rehearsal: bool) -> list[StepTime]:
    """Measures a step of one trial, kernel by kernel and as one CUDA graph."""
    run, rows = _solo(case, policy, device, is_rehearsal)
    _reset_peak(device)
    eager = median(seconds_a_call(lambda: run.ungraphed_step(rows), device) for _ in range(ROUNDS))
    peak = _peak(device)
    graph = median(seconds_a_call(lambda: run.step(rows), device) for _ in range(ROUNDS))
    return [
        StepTime(case.name, policy, "eager", 1, eager, 1.0, graph / eager, peak),
        StepTime(case.name, policy, "graph", 1, graph, eager / graph, 1.0, _peak(device), run.graphed.possible),
    ]


def stacked(case: Case, policy: str, size: int, device: torch.device, is_rehearsal: bool) -> StepTime:
    """Measures a step of a stack and the steps of one trial, in turns."""
    way = f"stack of {size}"
    try:
        run, rows = _solo(case, policy, device, is_rehearsal)
        data = _data(case, is_rehearsal)
        shared = replace(data, train=data.train.to(device))  # one copy for all runs, as in a sweep
        stack = Stack([Run(run.config, seed, shared, device) for seed in range(size)])
        stacked_rows = rows.expand(size, -1)
        stack.step(stacked_rows)
        _reset_peak(device)  # the first step tries out both ways of each convolution, and no later one needs as much memory
        stack_s, over_eager, over_graph = [], [], []
        for _ in range(ROUNDS):
            eager = seconds_a_call(lambda: run.ungraphed_step(rows), device)
            graph = seconds_a_call(lambda: run.step(rows), device)
            seconds = seconds_a_call(lambda: stack.step(stacked_rows), device)
            stack_s.append(seconds)
            over_eager.append(size * eager / seconds)
            over_graph.append(size * graph / seconds)
        speedups = median(over_eager), median(over_graph)
        return StepTime(case.name, policy, way, size, median(stack_s), *speedups, _peak(device), stack.graphed.possible)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    return StepTime(case.name, policy, way, size, None)  # outside of `except`, where the error no longer holds memory


SPARED = 0.8
"""The share of a smaller stack's memory that each of its trials certainly needs in a larger stack."""


def may_fit(smaller: StepTime, size: int, memory: int) -> bool:
    """Returns whether a stack of `size` may fit into a device's memory, by what a smaller stack took.

    A stack that certainly does not fit would cost most of a minute, in which the host initialises its weights. It always may fit where
    memory is not known, as on a CPU.
    """
    if smaller.seconds is None:
        return False
    return not memory or SPARED * smaller.peak_bytes * size / smaller.trials <= memory


def too_large(case: Case, policy: str, size: int) -> StepTime:
    """Returns the row of a stack that was not tried, because it cannot fit."""
    return StepTime(case.name, policy, f"stack of {size}", size, None, was_tried=False)


def memory(device: torch.device) -> int:
    """Returns the bytes of the device's memory; 0 for a CPU, where it is not known."""
    return torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else 0


def evaluated(case: Case, policy: str, device: torch.device, is_rehearsal: bool) -> EvaluationTime:
    """Measures the evaluation of one model on few and on many test examples, each after one that sets up libraries.

    From the two follows what an evaluation costs on any number of examples.
    """
    run, _ = _solo(case, policy, device, is_rehearsal)
    data = _data(case, is_rehearsal)
    model, classifiers = run.trained().model, untrained_classifiers(data, device)

    def seconds(examples: int) -> float:
        dataset = tested_on(data, examples)
        return seconds_a_call(lambda: evaluate(model, 0, dataset, classifiers, device), device, 0.01)

    few, many = REHEARSED_TESTED if is_rehearsal else TESTED
    return evaluation_time(case, policy, (few, seconds(few)), (many, seconds(many)))


def evaluation_time(case: Case, policy: str, few: tuple[int, float], many: tuple[int, float]) -> EvaluationTime:
    """Returns the time of an evaluation that was measured on few and on many examples, each with its seconds."""
    (few_examples, few_seconds), (many_examples, many_seconds) = few, many
    per_example = max(0.0, (many_seconds - few_seconds) / (many_examples - few_examples))
    fixed = max(0.0, few_seconds - per_example * few_examples)
    return EvaluationTime(case.name, policy, few_seconds, few_examples, fixed, per_example)


def flops_a_step(case: Case, batch: int) -> int:
    """Returns the floating-point operations of a step of one trial, counted on the CPU with a small batch and scaled to `batch`."""
    config = case.config("fp32", is_rehearsal=True).model_copy(update={"batch_size": COUNTED_BATCH})
    run = Run(config, 0, random_data(config), torch.device("cpu"))
    with FlopCounterMode(display=False) as counter:
        run.ungraphed_step(torch.arange(COUNTED_BATCH))
    counted: int = counter.get_total_flops()
    return counted * batch // COUNTED_BATCH


_DATA: dict[tuple[Case, bool], Dataset] = {}


def _data(case: Case, is_rehearsal: bool) -> Dataset:
    key = case, is_rehearsal
    if key not in _DATA:
        _DATA[key] = random_data(case.config("fp32", is_rehearsal))
    return _DATA[key]


def _solo(case: Case, policy: str, device: torch.device, is_rehearsal: bool) -> tuple[Run, torch.Tensor]:
    config = case.config(policy, is_rehearsal)
    return Run(config, 0, _data(case, is_rehearsal), device), torch.arange(config.batch_size, device=device)


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        synchronize(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _peak(device: torch.device) -> int:
    """Returns the process's peak memory on the device in bytes, with that of graphs; 0 on a CPU."""
    return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else 0
