"""Writes the report of a sweep: figures, tables and one self-contained page, from trial results alone.

Every file is written whole or not at all. The same results give the same bytes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.whole_files import write_text
from orchestrator.analysis import collapse
from orchestrator.analysis.comparable_groups import groups_of
from orchestrator.analysis.failure_causes import FailureGroup
from orchestrator.analysis.sweep_analysis import SweepAnalysis
from orchestrator.ledger.result import TrialResult
from orchestrator.report import overview, page
from orchestrator.report.overview import Overview
from orchestrator.report.paper import paper_report
from orchestrator.report.paper.paper_report import PaperReport
from orchestrator.report.render.search_table import Searched
from orchestrator.report.render.table_files import write_both
from orchestrator.report.sections import group_section, search_section, seed_section
from orchestrator.report.sections.group_section import FrontFiles, Part
from orchestrator.report.sections.search_section import SearchReport
from orchestrator.search.outcomes import ProposedCell
from orchestrator.spec.sweep_spec import SweepSpec

PAGE = "index.html"
PARTS = re.compile(
    r"index\.html|front(-.*)?\.(svg|png|pdf|csv)|cells\.(md|tex|csv|parquet)|trials\.(csv|parquet)|seeds|search|paper|\..*"
)
"""Names of files and folders that belong to a report."""


@dataclass(frozen=True)
class ReportPaths:
    """The paths of a report's files, and its main contents."""

    page: Path
    fronts: tuple[FrontFiles, ...]
    """A figure for each group of cells that may be compared."""
    markdown: Path
    latex: Path
    cells_csv: Path
    cells_parquet: Path
    trials_csv: Path
    trials_parquet: Path
    summary: str
    """The table of cells with only the objectives, narrow enough for a terminal; below it the collapsed cells."""
    paper: PaperReport = PaperReport((), (), {}, ())
    """The paper's tables, claims and figures that the sweep has cells for."""
    search: SearchReport | None = None
    """The report of the search; None for a sweep without a search."""
    overview: Overview = Overview()


@dataclass(frozen=True)
class ReportContext:
    """The facts about a sweep beside its results that the driver gives to the report."""

    failed: tuple[FailureGroup, ...] = ()
    runs: Mapping[str, str] = field(default_factory=dict)
    """Addresses of MLflow runs, by the id of the trial or the cell."""
    yaml: str = ""
    """The sweep's file, without secrets."""
    unequal: bool = False
    """Whether models with different complete seeds are ranked on the seeds that both have; otherwise they are not ranked."""


def is_part(name: str) -> bool:
    """Whether a file or folder with this name in a report's folder belongs to the report."""
    return PARTS.fullmatch(name) is not None


def write(
    spec: SweepSpec,
    results: Sequence[TrialResult],
    states: Mapping[str, str],
    samples: Mapping[str, Mapping[str, AnyPath]],
    command: str,
    folder: Path,
    against_paper: bool = False,
    proposed: Sequence[ProposedCell] = (),
    context: ReportContext | None = None,
) -> ReportPaths:
    """Write the whole report into `folder`, and return its paths. With `against_paper` it also has the published numbers.

    `states` has each planned trial's status by its id, `samples` the trials' pictures by id and name, `proposed` the cells of a search,
    and `context` the failures and the MLflow runs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    context = context or ReportContext()
    grouped = groups_of(spec, results)
    analysis = group_section.analysed(spec, grouped)
    parts = [group_section.make(spec, group) for group in analysis.groups]
    searched, search = _write_fronts(analysis, parts, proposed, folder)
    group_section.remove_others(parts, folder)
    seeds = seed_section.write(analysis, folder, context.unequal)
    paper = paper_report.write(
        grouped.groups, analysis.model_groups, spec.seed_list, samples, command, folder / "paper", against_paper
    )
    fronts, collapsed = [(part.group.label, part.front) for part in parts], collapse.by_cell(analysis.results)
    contents = page.Contents(
        analysis=analysis,
        results=results,
        states=states,
        samples=samples,
        proposed=proposed,
        command=command,
        failed=context.failed,
        runs=context.runs,
        yaml=context.yaml,
        collapsed=collapsed,
        parts=parts,
        seeds=seeds,
        paper=paper,
        search=search,
        searched=searched,
        overview=overview.of_sweep(analysis, fronts, seeds, results, states, collapsed),
    )
    paths = _paths(contents, folder)
    _write_tables(paths, parts, results, command)
    write_text(paths.page, page.rendered(contents, folder))
    return paths


def _write_fronts(
    analysis: SweepAnalysis, parts: Sequence[Part], proposed: Sequence[ProposedCell], folder: Path
) -> tuple[Searched | None, SearchReport | None]:
    """Write the figures of the fronts, or those of a search; returns the search and the contents of its section, or None for both."""
    if analysis.spec.search is None:
        group_section.write_fronts(parts, folder)
        return None, None
    (part,) = parts
    searched = Searched(analysis.spec, tuple(proposed), part.front, part.units, part.title)
    return searched, search_section.write(searched, analysis.results, folder)


def _paths(contents: page.Contents, folder: Path) -> ReportPaths:
    """Returns the paths of the report's files in `folder`, with its main contents."""
    objectives = [objective.metric for objective in contents.analysis.spec.objectives]
    table = group_section.markdown(contents.parts, objectives)
    return ReportPaths(
        page=folder / PAGE,
        fronts=tuple(part.files(folder) for part in contents.parts),
        markdown=folder / "cells.md",
        latex=folder / "cells.tex",
        cells_csv=folder / "cells.csv",
        cells_parquet=folder / "cells.parquet",
        trials_csv=folder / "trials.csv",
        trials_parquet=folder / "trials.parquet",
        summary="\n".join([table, *collapse.lines_of(contents.analysis.cells, contents.collapsed)]),
        paper=contents.paper,
        search=contents.search,
        overview=contents.overview,
    )


def _write_tables(paths: ReportPaths, parts: Sequence[Part], results: Sequence[TrialResult], command: str) -> None:
    write_text(paths.markdown, group_section.markdown(parts))
    write_text(paths.latex, group_section.latex(parts, command))
    write_both([group_section.whole_table(parts)], paths.cells_csv, paths.cells_parquet)
    write_both(group_section.trials_table(results), paths.trials_csv, paths.trials_parquet)
