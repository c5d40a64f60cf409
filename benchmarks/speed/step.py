"""Compares training steps and epochs with the reference's: `python -m benchmarks.speed.step`.

    step/MODEL/DATASET                a step on a batch in memory: random numbers, loss, gradients, Adam
    epoch/MODEL/DATASET               an epoch's time for each step, with reading the batch; the package's with its checkpoint
    epoch/MODEL/DATASET/K workers     the same, with K loader processes for the reference, whose core time counts

Batches of 256, networks and settings of the paper, one thread, core seconds for each step.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.arguments import add_data
from benchmarks.reference.models import MODELS, Reference, adam, shuffled_loader, train_epoch, train_step
from benchmarks.speed.measure import Row, as_in_a_worker, core_seconds, interleaved, row
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.loading import load
from mopoe_core.data.types import Dataset
from mopoe_core.metric_names import Epoch
from mopoe_core.random_streams import generator
from mopoe_core.training.run import SELECTION_SEED, Run, new_model
from mopoe_core.training.training import train

CPU = torch.device("cpu")
SEED = 0
STEPS_A_ROUND = {"mnist_svhn_text": 4, "polymnist": 1}
STEPS_AN_EPOCH = {"mnist_svhn_text": 8, "polymnist": 3}
LOADER_PROCESSES = 2


def paper_config(model: str, dataset: str, **fields: object) -> TrainingConfig:
    """Returns the paper's settings and networks on embedded data."""
    return TrainingConfig.model_validate({"dataset": dataset, "model": model, **fields})


def our_step(run: Run, x: dict[str, torch.Tensor]) -> None:
    """Takes the step of `Run.step` on a batch that is already read."""
    loss = run.model.loss(x, run.draws())
    run.optimiser.zero_grad()
    torch.autograd.backward(loss.total)
    run.optimiser.step()


def training_step(config: TrainingConfig, dataset: Dataset, rounds: int = 7) -> Row:
    """Compares steps from the same weights on the same batch."""
    run = Run(config, SEED, dataset, CPU)
    reference = Reference(run.model).train()
    optimiser = adam(reference, config)
    rows_B = torch.randperm(len(dataset.train), generator=generator(CPU, SEED, "benchmark"))[: config.batch_size]
    x = dataset.train.batch(rows_B)
    name, times = f"step/{config.model}/{config.dataset}", STEPS_A_ROUND[config.dataset]
    return interleaved(name, lambda: our_step(run, x), lambda: train_step(reference, optimiser, x), rounds, times)


def training_epoch(config: TrainingConfig, dataset: Dataset, rounds: int = 7, num_workers: int = 0) -> Row:
    """Compares the time of an epoch, divided by its steps.

    `mopoe_core.training.training.train` pauses after each epoch for one of the reference. Epochs are short here, so the package's
    checkpoint weighs more than in a trial.
    """
    steps = STEPS_AN_EPOCH[config.dataset]
    short = {"epochs": rounds + 1, "train_examples": steps * config.batch_size}
    config = TrainingConfig.model_validate(config.model_dump() | short)
    reference = Reference(new_model(config, SEED, dataset, CPU))
    optimiser = adam(reference, config)
    examples = dataset.train.take(config.train_examples, SELECTION_SEED)
    loader = shuffled_loader(examples, config.batch_size, num_workers)
    ours_s: list[float] = []
    reference_s: list[float] = []
    started = core_seconds()

    def after_ours(epoch: Epoch) -> None:
        nonlocal started
        ended = core_seconds()
        train_epoch(reference, optimiser, loader)
        ours_s.append((ended - started) / steps)
        started = core_seconds()
        reference_s.append((started - ended) / steps)

    with TemporaryDirectory() as folder:
        train(config, SEED, dataset, CPU, Path(folder) / "checkpoint.pt", after_ours)
    suffix = f"/{num_workers} workers" if num_workers else ""
    return row(f"epoch/{config.model}/{config.dataset}{suffix}", ours_s[1:], reference_s[1:])


def rows(data: Path, rounds: int = 7) -> Iterator[Row]:
    """Yields every comparison of this module; `data` is the folder of datasets."""
    for name in STEPS_A_ROUND:
        dataset = load(paper_config("mopoe", name).data_key, data)
        for model in MODELS:
            yield training_step(paper_config(model, name), dataset, rounds)
        for model in MODELS:
            yield training_epoch(paper_config(model, name), dataset, rounds)
        if name == "mnist_svhn_text":
            yield training_epoch(paper_config("mopoe", name), dataset, rounds, LOADER_PROCESSES)


def main() -> None:
    """Prints the comparisons."""
    parser = argparse.ArgumentParser(description="Compares training steps and epochs with the reference's.")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each comparison, at least 2")
    add_data(parser)
    arguments = parser.parse_args()
    as_in_a_worker()
    for result in rows(arguments.data, arguments.rounds):
        print(
            f"{result.name:38} ours {result.ours_s * 1e3:8.1f} ms  reference {result.reference_s * 1e3:8.1f} ms  "
            f"ratio {result.ratio:5.2f} ({result.low:.2f} to {result.high:.2f}, n = {result.n})",
            flush=True,
        )


if __name__ == "__main__":
    main()
