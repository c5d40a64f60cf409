"""The report of a sweep: figure, tables and one self-contained page, made from trial results alone.

Every file is written whole or not at all, and the same results give the same bytes.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import unescape
from pathlib import Path

import jinja2
import pandas as pd

from mopoe_core import names
from mopoe_core.files import AnyPath, write_text, write_whole
from orchestrator import (
    against,
    claim_tables,
    classes_section,
    collapse,
    failure_section,
    figures,
    front_section,
    heat_maps,
    origin_section,
    outcomes,
    paper_report,
    picture_section,
    search_report,
    seed_section,
    tables,
)
from orchestrator.aggregate import cell_table, trial_table
from orchestrator.failures import Group as FailureGroup
from orchestrator.groups import groups, setting
from orchestrator.outcomes import Told
from orchestrator.paper_report import PaperReport
from orchestrator.pareto import Front, front
from orchestrator.search_report import SearchReport
from orchestrator.search_tables import Searched
from orchestrator.seed_section import SeedReport
from orchestrator.spec import SweepSpec, cells, seeds_of, trials
from orchestrator.trial import TrialResult

ENDED = ("completed",)
HEADING = re.compile(r'<h2 id="([\w-]+)">(.*?)</h2>')
"""What the page's table of contents is made from."""


@dataclass(frozen=True)
class ReportPaths:
    """Where the report's files are, and its shortest form."""

    page: Path
    figure: Path
    figure_svg: Path
    figure_pdf: Path
    markdown: Path
    latex: Path
    cells_csv: Path
    cells_parquet: Path
    trials_csv: Path
    trials_parquet: Path
    summary: str
    """The table of cells with the objectives alone, narrow enough for a terminal; below it the cells that have collapsed."""
    hypervolume: float | None
    """Of the front; None where an objective states no reference."""
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
    table: pd.DataFrame
    front: Front
    rows: tables.CellRows
    seeds: SeedReport
    paper: PaperReport
    search: SearchReport | None
    searched: Searched | None


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
    every, seeds, feasible = cells(spec), seeds_of(spec), outcomes.feasible(spec, results)
    table = cell_table(every, seeds, results)
    found = front(spec.objectives, feasible, seeds, results, spec.adaptive)
    rows = tables.cell_rows(every, {cell_id: len(own) for cell_id, own in seeds.items()}, table, found, results)
    paths = ReportPaths(
        page=folder / "index.html",
        figure=folder / "front.png",
        figure_svg=folder / "front.svg",
        figure_pdf=folder / "front.pdf",
        markdown=folder / "cells.md",
        latex=folder / "cells.tex",
        cells_csv=folder / "cells.csv",
        cells_parquet=folder / "cells.parquet",
        trials_csv=folder / "trials.csv",
        trials_parquet=folder / "trials.parquet",
        summary=_summary(spec, rows, results),
        hypervolume=found.hypervolume,
    )
    units = [_unit(table, objective.metric) for objective in spec.objectives]
    search = searched = None
    if spec.search is None:
        figures.write_front(found, _title(spec), units, folder)
    else:
        searched = Searched(spec, tuple(told), found, tuple(units), _title(spec))
        search = search_report.write(searched, results, folder)
    beside = beside or Beside()
    of_seeds = seed_section.write(spec, groups(feasible, spec.seed_list, results), results, units, folder, beside.unequal)
    write_text(paths.markdown, tables.markdown(rows))
    write_text(paths.latex, tables.latex(rows, command))
    _write_table(table, paths.cells_csv, paths.cells_parquet)
    _write_table(trial_table(results), paths.trials_csv, paths.trials_parquet)
    paper = paper_report.write(every, spec.seed_list, results, samples, command, folder / "paper", against_paper)
    made = _Made(spec, results, states, samples, told, command, beside, table, found, rows, of_seeds, paper, search, searched)
    write_text(paths.page, _page(made, folder))
    return replace(paths, paper=paper, search=search)


def _summary(spec: SweepSpec, rows: tables.CellRows, results: Sequence[TrialResult]) -> str:
    narrow = tables.markdown(replace(rows, metrics=tuple(objective.metric for objective in spec.objectives)))
    return "\n".join([narrow, *collapse.lines(spec, results)])


def _write_table(table: pd.DataFrame, csv: Path, parquet: Path) -> None:
    write_whole(csv, lambda path: table.to_csv(path, index=False))
    write_whole(parquet, lambda path: table.to_parquet(path, index=False))


def _unit(table: pd.DataFrame, metric: str) -> str:
    """As trials report it; as `names.UNITS` has it where none has completed."""
    found = table[table["name"] == metric]["unit"]
    return str(found.iloc[0]) if len(found) else names.UNITS[metric.partition("/")[0]]


def _title(spec: SweepSpec) -> str:
    kinds = dict.fromkeys(f"{cell.config.dataset}, {setting(cell.config)}" for cell in cells(spec))
    counts = {len(seeds) for seeds in seeds_of(spec).values()} or {len(spec.seed_list)}
    n = " to ".join(str(count) for count in sorted({min(counts), max(counts)}))
    return "; ".join([*kinds, f"n = {n} seed{'' if n == '1' else 's'}"])


def _page(made: _Made, folder: Path) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("orchestrator"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    spec, every, found, search, paper = made.spec, cells(made.spec), made.front, made.search, made.paper
    svg = _inline_svg(folder / "front.svg")
    cards = front_section.cards(every, trials(spec), made.table, found, made.states, made.beside.runs, made.searched)
    cards = classes_section.noted(cards, collapse.by_cell(made.results))
    body = environment.get_template("body.html.j2").render(
        svg=front_section.interactive(svg, cards),
        cards=cards,
        drawn=front_section.drawn(svg),
        front=found,
        search=search,
        search_figures=[_inline_svg(path) for path in (search.shown if search else ())],
        rows=made.rows,
        ids=[cell.id for cell in every],
        told_ids=[one.cell.id for one in made.told],
        shown=tables.shown,
        seeds=made.seeds,
        data_uri=picture_section.data_uri,
        paper=paper,
        claim_rows=[(claim, claim_tables.row(claim)) for claim in paper.claims],
        claim_header=claim_tables.CLAIM_HEADER,
        detail_header=claim_tables.DETAIL_HEADER,
        claim_details=claim_tables.grouped_details(paper.claims),
        claim_limits=claim_tables.limits(paper.claims),
        against_rows=[(against.title(c), against.note(c), against.table_rows(c)) for c in paper.comparisons],
        paper_figures=[(path.stem, path) for name, path in paper.figures.items() if name.endswith(".png")],
        samples=heat_maps.sample_count(every),
        class_tables=classes_section.tables(every, seeds_of(spec), made.results),
        heat_maps=heat_maps.heat_maps(every, made.table),
        pictures=picture_section.pictures(spec, picture_section.pictured(spec, made.results, found), made.samples),
        missing=failure_section.not_completed(spec, made.states, made.beside.failed, made.told, made.command),
        provenance=origin_section.provenance(every, made.results),
        command=made.command,
        yaml=made.beside.yaml,
    )
    completed = sum(status in ENDED for status in made.states.values())
    return environment.get_template("report.html.j2").render(
        name=spec.name,
        title=_title(spec),
        counts=f"{completed} of {len(made.states)} trials completed",
        warnings=[*origin_section.warnings(made.results), *collapse.lines(spec, made.results)],
        contents=[(anchor, unescape(title)) for anchor, title in HEADING.findall(body)],
        body=body,
        style=_source(environment, "report.css"),
        script=_source(environment, "report.js"),
        script_hash=_sha256(_source(environment, "report.js")),
    )


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
