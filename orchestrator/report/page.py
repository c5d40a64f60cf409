"""Renders the report's page: one HTML file that contains all figures and needs no network."""

import base64
import hashlib
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import unescape
from pathlib import Path
from typing import Any

import jinja2

from mopoe_core.storage.paths import AnyPath
from orchestrator.analysis import report_warnings
from orchestrator.analysis.failure_causes import FailureGroup
from orchestrator.analysis.fronts import Front
from orchestrator.analysis.sweep_analysis import SweepAnalysis
from orchestrator.ledger.result import TrialResult
from orchestrator.report.figures import embedded_figures as figures
from orchestrator.report.figures import theme
from orchestrator.report.overview import Overview
from orchestrator.report.paper import beside_published, claim_tables
from orchestrator.report.paper.paper_report import PaperReport
from orchestrator.report.render import tables
from orchestrator.report.render.numbers import with_minus
from orchestrator.report.render.search_table import Searched
from orchestrator.report.sections import (
    classes_section,
    failure_section,
    front_section,
    group_section,
    heat_map_section,
    origin_section,
    picture_section,
)
from orchestrator.report.sections.front_section import Card
from orchestrator.report.sections.group_section import Part
from orchestrator.report.sections.search_section import SearchReport
from orchestrator.report.sections.seed_section import SeedReport
from orchestrator.search.outcomes import ProposedCell
from orchestrator.spec.proper_names import proper, proper_group
from orchestrator.spec.trial import Trial, spelled

HEADING = re.compile(r'<h2 id="([\w-]+)">(.*?)</h2>')
"""The headings that the page's table of contents is made from."""


@dataclass(frozen=True)
class Contents:
    """Everything that the page is rendered from."""

    analysis: SweepAnalysis
    results: Sequence[TrialResult]
    states: Mapping[str, str]
    """The status of each planned trial, by its id."""
    samples: Mapping[str, Mapping[str, AnyPath]]
    """Pictures by trial id and name."""
    proposed: Sequence[ProposedCell]
    """The cells of a search."""
    command: str
    failed: Sequence[FailureGroup]
    runs: Mapping[str, str]
    """Addresses of MLflow runs, by the id of the trial or the cell."""
    yaml: str
    collapsed: Mapping[str, str]
    """A sentence on each collapsed cell, by its id."""
    parts: Sequence[Part]
    """A part for each group of cells that may be compared."""
    seeds: SeedReport
    paper: PaperReport
    search: SearchReport | None
    searched: Searched | None
    overview: Overview


@dataclass(frozen=True)
class _ShownFront:
    """One front on the page."""

    label: str
    """The label of the front's group; empty for the only group."""
    front: Front
    svg: str
    files: Sequence[str]
    """Addresses of the figure's files."""
    cards: Sequence[Card]
    drawn: frozenset[str]
    """Ids of the cells that have a marker."""


