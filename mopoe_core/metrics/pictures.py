"""PNG pictures of a dataset and of what a model generates.

A tile shows one modality of one sample: an image, a text in letters, or a vector as bars.
"""

import io
import textwrap
from collections.abc import Mapping, Sequence

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

TILE = 56
"""Side of a tile in pixels. An 8-character word in Pillow's own font is just legible."""
LONG_TILE = 120
"""Side of a tile with long texts in pixels. 256 characters are just legible."""
SHORT_TEXT = 16
"""The most characters of a short text, which is written in one line."""
LINE = 25
"""The most characters of a line of a long text."""
MARGIN = 3
"""Pixels beside a long text."""
FONT_SIZES = (9, 8, 7, 6, 5)
"""Of a long text in pixels: the first at which it fits its tile."""
BARS = 3.0
"""The value whose bar reaches the edge of a tile; vectors are in standard deviations."""

Pixels = NDArray[np.uint8]


@torch.no_grad()
def write_pictures(model: MultimodalVAE, seed: int, dataset: Dataset, device: torch.device, folder: AnyPath) -> dict[str, str]:
    """Writes training examples and what a trained model generates; returns the SHA-256 of each picture by its name.

    dataset.png          ten training examples: one column for each example, one row for each modality
    unconditional.png    100 draws from the prior: a block of 10 x 10 for each modality
    tuples.png           ten of these draws: one column for each draw, one row for each modality
    given_<subset>.png   ten test examples, one of each class if there are classes: above the given modalities, below three samples of
                         every modality. With up to three modalities, all subsets; with more, subsets of 1, M - 1 and M modalities

    Random numbers come from `seed`. The latents of the draws from the prior are the same for every model.
    """
    digests = {"dataset": write_contact_sheet(dataset, folder / "dataset.png")}
    digests |= _write_unconditional(model, device, folder)
    x = {name: values.to(device) for name, values in dataset.test.batch(_examples(dataset.test, dataset)).items()}
    return digests | _write_conditional(model, x, generator(device, seed, "pictures"), folder)


def _write_unconditional(model: MultimodalVAE, device: torch.device, folder: AnyPath) -> dict[str, str]:
    config, tile = model.config, tile_size(model.modalities)
    prior = generator(torch.device("cpu"), 0, "pictures")
    z = torch.randn(GRID * GRID, config.latent_dim, generator=prior).to(device)
    private_MNP = torch.randn(len(model.modalities), GRID * GRID, config.private_dim, generator=prior).to(device)
    draws = [
        tiles(m, model.generate(with_private(z, private_NP), m), tile)
        for m, private_NP in zip(model.modalities, private_MNP, strict=True)
    ]
    blocks = _beside([_grid(tiles_of_one.reshape(GRID, GRID, tile, tile, 3)) for tiles_of_one in draws])
    tuples = _grid(np.stack([tiles_of_one[:GRID] for tiles_of_one in draws]))
    return {
        "unconditional": _write(blocks, folder / "unconditional.png"),
        "tuples": _write(tuples, folder / "tuples.png"),
    }


def _write_conditional(model: MultimodalVAE, x: Mapping[str, Tensor], rng: torch.Generator, folder: AnyPath) -> dict[str, str]:
    encoded, tile = model.encode(x), tile_size(model.modalities)
    order = [m.name for m in model.modalities]
    digests = {}
    for subset in _pictured_subsets(order):
        samples = _conditional_latents(model, encoded, [order.index(name) for name in subset], rng)
        generated = [tiles(m, model.generate(latents, m), tile) for i, m in enumerate(model.modalities) for latents in samples[i]]
        observed = [tiles(m, x[m.name], tile) for m in model.modalities if m.name in subset]
        name = f"given_{metric_names.subset_name(subset)}"
        digests[name] = _write(_above(_grid(np.stack(observed)), _grid(np.stack(generated))), folder / f"{name}.png")
    return digests


def write_contact_sheet(dataset: Dataset, path: AnyPath) -> str:
    """Writes ten training examples, one of each class if there are classes; returns the picture's SHA-256.

    The picture has one column for each example and one row for each modality.
    """
    x = dataset.train.batch(_examples(dataset.train, dataset))
    tile = tile_size(dataset.modalities)
    return _write(_grid(np.stack([tiles(m, x[m.name], tile) for m in dataset.modalities])), path)


def _pictured_subsets(order: Sequence[str]) -> list[tuple[str, ...]]:
    subsets = metric_names.subsets(order)
    if len(order) <= 3:
        return subsets
    return [subset for subset in subsets if len(subset) in (1, len(order) - 1, len(order))]


