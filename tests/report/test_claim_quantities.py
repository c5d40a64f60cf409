"""Sums of metrics of models: their arithmetic, their formulas, and which log-likelihood they ask for."""

import pytest

from orchestrator.analysis.model_groups import groups
from orchestrator.report.paper.claim_quantities import MIXTURE, VIEW, Contrast, likelihood, likelihood_given, of
from tests.support.builders import cell, result

NAMES = ("mnist", "svhn", "text")
MVAE, MOPOE = of("mvae", "coherence/joint"), of("mopoe", "coherence/joint")


@pytest.fixture
def group():
    """MVAE with three seeds and MoPoE with two of them, in one group, and the cell of each."""
    cells = {model: cell(model) for model in ("mvae", "mopoe")}
    values = [("mvae", 0, 0.1), ("mvae", 1, 0.2), ("mvae", 2, 0.3), ("mopoe", 0, 0.5), ("mopoe", 2, 0.4)]
    results = [result(cells[model], seed, {"coherence/joint": value}) for model, seed, value in values]
    (only,) = groups(list(cells.values()), range(3), results)
    return only, cells


def test_a_sum_is_computed_seed_by_seed_where_every_model_has_the_seed(group):
    """MoPoE − 1.5 × MVAE, by hand."""
    assert (MOPOE - 1.5 * MVAE).sample(*group) == pytest.approx({0: 0.35, 2: -0.05})


def test_terms_of_one_metric_are_one_term_and_may_cancel(group):
    """Written in two ways, a quantity is equal, and what cancels needs no seeds."""
    assert MOPOE - (2 / 3 * MVAE + 1 / 3 * MVAE) == MOPOE - MVAE
    assert (MOPOE - MVAE + MVAE).sample(*group) == pytest.approx({0: 0.5, 2: 0.4})
    assert (MOPOE + MVAE - MOPOE).sample(*group) == pytest.approx({0: 0.1, 1: 0.2, 2: 0.3})


@pytest.mark.parametrize(
    ("quantity", "formula"),
    [
        (MOPOE - 1.5 * MVAE, "mopoe − 1.5 × mvae: coherence/joint"),
        (of("mvae", "probe/given_2") - of("mvae", "probe/given_1"), "mvae: probe/given_2 − probe/given_1"),
        (of("mvae", "probe/a") - 1 / 3 * of("mopoe", "probe/b"), "mvae probe/a − 0.333 × mopoe probe/b"),
    ],
)
def test_a_formula_names_once_what_its_terms_share(quantity, formula):
    """The model, the metric, or neither."""
    assert str(quantity) == formula


def test_opposed_quantities_are_measured_on_the_same_seeds(group):
    """What contradicts a claim has a number for every seed that supports it."""
    measured = Contrast(MOPOE - 1.5 * MVAE, opposed=(MOPOE - MVAE,)).measured(*group)
    assert measured.opposed == (pytest.approx({0: 0.4, 2: 0.1}),)
    assert measured.sample.keys() == measured.opposed[0].keys()


def test_mmvae_alone_is_measured_with_single_members():
    """As the paper does: the mean over the given modalities of the bound given one. The mixture's own and the released number stand as
    they are, and so do other models'.
    """
    assert likelihood("mmvae", 3, NAMES) == likelihood("mmvae", 2, NAMES) == of("mmvae", "log_likelihood/given_1")
    assert likelihood("mopoe", 3, NAMES) == likelihood("mopoe", 3, NAMES, MIXTURE) == of("mopoe", "log_likelihood/joint")
    assert likelihood("mmvae", 3, NAMES, MIXTURE) == of("mmvae", "log_likelihood/joint")
    assert likelihood("mmvae", 2, NAMES, VIEW) == of("mmvae", "log_likelihood_paper_view/given_2")
    pair = 0.5 * of("mmvae", "log_likelihood/mnist") + 0.5 * of("mmvae", "log_likelihood/text")
    assert likelihood_given("mmvae", ("mnist", "text"), NAMES) == pair
    assert likelihood_given("mopoe", NAMES, NAMES) == of("mopoe", "log_likelihood/joint")
