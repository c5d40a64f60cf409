"""What a stack gains on a GPU: `python -m benchmarks.speed.gpu`, on a machine that has one. Not run where this was written.

For each dataset, kind of networks and size of stack: seconds a step, the ratio to as many solo steps in the same rounds, kernels that the
profiler saw, and the peak of memory. Writes `docs/performance_gpu.md`.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

import torch

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.loading import load
from mopoe_core.data.types import Dataset
from mopoe_core.training.run import Run
from mopoe_core.training.stack import Stack
from mopoe_core.training.stacked_training import is_out_of_memory

SIZES = (1, 2, 4, 8, 16, 32, 64)
STEPS = 20
CASES = (
    {"dataset": "mnist_svhn_text", "networks": "small"},
    {"dataset": "mnist_svhn_text", "networks": "paper"},
    {"dataset": "polymnist", "networks": "small"},
    {"dataset": "polymnist", "networks": "paper"},
)
HEAD = ("dataset", "networks", "model", "K", "ms a step", "K solo steps / step", "quartiles", "kernels", "peak GB")


@dataclass(frozen=True)
class Row:
    """One size of stack of one configuration."""

    config: TrainingConfig
    size: int
    step_s: float
    """Median over the rounds."""
    ratio: float
    low: float
    high: float
    kernels: int
    peak_bytes: int

    def cells(self) -> tuple[str, ...]:
        """As a row of the table."""
        c, gigabytes = self.config, self.peak_bytes / 2**30
        numbers = (f"{self.step_s * 1e3:.2f}", f"{self.ratio:.2f}", f"{self.low:.2f} to {self.high:.2f}")
        return (c.dataset, c.networks, c.model, str(self.size), *numbers, str(self.kernels), f"{gigabytes:.2f}")


def measured(config: TrainingConfig, size: int, dataset: Dataset, device: torch.device, rounds: int) -> Row:
    """A stack against solo steps, in rounds that alternate."""
    rows_B = torch.randperm(len(dataset.train), device=device)[: config.batch_size]
    torch.cuda.reset_peak_memory_stats(device)
    stacked = Stack([Run(config, seed, dataset, device) for seed in range(size)])
    together = _calls(lambda: stacked.step(rows_B.expand(size, -1)), device)
    together()
    peak, kernels = torch.cuda.max_memory_allocated(device), _kernels(lambda: stacked.step(rows_B.expand(size, -1)), device)
    solo = Run(config, 0, dataset, device)
    alone = _calls(lambda: solo.step(rows_B), device)
    alone()
    pairs = [(alone(), together()) for _ in range(rounds)]
    low, middle, high = quantiles([size * one / many for one, many in pairs], n=4, method="inclusive")
    return Row(config, size, median(many for _, many in pairs), middle, low, high, kernels, peak)


def _calls(step: Callable[[], object], device: torch.device) -> Callable[[], float]:
    """Seconds a step, by the device's own clock, over several steps."""

    def seconds() -> float:
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record(torch.cuda.current_stream(device))
        for _ in range(STEPS):
            step()
        end.record(torch.cuda.current_stream(device))
        end.synchronize()
        return float(start.elapsed_time(end)) / STEPS / 1e3

    return seconds


def _kernels(step: Callable[[], object], device: torch.device) -> int:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        step()
        torch.cuda.synchronize(device)
    return sum(event.count for event in profile.key_averages())


def rows(data: Path, device: torch.device, rounds: int) -> Iterator[Row]:
    """Every case, model and size, until memory is short."""
    for case in CASES:
        for model in ("mvae", "mmvae", "mopoe"):
            config = TrainingConfig.model_validate({**case, "model": model, "epochs": 1})
            dataset = load(config.data_key, data)
            for size in SIZES:
                try:
                    yield measured(config, size, dataset, device, rounds)
                except RuntimeError as error:
                    if not is_out_of_memory(error):
                        raise
                    break
                finally:
                    torch.cuda.empty_cache()


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--into", type=Path, default=Path("docs/performance_gpu.md"))
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("error: no CUDA device is available; this table is for a machine that has one")
    device = torch.device("cuda")
    lines = [
        f"# Stacks on {torch.cuda.get_device_name(device)}, torch {torch.__version__}",
        "",
        f"`python -m benchmarks.speed.gpu --rounds {asked.rounds}`; medians and quartiles over the rounds, {STEPS} steps each.",
        "",
        *("| " + " | ".join(cells) + " |" for cells in (HEAD, ("---",) * len(HEAD))),
    ]
    for row in rows(asked.data, device, asked.rounds):
        lines.append("| " + " | ".join(row.cells()) + " |")
        print(lines[-1], flush=True)
    asked.into.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
