"""Small modalities and models for tests of the objective."""

import numpy as np
import torch
from torch import Tensor

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.types import Dataset, Modality, Split
from mopoe_core.family.registry import TITLES
from mopoe_core.models.draws import Draws, draw
from mopoe_core.models.model import MultimodalVAE

TOYS = (
    Modality("grey", "image", (1, 3, 3), bounded=True),
    Modality("word", "text", (4, 5)),
    Modality("colour", "image", (3, 2, 2)),
    Modality("small", "image", (1, 2, 2)),
    Modality("long", "text", (6, 3)),
)
MODELS = tuple(TITLES)
LATENT = 4


def config(model: str, **changes: object) -> TrainingConfig:
    """A configuration of small networks; dataset fields play no part with toys."""
    return TrainingConfig.model_validate(
        {"dataset": "mnist_svhn_text", "networks": "small", "model": model, "latent_dim": LATENT, "beta": 1.7, **changes}
    )


def in_float64(model: MultimodalVAE) -> MultimodalVAE:
    """The model with everything in float64."""
    model.objective = type(model.objective)(model.objective.spec, dtype=torch.float64)
    return model.double()


def toy_model(model: str, modalities: int, **changes: object) -> MultimodalVAE:
    """A model of the first `modalities` toys in float64, its weights drawn anew with a fixed seed."""
    with torch.random.fork_rng():
        torch.manual_seed(modalities)
        return in_float64(MultimodalVAE(config(model, **changes), TOYS[:modalities]))


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


def toy_draws(model: MultimodalVAE, batch: int, chance: int | torch.Generator = 3) -> Draws:
    """Chance for one evaluation of a model's loss, in float64; from a seed or a generator."""
    stream = torch.Generator().manual_seed(chance) if isinstance(chance, int) else chance
    drawn = draw(model.objective.spec, batch, model.config.latent_dim, stream, model.config.private_dim)
    return Draws(drawn.position_B, drawn.noise.double(), drawn.private_noise_MBP.double())


def spelled(codes: Tensor | np.ndarray, alphabet: str) -> str:
    """Character codes as a string."""
    return "".join(alphabet[int(code)] for code in codes)


def toy_mask(modalities: int, batch: int, seed: int = 1) -> Tensor:
    """(B, M), true where a modality is observed: about half, the first example in full, every example at least one."""
    present = torch.rand(batch, modalities, generator=torch.Generator().manual_seed(seed)) > 0.5
    present[0] = True
    present[torch.arange(batch), torch.arange(batch) % modalities] |= ~present.any(1)
    return present


def spoilt(x: dict[str, Tensor], present: Tensor, filling: float = float("nan")) -> dict[str, Tensor]:
    """The batch with something else where a modality is hidden."""
    found = {}
    for i, (name, values) in enumerate(x.items()):
        found[name] = values.clone()
        found[name][~present[:, i]] = filling
    return found


def random_dataset(modalities: tuple[Modality, ...]) -> Dataset:
    """Five hundred examples of random items."""
    chance = torch.Generator().manual_seed(0)
    items = {}
    for m in modalities:
        values, shape = (m.shape[1], m.shape[:1]) if m.kind == "text" else (256, m.shape)
        items[m.name] = torch.randint(values, (500, *shape), generator=chance).byte()
    labels = torch.randint(10, (500,), generator=chance)
    rows = dict.fromkeys(items, torch.arange(500))
    split = Split(modalities, items, dict.fromkeys(items, labels), rows, labels)
    return Dataset("random", "embedded", modalities, split, split, 10, "random")
