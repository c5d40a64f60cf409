"""Searches: the content of Optuna's study, its proposals, and what a space allows."""

import copy
import json
import math
import random
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import islice, product
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from optuna_dashboard import wsgi
from optuna_dashboard._storage_url import guess_storage_from_url

from mopoe_core.config.training_config import TrainingConfig
from orchestrator.errors import SpecError
from orchestrator.ledger.ledger import Ledger
from orchestrator.search.engine import SearchEngine
from orchestrator.search.outcomes import CellOutcome
from orchestrator.search.study import Study, importances
from orchestrator.spec.search_block import Search
from orchestrator.spec.search_space import Space
from orchestrator.spec.sections import Objective
from orchestrator.spec.sweep_file import parse
from tests.support.builders import COHERENCE, LIKELIHOOD, result

SAMPLERS = ("random", "tpe", "nsga2", "nsga3", "gp", "qmc", "grid")
OBJECTIVES = (Objective(metric=COHERENCE, goal="max", reference=0.0), Objective(metric=LIKELIHOOD, goal="max", reference=-3000.0))
SPACE = {
    "model": ["mopoe", "mmvae", "mvtcae"],
    "beta": {"low": 0.1, "high": 20, "log": True, "points": 4},
    "latent_dim": {"low": 4, "high": 16, "step": 4},
    "alpha": {"low": 0, "high": 1, "points": 3, "when": {"model": "mvtcae"}},
}
BASE = {"dataset": "mnist_svhn_text", "networks": "small"}
GOOD = {"name": "found", "base": BASE, "search": {"space": SPACE, "cells": 10, "sampler": "random"}, "seeds": 2}


def study(path, past=(), space=SPACE, **search):
    """Returns a study of a search with this space."""
    search = Search(space=space, **{"cells": 60, **search})
    return Study(path, "found", search, Space(search), OBJECTIVES, past)


def small(sampler):
    """Returns the options of a search whose sampler uses its model after few cells."""
    options = {"nsga2": {"population": 4}, "nsga3": {"population": 4}, "tpe": {"startup": 5}, "gp": {"startup": 8}}
    return {"sampler": sampler, **options.get(sampler, {})}


def outcome(proposal):
    """Returns the outcome of a proposal as a function of its fields; every kind of outcome occurs."""
    if proposal.number == 2:
        return CellOutcome("diverged", excess={"diverged": 1.0})
    if proposal.number == 4:
        return CellOutcome("failed")
    beta, dims = proposal.fields["beta"], proposal.fields.get("latent_dim", 4)
    return CellOutcome("completed", (0.5 + 0.1 * math.log(beta) - 0.01 * dims, -2000.0 - 9.0 * beta + dims))


def asked(of):
    """Returns the next proposal as a search records it: with its cell's id, written to a file and read again."""
    proposal = of.ask()
    fields, drawn, notes = (json.loads(json.dumps(part)) for part in (proposal.fields, proposal.drawn, proposal.notes))
    return replace(proposal, cell_id=f"cell{proposal.number}", fields=fields, drawn=drawn, notes=notes)


def history(of, cells, open_at_end=2):
    """Ask and tell for three cells at a time, so that proposals are made while others are open; the last ones stay open."""
    past, waiting = [], []
    for _ in range(cells):
        waiting.append(asked(of))
        if len(waiting) > 2:
            past.append(waiting.pop(0))
            of.tell(past[-1], outcome(past[-1]))
    while len(waiting) > open_at_end:
        past.append(waiting.pop(0))
        of.tell(past[-1], outcome(past[-1]))
    return [(p, outcome(p)) for p in past] + [(p, CellOutcome("open")) for p in waiting]


def in_journal(path):
    """Returns the trials of a journal, read by Optuna alone."""
    storage = JournalStorage(JournalFileBackend(str(path)))
    return optuna.load_study(study_name="found", storage=storage).trials


# Whole searches, with results that were made up


def measured(trial):
    """Returns a trial's metrics."""
    beta, seed = trial.config.beta, trial.seed
    return {
        COHERENCE: 0.4 + 0.02 * beta + 0.01 * seed**2,
        LIKELIHOOD: -2000.0 - 8 * beta + 3 * seed,
        "coherence/given_1": beta / 20,
    }


def trained(trial):
    """Returns the result of a trial: the second seed diverges if beta is large."""
    return result(trial.cell, trial.seed, measured(trial), "diverged" if trial.config.beta > 8 and trial.seed else "completed")


