"""A sweep's results beside the paper's numbers, table by table. Pure: works on cells and trial results.

The published numbers stand beside the row of `orchestrator.report.paper.paper_tables` that differs from the paper's setting in the
fewest fields. Only a sweep of the paper's own setting with all its seeds is called a reproduction; every other comparison says
what it is.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from scipy import stats

from mopoe_core import metric_names
from mopoe_core.config.deviations import deviations
from mopoe_core.family.registry import TITLES
from orchestrator.analysis.model_groups import scale_name
from orchestrator.ledger.result import TrialResult
from orchestrator.report.paper.paper_tables import Entry, PaperTable, Row, grid, paper_tables, tex, tex_table
from orchestrator.report.paper.published import Column, Published, published
from orchestrator.report.render import tables
from orchestrator.spec.trial import Cell, spelled

REPRODUCTION = "reproduction"
FRAME_COLUMNS = [
    "table", "kind", "dataset", "source", "scale", "networks", "beta", "paper_beta", "column", "metric", "model", "row", "cell_id",
    "published_mean", "published_sd", "published_n", "mean", "sd", "low", "high", "n", "n_planned", "difference", "inside", "tau",
]  # fmt: skip
HEADER = ("Column", "Model", "Published", "Ours", "95 % interval", "n", "Ours − published", "Published inside", "τ")


@dataclass(frozen=True)
class Compared:
    """One published number beside ours."""

    column: Column
    published: Published
    row: Row | None
    """The sweep's row of that model; None where it has none."""
    entry: Entry | None

    @property
    def difference(self) -> float:
        """Ours - published, in the units of `published`; NaN where there is no number of ours."""
        return self.entry.mean - self.published.mean if self.entry else math.nan

    @property
    def inside(self) -> bool | None:
        """Whether the published mean lies in our 95 % t interval; None where there is no interval."""
        if self.entry is None or math.isnan(self.entry.low):
            return None
        return self.entry.low <= self.published.mean <= self.entry.high


@dataclass(frozen=True)
class Comparison:
    """A published table beside a sweep's."""

    table: PaperTable
    kind: str
    """`reproduction`, or why it is none: another setting, or the paper's own with seeds missing."""
    deviations: tuple[str, ...]
    """What differs from the paper's setting, in words; what only one row has different is led by that row's label."""
    rows: tuple[Compared, ...]
    """Column by column, each in the paper's order of models."""
    taus: dict[str, float]
    """By a column's metric: Kendall's tau-b of the published and our order of models; NaN where a model lacks a seed or all tie."""

    @property
    def mean_tau(self) -> float:
        """Mean over the columns that have a tau; NaN where none has."""
        found = [tau for tau in self.taus.values() if not math.isnan(tau)]
        return math.fsum(found) / len(found) if found else math.nan


def against_paper(cells: Sequence[Cell], seeds: Sequence[int], results: Sequence[TrialResult]) -> list[Comparison]:
    """A comparison for each table of `paper_tables`; tables of log-likelihoods come with both estimators, against the same numbers."""
    return [_comparison(table) for table in paper_tables(cells, seeds, results)]


def title(comparison: Comparison) -> str:
    """`Against Table 2 of the paper: reproduction`."""
    return f"Against {_spelled_key(comparison)} of the paper: {comparison.kind}"


def note(comparison: Comparison) -> str:
    """What stands beside what, and how to read tau, in one paragraph."""
    differing = comparison.deviations
    count, taus = len(comparison.table.layout.models), [t for t in comparison.taus.values() if not math.isnan(t)]
    possible = (
        "of three models without ties it can only be -1, -1/3, 1/3 or 1, and where two published numbers tie and ours do not, 0 or ±0.82"
        if count == 3
        else "of two rows it can only be -1 or 1"
    )
    mean = f"; mean {comparison.mean_tau:.2f} over {len(taus)} column{'' if len(taus) == 1 else 's'}" if taus else ""
    parts = [
        f"{comparison.table.title}. {comparison.table.note}",
        *([f"Differs from the paper's setting: {'; '.join(differing)}."] if differing else []),
        "The interval is Student's t over our seeds; the published mean is itself a rounded mean over few runs.",
        f"τ is Kendall's tau-b of the published and our order of models in a column, where each has all its seeds: {possible}{mean}.",
    ]
    return " ".join(parts)


