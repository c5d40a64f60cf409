"""The policy of a search, with a real ledger and a real study. The results are made up, and nothing is trained."""

import math
from dataclasses import replace
from itertools import count

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from orchestrator.analysis import fronts
from orchestrator.errors import SpecError
from orchestrator.execution import cpus
from orchestrator.execution import plan as planning
from orchestrator.execution.events import MetricsAtEpoch, TrialEnded, TrialStopped
from orchestrator.execution.queue.job_queue import Queue
from orchestrator.ledger.leases.lease import LeaseLost
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.proposals import Proposal, Proposals, resolve
from orchestrator.ledger.sweep_records import as_json
from orchestrator.monitor.live_state import StorageWatch
from orchestrator.monitor.progress import Progress
from orchestrator.search import draws, early_stopping, outcomes
from orchestrator.search.engine import SearchEngine
from orchestrator.spec import search_space
from orchestrator.spec.search_limits import MOST_REPEATS
from orchestrator.spec.sections import Resources
from orchestrator.spec.sweep_file import parse
from tests.support.builders import COHERENCE, LIKELIHOOD, result
from tests.support.naming import unnamed

OBJECTIVES = [{"metric": COHERENCE, "goal": "max", "reference": 0}, {"metric": LIKELIHOOD, "goal": "max", "reference": -3000}]


def search(name="s", seeds=2, objectives=OBJECTIVES, base=None, **block):
    """Returns a search over beta and latent dimension; `block` changes its search block."""
    space = {"beta": {"low": 0.1, "high": 10, "log": True}, "latent_dim": {"low": 2, "high": 40}}
    base = base or {"dataset": "mnist_svhn_text", "networks": "small", "model": "mopoe", "epochs": 10}
    block = {"space": space, "cells": 6, **block}
    return parse({"name": name, "base": base, "search": block, "seeds": seeds, "objectives": objectives})


def usual(trial):
    """Returns metrics: coherence grows and likelihood falls with beta, 20 latent dimensions are best, and seeds differ a little."""
    off = abs(trial.config.latent_dim - 20) / 20
    noise = 0.004 * (trial.seed - 0.5)
    return {COHERENCE: 0.9 * trial.config.beta / (1 + trial.config.beta) - 0.2 * off + noise,
            LIKELIHOOD: -2000 - 40 * trial.config.beta - 200 * off + 100 * noise}  # fmt: skip


class Driver:
    """Stands for the driver: makes up the results of a search's trials, and records which trials it was given."""

    def __init__(self, spec, storage, train=usual, status=lambda trial: "completed", at_once=2):
        self.ledger, self.train, self.status, self.at_once = Ledger(storage), train, status, at_once
        self.spec = resolve(spec, storage)
        self.results = {r.trial.id: r for r in self.ledger.results_of(self.spec.trials)}
        self.trained, self.lines, self.failed, self.most_open = [], [], {}, 0
        self.search = SearchEngine(self.spec, self.ledger, self.results, self.widen, self.lines.append)

    def widen(self, spec):
        """Take over the search with its new cells, as a sweep's driver does."""
        self.spec = spec
        self.results |= {r.trial.id: r for r in self.ledger.results_of(spec.trials)}

    def end(self, trial):
        """End a trial, and record its result."""
        assert trial not in self.trained, "trained twice"
        self.trained.append(trial)
        how = self.status(trial)
        if how == "failed":
            self.failed[trial.id] = "it broke"
            return
        ended = result(trial.cell, trial.seed, self.train(trial), how, parameters=1000 * trial.config.latent_dim)
        self.ledger.record(ended)
        self.results[trial.id] = ended

    def run(self, most=math.inf):
        """Run the search to its end, or until `most` trials have ended. Trials end in the order in which they were proposed."""
        waiting = list(self.search.start())
        while len(self.trained) < most and (waiting or not self.search.is_over):
            waiting += self.search.next(self.failed, self.at_once)
            self.most_open = max(self.most_open, len({trial.cell.id for trial in waiting}))
            if waiting:
                self.end(waiting.pop(0))
        return self

    @property
    def proposed(self):
        """The outcomes of the cells, as the report has them."""
        return outcomes.of_search(self.spec, self.ledger.storage, list(self.results.values()))

    def study(self):
        """Returns the study that Optuna itself reads from the journal."""
        path = self.ledger.storage / "sweeps" / self.spec.name / "study.journal"
        return optuna.load_study(study_name=self.spec.name, storage=JournalStorage(JournalFileBackend(str(path))))


