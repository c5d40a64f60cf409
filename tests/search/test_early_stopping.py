"""Which cells of a search are stopped early. The rules are checked by hand, without training."""

import random

import pytest

from orchestrator.search import early_stopping
from orchestrator.spec.sweep_file import parse
from orchestrator.spec.trial import Trial
from tests.support.builders import COHERENCE, LIKELIHOOD, cell


def rule_of(rule, objectives=2, seeds=2, **block):
    """Returns a stopping rule for cells with ten epochs, which looks at them after two and five of them."""
    both = [{"metric": COHERENCE, "goal": "max"}, {"metric": LIKELIHOOD, "goal": "max"}][:objectives]
    block = {"rule": rule, "at": [0.2, 0.5], **block}
    raw = {"space": {"beta": {"low": 0.1, "high": 1000}}, "cells": 5, "early": block}
    base = {"dataset": "mnist_svhn_text", "networks": "small", "model": "mopoe", "epochs": 10}
    spec = parse({"name": "s", "base": base, "search": raw, "seeds": seeds, "objectives": both})
    return early_stopping.stopping_rule(spec, spec.search.early)


def cell_of(number, epochs=10):
    """Returns a cell."""
    return cell(beta=float(number), epochs=epochs)


def note(stopping_rule, of, epoch, coherence, likelihood=-2000.0, seeds=2):
    """Note the metrics of all seeds of a cell after an epoch."""
    for seed in range(seeds):
        stopping_rule.note(of, Trial(of, seed).id, epoch, {COHERENCE: coherence, LIKELIHOOD: likelihood})


def test_halving_keeps_the_best_share_of_those_that_came_so_far():
    """Checked for 200 random cells: a cell goes on if fewer than floor(n / 4) of the n cells that came so far are better."""
    chance, stopping_rule, came = random.Random(0), rule_of("halving", objectives=1, keep=0.25), []
    verdicts = []
    for number in range(1, 201):
        value = chance.random()
        note(stopping_rule, cell_of(number), 2, value)
        came.append(value)
        better = sum(other > value for other in came)
        goes_on = len(came) < 4 or better < len(came) // 4
        assert (stopping_rule.why_stop(cell_of(number), 2, {}) == "") == goes_on
        verdicts.append(goes_on)
    assert 20 < sum(verdicts) < 100


def test_halving_minimises_where_the_objective_says_so():
    """Of four cells, the one with the smallest value goes on."""
    stopping_rule = early_stopping.stopping_rule(*_minimising())
    for number, value in enumerate((0.4, 0.3, 0.2, 0.1), 1):
        note(stopping_rule, cell_of(number), 2, value)
    assert [stopping_rule.why_stop(cell_of(number), 2, {}) == "" for number in (1, 2, 3, 4)] == [False, False, False, True]


def _minimising():
    spec = parse({
        "name": "s", "base": {"dataset": "mnist_svhn_text", "networks": "small", "model": "mopoe", "epochs": 10}, "seeds": 2,
        "objectives": [{"metric": COHERENCE, "goal": "min"}],
        "search": {"space": {"beta": {"low": 0.1, "high": 9}}, "cells": 5, "early": {"rule": "halving", "at": [0.2], "keep": 0.25}},
    })  # fmt: skip
    return spec, spec.search.early


@pytest.mark.parametrize("rule", ["halving", "dominated"])
def test_a_cell_of_which_a_seed_is_missing_or_has_diverged_is_not_judged(rule):
    """This holds however bad its other seed is."""
    stopping_rule = rule_of(
        rule, objectives=1 if rule == "halving" else 2, **({"keep": 0.5} if rule == "halving" else {"after": 2})
    )
    completed = {}
    for number in range(1, 7):
        note(stopping_rule, cell_of(number), 2, 0.5, -2000.0)
        completed[cell_of(number).id] = (0.9, -1500.0)[: 1 if rule == "halving" else 2]
    late = cell_of(7)
    bad = {COHERENCE: 0.0, LIKELIHOOD: -9000.0}
    stopping_rule.note(late, Trial(late, 0).id, 2, bad)
    assert stopping_rule.why_stop(late, 2, completed) == ""
    stopping_rule.note(late, Trial(late, 1).id, 2, {})
    assert stopping_rule.why_stop(late, 2, completed) == ""
    stopping_rule.note(late, Trial(late, 1).id, 2, bad)
    assert stopping_rule.why_stop(late, 2, completed) != ""


