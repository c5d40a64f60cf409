"""What a dataset holds and what a model generates, as PNG: every tile one modality of one sample, text written out, vectors as bars."""

import io
import textwrap
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mopoe_core import metric_names
from mopoe_core.data.plain_values import decoded_texts
from mopoe_core.data.types import Dataset, Modality, Split
from mopoe_core.metrics.picture_layout import GAP, GRID, SAMPLES
from mopoe_core.models.gaussians import products
from mopoe_core.models.loss import Encoded, with_private
from mopoe_core.models.model import MultimodalVAE
from mopoe_core.random_streams import generator
from mopoe_core.storage.file_facts import Digest
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.whole_files import write_bytes
from mopoe_core.training.run import SELECTION_SEED

TILE = 56  # pixels: an 8-character word in Pillow's own font is just legible
LONG_TILE = 120  # and so are 256 characters here
SHORT_TEXT = 16  # characters
BARS = 3.0  # the vectors' values that fill a tile, in standard deviations

Pixels = NDArray[np.uint8]


@torch.no_grad()
def write_pictures(model: MultimodalVAE, seed: int, dataset: Dataset, device: torch.device, folder: AnyPath) -> dict[str, str]:
    """Write what a trained model generates, and what it was shown; returns the SHA-256 of each picture by its name.

    dataset.png          ten training examples, a column each, a row a modality
    unconditional.png    100 draws from the prior, a 10 x 10 block a modality; tuples.png: ten of them, a column each
    given_<subset>.png   ten test examples, one a class where there are classes: above the given modalities, below three samples of
                         every modality. Every subset of up to three modalities; of more, the single ones, all but one, and all

    Chance comes from `seed`; the latents of the unconditional ones are the same for every model.
    """
    written = {"dataset": write_contact_sheet(dataset, folder / "dataset.png")}
    tile = tile_size(model.modalities)
    config, cpu = model.config, torch.device("cpu")
    prior = generator(cpu, 0, "pictures")
    z = torch.randn(GRID * GRID, config.latent_dim, generator=prior).to(device)
    private = torch.randn(len(model.modalities), GRID * GRID, config.private_dim, generator=prior).to(device)
    latents = [with_private(z, own) for own in private]
    drawn = [tiles(m, model.generate(latent, m), tile) for m, latent in zip(model.modalities, latents, strict=True)]
    blocks = _beside([_grid(d.reshape(GRID, GRID, tile, tile, 3)) for d in drawn])
    written["unconditional"] = _write(blocks, folder / "unconditional.png")
    written["tuples"] = _write(_grid(np.stack([d[:GRID] for d in drawn])), folder / "tuples.png")
    x = {name: value.to(device) for name, value in dataset.test.batch(_examples(dataset.test, dataset)).items()}
    encoded, chance = model.encode(x), generator(device, seed, "pictures")
    order = [m.name for m in model.modalities]
    for subset in _pictured(order):
        samples = _conditional(model, encoded, [order.index(name) for name in subset], chance)
        generated = [tiles(m, model.generate(latent, m), tile) for i, m in enumerate(model.modalities) for latent in samples[i]]
        observed = [tiles(m, x[m.name], tile) for m in model.modalities if m.name in subset]
        name = f"given_{metric_names.subset_name(subset)}"
        written[name] = _write(_above(_grid(np.stack(observed)), _grid(np.stack(generated))), folder / f"{name}.png")
    return written


def write_contact_sheet(dataset: Dataset, path: AnyPath) -> str:
    """Write ten training examples, a column each, one a class where there are classes, a row a modality; returns the SHA-256."""
    x = dataset.train.batch(_examples(dataset.train, dataset))
    tile = tile_size(dataset.modalities)
    return _write(_grid(np.stack([tiles(m, x[m.name], tile) for m in dataset.modalities])), path)


def _pictured(order: Sequence[str]) -> list[tuple[str, ...]]:
    every = metric_names.subsets(order)
    return every if len(order) <= 3 else [s for s in every if len(s) in (1, len(order) - 1, len(order))]


