"""The published numbers: unchanged files, and every printed cell under the right name."""

import hashlib
import math
from importlib import resources

import pytest

from mopoe_core.metric_names import metric_names
from orchestrator.report.paper.published import FILES, layouts, published

SHA256 = {
    "figure3_polymnist_joint_coherence.csv": "2adfbae567b11a0147e3971fd8aae5d0f8dfd3c0cf49a8c63ada0af189d1ddee",
    "hyperparameters_paper_vs_code.csv": "91fc2a87809b3297be7d9b933109081522a4742a0eeefd41440fd2405ba45383",
    "table2_latent_classification.csv": "a4530adce2d2da51c159f8c9ab2cc5fe377fb3d54af71ce1183c199b6c10e75c",
    "table3_generation_coherence.csv": "3fa3bba12695c1b2c68d0fd3902cd40dbd53adf852d807fc759eb0253d557e07",
    "table4_test_loglikelihood.csv": "bc7ba771d7b7d3e36071b4dd8565038eb46e864eb61518921a6918b38a15905e",
    "table5_celeba.csv": "92ae7fc794d5a57eb6fa1359d0f221f43941b93331a94b814db44d3bdfa225ad",
    "table6_generation_coherence_std.csv": "05ebe204013079d1d8ac6e680a37d57ef1680b7834819d10ebc50a2a799bfe2c",
    "table7_objective_comparison.csv": "237568e79a47e519d2c86f7075bc9001d55ab27cbf816c96bf04fe67f245c173",
}
SUBSETS = "mnist svhn text mnist.svhn mnist.text svhn.text"
PROBE = [f"probe/{subset}" for subset in [*SUBSETS.split(), "mnist.svhn.text"]]
LIKELIHOOD = [f"log_likelihood/{subset}" for subset in ["joint", *SUBSETS.split()]]
COHERENCE = [
    "coherence/joint",
    *("coherence/svhn/mnist", "coherence/text/mnist", "coherence/svhn.text/mnist"),
    *("coherence/mnist/svhn", "coherence/text/svhn", "coherence/mnist.text/svhn"),
    *("coherence/mnist/text", "coherence/svhn/text", "coherence/mnist.svhn/text"),
]
CELEBA = ["probe/image", "probe/text", "probe/image.text", "coherence/image/text", "coherence/text/image"]
PRINTED = {
    "table2": (PROBE, 5.0, {
        "mvae": "0.90±0.01 0.44±0.01 0.85±0.10 0.89±0.01 0.97±0.02 0.81±0.09 0.96±0.02",
        "mmvae": "0.95±0.01 0.79±0.05 0.99±0.01 0.87±0.03 0.93±0.03 0.84±0.04 0.86±0.03",
        "mopoe": "0.95±0.01 0.80±0.03 0.99±0.01 0.97±0.01 0.98±0.01 0.99±0.01 0.98±0.01",
    }),
    "table3": (COHERENCE, 5.0, {
        "mvae": "0.12 0.24 0.20 0.32 0.43 0.30 0.75 0.28 0.17 0.29",
        "mmvae": "0.28 0.75 0.99 0.87 0.31 0.30 0.30 0.96 0.76 0.84",
        "mopoe": "0.31 0.74 0.99 0.94 0.36 0.34 0.37 0.96 0.76 0.93",
    }),
    "table4": (LIKELIHOOD, 5.0, {
        "mvae": "-1790±3.3 -2090±3.8 -1895±0.2 -2133±6.9 -1825±2.6 -2050±2.6 -1855±0.3",
        "mmvae": "-1941±5.7 -1987±1.5 -1857±12 -2018±1.6 -1912±7.3 -2002±1.2 -1925±7.7",
        "mopoe": "-1819±5.7 -1991±2.9 -1858±6.2 -2024±2.6 -1822±5.0 -1987±3.1 -1850±5.8",
    }),
    "table5": (CELEBA, 2.5, {
        "mvae": "0.30 0.31 0.32 0.26 0.33",
        "mmvae": "0.35 0.38 0.35 0.14 0.41",
        "mopoe": "0.40 0.39 0.39 0.15 0.43",
    }),
    "table6": (COHERENCE, 5.0, {
        "mvae": "0.12±0.02 0.24±0.01 0.20±0.05 0.32±0.03 0.43±0.02 0.30±0.08 0.75±0.04 0.28±0.06 0.17±0.02 0.29±0.06",
        "mmvae": "0.28±0.01 0.75±0.06 0.99±0.01 0.87±0.03 0.31±0.03 0.30±0.04 0.30±0.03 0.96±0.01 0.76±0.04 0.84±0.02",
        "mopoe": "0.31±0.03 0.74±0.04 0.99±0.01 0.94±0.01 0.36±0.07 0.34±0.06 0.37±0.06 0.96±0.01 0.76±0.03 0.93±0.01",
    }),
    "table7": (LIKELIHOOD, 2.5, {
        "eq5": "-1810 -1993 -1831 -2039 -1811 -2000 -1839",
        "mopoe": "-1815±12.4 -1990±4.4 -1858±13.2 -2024±1.2 -1819±13.4 -1986±2.5 -1848±11.5",
    }),
    "figure3": (["coherence/joint"], 2.5, {"mvae": "0.036±0.015", "mmvae": "0.200±0.019", "mopoe": "0.121±0.016"}),
}  # fmt: skip
"""Typed from the paper's text, row by row; Figure 3's caption has percent."""


