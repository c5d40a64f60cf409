"""What the seeds show in each group of cells: attainment surfaces, hypervolumes, differences, the knee; and learning curves.

<report>/seeds/attainment-<group>.{svg,csv}
<report>/seeds/learning-<group>.{svg,csv}
"""

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.analysis.attainment import Attainment, attainments, knee
from orchestrator.analysis.fronts import Front
from orchestrator.analysis.model_groups import ModelGroup
from orchestrator.analysis.significance.paired_difference import Difference, NotRanked
from orchestrator.analysis.significance.pairwise import Volume, hypervolume_differences, hypervolumes
from orchestrator.analysis.sweep_analysis import SweepAnalysis
from orchestrator.report.figures import seed_figures
from orchestrator.report.figures.plot_style import NamedFigure, save, save_numbers
from orchestrator.report.render.difference_sentences import sentence
from orchestrator.report.render.numbers import MISSING, summary_texts, to_spread

FEWEST_CELLS = 2
"""Cells that a series of a search has on average. With fewer, the front of a series is mostly a single cell."""
OF_A_SEARCH = (
    "Models are compared seed by seed by their series of cells. In this search almost every cell differs from all others in more than "
    "beta, and so is a series of its own. This comparison is left out; the table of the search and the front are over seeds."
)


@dataclass(frozen=True)
class Block:
    """One group of cells."""

    label: str
    figure: Path | None
    """The SVG of the attainment surfaces."""
    without: str
    """The series that are not drawn, and why; empty if all are."""
    volumes: tuple[tuple[str, ...], ...]
    """Series, n, mean, sd and 95 % interval of its hypervolume."""
    pairs: tuple[tuple[str, ...], ...]
    """First and second, mean, sd and 95 % interval of their difference, n, p-values, and whether it is shown; dashes if not ranked."""
    sentences: tuple[str, ...]
    """A sentence for each pair."""
    differences: tuple[Difference | NotRanked, ...]
    """The pairs themselves."""
    knee: str


@dataclass(frozen=True)
class SeedReport:
    """What was written, and what the page says of it."""

    blocks: tuple[Block, ...]
    why_not: str
    """Why there are no blocks; empty if there are."""
    curves: tuple[tuple[str, Path], ...]
    """A group's label and the SVG of its learning curves."""


def write(analysis: SweepAnalysis, folder: Path, unequal: bool) -> SeedReport:
    """Write the figures into `folder`, the report's, in place of what stood there.

    Series whose complete seeds differ are ranked with `unequal` only, on the seeds that both have.
    """
    into = folder / "seeds"
    shutil.rmtree(into, ignore_errors=True)  # what can no longer be drawn must not stay
    into.mkdir(parents=True)
    spec, groups = analysis.spec, analysis.feasible_groups
    curves = tuple(_curves(analysis, into))
    in_groups = [(group, attainments(spec.objectives, group.cells, group.seeds, group.results)) for group in groups]
    series = sum(len(of_group) for _, of_group in in_groups)
    if spec.search and sum(len(group.cells) for group in groups) < FEWEST_CELLS * series:
        return SeedReport((), OF_A_SEARCH, curves)
    if not groups:
        return SeedReport((), "The sweep has no cells yet.", curves)
    return SeedReport(tuple(_block(analysis, group, of_group, into, unequal) for group, of_group in in_groups), "", curves)


def _block(analysis: SweepAnalysis, group: ModelGroup, of_series: Sequence[Attainment], into: Path, unequal: bool) -> Block:
    units = [group.unit(objective.metric) for objective in analysis.spec.objectives]
    figure = seed_figures.attainment(of_series, _title(group), units)
    stem = into / f"attainment-{group.slug}"
    if figure is not None:
        save(figure, stem)
        save_numbers(seed_figures.attainment_numbers(of_series), stem)
    volumes = hypervolumes(of_series)
    pairs = hypervolume_differences(volumes, unequal=unequal)
    return Block(
        label=group.label,
        figure=None if figure is None else stem.with_name(f"{stem.name}.svg"),
        without=_not_drawn(of_series),
        volumes=tuple(_volume_row(volume) for volume in volumes),
        pairs=tuple(_pair_row(pair) for pair in pairs),
        sentences=tuple(sentence(pair) for pair in pairs),
        differences=pairs,
        knee=_knee(analysis.front_of(group)),
    )


