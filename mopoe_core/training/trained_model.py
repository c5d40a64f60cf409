"""A trained model from its checkpoint, or from the storage of its sweep, without the data that it was trained on.

A checkpoint may come from anywhere, and reading it runs nothing. A dataset of a user's own is code, which the checkpoint names. It is run
only if the caller names it as well.
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
    """The model of a checkpoint's file, or of the trial of a storage that is selected; see `mopoe_core.load`."""
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
    """The model of the trial that is selected. Only code that the selection names may run."""
    trial = stored_trials.find(storage, selection)
    state, digest = _opened(trial.checkpoint)
    check_is_of_result(state, digest, trial.checkpoint, trial.id, trial.result)
    named = str(selection.fields.get("dataset", ""))
    return _model(state, trial.checkpoint, device, data, named if is_own(named) else "")


def load_trained(checkpoint: Path, device: str, data: Path, dataset: str = "") -> TrainedModel:
    """The model of a checkpoint's file, in evaluation mode; see `mopoe_core.load`."""
    state, digest = _opened(checkpoint)
    check_bound(state, digest, checkpoint)
    return _model(state, checkpoint, device, data, dataset)


def _model(state: Mapping[str, Any], checkpoint: AnyPath, device: str, data: Path, dataset: str) -> TrainedModel:
    """The model of a checkpoint. Runs code of the caller's `dataset` only."""
    named = _dataset_of(state, checkpoint)
    if dataset and not is_own(named):
        raise CheckpointError(f"{checkpoint}: is of dataset {named!r}, which is no code of yours; leave out dataset={dataset!r}")
    if is_own(named) and not dataset:
        _check_needs_no_code(state, named, checkpoint)
    return _with_weights(lambda: _untrained(state, named, data, dataset), state, checkpoint, torch.device(device))


def load_on(checkpoint: AnyPath, dataset: Dataset, device: torch.device) -> TrainedModel:
    """The model of a trial's checkpoint, in evaluation mode, for the dataset that it was trained on, which is in memory.

    Raises CheckpointError if the checkpoint is of another dataset of the user's own, or cannot be used.
    """
    state, _ = _opened(checkpoint)
    named = _dataset_of(state, checkpoint)
    if is_own(named) and named != dataset.name:
        raise CheckpointError(
            f"{checkpoint}: is of dataset {named}, and not of {dataset.name}; give the dataset that it was trained on"
        )
    return _with_weights(
        lambda: _initial(TrainingConfig.model_validate(state["config"]), dataset.modalities), state, checkpoint, device
    )


def _opened(checkpoint: AnyPath) -> tuple[dict[str, Any], Digest]:
    state_and_digest = opened(checkpoint)
    if state_and_digest is None:
        if not checkpoint.exists():
            raise FileNotFoundError(f"{checkpoint}: there is no such file or storage")
        raise CheckpointError(f"{checkpoint}: is damaged, or no checkpoint of this version; use one that `mopoe sweep` wrote")
    return state_and_digest


def _with_weights(
    make: Callable[[], TrainedModel], state: Mapping[str, Any], checkpoint: AnyPath, device: torch.device
) -> TrainedModel:
    """The model that `make` builds, with the weights of the checkpoint."""
    try:
        model, weights = make(), state["model"]
    except ValidationError as error:  # of a configuration; its text has many lines
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


def _untrained(state: Mapping[str, Any], named: str, data: Path, dataset: str) -> TrainedModel:
    config = _config(state, named, dataset)
    return _initial(config, _modalities(state, config, data, dataset))


def _initial(config: TrainingConfig, modalities: tuple[Modality, ...]) -> TrainedModel:
    with torch.random.fork_rng(devices=[]):  # the initialisation is thrown away, and is not to move anybody's random numbers
        return TrainedModel(config, modalities)


def _dataset_of(state: Mapping[str, Any], checkpoint: AnyPath) -> str:
    config = state.get("config")
    named = config.get("dataset") if isinstance(config, dict) else None
    if not isinstance(named, str):
        raise CheckpointError(f"{checkpoint}: names no dataset; use one that `mopoe sweep` wrote")
    return named


def _check_needs_no_code(state: Mapping[str, Any], named: str, checkpoint: AnyPath) -> None:
    """Raises CheckpointError if a model cannot be made without the code of the dataset that its checkpoint names."""
    of_own_data = state.get("own")
    if isinstance(of_own_data, dict) and of_own_data.get("networks") == [] and "modalities" in state:
        return
    why = "has networks of your own" if isinstance(of_own_data, dict) else "does not say whether its networks are your own"
    raise CheckpointError(
        f"{checkpoint}: {why}, and names the code {named!r}, which is not run unless you name it; if you trust that code, pass "
        f"dataset={named!r}"
    )


def _config(state: Mapping[str, Any], named: str, dataset: str) -> TrainingConfig:
    """The checkpoint's configuration. Runs code of the caller's `dataset` only."""
    if not is_own(named):
        return TrainingConfig.model_validate(state["config"])
    if dataset:
        return TrainingConfig.model_validate(state["config"] | {"dataset": dataset})
    card = DatasetCard(**state["own"]["card"])
    return TrainingConfig.model_validate(state["config"], context={"cards": {named: card}})


def _modalities(state: Mapping[str, Any], config: TrainingConfig, data: Path, dataset: str) -> tuple[Modality, ...]:
    """The checkpoint's modalities. Their networks are the user's only if the caller names the dataset."""
    if "modalities" not in state:
        return loading.load(config.data_key, data).modalities
    return tuple(Modality(**{**fields, "shape": tuple(fields["shape"]), "own": dataset}) for fields in state["modalities"])
