"""Multimodal variational autoencoders after "Generalized Multimodal ELBO" (Sutter, Daunhawer, Vogt; ICLR 2021).

Models, losses, data, metrics and training. Nothing here knows of sweeps, Ray, MLflow or Optuna.

This file imports nothing heavy, because commands that only read a configuration import it too and need no torch.
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
    """Returns the trained model of one trial, in evaluation mode, on that device.

    `place` is the storage of a sweep, or the file of a checkpoint. In a storage, `sweep`, `seed` and any fields of the configuration
    select the trial: `load("runs", sweep="mst", model="mopoe", beta=2.5, seed=0)`. Fields that are the same for all trials there can be
    left out.

    A checkpoint describes its modalities. For a checkpoint of an early version, which does not, the dataset is built under `data`. A
    checkpoint in a storage or in a trial's folder must have the SHA-256 that the trial's result records.

    Loading runs no code that a storage or a checkpoint names. A model on a dataset of your own needs your code only if its encoders or
    decoders are yours, or if an earlier version wrote the checkpoint. Then name the dataset, `dataset="file.py:function"`. Its file is
    looked for in the current folder.

    Raises FileNotFoundError if there is nothing at `place`. Raises CheckpointError, a ValueError: if no trial fits, or several do (the
    message lists the trials that are there); if the trial has not completed (the message has its status); if the file is no checkpoint of
    a trained model, or not the result's; or if it needs code that was not named.
    """
    from mopoe_core.training.stored_trials import Selection
    from mopoe_core.training.trained_model import load_model  # imports torch, which takes seconds

    return load_model(place, device, Path(data), dataset, Selection(sweep, seed, fields))
