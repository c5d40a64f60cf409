"""A generator that shows one class is named as collapsed: the rule on closed forms, on decoders, and wherever cells are shown."""

import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch import nn

from mopoe_core.metric_names import LABELS
from mopoe_core.metrics.classifiers import Classifiers
from mopoe_core.metrics.evaluation import evaluate
from orchestrator.analysis import chance, collapse
from orchestrator.analysis.comparable_groups import groups_of
from orchestrator.ledger.ledger import Ledger
from orchestrator.monitor.live_state import StorageWatch, condensed
from orchestrator.report.sections import classes_section
from orchestrator.spec.proper_names import proper
from orchestrator.spec.sweep_file import parse
from tests.core.metrics.test_evaluation import NAMES, shown, transparent
from tests.report.test_report import Page, written
from tests.support.builders import COHERENCE, LIKELIHOOD, cell, result
from tests.support.naming import names, names_in_order

CPU = torch.device("cpu")
MODALITIES = ("mnist", "svhn", "text")
EVEN = (0.1,) * 10


def effective(shares):
    """exp of the entropy, term by term."""
    return math.exp(-sum(p * math.log(p) for p in shares if p))


def dominated(share, classes=10):
    """Shares of which the class 3 has `share` and the others the rest, equally."""
    return tuple(share if c == min(3, classes - 1) else (1 - share) / (classes - 1) for c in range(classes))


@pytest.mark.parametrize(
    ("generated", "of_examples", "expected"),
    [
        (dominated(1.0), EVEN, True),
        (dominated(0.98), EVEN, True),
        (dominated(0.86), EVEN, True),
        (dominated(0.83), EVEN, False),
        (dominated(0.5), EVEN, False),
        ((0.5, 0.5), EVEN, True),
        ((1 / 3, 1 / 3, 1 / 3), EVEN, False),
        (EVEN, EVEN, False),
        (dominated(0.98, 2), (0.5, 0.5), True),
        (dominated(0.93, 2), (0.5, 0.5), False),
        ((0.95, 0.05), (0.95, 0.05), False),
        ((0.97, 0.03), (0.95, 0.05), False),
        ((0.05, 0.95), (0.95, 0.05), False),
        ((1.0, 0.0), (0.95, 0.05), True),
        ((0.99, 0.01), (0.95, 0.05), True),
        ((0.5, 0.5), (0.95, 0.05), False),
        ((1.0, 0.0), (0.995, 0.005), False),
        ((1.0,), (1.0,), False),
    ],
)
def test_the_rule_on_closed_forms(generated, of_examples, expected):
    """Less than a third of the examples' entropy is a collapse; what matches the examples never is, nor where these have one class."""
    assert collapse.is_collapsed(effective(generated), effective(of_examples)) is expected


def test_draws_of_the_examples_own_shares_are_never_a_collapse():
    """Of 2,000 generators that are right, with one class as common as the rule still judges, 5,000 draws accuse none."""
    rng = np.random.default_rng(0)
    share = 0.99
    assert effective((share, 1 - share)) > collapse.NEARLY_ONE
    drawn = rng.binomial(5000, share, 2000) / 5000
    assert not any(collapse.is_collapsed(effective((p, 1 - p)), effective((share, 1 - share))) for p in drawn)


class Shifted(nn.Module):
    """A classifier of two classes: the second where the first number is above a threshold."""

    def __init__(self, threshold):
        super().__init__()
        self.threshold = threshold

    def forward(self, x):
        """(B, 2)."""
        return torch.stack([torch.zeros(len(x)), x[:, 0] - self.threshold], 1)


