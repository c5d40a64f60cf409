"""Writes claims as tables in pandas, Markdown and LaTeX. Each says what its test can and cannot show. Pure."""

import math
from collections.abc import Sequence

import pandas as pd

from orchestrator.analysis.significance.hypotheses import CONDITION, SHOWN, Comparison, least_p, limit
from orchestrator.report.paper.claim_power import power_text
from orchestrator.report.paper.claims import Claim
from orchestrator.report.render import latex as to_latex
from orchestrator.report.render import markdown as to_markdown
from orchestrator.report.render.numbers import MISSING, signed
from orchestrator.spec.proper_names import proper_group

COLUMNS = [
    "id", "statement", "where", "reading", "power", "group", "test", "verdict", "note", "comparison", "unit", "claimed", "effect", "low",
    "high", "p", "n", "n_planned", "role", "outcome", "least_p",
]  # fmt: skip
CLAIM_HEADER = (
    "id", "claim", "read as", "paper", "power", "verdict", "least favourable comparison", "effect", "95 % interval", "n",
)  # fmt: skip
DETAIL_HEADER = ("id", "comparison", "claimed", "effect", "95 % interval", "unit", "n", "outcome")
POWER = (
    "Power: how often the rule finds its claim supported in simulated sweeps whose seeds are drawn from the paper's own means and "
    "standard deviations."
)
CORRECTION = (
    "Supported: every comparison that counts is, by its uncorrected 95 % interval (all must hold, so none needs a correction). "
    "Contradicted: one of the k comparisons that decide is, by its 1 − 5 %/k interval; conditions contradict nothing. Where an exact "
    "one-sided p is given, it decides in place of the interval, at 2.5 % and 2.5 %/k. Seeds that are missing leave a comparison "
    "undecided, and so do two or three seeds whose numbers are all the same. Claims and data sets are not corrected for one another."
)


def frame(claims: Sequence[Claim]) -> pd.DataFrame:
    """Returns a row for each comparison (`COLUMNS`). A claim that was not tested has one row without numbers.

    `p` is the one-sided p-value of a rank correlation at least as far from zero on the same side. `least_p` is the smallest p-value that
    a two-sided sign test on n seeds can have.
    """
    rows = []
    for claim in claims:
        about = _about(claim)
        rows += [about | _numbers(comparison) for comparison in claim.comparisons] or [about]
    return pd.DataFrame(rows, columns=COLUMNS)


def markdown(claims: Sequence[Claim]) -> str:
    """Returns, for each group of cells, a table of claims and one of their comparisons, with tests, notes and limits below."""
    parts = []
    for label, of_group in _by_group(claims).items():
        parts += [to_markdown.bold(label), to_markdown.table(CLAIM_HEADER, [row(claim) for claim in of_group])]
        detail_rows = details(of_group)
        if detail_rows:
            parts.append(to_markdown.table(DETAIL_HEADER, detail_rows))
        parts.append("\n".join(f"- {claim.id}: {_test_and_note(claim)}" for claim in of_group))
        parts.append("\n".join(f"- {sentence}" for sentence in limits(of_group)))
    return "\n\n".join(parts) + "\n"


def latex(claims: Sequence[Claim], command: str) -> str:
    """Returns the same two tables in LaTeX, with all groups in each, and the limits below. Needs \\usepackage{booktabs}."""
    by_group = _by_group(claims)
    claim_rows = {label: [row(claim) for claim in of_group] for label, of_group in by_group.items()}
    detail_rows = {label: details(of_group) for label, of_group in by_group.items()}
    sentences = [f"{_tex(sentence)}\\par" for sentence in limits(claims)]
    lines = [to_latex.comment(command), *_tabular("lp{4cm}p{4cm}lp{2cm}lp{4cm}rrr", CLAIM_HEADER, claim_rows), "", r"\bigskip"]
    lines += [*_tabular("lp{7cm}lrrlrl", DETAIL_HEADER, detail_rows), "", r"\bigskip", *sentences, ""]
    return "\n".join(lines)


def _by_group(claims: Sequence[Claim]) -> dict[str, list[Claim]]:
    """Returns the claims of each group, by the group's label with the paper's name of its dataset."""
    by_group: dict[str, list[Claim]] = {}
    for claim in claims:
        by_group.setdefault(proper_group(claim.group), []).append(claim)
    return by_group


