"""The paper's tables from a sweep: layout, numbers, honesty about seeds, renderings that other programs read."""

import io
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.metric_names import metric_names
from orchestrator.analysis.comparable_groups import front_groups
from orchestrator.report.paper.paper_table_text import caption, frame, latex, markdown
from orchestrator.report.paper.paper_tables import paper_tables
from orchestrator.spec.trial import Cell
from tests.support.builders import result
from tests.support.naming import unnamed

HEADINGS = {
    "table2": "M; S; T; M,S; M,T; S,T; M,S,T",
    "table3": "Joint; S → M; T → M; S,T → M; M → S; T → S; M,T → S; M → T; S → T; M,S → T",
    "table4": "X; X|x_M; X|x_S; X|x_T; X|x_M, x_S; X|x_M, x_T; X|x_S, x_T",
    "table5": "Latent I; Latent T; Latent Joint; I → T; T → I",
    "table7": "X; X|x_M; X|x_S; X|x_T; X|x_M, x_S; X|x_M, x_T; X|x_S, x_T",
}
SEEDS = range(5)


def make(model="mopoe", beta=5.0, **more):
    """A cell of the small scale."""
    return Cell(
        TrainingConfig.model_validate({"dataset": "mnist_svhn_text", "scale": "small", "model": model, "beta": beta, **more})
    )


def outcomes(cells, seeds=SEEDS):
    """Results with different numbers for every cell, seed and metric."""
    chance = np.random.default_rng(0)

    def drawn(cell):
        return {
            name: chance.normal(-1900 if name.startswith("log") else 0.5, 0.1) for name in metric_names(cell.config.modalities)
        }

    return [result(cell, seed, drawn(cell)) for cell in cells for seed in seeds]


THREE = [make("mopoe"), make("mvae"), make("mmvae")]
EVERY = [*THREE, make("eq5"), make("mvtcae"), make("eq5", 2.5), make("mopoe", 2.5)]
CELEBA = [make(model, 2.5, dataset="celeba") for model in ("mmvae", "mvae", "mopoe")]
POLY = [make(model, 2.5, dataset="polymnist") for model in ("mmvae", "mvae", "mopoe")]


def tables(cells, results=None, seeds=SEEDS):
    """Tables by key."""
    comparable = front_groups(cells, outcomes(cells) if results is None else results)
    return {table.key: table for table in paper_tables(comparable.groups, seeds)}


def test_columns_stand_in_the_papers_order():
    """Every table has the paper's headings in the paper's order, and both views of a likelihood have the same."""
    found = tables([*EVERY, *CELEBA])
    for key, headings in HEADINGS.items():
        assert [column.text for column in found[key].columns] == headings.split("; ")
    for key in ("table4", "table7"):
        assert [c.text for c in found[f"{key}_paper_view"].columns] == [c.text for c in found[key].columns]


def test_rows_stand_in_the_papers_order_and_others_follow():
    """MVAE, MMVAE, MoPoE whatever the sweep's order, then Eq. (5) and other models; Table 7 has Eq. (5) and MoPoE alone."""
    found = tables(EVERY)
    for key in ("table2", "table3", "table4"):
        assert [row.label for row in found[key].rows] == ["MVAE", "MMVAE", "MoPoE", "Eq. (5)", "MVTCAE"]
    assert [row.label for row in found["table7"].rows] == ["Eq. (5)", "MoPoE"]
    assert found["table7"].beta == 2.5


def test_the_variant_nearest_to_the_paper_stands_first():
    """Of two variants of MoPoE that of the paper's latent dimensions is among the first three rows, the other after them."""
    cells = [make("mopoe", latent_dim=8), *THREE]
    assert [row.label for row in tables(cells)["table2"].rows] == ["MVAE", "MMVAE", "MoPoE latent_dim=20", "MoPoE latent_dim=8"]


def test_numbers_are_means_sds_and_t_intervals_over_seeds():
    """Entries agree with numpy's mean and sd and scipy's interval of the trials' values; both estimators have their own."""
    results = outcomes(THREE)
    for key, metric in (
        ("table3", "coherence/svhn.text/mnist"),
        ("table4", "log_likelihood/mnist"),
        ("table4_paper_view", "log_likelihood_paper_view/mnist"),
    ):
        row = frame(tables(THREE, results)[key]).query("row == 'MoPoE' and metric == @metric").iloc[0]
        values = [r.value(metric) for r in results if r.trial.config.model == "mopoe"]
        interval = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
        assert [row["mean"], row["sd"], row["low"], row["high"]] == pytest.approx(
            [np.mean(values), np.std(values, ddof=1), *interval]
        )
        assert row["n"] == 5