def frame(comparison: Comparison) -> pd.DataFrame:
    """A row a published number (`FRAME_COLUMNS`), unrounded; what the paper or the sweep lacks is missing."""
    return pd.DataFrame([_record(comparison, compared) for compared in comparison.rows], columns=FRAME_COLUMNS)


def table_rows(comparison: Comparison) -> list[Sequence[str]]:
    """The header and a row a published number, as text; tau stands in the first row of its column."""
    return [HEADER, *_lines(comparison, "±", "–")]


def markdown(comparison: Comparison) -> str:
    """Title, note and `table_rows`."""
    return f"**{title(comparison)}.** {note(comparison)}\n\n{grid(table_rows(comparison))}"


def latex(comparison: Comparison, command: str) -> str:
    """A table with its caption. Needs \\usepackage{booktabs,graphicx}."""
    headings = {c.text: c.tex if not c.group else tex(c.text) for c in comparison.table.columns}
    body = [[headings.get(first, first), *map(tex, rest)] for first, *rest in _lines(comparison, "±", "--")]
    label = f"tab:against-{comparison.table.name}"
    return tex_table(f"{title(comparison)}. {note(comparison)}", label, "llcccccrr", [[*map(tex, HEADER)]], body, command)


def _comparison(table: PaperTable) -> Comparison:
    numbers = {(number.metric, number.model): number for number in published(table.layout.numbers)}
    own = {row.model: row for row in reversed(table.rows)}  # the first row of a model is the nearest to the paper's setting
    rows = []
    for i, column in enumerate(table.columns):
        for model in table.layout.models:
            number = numbers.get((_published_metric(column.metric), model))
            if number is not None:
                row = own.get(model)
                rows.append(Compared(column, number, row, row.entries[i] if row and row.entries[i].n else None))
    columns = dict.fromkeys(compared.column.metric for compared in rows)
    taus = {metric: _tau([compared for compared in rows if compared.column.metric == metric]) for metric in columns}
    compared_rows = {model: own[model] for model in table.layout.models if model in own}
    differing = _differing(list(compared_rows.values()))
    return Comparison(table, _kind(table, differing, compared_rows), differing, tuple(rows), taus)


def _published_metric(metric: str) -> str:
    """Both estimators stand against the paper's one number."""
    kind, _, rest = metric.partition("/")
    return f"{metric_names.LOG_LIKELIHOOD if kind == metric_names.LOG_LIKELIHOOD_PAPER_VIEW else kind}/{rest}"


def _tau(column: Sequence[Compared]) -> float:
    ours = [compared.entry.mean for compared in column if compared.entry and compared.entry.n == compared.entry.n_planned]
    theirs = [compared.published.mean for compared in column]
    if len(ours) < len(theirs) or len(set(ours)) == 1 or len(set(theirs)) == 1:
        return math.nan
    return float(stats.kendalltau(theirs, ours, variant="b").statistic)


def _differing(rows: Sequence[Row]) -> tuple[str, ...]:
    found = {row.label: deviations(row.cell.config) for row in rows}
    every = dict.fromkeys(text for texts in found.values() for text in texts)
    said = []
    for text in every:
        having = [label for label, texts in found.items() if text in texts]
        said.append(text if len(having) == len(found) else f"{', '.join(having)}: {text}")
    return tuple(said)


