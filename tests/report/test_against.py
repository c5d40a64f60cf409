"""Our numbers beside the paper's: pairing, differences, intervals, order, and what may be called a reproduction."""

import io
import math
import re
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from mopoe_core.metric_names import metric_names
from orchestrator.analysis.comparable_groups import front_groups
from orchestrator.report.paper.beside_published import against_paper, frame, latex, markdown, note, title
from orchestrator.report.paper.paper_tables import paper_tables
from orchestrator.report.paper.published import published
from orchestrator.spec.trial import Cell
from tests.report.test_paper_tables import CELEBA, EVERY, POLY, SEEDS, THREE, make, outcomes
from tests.support.builders import result
from tests.support.naming import names, names_in_order


def comparisons(cells, results=None, seeds=SEEDS):
    """Comparisons by key."""
    found = against_paper(paper_tables(front_groups(cells, outcomes(cells) if results is None else results).groups, seeds))
    return {comparison.table.key: comparison for comparison in found}


def exactly(cells: list[Cell], shift: float, spread: float = 0.01):
    """Results whose means are the paper's Tables 2 and 4 plus `shift`, symmetric over three seeds."""
    numbers = {(p.metric, p.model): p.mean for table in ("table2", "table4") for p in published(table)}
    return [
        result(
            cell, seed, {m: v + shift + spread * (seed - 1) for (m, model), v in numbers.items() if model == cell.config.model}
        )
        for cell in cells
        for seed in range(3)
    ]


def tau_b(a, b):
    """Kendall's tau-b by counting pairs."""
    pairs = [(np.sign(a[i] - a[j]), np.sign(b[i] - b[j])) for i, j in combinations(range(len(a)), 2)]
    split_a, split_b = sum(x != 0 for x, _ in pairs), sum(y != 0 for _, y in pairs)
    return sum(x * y for x, y in pairs) / math.sqrt(split_a * split_b)


def test_every_published_number_stands_beside_ours_once():
    """A comparison has a row for each printed number of its table; both likelihood estimators have all of them."""
    found = comparisons([*EVERY, *CELEBA, *POLY])
    counts = {key: len(comparison.rows) for key, comparison in found.items()}
    assert counts == {
        "table2": 21, "table3": 30, "table4": 21, "table4_paper_view": 21, "table7": 14, "table7_paper_view": 14,
        "table5": 15, "figure3": 3,
    }  # fmt: skip


@pytest.mark.parametrize(("shift", "inside"), [(0.0, True), (0.02, True), (0.03, False), (-0.03, False)])
def test_the_difference_is_ours_minus_published_and_the_interval_decides(shift, inside):
    """With sd 0.01 and three seeds the interval is 4.303 * 0.01 / sqrt(3) = 0.0248 to each side."""
    for compared in comparisons(THREE, exactly(THREE, shift), range(3))["table2"].rows:
        assert compared.difference == pytest.approx(shift, abs=1e-12)
        assert compared.inside is inside


def test_the_released_view_is_compared_with_the_same_numbers():
    """Table 4 comes with both estimators of ours, each beside the same published means."""
    found = comparisons(THREE)
    bound, view = frame(found["table4"]), frame(found["table4_paper_view"])
    assert list(bound["published_mean"]) == list(view["published_mean"])
    assert set(view["metric"].str.partition("/")[0]) == {"log_likelihood_paper_view"}
    assert not np.isclose(bound["mean"], view["mean"]).all()


def test_tau_agrees_with_a_count_of_pairs():
    """Each column's tau-b is that of all pairs of models, with the paper's ties; the mean is over columns."""
    comparison = comparisons(THREE)["table2"]
    for metric, tau in comparison.taus.items():
        column = [row for row in comparison.rows if row.column.metric == metric]
        assert tau == pytest.approx(tau_b([row.published.mean for row in column], [row.entry.mean for row in column]))
    assert comparison.mean_tau == pytest.approx(np.mean(list(comparison.taus.values())))


