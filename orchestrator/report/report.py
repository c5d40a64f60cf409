"""The report of a sweep: figure, tables and one self-contained page, made from trial results alone.

Every file is written whole or not at all, and the same results give the same bytes.
"""

import base64
import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import unescape
from pathlib import Path
from typing import Any

import jinja2

from mopoe_core.storage.files import AnyPath, write_text
from orchestrator.analysis import collapse
from orchestrator.analysis.comparable_groups import groups_of
from orchestrator.analysis.failure_causes import Group as FailureGroup
from orchestrator.analysis.fronts import Front
from orchestrator.analysis.model_groups import groups
from orchestrator.ledger.result import TrialResult
from orchestrator.report.paper import beside_published, claim_tables, paper_report
from orchestrator.report.paper.paper_report import PaperReport
from orchestrator.report.render import tables
from orchestrator.report.render.search_table import Searched
from orchestrator.report.render.table_files import write_both
from orchestrator.report.sections import (
    classes_section,
    failure_section,
    front_section,
    group_section,
    heat_maps,
    origin_section,
    picture_section,
    search_section,
    seed_section,
)
from orchestrator.report.sections.front_section import Card
from orchestrator.report.sections.group_section import FrontFiles, Part
from orchestrator.report.sections.search_section import SearchReport
from orchestrator.report.sections.seed_section import SeedReport
from orchestrator.search import outcomes
from orchestrator.search.outcomes import Told
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial, spelled

HEADING = re.compile(r'<h2 id="([\w-]+)">(.*?)</h2>')
"""What the page's table of contents is made from."""
PAGE = "index.html"
PARTS = re.compile(
    r"index\.html|front(-.*)?\.(svg|png|pdf)|cells\.(md|tex|csv|parquet)|trials\.(csv|parquet)|seeds|search|paper|\..*"
)
"""Names in a report's folder that are the report's own."""


@dataclass(frozen=True)
class ReportPaths:
    """Where the report's files are, and its shortest form."""

    page: Path
    fronts: tuple[FrontFiles, ...]
    """One a group of cells that may be compared."""
    markdown: Path
    latex: Path
    cells_csv: Path
    cells_parquet: Path
    trials_csv: Path
    trials_parquet: Path
    summary: str
    """The table of cells with the objectives alone, narrow enough for a terminal; below it the cells that have collapsed."""
    paper: PaperReport = PaperReport((), (), {}, ())
    """What of the paper the sweep has cells for."""
    search: SearchReport | None = None
    """Of a search: how it went."""


@dataclass(frozen=True)
class Beside:
    """What a driver knows of a sweep beside its results."""

    failed: tuple[FailureGroup, ...] = ()
    runs: Mapping[str, str] = field(default_factory=dict)
    """Id of a trial or cell to the address of its MLflow run."""
    yaml: str = ""
    """The sweep's file, without secrets."""
    unequal: bool = False
    """Whether models whose complete seeds differ are ranked, on those that both have."""


@dataclass(frozen=True)
class _Made:
    """All that the page is rendered from."""

    spec: SweepSpec
    results: Sequence[TrialResult]
    states: Mapping[str, str]
    samples: Mapping[str, Mapping[str, AnyPath]]
    told: Sequence[Told]
    command: str
    beside: Beside
    parts: Sequence[Part]
    """One a group of cells that may be compared."""
    set_aside: Sequence[TrialResult]
    seeds: SeedReport
    paper: PaperReport
    search: SearchReport | None
    searched: Searched | None


def is_part(name: str) -> bool:
    """Whether a file or folder of that name in a report's folder is the report's own."""
    return PARTS.fullmatch(name) is not None