@pytest.fixture
def stops_at_once(monkeypatch):
    """The rule stops each cell at its first metrics. Returns the block of a search that stops cells early."""
    rule = early_stopping.stopping_rule

    def make_rule(spec, block):
        made = rule(spec, block)
        made.why_stop = lambda *arguments: "for the test"
        return made

    monkeypatch.setattr(early_stopping, "stopping_rule", make_rule)
    return {"rule": "dominated", "at": [0.5], "after": 2}


def even(trial):
    """Returns metrics by which no cell is better than another for sure."""
    return {COHERENCE: 0.5 + 0.01 * trial.seed, LIKELIHOOD: -2000.0 - 0.01 * trial.config.latent_dim + 5 * trial.seed}


def expected(driver, cell):
    """Returns the means over the starting seeds, computed by hand."""
    trials = [t for t in driver.spec.trials if t.cell.id == cell.id and t.seed in driver.spec.seed_list]
    results = [driver.ledger.result(trial) for trial in trials]
    return [math.fsum(r.value(name) for r in results) / len(results) for name in (COHERENCE, LIKELIHOOD)]


def test_every_cell_is_told_once_with_the_means_over_its_seeds(tmp_path):
    """Six cells of two seeds are twelve trials, each trained once. The study has six complete trials with the means computed by hand."""
    driver = Driver(search(), tmp_path).run()
    assert len(driver.trained) == len(set(driver.trained)) == 12
    study = driver.study()
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 6
    for trial, cell in zip(study.trials, driver.spec.cells, strict=True):
        assert trial.values == pytest.approx(expected(driver, cell), abs=0, rel=1e-12)
    assert driver.most_open <= 2


def test_a_search_that_is_cut_anywhere_ends_as_the_one_that_is_not(tmp_path):
    """The driver ends after 1, 2, 5 or 11 trials. The next one proposes the same cells as an unbroken search, trains only the missing
    trials, and has the same study in the end.
    """
    whole = Driver(search(concurrent=1), tmp_path / "whole").run()
    for cut in (1, 2, 5, 11):
        storage = tmp_path / str(cut)
        before = Driver(search(concurrent=1), storage).run(most=cut)
        after = Driver(search(concurrent=1), storage).run()
        assert not set(before.trained) & set(after.trained)
        assert [c.id for c in after.spec.cells] == [c.id for c in whole.spec.cells]
        assert [(t.params, t.values) for t in after.study().trials] == [(t.params, t.values) for t in whole.study().trials]


def test_a_finished_search_can_be_extended_and_given_more_seeds_and_other_objectives(tmp_path):
    """With more cells, only these are trained. With one more seed, every cell is trained with it, and the study has the new means. If an
    objective changes from max to min, nothing is trained, and the study minimises.
    """
    Driver(search(), tmp_path).run()
    more = Driver(search(cells=8), tmp_path).run()
    assert len(more.trained) == 4
    seeds = Driver(search(cells=8, seeds=3), tmp_path).run()
    assert [trial.seed for trial in seeds.trained] == [2] * 8
    for trial, cell in zip(seeds.study().trials, seeds.spec.cells, strict=True):
        assert trial.values == pytest.approx(expected(seeds, cell), abs=0, rel=1e-12)
    turned = Driver(search(cells=8, seeds=3, objectives=[{**OBJECTIVES[0], "goal": "min"}, OBJECTIVES[1]]), tmp_path).run()
    assert turned.trained == []
    assert [d.name for d in turned.study().directions] == ["MINIMIZE", "MAXIMIZE"]
    assert len(turned.study().trials) == 8


