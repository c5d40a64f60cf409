"""The report of a sweep: figure, tables and one self-contained page, made from trial results alone.

Every file is written whole or not at all, and the same results give the same bytes.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from mopoe_core import names
from mopoe_core.files import AnyPath, write_text, write_whole
from orchestrator import against, claim_tables, figures, outcomes, paper_report, search_report, tables
from orchestrator.aggregate import cell_table, trial_table
from orchestrator.claims import Claim
from orchestrator.groups import setting
from orchestrator.outcomes import Told
from orchestrator.paper_report import PaperReport
from orchestrator.pareto import Front, front
from orchestrator.search_report import SearchReport
from orchestrator.search_tables import Searched
from orchestrator.spec import SweepSpec, cells, seeds_of, trials
from orchestrator.trial import Cell, Trial, TrialResult, labels, series

ENDED = ("completed",)
HEADINGS = {
    names.COHERENCE: "Coherence",
    names.PROBE: "Linear probe",
    names.LOG_LIKELIHOOD: "Log-likelihood",
    names.LOG_LIKELIHOOD_PAPER_VIEW: "Log-likelihood as released (paper_view)",
}
SHARE, ACCURACY, NATS = (names.UNITS[kind] for kind in (names.COHERENCE, names.PROBE, names.LOG_LIKELIHOOD))
NOTES = {
    names.COHERENCE: {
        SHARE: "Share of {partition} examples whose generated target shows the input's class; each column reads given → generated. "
        "joint: share of draws from the prior on which all classifiers agree.",
        names.AVERAGE_PRECISION: "Average precision of a classifier's scores on the generated target, for each attribute and as the "
        "mean over all; each column reads given → generated. joint: share of attributes on which all classifiers agree, over draws "
        "from the prior.",
    },
    names.PROBE: {
        ACCURACY: "Accuracy of a logistic regression on 500 posterior means, on the {partition} set.",
        names.AVERAGE_PRECISION: "Average precision of the scores of logistic regressions on 500 posterior means, on the {partition} "
        "set, for each attribute and as the mean over all.",
    },
    names.LOG_LIKELIHOOD: {
        NATS: "log p(X) of all modalities in nats, importance-weighted with {samples} samples from q(z | subset): a bound."
    },
    names.LOG_LIKELIHOOD_PAPER_VIEW: {
        NATS: "The released code's number: its log-mean-exp runs over different examples, so it is not a bound. For comparison only."
    },
}
"""What a heat map shows, by kind and unit."""


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
    """The table of cells with the objectives alone, narrow enough for a terminal."""
    paper: PaperReport = PaperReport((), (), {}, ())
    """What of the paper the sweep has cells for."""
    search: SearchReport | None = None
    """Of a search: how it went."""


@dataclass(frozen=True)
class HeatMap:
    """A table of one kind of metric: a row a cell, a column a subset (and target), shaded by value."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[str, float], ...]], ...]
    """Label, then text and shade in [0, 1] for each column; shade is negative where there is no number."""


def write(
    spec: SweepSpec,
    results: Sequence[TrialResult],
    states: Mapping[str, str],
    samples: Mapping[str, Mapping[str, AnyPath]],
    command: str,
    folder: Path,
    against_paper: bool = False,
    told: Sequence[Told] = (),
) -> ReportPaths:
    """Write the whole report into `folder`; `against_paper` puts the published numbers beside it.

    `states` maps each planned trial's id to its status, `samples` a trial's id to its pictures by name; `told` has the cells of a
    search.
    """
    folder.mkdir(parents=True, exist_ok=True)
    every, seeds = cells(spec), seeds_of(spec)
    table = cell_table(every, seeds, results)
    found = front(spec.objectives, outcomes.feasible(spec, results), seeds, results, spec.adaptive)
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
        summary=tables.markdown(replace(rows, metrics=tuple(objective.metric for objective in spec.objectives))),
    )
    units = [_unit(table, objective.metric) for objective in spec.objectives]
    search = None
    if spec.search is None:
        figures.write_front(found, _title(spec), units, folder)
    else:
        search = search_report.write(Searched(spec, tuple(told), found, tuple(units), _title(spec)), results, folder)
    write_text(paths.markdown, tables.markdown(rows))
    write_text(paths.latex, tables.latex(rows, command))
    _write_table(table, paths.cells_csv, paths.cells_parquet)
    _write_table(trial_table(results), paths.trials_csv, paths.trials_parquet)
    paper = paper_report.write(every, spec.seed_list, results, samples, command, folder / "paper", against_paper)
    write_text(paths.page, _page(spec, results, states, samples, command, table, found, rows, paper, search, folder))
    return replace(paths, paper=paper, search=search)