class Always(nn.Module):
    """A decoder that makes one thing of every latent."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, z):
        """As many numbers as the latent has."""
        return torch.full_like(z, self.value)


def evaluated(share, decoder=None):
    """A trial on examples of which `share` are of class 0, whose classifiers see that share of N(0, 1) so."""
    data, model = shown(), transparent()
    for split in (data.train, data.test):
        split.labels[:] = (torch.arange(len(split)) >= share * len(split)).long()
    if decoder is not None:
        model.decoders.update({name: decoder for name in NAMES})
    threshold = float(torch.distributions.Normal(0, 1).icdf(torch.tensor(share)))
    jury = Classifiers({name: Shifted(threshold) for name in NAMES}, {}, "")
    table = evaluate(model, 0, replace(data, classes=2), jury, CPU)
    return replace(result(cell(), 0, {}), metrics=table)


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_a_decoder_that_shows_one_class_is_named_and_a_healthy_one_is_not(share):
    """Also where 95 % of the examples are of that class: to generate 95 % of it is right, all of it is a collapse."""
    healthy, collapsed = evaluated(share), evaluated(share, Always(-5.0))
    assert healthy.value("generated/a/0") == pytest.approx(share, abs=0.02)
    assert collapse.collapses(healthy) == []
    assert healthy.value(COHERENCE) == collapsed.value(COHERENCE) == 1  # they share what the classifiers look at
    found = collapse.collapses(collapsed)
    assert [(one.modality, one.shown, one.share, one.effective) for one in found] == [(name, "0", 1.0, 1.0) for name in NAMES]
    assert found[0].of_labels == pytest.approx(effective((share, 1 - share)))
    said = collapse.by_cell([collapsed, healthy])[collapsed.trial.cell.id]
    assert names_in_order(said, "collapsed", 1, 2)
    assert names(said, "seed 0", "class 0", "100.0%", "coherence/joint", "1.000")


def test_one_modality_of_several_may_collapse():
    """It is named, and the joint coherence is said without a judgement: the other modalities show all classes."""
    of = values(EVEN, coherence=0.1) | {"effective_classes/text": 1.0}
    of |= {f"generated/text/{c}": float(c == 7) for c in range(10)}
    one = result(cell(), 0, of)
    assert [found.modality for found in collapse.collapses(one)] == ["text"]
    (said,) = collapse.by_cell([one]).values()
    assert names_in_order(said, "text", "class 7", "100.0%", "coherence/joint", "0.100")
    assert said.count("collapse") == 1


def values(shares, of_examples=EVEN, coherence=0.99):
    """What a trial on MNIST-SVHN-Text reports that generates each modality with these shares."""
    found = {
        COHERENCE: coherence,
        LIKELIHOOD: -1900.0,
        "coherence/given_1": 0.4,
        "effective_classes/labels": effective(of_examples),
    }
    for m in MODALITIES:
        found |= {f"generated/{m}/{c}": share for c, share in enumerate(shares)} | {f"effective_classes/{m}": effective(shares)}
    return found | {f"labels/{c}": share for c, share in enumerate(of_examples)}


RAW = {
    "name": "demo",
    "base": {"dataset": "mnist_svhn_text", "networks": "small"},
    "grid": {"model": ["mvae", "mopoe"], "beta": [1, 5]},
    "seeds": 2,
    "objectives": [{"metric": COHERENCE, "goal": "max"}, {"metric": LIKELIHOOD, "goal": "max"}],
}
SPEC = parse(RAW)
BAD = "mopoe beta=5"


def reported():
    """A sweep of which one cell has collapsed with seed 1, and one was evaluated before classes were counted."""
    found = []
    for trial in SPEC.trials:
        bad = (trial.config.model, trial.config.beta, trial.seed) == ("mopoe", 5, 1)
        of = values(dominated(0.98) if bad else EVEN, coherence=0.99 if bad else 0.3)
        if (trial.config.model, trial.config.beta) == ("mvae", 1):
            of = {name: value for name, value in of.items() if name.startswith(("coherence", "log"))}
        found.append(result(trial.cell, trial.seed, of))
    return found


def test_only_the_cell_that_collapsed_is_named():
    """By its label, with the seed, the class, its share and the joint coherence; a trial that counts no classes is not judged."""
    (line,) = collapse.lines(SPEC, reported())
    assert line.startswith(f"{BAD}: collapsed in 1 of 2 seeds; with seed 1 mnist shows class 3 in 98.0% of draws")  # in full
    assert "0.990" in line
    assert collapse.lines(SPEC, [one for one in reported() if one.trial.config.model == "mvae"]) == []


def test_many_collapses_are_counted():
    """Five cells have a line, of the others the number."""
    spec = parse(RAW | {"grid": {"beta": [1, 2, 3, 4, 5, 6, 7]}, "base": RAW["base"] | {"model": "mopoe"}})
    found = [result(trial.cell, trial.seed, values(dominated(1.0))) for trial in spec.trials]
    said = collapse.lines(spec, found)
    assert len(said) == 6
    assert names(said[-1], 2)


def test_agreement_by_chance_is_that_of_independent_draws():
    """Against all combinations, one by one: of classes and of attributes; one class alone always agrees."""
    shares = [(0.5, 0.3, 0.2), (0.1, 0.6, 0.3), (0.2, 0.2, 0.6)]
    by_hand = sum(shares[0][i] * shares[1][j] * shares[2][k] for i in range(3) for j in range(3) for k in range(3) if i == j == k)
    assert chance.agreement(shares, attributes=False) == pytest.approx(by_hand)
    two = [(0.5, 0.9), (0.2, 0.8)]
    by_hand = np.mean([0.5 * 0.2 + 0.5 * 0.8, 0.9 * 0.8 + 0.1 * 0.2])
    assert chance.agreement(two, attributes=True) == pytest.approx(by_hand)
    assert chance.agreement([(1.0, 0.0)] * 4, attributes=False) == 1


def test_the_table_has_means_over_seeds_and_dashes_for_earlier_results():
    """Rows in the sweep's order, then the test examples."""
    (table,) = classes_section.tables([t.cell for t in SPEC.trials if t.seed == 0], SPEC.seeds_by_cell, reported())
    rows = {row[0]: row[1:] for row in table.rows}
    assert list(rows) == ["mvae beta=1", "mvae beta=5", "mopoe beta=1", BAD, "test examples"]
    assert rows["mvae beta=1"] == ("2/2", "0.300", "–", "–", "–", "–", "–")
    assert rows["mopoe beta=1"][:4] == ("2/2", "0.300", "0.010", "10.00; most: 0 (10%)")
    mean = (effective(EVEN) + effective(dominated(0.98))) / 2
    by_chance = (0.01 + 0.98**3 + 9 * (0.02 / 9) ** 3) / 2
    assert rows[BAD] == ("2/2", "0.645", f"{by_chance:.3f}", *[f"{mean:.2f}; most: 3 (54%)"] * 3, "1/2")
    assert rows["test examples"] == ("", "", "0.010", *["10.00; most: 0 (10%)"] * 3, "")