def train(ledger, trial):
    """Do what a worker does, with a made-up result."""
    ledger.begin(trial)
    ledger.record(trained(trial))


def search_of(raw, storage):
    """Returns a search with the present content of its ledger."""
    ledger, spec = Ledger(storage), parse(raw)
    found = {one.trial.id: one for one in ledger.results()}
    return SearchEngine(spec, ledger, found, lambda wider: None, lambda line: None), ledger, found


def run(raw, storage, fails=lambda trial: False):
    """Run a search to its end, one cell at a time."""
    search, ledger, found = search_of(raw, storage)
    todo, failed = search.start(), {}
    while todo:
        for trial in todo:
            if fails(trial):
                failed[trial.id] = "made to fail"
            else:
                train(ledger, trial)
                found[trial.id] = ledger.result(trial)
        todo = search.next(failed, 1)
    assert search.is_over
    return search


def journal(storage):
    """Returns the path of the study."""
    return storage / "sweeps" / "found" / "study.journal"


def expected(storage, seeds, objectives, least):
    """Returns the expected trials of a study, computed from the files of the proposals and the formulas of the metrics."""
    trials, seen = [], set()
    for path in sorted((storage / "sweeps" / "found" / "search").glob("[0-9]*.json")):
        proposal = json.loads(path.read_text())
        beta = proposal["fields"]["beta"]
        values = {
            COHERENCE: 0.4 + 0.02 * beta + 0.01 * sum(s * s for s in range(seeds)) / seeds,
            LIKELIHOOD: -2000.0 - 8 * beta + 3 * sum(range(seeds)) / seeds,
        }
        if proposal["cell_id"] in seen:
            trials.append((proposal["drawn"], TrialState.FAIL, None, {}))
        elif beta > 8:
            trials.append((proposal["drawn"], TrialState.PRUNED, None, {"diverged": seeds - 1.0}))
        else:
            close = [pytest.approx(values[metric], abs=1e-9) for metric in objectives]
            excess = {"coherence/given_1 at_least": pytest.approx(least - beta / 20)}
            trials.append((proposal["drawn"], TrialState.COMPLETE, close, excess))
        seen.add(proposal["cell_id"])
    return trials


def constrained(least=0.1, **changes):
    """Returns the good search with a constraint, and with some top-level fields replaced."""
    raw = copy.deepcopy(GOOD) | changes
    raw["search"]["constraints"] = [{"metric": "coherence/given_1", "at_least": least}]
    return raw


@pytest.mark.parametrize(
    "change", ["nothing", "file lost", "file cut", "other objectives", "further seeds", "another constraint"]
)
def test_a_study_says_what_the_ledger_says_whatever_was_changed_before_it_is_opened_again(tmp_path, change):
    """Parameters, states, values and constraints, read by Optuna alone, equal those computed by hand from proposals and metrics."""
    run(constrained(), tmp_path)
    raw, seeds, metrics, least = constrained(), 2, [COHERENCE, LIKELIHOOD], 0.1
    if change == "file lost":
        journal(tmp_path).unlink()
    if change == "file cut":
        journal(tmp_path).write_bytes(journal(tmp_path).read_bytes()[:1000] + b"garbage\n")
    if change == "other objectives":
        metrics = [LIKELIHOOD, COHERENCE]
        raw = constrained(objectives=[{"metric": LIKELIHOOD, "goal": "min"}, {"metric": COHERENCE, "goal": "max"}])
    if change == "further seeds":
        raw, seeds = constrained(seeds=4), 4
        search, ledger, _ = search_of(raw, tmp_path)
        for trial in search.start():
            train(ledger, trial)
    if change == "another constraint":
        raw, least = constrained(least=0.3), 0.3
    search_of(raw, tmp_path)
    told = [(trial.params, trial.state, trial.values, trial.constraints) for trial in in_journal(journal(tmp_path))]
    assert told == expected(tmp_path, seeds, metrics, least)
    assert {state for _, state, _, _ in told} >= {TrialState.COMPLETE, TrialState.PRUNED}


def test_a_study_of_an_earlier_version_is_built_again_with_the_constraints_of_today(tmp_path):
    """Earlier versions named a constraint by its metric alone. Values and parameters stay."""
    of = study(tmp_path / "one")
    proposal, values = asked(of), (0.5, -2000.0)
    of.tell(proposal, CellOutcome("completed", values, {"parameters": 3.0}))
    now = {"parameters at_least": -5.0, "parameters at_most": 3.0}
    study(tmp_path / "one", [(proposal, CellOutcome("completed", values, now))])
    (trial,) = in_journal(tmp_path / "one")
    assert (trial.constraints, trial.values, trial.params) == (now, [*values], proposal.drawn)