def test_the_same_order_is_one_and_the_opposite_minus_one():
    """On Table 4, which has no ties, the paper's own means agree fully and their negatives not at all."""
    results = exactly(THREE, 0.0)
    assert set(comparisons(THREE, results, range(3))["table4"].taus.values()) == {1.0}
    negated = [result(r.trial.cell, r.trial.seed, {m.name: -m.value for m in r.metrics}) for r in results]
    assert comparisons(THREE, negated, range(3))["table4"].mean_tau == -1.0


def test_a_model_without_a_number_leaves_no_tau():
    """Without MMVAE's results its rows say 0/5 and no order is computed."""
    comparison = comparisons(THREE, outcomes(THREE[:2]))["table2"]
    assert all(math.isnan(tau) for tau in comparison.taus.values())
    assert math.isnan(comparison.mean_tau)
    assert markdown(comparison).count("0/5") == 7
    assert "mean" not in note(comparison).partition("τ is")[2]


def test_columns_in_which_all_of_ours_tie_have_no_tau():
    """Three equal numbers have no order; that is missing, not zero, and no warning."""
    results = [result(cell, seed, dict.fromkeys(metric_names(cell.config.modalities), 0.5)) for cell in THREE for seed in SEEDS]
    assert all(math.isnan(tau) for tau in comparisons(THREE, results)["table2"].taus.values())


def test_only_the_papers_own_setting_is_a_reproduction():
    """At scale paper with all seeds, nothing changed and the published beta the kind is `reproduction`; else it says what differs."""
    paper = [make(model, scale="paper") for model in ("mvae", "mmvae", "mopoe", "eq5")]
    assert comparisons(paper)["table2"].kind == "reproduction"
    assert comparisons(paper)["table2"].deviations == ()
    other_beta = comparisons(paper)["table7"].kind
    assert other_beta != "reproduction"
    assert names(other_beta, "β", 5, 2.5)
    small = comparisons(THREE, [])["table2"]
    assert small.kind == "not a reproduction: embedded data, small scale, small networks"  # the one kind in full
    assert any("source" in text for text in small.deviations)
    assert small.kind in title(small)


def lacking_in(kind):
    """Completed and expected seeds of each model that a kind names as incomplete, and nothing else."""
    head, _, models = kind.partition(": ")
    assert "incomplete" in head
    counts = [re.fullmatch(r"(\d+)\D+(\d+)\D*\b(\w+)", part).groups() for part in models.split(", ")]
    return [(int(done), int(expected), model) for done, expected, model in counts]


@pytest.mark.parametrize(
    ("completed", "planned", "lacking"),
    [
        ((0, 0, 0), 5, [(0, 5, "MVAE"), (0, 5, "MMVAE"), (0, 5, "MoPoE")]),
        ((5, 1, 5), 5, [(1, 5, "MMVAE")]),
        ((1, 1, 1), 1, [(1, 5, "MVAE"), (1, 5, "MMVAE"), (1, 5, "MoPoE")]),
        ((6, 6, 5), 6, [(5, 6, "MoPoE")]),
    ],
)
def test_the_papers_setting_with_seeds_missing_is_no_reproduction(completed, planned, lacking):
    """Fewer seeds than the paper's five runs, or than were planned, are named for each model."""
    cells = [make(model, scale="paper") for model in ("mvae", "mmvae", "mopoe")]
    results = [r for cell, n in zip(cells, completed, strict=True) for r in outcomes([cell], range(n))]
    assert lacking_in(comparisons(cells, results, range(planned))["table2"].kind) == lacking


def test_a_model_without_a_row_is_no_reproduction():
    """MoPoE alone, with all its seeds, lacks those of the two others."""
    kind = comparisons([make("mopoe", scale="paper")])["table2"].kind
    assert lacking_in(kind) == [(0, 5, "MVAE"), (0, 5, "MMVAE")]