@pytest.mark.parametrize(("how", "kind", "state"), [("diverged", "diverged", "PRUNED"), ("failed", "failed", "FAIL")])
def test_a_cell_that_lost_a_seed_is_never_a_number(tmp_path, how, kind, state):
    """If the second seed of the third cell diverges or fails, the study has no values for that cell, although its first seed completed.
    All other cells have values, and the front leaves the third cell out.
    """
    numbers = count()
    order = {}

    def status(trial):
        order.setdefault(trial.cell.id, next(numbers))
        return how if order[trial.cell.id] == 2 and trial.seed == 1 else "completed"

    driver = Driver(search(), tmp_path, status=status).run()
    lost = next(cell_id for cell_id, place in order.items() if place == 2)
    states = {trial.user_attrs["cell_id"]: (trial.state.name, trial.values) for trial in driver.study().trials}
    assert states[lost] == (state, None)
    assert sum(name == "COMPLETE" for name, _ in states.values()) == 5
    kinds = {proposed.outcome.kind for proposed in driver.proposed if proposed.cell.id == lost}
    assert kinds == ({kind} if kind == "diverged" else {"open"})
    front = fronts.front(driver.spec.objectives, driver.spec.cells, driver.spec.seeds_by_cell, list(driver.results.values()))
    assert lost in {cell.cell_id for cell in front.left_out}


def test_a_failed_cell_is_tried_again_by_the_next_command(tmp_path):
    """The second command trains only the failed trials, and the study is then told the means."""
    first = Driver(search(), tmp_path, status=lambda trial: "failed" if trial.seed else "completed").run()
    assert {trial.state.name for trial in first.study().trials} == {"FAIL"}
    second = Driver(search(), tmp_path).run()
    assert {trial.seed for trial in second.trained} == {1}
    assert {trial.state.name for trial in second.study().trials} == {"COMPLETE"}
    assert len(second.study().trials) == 6


def test_a_stopped_cell_is_told_when_its_last_trial_has_stopped_and_one_that_ended_all_the_same_is_complete(
    tmp_path, stops_at_once
):
    """Until a worker has seen the stop, Optuna is told nothing; then the cell is pruned. If all trials end before their worker sees it,
    the cell has completed, and Optuna is told its means.
    """
    for ends in (False, True):
        driver = Driver(search(f"s{ends}", cells=1, early=stops_at_once), tmp_path)
        one, two = driver.search.start()
        driver.search.on_metrics_at_epoch(MetricsAtEpoch(one.id, 5, {COHERENCE: 0.5, LIKELIHOOD: -2000.0}))
        assert {cell_id: note.epoch for cell_id, note in Proposals(tmp_path, f"s{ends}").stopped().items()} == {one.cell.id: 5}
        driver.search.on_trial_stopped(TrialStopped(one.id, 5))
        assert driver.search.next({}, 1) == []
        assert driver.study().trials[0].state == TrialState.RUNNING
        if ends:
            driver.end(one)
            driver.end(two)
        driver.search.on_trial_stopped(TrialStopped(two.id, 5))
        driver.search.next({}, 1)
        (trial,) = driver.study().trials
        assert trial.state == (TrialState.COMPLETE if ends else TrialState.PRUNED)
        assert (trial.values is None) != ends
        assert driver.search.is_over
        again = Driver(search(f"s{ends}", cells=1, early=stops_at_once), tmp_path).run()
        assert again.trained == []


def grid(storage, name="before", seeds=2, **base):
    """Returns a sweep in the same storage whose trials have results."""
    spec = parse({
        "name": name, "base": {"dataset": "mnist_svhn_text", "networks": "small", "model": "mopoe", "epochs": 10, **base},
        "grid": {"beta": [0.5, 2, 50], "latent_dim": [4, 20]}, "seeds": seeds, "objectives": OBJECTIVES,
    })  # fmt: skip
    ledger = Ledger(storage)
    for trial in spec.trials:
        ledger.begin(trial)
        ledger.record(result(trial.cell, trial.seed, usual(trial)))
    (storage / "sweeps" / name).mkdir(parents=True)
    (storage / "sweeps" / name / "sweep.json").write_text(as_json(spec))
    return spec