def test_cells_that_lack_a_seed_wait_for_it_and_are_told_nothing(tmp_path):
    """When two seeds become three, all trials are running and have no values until the third is trained."""
    run(constrained(), tmp_path)
    search_of(constrained(seeds=3), tmp_path)
    assert {trial.state for trial in in_journal(journal(tmp_path))} == {TrialState.RUNNING}
    assert all(trial.values is None for trial in in_journal(journal(tmp_path)))


def test_a_diverged_cell_is_pruned_beyond_a_constraint_and_a_failed_or_repeated_one_fails(tmp_path):
    """In a space of a few cells every outcome occurs, and only completed cells have values."""
    space = {"beta": [0.5, 1, 2, 4, 10, 15], "model": ["mopoe"]}
    raw = copy.deepcopy(GOOD)
    raw["search"] |= {"space": space, "cells": 6}
    search = run(raw, tmp_path, fails=lambda trial: trial.config.beta == 2 and trial.seed == 1)
    every = in_journal(journal(tmp_path))
    ended = {(trial.params["beta"], trial.state) for trial in every}
    assert {beta for beta, state in ended if state == TrialState.COMPLETE} == {0.5, 1, 4}
    assert {beta for beta, state in ended if state == TrialState.PRUNED} == {10, 15}
    assert 2 in {beta for beta, state in ended if state == TrialState.FAIL}
    counts = Counter(trial.params["beta"] for trial in every if trial.state != TrialState.FAIL)
    assert set(counts.values()) == {1}, "a cell is told once"
    assert len(every) > 6, "the seed of this test finds no repeated cell; take another"
    assert [trial.constraints for trial in every if trial.state == TrialState.PRUNED] == [{"diverged": 1.0}] * 2
    assert all(trial.values is None and not trial.intermediate_values for trial in every if trial.state != TrialState.COMPLETE)
    assert sum(1 for one in search.proposed_cells() if one.outcome.kind == "failed") == 1


# Proposals


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_history_gets_the_same_proposal(sampler, tmp_path):
    """A study and another one that opened a copy of its file propose the same."""
    one = study(tmp_path / "one", **small(sampler))
    past = history(one, 14)
    shutil.copy(tmp_path / "one", tmp_path / "two")
    two = study(tmp_path / "two", past, **small(sampler))
    assert [asked(one) for _ in range(3)] == [asked(two) for _ in range(3)]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_study_that_was_made_anew_proposes_what_the_unbroken_one_would(sampler, tmp_path):
    """The history has diverged, failed and open cells, and proposals that were made while others were open."""
    one = study(tmp_path / "one", **small(sampler))
    past = history(one, 16)
    anew = study(tmp_path / "anew", past, **small(sampler))
    for _ in range(2):
        assert asked(one).fields == asked(anew).fields


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_proposal_that_was_never_written_down_is_forgotten_and_made_again(sampler, tmp_path):
    """This happens if a driver is killed after it asked Optuna, and before it recorded the proposal."""
    past = history(study(tmp_path / "one", **small(sampler)), 12)
    lost = asked(study(tmp_path / "one", past, **small(sampler)))
    assert len(in_journal(tmp_path / "one")) == 13
    again = study(tmp_path / "one", past, **small(sampler))
    assert len(in_journal(tmp_path / "one")) == 12
    assert asked(again) == lost


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2", "nsga3", "qmc"])
def test_another_seed_finds_other_cells(sampler, tmp_path):
    """At least four of the first five cells differ."""
    first, second = (history(study(tmp_path / str(seed), seed=seed, **small(sampler)), 5) for seed in (0, 1))
    assert sum(one.fields != other.fields for (one, _), (other, _) in zip(first, second, strict=True)) >= 4