def write_search(spec: SweepSpec, results: Sequence[TrialResult], told: Sequence[Told], folder: Path) -> SearchReport:
    """What of the report is about the search alone, as `write` writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    every, seeds = cells(spec), seeds_of(spec)
    found = front(spec.objectives, outcomes.feasible(spec, results), seeds, results, spec.adaptive)
    table = cell_table(every, seeds, results)
    units = tuple(_unit(table, objective.metric) for objective in spec.objectives)
    return search_report.write(Searched(spec, tuple(told), found, units, _title(spec)), results, folder)


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


def _page(
    spec: SweepSpec,
    results: Sequence[TrialResult],
    states: Mapping[str, str],
    samples: Mapping[str, Mapping[str, AnyPath]],
    command: str,
    table: pd.DataFrame,
    found: Front,
    rows: tables.CellRows,
    paper: PaperReport,
    search: SearchReport | None,
    folder: Path,
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("orchestrator"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    by_id = {trial.id: trial for trial in trials(spec)}
    unfinished = [(by_id[key].label, status) for key, status in states.items() if status not in ENDED]
    return environment.get_template("report.html.j2").render(
        name=spec.name,
        title=_title(spec),
        counts=f"{len(states) - len(unfinished)} of {len(states)} trials completed",
        svg=_inline_svg(folder / "front.svg"),
        front=found,
        search=search,
        search_figures=[_inline_svg(path) for path in (search.shown if search else ())],
        rows=rows,
        shown=tables.shown,
        paper=paper,
        claim_rows=[(claim, claim_tables.row(claim)) for claim in paper.claims],
        claim_header=claim_tables.CLAIM_HEADER,
        detail_header=claim_tables.DETAIL_HEADER,
        claim_details=_claim_details(paper.claims),
        claim_limits=claim_tables.limits(paper.claims),
        against_rows=[(against.title(c), against.note(c), against.table_rows(c)) for c in paper.comparisons],
        paper_figures=[(path.stem, _data_uri(path)) for name, path in paper.figures.items() if name.endswith(".png")],
        samples=_samples(cells(spec)),
        heat_maps=_heat_maps(cells(spec), table),
        pictures=_pictures(spec, _pictured(spec, results, found), samples),
        unfinished=unfinished,
        warnings=_warnings(results),
        provenance=_provenance(results),
        command=command,
    )


def _inline_svg(path: Path) -> str:
    """The figure without the XML prologue, which has no place inside HTML."""
    text = path.read_text(encoding="utf-8")
    return text[text.index("<svg") :]


def _claim_details(claims: Sequence[Claim]) -> list[tuple[str, list[tuple[str, ...]]]]:
    """Each group's label and the comparisons behind its claims; groups without any are left out."""
    groups = dict.fromkeys(claim.group for claim in claims)
    found = [(label, claim_tables.details([claim for claim in claims if claim.group == label])) for label in groups]
    return [(label, lines) for label, lines in found if lines]


def _samples(every: Sequence[Cell]) -> str:
    """How many samples an importance-weighted bound has: `15`, or `12 or 15`."""
    return " or ".join(str(count) for count in sorted({cell.config.importance_samples for cell in every}))


def _heat_maps(every: Sequence[Cell], table: pd.DataFrame) -> list[HeatMap]:
    partition = " or ".join(sorted({cell.config.evaluate_on for cell in every}))
    made = []
    for kind, heading in HEADINGS.items():
        part = table[table["kind"] == kind]
        units = dict.fromkeys(part[part["name"] != names.JOINT_COHERENCE]["unit"]) or dict.fromkeys(part["unit"])
        note = " ".join(NOTES[kind][unit] for unit in units).format(partition=partition, samples=_samples(every))
        if len(part):
            made.append(_heat_map(every, part, heading, note))
    return made


