"""Multimodal variational autoencoders after "Generalized Multimodal ELBO" (Sutter, Daunhawer, Vogt; ICLR 2021).

Models, losses, data, metrics and training. Nothing here knows of sweeps, Ray, MLflow or Optuna.

This file imports nothing heavy. A command that only reads a configuration imports it too, and must answer before torch has loaded.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mopoe_core.models.model import MultimodalVAE

__version__ = "0.1.0"


def load(checkpoint: str | Path, device: str = "cpu", data: str | Path = "data", dataset: str = "") -> "MultimodalVAE":
    """The trained model of a `checkpoint.pt`, in evaluation mode, on that device.

    The checkpoint says what its modalities are. Of one written before it did, the dataset says so, which is built under `data`. In a
    trial's folder the checkpoint is compared with the result beside it.

    Loading runs no code that the checkpoint names. A model on a dataset of your own needs your code only where its encoders or decoders
    are yours, or where an earlier version wrote the checkpoint. Then name the dataset, `dataset="file.py:function"`. Its file is looked
    for in the current folder.

    Raises FileNotFoundError, or ValueError where the file is no checkpoint of a model that has been trained, or not the one of that
    result, or where it needs code that was not named.
    """
    from mopoe_core.training.trained_model import load_trained  # torch, which takes seconds

    return load_trained(Path(checkpoint), device, Path(data), dataset)