def test_later_proposals_of_tpe_avoid_the_region_that_diverges(tmp_path):
    """If betas above 5 diverge and all others are on the front, betas above 5 are proposed less than two thirds as often as by chance."""

    def in_region(sampler, seed):
        space = {"beta": {"low": 0.1, "high": 20, "log": True}}
        of = study(tmp_path / f"{sampler}{seed}", space=space, sampler=sampler, seed=seed)
        later = 0
        for number in range(40):
            proposal = asked(of)
            beta = proposal.fields["beta"]
            diverges = beta > 5
            later += diverges and number >= 10
            values = (math.log(beta), -2000 - math.log(beta))
            of.tell(proposal, CellOutcome("diverged", excess={"diverged": 2.0}) if diverges else CellOutcome("completed", values))
        diverged = [trial for trial in in_journal(tmp_path / f"{sampler}{seed}") if trial.state == TrialState.PRUNED]
        assert all(trial.values is None and trial.constraints == {"diverged": 2.0} for trial in diverged)
        return later

    by_tpe, by_chance = (sum(in_region(sampler, seed) for seed in range(4)) for sampler in ("tpe", "random"))
    assert by_tpe < by_chance * 2 / 3


def test_a_gaussian_process_does_not_propose_one_cell_for_ever(tmp_path):
    """If all promising cells diverge, so that it is told no number for them, at least 10 of 16 cells are new."""
    space = {"beta": {"low": 0.1, "high": 20, "log": True}}
    of, seen = study(tmp_path / "one", space=space, sampler="gp", startup=5), []
    for _ in range(16):
        proposal = asked(of)
        beta = proposal.fields["beta"]
        values = (math.log(beta), math.log(beta) - 2000)
        known = CellOutcome("failed") if beta in seen else None
        of.tell(
            proposal,
            known or (CellOutcome("diverged", excess={"diverged": 1.0}) if beta > 5 else CellOutcome("completed", values)),
        )
        seen.append(beta)
    assert len(set(seen)) >= 10


def test_points_of_sobols_sequence_fill_a_conditional_space_evenly(tmp_path):
    """Of 32 points, each eighth of beta's range has four; alpha has a new value at each point that has it."""
    space = {**SPACE, "beta": {"low": 0.1, "high": 20, "log": True}, "alpha": {"low": 0, "high": 1, "when": {"model": "mvtcae"}}}
    past = history(study(tmp_path / "one", space=space, sampler="qmc"), 32)
    places = [math.log(p.fields["beta"] / 0.1) / math.log(200) for p, _ in past]
    assert Counter(min(7, int(8 * place)) for place in places) == dict.fromkeys(range(8), 4)
    alphas = [p.fields["alpha"] for p, _ in past if "alpha" in p.fields]
    assert len(alphas) == len(set(alphas)) > 5


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2", "gp", "qmc"])
@pytest.mark.parametrize(
    "changed",
    [
        {"model": ["mopoe", "mmvae", "mvtcae", "mvae"]},
        {"model": ["mmvae", "mvtcae"]},
        {"beta": {"low": 0.01, "high": 40, "log": True}},
        {"beta": {"low": 1, "high": 20}},
        {"beta": [0.5, 1, 2]},
        {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}},
    ],
    ids=["choice added", "choice removed", "range widened", "range narrowed, no log", "range to choices", "field added"],
)
def test_a_search_goes_on_in_a_space_that_was_changed(sampler, changed, tmp_path):
    """Cells inside the new space keep their values, cells outside of it count as failed, and new proposals are from the new space."""
    past = history(study(tmp_path / "one", **small(sampler)), 12, open_at_end=0)
    space = SPACE | changed
    again = study(tmp_path / "one", past, space=space, **small(sampler))
    assert Space(Search(space=space, cells=1)).holds(asked(again).fields)
    for trial, (proposal, ending) in zip(in_journal(tmp_path / "one"), past, strict=False):
        (field,) = changed
        value, now = proposal.fields.get(field), changed[field]
        inside = value is None or (value in now if isinstance(now, list) else now["low"] <= value <= now["high"])
        assert trial.values == (list(ending.values) if inside and ending.values else None)


# Spaces


def random_space(chance):
    """Returns a random space; each kind of dimension can occur."""
    models = chance.sample(["mopoe", "mmvae", "mvae", "mvtcae"], 3)
    low = chance.uniform(0.01, 2)
    start = chance.randint(2, 9)
    space = {
        "model": models,
        "beta": {"low": low, "high": low * chance.uniform(1.01, 90), "log": True},
        "latent_dim": {"low": start, "high": start + 5 * chance.randint(1, 6), "step": 5},
        "weight_decay": {"low": 0.0, "high": chance.uniform(0.001, 0.3)},
        "missing": {"low": 0.1, "high": 0.7, "step": 0.1},
        "batch_size": {"low": 16, "high": 512, "log": True},
        "reconstruction_weights": ["size", "equal", [1, 2, 3.5], [2, 1, 1]],
    }
    mixtures = [model for model in models if model in ("mopoe", "mmvae")]
    if "mvtcae" in models:
        space["alpha"] = {"low": 0.1, "high": 0.9, "when": {"model": "mvtcae"}}
        space["missing"]["when"] = {"model": [model for model in models if model != "mvtcae"]}
    if mixtures:
        space["kl"] = {"choices": ["sum", "mixture"], "when": {"model": mixtures}}
        space["estimator"] = {"choices": ["stratified", "categorical"], "when": {"kl": "sum"}}
    items = list(space.items())
    chance.shuffle(items)
    return dict(items)


