"""The paper's claims on trials whose truth is set by hand, and intervals against scipy's own tests."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.metric_names import UNITS, metric_names
from orchestrator.analysis.comparable_groups import front_groups
from orchestrator.analysis.model_groups import groups
from orchestrator.analysis.significance.hypotheses import Measured, compare_with_claim, verdict
from orchestrator.report.paper import claim_tables
from orchestrator.report.paper.claim_rules import RULES
from orchestrator.report.paper.claims import Claim, evaluate
from orchestrator.report.paper.paper_tables import paper_tables
from orchestrator.report.paper.published import published
from orchestrator.spec.sweep_file import load
from orchestrator.spec.trial import Cell
from tests.support.builders import cell, result
from tests.support.naming import names, names_in_order

ROOT = Path(__file__).parents[2]
MODELS = ("mvae", "mmvae", "mopoe")
BETAS = (1, 2.5, 5, 10)
KINDS = {"probe": 0.9, "coherence": 0.6, "log_likelihood": -1900.0, "log_likelihood_paper_view": -1800.0}


def evaluate_on(cells, seeds, results):
    """Returns the claims of these cells and trials."""
    return evaluate(groups(cells, seeds, results))


def numbers(value, seeds=5, spread=0.01):
    """Seed to number, with a fixed spread whose mean is zero."""
    return {seed: value + float(wiggle) for seed, wiggle in enumerate(np.linspace(-spread, spread, seeds))}


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
        return {"mvae": 0.0, "mmvae": -150.0, "mopoe": -150.0 + 120 * (size - 1) / (config.M - 1)}[model] - 7 * config.beta
    if model == "mvae":
        return 0.2 if (subset, target) == ("mnist.text", ["svhn"]) else -0.3 if subset in ("svhn", "given_1") else 0.0
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
    """C1's numbers equal scipy's paired test on the same trials; MMVAE's are those of single members of its mixture."""
    results = sweep(CELLS, seeds, like_the_paper, 0.1)
    comparison = by_id(evaluate_on(CELLS, range(seeds), results))["C1"].comparisons[0]
    picked = [
        [r.value(f"log_likelihood/{subset}") for r in results if r.trial.config.beta == 5 and r.trial.config.model == model]
        for model, subset in (("mvae", "joint"), ("mmvae", "given_1"))
    ]
    expected = stats.ttest_rel(*picked).confidence_interval(0.95)
    assert comparison.what == "mvae log_likelihood/joint − mmvae log_likelihood/given_1"
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


def test_noise_alone_decides_nothing():
    """Models that differ in noise only: every claim is undecided, those that say close or match too."""
    claims = by_id(evaluate_on(CELLS, range(5), sweep(CELLS, 5, lambda config, name: 0.0, 0.05)))
    assert {claim.verdict for claim in claims.values()} == {"undecided"}


def test_one_seed_has_no_interval_and_decides_nothing(paper):
    """However large the effect, n = 1 is undecided and its interval NaN."""
    found = evaluate_on(CELLS, [0], sweep(CELLS, 1, like_the_paper))
    assert {claim.verdict for claim in by_id(found).values()} == {"undecided"}
    assert all(math.isnan(c.low) and math.isnan(c.high) and c.n == 1 for claim in found for c in claim.comparisons)