def test_the_bound_adds_the_largest_gain_of_each_objective():
    """Two completed cells gained 0.3 and 0.1 of coherence, and 100 and 400 nats; the better one ended at (0.8, -1600). A cell is stopped
    exactly if its values plus (0.3, 400) are at most that.
    """
    for coherence, likelihood, stopped in (
        (0.5, -2000.0, False),
        (0.49, -2000.0, True),
        (0.49, -1999.0, False),
        (0.51, -3000.0, False),
    ):
        stopping_rule = rule_of("dominated", after=2)
        note(stopping_rule, cell_of(1), 2, 0.5, -1700.0)
        note(stopping_rule, cell_of(2), 2, 0.1, -2300.0)
        completed = {cell_of(1).id: (0.8, -1600.0), cell_of(2).id: (0.2, -1900.0)}
        note(stopping_rule, cell_of(3), 2, coherence, likelihood)
        assert (stopping_rule.why_stop(cell_of(3), 2, completed) != "") == stopped


def test_a_cell_that_equals_its_dominators_way_is_never_stopped():
    """In random histories, a cell that is ahead of every completed cell in some objective at the same epoch goes on."""
    chance = random.Random(1)
    stopped = 0
    for _ in range(300):
        stopping_rule, completed, before = rule_of("dominated", after=2), {}, []
        for number in range(1, 6):
            then = (chance.random(), -2000 + 100 * chance.random())
            note(stopping_rule, cell_of(number), 5, *then)
            completed[cell_of(number).id] = (then[0] + 0.3 * chance.random(), then[1] + 50 * chance.random())
            before.append(then)
        now = (chance.random(), -2000 + 100 * chance.random())
        note(stopping_rule, cell_of(9), 5, *now)
        why = stopping_rule.why_stop(cell_of(9), 5, completed)
        stopped += bool(why)
        if all(now[0] > then[0] or now[1] > then[1] for then in before):
            assert why == ""
    assert stopped > 10


def test_few_completed_cells_or_such_as_were_not_seen_on_their_way_stop_nothing():
    """Fewer than `after` completed cells stop nothing, nor do cells of another sweep, whose gain is not known."""
    stopping_rule = rule_of("dominated", after=2)
    note(stopping_rule, cell_of(1), 2, 0.5, -2000.0)
    note(stopping_rule, cell_of(3), 2, 0.0, -9000.0)
    unseen = {cell_of(number).id: (0.99, -1000.0) for number in range(10, 20)}
    assert stopping_rule.why_stop(cell_of(3), 2, {cell_of(1).id: (0.6, -1900.0), **unseen}) == ""
    note(stopping_rule, cell_of(2), 2, 0.5, -2000.0)
    assert stopping_rule.why_stop(cell_of(3), 2, {cell_of(1).id: (0.6, -1900.0), cell_of(2).id: (0.6, -1900.0)}) != ""


def test_cells_of_different_length_are_compared_after_the_same_share_of_their_epochs():
    """Half of ten epochs and half of twenty are epochs 5 and 10."""
    stopping_rule = rule_of("halving", objectives=1, keep=0.5)
    note(stopping_rule, cell_of(1, epochs=20), 10, 0.9)
    note(stopping_rule, cell_of(2), 5, 0.1)
    assert stopping_rule.why_stop(cell_of(2), 5, {}) != ""
    assert stopping_rule.why_stop(cell_of(1, epochs=20), 10, {}) == ""
    assert stopping_rule.why_stop(cell_of(1, epochs=20), 5, {}) == "", "it is not judged there"