def write(
    spec: SweepSpec,
    results: Sequence[TrialResult],
    states: Mapping[str, str],
    samples: Mapping[str, Mapping[str, AnyPath]],
    command: str,
    folder: Path,
    against_paper: bool = False,
    told: Sequence[Told] = (),
    beside: Beside | None = None,
) -> ReportPaths:
    """Write the whole report into `folder`; `against_paper` puts the published numbers beside it.

    `states` maps each planned trial's id to its status, `samples` a trial's id to its pictures by name; `told` has the cells of a
    search, `beside` what is known of failures and MLflow's runs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    every, seeds, grouped = spec.cells, spec.seeds_by_cell, groups_of(spec, results)
    kept = grouped.results
    feasible = outcomes.feasible(spec, kept)
    ids = {cell.id for cell in feasible}
    parts = [group_section.make(spec, group, seeds, ids) for group in grouped.groups]
    paths = ReportPaths(
        page=folder / PAGE,
        fronts=tuple(part.files(folder) for part in parts),
        markdown=folder / "cells.md",
        latex=folder / "cells.tex",
        cells_csv=folder / "cells.csv",
        cells_parquet=folder / "cells.parquet",
        trials_csv=folder / "trials.csv",
        trials_parquet=folder / "trials.parquet",
        summary=_summary(spec, parts, results),
    )
    search = searched = None
    if spec.search is None:
        group_section.write_fronts(parts, folder)
    else:
        (part,) = parts
        searched = Searched(spec, tuple(told), part.front, part.units, part.title)
        search = search_section.write(searched, kept, folder)
    group_section.remove_others(parts, folder)
    beside = beside or Beside()
    of_seeds = seed_section.write(spec, groups(feasible, spec.seed_list, kept), kept, folder, beside.unequal)
    write_text(paths.markdown, group_section.markdown(parts))
    write_text(paths.latex, group_section.latex(parts, command))
    write_both([group_section.whole_table(parts)], paths.cells_csv, paths.cells_parquet)
    write_both(group_section.trials_table(results), paths.trials_csv, paths.trials_parquet)
    paper = paper_report.write(every, spec.seed_list, kept, samples, command, folder / "paper", against_paper)
    aside = grouped.set_aside
    made = _Made(spec, results, states, samples, told, command, beside, parts, aside, of_seeds, paper, search, searched)
    write_text(paths.page, _page(made, folder))
    return replace(paths, paper=paper, search=search)


def _summary(spec: SweepSpec, parts: Sequence[Part], results: Sequence[TrialResult]) -> str:
    narrow = group_section.markdown(parts, [objective.metric for objective in spec.objectives])
    return "\n".join([narrow, *collapse.lines(spec, results)])


def _page(made: _Made, folder: Path) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("orchestrator.report"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    spec, every, search, paper = made.spec, made.spec.cells, made.search, made.paper
    planned, collapsed = spec.trials, collapse.by_cell(made.results)
    fronts = [_shown_front(made, part, planned, collapsed, folder) for part in made.parts]
    body = _rendered(
        environment,
        "body.html.j2",
        fronts=fronts,
        objectives=spec.objectives,
        drawn=frozenset().union(*(found.drawn for found in fronts)),
        search=search,
        search_figures=[_inline_svg(path) for path in (search.shown if search else ())],
        parts=made.parts,
        told_ids=[one.cell.id for one in made.told],
        shown=tables.shown,
        spelled=spelled,
        seeds=made.seeds,
        data_uri=picture_section.data_uri,
        paper=paper,
        claim_rows=[(claim, claim_tables.row(claim)) for claim in paper.claims],
        claim_header=claim_tables.CLAIM_HEADER,
        detail_header=claim_tables.DETAIL_HEADER,
        claim_details=claim_tables.grouped_details(paper.claims),
        claim_limits=claim_tables.limits(paper.claims),
        against_rows=[
            (beside_published.title(c), beside_published.note(c), beside_published.table_rows(c)) for c in paper.comparisons
        ],
        paper_figures=[(path.stem, path) for name, path in paper.figures.items() if name.endswith(".png")],
        samples=heat_maps.sample_count(every),
        class_tables=[
            table for part in made.parts for table in classes_section.tables(part.group.cells, spec.seeds_by_cell, made.results)
        ],
        heat_maps=heat_maps.of_groups([(part.group, part.table) for part in made.parts]),
        pictures=picture_section.pictures(
            spec, picture_section.pictured(spec, made.results, made.parts[0].front), made.samples, [p.group for p in made.parts]
        ),
        missing=failure_section.not_completed(spec, made.states, made.beside.failed, made.told, made.command),
        provenance=origin_section.provenance(every, made.results),
        command=made.command,
        yaml=made.beside.yaml,
    )
    completed = sum(status == "completed" for status in made.states.values())
    return _rendered(
        environment,
        "report.html.j2",
        name=spec.name,
        title=group_section.title(every, spec.seeds_by_cell, spec),
        counts=f"{completed} of {len(made.states)} trials completed",
        warnings=[*origin_section.warnings(made.results, made.set_aside), *collapse.lines(spec, made.results)],
        contents=[(anchor, unescape(title)) for anchor, title in HEADING.findall(body)],
        body=body,
        style=_source(environment, "report.css"),
        script=_source(environment, "report.js"),
        script_hash=_sha256(_source(environment, "report.js")),
    )


def _rendered(environment: jinja2.Environment, template: str, **values: Any) -> str:
    """What a template makes of these values. `render` would keep millions of pieces of a large page until it joins them."""
    text = io.StringIO()
    text.writelines(environment.get_template(template).generate(**values))
    return text.getvalue()


@dataclass(frozen=True)
class _ShownFront:
    """One front on the page."""

    label: str
    """Of its group; empty for the only one."""
    front: Front
    svg: str
    cards: Sequence[Card]
    drawn: frozenset[str]
    """Ids of the cells that have a marker."""


def _shown_front(made: _Made, part: Part, every: Sequence[Trial], collapsed: Mapping[str, str], folder: Path) -> _ShownFront:
    """A group's front; of several on one page, the ids of an SVG's elements are made different from the others'."""
    svg = _inline_svg(part.files(folder).svg)
    if part.group.slug:
        svg = front_section.with_own_ids(svg, part.group.slug)
    own = [trial for trial in every if trial.cell.id in part.group.ids]
    cards = front_section.cards(part.group.cells, own, part.table, part.front, made.states, made.beside.runs, made.searched)
    cards = classes_section.noted(cards, collapsed)
    interactive = front_section.interactive(svg, cards)
    return _ShownFront(part.group.label, part.front, interactive, cards, front_section.drawn(svg))


def _source(environment: jinja2.Environment, name: str) -> str:
    """A file of the templates as it is."""
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _sha256(text: str) -> str:
    """As a Content-Security-Policy names a script."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _inline_svg(path: Path) -> str:
    """The figure without the XML prologue, which has no place inside HTML."""
    text = path.read_text(encoding="utf-8")
    return text[text.index("<svg") :]