def test_a_search_starts_warm_from_cells_that_lie_in_its_space(tmp_path):
    """Four of a sweep's six cells are in the space (a beta of 50 is not). Optuna is told their means first, and they are not trained.
    The search still proposes all its own cells.
    """
    grid(tmp_path)
    driver = Driver(search(warm_start=["before"]), tmp_path).run()
    assert [p.source for p in Proposals(tmp_path, "s").every()] == ["before"] * 4 + [""] * 6
    assert len(driver.trained) == 12
    assert [trial.params for trial in driver.study().trials[:4]] == [
        {"beta": beta, "latent_dim": dim} for beta in (0.5, 2.0) for dim in (4, 20)
    ]
    for trial, cell in zip(driver.study().trials, driver.spec.cells, strict=True):
        assert trial.values == pytest.approx(expected(driver, cell), abs=0, rel=1e-12)
    again = Driver(search(warm_start=["before"]), tmp_path).run()
    assert (again.trained, len(again.study().trials)) == ([], 10)


@pytest.mark.parametrize(("seeds", "base"), [(1, {}), (2, {"epochs": 20})])
def test_cells_that_are_not_those_of_the_search_are_not_taken(tmp_path, seeds, base):
    """No cell is taken from a sweep with fewer seeds or another base."""
    grid(tmp_path, seeds=seeds, **base)
    driver = Driver(search(warm_start=["before"]), tmp_path).run()
    assert {p.source for p in Proposals(tmp_path, "s").every()} == {""}
    assert any(not unnamed(line, 0, "before") for line in driver.lines)


def test_a_proposal_that_another_driver_has_made_is_not_written_over(tmp_path):
    """The second driver that writes a proposal's number gets LeaseLost, and the first driver's proposal stays."""
    proposals = Proposals(tmp_path, "s")
    first = Proposal(0, "a" * 16, {"beta": 1.0}, {"beta": 1.0}, {}, {})
    proposals.add(first)
    with pytest.raises(LeaseLost):
        proposals.add(replace(first, fields={"beta": 2.0}))
    assert proposals.every() == [first]


def test_a_warm_start_from_a_sweep_that_is_not_there_is_refused(tmp_path):
    """The error has the sweep's name and what to do."""
    with pytest.raises(SpecError, match=r"^search\.warm_start: .*'nowhere'"):
        Driver(search(warm_start=["nowhere"]), tmp_path).run()


def test_a_proposed_cell_that_the_ledger_has_is_told_at_once(tmp_path):
    """Of two searches that propose the same cells, the second trains nothing and tells Optuna the same."""
    first = Driver(search("one", concurrent=1), tmp_path).run()
    second = Driver(search("two", concurrent=1), tmp_path).run()
    assert second.trained == []
    assert [t.values for t in second.study().trials] == [t.values for t in first.study().trials]


def test_a_small_space_is_searched_to_its_end(tmp_path):
    """Each of three values is trained once, however many cells are asked for and however often the sampler repeats itself."""
    driver = Driver(search(space={"latent_dim": [4, 8, 16]}, cells=20, sampler="random"), tmp_path).run()
    assert sorted(cell.config.latent_dim for cell in driver.spec.cells) == [4, 8, 16]
    assert len(driver.trained) == 6
    states = [trial.state.name for trial in driver.study().trials]
    assert states.count("COMPLETE") == 3
    assert states[-MOST_REPEATS:] == ["FAIL"] * MOST_REPEATS


def test_a_budget_of_trial_hours_stops_the_search(tmp_path):
    """Each made-up trial took three seconds, so seven trials use up 20 s, and four cells of two seeds are trained."""
    driver = Driver(search(cells=50, stop={"trial_hours": 20 / 3600}, concurrent=1), tmp_path, at_once=1).run()
    assert len(driver.trained) == 8


def test_cells_without_gain_stop_the_search(tmp_path):
    """If every cell is as good as the first and three cells without gain end the search, three more cells are trained."""
    same = {COHERENCE: 0.5, LIKELIHOOD: -2000.0}
    driver = Driver(search(cells=50, stop={"no_gain": 3}, concurrent=1), tmp_path, train=lambda trial: same).run()
    assert len(driver.spec.cells) == 4


