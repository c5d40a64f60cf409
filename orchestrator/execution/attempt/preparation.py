"""What trials need before they are trained: datasets, classifiers, and how many of them stack."""

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
from mopoe_core.networks.stacked_modules import NotStackable
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
    """Build the dataset and train one modality's classifier where that has not been done; returns the classifier's quality.

    With one thread, so that the classifier does not depend on how many cores the machine has. `data_hash` is the configuration's:
    raises DataError where a user's own dataset is another one here.
    """
    torch.set_num_threads(1)
    loaded = _checked(key, context, data_hash)
    wanted = next(m for m in loaded.modalities if m.name == modality)
    return checked_classifier(loaded, wanted, Layout(context.storage).classifiers)


def stored_classifiers(key: DataKey, modalities: Sequence[str], context: WorkerContext, data_hash: str) -> dict[str, Quality]:
    """Returns the quality of the classifiers that storage holds, by modality.

    Otherwise as `train_classifier`, for a driver on the machine that trains: another process that imports torch would cost seconds.
    """
    torch.set_num_threads(1)
    loaded = _checked(key, context, data_hash)
    stored = {
        m.name: quality_if_trained(loaded, m, Layout(context.storage).classifiers)
        for m in loaded.modalities
        if m.name in modalities
    }
    return {name: quality for name, quality in stored.items() if quality is not None}


def _checked(key: DataKey, context: WorkerContext, data_hash: str) -> Dataset:
    user_data.search_from(Path(context.root))
    if data_hash:
        user_data.check_repeats(key.dataset, data_hash)
    return loading.load(key, Path(context.data))


def measure_stack_size(config: dict[str, Any], most: int, context: WorkerContext) -> Measured:
    """Returns the best size of a stack of such trials on this machine, up to `most`: from storage, or measured here."""
    user_data.search_from(Path(context.root))
    settings, device = TrainingConfig.model_validate(config), devices.use(context.threads, context.gpu)
    machine = devices.machine(context.threads, device)
    known = stack_sizes.remembered(context.storage, settings, machine)
    if known is not None and known.answers(most):
        return known
    fastest = throughput.measure(settings, most, dataset(settings.data_key, context), device)
    gain = {str(size): value for size, value in fastest.gain.items()}
    measured = Measured(fastest.size, gain, most, fastest.limit, machine)
    stack_sizes.remember(context.storage, settings, measured)
    return measured


def why_unstackable(config: dict[str, Any], context: WorkerContext) -> str:
    """Returns why trials of a configuration do not stack; empty where they do."""
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
    """`root` is where a user's own dataset is looked for."""
    return loading.load(key, Path(data))


@lru_cache(maxsize=2)
def _classifiers(key: DataKey, data: str, root: str, storage: AnyPath, device: str) -> Classifiers:
    return trained_classifiers(_dataset(key, data, root), Layout(storage).classifiers, torch.device(device))
