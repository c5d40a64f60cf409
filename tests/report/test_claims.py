"""The paper's claims on trials whose truth is set by hand, and intervals against scipy's own tests."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.metric_names import UNITS, metric_names
from orchestrator.analysis.comparable_groups import front_groups
from orchestrator.analysis.dominance import dominated_count
from orchestrator.analysis.hypervolume import shares_of_the_box
from orchestrator.analysis.intervals import summary
from orchestrator.analysis.model_groups import groups
from orchestrator.analysis.significance.hypotheses import BELOW, Measured, judge, least_p, limit, not_below, verdict, within
from orchestrator.analysis.significance.rank_correlation import tau, tau_p
from orchestrator.report.paper import claim_tables
from orchestrator.report.paper.claims import Claim, evaluate
from orchestrator.report.paper.paper_tables import paper_tables
from orchestrator.spec.trial import Cell
from tests.support.builders import cell, result
from tests.support.naming import names, names_in_order

MODELS = ("mvae", "mmvae", "mopoe")
BETAS = (1, 2.5, 5, 10)
KINDS = {"probe": 0.9, "coherence": 0.6, "log_likelihood": -1900.0, "log_likelihood_paper_view": -1800.0}


def evaluate_on(cells, seeds, results):
    """Returns the claims of these cells and trials."""
    return evaluate(groups(cells, seeds, results))


def numbers(values, seeds=5, spread=0.01):
    """Seed to number, with a fixed spread whose mean is nought."""
    wiggle = np.linspace(-spread, spread, seeds)
    return {seed: values + float(wiggle[seed]) for seed in range(seeds)}


def polymnist(model, beta=2.5, **more):
    """A PolyMNIST cell."""
    return Cell(
        TrainingConfig.model_validate({"dataset": "polymnist", "networks": "small", "model": model, "beta": beta, **more})
    )


def sweep(cells, seeds, shifts, noise=0.001):
    """Every metric of every cell at its kind's base plus noise; `shifts(config, name)` is added to its mean."""
    chance, found = np.random.default_rng(0), []
    for of, seed in itertools.product(cells, range(seeds)):
        values = {}
        for name in metric_names(of.config.modalities):
            kind = name.partition("/")[0]
            scale = 100 if UNITS[kind] == "nats" else 1
            values[name] = KINDS[kind] + scale * noise * chance.normal() + shifts(of.config, name)
        found.append(result(of, seed, values))
    return found


def like_the_paper(config, name):
    """Shifts under which every claim on MNIST-SVHN-Text and PolyMNIST holds."""
    kind, subset, *target = name.split("/")
    size = config.M if subset == "joint" else int(subset[6:]) if subset.startswith("given_") else subset.count(".") + 1
    model = config.model
    if name == "coherence/joint":
        base = {"mvae": -0.5, "mmvae": -0.2, "mopoe": -0.25}[model] + 0.02 * math.log(config.beta)
        return base + (0.04 if model == "mopoe" and config.dataset == "mnist_svhn_text" else 0)
    if UNITS[kind] == "nats":
        return {"mvae": 0.0, "mmvae": -150.0, "mopoe": -150.0 + 120 * (size - 1) / (config.M - 1)}[model] - 3 * config.beta
    if model == "mvae":
        return 0.2 if (subset, target) == ("mnist.text", ["svhn"]) else -0.3 if subset == "svhn" else 0.0
    return 0.08 * (size - 1) if model == "mopoe" and (kind == "probe" or size < config.M) else 0.0


CELLS = [cell(model, beta) for model in MODELS for beta in BETAS] + [cell("eq5", 2.5), cell("mopoe", 2.5, missing=0.5)]
POLY = [polymnist(model) for model in MODELS]


def by_id(claims, group=0):
    """The claims of one group."""
    labels = list(dict.fromkeys(claim.group for claim in claims))
    return {claim.id: claim for claim in claims if claim.group == labels[group]}


