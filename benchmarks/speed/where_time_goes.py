"""Where the time of a step and of an evaluation goes, against the core's measured peak: `python -m benchmarks.speed.where_time_goes`.

Convolutions and matrix products are arithmetic that any implementation has to do. Their time at the peak is the least that a core could
need for them. The peak is what a product of two large square float32 matrices reaches, measured beside each line. One thread, core
seconds; the profiler says only how a line's time is shared out.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.arguments import add_classifiers, add_data
from benchmarks.speed.evaluation import untrained
from benchmarks.speed.measure import as_in_a_worker, timed
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.loading import load
from mopoe_core.metrics.evaluation import evaluate
from mopoe_core.training.run import Run

CPU = torch.device("cpu")
STEP_CASES = (("mnist_svhn_text", "small"), ("mnist_svhn_text", "paper"), ("polymnist", "small"), ("polymnist", "paper"))
EVALUATION_CASES = (("mnist_svhn_text", "small", 500), ("mnist_svhn_text", "paper", 100), ("polymnist", "small", 100))
"""Dataset, networks, test examples."""
PRODUCTS = {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"}
SIDE = 2048
"""Rows and columns of the matrices of the peak."""


@dataclass(frozen=True)
class Row:
    """Time of one piece of work, in core seconds, and how it is shared out."""

    name: str
    seconds: float
    convolutions_s: float
    products_s: float
    other_torch_s: float
    """Everything else that torch does."""
    outside_s: float
    """Python, NumPy and scikit-learn: the fits of the probes in an evaluation."""
    gflop: float
    """Of convolutions and products."""
    peak: float
    """GFLOP a second of one core on a square product."""


def peak_gflops(rounds: int = 5) -> float:
    """GFLOP a second of one core, the best of several products of square matrices."""
    left, right = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    return 2 * SIDE**3 / min(timed(lambda: left @ right) for _ in range(rounds)) / 1e9


def shared_out(name: str, work: Callable[[], object], times: int) -> Row:
    """Where the time of `work` goes; it runs `times` for the clock, and twice more for the profiler and the count of operations."""
    work()
    peak = peak_gflops()
    seconds = timed(work, times)
    peak = max(peak, peak_gflops())
    counter = FlopCounterMode(display=False)
    with counter:
        work()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        started = time.perf_counter()  # the profiler's times are on the clock too
        work()
        profiled_s = time.perf_counter() - started
    by_kind = {"convolutions": 0.0, "products": 0.0, "other": 0.0}
    for event in profiled.key_averages():
        by_kind[_kind(event.key)] += event.self_cpu_time_total / 1e6
    convolutions, products, other = (seconds * by_kind[kind] / profiled_s for kind in ("convolutions", "products", "other"))
    outside = seconds - convolutions - products - other
    return Row(name, seconds, convolutions, products, other, outside, counter.get_total_flops() / 1e9, peak)


def _kind(operation: str) -> str:
    if "conv" in operation:
        return "convolutions"
    return "products" if operation in PRODUCTS else "other"


def step(dataset: str, networks: str, data: Path) -> Row:
    """MoPoE's training step on a batch of 256."""
    config = TrainingConfig.model_validate({"dataset": dataset, "model": "mopoe", "networks": networks})
    run = Run(config, 0, load(config.data_key, data), CPU)
    rows_B = torch.arange(config.batch_size)
    return shared_out(f"step/mopoe/{dataset}/{networks}", lambda: run.step(rows_B), 3)


def evaluation(dataset: str, networks: str, tested: int, data: Path, classifiers: Path) -> Row:
    """The evaluation of an untrained MoPoE."""
    model, loaded, judges = untrained("mopoe", dataset, networks, tested, data, classifiers)
    name = f"evaluation/mopoe/{dataset}/{networks}/{tested} examples"
    return shared_out(name, lambda: evaluate(model, 0, loaded, judges, CPU), 1)


def rows(data: Path, classifiers: Path) -> Iterator[Row]:
    """Every line of this module, as it comes."""
    for dataset, networks in STEP_CASES:
        yield step(dataset, networks, data)
    for dataset, networks, tested in EVALUATION_CASES:
        yield evaluation(dataset, networks, tested, data, classifiers)


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description="Where the time of a step and of an evaluation goes.")
    add_data(parser)
    add_classifiers(parser)
    asked = parser.parse_args()
    as_in_a_worker()
    with tempfile.TemporaryDirectory() as scratch:
        for row in rows(asked.data, asked.classifiers or Path(scratch)):
            print(row, flush=True)


if __name__ == "__main__":
    main()