def test_missing_and_diverged_seeds_are_said_and_are_no_numbers():
    """With one seed missing and one diverged the row says 3/5, its mean is that of three, and it is never bold."""
    values = {"probe/mnist": 0.99}
    results = outcomes(THREE[1:]) + [result(THREE[0], seed, values) for seed in range(3)]
    results.append(result(THREE[0], 3, {"probe/mnist": 7.0}, status="diverged"))
    table = tables(THREE, results)["table2"]
    row = table.rows[2]
    assert (row.n, row.entries[0].mean, row.entries[0].best) == (3, pytest.approx(0.99), False)
    assert any(other.entries[0].best for other in table.rows)
    assert re.search(r"\| MoPoE +\| 3/5 +\| 0\.990 ± 0\.000 +\| – ", markdown(table))
    assert "MoPoE & 3/5 & $0.990" in latex(table, "x")
    assert caption(table) != caption(tables(THREE)["table2"])


def test_an_entry_with_fewer_seeds_than_its_row_says_so():
    """A metric that two of five trials lack has 3/5 beside it."""
    results = [result(THREE[0], seed, {"probe/mnist": 0.5} | ({"probe/svhn": 0.25} if seed < 3 else {})) for seed in SEEDS]
    assert "0.250 ± 0.000 (3/5)" in markdown(tables(THREE, results)["table2"])


def test_the_best_of_a_column_is_the_largest_mean():
    """In each column exactly the row that numpy finds largest is bold."""
    table = tables(THREE)["table4"]
    for i in range(len(table.columns)):
        means = [row.entries[i].mean for row in table.rows]
        assert [row.entries[i].best for row in table.rows] == [k == int(np.argmax(means)) for k in range(3)]


def test_a_row_alone_is_no_best():
    """Nothing is bold in a table of one row."""
    assert not re.findall(r"\*\*\d", markdown(tables(THREE[:1])["table2"]))


@pytest.mark.parametrize(
    ("betas", "chosen"),
    [((0.5, 5.0, 10.0), 5.0), ((0.5, 4.0, 10.0), 4.0), ((2.5, 7.5), 7.5), ((2.5, 10.0), 2.5), ((20.0, 40.0), 20.0)],
)
def test_the_beta_is_the_papers_or_the_nearest_and_says_so(betas, chosen):
    """5 if the sweep has it, else the nearest by ratio, and of two as near the smaller; another is said not to be the paper's."""
    cells = [make(model, beta) for model in ("mvae", "mopoe") for beta in betas]
    table = tables(cells)["table2"]
    assert table.beta == chosen
    assert f"β = {chosen:g} (" in caption(table)
    assert bool(re.search(r"β = \S+ \([^)]*\b5\b", caption(table))) == (chosen != 5)


def test_a_beta_that_all_series_share_goes_before_a_nearer_one():
    """10 which both models have beats 4, and 5, the paper's own, which only one has."""
    for other in (4, 5):
        assert tables([make("mvae", 10), make("mopoe", 10), make("mopoe", other)])["table2"].beta == 10


def test_a_table_without_the_papers_models_has_the_beta_of_those_it_has():
    """MVTCAE alone has a table at the nearest of its own betas."""
    assert tables([make("mvtcae", 4), make("mvtcae", 20)])["table2"].beta == 4


def test_table_7_says_in_what_its_objectives_differ():
    """With the paper's KLs the rows differ in the KL as well as in the estimator, and the caption has both; with one KL it is silent."""
    said = caption(tables([make("eq5", 2.5), make("mopoe", 2.5)])["table7"])
    assert not unnamed(said, "kl", re.compile(r"Eq\. \(5\) sum"), "MoPoE mixture", "estimator")
    assert unnamed(caption(tables([make("eq5", 2.5), make("mopoe", 2.5, kl="sum")])["table7"]), "kl")
    assert unnamed(caption(tables(EVERY)["table2"]), "kl")


def test_a_series_without_a_cell_at_the_tables_beta_is_named():
    """MVAE has no cell at 5: it has no row, and the caption says so."""
    table = tables([make("mvae", 1), make("mopoe", 5)])["table2"]
    assert [row.label for row in table.rows] == ["MoPoE"]
    assert not unnamed(caption(table), "MVAE")
    assert unnamed(caption(tables(THREE)["table2"]), "MVAE")