def test_missing_seeds_are_shown_and_not_decided():
    """Without one seed of MMVAE at beta 5, C1 has four pairs, says so, and stays open; C10, which does not need it, is decided."""
    lost = cell("mmvae", 5)
    results = [r for r in sweep(CELLS, 5, like_the_paper) if not (r.trial.cell == lost and r.trial.seed == 3)]
    found = by_id(evaluate_on(CELLS, range(5), results))
    assert (found["C1"].verdict, found["C1"].decides.n, found["C10"].verdict) == ("undecided", 4, "supported")
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
    """Trials that report nothing but joint numbers and MMVAE's single members cannot speak of C3."""
    results = sweep(CELLS, 2, like_the_paper)
    kept = ("coherence/joint", "log_likelihood/joint", "log_likelihood/given_1")
    bare = [result(r.trial.cell, r.trial.seed, {name: r.value(name) for name in kept}) for r in results]
    found = by_id(evaluate_on(CELLS, range(2), bare))
    assert found["C3"].verdict == "not tested"
    assert "probe/given_1" in found["C3"].note
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
    """Whatever betas the three models have, C4's beta is that of Tables 2 to 4: first what most models share, then what is near."""
    cells = [cell(model, beta) for model, own in zip(MODELS, betas, strict=True) for beta in own]
    results = sweep(cells, 2, like_the_paper)
    assert {table.beta for table in paper_tables(front_groups(cells, results).groups, range(2))} == {chosen}
    assert by_id(evaluate_on(cells, range(2), results))["C4"].note.split(", ")[0] == f"β = {chosen}"


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
    extra = [comparison for comparison in claim.comparisons if comparison.role == "shown"]
    views = [comparison for comparison in extra if "paper_view" in comparison.what]
    assert (claim.verdict, len(views)) == ("supported", 2)
    assert {comparison.outcome for comparison in views} == {"contradicted"}


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
    comparisons = {
        name: compare_with_claim(Measured(name, "share", numbers(shift, spread=0.0)), 5, 3) for name, shift in shifts.items()
    }
    comparisons["short"] = compare_with_claim(Measured("short", "share", numbers(9.0, 4)), 5, 3)
    comparisons["none"] = compare_with_claim(Measured("none", "share", {}), 5, 3)
    assert comparisons["alike"].clearance == 0
    for three in itertools.product(comparisons.values(), repeat=3):
        claim = Claim(RULES[0], "mnist_svhn_text", "", 5, three, verdict(three), "")
        assert claim.decides.outcome == claim.verdict
        if claim.verdict == "undecided" and any(c.n < 5 for c in three):
            assert claim.decides.n < 5


def test_missing_seeds_are_said_of_a_contradicted_claim():
    """MMVAE above MVAE contradicts C1 although MoPoE lacks a seed; the row is MVAE's, and the note says that the other is open."""
    lost = cell("mopoe", 5)

    def turned(config, name):
        return {"mvae": -20.0, "mmvae": 0.0, "mopoe": -200.0}[config.model] if name.startswith("log_likelihood/") else 0.0

    results = [r for r in sweep(CELLS, 5, turned) if not (r.trial.cell == lost and r.trial.seed == 1)]
    claim = by_id(evaluate_on(CELLS, range(5), results))["C1"]
    assert (claim.verdict, claim.decides.what, claim.decides.n) == (
        "contradicted",
        "mvae log_likelihood/joint − mmvae log_likelihood/given_1",
        5,
    )
    assert names_in_order(claim.note, 1, 2, 4, 5)


@pytest.mark.parametrize("model", ["mvae", "mmvae"])
def test_a_model_that_completed_no_seed_leaves_trend_and_front_open(model):
    """All of a model's trials at beta 10 are missing: C8 names what it needs; C9 is undecided, shows it with n = 0, and says so."""
    lost = cell(model, 10)
    found = by_id(evaluate_on(CELLS, range(5), [r for r in sweep(CELLS, 5, like_the_paper) if r.trial.cell != lost]))
    assert found["C8"].verdict == "not tested"
    assert names(found["C8"].note, *MODELS, "betas", 10)
    assert found["C9"].verdict == "undecided"
    assert found["C9"].decides.n == 0
    assert model in found["C9"].decides.what
    assert names_in_order(found["C9"].note, 0, 5, "seeds")
    assert all(comparison.n for comparison in found["C9"].comparisons if not comparison.counts)


def test_a_model_with_too_few_betas_leaves_the_trend_untested():
    """MVAE has two betas only: C8 says that it needs three that all models share, and names them."""
    cells = [of for of in CELLS if of.config.model != "mvae" or of.config.beta < 5]
    claim = by_id(evaluate_on(cells, range(5), sweep(cells, 5, like_the_paper)))["C8"]
    assert claim.verdict == "not tested"
    assert names(claim.note, 3, "betas", *MODELS)


@pytest.mark.parametrize(
    ("mvae", "others", "expected"),
    [
        (0.2, 0.58, "supported"),
        (0.4, 0.58, "undecided"),
        (0.7, 0.99, "undecided"),
        (0.5, 0.3, "contradicted"),
        (0.001, 0.015, "undecided"),
    ],
)
def test_far_above_is_one_and_a_half_times_and_contradicted_below(mvae, others, expected):
    """1.45 times as much, as much as a share allows, and fifteen times next to nothing leave C7 open; being below contradicts it."""

    def joint(config, name):
        return (mvae if config.model == "mvae" else others) - KINDS["coherence"] if name == "coherence/joint" else 0.0

    assert by_id(evaluate_on(CELLS, range(5), sweep(CELLS, 5, joint)))["C7"].verdict == expected


