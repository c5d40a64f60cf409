"""Puts a sweep's results beside the paper's numbers, table by table. Pure.

For each model, the published numbers are compared with one row of the sweep's table (`paper_tables`): the row that differs from the
paper's setting in the fewest fields. A comparison is called a reproduction only if it has the paper's setting with all seeds. Any other
comparison says why it is not one.
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
    """A published number and ours."""

    column: Column
    published: Published
    row: Row | None
    """The sweep's row of the number's model; None if there is no such row."""
    entry: Entry | None
    """Our number; None if there is none."""

    @property
    def difference(self) -> float:
        """Ours - published, in the units of `published`; NaN if we have no number."""
        return self.entry.mean - self.published.mean if self.entry else math.nan

    @property
    def inside(self) -> bool | None:
        """Whether the published mean is in our 95 % t interval; None if there is no interval."""
        if self.entry is None or math.isnan(self.entry.low):
            return None
        return self.entry.low <= self.published.mean <= self.entry.high


@dataclass(frozen=True)
class Comparison:
    """A published table and a sweep's table."""

    table: PaperTable
    kind: str
    """`reproduction`, or why it is not one: another setting, or missing seeds."""
    deviations: tuple[str, ...]
    """The differences from the paper's setting, in words. If only some rows have a difference, their labels come before it."""
    rows: tuple[Compared, ...]
    """Column by column, each in the paper's order of models."""
    taus: dict[str, float]
    """By a column's metric: Kendall's tau-b of the published and our order of models; NaN if a model lacks a seed, or if all tie."""

    @property
    def mean_tau(self) -> float:
        """The mean over the columns that have a tau; NaN if none has."""
        return mean([tau for tau in self.taus.values() if not math.isnan(tau)])


def against_paper(tables: Sequence[PaperTable]) -> list[Comparison]:
    """Returns a comparison for each table. Both estimators of log-likelihoods are compared with the same published numbers."""
    return [_comparison(table) for table in tables]


def title(comparison: Comparison) -> str:
    """Returns `Against Table 2 of the paper: reproduction`."""
    return f"Against {_spelled_key(comparison)} of the paper: {comparison.kind}"


