"""Writes the comparison over seeds in each group of cells: attainment surfaces, hypervolumes, differences, the knee; learning curves.

<report>/seeds/attainment-<group>.{svg,csv}
<report>/seeds/learning-<group>.{svg,csv}
"""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.analysis.attainment import Attainment, attainments, knee
from orchestrator.analysis.fronts import Front
from orchestrator.analysis.model_groups import ModelGroup
from orchestrator.analysis.significance.paired_difference import Difference, NotRanked
from orchestrator.analysis.significance.pairwise import Volume, hypervolume_differences, hypervolumes
from orchestrator.analysis.sweep_analysis import SweepAnalysis
from orchestrator.report.figures import attainment_figure, learning_figure
from orchestrator.report.figures.plot_style import NamedFigure, save, save_numbers
from orchestrator.report.render.difference_sentences import sentence
from orchestrator.report.render.numbers import MISSING, summary_texts, to_spread
from orchestrator.report.render.short_labels import shortened
from orchestrator.spec.proper_names import proper_dataset, proper_group

FEWEST_CELLS = 2
"""The fewest cells that series of a search must have on average. With fewer, the front of a series is mostly a single cell."""
OF_A_SEARCH = (
    "Models are compared seed by seed by their series of cells. In this search almost every cell differs from all others in more than "
    "beta, and so is a series of its own. This comparison is left out; the table of the search and the front are over seeds."
)


@dataclass(frozen=True)
class Block:
    """One group of cells."""

    label: str
    figure: Path | None
    """The SVG of the attainment surfaces; None if none are drawn."""
    without: str
    """A sentence on the series that are not drawn, and why; empty if all are."""
    volumes: tuple[tuple[str, ...], ...]
    """A row for each series: name, n, mean, sd and 95 % interval of the hypervolume."""
    pairs: tuple[tuple[str, ...], ...]
    """A row for each pair: both names, mean, sd and 95 % interval of the difference, n, p-values, and whether the difference is shown at
    5 %; dashes if the pair is not ranked."""
    sentences: tuple[str, ...]
    """A sentence for each pair."""
    differences: tuple[Difference | NotRanked, ...]
    """The numbers of each pair."""
    knee: str
    """A sentence on where the front bends most."""


@dataclass(frozen=True)
class SeedReport:
    """The files of the section, and its contents on the page."""

    blocks: tuple[Block, ...]
    why_not: str
    """Why there are no blocks; empty if there are."""
    curves: tuple[tuple[str, Path], ...]
    """The title and the SVG of each group's learning curves."""


def write(analysis: SweepAnalysis, folder: Path, unequal: bool) -> SeedReport:
    """Write the figures into the report's folder, and return the section's contents. Earlier files in `seeds` are removed.

    Series with different complete seeds are ranked only with `unequal`, on the seeds that both have.
    """
    seed_folder = folder / "seeds"
    shutil.rmtree(seed_folder, ignore_errors=True)  # figures that can no longer be drawn must not stay
    seed_folder.mkdir(parents=True)
    spec, groups = analysis.spec, analysis.feasible_groups
    curves = tuple(_curves(analysis, seed_folder))
    attained = [attainments(spec.objectives, group.cells, group.seeds, group.results) for group in groups]
    series_count = sum(map(len, attained))
    if spec.search and sum(len(group.cells) for group in groups) < FEWEST_CELLS * series_count:
        return SeedReport((), OF_A_SEARCH, curves)
    if not groups:
        return SeedReport((), "The sweep has no cells yet.", curves)
    blocks = [_block(analysis, group, of_group, seed_folder, unequal) for group, of_group in zip(groups, attained, strict=True)]
    return SeedReport(tuple(blocks), "", curves)