def rendered(contents: Contents, folder: Path) -> str:
    """Returns the page as HTML. `folder` is the report's folder, which has the figures that the page contains."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("orchestrator.report"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    analysis = contents.analysis
    body = _render(environment, "body.html.j2", **_values(contents, folder))
    script = _source(environment, "report.js")
    completed = sum(status == "completed" for status in contents.states.values())
    return _render(
        environment,
        "report.html.j2",
        name=analysis.spec.name,
        title=group_section.title(analysis.cells, analysis.seeds, analysis.spec),
        counts=f"{completed} of {len(contents.states)} trials completed",
        summary=contents.overview.sentences,
        warnings=contents.overview.warnings,
        contents=[(anchor, unescape(title)) for anchor, title in HEADING.findall(body)],
        body=body,
        style=_source(environment, "report.css") + theme.css(),
        script=script,
        script_hash=_sha256(script),
    )


def _values(contents: Contents, folder: Path) -> dict[str, Any]:
    """Returns the values that the templates of the body use, by name."""
    analysis, paper, search, parts = contents.analysis, contents.paper, contents.search, contents.parts
    claims = paper.claims if _has_seeds_for_claims(analysis) else ()
    spec, planned = analysis.spec, analysis.spec.trials
    fronts = [_shown_front(contents, part, planned, folder) for part in parts]
    pictured = picture_section.pictured(spec, analysis.results, parts[0].front)
    return {
        "fronts": fronts,
        "objectives": spec.objectives,
        "drawn": frozenset().union(*(shown.drawn for shown in fronts)),
        "search": search,
        "search_figures": [figures.embedded(path, path.stem) for path in (search.shown if search else ())],
        "parts": parts,
        "proposed_ids": [proposed.cell.id for proposed in contents.proposed],
        "shown": lambda entry, n: with_minus(tables.shown(entry, n)),
        "spelled": spelled,
        "seeds": contents.seeds,
        "proper": proper,
        "proper_group": proper_group,
        "figure": figures.embedded,
        "figure_files": partial(figures.addresses, folder=folder),
        "paper": paper,
        "claim_rows": [(claim, list(zip(claim_tables.CLAIM_HEADER, claim_tables.row(claim), strict=True))) for claim in claims],
        "claim_header": claim_tables.CLAIM_HEADER,
        "detail_header": claim_tables.DETAIL_HEADER,
        "claim_details": claim_tables.grouped_details(claims),
        "claim_limits": claim_tables.limits(claims),
        "against_rows": [
            (beside_published.title(comparison), beside_published.note(comparison), beside_published.table_rows(comparison))
            for comparison in paper.comparisons
        ],
        "paper_figures": [(path.stem, path) for path in paper.figures.values() if path.suffix != ".csv"],
        "samples": heat_map_section.sample_count(analysis.cells),
        "class_tables": [
            table
            for part in parts
            for table in classes_section.tables(part.group.cells, analysis.seeds, part.group.results, part.group.label)
        ],
        "heat_maps": heat_map_section.of_groups([(part.group, part.table) for part in parts]),
        "sample_tables": picture_section.tables(spec, pictured, contents.samples, [part.group for part in parts]),
        "missing": failure_section.not_completed(spec, contents.states, contents.failed, contents.proposed, contents.command),
        "provenance": origin_section.provenance(analysis.cells, contents.results),
        "command": contents.command,
        "yaml": contents.yaml,
    }


def _has_seeds_for_claims(analysis: SweepAnalysis) -> bool:
    """Whether a cell has three seeds with results. With fewer, no claim of the paper can be decided."""
    counts = Counter(result.trial.cell.id for result in analysis.results)
    return any(count >= report_warnings.FEWEST_SEEDS for count in counts.values())


def _shown_front(contents: Contents, part: Part, planned: Sequence[Trial], folder: Path) -> _ShownFront:
    """Returns a group's front with its figure and cards."""
    path = part.files(folder).svg
    svg = theme.embedded(path)
    trials = [trial for trial in planned if trial.cell.id in part.group.ids]
    cards = front_section.cards(
        part.group.cells, trials, part.table, part.front, contents.states, contents.runs, contents.searched
    )
    cards = classes_section.noted(cards, contents.collapsed)
    return _ShownFront(
        label=part.group.label,
        front=part.front,
        svg=front_section.interactive(svg, cards),
        files=figures.addresses(path, folder),
        cards=cards,
        drawn=front_section.drawn(svg),
    )


def _render(environment: jinja2.Environment, template: str, **values: Any) -> str:
    """Returns a rendered template. Jinja's own `render` would hold the millions of pieces of a large page in memory to join them."""
    text = io.StringIO()
    text.writelines(environment.get_template(template).generate(**values))
    return text.getvalue()


def _source(environment: jinja2.Environment, name: str) -> str:
    """Returns the unrendered text of a file among the templates."""
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def _sha256(text: str) -> str:
    """Returns the hash of a script in the form that a Content-Security-Policy needs."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