@pytest.mark.parametrize("name", SHA256)
def test_the_files_are_the_transcribed_ones(name):
    """Each CSV of the package has the SHA-256 that it was added with."""
    content = resources.files("orchestrator.report.paper.published").joinpath(name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == SHA256[name]


@pytest.mark.parametrize("table", PRINTED)
def test_every_printed_number_is_loaded_under_its_name(table):
    """The loader gives exactly the cells that the paper's text has: metric, model, mean and sd, and no others."""
    metrics, beta, lines = PRINTED[table]
    typed = {}
    for model, line in lines.items():
        for metric, cell in zip(metrics, line.split(), strict=True):
            mean, _, sd = cell.partition("±")
            typed[metric, model] = (float(mean), float(sd) if sd else None)
    loaded = {(p.metric, p.model): (p.mean, None if math.isnan(p.sd) else p.sd) for p in published(table)}
    assert loaded == typed
    assert len(published(table)) == len(typed)
    assert {p.beta for p in published(table)} == {beta}
    assert {p.table for p in published(table)} == {table}


def test_all_134_numbers_are_there():
    """21 + 30 + 21 + 15 + 30 + 14 + 3 printed numbers."""
    assert [len(published(table)) for table in FILES] == [21, 30, 21, 15, 30, 14, 3]


def test_runs_are_five_or_not_stated():
    """The paper does not say how many runs of Eq. (5) there were; everything else is a mean of five."""
    every = [number for table in FILES for number in published(table)]
    assert {number.n for number in every if number.model != "eq5"} == {5}
    assert {(number.n, bool(number.note)) for number in every if number.model == "eq5"} == {(None, True)}


def test_units_are_those_of_the_metric():
    """Log-likelihoods are in nats, CelebA's numbers are average precisions, shares lie between 0 and 1."""
    for table in FILES:
        for number in published(table):
            if number.dataset == "celeba":
                assert number.units == "average precision"
            elif number.metric.startswith("log_likelihood"):
                assert number.units == "nats"
            else:
                assert number.units == {"probe": "accuracy", "coherence": "share"}[number.metric.partition("/")[0]]
                assert 0 < number.mean < 1


@pytest.mark.parametrize(
    ("dataset", "modalities"),
    [
        ("mnist_svhn_text", ["mnist", "svhn", "text"]),
        ("polymnist", ["m0", "m1", "m2", "m3", "m4"]),
        ("polymnist", ["m0", "m1"]),
        ("celeba", ["image", "text"]),
    ],
)
def test_layouts_ask_for_metrics_that_trials_report(dataset, modalities):
    """Every column's metric is one of the final metrics on these modalities, and no column comes twice."""
    for layout in layouts(dataset, len(modalities)):
        asked = [column.metric for column in layout.columns]
        assert set(asked) <= set(metric_names(modalities))
        assert len(set(asked)) == len(asked) == len({column.text for column in layout.columns})


def test_every_number_has_a_column_and_every_column_but_figure_3s_a_number():
    """Layouts and numbers are of the same tables."""
    for dataset, modalities in (("mnist_svhn_text", 3), ("polymnist", 5), ("celeba", 2)):
        for layout in layouts(dataset, modalities):
            asked = {column.metric.replace("_paper_view", "") for column in layout.columns}
            found = {number.metric for number in published(layout.numbers)}
            assert found == asked if layout.key != "figure3" else found < asked


def test_an_unknown_dataset_has_no_layouts():
    """The paper has no tables for a dataset of one's own."""
    assert layouts("mine.py:load", 2) == ()