def test_an_order_of_survivors_has_no_tau():
    """One of five seeds of one model is missing: every column's tau is missing and shown as a dash, and numbers stay."""
    results = [r for r in outcomes(THREE) if not (r.trial.config.model == "mmvae" and r.trial.seed == 2)]
    comparison = comparisons(THREE, results)["table2"]
    assert all(math.isnan(tau) for tau in comparison.taus.values())
    assert all(compared.entry for compared in comparison.rows)
    body = [line for line in markdown(comparison).splitlines() if line.startswith("|")][2:]
    assert {line.rstrip("| ")[-1] for line in body[::3]} == {"–"}


def test_a_changed_setting_at_full_scale_is_no_reproduction():
    """One model's learning rate alone makes it none, and the deviation names that model."""
    cells = [make("mvae", scale="paper"), make("mopoe", scale="paper", learning_rate=5e-4)]
    comparison = comparisons(cells, [])["table2"]
    (deviation,) = comparison.deviations
    assert names_in_order(deviation, "MoPoE", "learning_rate", 0.0005, 0.001)
    assert comparison.kind != "reproduction"
    assert deviation in comparison.kind


def test_full_scale_on_embedded_data_is_no_reproduction():
    """The paper's sizes on other data are called what they are."""
    cells = [make("mvae", scale="paper", source="embedded")]
    kind = comparisons(cells, [])["table2"].kind
    assert kind != "reproduction"
    assert names(kind, "embedded")
    assert not names(kind, "scale")


def test_the_long_table_survives_csv():
    """Written and read again, every number is the same to fourteen digits."""
    for comparison in comparisons([*EVERY, *CELEBA]).values():
        long = frame(comparison)
        read = pd.read_csv(io.StringIO(long.to_csv(index=False)))
        pd.testing.assert_frame_equal(read, long, check_dtype=False, rtol=1e-14, atol=0)


def test_markdown_and_latex_have_every_number_and_are_well_formed():
    """As many body rows as published numbers, the same columns in each, braces and dollars closed, only ASCII in LaTeX."""
    for comparison in comparisons([*EVERY, *CELEBA, *POLY]).values():
        lines = [line for line in markdown(comparison).splitlines() if line.startswith("|")]
        assert len(lines) == len(comparison.rows) + 2
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {10}
        text = latex(comparison, "x")
        rows = [line for line in text.splitlines() if line.endswith(r"\\")]
        assert len(rows) == len(comparison.rows) + 1
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {8}
        assert text.count("{") == text.count("}")
        assert len(re.findall(r"(?<!\\)\$", text)) % 2 == 0
        assert text.isascii()


def test_the_note_says_what_tau_can_be():
    """Three models allow four values without ties; the two objectives of Table 7 allow two."""
    found = comparisons(EVERY)
    assert names(note(found["table2"]), "-1", "-1/3", "1/3", 1)
    orders = [(a, b, c) for a in (1, 2, 3) for b in (1, 2, 3) for c in (1, 2, 3) if len({a, b, c}) == 3]
    assert {round(tau_b((1, 1, 2), order), 2) for order in orders} == {0, 0.82, -0.82}
    assert names(note(found["table2"]), 0, "±0.82")
    assert tau_b((1, 1, 2), (1, 1, 2)) == pytest.approx(1)
    assert names(note(found["table7"]), "-1", 1)
    assert not names(note(found["table7"]), "1/3")


def test_published_numbers_have_the_papers_decimals():
    """`0.90 ± 0.01`, `-1790 ± 3.3`, and a mean alone where the paper prints no sd."""
    found = comparisons([*EVERY, *CELEBA])
    assert "| 0.90 ± 0.01 " in markdown(found["table2"])
    assert "| -1790 ± 3.3 " in markdown(found["table4"])
    assert "| 0.26      |" in markdown(found["table5"])