def _heat_map(every: Sequence[Cell], part: pd.DataFrame, title: str, note: str) -> HeatMap:
    columns = list(dict.fromkeys(part["name"]))
    low, high = float(part["mean"].min()), float(part["mean"].max())
    means = {(row["cell_id"], row["name"]): row["mean"] for row in part[part["n"] > 0].to_dict("records")}
    missing = {row["cell_id"]: f" ({row['n']}/{row['n_planned']})" for row in part.to_dict("records") if not row["complete"]}
    rows, short = [], labels(every)
    for cell in every:
        values = [means.get((cell.id, column)) for column in columns]
        shown = tuple(("", -1.0) if v is None else (tables.number(v), (v - low) / ((high - low) or 1)) for v in values)
        rows.append((short[cell.id] + missing.get(cell.id, ""), shown))
    titles = tuple(column.partition("/")[2].replace("/", " → ") for column in columns)
    return HeatMap(title, note, titles, tuple(rows))


def _pictured(spec: SweepSpec, results: Sequence[TrialResult], found: Front) -> Sequence[TrialResult]:
    """Trials with pictures to show: of a search those of cells on the front, as nearly each of its cells is a series of its own."""
    members = {point.cell_id for point in found.points if point.on_front}
    return results if spec.search is None else [result for result in results if result.trial.cell.id in members]


def _pictures(
    spec: SweepSpec, results: Sequence[TrialResult], samples: Mapping[str, Mapping[str, AnyPath]]
) -> list[tuple[str, list[tuple[str, str]]]]:
    """For each series, the pictures of its lowest completed seed at the middle beta, as data URIs."""
    shown = []
    lines = series(cells(spec))
    for line in dict.fromkeys(lines.values()):
        drawn = [r.trial for r in results if lines.get(r.trial.cell.id) == line and samples.get(r.trial.id)]
        if drawn:
            trial = _middle(drawn)
            pictures = [(_caption(name), _data_uri(path)) for name, path in _in_order(samples[trial.id])]
            shown.append((trial.label, pictures))
    return shown


def _middle(drawn: Sequence[Trial]) -> Trial:
    betas = sorted({trial.config.beta for trial in drawn})
    middle = betas[len(betas) // 2]
    return min((trial for trial in drawn if trial.config.beta == middle), key=lambda trial: trial.seed)


def _in_order(pictures: Mapping[str, AnyPath]) -> list[tuple[str, AnyPath]]:
    """Unconditional first, then small subsets first."""
    return sorted(pictures.items(), key=lambda item: (item[0] != "unconditional", item[0].count("."), item[0]))


def _caption(name: str) -> str:
    return "from the prior" if name == "unconditional" else f"given {name.removeprefix('given_').replace('.', ' and ')}"


def _data_uri(path: AnyPath) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _warnings(results: Sequence[TrialResult]) -> list[str]:
    """What makes trials of one table hard to compare."""
    said = []
    for field, what in (("data_hash", "data of different content"), ("commit", "different commits of the code")):
        found = {str(result.provenance.get(field, "unknown")) for result in results}
        if len(found) > 1:
            said.append(f"These trials come from {what}: {', '.join(sorted(found))}.")
    if any(result.trial.config.scale == "smoke" for result in results):
        said.append("Smoke scale: a few steps, to see that everything runs. Its numbers say nothing of the models.")
    if any(str(result.provenance.get("commit", "")).endswith("+changes") for result in results):
        said.append("Some trials ran from a checkout with uncommitted changes.")
    return said


def _provenance(results: Sequence[TrialResult]) -> list[tuple[str, str]]:
    """Every field of the provenance with the distinct values that the trials have."""
    values: dict[str, dict[str, None]] = {}
    for result in results:
        for field, value in _flat(result.provenance):
            values.setdefault(field, {})[value] = None
    return [(field, ", ".join(found)) for field, found in values.items()]


def _flat(record: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    flat = []
    for field, value in record.items():
        if isinstance(value, Mapping):
            flat += _flat(value, f"{prefix}{field}.")
        else:
            flat.append((f"{prefix}{field}", f"{value:.4g}" if isinstance(value, float) else str(value)))
    return flat
