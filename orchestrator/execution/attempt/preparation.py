"""Prepares what trials need before training: datasets, classifiers, and the size of stacks."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data import loading
from mopoe_core.data.dataset_card import DataKey
from mopoe_core.data.own import user_data
from mopoe_core.data.types import Dataset
from mopoe_core.metrics.classifier_quality import Quality
from mopoe_core.metrics.classifiers import Classifiers, checked_classifier, quality_if_trained, trained_classifiers
from mopoe_core.networks.stacked_layers import NotStackable
from mopoe_core.storage.paths import AnyPath
from mopoe_core.training import throughput
from mopoe_core.training.run import new_model
from mopoe_core.training.stack import check_stackable
from orchestrator.execution import stack_sizes
from orchestrator.execution.attempt import device as devices
from orchestrator.execution.queue.job import WorkerContext
from orchestrator.execution.stack_sizes import Measured
from orchestrator.ledger.layout import Layout


def train_classifier(key: DataKey, modality: str, context: WorkerContext, data_hash: str) -> Quality:
    """Build the dataset and train one modality's classifier if storage does not have them yet; returns the classifier's quality.

    Trains with one thread, so that the classifier does not depend on how many cores the machine has. `data_hash` is the configuration's.
    Raises DataError if a user's own dataset has another hash here.
    """
    torch.set_num_threads(1)
    data = _checked_dataset(key, context, data_hash)
    chosen = next(m for m in data.modalities if m.name == modality)
    return checked_classifier(data, chosen, Layout(context.storage).classifiers)


def stored_classifiers(key: DataKey, modalities: Sequence[str], context: WorkerContext, data_hash: str) -> dict[str, Quality]:
    """Returns the quality of those classifiers that are in storage already, by modality. Builds and checks the dataset first.

    For a driver on the machine that trains: another process would need seconds to import torch.
    """
    torch.set_num_threads(1)
    data = _checked_dataset(key, context, data_hash)
    folder = Layout(context.storage).classifiers
    stored = {m.name: quality_if_trained(data, m, folder) for m in data.modalities if m.name in modalities}
    return {name: quality for name, quality in stored.items() if quality is not None}


def _checked_dataset(key: DataKey, context: WorkerContext, data_hash: str) -> Dataset:
    """Returns the dataset. Raises DataError if it is a user's own and has another hash than `data_hash`."""
    user_data.search_from(Path(context.root))
    if data_hash:
        user_data.check_repeats(key.dataset, data_hash)
    return loading.load(key, Path(context.data))


def measure_stack_size(config: dict[str, Any], most: int, context: WorkerContext) -> Measured:
    """Returns the best size of a stack of such trials on this machine, up to `most`: from storage, or measured here."""
    user_data.search_from(Path(context.root))
    settings = TrainingConfig.model_validate(config)
    device = devices.use(context.threads, context.gpu)
    machine = devices.machine(context.threads, device)
    stored = stack_sizes.read(context.storage, settings, machine)
    if stored is not None and stored.answers(most):
        return stored
    fastest = throughput.measure(settings, most, dataset(settings.data_key, context), device)
    gain = {str(size): value for size, value in fastest.gain.items()}
    measured = Measured(fastest.size, gain, most, fastest.limit, machine)
    stack_sizes.write(context.storage, settings, measured)
    return measured


def why_unstackable(config: dict[str, Any], context: WorkerContext) -> str:
    """Returns why trials of a configuration do not stack; empty if they do."""
    user_data.search_from(Path(context.root))
    settings = TrainingConfig.model_validate(config)
    try:
        model = new_model(settings, 0, dataset(settings.data_key, context), torch.device("cpu"))
        check_stackable(model, hides=settings.missing > 0)
    except NotStackable as error:
        return str(error)
    return ""


def dataset(key: DataKey, context: WorkerContext) -> Dataset:
    """Returns a dataset, kept between the trials of a reused worker."""
    return _dataset(key, context.data, context.root)


def classifiers(key: DataKey, context: WorkerContext, device: torch.device) -> Classifiers:
    """Returns a dataset's classifiers, kept between the trials of a reused worker."""
    return _classifiers(key, context.data, context.root, context.storage, str(device))


@lru_cache(maxsize=2)
def _dataset(key: DataKey, data: str, root: str) -> Dataset:
    """`root` is part of the cache's key, because a user's own dataset is looked for there."""
    return loading.load(key, Path(data))


@lru_cache(maxsize=2)
def _classifiers(key: DataKey, data: str, root: str, storage: AnyPath, device: str) -> Classifiers:
    return trained_classifiers(_dataset(key, data, root), Layout(storage).classifiers, torch.device(device))