def _kind(table: PaperTable, differing: Sequence[str], rows: Mapping[str, Row]) -> str:
    """The differences that matter most, or all of them where those are the same as the paper's; then the seeds that are missing."""
    c, paper = table.config, table.layout.beta
    main = [] if c.source == "original" else [f"{c.source} data"]
    main += [] if c.scale == "paper" else [scale_name(c)]
    main += [] if c.networks == "paper" else [f"{c.networks} networks"]
    main += [] if table.beta == paper else [f"β {spelled(table.beta)} instead of {spelled(paper)}"]
    main += [] if rows else ["none of the paper's models"]
    said = main or list(differing)
    if said:
        return f"not a reproduction: {', '.join(said)}"
    missing = _missing(table, rows)
    return f"the paper's setting, incomplete: {', '.join(missing)}" if missing else REPRODUCTION


def _missing(table: PaperTable, rows: Mapping[str, Row]) -> list[str]:
    """The models with fewer completed seeds than the paper's runs, or than were planned: `1 of 5 seeds of MVAE`."""
    runs = {number.model: number.n or 0 for number in published(table.layout.numbers)}
    said = []
    for model in table.layout.models:
        wanted, n = max(runs[model], table.n_planned), rows[model].n if model in rows else 0
        if n < wanted:
            said.append(f"{n} of {wanted} seeds of {TITLES[model]}")
    return said


def _spelled_key(comparison: Comparison) -> str:
    key = comparison.table.layout.key.partition("_")[0]
    return key.replace("table", "Table ").replace("figure", "Figure ")


def _record(comparison: Comparison, compared: Compared) -> tuple[object, ...]:
    table, c, number = comparison.table, comparison.table.config, compared.published
    e, row = compared.entry, compared.row
    about = (table.key, comparison.kind, c.dataset, c.source, c.scale or "own sizes", c.networks, table.beta, table.layout.beta)
    ours = (e.mean, e.sd, e.low, e.high, e.n) if e else (math.nan, math.nan, math.nan, math.nan, 0)
    return (
        *about,
        *(compared.column.text, compared.column.metric, number.model, row.label if row else "", row.cell.id if row else ""),
        *(number.mean, number.sd, number.n),
        *(*ours, table.n_planned, compared.difference, compared.inside, comparison.taus[compared.column.metric]),
    )


def _lines(comparison: Comparison, plus_minus: str, nothing: str) -> list[list[str]]:
    """The table's body as plain text; a column's heading and tau stand in its first row alone."""
    lines, before = [], ""
    for compared in comparison.rows:
        column, tau = compared.column, comparison.taus[compared.column.metric]
        first = column.metric != before
        before = column.metric
        label = compared.row.label if compared.row else TITLES[compared.published.model]
        ours = _ours(compared, comparison.table.n_planned, plus_minus, nothing)
        last = (nothing if math.isnan(tau) else f"{tau:.2f}") if first else ""
        lines.append([column.text if first else "", label, _printed(compared.published, plus_minus), *ours, last])
    return lines


def _printed(number: Published, plus_minus: str) -> str:
    """With the decimals that the paper prints."""
    nats = number.units == metric_names.UNITS[metric_names.LOG_LIKELIHOOD]
    decimals = 3 if number.table == "figure3" else 2
    mean, sd = (
        (f"{number.mean:.0f}", f"{number.sd:.1f}") if nats else (f"{number.mean:.{decimals}f}", f"{number.sd:.{decimals}f}")
    )
    return mean if math.isnan(number.sd) else f"{mean} {plus_minus} {sd}"


def _ours(compared: Compared, n_planned: int, plus_minus: str, nothing: str) -> list[str]:
    """Mean and sd, interval, n, difference, and whether the published mean is inside."""
    e = compared.entry
    if e is None:
        return [nothing, nothing, f"0/{n_planned}", nothing, nothing]
    decimals = 1 if compared.published.units == metric_names.UNITS[metric_names.LOG_LIKELIHOOD] else 3
    interval = nothing if math.isnan(e.low) else f"[{e.low:.{decimals}f}, {e.high:.{decimals}f}]"
    inside = nothing if compared.inside is None else "yes" if compared.inside else "no"
    seeds = str(e.n) if e.n == n_planned else f"{e.n}/{n_planned}"
    return [tables.shown(e, plus_minus), interval, seeds, f"{compared.difference:+.{decimals}f}", inside]
