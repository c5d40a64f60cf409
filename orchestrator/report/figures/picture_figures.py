"""Composes the paper's figures of generated samples from the trials' pictures."""

import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from mopoe_core.config.presets import PAPER
from mopoe_core.family.registry import PAPER_MODELS
from mopoe_core.storage.paths import AnyPath
from orchestrator.analysis.model_groups import ModelGroup
from orchestrator.report.figures.theme import EDGE
from orchestrator.spec.proper_names import proper, proper_group
from orchestrator.spec.trial import Cell, Trial, spelled

Samples = Mapping[str, Mapping[str, AnyPath]]
Pixels = NDArray[np.uint8]

DPI = 200  # a pixel of a picture is a pixel of the PNG
MARGIN, GAP = 24, 30  # pixels
TITLE, LINE = 52, 32  # heights in pixels of a panel's title and of a line of the caption
WIDEST = 2000  # pixels; if panels side by side are wider, they are placed below one another
NARROWEST = 900  # pixels, as the caption needs room


@dataclass(frozen=True)
class Pictured:
    """One of the paper's figures of pictures."""

    dataset: str
    picture: str
    """The name of the picture among a trial's pictures."""
    title: str
    caption: str
    """The meaning of rows and columns."""
    models: tuple[str, ...] = PAPER_MODELS
    of_the_data: bool = False
    """Whether the picture shows the data, so that it is the same for all trials."""


@dataclass(frozen=True)
class Panel:
    """One model's picture."""

    title: str
    pixels: Pixels


BELOW = "A column a test example: above the modalities given, below them three samples of every modality"
PICTURES = {
    "figure2": Pictured("polymnist", "dataset", "Examples of the data", "A column a tuple, a row a modality.", of_the_data=True),
    "figure4": Pictured("celeba", "given_text", "Faces given their text", f"{BELOW}.", ("mopoe",)),
    "figure7": Pictured(
        "mnist_svhn_text", "unconditional", "Random samples", "A block a modality; the same latents in every block and model."
    ),
    "figure8": Pictured("polymnist", "given_m0.m1.m2.m3.m4", "Reconstructions given all modalities", f"{BELOW}."),
    "figure9": Pictured(
        "polymnist", "tuples", "Random samples", "A column a latent, a row a modality; the same latents in every model."
    ),
    "figure10": Pictured(
        "polymnist", "given_m1", "Generated from the second modality", f"{BELOW}; the paper shows the first, m0."
    ),
    "figure11": Pictured(
        "polymnist", "given_m1.m2.m3.m4", "Generated from all but the first modality", f"{BELOW}; the paper shows the first, m0."
    ),
    "figure14": Pictured(
        "celeba", "unconditional", "Random samples", "A block a modality; the same shared latents in every block.", ("mopoe",)
    ),
}
"""The figures by name. The paper counts PolyMNIST's modalities from 1."""


def compose(pictured: Pictured, group: ModelGroup, samples: Samples) -> Figure | None:
    """Returns a panel for each model, in the paper's order; None if no trial of the group has the picture.

    A model's panel is from the lowest completed seed of its cell at the beta of the paper's tables. If the model lacks this beta, it is
    from the beta that replaces it (`model_groups.common_beta`).
    """
    if group.config.dataset != pictured.dataset:
        return None
    panels = _panels(pictured, group, samples)
    if not panels:
        return None
    n = "n = 1 trial" if len(panels) == 1 else "n = 1 trial a model"
    return _laid_out(panels, f"{pictured.title} – {proper_group(group.label)}; {n}", pictured.caption)


def _panels(pictured: Pictured, group: ModelGroup, samples: Samples) -> list[Panel]:
    panels = []
    for model in pictured.models:
        cell = _cell(group, model)
        seeds = [seed for seed in sorted(group.values[cell.id]) if _has_picture(cell, seed, pictured, samples)] if cell else []
        if cell and seeds:
            path = samples[Trial(cell, seeds[0]).id][pictured.picture]
            title = "" if pictured.of_the_data else f"{proper(model)}, β = {spelled(cell.config.beta)}, seed {seeds[0]}"
            panels.append(Panel(title, np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB"))))
        if panels and pictured.of_the_data:
            break
    return panels


def _cell(group: ModelGroup, model: str) -> Cell | None:
    beta = group.beta(float(PAPER[group.config.dataset]["beta"]), [model])
    return None if beta is None else group.line(model)[beta]


def _has_picture(cell: Cell, seed: int, pictured: Pictured, samples: Samples) -> bool:
    path = samples.get(Trial(cell, seed).id, {}).get(pictured.picture)
    return path is not None and path.exists()


def _laid_out(panels: Sequence[Panel], title: str, caption: str) -> Figure:
    """Returns the panels side by side if they fit, else below one another. Each pixel of a picture is a pixel of the PNG."""
    heights, widths = [panel.pixels.shape[0] for panel in panels], [panel.pixels.shape[1] for panel in panels]
    is_beside = sum(panel_width + GAP for panel_width in widths) <= WIDEST
    row_width = sum(widths) + GAP * (len(panels) - 1) if is_beside else max(widths)
    width = max(row_width + 2 * MARGIN, NARROWEST)
    title_lines, caption_lines = (textwrap.wrap(text, int(width * 0.075)) for text in (title, caption))
    head = TITLE if any(panel.title for panel in panels) else MARGIN
    body = max(heights) + head if is_beside else sum(panel_height + head for panel_height in heights)
    height = 2 * MARGIN + LINE * (len(title_lines) + len(caption_lines)) + body + MARGIN
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    figure.text(MARGIN / width, 1 - MARGIN / height, "\n".join(title_lines), fontsize=9, va="top")
    figure.text(MARGIN / width, MARGIN / height, "\n".join(caption_lines), fontsize=8, va="bottom", color=EDGE)
    x, y = MARGIN, height - MARGIN - LINE * len(title_lines)
    for panel in panels:
        panel_height, panel_width = panel.pixels.shape[:2]
        bottom = y - head - panel_height
        axes = figure.add_axes((x / width, bottom / height, panel_width / width, panel_height / height))
        axes.imshow(panel.pixels, interpolation="nearest", aspect="auto")
        axes.set_axis_off()
        axes.set_title(panel.title, fontsize=9, loc="left")
        x, y = (x + panel_width + GAP, y) if is_beside else (x, bottom)
    return figure
