"""What the seeds say, a block a group of cells that may be compared: attainment surfaces, hypervolumes, differences, the knee; and
learning curves.

<report>/seeds/attainment-<group>.{svg,png,pdf}
<report>/seeds/learning-<group>.{svg,png,pdf}
"""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.analysis import fronts
from orchestrator.analysis.attainment import Attainment, attainments, knee
from orchestrator.analysis.digits import spelled_alike
from orchestrator.analysis.model_groups import Group
from orchestrator.analysis.paired_difference import Difference, NotRanked
from orchestrator.analysis.pairwise import Volume, hypervolume_differences, hypervolumes
from orchestrator.ledger.result import TrialResult
from orchestrator.report.figures import seed_figures
from orchestrator.report.figures.figure_parts import save
from orchestrator.spec.sweep_spec import SweepSpec

FEWEST_CELLS = 2
"""Cells a series has on average in a search, below which a front of a series is mostly a cell."""
OF_A_SEARCH = (
    "Comparing models seed by seed takes series of cells. In this search almost every cell differs in more than beta from all others and "
    "is a series of its own, so it is left out here; the table of the search and the front are over seeds."
)


@dataclass(frozen=True)
class Block:
    """One group of cells."""

    label: str
    figure: Path | None
    """The SVG of the attainment surfaces."""
    without: str
    """What is not drawn, and why; empty if all is."""
    volumes: tuple[tuple[str, ...], ...]
    """Series, n, mean, sd and 95 % interval of its hypervolume."""
    pairs: tuple[tuple[str, ...], ...]
    """First and second, and what `VOLUMES` names of their difference; dashes where they are not ranked."""
    sentences: tuple[str, ...]
    """One a pair."""
    knee: str


@dataclass(frozen=True)
class SeedReport:
    """What was written, and what the page says of it."""

    blocks: tuple[Block, ...]
    why_not: str
    """Why there are no blocks; empty if there are."""
    curves: tuple[tuple[str, Path], ...]
    """A group's label and the SVG of its learning curves."""


def write(spec: SweepSpec, found: Sequence[Group], results: Sequence[TrialResult], folder: Path, unequal: bool) -> SeedReport:
    """Write the figures into `folder`, the report's, in place of what stood there.

    `found` has the cells that keep to the constraints, `results` those of all trials, diverged ones too.
    Series whose complete seeds differ are ranked with `unequal` only, on those that both have.
    """
    into = folder / "seeds"
    shutil.rmtree(into, ignore_errors=True)  # what can no longer be drawn must not stay
    into.mkdir(parents=True)
    curves = _curves(spec, found, results, into)
    surfaces = [(group, attainments(spec.objectives, group.cells, group.seeds, group.results)) for group in found]
    series = sum(len(of) for _, of in surfaces)
    if spec.search and sum(len(group.cells) for group in found) < FEWEST_CELLS * series:
        return SeedReport((), OF_A_SEARCH, tuple(curves))
    if not found:
        return SeedReport((), "The sweep has no cells yet.", tuple(curves))
    return SeedReport(tuple(_block(spec, group, of, results, into, unequal) for group, of in surfaces), "", tuple(curves))


def _block(
    spec: SweepSpec,
    group: Group,
    found: Sequence[Attainment],
    results: Sequence[TrialResult],
    into: Path,
    unequal: bool,
) -> Block:
    units = [group.unit(objective.metric) for objective in spec.objectives]
    figure = seed_figures.attainment(found, _title(group), units)
    stem = into / f"attainment-{group.slug}"
    if figure is not None:
        save(figure, stem)
    volumes, compared = hypervolumes(found) or (), hypervolume_differences(found, unequal=unequal) or ()
    return Block(
        label=group.label,
        figure=None if figure is None else stem.with_name(f"{stem.name}.svg"),
        without=_not_drawn(found),
        volumes=tuple(_volume(volume) for volume in volumes),
        pairs=tuple(_pair(one) for one in compared),
        sentences=tuple(one.sentence for one in compared),
        knee=_knee(fronts.front(spec.objectives, group.cells, spec.seeds_by_cell, results, spec.adaptive)),
    )


def _curves(spec: SweepSpec, found: Sequence[Group], results: Sequence[TrialResult], into: Path) -> list[tuple[str, Path]]:
    """A figure a group; of a search one a dataset, with all cells, as nearly each is a group of its own."""
    parts = [(group.slug, _title(group), list(group.cells)) for group in found]
    if spec.search:
        every = spec.cells
        parts = [
            (re.sub(r"\W+", "-", dataset), dataset, [cell for cell in every if cell.config.dataset == dataset])
            for dataset in dict.fromkeys(cell.config.dataset for cell in every)
        ]
    made = []
    for slug, title, own in parts:
        ids = {cell.id for cell in own}
        figure = seed_figures.learning(own, [result for result in results if result.trial.cell.id in ids], title)
        if figure is not None:
            made.append((title, save(figure, into / f"learning-{slug}")[0]))
    return made


def _title(group: Group) -> str:
    n = len(group.seeds)
    return f"{group.label}; {n} seed{'' if n == 1 else 's'} planned"


def _not_drawn(found: Sequence[Attainment]) -> str:
    if any(len(one.objectives) != 2 for one in found):
        return "Attainment surfaces are drawn for two objectives alone."
    few = [one for one in found if one.n < 2]
    if len(few) == len(found):
        return "No series has two seeds in which all its cells completed, so there is no spread to show."
    return f"Not drawn, as fewer than two of their seeds are complete: {', '.join(one.series for one in few)}." if few else ""


def _volume(one: Volume) -> tuple[str, ...]:
    mean, sd, low, high = spelled_alike(one.sd, one.mean, one.sd, one.low, one.high)
    return one.series, f"{one.n}/{one.n_planned}", mean, sd, _interval(low, high)


def _pair(one: Difference | NotRanked) -> tuple[str, ...]:
    if isinstance(one, NotRanked):
        return one.first, one.second, *["–"] * 6, "not ranked"
    mean, sd, low, high = spelled_alike(one.sd, one.mean, one.sd, one.low, one.high)
    p = [f"{one.p:.3g}", f"{one.p_holm:.3g}"] if one.n > 1 else ["–", "–"]
    return one.first, one.second, mean, sd, _interval(low, high), f"{one.n}/{one.n_planned}", *p, "yes" if one.shown else "no"


def _interval(low: str, high: str) -> str:
    return "–" if low == "–" else f"{low} to {high}"


def _knee(found: fronts.Front) -> str:
    """Where a front bends most, in a sentence."""
    bend = knee(found)
    if bend is None:
        return _why_no_knee(found)
    point = bend.point
    parts = [spelled_alike(sd, mean, sd) for mean, sd in zip(point.means, point.sds, strict=True)]
    values = ", ".join(
        f"{objective.metric} {mean}{'' if sd == '–' else f' ± {sd}'}"
        for objective, (mean, sd) in zip(found.objectives, parts, strict=True)
    )
    return (
        f"The front bends most at {point.label} ({values}): of the cells on it, this is the farthest beyond the line through the two "
        f"extremes, by {bend.distance:.2f} where each objective's range over the front is 1."
    )


def _why_no_knee(found: fronts.Front) -> str:
    if len(found.objectives) != 2:
        return "The knee of a front is sought for two objectives alone."
    if len({point.means for point in found.points if point.on_front}) < 3:
        return "The front has no knee: fewer than three different cells are on it."
    return "The front has no knee: no cell on it lies beyond the line through its two extremes."
