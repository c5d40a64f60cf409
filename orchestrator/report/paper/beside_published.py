"""A sweep's results beside the paper's numbers, table by table. Pure.

For each model, the published numbers stand beside the row of its table (`paper_tables`) that differs from the paper's setting in the
fewest fields. A comparison is called a reproduction only if it has the paper's own setting with all seeds. Any other says why it is none.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from mopoe_core import metric_names
from mopoe_core.config.deviations import deviations
from mopoe_core.family.registry import TITLES
from orchestrator.analysis.intervals import mean
from orchestrator.analysis.model_groups import scale_name
from orchestrator.report.paper.paper_table_text import grid, tex
from orchestrator.report.paper.paper_tables import Entry, PaperTable, Row
from orchestrator.report.paper.published import Column, Published, published
from orchestrator.report.render import latex as to_latex
from orchestrator.report.render.numbers import MISSING, mean_and_sd, unit_decimals
from orchestrator.spec.trial import spelled

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
    """The sweep's row of that model; None if it has none."""
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
    """`reproduction`, or why it is none: another setting, or missing seeds."""
    deviations: tuple[str, ...]
    """What differs from the paper's setting, in words. If it differs in some rows only, their labels stand before it."""
    rows: tuple[Compared, ...]
    """Column by column, each in the paper's order of models."""
    taus: dict[str, float]
    """By a column's metric: Kendall's tau-b of the published and our order of models; NaN where a model lacks a seed or all tie."""

    @property
    def mean_tau(self) -> float:
        """Mean over the columns that have a tau; NaN where none has."""
        return mean([tau for tau in self.taus.values() if not math.isnan(tau)])


def against_paper(tables: Sequence[PaperTable]) -> list[Comparison]:
    """A comparison for each of the tables. Both estimators of log-likelihoods are compared with the same published numbers."""
    return [_comparison(table) for table in tables]


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
    mean_tau = f"; mean {comparison.mean_tau:.2f} over {len(taus)} column{'' if len(taus) == 1 else 's'}" if taus else ""
    parts = [
        f"{comparison.table.title}. {comparison.table.note}",
        *([f"Differs from the paper's setting: {'; '.join(differing)}."] if differing else []),
        "The interval is Student's t over our seeds; the published mean is itself a rounded mean over few runs.",
        f"τ is Kendall's tau-b of the published and our order of models in a column, where each has all its seeds: {possible}{mean_tau}.",
    ]
    return " ".join(parts)


def frame(comparison: Comparison) -> pd.DataFrame:
    """A row a published number (`FRAME_COLUMNS`), unrounded; what the paper or the sweep lacks is missing."""
    return pd.DataFrame([_record(comparison, compared) for compared in comparison.rows], columns=FRAME_COLUMNS)


def table_rows(comparison: Comparison) -> list[Sequence[str]]:
    """The header and a row a published number, as text; tau stands in the first row of its column."""
    return [HEADER, *_lines(comparison, MISSING)]


def markdown(comparison: Comparison) -> str:
    """Title, note and `table_rows`."""
    return f"**{title(comparison)}.** {note(comparison)}\n\n{grid(table_rows(comparison))}"


def latex(comparison: Comparison, command: str) -> str:
    """A table with its caption. Needs \\usepackage{booktabs,graphicx}."""
    headings = {c.text: c.tex if not c.group else tex(c.text) for c in comparison.table.columns}
    body = [[headings.get(first, first), *map(tex, rest)] for first, *rest in _lines(comparison, "--")]
    label = f"tab:against-{comparison.table.name}"
    tabular = to_latex.tabular("llcccccrr", [[*map(tex, HEADER)]], [[to_latex.row(texts) for texts in body]])
    return to_latex.floating_table(tex(f"{title(comparison)}. {note(comparison)}"), label, tabular, command)


def _comparison(table: PaperTable) -> Comparison:
    numbers = {(number.metric, number.model): number for number in published(table.layout.numbers)}
    first_rows = {row.model: row for row in reversed(table.rows)}  # a model's first row is the nearest to the paper's setting
    rows = []
    for i, column in enumerate(table.columns):
        for model in table.layout.models:
            number = numbers.get((_published_metric(column.metric), model))
            if number is not None:
                row = first_rows.get(model)
                rows.append(Compared(column, number, row, row.entries[i] if row and row.entries[i].n else None))
    columns = dict.fromkeys(compared.column.metric for compared in rows)
    taus = {metric: _tau([compared for compared in rows if compared.column.metric == metric]) for metric in columns}
    compared_rows = {model: first_rows[model] for model in table.layout.models if model in first_rows}
    differing = _differing(list(compared_rows.values()))
    return Comparison(table, _kind(table, differing, compared_rows), differing, tuple(rows), taus)