def test_tables_of_groups_that_differ_in_their_data_have_different_headings(tmp_path, undrawn):
    """Each table stands below the label of its group."""
    found = [
        result(trial.cell, trial.seed, values(EVEN), data_hash="A" * 16 if trial.config.beta == 1 else "B" * 16)
        for trial in SPEC.trials
    ]
    page = written(tmp_path, found, **RAW).page.read_text()
    section = page.partition('<h2 id="classes">')[2].partition("<h2")[0]
    assert section.count("<table") == 2
    assert re.findall("<h4>(.*?)</h4>", section) == [group.label for group in groups_of(SPEC, found).groups]


def test_a_trial_that_is_set_aside_counts_nowhere(tmp_path, undrawn):
    """The collapsed trial of a cell was measured by another classifier: no table of classes, collapse or sample is of it."""
    (odd,) = (trial for trial in SPEC.trials if (trial.config.model, trial.config.beta, trial.seed) == ("mopoe", 5, 0))
    found = [result(trial.cell, trial.seed, values(EVEN, coherence=0.3)) for trial in SPEC.trials if trial != odd]
    collapsed = result(odd.cell, 0, values(dominated(1.0), coherence=1.0))
    found.append(replace(collapsed, provenance={**collapsed.provenance, "classifiers": {"hash": "other"}}))
    assert list(collapse.by_cell(found)) == [odd.cell.id]
    paths = written(tmp_path, found, **RAW)
    page = paths.page.read_text()
    assert re.findall(rf"<tr><td>{proper(BAD)}</td><td>(\d/\d)</td><td>([\d.]+)</td>", page) == [("1/2", "0.300")]
    assert re.findall(rf"<th>{proper(BAD)}, seed (\d)</th>", page)[:1] == ["1"]
    assert not names(page.replace("\n", " "), "collapsed in 1 of 2 seeds")
    assert "collapsed" not in paths.summary
    assert not any("collapsed" in warning for warning in paths.overview.warnings)


@pytest.fixture(scope="module")
def report_of_it(tmp_path_factory):
    """The report of that sweep, with its figures: the page has the text of the front's markers."""
    return written(tmp_path_factory.mktemp("collapsed"), reported(), **RAW)