def kept_to(dimension, value):
    """Returns whether a dimension, as written in the file, allows a value."""
    if isinstance(dimension, list) or "choices" in dimension:
        return value in (dimension if isinstance(dimension, list) else dimension["choices"])
    if not dimension["low"] <= value <= dimension["high"]:
        return False
    if isinstance(dimension["low"], int) and isinstance(dimension["high"], int):
        return isinstance(value, int) and (value - dimension["low"]) % dimension.get("step", 1) == 0
    if "step" in dimension:
        return value == round(value, 1)
    return value in (dimension["low"], dimension["high"]) or float(f"{value:.4g}") == value


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2", "qmc"])
def test_every_proposed_cell_is_one_of_its_space(sampler, seed, tmp_path):
    """Fields occur only if their parents have the right value, values are in range with four digits, and configurations are valid."""
    space = random_space(random.Random(seed))
    of = study(tmp_path / "one", space=space, **small(sampler))
    whole = Space(Search(space=space, cells=1))
    for number in range(14):
        proposal = asked(of)
        fields = proposal.fields
        wanted = {
            field
            for field, dimension in space.items()
            if all(
                fields.get(parent) in (values if isinstance(values, list) else [values])
                for parent, values in (dimension.get("when", {}) if isinstance(dimension, dict) else {}).items()
            )
        }
        assert set(fields) == wanted
        assert all(kept_to(space[field], value) for field, value in fields.items()), fields
        assert whole.holds(fields)
        TrainingConfig.model_validate(BASE | fields)
        of.tell(proposal, CellOutcome("completed", (0.01 * number, -2000.0 + number)))


@pytest.mark.parametrize(("field", "more"), [("beta", 0.05), ("beta", 1.5), ("latent_dim", 5), ("alpha", 0.5), ("kl", "sum")])
def test_a_space_does_not_hold_what_it_could_not_propose(field, more):
    """It holds no value out of range or off its steps, no field whose parent has another value, no extra and no missing field."""
    space = Space(Search(space={**SPACE, "beta": {"low": 0.1, "high": 1.0, "step": 0.1}}, cells=1))
    cell = {"model": "mopoe", "beta": 0.3, "latent_dim": 8}
    assert space.holds(cell)
    assert not space.holds(cell | {field: more})
    assert not space.holds({"model": "mopoe", "beta": 0.3})


@pytest.mark.parametrize(
    ("parent", "choices", "written", "active_at"),
    [
        ("latent_dim", [10, 20], "20", [20]),
        ("latent_dim", [10, 20], ["10", 20.0], [10, 20]),
        ("model", ["mopoe", "mmvae"], "mopoe", ["mopoe"]),
        ("reconstruction_weights", ["size", [1, 1, 1]], [[1, 1, 1]], [[1.0, 1.0, 1.0]]),
        ("reconstruction_weights", ["size", [1, 1, 1]], "size", ["size"]),
    ],
)
def test_a_field_is_searched_at_the_values_of_when_however_they_are_written(parent, choices, written, active_at):
    """A text that the field takes as a number, and a list, are the choices that they stand for."""
    space = {parent: choices, "beta": {"low": 0.1, "high": 10, "when": {parent: written}}}
    spec = parse(with_space(space) | {"base": {"model": "mopoe", **BASE}} if parent != "model" else with_space(space))
    read = Space(spec.search)
    values = read.dimensions[parent].choices
    assert [value for value in values if read.active("beta", {parent: value})] == active_at


def test_steps_are_the_numbers_that_one_would_write(tmp_path):
    """From 0.1 to 1 in steps of 0.1, a grid and a random search propose each of the ten, as 0.3 and not as 0.30000000000000004."""
    space = {"beta": {"low": 0.1, "high": 1.0, "step": 0.1}}
    for sampler in ("grid", "random"):
        of = study(tmp_path / sampler, space=space, sampler=sampler)
        found = {of.ask().fields["beta"] for _ in range(10 if sampler == "grid" else 80)}
        assert found == {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0}