def _curves(analysis: SweepAnalysis, into: Path) -> list[tuple[str, Path]]:
    """Titles and SVGs of the learning curves."""
    written = []
    for title, curves in learning_curves(analysis):
        written.append((title, save(curves.figure, into / curves.name)[0]))
        save_numbers(curves.numbers, into / curves.name)
    return written


def learning_curves(analysis: SweepAnalysis) -> Iterator[tuple[str, NamedFigure]]:
    """Yields title and figure of the learning curves of each group; of each dataset in a search, where almost every cell is a group."""
    parts = [(group.slug, _title(group), list(group.cells)) for group in analysis.feasible_groups]
    if analysis.spec.search:
        parts = [
            (re.sub(r"\W+", "-", dataset), dataset, [cell for cell in analysis.cells if cell.config.dataset == dataset])
            for dataset in dict.fromkeys(cell.config.dataset for cell in analysis.cells)
        ]
    for slug, title, cells in parts:
        curves = seed_figures.named_learning(f"learning-{slug}", cells, analysis.results, title)
        if curves is not None:
            yield title, curves


def _title(group: ModelGroup) -> str:
    n = len(group.seeds)
    return f"{group.label}; {n} seed{'' if n == 1 else 's'} planned"


def _not_drawn(of_series: Sequence[Attainment]) -> str:
    """A sentence on the series that are not drawn, and why; empty if all are."""
    if any(len(one.objectives) != 2 for one in of_series):
        return "Attainment surfaces are drawn for two objectives alone."
    few = [one.series for one in of_series if one.n < 2]
    if len(few) == len(of_series):
        return "No series has two seeds in which all its cells completed, so there is no spread to show."
    return f"Not drawn, because fewer than two of their seeds are complete: {', '.join(few)}." if few else ""


def _volume_row(volume: Volume) -> tuple[str, ...]:
    return volume.series, f"{volume.n}/{volume.n_planned}", *summary_texts(volume.over_seeds)


def _pair_row(pair: Difference | NotRanked) -> tuple[str, ...]:
    if isinstance(pair, NotRanked):
        return pair.first, pair.second, *[MISSING] * 6, "not ranked"
    p_values = [f"{pair.p:.3g}", f"{pair.p_holm:.3g}"] if pair.n > 1 else [MISSING, MISSING]
    seeds, shown = f"{pair.n}/{pair.n_planned}", "yes" if pair.shown else "no"
    return pair.first, pair.second, *summary_texts(pair.over_seeds), seeds, *p_values, shown


def _knee(front: Front) -> str:
    """A sentence on where the front bends most."""
    bend = knee(front)
    if bend is None:
        return _why_no_knee(front)
    point = bend.point
    parts = [to_spread(sd, mean, sd) for mean, sd in zip(point.means, point.sds, strict=True)]
    values = ", ".join(
        f"{objective.metric} {mean}{'' if sd == MISSING else f' ± {sd}'}"
        for objective, (mean, sd) in zip(front.objectives, parts, strict=True)
    )
    return (
        f"The front bends most at {point.label} ({values}): of the cells on it, this is the farthest beyond the line through the two "
        f"extremes, by {bend.distance:.2f} where each objective's range over the front is 1."
    )


def _why_no_knee(front: Front) -> str:
    if len(front.objectives) != 2:
        return "The knee of a front is sought for two objectives alone."
    if len({point.means for point in front.members}) < 3:
        return "The front has no knee: fewer than three different cells are on it."
    return "The front has no knee: no cell on it lies beyond the line through its two extremes."