@pytest.fixture(scope="module")
def paper():
    """Five seeds in which the paper is right throughout."""
    return evaluate_on([*CELLS, *POLY], range(5), sweep([*CELLS, *POLY], 5, like_the_paper))


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_effect_and_interval_are_those_of_a_paired_t_test(seeds):
    """C1's numbers equal scipy's paired test on the same trials."""
    results = sweep(CELLS, seeds, like_the_paper, 0.1)
    comparison = by_id(evaluate_on(CELLS, range(seeds), results))["C1"].comparisons[0]
    picked = [
        [r.value("log_likelihood/joint") for r in results if r.trial.config.beta == 5 and r.trial.config.model == model]
        for model in ("mvae", "mmvae")
    ]
    expected = stats.ttest_rel(*picked).confidence_interval(0.95)
    assert comparison.what == "mvae − mmvae: log_likelihood/joint"
    assert comparison.effect == pytest.approx(np.subtract(*picked).mean())
    assert (comparison.low, comparison.high) == pytest.approx((expected.low, expected.high))
    assert (comparison.n, comparison.n_planned) == (seeds, seeds)


def test_every_claim_is_supported_where_the_paper_is_right(paper):
    """Trials made so that a claim holds by far more than the noise support it, on both datasets."""
    assert {claim.id: claim.verdict for claim in by_id(paper).values()} == dict.fromkeys(
        [f"C{i}" for i in range(1, 11)], "supported"
    )
    assert set(by_id(paper, 2)) == {"C1", "C2", "C3", "C5", "C7", "C11"}
    assert {claim.verdict for claim in by_id(paper, 2).values()} == {"supported"}


def test_every_claim_is_contradicted_where_its_opposite_holds():
    """With models exchanged or shifts turned round, each claim of MNIST-SVHN-Text has an interval wholly on the other side."""

    def opposite(config, name):
        kind, model = name.partition("/")[0], config.model
        if name == "coherence/joint":
            return {"mvae": 0.2, "mmvae": 0.0, "mopoe": -0.2}[model] - 0.05 * math.log(config.beta)
        if UNITS[kind] == "nats":
            shift = {"mvae": -500.0, "mmvae": 100.0, "mopoe": -60.0 * config.beta}[model] + 3 * config.beta
            return shift + (200 if config.estimator == "enumerate" and model == "mopoe" else 0)
        size = int(name[-1]) if "given_" in name else name.split("/")[1].count(".") + 1
        return {"mvae": -0.1, "mmvae": 0.1, "mopoe": -0.1 * size}[model] if "svhn" not in name else 0.2 * (model == "mmvae")

    found = by_id(evaluate_on(CELLS, range(5), sweep(CELLS, 5, opposite)))
    assert {name: claim.verdict for name, claim in found.items()} == dict.fromkeys(found, "contradicted")


def test_noise_alone_decides_nothing_that_says_above():
    """Models that differ in noise only: every claim of a difference is undecided, that of a factor too."""
    found = by_id(evaluate_on(CELLS, range(5), sweep(CELLS, 5, lambda config, name: 0.0, 0.05)))
    assert {found[name].verdict for name in ("C1", "C4", "C6", "C7", "C8", "C9")} == {"undecided"}


def test_one_seed_has_no_interval_and_decides_nothing(paper):
    """However large the effect, n = 1 is undecided and its interval NaN."""
    found = evaluate_on(CELLS, [0], sweep(CELLS, 1, like_the_paper))
    assert {claim.verdict for claim in by_id(found).values()} == {"undecided"}
    assert all(math.isnan(c.low) and math.isnan(c.high) and c.n == 1 for claim in found for c in claim.comparisons)


def test_missing_seeds_are_shown_and_not_decided():
    """Without one seed of MMVAE at beta 5, C1 has four pairs, says so, and stays open; C2, which does not need it, is decided."""
    lost = cell("mmvae", 5)
    results = [r for r in sweep(CELLS, 5, like_the_paper) if not (r.trial.cell == lost and r.trial.seed == 3)]
    found = by_id(evaluate_on(CELLS, range(5), results))
    assert (found["C1"].verdict, found["C1"].decides.n, found["C2"].verdict) == ("undecided", 4, "supported")
    assert names_in_order(found["C1"].note, 4, 5, "seeds")


