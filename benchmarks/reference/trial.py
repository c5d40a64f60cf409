"""Trials as a researcher's script runs them: train, evaluate, then the next; in a pool of processes, without a ledger.

Nothing is written to disk, so nothing can be resumed.
"""

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path

import torch

from benchmarks.reference.evaluation import evaluate
from benchmarks.reference.models import Reference, adam, shuffled_loader, train_epoch
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.dataset_card import DataKey
from mopoe_core.data.loading import load
from mopoe_core.data.types import Dataset
from mopoe_core.metrics.classifiers import Classifiers, trained_classifiers
from mopoe_core.training.run import SELECTION_SEED, new_model

CPU = torch.device("cpu")

PlainTrial = tuple[TrainingConfig, int]
"""A configuration and a seed."""


def plain_trial(config: TrainingConfig, seed: int, dataset: Dataset, judges: Classifiers) -> dict[str, float]:
    """Trains for `config.epochs` and evaluates; returns the metrics of `benchmarks.reference.evaluation.evaluate`.

    The initial weights are those of the package's trial with this seed. All other random numbers come from the global generator, which is
    seeded with it.
    """
    model = Reference(new_model(config, seed, dataset, CPU))
    torch.manual_seed(seed)
    loader = shuffled_loader(dataset.train.take(config.train_examples, SELECTION_SEED), config.batch_size)
    optimiser = adam(model, config)
    for _ in range(config.epochs):
        train_epoch(model, optimiser, loader)
    return evaluate(model, seed, dataset, judges)


def plain_trials(
    trials: Sequence[PlainTrial], data: Path, classifiers: Path, processes: int | None = None
) -> list[dict[str, float]]:
    """Returns the metrics of many trials, in their order, from a pool of processes with one thread each.

    `processes` is the number of cores by default. `data` is the folder of datasets, and `classifiers` that of their classifiers. Each
    process loads them once.
    """
    workers = processes or os.cpu_count() or 1
    spawn = multiprocessing.get_context("spawn")
    with _one_thread_each(), ProcessPoolExecutor(workers, mp_context=spawn) as pool:
        return list(pool.map(partial(_trial, data=data, classifiers=classifiers), trials))


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Gives one thread to each process that starts inside. torch and the probes' BLAS read the variable when they are loaded."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before


def _trial(trial: PlainTrial, data: Path, classifiers: Path) -> dict[str, float]:
    config, seed = trial
    return plain_trial(config, seed, *_loaded(config.data_key, data, classifiers))


@lru_cache(maxsize=2)
def _loaded(key: DataKey, data: Path, classifiers: Path) -> tuple[Dataset, Classifiers]:
    dataset = load(key, data)
    return dataset, trained_classifiers(dataset, classifiers, CPU)