def _conditional(model: MultimodalVAE, encoded: Encoded, subset: Sequence[int], chance: torch.Generator) -> list[list[Tensor]]:
    """For each modality, `SAMPLES` latents (B, D + P) given a subset."""
    rows = model.objective.spec.conditional_rows(subset)
    posteriors = products(encoded.shared, model.objective.experts_CE.new_tensor(rows))
    samples: list[list[Tensor]] = [[] for _ in model.modalities]
    for draw in range(SAMPLES):
        noise = torch.randn(posteriors.mu.shape[1:], generator=chance, device=chance.device)
        member = torch.full((noise.shape[0],), draw % len(rows), device=chance.device)
        z = posteriors.select(member).sample(noise)
        private_noise = torch.randn(encoded.private.mu.shape, generator=chance, device=chance.device)
        own = model.private_of_given(encoded.private, private_noise)
        for m, latents in enumerate(samples):
            latents.append(with_private(z, own[m] if m in subset else private_noise[m]))
    return samples


def _examples(split: Split, dataset: Dataset) -> Tensor:
    """Indices of ten examples in a fixed random order; where there are classes, one of each of the first ten that the split has."""
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(SELECTION_SEED))
    if dataset.attributes:
        return order[:GRID]
    labels = split.labels[order]
    present = [label for label in range(dataset.classes) if label in labels][:GRID]
    return torch.stack([order[torch.nonzero(labels == label)[0, 0]] for label in present])


def tile_size(modalities: Sequence[Modality]) -> int:
    """Pixels a side, so that the longest text can be read."""
    return LONG_TILE if any(m.kind == "text" and m.shape[0] > SHORT_TEXT for m in modalities) else TILE


def tiles(modality: Modality, values: Tensor, tile: int) -> Pixels:
    """(N, *shape) as N tiles (N, tile, tile, 3)."""
    if modality.kind == "text":
        return np.stack([_written(text, tile) for text in decoded_texts(modality, values)])
    if modality.kind == "vector":
        return np.stack([_bars(row, tile) for row in values.cpu().numpy()])
    channels = (values.clamp(0, 1) * 255).round().to(torch.uint8).cpu()
    channels = channels if channels.shape[1] == 3 else channels[:, :1].expand(-1, 3, -1, -1)
    pixels: Pixels = channels.permute(0, 2, 3, 1).numpy()
    return np.stack([np.asarray(Image.fromarray(p).resize((tile, tile), Image.Resampling.NEAREST)) for p in pixels])


def _written(text: str, tile: int) -> Pixels:
    picture = Image.new("RGB", (tile, tile), "white")
    printable = "".join(c if c.isprintable() else "?" for c in text)
    pen = ImageDraw.Draw(picture)
    if len(text) <= SHORT_TEXT:
        pen.text((tile / 2, tile / 2), printable, fill="black", font=ImageFont.load_default(11), anchor="mm")
    else:
        lines = "\n".join(textwrap.wrap(printable.strip("*"), 25))
        pen.multiline_text((3, 2), lines, fill="black", font=ImageFont.load_default(9), spacing=0)
    return np.asarray(picture)


def _bars(row: NDArray[np.floating], tile: int) -> Pixels:
    """A bar a feature, from the middle up or down."""
    picture = Image.new("RGB", (tile, tile), "white")
    pen, middle, width = ImageDraw.Draw(picture), tile / 2, tile / len(row)
    for i, value in enumerate(row):
        height = float(np.clip(value / BARS, -1, 1)) * (middle - 1)
        pen.rectangle(
            (i * width, min(middle, middle - height), max(i * width, (i + 1) * width - 1), max(middle, middle - height)),
            fill="#0072B2",
        )
    return np.asarray(picture)


def _grid(tiles_: Pixels) -> Pixels:
    """(rows, columns, h, w, 3) as one picture with a pixel between tiles."""
    padded = np.pad(tiles_, ((0, 0), (0, 0), (0, 1), (0, 1), (0, 0)), constant_values=255)
    rows, columns, height, width, _ = padded.shape
    return padded.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, 3)


def _beside(pictures: Sequence[Pixels]) -> Pixels:
    gap = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
    return np.concatenate([part for picture in pictures for part in (picture, gap)][:-1], 1)


def _above(top: Pixels, bottom: Pixels) -> Pixels:
    return np.concatenate([top, np.full((GAP, top.shape[1], 3), 128, np.uint8), bottom], 0)


def _write(picture: Pixels, path: AnyPath) -> str:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    write_bytes(path, content.getbuffer(), durable=False)  # whoever names it syncs its folder
    return Digest.of(content.getbuffer()).sha256
