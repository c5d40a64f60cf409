"""Loads a trained model from its checkpoint, or from the storage of its sweep, without its training data.

A checkpoint may come from anywhere, and reading it runs no code. A user's own dataset is code, and the checkpoint names it. This code is
run only if the caller names it too.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data import loading
from mopoe_core.data.cards import is_own
from mopoe_core.data.dataset_card import DatasetCard
from mopoe_core.data.own.as_arrays import in_one_line
from mopoe_core.data.types import Dataset, Modality
from mopoe_core.errors import CheckpointError
from mopoe_core.storage.checkpoint_owner import check_bound, check_is_of_result
from mopoe_core.storage.file_facts import Digest
from mopoe_core.storage.paths import AnyPath, storage_path
from mopoe_core.storage.remote_path import RemotePath
from mopoe_core.training import stored_trials
from mopoe_core.training.checkpoint import opened
from mopoe_core.training.inference import TrainedModel
from mopoe_core.training.stored_trials import Selection


def load_model(place: str | Path, device: str, data: Path, dataset: str, selection: Selection) -> TrainedModel:
    """The model of a checkpoint file, or of the selected trial in a storage; see `mopoe_core.load`."""
    if not Path(place).is_file():
        storage = _storage(place)
        if isinstance(storage, RemotePath) or storage.is_dir():
            fields = {**selection.fields, **({"dataset": dataset} if dataset else {})}
            return load_from_storage(storage, device, data, Selection(selection.sweep, selection.seed, fields))
    elif selection.values or selection.sweep:
        raise CheckpointError(f"{place}: is the checkpoint of one trial; leave out sweep, seed and fields, or name the storage")
    return load_trained(Path(place), device, data, dataset)


def _storage(place: str | Path) -> AnyPath:
    try:
        return storage_path(str(place))
    except ValueError as error:
        raise CheckpointError(f"{place}: {error}") from None


def load_from_storage(storage: AnyPath, device: str, data: Path, selection: Selection) -> TrainedModel:
    """The model of the selected trial. Only code that the selection names may run."""
    trial = stored_trials.find(storage, selection)
    state, digest = _opened(trial.checkpoint)
    check_is_of_result(state, digest, trial.checkpoint, trial.id, trial.result)
    dataset = str(selection.fields.get("dataset", ""))
    return _model(state, trial.checkpoint, device, data, dataset if is_own(dataset) else "")


def load_trained(checkpoint: Path, device: str, data: Path, dataset: str = "") -> TrainedModel:
    """The model of a checkpoint file, in evaluation mode; see `mopoe_core.load`."""
    state, digest = _opened(checkpoint)
    check_bound(state, digest, checkpoint)
    return _model(state, checkpoint, device, data, dataset)


def _model(state: Mapping[str, Any], checkpoint: AnyPath, device: str, data: Path, dataset: str) -> TrainedModel:
    """The model of a checkpoint. The only code that is run is that of the caller's `dataset`."""
    stored_dataset = _dataset_of(state, checkpoint)
    if dataset and not is_own(stored_dataset):
        raise CheckpointError(
            f"{checkpoint}: is of dataset {stored_dataset!r}, which is no code of yours; leave out dataset={dataset!r}"
        )
    if is_own(stored_dataset) and not dataset:
        _check_needs_no_code(state, stored_dataset, checkpoint)
    return _with_weights(lambda: _untrained(state, stored_dataset, data, dataset), state, checkpoint, torch.device(device))


def load_on(checkpoint: AnyPath, dataset: Dataset, device: torch.device) -> TrainedModel:
    """The model of a trial's checkpoint, in evaluation mode. `dataset` is the one that it was trained on.

    Raises CheckpointError if the checkpoint belongs to another of the user's own datasets, or cannot be used.
    """
    state, _ = _opened(checkpoint)
    stored_dataset = _dataset_of(state, checkpoint)
    if is_own(stored_dataset) and stored_dataset != dataset.name:
        raise CheckpointError(
            f"{checkpoint}: is of dataset {stored_dataset}, and not of {dataset.name}; give the dataset that it was trained on"
        )

    def untrained() -> TrainedModel:
        return _initial(TrainingConfig.model_validate(state["config"]), dataset.modalities)

    return _with_weights(untrained, state, checkpoint, device)