def test_a_cell_that_breaks_a_constraint_is_told_as_infeasible_and_is_on_no_front(tmp_path):
    """The limit is 20,000 parameters; each latent dimension has a thousand. In the study, wider cells keep their values, and their
    constraint is the excess. They are not feasible.
    """
    driver = Driver(search(cells=12, constraints=[{"metric": "parameters", "at_most": 20000}]), tmp_path).run()
    wide = {cell.id for cell in driver.spec.cells if cell.config.latent_dim > 20}
    assert 0 < len(wide) < 12
    for trial, cell in zip(driver.study().trials, driver.spec.cells, strict=True):
        assert trial.constraints == {"parameters at_most": 1000 * cell.config.latent_dim - 20000}
        assert trial.state == TrialState.COMPLETE
    feasible = outcomes.feasible(driver.spec, list(driver.results.values()))
    assert {cell.id for cell in feasible} == {cell.id for cell in driver.spec.cells} - wide


def test_a_metric_with_two_bounds_keeps_to_both(tmp_path):
    """Cells with fewer than 10,000 parameters break one bound, cells with more than 30,000 the other. The study has both."""
    bounds = [{"metric": "parameters", "at_least": 10000}, {"metric": "parameters", "at_most": 30000}]
    driver = Driver(search(cells=12, constraints=bounds), tmp_path).run()
    dims = {cell.id: cell.config.latent_dim for cell in driver.spec.cells}
    assert min(dims.values()) < 10
    assert max(dims.values()) > 30
    results = list(driver.results.values())
    assert {cell.id for cell in outcomes.feasible(driver.spec, results)} == {key for key, dim in dims.items() if 10 <= dim <= 30}
    for trial, cell in zip(driver.study().trials, driver.spec.cells, strict=True):
        dim = cell.config.latent_dim
        assert trial.constraints == {"parameters at_least": 10000 - 1000 * dim, "parameters at_most": 1000 * dim - 30000}


# Impossible draws

IMPOSSIBLE_WITHIN = {"train_examples": {"low": 600, "high": 2100}, "batch_size": {"low": 64, "high": 2048}}


@pytest.fixture
def few_corners(monkeypatch):
    """Only the first two corners of a space are checked, as if the impossible cells were no corners."""
    monkeypatch.setattr(search_space, "MOST_CHECKED", 2)


@pytest.mark.parametrize("cut", [3, math.inf])
def test_a_search_goes_on_over_impossible_draws(tmp_path, few_corners, cut):
    """Batches larger than the training data fail in the study, and all cells are proposed, also if the driver ends in between."""
    sought = search(space=IMPOSSIBLE_WITHIN, cells=8, sampler="random", concurrent=1)
    first = Driver(sought, tmp_path).run(most=cut)
    second = Driver(sought, tmp_path).run()
    assert len(first.trained) + len(second.trained) == 2 * len(second.spec.cells) == 16
    fates = {trial.state for trial in second.study().trials if trial.params["batch_size"] > trial.params["train_examples"]}
    assert fates == {TrialState.FAIL}
    assert [trial.state for trial in second.study().trials].count(TrialState.COMPLETE) == 8
    assert Driver(sought, tmp_path).run().trained == []


def test_a_command_that_gives_up_names_the_field_and_the_next_one_draws_anew(tmp_path, few_corners, monkeypatch):
    """The error has the place of the field in the file. Two commands give up at two draws, and neither stands in the way of a changed
    space.
    """
    monkeypatch.setattr(draws, "MOST_IMPOSSIBLE", 1)
    refused = []
    for _ in range(2):
        with pytest.raises(SpecError) as caught:
            Driver(search(space=IMPOSSIBLE_WITHIN, cells=50, sampler="random", concurrent=1), tmp_path).run()
        (mistake,) = caught.value.mistakes
        assert mistake.at == ("search", "space", "batch_size")
        assert mistake.text.startswith("search.space.batch_size: ")
        refused.append(Proposals(tmp_path, "s").every()[-1])
    assert refused[0].number < refused[1].number
    assert refused[0].fields != refused[1].fields
    space = IMPOSSIBLE_WITHIN | {"batch_size": {"low": 64, "high": 600}}
    cells = len(Proposals(tmp_path, "s").every()) + 4
    changed = Driver(search(space=space, cells=cells, sampler="random", concurrent=1), tmp_path).run()
    assert len(changed.spec.cells) == cells


