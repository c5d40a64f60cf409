"""The paper's figures from a sweep's trials: which of them there are data for, and their files.

`tradeoff_figures`, `curve_figures` and `picture_figures` of `orchestrator.report.figures` draw them.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from mopoe_core.storage.files import AnyPath
from orchestrator.analysis.model_groups import Group, groups
from orchestrator.ledger.result import TrialResult
from orchestrator.report.figures import curve_figures, picture_figures, tradeoff_figures
from orchestrator.report.figures.figure_parts import save
from orchestrator.report.figures.picture_figures import Samples
from orchestrator.spec.trial import Cell

SUFFIXES = ("svg", "png")
CURVES = {
    "figure1": tradeoff_figures.joint,
    "figure3": curve_figures.by_size,
    "figure5": tradeoff_figures.given_two,
    "figure6": tradeoff_figures.given_one,
    "figure12": curve_figures.attribute_coherence,
    "figure13": curve_figures.attribute_probe,
}


def write(
    cells: Sequence[Cell],
    seeds: Sequence[int],
    results: Sequence[TrialResult],
    samples: Mapping[str, Mapping[str, AnyPath]],
    folder: Path,
) -> dict[str, Path]:
    """Write every figure of the paper that the sweep has data for, as SVG and PNG; returns file names and paths.

    `samples` maps a trial's id to its pictures by name. A figure is `figure1.svg`, or `figure1-<group>.svg` where several groups of
    cells have it. The same input gives the same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = groups(cells, seeds, results)
    written: dict[str, Path] = {}
    for name in [*CURVES, *picture_figures.PICTURES]:
        drawn = [(group, figure) for group in found for figure in draw(name, group, samples)]
        for group, figure in drawn:
            stem = name if len(drawn) == 1 else f"{name}-{group.slug}"
            written |= {path.name: path for path in save(figure, folder / stem, SUFFIXES)}
    return written


def draw(name: str, group: Group, samples: Samples) -> Iterator[Figure]:
    """The figure of that name for one group of cells: one, or none if there are no data for it."""
    figure = CURVES[name](group) if name in CURVES else picture_figures.compose(picture_figures.PICTURES[name], group, samples)
    if figure is not None:
        yield figure