def test_a_claim_without_its_models_says_what_it_needs():
    """With MoPoE alone nothing can be compared, and each claim names what is absent; beta's trend needs no other model."""
    cells = [cell("mopoe", beta) for beta in BETAS]
    found = by_id(evaluate_on(cells, range(5), sweep(cells, 5, like_the_paper)))
    assert found.pop("C8").verdict == "supported"
    assert {claim.verdict for claim in found.values()} == {"not tested"}
    models = ("mvae", "mmvae", "mopoe", "eq5")
    named = {claim: {model for model in models if names(found[claim].note, model)} for claim in ("C1", "C10", "C9")}
    assert named == {"C1": {"mvae", "mmvae"}, "C10": {"eq5"}, "C9": {"mvae", "mmvae"}}


def test_a_claim_without_its_metrics_says_what_it_needs():
    """Trials that report nothing but the two joint numbers cannot speak of C3."""
    results = sweep(CELLS, 2, like_the_paper)
    kept = ("coherence/joint", "log_likelihood/joint")
    bare = [result(r.trial.cell, r.trial.seed, {name: r.value(name) for name in kept}) for r in results]
    found = by_id(evaluate_on(CELLS, range(2), bare))
    assert found["C3"].verdict == "not tested"
    assert "mopoe − mmvae: probe/given_1" in found["C3"].note
    assert found["C1"].verdict == "supported"


def test_the_nearest_shared_beta_is_taken_and_named(paper):
    """Without beta 5 in MVAE every claim is read off beta 2.5, as near by ratio as 10 and lower, as the tables are; the note says so."""
    cells = [of for of in CELLS if (of.config.model, of.config.beta) != ("mvae", 5)]
    results = sweep(cells, 3, like_the_paper)
    found = by_id(evaluate_on(cells, range(3), results))
    assert found["C1"].note == found["C3"].note
    assert names_in_order(found["C1"].note, "β = 2.5", 5)
    assert by_id(paper)["C3"].note == "β = 5"
    assert names(by_id(paper)["C10"].note, "β = 2.5", "KL", "estimator")


@pytest.mark.parametrize(
    ("betas", "chosen"),
    [
        (((2, 9), (2, 9), (2, 9)), 9),
        (((1,), (1,), (1, 5)), 1),
        (((1, 2.5), (2.5, 5), (2.5, 5)), 2.5),
        (((1,), (5,), (1, 5)), 5),
    ],
)
def test_tables_and_claims_are_of_one_beta(betas, chosen):
    """Whatever betas the three models have, C3's beta is that of Tables 2 to 4: first what most models share, then what is near."""
    cells = [cell(model, beta) for model, own in zip(MODELS, betas, strict=True) for beta in own]
    results = sweep(cells, 2, like_the_paper)
    assert {table.beta for table in paper_tables(front_groups(cells, results).groups, range(2))} == {chosen}
    assert by_id(evaluate_on(cells, range(2), results))["C3"].note.split(", ")[0] == f"β = {chosen}"


def test_cells_that_differ_in_more_than_the_model_are_not_compared(paper):
    """Hidden modalities make a group of its own, whose label says so and whose claims lack the other models."""
    labels = list(dict.fromkeys(claim.group for claim in paper))
    assert len(labels) == 3
    assert labels[0].endswith("missing=0.0")
    assert labels[1].endswith("missing=0.5")
    assert by_id(paper, 1)["C1"].verdict == "not tested"


def test_of_several_settings_of_a_model_the_papers_own_is_taken():
    """With the KL of the mixture and the sum of KLs both in a sweep, the line is the one nearer to the paper's setting."""
    cells = [cell("mopoe", 5, kl="sum", prior_expert="full"), cell("mopoe", 5, kl="mixture"), cell("eq5", 5)]
    (group,) = groups(cells, [0], [])
    assert group.line("mopoe") == {5: cells[1]}
    assert group.line("eq5") == {5: cells[2]}


def test_released_log_likelihoods_are_shown_and_do_not_decide():
    """With `paper_view` turned against the claim alone, C1 stays supported and its extra comparisons are contradicted."""

    def turned(config, name):
        return like_the_paper(config, name) * (-1 if "paper_view" in name else 1)

    claim = by_id(evaluate_on(CELLS, range(5), sweep(CELLS, 5, turned)))["C1"]
    extra = [comparison for comparison in claim.comparisons if not comparison.counts]
    assert (claim.verdict, len(extra)) == ("supported", 2)
    assert all("paper_view" in c.what and c.outcome == "contradicted" for c in extra)


