"""Compares stacks with their trials one after another: `python -m benchmarks.speed.stacks`.

    stack/K/DATASET/NETWORKS/batch B     one step of a stack of K trials, against K solo steps
    auto/DATASET/NETWORKS                the same, with the number of trials that `stack: auto` chooses

MoPoE, one thread, core seconds for each step of the stack.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.arguments import add_data
from benchmarks.speed.measure import Row, as_in_a_worker, interleaved
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.loading import load
from mopoe_core.data.own import user_data
from mopoe_core.data.types import Dataset
from mopoe_core.training.run import Run
from mopoe_core.training.stack import Stack
from mopoe_core.training.throughput import Throughput, measure

CPU = torch.device("cpu")
STACKED = 16
MOST = 8
TABULAR = {"dataset": "examples/tabular.py:tumours", "latent_dim": 4, "batch_size": 50}
IMAGES = {"dataset": "mnist_svhn_text", "networks": "small"}


def config(**fields: object) -> TrainingConfig:
    """Returns the configuration of a MoPoE with these fields."""
    return TrainingConfig.model_validate({"model": "mopoe", "epochs": 1, **fields})


def against_solo(name: str, settings: TrainingConfig, size: int, dataset: Dataset, rounds: int) -> Row:
    """Compares a stack's step with `size` solo steps on the same examples. A single trial is not stacked."""
    solo, runs = Run(settings, 0, dataset, CPU), [Run(settings, seed, dataset, CPU) for seed in range(size)]
    rows_B = torch.arange(settings.batch_size)
    rows_TB = rows_B.expand(size, -1)
    stack = Stack(runs) if size > 1 else None

    def one_after_another() -> None:
        for _ in range(size):
            solo.step(rows_B)

    together = (lambda: stack.step(rows_TB)) if stack else (lambda: runs[0].step(rows_B))
    return interleaved(name, together, one_after_another, rounds, 1)


def chosen(settings: TrainingConfig, dataset: Dataset, rounds: int) -> tuple[Row, Throughput]:
    """Returns the comparison of a stack of the size that `auto` chooses, and the throughput that `auto` measured."""
    throughput = measure(settings, MOST, dataset, CPU)
    name = f"auto/{settings.dataset}/{settings.networks}, which chose {throughput.size}"
    return against_solo(name, settings, throughput.size, dataset, rounds), throughput


def rows(data: Path, rounds: int = 7) -> Iterator[Row]:
    """Yields every comparison of this module."""
    user_data.search_from(Path(__file__).parents[2])
    tabular = config(**TABULAR)
    columns = load(tabular.data_key, data)
    yield against_solo(f"stack/{STACKED}/tabular/small/batch 50", tabular, STACKED, columns, rounds)
    images = load(config(**IMAGES).data_key, data)
    for batch in (16, 64, 256):
        settings = config(**IMAGES, batch_size=batch)
        yield against_solo(f"stack/{STACKED}/mnist_svhn_text/small/batch {batch}", settings, STACKED, images, rounds)
    paper = config(dataset="mnist_svhn_text", networks="paper")
    yield against_solo("stack/8/mnist_svhn_text/paper/batch 256", paper, MOST, images, min(rounds, 3))
    yield chosen(paper, images, min(rounds, 3))[0]


def main() -> None:
    """Prints the comparisons."""
    parser = argparse.ArgumentParser(description="Compares stacks with their trials one after another.")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each comparison, at least 2")
    add_data(parser)
    arguments = parser.parse_args()
    as_in_a_worker()
    for result in rows(arguments.data, arguments.rounds):
        print(f"{result.name:50} ratio {result.ratio:5.2f} ({result.low:.2f} to {result.high:.2f}, n = {result.n})", flush=True)


if __name__ == "__main__":
    main()