@pytest.mark.parametrize("sampler", ["grid", "random"])
@pytest.mark.parametrize("high", [0.6, 0.7])
def test_the_last_step_is_within_the_range(tmp_path, high, sampler):
    """0.2 + 0.2 + 0.2 is above 0.6, and Optuna refuses it. The steps are those that decimals give, and Optuna takes every cell."""
    space = {"beta": {"low": 0.0, "high": high, "step": 0.2}, "latent_dim": [4, 8, 16]}
    of = study(tmp_path / "one", space=space, sampler=sampler)
    cells = [asked(of) for _ in range(12)]
    assert {proposal.drawn["beta"] for proposal in cells} == {0.0, 0.2, 0.4, 0.6} or sampler == "random"
    past = [(proposal, CellOutcome("completed", (proposal.fields["beta"], 1.0))) for proposal in cells]
    shares = importances(past, OBJECTIVES)[COHERENCE]
    assert max(shares, key=shares.get) == "beta"


def test_a_grid_with_the_rounding_errors_of_earlier_versions_goes_on(tmp_path):
    """Earlier versions drew the sum of the steps: 0.6000000000000001. Such cells keep their outcomes, are not proposed again, and do not
    hinder the importances.
    """
    space = {"beta": {"low": 0.0, "high": 0.6, "step": 0.2}, "latent_dim": list(range(2, 12))}
    of, past = study(tmp_path / "one", space=space, sampler="grid"), []
    for _ in range(30):
        proposal = asked(of)
        summed = proposal.drawn["beta"] and sum([0.2] * round(proposal.drawn["beta"] / 0.2))
        as_before = replace(proposal, drawn=proposal.drawn | {"beta": summed})
        past.append((as_before, CellOutcome("completed", (proposal.fields["beta"], 1.0))))
    assert {proposal.drawn["beta"] for proposal, _ in past} == {0.0, 0.2, 0.4, 0.6000000000000001}
    opened, rest = study(tmp_path / "one", past, space=space, sampler="grid"), []
    assert {trial.state for trial in in_journal(tmp_path / "one")} == {TrialState.COMPLETE}
    while (further := opened.ask()) is not None:
        rest.append(further)
    every = [(p.fields["beta"], p.fields["latent_dim"]) for p in [*(p for p, _ in past), *rest]]
    assert sorted(every) == sorted(product((0.0, 0.2, 0.4, 0.6), range(2, 12)))
    assert importances(past, OBJECTIVES)[COHERENCE]["beta"] > 0.9


def test_a_space_of_many_choices_is_searched():
    """Four lists of eleven values have 14,641 combinations: too many for a grid, and none too many for a sampler that draws."""
    lists = {"beta": range(1, 12), "latent_dim": range(2, 13), "batch_size": range(20, 31), "epochs": range(5, 16)}
    raw = with_space({"model": ["mopoe"], **{field: list(values) for field, values in lists.items()}}, sampler="tpe")
    spec = parse(raw)
    assert list(islice(Space(spec.search).corners(), 14_642)) == [
        {"model": "mopoe", **dict(zip(lists, values, strict=True))} for values in product(*lists.values())
    ] + [{"model": "mopoe", **{field: values[0] for field, values in lists.items()}}]
    with pytest.raises(SpecError, match="search.space: has more than 10000 cells as a grid"):
        parse(raw | {"search": raw["search"] | {"sampler": "grid"}})


def test_a_grid_is_every_cell_of_the_product_once_and_then_no_more(tmp_path):
    """Compared with the product made by hand, with a field that only one model has; the study is opened again half-way."""
    betas = [0.1, 0.5848, 3.42, 20.0]
    by_hand = [{"model": m, "beta": b, "latent_dim": d} for m, b, d in product(("mopoe", "mmvae"), betas, (4, 8, 12, 16))]
    by_hand += [
        {"model": "mvtcae", "beta": b, "latent_dim": d, "alpha": a} for b, d, a in product(betas, (4, 8, 12, 16), (0.0, 0.5, 1.0))
    ]
    past = history(study(tmp_path / "one", sampler="grid"), 30)
    of, found = study(tmp_path / "one", past, sampler="grid"), [proposal.fields for proposal, _ in past]
    while (proposal := of.ask()) is not None:
        found.append(proposal.fields)
    assert Space(Search(space=SPACE, cells=1)).grid_size() == len(by_hand)
    assert sorted(map(str, map(sorted_items, found))) == sorted(map(str, map(sorted_items, by_hand)))
    assert of.ask() is None