@pytest.mark.parametrize(
    ("mean", "expected"),
    [(0.0, "supported"), (0.095, "undecided"), (0.1, "undecided"), (0.15, "contradicted"), (-0.15, "contradicted")],
)
def test_equivalence_is_two_one_sided_tests(mean, expected):
    """Inside the margin is supported, wholly outside contradicted, across it undecided; scipy's one-sided tests agree."""
    sample = numbers(mean)
    comparison = judge(Measured("x", "share", sample, within(0.1)), 5, 1)
    tests = [
        stats.ttest_1samp(list(sample.values()), at, alternative=side).pvalue for at, side in ((0.1, "less"), (-0.1, "greater"))
    ]
    assert comparison.outcome == expected
    assert (max(tests) < 0.025) == (expected == "supported")


def test_contradiction_alone_is_corrected_for_several_comparisons():
    """An interval just below nought contradicts by itself and not among nine; support is the same either way."""
    sample = numbers(-0.01)
    assert summary(list(sample.values())).high < 0 < summary(list(sample.values()), 1 - 0.05 / 9).high
    assert [judge(Measured("x", "share", sample), 5, k).outcome for k in (1, 9)] == ["contradicted", "undecided"]
    assert [judge(Measured("x", "share", sample, BELOW), 5, k).outcome for k in (1, 9)] == ["supported", "supported"]


def test_a_verdict_needs_all_to_support_and_one_to_contradict():
    """Over all pairs of outcomes."""
    judged = [judge(Measured("x", "share", numbers(mean)), 5, 1) for mean in (1.0, 0.0, -1.0)]
    table = {(a.outcome, b.outcome): verdict([a, b]) for a in judged for b in judged}
    for pair, said in table.items():
        expected = "contradicted" if "contradicted" in pair else "undecided" if "undecided" in pair else "supported"
        assert said == expected


def test_the_comparison_that_stands_for_a_claim_is_the_least_favourable(paper):
    """Where all have the same outcome, every other one that counts is at least as many half widths on the claimed side."""
    for claim in paper:
        if claim.decides:
            assert claim.decides.clearance == min(c.clearance for c in claim.comparisons if c.counts)
            assert claim.decides.clearance > 1
            assert claim.decides.outcome == claim.verdict == "supported"


def test_the_comparison_that_stands_for_a_claim_has_its_verdict():
    """Over every set of three comparisons that are alike, clear, turned round or short of seeds; these go before other open ones."""
    shifts = {"alike": 0.0, "clear": 1.0, "turned": -1.0}
    judged = {name: judge(Measured(name, "share", numbers(shift, spread=0.0)), 5, 3) for name, shift in shifts.items()}
    judged["short"] = judge(Measured("short", "share", numbers(9.0, 4)), 5, 3)
    judged["none"] = judge(Measured("none", "share", {}), 5, 3)
    assert judged["alike"].clearance == 0
    for three in itertools.product(judged.values(), repeat=3):
        claim = Claim("", "", "", "", "", three, verdict(three), "")
        assert claim.decides.outcome == claim.verdict
        if claim.verdict == "undecided" and any(c.n < 5 for c in three):
            assert claim.decides.n < 5


def test_missing_seeds_are_said_of_a_contradicted_claim():
    """MMVAE above MVAE contradicts C1 although MoPoE lacks a seed; the row is MVAE's, and the note says that the other is open."""
    lost = cell("mopoe", 5)

    def turned(config, name):
        return {"mvae": -20.0, "mmvae": 0.0, "mopoe": -200.0}[config.model] if name == "log_likelihood/joint" else 0.0

    results = [r for r in sweep(CELLS, 5, turned) if not (r.trial.cell == lost and r.trial.seed == 1)]
    claim = by_id(evaluate_on(CELLS, range(5), results))["C1"]
    assert (claim.verdict, claim.decides.what, claim.decides.n) == ("contradicted", "mvae − mmvae: log_likelihood/joint", 5)
    assert names_in_order(claim.note, 1, 2, 4, 5)