def test_the_report_names_it(report_of_it):
    """At the head of the page, at the cell's marker, in the table of classes, and below the terminal's table."""
    page = report_of_it.page.read_text()
    text = Page(page).text
    (line,) = collapse.lines(SPEC, reported())
    assert proper(line) in text
    assert 'class="warning">' + proper(BAD) in page
    assert page.count(line.partition("; ")[2].partition(" of draws")[0]) >= 3
    assert "Classes generated" in text
    assert "MVAE β=5: collapsed" not in text
    assert line in " ".join(report_of_it.summary.split())


def test_shares_are_in_the_long_tables_and_not_in_the_wide_ones(report_of_it):
    """`cells` and `trials` have a row for each share; no readable table has a column for one."""
    cells = pd.read_parquet(report_of_it.cells_parquet)
    assert set(values(EVEN)) <= set(cells["name"])
    row = cells[(cells["name"] == "generated/svhn/3") & (cells["label"] == BAD)].iloc[0]
    assert (row["mean"], row["n"]) == (pytest.approx((0.98 + 0.1) / 2), 2)
    for path in (report_of_it.markdown, report_of_it.latex):
        assert "generated/" not in path.read_text()
    assert "generated/mnist/3" not in Page(report_of_it.page.read_text()).text


def test_a_report_of_earlier_results_has_no_table_of_classes(tmp_path, undrawn):
    """Results that count no classes are reported as ever."""
    old = [replace(one, metrics=tuple(m for m in one.metrics if m.name.startswith(("coherence", "log")))) for one in reported()]
    paths = written(tmp_path, old, **RAW)
    assert "Classes generated" not in Page(paths.page.read_text()).text
    assert "collapsed" not in paths.summary


def test_what_is_kept_of_a_result_suffices_to_name_its_collapse():
    """Of a healthy trial no share is kept, of a collapsed one what is needed: both say what the whole result says."""
    healthy, collapsed = (next(r for r in reported() if (bool(collapse.collapses(r))) is is_bad) for is_bad in (False, True))
    assert {m.name for m in condensed(healthy, SPEC).metrics} == {COHERENCE, LIKELIHOOD}
    assert collapse.by_cell([condensed(collapsed, SPEC)]) == collapse.by_cell([collapsed]) != {}


def test_status_names_it(tmp_path, types_here):
    """From storage, in the view."""
    ledger = Ledger(tmp_path / "runs")
    for one in reported():
        ledger.begin(one.trial)
        ledger.record(one)
    file = tmp_path / "demo.yaml"
    file.write_text(yaml.safe_dump(RAW | {"storage": str(ledger.storage)}))
    assert len(StorageWatch(SPEC, ledger.storage).look().results) == 8
    code, out, _ = types_here("status", file)
    assert code == 0
    assert proper(collapse.lines(SPEC, reported())[0]) in " ".join(out.split())


def test_an_objective_or_constraint_may_be_a_count_of_classes():
    """A search can ask for as many effective classes; a class that the data lack is refused with the nearest spelling."""
    constraint = {"metric": "effective_classes/mnist", "at_least": 5}
    search = {"space": {"beta": {"low": 1, "high": 2}}, "cells": 2, "sampler": "random", "constraints": [constraint]}
    base = RAW["base"] | {"model": "mopoe"}
    raw = {"name": "s", "base": base, "search": search, "seeds": 1, "objectives": RAW["objectives"]}
    assert parse(raw).search.constraints[0].metric == constraint["metric"]
    assert "generated/mnist/9" in SPEC.trials[0].config.metrics
    assert "generated/mnist/10" not in SPEC.trials[0].config.metrics


def test_attributes_are_named_without_a_class():
    """Of faces, what nearly never varies is a collapse, and no single class is said."""
    faces = cell(dataset="celeba")
    of = {"effective_classes/image": 1.05, "effective_classes/text": 1.5, "effective_classes/labels": 1.6, COHERENCE: 0.9}
    of |= {f"generated/image/{name}": 0.01 for name in faces.config.attributes}
    (found,) = collapse.collapses(result(faces, 0, of))
    assert (found.modality, found.shown) == ("image", "")
    assert "1.05" in found.sentence
    assert "1.60" in found.sentence
    assert faces.config.metrics[-1] == f"{LABELS}/{faces.config.attributes[-1]}"
