"""What a model generates, as PNG: every tile one modality of one sample, text written out."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mopoe_core import names
from mopoe_core.data.mnist_svhn_text import decode_text
from mopoe_core.data.types import Dataset, Modality
from mopoe_core.files import write_whole
from mopoe_core.model import MultimodalVAE
from mopoe_core.objective import products
from mopoe_core.streams import generator

TILE = 56  # pixels: an 8-character word in Pillow's own font is just legible
GAP = 4
GRID = 10
SAMPLES = 3

Pixels = NDArray[np.uint8]


@torch.no_grad()
def write_pictures(model: MultimodalVAE, seed: int, dataset: Dataset, device: torch.device, folder: Path) -> None:
    """`unconditional.png` (a 10 x 10 block a modality) and `given_<subset>.png` for every subset.

    A conditional picture has a column a class: above the observed modalities of one test example, below three samples of every
    modality given them. Chance comes from `seed`; the latents of `unconditional.png` are the same for every model.
    """
    latent = model.config.latent_dim
    z = torch.randn(GRID * GRID, latent, generator=generator(torch.device("cpu"), 0, "pictures")).to(device)
    blocks = [_tiles(m, model.generate(z, m)).reshape(GRID, GRID, TILE, TILE, 3) for m in model.modalities]
    _write(_beside([_grid(block) for block in blocks]), folder / "unconditional.png")
    x = _one_a_class(dataset, device)
    experts = model.encode(x)
    chance = generator(device, seed, "pictures")
    order = [m.name for m in model.modalities]
    for subset in names.subsets(order):
        rows = model.objective.spec.conditional_rows([order.index(name) for name in subset])
        posteriors = products(experts, model.objective.experts_CE.new_tensor(rows))
        samples = []
        for draw in range(SAMPLES):
            noise = torch.randn(posteriors.mu.shape[1:], generator=chance, device=device)
            member = torch.full((noise.shape[0],), draw % len(rows), device=device)
            samples.append(posteriors.select(member).sample(noise))
        generated = [_tiles(m, model.generate(sample, m)) for m in model.modalities for sample in samples]
        observed = [_tiles(m, x[m.name]) for m in model.modalities if m.name in subset]
        picture = _above(_grid(np.stack(observed)), _grid(np.stack(generated)))
        _write(picture, folder / f"given_{names.subset_name(subset)}.png")


def _one_a_class(dataset: Dataset, device: torch.device) -> Mapping[str, Tensor]:
    first = [int(torch.nonzero(dataset.test.labels == label)[0, 0]) for label in range(dataset.classes)]
    return {name: value.to(device) for name, value in dataset.test.batch(torch.tensor(first)).items()}


def _tiles(modality: Modality, values: Tensor) -> Pixels:
    """(N, *shape) as N tiles (N, TILE, TILE, 3)."""
    if modality.kind == "text":
        codes = values.argmax(-1).to(torch.uint8).cpu().numpy()
        return np.stack([_written(decode_text(row)) for row in codes])
    channels = (values.clamp(0, 1) * 255).round().to(torch.uint8).cpu().expand(-1, 3, -1, -1)
    pixels: Pixels = channels.permute(0, 2, 3, 1).numpy()
    return np.stack([np.asarray(Image.fromarray(p).resize((TILE, TILE), Image.Resampling.NEAREST)) for p in pixels])


def _written(text: str) -> Pixels:
    tile = Image.new("RGB", (TILE, TILE), "white")
    printable = "".join(c if c.isprintable() else "?" for c in text)
    ImageDraw.Draw(tile).text((TILE / 2, TILE / 2), printable, fill="black", font=ImageFont.load_default(11), anchor="mm")
    return np.asarray(tile)


def _grid(tiles: Pixels) -> Pixels:
    """(rows, columns, h, w, 3) as one picture with a pixel between tiles."""
    padded = np.pad(tiles, ((0, 0), (0, 0), (0, 1), (0, 1), (0, 0)), constant_values=255)
    rows, columns, height, width, _ = padded.shape
    return padded.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, 3)


def _beside(pictures: Sequence[Pixels]) -> Pixels:
    gap = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
    return np.concatenate([part for picture in pictures for part in (picture, gap)][:-1], 1)


def _above(top: Pixels, bottom: Pixels) -> Pixels:
    return np.concatenate([top, np.full((GAP, top.shape[1], 3), 128, np.uint8), bottom], 0)


def _write(picture: Pixels, path: Path) -> None:
    write_whole(path, lambda temporary: Image.fromarray(picture).save(temporary, "PNG"))