def _conditional_latents(
    model: MultimodalVAE, encoded: Encoded, subset: Sequence[int], rng: torch.Generator
) -> list[list[Tensor]]:
    """Returns for each modality `SAMPLES` latents (B, D + P) given a subset."""
    rows = model.objective.spec.conditional_rows(subset)
    posteriors = products(encoded.shared, model.objective.experts_CE.new_tensor(rows))
    samples: list[list[Tensor]] = [[] for _ in model.modalities]
    for draw in range(SAMPLES):  # one after another from each product of the mixture
        noise = torch.randn(posteriors.mu.shape[1:], generator=rng, device=rng.device)
        member = torch.full((noise.shape[0],), draw % len(rows), device=rng.device)
        z = posteriors.select(member).sample(noise)
        private_noise = torch.randn(encoded.private.mu.shape, generator=rng, device=rng.device)
        private_of_given = model.private_of_given(encoded.private, private_noise)
        for m, latents in enumerate(samples):
            latents.append(with_private(z, private_of_given[m] if m in subset else private_noise[m]))
    return samples


def _examples(split: Split, dataset: Dataset) -> Tensor:
    """Returns the indices of ten examples in a fixed random order; if there are classes, one of each of the first ten classes."""
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(SELECTION_SEED))
    if dataset.attributes:
        return order[:GRID]
    labels = split.labels[order]
    present = [label for label in range(dataset.classes) if label in labels][:GRID]
    return torch.stack([order[torch.nonzero(labels == label)[0, 0]] for label in present])


def tile_size(modalities: Sequence[Modality]) -> int:
    """Returns the side of a tile in pixels, such that the longest text is legible."""
    return LONG_TILE if any(m.kind == "text" and m.shape[0] > SHORT_TEXT for m in modalities) else TILE


def tiles(modality: Modality, values: Tensor, tile: int) -> Pixels:
    """Returns values (N, *shape) as tiles (N, tile, tile, 3)."""
    if modality.kind == "text":
        return np.stack([_written(text, tile) for text in decoded_texts(modality, values)])
    if modality.kind == "vector":
        return np.stack([_bars(row, tile) for row in values.cpu().numpy()])
    channels = (values.clamp(0, 1) * 255).round().to(torch.uint8).cpu()
    if channels.shape[1] != 3:
        channels = channels[:, :1].expand(-1, 3, -1, -1)
    pixels: Pixels = channels.permute(0, 2, 3, 1).numpy()
    return np.stack([np.asarray(Image.fromarray(p).resize((tile, tile), Image.Resampling.NEAREST)) for p in pixels])


def _written(text: str, tile: int) -> Pixels:
    picture = Image.new("RGB", (tile, tile), "white")
    printable = "".join(c if c.isprintable() else "?" for c in text)
    pen = ImageDraw.Draw(picture)
    if len(text) <= SHORT_TEXT:
        pen.text((tile / 2, tile / 2), printable, fill="black", font=ImageFont.load_default(11), anchor="mm")
        return np.asarray(picture)
    for size in FONT_SIZES:
        font = ImageFont.load_default(size)
        lines = "\n".join(_wrapped(printable.strip("*"), font, tile - 2 * MARGIN))
        if pen.multiline_textbbox((MARGIN, 2), lines, font=font, spacing=0)[3] <= tile:
            break
    pen.multiline_text((MARGIN, 2), lines, fill="black", font=font, spacing=0)
    return np.asarray(picture)


def _wrapped(text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width: float) -> list[str]:
    """Returns the text in lines of at most `LINE` characters and at most `width` pixels. Longer words are broken."""
    for most in range(LINE, 1, -1):
        lines = textwrap.wrap(text, most)
        if all(font.getlength(line) <= width for line in lines):
            return lines
    return textwrap.wrap(text, 1)


def _bars(row: NDArray[np.floating], tile: int) -> Pixels:
    """Returns a tile with one bar for each feature, from the middle up or down."""
    picture = Image.new("RGB", (tile, tile), "white")
    pen, middle, width = ImageDraw.Draw(picture), tile / 2, tile / len(row)
    for i, value in enumerate(row):
        height = float(np.clip(value / BARS, -1, 1)) * (middle - 1)
        pen.rectangle(
            (i * width, min(middle, middle - height), max(i * width, (i + 1) * width - 1), max(middle, middle - height)),
            fill="#0072B2",
        )
    return np.asarray(picture)


def _grid(tile_grid: Pixels) -> Pixels:
    """Returns tiles (rows, columns, h, w, 3) as one picture, with one pixel between tiles."""
    padded = np.pad(tile_grid, ((0, 0), (0, 0), (0, 1), (0, 1), (0, 0)), constant_values=255)
    rows, columns, height, width, _ = padded.shape
    return padded.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, 3)


def _beside(pictures: Sequence[Pixels]) -> Pixels:
    gap = np.full((pictures[0].shape[0], GAP, 3), 255, np.uint8)
    with_gaps = [part for picture in pictures for part in (picture, gap)]
    return np.concatenate(with_gaps[:-1], 1)


def _above(top: Pixels, bottom: Pixels) -> Pixels:
    return np.concatenate([top, np.full((GAP, top.shape[1], 3), 128, np.uint8), bottom], 0)


def _write(picture: Pixels, path: AnyPath) -> str:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    write_bytes(path, content.getbuffer(), durable=False)  # the caller that records its digest syncs the folder
    return Digest.of(content.getbuffer()).sha256