def _block(analysis: SweepAnalysis, group: ModelGroup, attained: Sequence[Attainment], folder: Path, unequal: bool) -> Block:
    units = [group.unit(objective.metric) for objective in analysis.spec.objectives]
    figure = attainment_figure.attainment(attained, _title(group), units)
    stem = folder / f"attainment-{group.slug}"
    if figure is not None:
        save(figure, stem)
        save_numbers(attainment_figure.attainment_numbers(attained), stem)
    volumes = hypervolumes(attained)
    pairs = hypervolume_differences(volumes, unequal=unequal)
    short = shortened(attainment.series for attainment in attained)
    return Block(
        label=group.label,
        figure=None if figure is None else stem.with_name(f"{stem.name}.svg"),
        without=_not_drawn(attained),
        volumes=tuple(_volume_row(volume, short) for volume in volumes),
        pairs=tuple(_pair_row(pair, short) for pair in pairs),
        sentences=tuple(sentence(pair) for pair in pairs),
        differences=pairs,
        knee=_knee(analysis.front_of(group)),
    )


def _curves(analysis: SweepAnalysis, folder: Path) -> list[tuple[str, Path]]:
    """Write the learning curves into a folder, and return their titles and SVGs."""
    written = []
    for title, curves in learning_curves(analysis):
        written.append((title, save(curves.figure, folder / curves.name)[0]))
        save_numbers(curves.numbers, folder / curves.name)
    return written


def learning_curves(analysis: SweepAnalysis) -> Iterator[tuple[str, NamedFigure]]:
    """Yields the title and the figure of the learning curves of each group.

    In a search, almost every cell is a group of its own. So its curves are for each dataset.
    """
    parts = [(group.slug, _title(group), list(group.cells)) for group in analysis.feasible_groups]
    if analysis.spec.search:
        parts = [
            (
                re.sub(r"\W+", "-", dataset),
                proper_dataset(dataset),
                [cell for cell in analysis.cells if cell.config.dataset == dataset],
            )
            for dataset in dict.fromkeys(cell.config.dataset for cell in analysis.cells)
        ]
    for slug, title, cells in parts:
        curves = learning_figure.named_learning(f"learning-{slug}", cells, analysis.results, title)
        if curves is not None:
            yield title, curves


def _title(group: ModelGroup) -> str:
    n = len(group.seeds)
    return f"{proper_group(group.label)}; {n} seed{'' if n == 1 else 's'} planned"


def _not_drawn(attained: Sequence[Attainment]) -> str:
    """Returns a sentence on the series that are not drawn, and why; empty if all are."""
    if any(len(attainment.objectives) != 2 for attainment in attained):
        return "Attainment surfaces are drawn for two objectives alone."
    few = [attainment.series for attainment in attained if attainment.n < 2]
    if len(few) == len(attained):
        return "No series has two seeds in which all its cells completed, so there is no spread to show."
    return f"Not drawn, because fewer than two of their seeds are complete: {', '.join(few)}." if few else ""


def _volume_row(volume: Volume, short: Mapping[str, str]) -> tuple[str, ...]:
    return short[volume.series], f"{volume.n}/{volume.n_planned}", *summary_texts(volume.over_seeds)


def _pair_row(pair: Difference | NotRanked, short: Mapping[str, str]) -> tuple[str, ...]:
    names = (short[pair.first], short[pair.second])
    if isinstance(pair, NotRanked):
        return *names, *[MISSING] * 6, "not ranked"
    p_values = [f"{pair.p:.3g}", f"{pair.p_holm:.3g}"] if pair.n > 1 else [MISSING, MISSING]
    seeds, shown = f"{pair.n}/{pair.n_planned}", "yes" if pair.shown else "no"
    return *names, *summary_texts(pair.over_seeds), seeds, *p_values, shown


def _knee(front: Front) -> str:
    """Returns a sentence on where the front bends most."""
    bend = knee(front)
    if bend is None:
        return _why_no_knee(front)
    point = bend.point
    texts = [to_spread(sd, mean, sd) for mean, sd in zip(point.means, point.sds, strict=True)]
    values = ", ".join(
        f"{objective.metric} {mean}{'' if sd == MISSING else f' ± {sd}'}"
        for objective, (mean, sd) in zip(front.objectives, texts, strict=True)
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