def sorted_items(fields):
    """Returns fields in a fixed order."""
    return sorted(fields.items())


# Bad files


def with_space(space=None, **search):
    """Returns the good file with another space, or with further search options."""
    raw = copy.deepcopy(GOOD)
    raw["search"] |= ({"space": space} if space is not None else {}) | search
    return raw


def more(**fields):
    """Returns the good file with a space of model, beta and `fields`."""
    return with_space({"model": ["mopoe", "mmvae"], "beta": {"low": 0.1, "high": 20}} | fields)


NOWHERE = [{"metric": "coherence/nowhere", "goal": "max"}, {"metric": LIKELIHOOD, "goal": "max"}]
BAD = {
    "empty": (with_space({}), "search.space"),
    "low above high": (more(beta={"low": 2, "high": 1}), "search.space.beta"),
    "low is high": (more(beta={"low": 2, "high": 2}), "search.space.beta"),
    "log of zero": (more(beta={"low": 0, "high": 2, "log": True}), "search.space.beta"),
    "no high": (more(beta={"low": 0}), "search.space.beta.high"),
    "text": (more(latent_dim="4 to 8"), "search.space.latent_dim"),
    "range of words": (more(likelihood={"low": "laplace", "high": "normal"}), "search.space.likelihood"),
    "yes": (more(latent_dim={"low": True, "high": 8}), "search.space.latent_dim.low"),
    "unknown field": (more(betta=[1, 2]), "search.space.betta"),
    "also in base": (more(networks=["small", "paper"]), "search.space.networks"),
    "listed twice": (more(latent_dim=[4, 8, 4.0]), "search.space.latent_dim"),
    "when unknown": (more(latent_dim={"low": 4, "high": 8, "when": {"modell": "mopoe"}}), "search.space.latent_dim.when.modell"),
    "when a range": (more(latent_dim={"low": 4, "high": 8, "when": {"beta": 1}}), "search.space.latent_dim.when.beta"),
    "when no choice": (more(alpha={"low": 0, "high": 1, "when": {"model": "mvtcae"}}), "search.space.alpha.when.model"),
    "circle": (
        with_space(
            {"model": {"choices": ["mopoe"], "when": {"kl": "sum"}}, "kl": {"choices": ["sum"], "when": {"model": "mopoe"}}}
        ),
        "search.space: model, kl",
    ),
    "objective": (GOOD | {"objectives": NOWHERE}, "objectives[0].metric"),
    "constraint": (with_space(constraints=[{"metric": "parametres", "at_most": 9}]), "search.constraints[0].metric"),
    "constraint without bound": (with_space(constraints=[{"metric": COHERENCE}]), "search.constraints[0]"),
    "seeds inside": (with_space(seeds=3), "search: seeds"),
    "objectives inside": (with_space(objectives=[]), "search: objectives"),
    "trials inside": (with_space(trials=20), "search: trials"),
    "dataset": (more(dataset=["mnist_svhn_text", "polymnist"]) | {"base": {"networks": "small"}}, "search.space.dataset"),
    "halving of two": (with_space(early={"rule": "halving", "at": [0.5]}), "search.early.rule"),
    "shares in disorder": (with_space(early={"rule": "dominated", "at": [0.5, 0.2]}), "search.early.at"),
    "grid without points": (more() | {"search": more()["search"] | {"sampler": "grid"}}, "search.space.beta"),
    "step with log": (more(beta={"low": 1, "high": 2, "log": True, "step": 0.1}), "search.space.beta.step"),
    "steps without number": (more(beta={"low": 0, "high": 1.0e10, "step": 1.0e-310}), "search.space.beta.step"),
    "steps of no width": (more(beta={"low": 0, "high": 1, "step": 1.0e-30}), "search.space.beta.step"),
    "steps by the billion": (
        with_space({"model": ["mopoe"], "beta": {"low": 0, "high": 1, "step": 1.0e-9}}, sampler="grid"),
        "search.space.beta.step: 1e-09 gives more than 1,000,000 values",
    ),
    "a grid of too many steps": (
        with_space({"model": ["mopoe"], "beta": {"low": 0, "high": 1, "step": 1.0e-5}}, sampler="grid"),
        "search.space: has more than 10000",
    ),
    "step above range": (more(latent_dim={"low": 4, "high": 8, "step": 9}), "search.space.latent_dim.step"),
    "corner": (
        with_space({"model": ["mopoe", "mvtcae"], "alpha": {"low": 0, "high": 1}}),
        "search.space.alpha: applies to model 'mvtcae'",
    ),
    "corner of two ranges": (
        more(train_examples={"low": 600, "high": 60000, "log": True}, batch_size={"low": 64, "high": 2048, "log": True}),
        "search.space.batch_size: 2048",
    ),
    "corner of a low and a high end": (
        more(private_dim={"low": 0, "high": 16}, beta_private={"low": 1, "high": 2}),
        "search.space.private_dim",
    ),
    "when of no value": (more(latent_dim={"low": 4, "high": 8, "when": {"model": []}}), "search.space.latent_dim.when.model"),
    "bound twice": (
        with_space(constraints=[{"metric": COHERENCE, "at_least": 0.1}, {"metric": COHERENCE, "at_least": 0.2}]),
        "search.constraints",
    ),
    "too many combinations": (
        more(beta=[1], latent_dim={"low": 1, "high": 100, "points": 100}, batch_size=list(range(1, 200))),
        "search.space: has more than 10000",
    ),
    "too many cells": (with_space(cells=10_000) | {"seeds": 20}, "search.cells"),
    "keep of dominated": (with_space(early={"rule": "dominated", "at": [0.5], "keep": 0.2}), "search.early: keep"),
    "after of halving": (with_space(early={"rule": "halving", "at": [0.5], "after": 3}), "search.early: after"),
    "log of another type": (more(beta={"low": 1, "high": 2, "log": "yes"}), "search.space.beta.log"),
    "startup of none": (with_space(startup=3), "search: startup"),
    "population of none": (with_space(population=8), "search: population"),
    "no reference": (with_space(stop={"no_gain": 3}), "search.stop.no_gain"),
    "grid beside": (GOOD | {"grid": {"batch_size": [1, 2]}}, "grid"),
    "zip beside": (GOOD | {"zip": {"batch_size": [1, 2]}}, "zip"),
    "include beside": (GOOD | {"include": [{"beta": 1}]}, "include"),
    "seeds without search": (
        {"name": "plain", "base": BASE, "grid": {"model": ["mopoe"]}, "seeds": {"start": 2, "max": 4}},
        "seeds",
    ),
}
BAD["too many combinations"][0]["search"]["sampler"] = "grid"