# What the plan says is what the search does


def same(_):
    """Returns the same metrics for every trial."""
    return {COHERENCE: 0.5, LIKELIHOOD: -2000.0}


def cells_planned(spec, storage):
    """Returns how many cells the plan of a search counts as still to be proposed."""
    found = resolve(spec, storage)
    return planning.make(found.wanted, Ledger(storage), spec=found).to_come.cells


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"stop": {"no_gain": 2}}, {"stop": {"no_gain": 2}}, 0),
        ({"stop": {"no_gain": 2}}, {"stop": {"no_gain": 8}}, 9),
        ({"stop": {"no_gain": 2}}, {}, 9),
        ({"stop": {"trial_hours": 17 / 3600}}, {"stop": {"trial_hours": 17 / 3600}}, 0),
        ({"stop": {"trial_hours": 17 / 3600}}, {"stop": {"trial_hours": 1}}, 9),
        ({"cells": 3}, {"cells": 12}, 9),
        ({"cells": 3}, {"cells": 3}, 0),
    ],
)
def test_the_plan_counts_further_cells_exactly_if_the_search_goes_on(tmp_path, before, after, expected):
    """A search of three cells has ended, by its number of cells or by a limit. The limit stays, is raised, or is taken away."""
    ended = Driver(search(**{"cells": 12, "concurrent": 1, **before}), tmp_path, train=same, at_once=1).run()
    assert len(ended.spec.cells) == 3
    changed = search(**{"cells": 12, "concurrent": 1, **after})
    assert cells_planned(changed, tmp_path) == expected
    goes_on = Driver(changed, tmp_path, train=same, at_once=1).run()
    assert bool(goes_on.trained) == bool(expected)


def test_cells_of_a_warm_start_take_no_place_in_the_plan(tmp_path):
    """Four cells come from another sweep. The plan counts six cells before the search, four after two, and none in the end. The
    remaining time on screen counts the same cells.
    """
    grid(tmp_path)
    warm = search(warm_start=["before"], concurrent=1)
    assert cells_planned(warm, tmp_path) == 6
    Driver(warm, tmp_path).run(most=3)
    assert cells_planned(warm, tmp_path) == 4
    begun = resolve(warm, tmp_path)
    assert (len(begun.cells), begun.own_cell_count) == (6, 2)
    Driver(warm, tmp_path).run()
    assert cells_planned(warm, tmp_path) == 0
    assert cells_planned(search(warm_start=["before"], cells=9), tmp_path) == 3


def test_cells_that_diverged_were_stopped_or_break_a_constraint_count_as_cells_without_gain_in_the_plan(tmp_path):
    """After the first cell every other one diverges, breaks the constraint, or is stopped; the plan and the search count three."""
    order = {}

    def place(trial):
        return order.setdefault(trial.cell.id, len(order))

    limits = {"cells": 12, "concurrent": 1, "constraints": [{"metric": COHERENCE, "at_most": 0.6}], "stop": {"no_gain": 4}}
    driver = Driver(
        search(**limits),
        tmp_path,
        train=lambda trial: {COHERENCE: 0.7 if place(trial) == 1 else 0.5, LIKELIHOOD: -2000.0},
        status=lambda trial: "diverged" if place(trial) == 2 else "completed",
    ).run(most=6)
    stopped = driver.search.next({}, 1)
    Proposals(tmp_path, "s").stop(stopped[0].cell.id, 5, "for the test")
    for no_gain, ends in ((3, True), (4, False)):
        changed = search(**limits | {"stop": {"no_gain": no_gain}})
        assert (cells_planned(changed, tmp_path) == 0) == ends
        assert (Driver(changed, tmp_path).search.start() == []) == ends