@pytest.mark.parametrize("model", ["mvae", "mmvae"])
def test_a_model_that_completed_no_seed_leaves_trend_and_front_open(model):
    """All of a model's trials at beta 10 are missing: C8 and C9 are undecided, show it with n = 0, and say so."""
    lost = cell(model, 10)
    found = by_id(evaluate_on(CELLS, range(5), [r for r in sweep(CELLS, 5, like_the_paper) if r.trial.cell != lost]))
    for name in ("C8", "C9"):
        assert found[name].verdict == "undecided"
        assert found[name].decides.n == 0
        assert model in found[name].decides.what
        assert names_in_order(found[name].note, 0, 5, "seeds")
    assert not any("paper_view" in c.what and c.n == 0 for name in ("C8", "C9") for c in found[name].comparisons)


def test_no_completed_seed_at_all_is_not_tested():
    """With nothing to count in any comparison C8 and C9 say what they need."""
    found = by_id(evaluate_on(CELLS, range(5), []))
    assert {claim.verdict for claim in found.values()} == {"not tested"}
    assert found["C9"].note == "needs a seed that completed all of betas 1, 2.5, 5, 10"  # the one note in full


def test_a_model_with_too_few_betas_leaves_the_trend_open():
    """MVAE has two betas only: C8 is undecided and names it, though the two others rise and fall as claimed."""
    cells = [of for of in CELLS if of.config.model != "mvae" or of.config.beta < 5]
    claim = by_id(evaluate_on(cells, range(5), sweep(cells, 5, like_the_paper)))["C8"]
    assert claim.verdict == "undecided"
    (part,) = [part for part in claim.note.split("; ") if names(part, 3)]
    assert names(part, "betas", "mvae")
    assert not names(part, "mmvae")
    assert {c.outcome for c in claim.comparisons if c.counts and "mvae:" in c.what and "mmvae" not in c.what} == {"undecided"}


def test_two_seeds_at_three_betas_cannot_decide_the_trend():
    """(1/6)^2 is more than 2.5 %: perfect order is undecided and said to be too little; a third seed or a fourth beta is enough."""
    three = [of for of in CELLS if of.config.beta < 10]
    verdicts = {}
    for cells, seeds in ((three, 2), (three, 3), (CELLS, 2)):
        claim = by_id(evaluate_on(cells, range(seeds), sweep(cells, seeds, like_the_paper)))["C8"]
        verdicts[len(cells), seeds] = claim.verdict
        assert names(claim.note, "too few") == (claim.verdict == "undecided")
    assert list(verdicts.values()) == ["undecided", "supported", "supported"]


@pytest.mark.parametrize(("seeds", "betas"), [(2, 3), (3, 3), (2, 6)])
def test_noise_seldom_decides_the_trend(seeds, betas):
    """Of 2000 comparisons of random numbers with few seeds at most 2.5 % fall on either side, as the level says."""
    chance = np.random.default_rng(2)
    outcomes = []
    for _ in range(2000):
        values = chance.normal(size=(seeds, betas)).tolist()
        sample = {seed: tau(own) for seed, own in enumerate(values)}
        outcomes.append(judge(Measured("x", "tau", sample, p=tau_p(values)), seeds, 1).outcome)
    for outcome in ("supported", "contradicted"):
        assert outcomes.count(outcome) / len(outcomes) <= 0.035  # three standard errors above 2.5 %


@pytest.mark.parametrize("samples", [[[3, 1, 2]], [[1, 1, 2], [3, 2, 1]], [[0, 0, 0], [1, 2, 3]], [[1, 2, 2, 1], [4, 3, 1, 2]]])
def test_the_exact_p_is_a_count_of_all_orders(samples):
    """With ties and without, against every permutation of every sample, each as likely."""
    observed = sum(tau(values) for values in samples)
    null = [sum(map(tau, orders)) for orders in itertools.product(*(itertools.permutations(values) for values in samples))]
    high, low = (np.mean([sign * found >= sign * observed - 1e-9 for found in null]) for sign in (1, -1))
    assert tau_p(samples) == pytest.approx((high, low))