def _published_metric(metric: str) -> str:
    """The paper's name of the metric: it has one number for both estimators of a log-likelihood."""
    kind, _, rest = metric.partition("/")
    return f"{metric_names.LOG_LIKELIHOOD if kind == metric_names.LOG_LIKELIHOOD_PAPER_VIEW else kind}/{rest}"


def _tau(column: Sequence[Compared]) -> float:
    ours = [compared.entry.mean for compared in column if compared.entry and compared.entry.n == compared.entry.n_planned]
    theirs = [compared.published.mean for compared in column]
    if len(ours) < len(theirs) or len(set(ours)) == 1 or len(set(theirs)) == 1:
        return math.nan
    from scipy import stats  # a second, which no other report need wait

    return float(stats.kendalltau(theirs, ours, variant="b").statistic)


def _differing(rows: Sequence[Row]) -> tuple[str, ...]:
    by_row = {row.label: deviations(row.cell.config) for row in rows}
    differing = []
    for text in dict.fromkeys(text for texts in by_row.values() for text in texts):
        having = [label for label, texts in by_row.items() if text in texts]
        differing.append(text if len(having) == len(by_row) else f"{', '.join(having)}: {text}")
    return tuple(differing)


def _kind(table: PaperTable, differing: Sequence[str], rows: Mapping[str, Row]) -> str:
    """`REPRODUCTION`, or the main differences, or if there are none the other differences, or the missing seeds."""
    c, paper = table.config, table.layout.beta
    main = [] if c.source == "original" else [f"{c.source} data"]
    main += [] if c.scale == "paper" else [scale_name(c)]
    main += [] if c.networks == "paper" else [f"{c.networks} networks"]
    main += [] if table.beta == paper else [f"β {spelled(table.beta)} instead of {spelled(paper)}"]
    main += [] if rows else ["none of the paper's models"]
    differences = main or list(differing)
    if differences:
        return f"not a reproduction: {', '.join(differences)}"
    missing = _missing(table, rows)
    return f"the paper's setting, incomplete: {', '.join(missing)}" if missing else REPRODUCTION


def _missing(table: PaperTable, rows: Mapping[str, Row]) -> list[str]:
    """The models with fewer completed seeds than the paper has runs, or than were planned: `1 of 5 seeds of MVAE`."""
    runs = {number.model: number.n or 0 for number in published(table.layout.numbers)}
    missing = []
    for model in table.layout.models:
        wanted, n = max(runs[model], table.n_planned), rows[model].n if model in rows else 0
        if n < wanted:
            missing.append(f"{n} of {wanted} seeds of {TITLES[model]}")
    return missing


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


def _lines(comparison: Comparison, nothing: str) -> list[list[str]]:
    """The table's body as plain text; a column's heading and tau stand in its first row alone."""
    lines, before = [], ""
    for compared in comparison.rows:
        column, tau = compared.column, comparison.taus[compared.column.metric]
        first = column.metric != before
        before = column.metric
        label = compared.row.label if compared.row else TITLES[compared.published.model]
        ours = _ours(compared, comparison.table.n_planned, nothing)
        last = (nothing if math.isnan(tau) else f"{tau:.2f}") if first else ""
        lines.append([column.text if first else "", label, _printed(compared.published), *ours, last])
    return lines


def _printed(number: Published) -> str:
    """The published mean and sd with the decimals that the paper prints."""
    nats = number.units == metric_names.UNITS[metric_names.LOG_LIKELIHOOD]
    decimals = 3 if number.table == "figure3" else 2
    centre, sd = (
        (f"{number.mean:.0f}", f"{number.sd:.1f}") if nats else (f"{number.mean:.{decimals}f}", f"{number.sd:.{decimals}f}")
    )
    return centre if math.isnan(number.sd) else f"{centre} ± {sd}"


def _ours(compared: Compared, n_planned: int, nothing: str) -> list[str]:
    """Mean and sd, interval, n, difference, and whether the published mean is inside."""
    e = compared.entry
    if e is None:
        return [nothing, nothing, f"0/{n_planned}", nothing, nothing]
    decimals = unit_decimals(compared.published.units)
    interval = nothing if math.isnan(e.low) else f"[{e.low:.{decimals}f}, {e.high:.{decimals}f}]"
    inside = nothing if compared.inside is None else "yes" if compared.inside else "no"
    seeds = str(e.n) if e.n == n_planned else f"{e.n}/{n_planned}"
    return [mean_and_sd(e.mean, e.sd), interval, seeds, f"{compared.difference:+.{decimals}f}", inside]