def test_the_time_to_go_counts_no_cells_of_a_search_that_has_reached_its_limit(tmp_path, monkeypatch):
    """While the last trial trains, only it is left if the limit is reached, and eighteen more if it is not."""
    monkeypatch.setattr(cpus, "usable", lambda: 1)
    Driver(search(cells=12, concurrent=1), tmp_path, train=same, at_once=1).run(most=5)
    left = {}
    for no_gain in (1, 9):
        live = StorageWatch(search(cells=12, stop={"no_gain": no_gain}), tmp_path).look()
        left[no_gain] = Progress(live).seconds_left()
    assert left[9] == pytest.approx((1 + 9 * 2) * left[1])
    assert left[1] > 0


def test_further_seeds_go_to_cells_whose_place_is_undecided_and_to_no_others(tmp_path):
    """If noise is as large as the differences, some cells get further seeds. In the end each cell has the most seeds, or it is decided
    whether it is on the front. Optuna keeps the means over the starting seeds.
    """

    def noisy(trial):
        jitter = math.sin(1e4 * trial.config.beta * (trial.seed + 1))
        return {COHERENCE: 0.5 + 0.05 * jitter, LIKELIHOOD: -2000 - 20 * trial.config.beta + 5 * jitter}

    adaptive = {"start": 2, "max": 5, "until": 0.9}
    driver = Driver(search(seeds=adaptive, cells=8), tmp_path, train=noisy).run()
    counts = {cell_id: len(seeds) for cell_id, seeds in driver.spec.seeds_by_cell.items()}
    assert set(counts.values()) <= {2, 3, 4, 5}
    assert max(counts.values()) > 2
    results = list(driver.results.values())
    front = fronts.front(driver.spec.objectives, driver.spec.cells, driver.spec.seeds_by_cell, results, driver.spec.adaptive)
    assert len(front.points) == 8
    for point in front.points:
        assert counts[point.cell_id] == 5 or not 0.1 < point.probability < 0.9
    for trial, cell in zip(driver.study().trials, driver.spec.cells, strict=True):
        assert trial.values == pytest.approx(expected(driver, cell), abs=0, rel=1e-12)
    assert Driver(search(seeds=adaptive, cells=8), tmp_path, train=noisy).run().trained == []


def test_further_seeds_that_were_cut_off_are_trained_by_the_next_command(tmp_path):
    """If the driver ends after the first further seed, the next one trains the rest, and no trial twice."""
    adaptive = {"start": 2, "max": 4}
    first = Driver(search(seeds=adaptive), tmp_path, train=even).run(most=13)
    second = Driver(search(seeds=adaptive), tmp_path, train=even).run()
    assert second.trained
    assert not set(first.trained) & set(second.trained)
    assert all(second.ledger.result(trial) for trial in second.spec.wanted)


def test_a_cell_that_gets_a_further_seed_is_not_stopped(tmp_path, stops_at_once):
    """It has completed, and its further trial is measured on the way. The cell is not stopped, and its trial ends."""
    driver = Driver(search(seeds={"start": 2, "max": 3}, early=stops_at_once), tmp_path, train=even).run(most=12)
    further = driver.search.next({}, 2)
    assert further
    assert {trial.seed for trial in further} == {2}
    for trial in further:
        driver.search.on_metrics_at_epoch(MetricsAtEpoch(trial.id, 5, even(trial)))
        driver.end(trial)
    assert Proposals(tmp_path, "s").stopped() == {}
    assert driver.search.next({}, 2) == []
    assert driver.search.is_over


def test_a_search_does_not_wait_for_further_seeds_that_were_stopped(tmp_path, stops_at_once):
    """A driver before this one stopped the cells after they had completed. Their further trials stop, and get no more seeds."""
    driver = Driver(search(seeds={"start": 2, "max": 5}, early=stops_at_once), tmp_path, train=even).run(most=12)
    for trial in driver.search.next({}, 2):
        driver.search.on_trial_stopped(TrialStopped(trial.id, 5))
    while further := driver.search.next({}, 2):
        assert not {trial.cell.id for trial in further} & set(driver.search._stopped)
        for trial in further:
            driver.end(trial)
    assert driver.search.is_over