def test_tau_and_its_p_are_scipys_for_one_sample_without_ties():
    """Over random orders of six and nine values, with scipy's exact test."""
    chance = np.random.default_rng(3)
    for size in (6, 9):
        values = chance.permutation(size).tolist()
        greater, less = (stats.kendalltau(range(size), values, method="exact", alternative=side) for side in ("greater", "less"))
        assert tau(values) == pytest.approx(greater.statistic)
        assert tau_p([values]) == pytest.approx((greater.pvalue, less.pvalue))


@pytest.mark.parametrize(("seeds", "expected"), [(2, "undecided"), (3, "undecided"), (4, "supported"), (5, "supported")])
def test_few_seeds_that_agree_to_the_digit_decide_nothing(seeds, expected):
    """An interval of no width from two or three seeds is no certainty, on either side."""
    outcomes = {side: judge(Measured("x", "share", numbers(side, seeds, 0.0)), seeds, 1).outcome for side in (0.1, -0.1)}
    assert outcomes[0.1] == expected
    assert outcomes[-0.1] == ("contradicted" if expected == "supported" else "undecided")


def test_being_better_than_eq5_reaches_it():
    """MoPoE 100 nats above Eq. (5) supports C10, 100 below contradicts it."""
    for shift, expected in ((-100, "supported"), (100, "contradicted")):

        def moved(config, name, shift=shift):
            eq5 = config.published_model == "eq5" and "log_likelihood" in name
            return like_the_paper(config, name) + (shift if eq5 else 0)

        assert by_id(evaluate_on(CELLS, range(5), sweep(CELLS, 5, moved)))["C10"].verdict == expected


@pytest.mark.parametrize(
    ("mean", "expected"), [(5.0, "supported"), (-0.05, "supported"), (-0.1, "undecided"), (-0.2, "contradicted")]
)
def test_not_being_inferior_is_one_one_sided_test(mean, expected):
    """Above minus the margin, however far, is supported; scipy's one-sided test agrees."""
    sample = numbers(mean)
    comparison = judge(Measured("x", "nats", sample, not_below(0.1)), 5, 1)
    p = stats.ttest_1samp(list(sample.values()), -0.1, alternative="greater").pvalue
    assert (comparison.outcome, str(comparison.claimed)) == (expected, "> −0.1")
    assert (p < 0.025) == (expected == "supported")


def test_the_note_says_on_which_side_of_a_margin_it_fell():
    """MoPoE 60 nats above MVAE contradicts C2 from above, 60 below from below."""
    for shift, side in ((60, "above"), (-60, "below")):

        def moved(config, name, shift=shift):
            return shift if config.model == "mopoe" and "log_likelihood" in name else 0.0

        claim = by_id(evaluate_on(CELLS, range(5), sweep(CELLS, 5, moved)))["C2"]
        assert claim.verdict == "contradicted"
        assert names(claim.note, "mopoe − mvae", "log_likelihood/joint", side, "± 37.8")
        assert not names(claim.note, {"above": "below", "below": "above"}[side])


@pytest.mark.parametrize(
    ("mvae", "others", "expected"),
    [(0.2, 0.58, "supported"), (0.3, 0.58, "undecided"), (0.55, 0.99, "undecided"), (0.5, 0.3, "contradicted")],
)
def test_far_above_is_contradicted_by_the_plain_difference_alone(mvae, others, expected):
    """1.93 times as much, and as much as a share allows, leave C7 open; being below contradicts it."""

    def joint(config, name):
        return (mvae if config.model == "mvae" else others) - KINDS["coherence"] if name == "coherence/joint" else 0.0

    assert by_id(evaluate_on(CELLS, range(5), sweep(CELLS, 5, joint)))["C7"].verdict == expected


def test_the_front_is_claimed_to_be_larger_and_domination_is_counted(paper):
    """C9's statement and test speak of the hypervolume; the note counts dominated points as `dominated_count` does."""
    claim = by_id(paper)["C9"]
    assert "hypervolume" in claim.statement
    assert names_in_order(claim.note, "MoPoE", 0, 4, "mvae")


def test_two_modalities_have_no_gain_in_coherence():
    """C5 on PolyMNIST's first two modalities compares no metric with itself."""
    cells = [polymnist(model, modality_count=2) for model in MODELS]
    claim = by_id(evaluate_on(cells, range(5), sweep(cells, 5, like_the_paper)))["C5"]
    assert [c.what.split(": ")[1] for c in claim.comparisons if c.counts] == [
        f"{kind}/given_2 − {kind}/given_1" for kind in ("probe", "log_likelihood") for _ in range(2)
    ]


