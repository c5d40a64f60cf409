"""A trained model from its checkpoint, without the data that it was trained on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mopoe_core.bound import check_bound
from mopoe_core.config import TrainingConfig
from mopoe_core.data import loading
from mopoe_core.data.types import Modality
from mopoe_core.errors import CheckpointError
from mopoe_core.model import MultimodalVAE
from mopoe_core.training import opened


def load_trained(checkpoint: Path, device: str, data: Path) -> MultimodalVAE:
    """The model, in evaluation mode; see `mopoe_core.load`."""
    found = opened(checkpoint)
    if found is None:
        if not checkpoint.exists():
            raise FileNotFoundError(f"{checkpoint}: there is no such file")
        raise CheckpointError(
            f"{checkpoint}: is damaged, or no checkpoint of this version; use one that `python -m orchestrator sweep` wrote"
        )
    state, digest = found
    check_bound(state, digest, checkpoint)
    config = TrainingConfig.model_validate(state["config"])
    with torch.random.fork_rng(devices=[]):  # the initialisation is thrown away, and is not to move anybody's random numbers
        model = MultimodalVAE(config, _modalities(state, config, data))
    try:
        model.load_state_dict(state["model"])
    except RuntimeError:  # its text lists every layer
        raise CheckpointError(
            f"{checkpoint}: its weights do not fit the networks of {config.dataset} as they are now; open it with the version that wrote "
            "it (docs/upgrading.md), or restore your own networks"
        ) from None
    return model.to_device(torch.device(device)).eval()


def _modalities(state: Mapping[str, Any], config: TrainingConfig, data: Path) -> tuple[Modality, ...]:
    if "modalities" not in state:
        return loading.load(config.data_key, data).modalities
    return tuple(Modality(**{**fields, "shape": tuple(fields["shape"])}) for fields in state["modalities"])
