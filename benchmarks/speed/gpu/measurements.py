"""Times of steps and of the evaluation, floating-point operations, and memory."""

from dataclasses import dataclass
from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.gpu.cases import Case, random_data, tested_on, untrained_classifiers
from benchmarks.speed.gpu.clock import seconds_a_call, synchronize
from mopoe_core.data.types import Dataset
from mopoe_core.metrics.evaluation import evaluate
from mopoe_core.training.run import Run
from mopoe_core.training.stack import Stack
from mopoe_core.training.stacked_training import is_out_of_memory

SIZES = (4, 16, 64)
ROUNDS = 3
COUNTED_BATCH = 8
TESTED = 512


@dataclass(frozen=True)
class StepTime:
    """One way to take a step. Ratios are to one trial alone in the same rounds."""

    case: str
    precision: str
    way: str
    """`eager`, `graph`, or `stack of 16`."""
    trials: int
    seconds: float | None
    """None where memory was short."""
    over_eager: float | None = None
    """How many times as fast as as many eager steps alone."""
    over_graph: float | None = None
    """How many times as fast as as many graphed steps alone."""
    peak_bytes: int = 0
    is_graphed: bool = False


@dataclass(frozen=True)
class EvaluationTime:
    """One evaluation of a model."""

    case: str
    precision: str
    seconds: float
    examples: int


def alone(case: Case, policy: str, device: torch.device, is_rehearsal: bool) -> list[StepTime]:
    """A step of one trial, kernel by kernel and as one graph."""
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
    """A step of a stack, turn about with one of a trial alone."""
    way = f"stack of {size}"
    try:
        run, rows = _solo(case, policy, device, is_rehearsal)
        _reset_peak(device)
        stack = Stack([Run(run.config, seed, _data(case, is_rehearsal), device) for seed in range(size)])
        stacked_rows = rows.expand(size, -1)
        rounds = [
            (
                seconds_a_call(lambda: run.ungraphed_step(rows), device),
                seconds_a_call(lambda: run.step(rows), device),
                seconds_a_call(lambda: stack.step(stacked_rows), device),
            )
            for _ in range(ROUNDS)
        ]
        over_eager, over_graph = (median(size * one[i] / one[2] for one in rounds) for i in range(2))
        seconds = median(one[2] for one in rounds)
        return StepTime(case.name, policy, way, size, seconds, over_eager, over_graph, _peak(device), stack.graphed.possible)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    return StepTime(case.name, policy, way, size, None)  # here, where the error and the memory that it holds is gone


def evaluated(case: Case, policy: str, device: torch.device, is_rehearsal: bool) -> EvaluationTime:
    """The whole evaluation of one model on some test examples; the second of two, because the first sets up libraries."""
    run, _ = _solo(case, policy, device, is_rehearsal)
    dataset = tested_on(_data(case, is_rehearsal), 100 if is_rehearsal else TESTED)
    model, classifiers = run.trained().model, untrained_classifiers(dataset, device)
    seconds = seconds_a_call(lambda: evaluate(model, 0, dataset, classifiers, device), device, 0.01)
    return EvaluationTime(case.name, policy, seconds, len(dataset.test))


def flops_a_step(case: Case, batch: int) -> int:
    """Floating-point operations of a step of one trial, counted on the CPU with a small batch: they grow in step with it."""
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
    """Bytes that the process took of the device at most, with those of graphs; 0 on a CPU."""
    return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else 0
