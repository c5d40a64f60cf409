"""Multimodal variational autoencoders after "Generalized Multimodal ELBO" (Sutter, Daunhawer, Vogt; ICLR 2021).

Models, losses, data, metrics and training. Nothing here knows of sweeps, Ray, MLflow or Optuna.

This file imports nothing heavy. A command that only reads a configuration imports it too, and must answer before torch has loaded.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mopoe_core.training.inference import TrainedModel

__version__ = "0.2.0"


def load(
    place: str | Path,
    /,
    device: str = "cpu",
    data: str | Path = "data",
    dataset: str = "",
    *,
    sweep: str = "",
    seed: int | None = None,
    **fields: Any,
) -> "TrainedModel":
    """The trained model of one trial, in evaluation mode, on that device.

    `place` is the storage of a sweep. Then `sweep`, `seed` and any fields of the configuration say which trial is meant:
    `load("runs", sweep="mst", model="mopoe", beta=2.5, seed=0)`. What all trials there have in common can be left out. Or `place` is the
    file of a checkpoint.

    The checkpoint says what its modalities are. Of one written before it did, the dataset says so, which is built under `data`. In a
    storage, or in a trial's folder, the checkpoint is compared with the trial's result by its SHA-256.

    Loading runs no code that a storage or a checkpoint names. A model on a dataset of your own needs your code only if its encoders or
    decoders are yours, or if an earlier version wrote the checkpoint. Then name the dataset, `dataset="file.py:function"`. Its file is
    looked for in the current folder.

    Raises FileNotFoundError if there is nothing at `place`. Raises CheckpointError, a ValueError, if no trial fits or several do, with
    what is there; if the trial has not completed, with its status; if the file is no checkpoint of a trained model, or not that of the
    result; or if it needs code that was not named.
    """
    from mopoe_core.training.stored_trials import Selection
    from mopoe_core.training.trained_model import load_model  # torch, which takes seconds

    return load_model(place, device, Path(data), dataset, Selection(sweep, seed, fields))