def _opened(checkpoint: AnyPath) -> tuple[dict[str, Any], Digest]:
    """The checkpoint's state and digest. Raises FileNotFoundError if there is no such file, CheckpointError if it cannot be used."""
    state_and_digest = opened(checkpoint)
    if state_and_digest is None:
        if not checkpoint.exists():
            raise FileNotFoundError(f"{checkpoint}: there is no such file or storage")
        raise CheckpointError(f"{checkpoint}: is damaged, or no checkpoint of this version; use one that `mopoe sweep` wrote")
    return state_and_digest


def _with_weights(
    make: Callable[[], TrainedModel], state: Mapping[str, Any], checkpoint: AnyPath, device: torch.device
) -> TrainedModel:
    """The model that `make` returns, with the checkpoint's weights, in evaluation mode."""
    try:
        model, weights = make(), state["model"]
    except ValidationError as error:  # from a configuration; the error's text has many lines
        raise CheckpointError(f"{checkpoint}: cannot be loaded ({error.errors()[0]['msg']})") from None
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise CheckpointError(
            f"{checkpoint}: does not describe a model ({in_one_line(error)}); use one that `sweep` wrote"
        ) from None
    try:
        model.load_state_dict(weights)
    except RuntimeError:  # its text lists every layer
        raise CheckpointError(
            f"{checkpoint}: its weights do not fit the networks of {model.config.dataset} as they are now; open it with the version that "
            "wrote it (docs/upgrading.md), or restore your own networks"
        ) from None
    model.to_device(device)
    return model.eval()


def _untrained(state: Mapping[str, Any], stored_dataset: str, data: Path, dataset: str) -> TrainedModel:
    """The checkpoint's model with initial weights."""
    config = _config(state, stored_dataset, dataset)
    return _initial(config, _modalities(state, config, data, dataset))


def _initial(config: TrainingConfig, modalities: tuple[Modality, ...]) -> TrainedModel:
    with torch.random.fork_rng(devices=[]):  # the initial weights are not used, and must not advance the caller's random numbers
        return TrainedModel(config, modalities)


def _dataset_of(state: Mapping[str, Any], checkpoint: AnyPath) -> str:
    """The name of the checkpoint's dataset."""
    config = state.get("config")
    dataset = config.get("dataset") if isinstance(config, dict) else None
    if not isinstance(dataset, str):
        raise CheckpointError(f"{checkpoint}: names no dataset; use one that `mopoe sweep` wrote")
    return dataset


def _check_needs_no_code(state: Mapping[str, Any], stored_dataset: str, checkpoint: AnyPath) -> None:
    """Raises CheckpointError if the model cannot be made without the code of the dataset that the checkpoint names."""
    own_dataset = state.get("own")
    if isinstance(own_dataset, dict) and own_dataset.get("networks") == [] and "modalities" in state:
        return
    reason = "has networks of your own" if isinstance(own_dataset, dict) else "does not say whether its networks are your own"
    raise CheckpointError(
        f"{checkpoint}: {reason}, and names the code {stored_dataset!r}, which is not run unless you name it; if you trust that code, "
        f"pass dataset={stored_dataset!r}"
    )


def _config(state: Mapping[str, Any], stored_dataset: str, dataset: str) -> TrainingConfig:
    """The checkpoint's configuration. The only code that is run is that of the caller's `dataset`."""
    if not is_own(stored_dataset):
        return TrainingConfig.model_validate(state["config"])
    if dataset:
        return TrainingConfig.model_validate(state["config"] | {"dataset": dataset})
    card = DatasetCard(**state["own"]["card"])
    return TrainingConfig.model_validate(state["config"], context={"cards": {stored_dataset: card}})


def _modalities(state: Mapping[str, Any], config: TrainingConfig, data: Path, dataset: str) -> tuple[Modality, ...]:
    """The checkpoint's modalities. They use the user's own networks only if the caller names the dataset."""
    if "modalities" not in state:
        return loading.load(config.data_key, data).modalities
    return tuple(Modality(**{**fields, "shape": tuple(fields["shape"]), "own": dataset}) for fields in state["modalities"])
