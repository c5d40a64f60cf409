"""The paper's figures of what models generate, put together from the trials' pictures."""

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
from orchestrator.spec.proper_names import proper
from orchestrator.spec.trial import Cell, Trial, spelled

Samples = Mapping[str, Mapping[str, AnyPath]]
Pixels = NDArray[np.uint8]

DPI = 200  # a pixel of a picture is one of the PNG
MARGIN, GAP = 24, 30  # pixels
TITLE, LINE = 52, 32  # pixels that a panel's title and a line of the caption take
WIDEST = 2000  # pixels; wider panels stand below one another


@dataclass(frozen=True)
class Pictured:
    """One of the paper's figures of pictures."""

    dataset: str
    picture: str
    """Name among a trial's pictures."""
    title: str
    caption: str
    """What its rows and columns are."""
    models: tuple[str, ...] = PAPER_MODELS
    of_the_data: bool = False
    """Whether the picture is of the data, so that one trial's is all trials'."""


@dataclass(frozen=True)
class Panel:
    """One model's picture."""

    title: str
    pixels: Pixels


BELOW = "A column a test example: above the modalities given, below them three samples of every modality"
PICTURES = {
    "figure2": Pictured("polymnist", "dataset", "Examples of PolyMNIST", "A column a tuple, a row a modality.", of_the_data=True),
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
"""By name of the figure; the paper counts PolyMNIST's modalities from 1."""


def compose(pictured: Pictured, group: ModelGroup, samples: Samples) -> Figure | None:
    """A panel a model, in the paper's order; None if no trial of the group has the picture.

    Each model shows the lowest completed seed of its cell at the beta of the paper's tables, or at that of its own betas which stands
    for it (`model_groups.common_beta`).
    """
    if group.config.dataset != pictured.dataset:
        return None
    panels = _panels(pictured, group, samples)
    if not panels:
        return None
    n = "n = 1 trial" if len(panels) == 1 else "n = 1 trial a model"
    return _laid_out(panels, f"{pictured.title} – {group.label}; {n}", pictured.caption)


def _panels(pictured: Pictured, group: ModelGroup, samples: Samples) -> list[Panel]:
    panels = []
    for model in pictured.models:
        cell = _cell(group, model)
        drawn = [seed for seed in sorted(group.values[cell.id]) if _path(cell, seed, pictured, samples)] if cell else []
        if cell and drawn:
            path = samples[Trial(cell, drawn[0]).id][pictured.picture]
            title = "" if pictured.of_the_data else f"{proper(model)}, β = {spelled(cell.config.beta)}, seed {drawn[0]}"
            panels.append(Panel(title, np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB"))))
        if panels and pictured.of_the_data:
            break
    return panels


def _cell(group: ModelGroup, model: str) -> Cell | None:
    beta = group.beta(float(PAPER[group.config.dataset]["beta"]), [model])
    return None if beta is None else group.line(model)[beta]


def _path(cell: Cell, seed: int, pictured: Pictured, samples: Samples) -> bool:
    path = samples.get(Trial(cell, seed).id, {}).get(pictured.picture)
    return path is not None and path.exists()


def _laid_out(panels: Sequence[Panel], title: str, caption: str) -> Figure:
    """The panels side by side if that is not too wide, else below one another, each pixel of a picture one of the PNG's."""
    sizes = [panel.pixels.shape[:2] for panel in panels]
    beside = sum(width + GAP for _, width in sizes) <= WIDEST
    width = (sum(w for _, w in sizes) + GAP * (len(sizes) - 1) if beside else max(w for _, w in sizes)) + 2 * MARGIN
    width = max(width, 900)  # a caption wants room
    above, below = (textwrap.wrap(text, int(width * 0.075)) for text in (title, caption))
    head = TITLE if any(panel.title for panel in panels) else MARGIN
    body = max(h for h, _ in sizes) + head if beside else sum(h + head for h, _ in sizes)
    height = 2 * MARGIN + LINE * (len(above) + len(below)) + body + MARGIN
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    figure.text(MARGIN / width, 1 - MARGIN / height, "\n".join(above), fontsize=9, va="top")
    figure.text(MARGIN / width, MARGIN / height, "\n".join(below), fontsize=8, va="bottom", color=EDGE)
    x, y = MARGIN, height - MARGIN - LINE * len(above)
    for panel in panels:
        h, w = panel.pixels.shape[:2]
        axes = figure.add_axes((x / width, (y - head - h) / height, w / width, h / height))
        axes.imshow(panel.pixels, interpolation="nearest", aspect="auto")
        axes.set_axis_off()
        axes.set_title(panel.title, fontsize=9, loc="left")
        x, y = (x + w + GAP, y) if beside else (x, y - head - h)
    return figure
