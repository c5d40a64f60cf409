"""Small modalities and models for tests of the objective."""

import torch
from torch import Tensor

from mopoe_core.config import TrainingConfig
from mopoe_core.data.types import Modality
from mopoe_core.model import MultimodalVAE

TOYS = (
    Modality("grey", "image", (1, 3, 3), bounded=True),
    Modality("word", "text", (4, 5)),
    Modality("colour", "image", (3, 2, 2)),
    Modality("small", "image", (1, 2, 2)),
    Modality("long", "text", (6, 3)),
)
MODELS = ("mvae", "mmvae", "mopoe", "eq5")
LATENT = 4


def config(model: str, **changes: object) -> TrainingConfig:
    """A configuration of small networks; dataset fields play no part with toys."""
    return TrainingConfig.model_validate(
        {"dataset": "mnist_svhn_text", "networks": "small", "model": model, "latent_dim": LATENT, "beta": 1.7, **changes}
    )


def toy_model(model: str, modalities: int, **changes: object) -> MultimodalVAE:
    """A model of the first `modalities` toys in float64, its weights drawn anew with a fixed seed."""
    with torch.random.fork_rng():
        torch.manual_seed(modalities)
        built = MultimodalVAE(config(model, **changes), TOYS[:modalities]).double()
    built.objective = type(built.objective)(built.objective.spec, dtype=torch.float64)
    return built


def toy_batch(modalities: int, batch: int, seed: int = 0) -> dict[str, Tensor]:
    """Random images in [0, 1] and random one-hot text, in float64."""
    chance = torch.Generator().manual_seed(seed)
    x = {}
    for modality in TOYS[:modalities]:
        if modality.kind == "text":
            codes = torch.randint(modality.shape[1], (batch, modality.shape[0]), generator=chance)
            x[modality.name] = torch.nn.functional.one_hot(codes, modality.shape[1]).double()
        else:
            x[modality.name] = torch.rand(batch, *modality.shape, generator=chance, dtype=torch.float64)
    return x