def test_the_caption_says_what_was_run():
    """Dataset, source, scale (own sizes where there is none), networks, n and the likelihood's estimator."""
    own = Cell(TrainingConfig.model_validate({"dataset": "mnist_svhn_text", "model": "mvae", "beta": 5, "networks": "paper"}))
    found = tables([make("mvae"), own])
    # the one caption that is looked at word by word
    for part in ("MNIST-SVHN-Text", "embedded data", "own sizes", "the paper's networks", "n = 5 seeds", "layout of Table 2"):
        assert part in caption(found["table2"])
    assert found["table4"].title != found["table4_paper_view"].title
    assert "released code" in found["table4_paper_view"].title


def test_groups_have_tables_of_their_own():
    """Cells of two scales are never in one table; every table has a name of its own."""
    cells = [make("mvae"), make("mopoe"), make("mvae", scale="smoke"), make("mopoe", scale="smoke"), *POLY]
    found = paper_tables(front_groups(cells, []).groups, SEEDS)
    assert [table.config.scale for table in found if table.key == "table2"] == ["small", "smoke"]
    assert len({table.name for table in found}) == len(found) == 9


def test_tables_without_cells_are_not_made():
    """A sweep without Eq. (5) has no Table 7, one of CelebA only Table 5, one of nothing nothing."""
    assert set(tables(THREE)) == {"table2", "table3", "table4", "table4_paper_view"}
    assert set(tables(CELEBA)) == {"table5"}
    assert paper_tables(front_groups([], []).groups, SEEDS) == []


@pytest.mark.parametrize("count", [2, 5])
def test_figure_3_has_a_column_for_each_number_of_inputs(count):
    """Probe and log-likelihood for 1..M inputs, coherence for 1..M-1 as no target is left at M, and joint coherence."""
    cells = [make("mopoe", 2.5, dataset="polymnist", modality_count=count)]
    metrics = [column.metric for column in tables(cells)["figure3"].columns]
    given = [f"given_{k}" for k in range(1, count + 1)]
    assert metrics == [
        *(f"probe/{g}" for g in given),
        *(f"coherence/{g}" for g in given[:-1]),
        *(f"log_likelihood/{g}" for g in given),
        "coherence/joint",
    ]


def test_rows_that_share_less_than_the_table_are_pointed_out():
    """A learning rate that only one model has is named in the caption."""
    cells = [make("mvae"), make("mopoe", learning_rate=5e-4)]
    assert not unnamed(caption(tables(cells)["table2"]), "learning_rate")
    assert unnamed(caption(tables(cells[:1])["table2"]), "learning_rate")


def test_the_long_table_survives_csv():
    """Written and read again, every number is the same to fourteen digits, and a row is a row and column."""
    table = tables(EVERY)["table3"]
    long = frame(table)
    read = pd.read_csv(io.StringIO(long.to_csv(index=False)))
    pd.testing.assert_frame_equal(read, long, check_dtype=False, rtol=1e-14, atol=0)
    assert len(long) == 5 * 10


def test_latex_is_balanced_and_every_row_has_every_column():
    """Braces, environments and dollars close, spans and entries add up to the declared columns, nothing but ASCII is left."""
    for table in paper_tables(front_groups([*EVERY, *CELEBA, *POLY], outcomes([*EVERY, *CELEBA])).groups, SEEDS):
        body = "\n".join(line for line in latex(table, "a\nb").splitlines() if not line.startswith("%"))
        assert body.count("{") == body.count("}")
        assert len(re.findall(r"(?<!\\)\$", body)) % 2 == 0
        assert re.findall(r"\\(begin|end)\{(\w+)\}", body) == [
            ("begin", "table"),
            ("begin", "tabular"),
            ("end", "tabular"),
            ("end", "table"),
        ]
        columns = len(re.search(r"\{tabular\}\{(\w+)\}", body).group(1))
        for line in (line for line in body.splitlines() if line.endswith(r"\\")):
            spans = [int(span) for span in re.findall(r"\\multicolumn\{(\d+)\}", line)]
            assert len(re.findall(r"(?<!\\)&", line)) + 1 + sum(spans) - len(spans) == columns
        assert body.isascii()
        assert not re.search(r"(?<!\\)_", re.sub(r"\$[^$]*\$|\\label\{.*\}", "", body))


def test_markdown_has_the_same_number_of_columns_in_every_line():
    """A bar inside a heading does not become a column."""
    lines = [line for line in markdown(tables(THREE)["table4"]).splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {10}
    assert len(lines) == 5


def test_one_seed_has_no_spread():
    """With n = 1 a number stands alone: no sd, no nan."""
    table = tables(THREE, outcomes(THREE, [0]), [0])["table2"]
    for text in (markdown(table).partition("\n\n")[2], latex(table, "x").partition(r"\midrule")[2]):
        assert not re.search(r"nan|±|\\pm", text)
    assert not unnamed(caption(table), "n = 1")