def with_numbers(values):
    """The claims of five seeds whose numbers have these means: `values(model, kind, size)`; None leaves the base."""

    def shifts(config, name):
        kind, subset = name.split("/")[:2]
        size = config.M if subset == "joint" else int(subset[6:]) if subset.startswith("given_") else subset.count(".") + 1
        value = values(config.published_model, "joint" if name == "coherence/joint" else kind, size)
        return 0.0 if value is None else value - KINDS[kind]

    return by_id(evaluate_on(CELLS, range(5), sweep(CELLS, 5, shifts)))


@pytest.mark.parametrize(
    ("lag", "expected"),
    [(-0.5, "supported"), (0.2, "supported"), (1 / 3, "undecided"), (0.5, "contradicted"), (2, "contradicted")],
)
def test_close_is_within_a_third_of_the_distance(lag, expected):
    """C2, C3 and C10 by the share of their distance that MoPoE lies below what it is to be close to; above it is close too."""

    def values(model, kind, size):
        if kind == "log_likelihood":  # given all: MVAE 150 above MMVAE; Eq. (5) gains 150 from one modality to all
            ends = {"mvae": -1800, "mmvae": -1950, "eq5": -1950 + 75 * (size - 1), "mopoe": -1800 - 150 * lag}
            return ends[model] if model != "mopoe" else None
        if kind in ("probe", "coherence"):
            return {"mvae": 0.4, "mmvae": 0.7, "mopoe": 0.7 - 0.3 * lag, "eq5": 0.5}[model]
        return None

    def likelihoods(model, kind, size):
        if (model, kind) == ("mopoe", "log_likelihood"):
            return -1950 + 75 * (size - 1) - 150 * lag
        return values(model, kind, size)

    claims = with_numbers(likelihoods)
    assert {claims[name].verdict for name in ("C2", "C3", "C10")} == {expected}


@pytest.mark.parametrize("distance", [0.0, -150.0])
def test_without_a_distance_nothing_is_close(distance):
    """MVAE as good as MMVAE or worse, MoPoE as good as MVAE: C2 has no scale, so it is neither supported nor contradicted."""
    claim = with_numbers(lambda model, kind, size: -1950 + distance * (model != "mmvae") if kind == "log_likelihood" else None)[
        "C2"
    ]
    assert claim.verdict == "undecided"
    assert {c.outcome for c in claim.comparisons if c.role == "condition"} == {"undecided"}


@pytest.mark.parametrize(("mmvae", "expected"), [(0.16, "undecided"), (0.25, "supported")])
def test_a_match_near_chance_says_nothing(mmvae, expected):
    """MMVAE above MVAE and MoPoE equal to it support C3 if MMVAE is above twice chance, which is 0.1 for ten digits."""
    levels = {"mvae": 0.1, "mmvae": mmvae, "mopoe": mmvae, "eq5": 0.1}
    claims = with_numbers(lambda model, kind, size: levels[model] if kind in ("probe", "coherence") else None)
    assert claims["C3"].verdict == expected


def test_gains_and_flatness_are_told_apart_by_one_margin():
    """MoPoE has to gain more than MMVAE may: two models that both gain 0.015 leave C5 open, and two that both gain 0.05 contradict it."""
    for gain, expected in ((0.015, "undecided"), (0.05, "contradicted")):
        claims = with_numbers(lambda model, kind, size, gain=gain: 0.8 + gain * (size - 1) / 2 if kind == "probe" else None)
        assert claims["C5"].verdict == expected


def test_the_paper_measures_one_member_of_mmvaes_mixture():
    """In Table 4, MMVAE's columns of several modalities are within 15 nats of the mean of their single columns; the others' are not."""
    table = {(number.model, number.metric): number.mean for number in published("table4")}
    for subset in (("mnist", "svhn"), ("mnist", "text"), ("svhn", "text"), ("mnist", "svhn", "text")):
        column = f"log_likelihood/{'joint' if len(subset) == 3 else '.'.join(subset)}"
        away = {m: abs(table[m, column] - np.mean([table[m, f"log_likelihood/{name}"] for name in subset])) for m in MODELS}
        assert away["mmvae"] < 15
        assert min(away["mvae"], away["mopoe"]) > 19


def test_typically_is_a_trend_of_the_models_together():
    """Two models with the claimed trends outweigh one without any; the single ones are shown."""

    def values(config, name):
        return (
            like_the_paper(config, name)
            if config.model != "mvae"
            else like_the_paper(config, name) + 7 * config.beta * ("log" in name)
        )

    claim = by_id(evaluate_on(CELLS, range(5), sweep(CELLS, 5, values)))["C8"]
    assert claim.verdict == "supported"
    assert {f"tau of β and {model}: coherence/joint" for model in MODELS} <= {
        c.what for c in claim.comparisons if c.role == "shown"
    }