def test_a_stop_counts_if_storage_lists_it_late(tmp_path, monkeypatch, stops_at_once):
    """The record of the stop is not listed yet, whether this driver wrote it or another. The cell is pruned, and the search ends."""
    for number, by_this_driver in enumerate((True, False)):
        driver = Driver(search(f"s{number}", cells=1, early=stops_at_once), tmp_path)
        monkeypatch.setattr(Proposals, "stopped", lambda self: {})
        trials = driver.search.start()
        if by_this_driver:
            driver.search.on_metrics_at_epoch(MetricsAtEpoch(trials[0].id, 5, even(trials[0])))
        for trial in trials:
            driver.search.on_trial_stopped(TrialStopped(trial.id, 5))
        assert driver.search.next({}, 1) == []
        assert driver.search.is_over
        assert [trial.state for trial in driver.study().trials] == [TrialState.PRUNED]


def test_a_search_does_not_wait_for_a_trial_that_was_reset_before_its_result_was_read(tmp_path):
    """The trial has ended, and the ledger has no result of it. The next command trains it."""
    driver = Driver(search(cells=1), tmp_path)
    one, two = driver.search.start()
    driver.end(one)
    driver.search.on_trial_ended(TrialEnded(one.id, "completed"))
    driver.search.on_trial_ended(TrialEnded(two.id, "completed"))
    assert driver.search.next({}, 1) == []
    assert driver.search.is_over
    assert Driver(search(cells=1), tmp_path).run().trained == [two]


def test_a_driver_that_was_taken_over_while_it_drew_records_no_proposal(tmp_path):
    """Another driver has added a trial to the same study. The first gets LeaseLost, and records nothing; the next start has no gap."""
    first = Driver(search(cells=4, concurrent=4), tmp_path)
    first.end(first.search.start()[0])
    drawn = first.search._study.ask()  # as another driver's, which has not recorded it yet
    assert drawn.number == 1
    with pytest.raises(LeaseLost):
        first.search.next({}, 4)
    assert [proposal.number for proposal in Proposals(tmp_path, "s").every()] == [0]
    again = Driver(search(cells=4), tmp_path).run()
    assert [proposal.number for proposal in Proposals(tmp_path, "s").every()] == [0, 1, 2, 3]
    assert len(again.study().trials) == 4


def test_fewer_seeds_never_replace_those_that_another_driver_gave(tmp_path):
    """A driver that was taken over would give a cell three seeds where the other has given it five."""
    proposals = Proposals(tmp_path, "s")
    proposals.give_seeds("a" * 16, 5)
    for fewer in (3, 5):
        with pytest.raises(LeaseLost):
            proposals.give_seeds("a" * 16, fewer)
    assert proposals.seed_counts() == {"a" * 16: 5}


def test_a_base_that_has_changed_under_a_search_is_refused(tmp_path):
    """All its cells would be other trials. The error names the field and what to do."""
    Driver(search(), tmp_path).run()
    changed = {"dataset": "mnist_svhn_text", "networks": "small", "model": "mopoe", "epochs": 11}
    with pytest.raises(SpecError, match=r"^base: .*\bs\b"):
        Driver(search(base=changed), tmp_path)


def test_a_space_that_has_changed_under_a_search_goes_on(tmp_path):
    """With another range, a linear scale and a further field, old outcomes stay, and new cells come from the new space."""
    Driver(search(), tmp_path).run()
    space = {"beta": {"low": 20, "high": 30}, "latent_dim": {"low": 2, "high": 40}, "weight_decay": {"low": 0, "high": 0.1}}
    driver = Driver(search(cells=9, space=space), tmp_path).run()
    assert len(driver.trained) == 6
    assert [cell.config.beta >= 20 for cell in driver.spec.cells] == [False] * 6 + [True] * 3
    assert [cell.config.weight_decay > 0 for cell in driver.spec.cells] == [False] * 6 + [True] * 3


def test_a_queue_asks_its_source_only_when_it_has_nothing_else(tmp_path):
    """The queue asks its source only when it has no waiting job, and is over when the source is."""

    class Source:
        is_over, asked = False, 0

        def more(self, failed):
            self.asked += 1
            return []

    source = Source()
    queue = Queue([], Resources(), source=source)
    assert queue.next("a") is None
    assert (source.asked, queue.is_over) == (1, False)
    source.is_over = True
    assert queue.is_over