def test_eq5_is_the_sum_of_kls_with_every_component_decoded():
    """MoPoE with every component decoded and the mixture's KL is another setting of MoPoE, in tables and claims alike."""
    cells = [cell("mopoe", 2.5, estimator="enumerate", kl="mixture"), cell("mopoe", 2.5)]
    results = sweep(cells, 2, like_the_paper)
    claim = by_id(evaluate_on(cells, range(2), results))["C10"]
    assert claim.verdict == "not tested"
    assert names(claim.note, "eq5")
    assert not any(table.key == "table7" for table in paper_tables(front_groups(cells, results).groups, range(2)))
    (group,) = groups(cells, [0], [])
    assert group.line("mopoe") == {2.5: cells[1]}


def test_hypervolumes_are_areas_of_unions_and_share_one_box():
    """Against a grid that counts cells, with the worst value of all points as reference."""
    chance = np.random.default_rng(1)
    points = {model: {0: chance.integers(0, 11, (4, 2)).astype(float)} for model in MODELS}
    every = np.concatenate([array[0] for array in points.values()])
    low, high = every.min(0), every.max(0)
    centres = [np.arange(a, b) + 0.5 for a, b in zip(low, high, strict=True)]
    for model, volume in shares_of_the_box(points).items():
        hit = [any(p[0] > x and p[1] > y for p in points[model][0]) for x in centres[0] for y in centres[1]]
        assert volume[0] == pytest.approx(np.mean(hit))


def test_dominated_points_are_counted_as_by_a_loop():
    """Over random points with ties."""
    for seed in range(20):
        front, others = np.random.default_rng(seed).integers(0, 4, (2, 6, 2)).astype(float)
        expected = sum(any((f >= o).all() and (f > o).any() for f in front) for o in others)
        assert dominated_count(front, others) == expected


def test_the_sign_test_limit_is_that_of_scipys_binomial_test():
    """All of n differences on one side is the most that a sign test can see; the sentence says whether that is enough."""
    for n in range(2, 9):
        assert least_p(n) == pytest.approx(stats.binomtest(n, n).pvalue)
        assert ("cannot" in limit(n)) == (n < 6)
    assert "p ≥ 0.0625" in limit(5)
    assert limit(1) != limit(2)


def test_tables_have_every_claim_and_comparison(paper):
    """The frame has a row a comparison; Markdown and LaTeX name each claim, its verdict, and the limit of five seeds."""
    table = claim_tables.frame(paper)
    assert len(table) == sum(max(1, len(claim.comparisons)) for claim in paper)
    assert set(table["least_p"].dropna()) == {0.0625}
    page, tex = claim_tables.markdown(paper), claim_tables.latex(paper, "a command\n")
    for text in (page, tex):
        assert all(text.count(f"C{i}") >= 2 for i in range(1, 12))
        assert "0.0625" in text
        assert "supported" in text
    widths = {line.count("|") for line in page.splitlines() if line.startswith("| C1 ")}
    assert widths == {9}
    assert "exact p = " in page
    assert table[table["id"] == "C8"]["p"].dropna().between(0, 0.025).all()
    assert table[table["id"] == "C1"]["p"].isna().all()


def test_latex_is_plain_text_that_any_engine_reads(paper):
    """No character outside ASCII, no bare underscore or percent, every environment closed."""
    tex = claim_tables.latex(paper, "a command\n")
    assert tex.isascii()
    assert tex.count(r"\begin{tabular}") == tex.count(r"\end{tabular}") == 2
    body = [line for line in tex.splitlines() if not line.startswith("%")]
    assert all(line.replace(r"\_", "").replace(r"\%", "").isascii() for line in body)
    assert not any("_" in line.replace(r"\_", "") or "%" in line.replace(r"\%", "") for line in body)


def test_no_cells_no_claims():
    """An empty sweep is empty tables."""
    assert evaluate_on([], [0], []) == []
    assert claim_tables.frame([]).empty
