"""Stacks against their trials one after another: `python -m benchmarks.speed.stacks`.

    stack/K/DATASET/NETWORKS/batch B     a step of K trials as one, against K solo steps
    auto/DATASET/NETWORKS                a step of as many trials as `stack: auto` chooses, against as many solo steps

MoPoE, one thread, core seconds a step of the stack.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch

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
    """MoPoE with these fields."""
    return TrainingConfig.model_validate({"model": "mopoe", "epochs": 1, **fields})


def against_solo(name: str, settings: TrainingConfig, size: int, dataset: Dataset, rounds: int) -> Row:
    """A stack's step against its trials' steps one after another, on the same examples; a trial alone is no stack."""
    solo, others = Run(settings, 0, dataset, CPU), [Run(settings, seed, dataset, CPU) for seed in range(size)]
    rows_B = torch.arange(settings.batch_size)
    rows_TB = rows_B.expand(size, -1)
    stacked = Stack(others) if size > 1 else None

    def one_after_another() -> None:
        for _ in range(size):
            solo.step(rows_B)

    together = (lambda: stacked.step(rows_TB)) if stacked else (lambda: others[0].step(rows_B))
    return interleaved(name, together, one_after_another, rounds, 1)


def chosen(settings: TrainingConfig, dataset: Dataset, rounds: int) -> tuple[Row, Throughput]:
    """What `auto` chooses, and how it then does."""
    found = measure(settings, MOST, dataset, CPU)
    name = f"auto/{settings.dataset}/{settings.networks}, which chose {found.size}"
    return against_solo(name, settings, found.size, dataset, rounds), found


def rows(data: Path, rounds: int = 7) -> Iterator[Row]:
    """Every comparison of this module, as it comes."""
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
    """Print the comparisons."""
    parser = argparse.ArgumentParser(description="Stacks against their trials one after another.")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each comparison, at least 2")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of datasets")
    asked = parser.parse_args()
    as_in_a_worker()
    for found in rows(asked.data, asked.rounds):
        print(f"{found.name:50} ratio {found.ratio:5.2f} ({found.low:.2f} to {found.high:.2f}, n = {found.n})", flush=True)


if __name__ == "__main__":
    main()
