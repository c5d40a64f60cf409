"""Writes figures for a paper: each as a PDF with the paper's width and letter size, and its numbers as CSV.

<folder>/front.{pdf,csv}, attainment-<group>.{pdf,csv}, learning-<group>.{pdf,csv}, heat-coherence.{pdf,csv}, figure1.{pdf,csv},
figure7.pdf, ...
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mopoe_core.storage.paths import AnyPath
from orchestrator.analysis.attainment import attainments
from orchestrator.analysis.comparable_groups import groups_of
from orchestrator.analysis.sweep_analysis import SweepAnalysis
from orchestrator.ledger.result import TrialResult
from orchestrator.report.figures import (
    attainment_figure,
    front_figure,
    heat_figure,
    search_course_figure,
    search_front_figure,
    search_space_figures,
)
from orchestrator.report.figures.plot_style import Look, NamedFigure, drawn_for, save, save_numbers
from orchestrator.report.paper import paper_figures
from orchestrator.report.render import search_table
from orchestrator.report.render.search_table import Searched
from orchestrator.report.sections import group_section, heat_map_section, seed_section
from orchestrator.report.sections.group_section import Part
from orchestrator.search.outcomes import ProposedCell
from orchestrator.spec.proper_names import proper_group
from orchestrator.spec.sweep_spec import SweepSpec


def write(
    spec: SweepSpec,
    results: Sequence[TrialResult],
    samples: Mapping[str, Mapping[str, AnyPath]],
    proposed: Sequence[ProposedCell],
    look: Look,
    folder: Path,
) -> list[Path]:
    """Write every figure of a sweep's report into the folder, and return the paths of the PDFs."""
    folder.mkdir(parents=True, exist_ok=True)
    grouped = groups_of(spec, results)
    analysis = group_section.analysed(spec, grouped)
    parts = [group_section.make(spec, group) for group in analysis.groups]
    written: list[Path] = []
    with drawn_for(look):
        for named in [*_of_cells(analysis, parts, proposed), *_heat_maps(parts), *_of_seeds(analysis)]:
            written += save(named.figure, folder / named.name, ("pdf",))
            save_numbers(named.numbers, folder / named.name)
        for paper_figure in paper_figures.drawn(analysis.model_groups, samples):
            written += paper_figure.save(folder, ("pdf",), ("pdf",))
    return [path for path in written if path.suffix == ".pdf"]


def _of_cells(analysis: SweepAnalysis, parts: Sequence[Part], proposed: Sequence[ProposedCell]) -> Iterator[NamedFigure]:
    """Yields the front of each group. A search has its front, its course and its space instead."""
    if analysis.spec.search is None:
        for part in parts:
            figure = front_figure.draw_front(part.front, part.title, part.units, part.joint_coherence_by_chance)
            yield NamedFigure(part.group.named("front"), figure, front_figure.front_numbers(part.front))
        return
    (part,) = parts
    searched = Searched(analysis.spec, tuple(proposed), part.front, part.units, part.title)
    table = search_table.frame(searched, analysis.results)
    yield NamedFigure("front", search_front_figure.front(searched), table)
    yield NamedFigure("history", search_course_figure.history(searched), table)
    yield NamedFigure("slices", search_space_figures.slices(searched), table)
    yield NamedFigure("parallel", search_space_figures.parallel(searched), table)


def _heat_maps(parts: Sequence[Part]) -> Iterator[NamedFigure]:
    """Yields a heat map for each group and kind of metric."""
    for part in parts:
        for kind, heading in heat_map_section.HEADINGS.items():
            table, cells = part.table[part.table["kind"] == kind], part.group.cells
            figure = heat_figure.heat_map(cells, table, f"{heading}\n{part.title}")
            if figure is not None:
                name = part.group.named(f"heat-{kind.replace('_', '-')}")
                yield NamedFigure(name, figure, heat_figure.heat_numbers(cells, table))


def _of_seeds(analysis: SweepAnalysis) -> Iterator[NamedFigure]:
    """Yields the attainment surfaces of each group, and the learning curves."""
    for group in analysis.feasible_groups:
        surfaces = attainments(analysis.spec.objectives, group.cells, group.seeds, group.results)
        units = [group.unit(objective.metric) for objective in analysis.spec.objectives]
        figure = attainment_figure.attainment(surfaces, proper_group(group.label), units)
        if figure is not None:
            yield NamedFigure(f"attainment-{group.slug}", figure, attainment_figure.attainment_numbers(surfaces))
    for _, curves in seed_section.learning_curves(analysis):
        yield curves