def _about(claim: Claim) -> dict[str, object]:
    """Returns the columns of `frame` that describe a claim."""
    rule = claim.rule
    return {
        "id": rule.id,
        "statement": rule.statement,
        "where": claim.where,
        "reading": rule.reading,
        "power": _power(claim),
        "group": claim.group,
        "test": rule.test,
        "verdict": claim.verdict,
        "note": claim.note,
    }


def _power(claim: Claim) -> str:
    return power_text(claim.id, claim.dataset, claim.planned)


def _numbers(comparison: Comparison) -> dict[str, object]:
    """Returns the columns of `frame` that describe a comparison."""
    fields = ("unit", "effect", "low", "high", "p", "n", "n_planned", "role", "outcome")
    about = {"comparison": comparison.what, "claimed": str(comparison.claimed), "least_p": least_p(comparison.n)}
    return about | {field: getattr(comparison, field) for field in fields}


def row(claim: Claim) -> tuple[str, ...]:
    """Returns a claim's row under `CLAIM_HEADER`, as text."""
    about = (claim.id, claim.rule.statement, claim.rule.reading, claim.where, _power(claim), claim.verdict)
    decides = claim.decides
    if decides is None:
        return (*about, claim.note, "", "", "")
    return (*about, f"{decides.what} ({decides.unit})", _effect(decides), _interval(decides), f"{decides.n}/{decides.n_planned}")


def details(claims: Sequence[Claim]) -> list[tuple[str, ...]]:
    """Returns a row for each comparison under `DETAIL_HEADER`, as text."""
    return [_detail(claim.id, comparison) for claim in claims for comparison in claim.comparisons]


def _detail(claim_id: str, comparison: Comparison) -> tuple[str, ...]:
    seeds = f"{comparison.n}/{comparison.n_planned}"
    claimed, effect, interval = str(comparison.claimed), _effect(comparison), _interval(comparison)
    return (claim_id, comparison.what, claimed, effect, interval, comparison.unit, seeds, _outcome(comparison))


def _outcome(comparison: Comparison) -> str:
    if not comparison.claimed.is_bounded:
        return "(only shown)"
    if comparison.role == SHOWN:
        return f"({comparison.outcome}; only shown)"
    return f"{comparison.outcome} (condition)" if comparison.role == CONDITION else comparison.outcome


def _test_and_note(claim: Claim) -> str:
    return f"{claim.rule.test}. Here: {claim.note}."


def limits(claims: Sequence[Claim]) -> list[str]:
    """Returns sentences on power, on the correction, and on each number of seeds that a comparison has."""
    counts = {comparison.n for claim in claims for comparison in claim.comparisons}
    return [POWER, CORRECTION, *(limit(n) for n in sorted(counts))] if counts else []


def _effect(comparison: Comparison) -> str:
    return signed(comparison.effect, comparison.unit)


def _interval(comparison: Comparison) -> str:
    if math.isnan(comparison.low):
        return MISSING
    kind = "exact" if comparison.exact else "approximate"
    p = "" if math.isnan(comparison.p) else f"; {kind} p = {comparison.p:.2g}"
    return f"[{signed(comparison.low, comparison.unit)}, {signed(comparison.high, comparison.unit)}]{p}"


def _tabular(columns: str, header: Sequence[str], rows: dict[str, list[tuple[str, ...]]]) -> list[str]:
    """Returns a LaTeX table with the rows of each group below the group's label."""
    blocks = []
    for label, of_group in rows.items():
        heading = rf"\multicolumn{{{len(header)}}}{{l}}{{{_tex(label)}}} \\"
        blocks.append([heading, *(to_latex.row([*map(_tex, texts)]) for texts in of_group)])
    return to_latex.tabular(columns, [[*map(_tex, header)]], blocks)


def _tex(text: str) -> str:
    return to_latex.escape(text, to_latex.CLAIM_SIGNS)


def grouped_details(claims: Sequence[Claim]) -> list[tuple[str, list[tuple[str, ...]]]]:
    """Returns each group's label with the rows of its comparisons. Groups without comparisons are left out."""
    return [(label, rows) for label, of_group in _by_group(claims).items() if (rows := details(of_group))]