def test_two_modalities_have_no_gain_in_coherence():
    """C5 on PolyMNIST's first two modalities compares no metric with itself."""
    cells = [polymnist(model, modality_count=2) for model in MODELS]
    claim = by_id(evaluate_on(cells, range(5), sweep(cells, 5, like_the_paper)))["C5"]
    assert [c.what.split(": ")[1] for c in claim.comparisons if c.counts] == [
        *["probe/given_2 − probe/given_1"] * 2,
        "log_likelihood/joint − log_likelihood/given_1",
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
    assert widths == {9, 11}
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


LINE = {"mvae": (0.10, 0.22), "mmvae": (0.24, 0.36), "mopoe": (0.17, 0.29)}
"""Ends of three stretches of one straight line, for each model's joint coherence."""


@pytest.mark.parametrize(("ahead", "expected"), [(0.0, "undecided"), (100.0, "supported"), (-100.0, "contradicted")])
def test_models_on_one_falling_line_dominate_nothing(ahead, expected):
    """C9 is open where all fronts lie on one line, also MoPoE's in the middle; it is decided where MoPoE is beyond or behind the line."""

    def on_the_line(config, name):
        low, high = LINE[config.model]
        coherence = low + (high - low) * BETAS.index(config.beta) / 3
        if name == "coherence/joint":
            return coherence - KINDS["coherence"]
        return -1000 * coherence + ahead * (config.model == "mopoe") if UNITS[name.partition("/")[0]] == "nats" else 0.0

    claim = by_id(evaluate_on(CELLS, range(5), sweep(CELLS, 5, on_the_line, 0.0001)))["C9"]
    assert claim.verdict == expected


def test_pairs_of_front_points_are_counted_and_hypervolumes_are_shown(paper):
    """C9's effects are means over seeds of pairs on the fronts that the other seeds' means have, counted by a loop."""
    results = sweep(CELLS, 5, like_the_paper, 0.02)
    claim = by_id(evaluate_on(CELLS, range(5), results))["C9"]

    def points(model):
        subset = "given_1" if model == "mmvae" else "joint"
        by_seed = [
            [r for beta in BETAS for r in results if (r.trial.cell, r.trial.seed) == (cell(model, beta), seed)]
            for seed in range(5)
        ]
        return [[(r.value("coherence/joint"), r.value(f"log_likelihood/{subset}")) for r in of_seed] for of_seed in by_seed]

    def beats(a, b):
        return a[0] >= b[0] and a[1] >= b[1] and a != b

    def front(of_seeds, seed):
        means = [tuple(np.mean([of_seeds[s][place] for s in range(5) if s != seed], 0)) for place in range(4)]
        return [of_seeds[seed][place] for place in range(4) if not any(beats(other, means[place]) for other in means)]

    mopoe = points("mopoe")
    for other, comparison in zip(("mvae", "mmvae"), claim.comparisons, strict=False):
        theirs, leads = points(other), []
        for seed in range(5):
            pairs = list(itertools.product(front(mopoe, seed), front(theirs, seed)))
            leads.append(np.mean([beats(a, b) - beats(b, a) for a, b in pairs]))
        assert comparison.effect == pytest.approx(np.mean(leads))
        assert (comparison.role, other in comparison.what) == ("decides", True)
    assert {c.role for c in claim.comparisons if "hypervolume" in c.what} == {"shown"}
    assert names_in_order(by_id(paper)["C9"].note, "MoPoE", 4, "mvae")


def test_the_study_of_c8_changes_one_thing_at_a_time():
    """Each of its six groups has one setting of weights and networks and all three betas; text at 1 changes the weight of text alone."""
    spec = load(ROOT / "sweeps/c8.yaml")
    results = sweep(spec.cells, 3, like_the_paper)
    of_study = groups(spec.cells, spec.seed_list, results)
    settings = {(group.config.networks, group.config.reconstruction_weights) for group in of_study}
    assert len(of_study) == len(settings) == 6
    assert {tuple(group.line("mopoe")) for group in of_study} == {(0.5, 5, 10)}
    assert {claim.verdict for claim in evaluate(of_study) if claim.id == "C8"} == {"supported"}
    assert {weights for _, weights in settings} == {"size", "equal", (3072 / 784, 1, 1)}