def note(comparison: Comparison) -> str:
    """Returns a paragraph on what is compared, and on how to read tau."""
    differing = comparison.deviations
    taus = [tau for tau in comparison.taus.values() if not math.isnan(tau)]
    possible = (
        "of three models without ties it can only be -1, -1/3, 1/3 or 1, and where two published numbers tie and ours do not, 0 or ±0.82"
        if len(comparison.table.layout.models) == 3
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
    """Returns a row for each published number (`FRAME_COLUMNS`), unrounded. Numbers that the paper or the sweep lacks are missing."""
    return pd.DataFrame([_record(comparison, compared) for compared in comparison.rows], columns=FRAME_COLUMNS)


def table_rows(comparison: Comparison) -> list[Sequence[str]]:
    """Returns the header and a row for each published number, as text. Tau is in the first row of its column."""
    return [HEADER, *_lines(comparison, MISSING)]


def markdown(comparison: Comparison) -> str:
    """Returns the title, the note and `table_rows` in Markdown."""
    return f"**{title(comparison)}.** {note(comparison)}\n\n{grid(table_rows(comparison))}"


def latex(comparison: Comparison, command: str) -> str:
    """Returns a LaTeX table with its caption. Needs \\usepackage{booktabs,graphicx}."""
    headings = {column.text: tex(column.text) if column.group else column.tex for column in comparison.table.columns}
    body = [[headings.get(first, first), *map(tex, rest)] for first, *rest in _lines(comparison, "--")]
    label = f"tab:against-{comparison.table.name}"
    tabular = to_latex.tabular("llcccccrr", [[*map(tex, HEADER)]], [[to_latex.row(texts) for texts in body]])
    return to_latex.floating_table(tex(f"{title(comparison)}. {note(comparison)}"), label, tabular, command)


def _comparison(table: PaperTable) -> Comparison:
    numbers = {(number.metric, number.model): number for number in published(table.layout.numbers)}
    first_rows = {row.model: row for row in reversed(table.rows)}  # a model's first row is the nearest to the paper's setting
    rows = []
    for place, column in enumerate(table.columns):
        for model in table.layout.models:
            number = numbers.get((_published_metric(column.metric), model))
            if number is not None:
                row = first_rows.get(model)
                entry = row.entries[place] if row and row.entries[place].n else None
                rows.append(Compared(column, number, row, entry))
    metrics = dict.fromkeys(compared.column.metric for compared in rows)
    taus = {metric: _tau([compared for compared in rows if compared.column.metric == metric]) for metric in metrics}
    compared_rows = {model: first_rows[model] for model in table.layout.models if model in first_rows}
    differing = _differing(list(compared_rows.values()))
    return Comparison(table, _kind(table, differing, compared_rows), differing, tuple(rows), taus)


def _published_metric(metric: str) -> str:
    """Returns the metric whose number the paper prints. The paper has one number for both estimators of a log-likelihood."""
    kind, _, rest = metric.partition("/")
    return f"{metric_names.LOG_LIKELIHOOD if kind == metric_names.LOG_LIKELIHOOD_PAPER_VIEW else kind}/{rest}"


def _tau(column: Sequence[Compared]) -> float:
    """Returns Kendall's tau-b of the published and our means of one column; NaN if a model lacks a seed, or if all tie."""
    ours = [compared.entry.mean for compared in column if compared.entry and compared.entry.n == compared.entry.n_planned]
    theirs = [compared.published.mean for compared in column]
    if len(ours) < len(theirs) or len(set(ours)) == 1 or len(set(theirs)) == 1:
        return math.nan
    from scipy import stats  # its import takes a second, which other reports do not need to wait

    return float(stats.kendalltau(theirs, ours, variant="b").statistic)


def _differing(rows: Sequence[Row]) -> tuple[str, ...]:
    """Returns the rows' differences from the paper's setting, each after the labels of its rows unless all rows have it."""
    by_row = {row.label: deviations(row.cell.config) for row in rows}
    differing = []
    for text in dict.fromkeys(text for texts in by_row.values() for text in texts):
        labels = [label for label, texts in by_row.items() if text in texts]
        differing.append(text if len(labels) == len(by_row) else f"{', '.join(labels)}: {text}")
    return tuple(differing)


def _kind(table: PaperTable, differing: Sequence[str], rows: Mapping[str, Row]) -> str:
    """Returns `REPRODUCTION`, or why it is none: the main differences, or else the other differences, or else the missing seeds."""
    differences = _main_differences(table, has_paper_models=bool(rows)) or list(differing)
    if differences:
        return f"not a reproduction: {', '.join(differences)}"
    missing = _missing(table, rows)
    return f"the paper's setting, incomplete: {', '.join(missing)}" if missing else REPRODUCTION


def _main_differences(table: PaperTable, has_paper_models: bool) -> list[str]:
    config, paper_beta = table.config, table.layout.beta
    differences = []
    if config.source != "original":
        differences.append(f"{config.source} data")
    if config.scale != "paper":
        differences.append(scale_name(config))
    if config.networks != "paper":
        differences.append(f"{config.networks} networks")
    if table.beta != paper_beta:
        differences.append(f"β {spelled(table.beta)} instead of {spelled(paper_beta)}")
    if not has_paper_models:
        differences.append("none of the paper's models")
    return differences


def _missing(table: PaperTable, rows: Mapping[str, Row]) -> list[str]:
    """Returns the models with fewer completed seeds than the paper's runs, or than planned: `1 of 5 seeds of MVAE`."""
    runs = {number.model: number.n or 0 for number in published(table.layout.numbers)}
    missing = []
    for model in table.layout.models:
        needed = max(runs[model], table.n_planned)
        n = rows[model].n if model in rows else 0
        if n < needed:
            missing.append(f"{n} of {needed} seeds of {TITLES[model]}")
    return missing


def _spelled_key(comparison: Comparison) -> str:
    key = comparison.table.layout.key.partition("_")[0]
    return key.replace("table", "Table ").replace("figure", "Figure ")


def _record(comparison: Comparison, compared: Compared) -> tuple[object, ...]:
    """Returns the values of `FRAME_COLUMNS`."""
    table, config, number = comparison.table, comparison.table.config, compared.published
    entry, row = compared.entry, compared.row
    setting = (config.dataset, config.source, config.scale or "own sizes", config.networks, table.beta, table.layout.beta)
    ours = (entry.mean, entry.sd, entry.low, entry.high, entry.n) if entry else (math.nan, math.nan, math.nan, math.nan, 0)
    return (
        *(table.key, comparison.kind, *setting),
        *(compared.column.text, compared.column.metric, number.model, row.label if row else "", row.cell.id if row else ""),
        *(number.mean, number.sd, number.n),
        *(*ours, table.n_planned, compared.difference, compared.inside, comparison.taus[compared.column.metric]),
    )


def _lines(comparison: Comparison, missing: str) -> list[list[str]]:
    """Returns the table's body as plain text. Only the first row of a column has its heading and its tau."""
    lines, metric_before = [], ""
    for compared in comparison.rows:
        column, tau = compared.column, comparison.taus[compared.column.metric]
        is_first = column.metric != metric_before
        metric_before = column.metric
        heading = column.text if is_first else ""
        label = compared.row.label if compared.row else TITLES[compared.published.model]
        ours = _ours(compared, comparison.table.n_planned, missing)
        tau_text = (missing if math.isnan(tau) else f"{tau:.2f}") if is_first else ""
        lines.append([heading, label, _printed(compared.published), *ours, tau_text])
    return lines


def _printed(number: Published) -> str:
    """Returns the published mean and sd with the decimals that the paper prints."""
    if number.units == metric_names.UNITS[metric_names.LOG_LIKELIHOOD]:
        mean_decimals, sd_decimals = 0, 1
    else:
        mean_decimals = sd_decimals = 3 if number.table == "figure3" else 2
    mean_text = f"{number.mean:.{mean_decimals}f}"
    return mean_text if math.isnan(number.sd) else f"{mean_text} ± {number.sd:.{sd_decimals}f}"


def _ours(compared: Compared, n_planned: int, missing: str) -> list[str]:
    """Returns our mean and sd, interval and n, the difference, and whether the published mean is inside the interval."""
    entry = compared.entry
    if entry is None:
        return [missing, missing, f"0/{n_planned}", missing, missing]
    decimals = unit_decimals(compared.published.units)
    interval = missing if math.isnan(entry.low) else f"[{entry.low:.{decimals}f}, {entry.high:.{decimals}f}]"
    inside = missing if compared.inside is None else "yes" if compared.inside else "no"
    seeds = str(entry.n) if entry.n == n_planned else f"{entry.n}/{n_planned}"
    return [mean_and_sd(entry.mean, entry.sd), interval, seeds, f"{compared.difference:+.{decimals}f}", inside]