@pytest.mark.parametrize("raw_and_field", BAD.values(), ids=BAD.keys())
def test_a_mistake_is_named_in_one_line_with_its_field(raw_and_field):
    """The message begins with the field."""
    raw, field = raw_and_field
    with pytest.raises(SpecError) as raised:
        parse(raw)
    message = str(raised.value)
    assert "\n" not in message
    assert message.startswith(field)


@pytest.mark.parametrize("mistake", ["circle", "corner", "seeds inside"])
def test_the_command_line_says_it_in_one_line(mistake, tmp_path):
    """The exit code is 2, and the line has the file and the field, and no traceback."""
    path = tmp_path / "bad.yaml"
    path.write_text(json.dumps(BAD[mistake][0]))  # JSON is YAML
    done = subprocess.run([sys.executable, "-m", "orchestrator", "plan", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {path}:1: ")
    assert BAD[mistake][1] in line


# The dashboard


def test_the_dashboard_opens_the_journal(tmp_path):
    """`optuna-dashboard <file>`, asked without a server, serves the study with its directions and every trial."""
    run(constrained(), tmp_path)
    served = wsgi(guess_storage_from_url(str(journal(tmp_path))))
    (summary,) = answer(served, "/api/studies")["study_summaries"]
    assert summary["study_name"] == "found"
    assert summary["directions"] == ["maximize", "maximize"]
    trials = answer(served, f"/api/studies/{summary['study_id']}")["trials"]
    assert len(trials) == len(in_journal(journal(tmp_path)))
    assert {trial["state"] for trial in trials} >= {"Complete", "Pruned"}
    notes = {item["key"] for trial in trials for item in trial["user_attrs"]}
    assert notes >= {"cell_id", "cell", "ended"}


def answer(served, path):
    """Returns a page of a WSGI application, parsed as JSON."""
    status, environment = [], {"PATH_INFO": path, "QUERY_STRING": "after=0"}
    setup_testing_defaults(environment)
    body = b"".join(served(environment, lambda code, headers, error=None: status.append(code)))
    assert status == ["200 OK"], body
    return json.loads(body)
