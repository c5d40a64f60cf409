"""The power of the claims' rules: what is committed, a fresh simulation, and the sweeps that are simulated."""

import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality import claims as simulation
from benchmarks.quality.published_sweeps import at_chance, drawn, exchanged, noise, printed
from orchestrator.report.paper.claim_power import NO_NUMBERS, power_on_the_paper, power_text, powers
from orchestrator.report.paper.claim_rules import RULES
from orchestrator.report.paper.published import published

ROOT = Path(__file__).parents[2]
FEW = 80
TABLES = ("table2", "table6", "table4", "table7")


def share(power):
    """How often a claim was supported, and how often contradicted."""
    return power.supported / power.repetitions, power.contradicted / power.repetitions


def test_the_page_has_the_committed_numbers():
    """The table of docs/claims.md is that of claim_power.csv."""
    page = (ROOT / "docs/claims.md").read_text(encoding="utf-8")
    assert simulation.with_table(page, simulation.table(powers())) == page


def test_a_fresh_simulation_agrees_with_the_committed_one():
    """Another seed and fewer sweeps give the same rows, each share within four standard errors of both together."""
    fresh = {(p.claim, p.dataset, p.seeds, p.numbers): p for p in simulation.powers(FEW, first_seed=1)}
    committed = {(p.claim, p.dataset, p.seeds, p.numbers): p for p in powers()}
    assert fresh.keys() == committed.keys()
    for key, power in committed.items():
        for ours, theirs in zip(share(power), share(fresh[key]), strict=True):
            pooled = (ours * power.repetitions + theirs * FEW) / (power.repetitions + FEW)
            error = math.sqrt(pooled * (1 - pooled) * (1 / power.repetitions + 1 / FEW))
            assert abs(ours - theirs) <= 4 * error + 1e-9, key


def test_the_paper_passes_its_own_claims_and_noise_does_not():
    """Five seeds: at least 80 % on the paper's numbers; on noise and at chance at most 5 % supported and 5 % contradicted."""
    for power in powers():
        supported, contradicted = share(power)
        if power.numbers == "paper" and power.seeds == 5:
            assert supported >= 0.8
        if power.numbers in ("noise", "chance"):
            assert max(supported, contradicted) <= 0.05
        if power.numbers == "reversed" and power.seeds == 5:
            assert contradicted >= 0.8


def test_every_claim_has_an_error_and_those_with_numbers_a_power():
    """Each rule was tried on noise and at chance; the only ones without the paper's numbers are those of Figure 1, a picture."""
    ids = {rule.id for rule in RULES}
    for kind, without in (("noise", set()), ("chance", set()), ("paper", {"C8", "C9"})):
        assert {power.claim for power in powers() if power.numbers == kind} == ids - without


@pytest.mark.parametrize(("planned", "seeds"), [(3, 3), (4, 3), (5, 5), (50, 5)])
def test_the_power_shown_is_of_no_more_seeds_than_planned(planned, seeds):
    """The number of seeds is named; fewer than were ever simulated have no power, and neither has a claim without numbers."""
    power = power_on_the_paper("C5", "mnist_svhn_text", planned)
    assert power.seeds == seeds
    assert f"{seeds} seeds" in power_text("C5", "mnist_svhn_text", planned)
    assert power_on_the_paper("C5", "mnist_svhn_text", 2) is None
    assert power_text("C8", "mnist_svhn_text", planned) == power_text("C1", "polymnist", planned) == NO_NUMBERS


@pytest.fixture(scope="module")
def many():
    """Two thousand seeds of the paper's numbers."""
    (group,) = drawn("mnist_svhn_text", printed(TABLES), lambda normals, _: normals, 2000, 1, np.random.default_rng(0))
    return group


def test_seeds_have_the_printed_mean_and_spread(many):
    """Every printed number of MNIST-SVHN-Text, at its own beta; Eq. (5) has MoPoE's spread, as the paper prints none."""
    for number in (number for table in TABLES for number in published(table)):
        values = list(many.sample(many.line(number.model)[number.beta], number.metric).values())
        sd = number.sd if number.model != "eq5" else next(
            other.sd for other in published("table7") if (other.model, other.metric) == ("mopoe", number.metric)
        )  # fmt: skip
        assert np.mean(values) == pytest.approx(number.mean, abs=5 * sd / math.sqrt(2000))
        assert np.std(values) == pytest.approx(sd, rel=0.1)


def test_means_over_subsets_are_those_of_the_same_seed(many):
    """Of probe, coherence of what is not given, and log-likelihood, for one seed and each size."""
    values = many.values[many.line("mmvae")[5].id][7]
    names = ("mnist", "svhn", "text")
    pairs = ("mnist.svhn", "mnist.text", "svhn.text")
    outside = {"mnist.svhn": "text", "mnist.text": "svhn", "svhn.text": "mnist"}
    expected = {
        "probe/given_1": [f"probe/{name}" for name in names],
        "probe/given_2": [f"probe/{pair}" for pair in pairs],
        "probe/given_3": ["probe/mnist.svhn.text"],
        "coherence/given_1": [f"coherence/{name}/{target}" for name in names for target in names if target != name],
        "coherence/given_2": [f"coherence/{pair}/{outside[pair]}" for pair in pairs],
        "log_likelihood/given_1": [f"log_likelihood/{name}" for name in names],
        "log_likelihood/given_3": ["log_likelihood/joint"],
    }
    for name, parts in expected.items():
        assert values[name] == pytest.approx(np.mean([values[part] for part in parts]))


def test_noise_and_chance_have_one_mean_for_each_kind(many):
    """The mean of each kind is that of its printed numbers, or that of a guess; no spread changes."""
    normals = printed(TABLES)
    for change, expected in ((noise, None), (at_chance, {"probe": 0.1, "coherence": 0.1, "coherence/joint": 0.01})):
        changed = change(normals, many.config)
        assert [normal.sd for normal in changed] == [normal.sd for normal in normals]
        for family in {normal.family for normal in normals}:
            (mean,) = {normal.mean for normal in changed if normal.family == family}
            printed_mean = np.mean([normal.mean for normal in normals if normal.family == family])
            assert mean == pytest.approx((expected or {}).get(family, printed_mean))


def test_exchanged_models_have_each_others_numbers(many):
    """And the third keeps its own."""
    before = {(n.model, n.beta, n.metric): n.mean for n in printed(TABLES)}
    after = {(n.model, n.beta, n.metric): n.mean for n in exchanged("mvae", "mmvae")(printed(TABLES), many.config)}
    assert after["mvae", 5, "coherence/joint"] == before["mmvae", 5, "coherence/joint"] == 0.28
    assert after["mopoe", 5, "coherence/joint"] == before["mopoe", 5, "coherence/joint"]
