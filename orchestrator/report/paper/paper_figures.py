"""The paper's figures that a sweep has data for, and their files.

`tradeoff_figures`, `curve_figures` and `picture_figures` of `orchestrator.report.figures` draw them.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from mopoe_core.storage.paths import AnyPath
from orchestrator.analysis.model_groups import ModelGroup
from orchestrator.report.figures import curve_figures, picture_figures, tradeoff_figures
from orchestrator.report.figures.picture_figures import Samples
from orchestrator.report.figures.plot_style import save

SUFFIXES = ("svg", "png")
CURVES = {
    "figure1": tradeoff_figures.joint,
    "figure3": curve_figures.by_size,
    "figure5": tradeoff_figures.given_two,
    "figure6": tradeoff_figures.given_one,
    "figure12": curve_figures.attribute_coherence,
    "figure13": curve_figures.attribute_probe,
}


def write(groups: Sequence[ModelGroup], samples: Mapping[str, Mapping[str, AnyPath]], folder: Path) -> dict[str, Path]:
    """Write every figure of the paper that the groups have data for, as SVG and PNG; returns paths by file name.

    `samples` maps a trial's id to its pictures by name. A figure is `figure1.svg`, or `figure1-<group>.svg` if several groups have it.
    The same input gives the same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, Path] = {}
    for name in [*CURVES, *picture_figures.PICTURES]:
        drawn = [(group, figure) for group in groups for figure in draw(name, group, samples)]
        for group, figure in drawn:
            stem = name if len(drawn) == 1 else f"{name}-{group.slug}"
            written |= {path.name: path for path in save(figure, folder / stem, SUFFIXES)}
    return written


def draw(name: str, group: ModelGroup, samples: Samples) -> Iterator[Figure]:
    """Yields the figure of that name for one group of cells, if there are data for it."""
    figure = CURVES[name](group) if name in CURVES else picture_figures.compose(picture_figures.PICTURES[name], group, samples)
    if figure is not None:
        yield figure
