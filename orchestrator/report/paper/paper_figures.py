"""Draws the paper's figures that a sweep has data for, and writes their files.

`tradeoff_figures`, `curve_figures` and `picture_figures` of `orchestrator.report.figures` draw them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from mopoe_core.storage.paths import AnyPath
from orchestrator.analysis.model_groups import ModelGroup
from orchestrator.report.figures import curve_figures, picture_figures, tradeoff_figures
from orchestrator.report.figures.picture_figures import Samples
from orchestrator.report.figures.plot_style import save, save_numbers


@dataclass(frozen=True)
class PaperFigure:
    """One of the paper's figures for one group of cells."""

    name: str
    """`figure1`, or `figure1-<group>` if several groups have the figure."""
    figure: Figure
    numbers: pd.DataFrame | None
    """The numbers in the figure; None for a figure of pictures."""

    def save(self, folder: Path, curves: Sequence[str], pictures: Sequence[str]) -> list[Path]:
        """Write the figure and its numbers as CSV. `curves` and `pictures` are the formats of figures of curves and of pictures."""
        if self.numbers is None:
            return save(self.figure, folder / self.name, pictures)
        return [*save(self.figure, folder / self.name, curves), save_numbers(self.numbers, folder / self.name)]


@dataclass(frozen=True)
class _Curves:
    draw: Callable[[ModelGroup], Figure | None]
    numbers: Callable[[ModelGroup], pd.DataFrame]


CURVES = {
    "figure1": _Curves(
        tradeoff_figures.joint, lambda group: tradeoff_figures.numbers(group, tradeoff_figures.joint_panels(group))
    ),
    "figure3": _Curves(curve_figures.by_size, lambda group: curve_figures.numbers(group, curve_figures.by_size_metrics(group))),
    "figure5": _Curves(
        tradeoff_figures.given_two, lambda group: tradeoff_figures.numbers(group, tradeoff_figures.given_two_panels(group))
    ),
    "figure6": _Curves(
        tradeoff_figures.given_one, lambda group: tradeoff_figures.numbers(group, tradeoff_figures.given_one_panels(group))
    ),
    "figure12": _Curves(
        curve_figures.attribute_coherence, lambda group: curve_figures.numbers(group, curve_figures.coherence_panels(group))
    ),
    "figure13": _Curves(
        curve_figures.attribute_probe, lambda group: curve_figures.numbers(group, curve_figures.probe_panels(group))
    ),
}


def write(groups: Sequence[ModelGroup], samples: Mapping[str, Mapping[str, AnyPath]], folder: Path) -> dict[str, Path]:
    """Write every figure of the paper that the groups have data for, and return the paths by file name.

    Curves are SVG, with their numbers as CSV; pictures are PNG. `samples` maps a trial's id to its pictures by name. The same input
    gives the same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = [path for figure in drawn(groups, samples) for path in figure.save(folder, ("svg",), ("png",))]
    return {path.name: path for path in written}


def drawn(groups: Sequence[ModelGroup], samples: Samples) -> Iterator[PaperFigure]:
    """Yields every figure of the paper that the groups have data for."""
    for name in [*CURVES, *picture_figures.PICTURES]:
        figures = [(group, figure) for group in groups for figure in draw(name, group, samples)]
        for group, figure in figures:
            file_name = name if len(figures) == 1 else f"{name}-{group.slug}"
            yield PaperFigure(file_name, figure, CURVES[name].numbers(group) if name in CURVES else None)


def draw(name: str, group: ModelGroup, samples: Samples) -> Iterator[Figure]:
    """Yields the figure with this name for one group of cells, if the group has the data."""
    pictures = picture_figures.PICTURES
    figure = CURVES[name].draw(group) if name in CURVES else picture_figures.compose(pictures[name], group, samples)
    if figure is not None:
        yield figure
