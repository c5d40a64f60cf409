"""A snapshot has what the ledger says of each trial, from one reading."""

import pytest

from orchestrator.errors import DamagedError
from orchestrator.ledger import snapshot
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.sweep_file import parse
from tests.support.builders import grid_results
from tests.support.naming import naming
from tests.support.opened import of_name, opened

RAW = {
    "name": "t",
    "base": {"dataset": "mnist_svhn_text", "networks": "small"},
    "grid": {"model": ["mvae", "mopoe"], "beta": [1, 2]},
    "seeds": 2,
}


@pytest.fixture
def spec():
    """Eight trials."""
    return parse(RAW)


@pytest.fixture
def ledger(tmp_path, spec):
    """A ledger with five completed trials, a failed one, one that has begun and a new one."""
    ledger = Ledger(tmp_path)
    every = spec.trials
    for one in grid_results(spec.cells, 2)[:5]:
        ledger.begin(one.trial)
        ledger.record(one)
    for trial in every[5:7]:
        ledger.begin(trial)
    ledger.fail(every[5], "Traceback\nValueError: no")
    return ledger


def test_a_snapshot_has_what_the_ledger_says_of_each_trial(spec, ledger):
    """State, result and stamp are the same as if each trial were read separately, in the order of the trials."""
    taken, every = snapshot.read(spec, ledger), spec.trials
    assert taken.states == {trial.id: ledger.state(trial) for trial in every}
    assert list(taken.results) == ledger.results_of(every)
    assert taken.stamps == {trial.id: ledger.stamp(trial) for trial in every}
    assert list(taken.statuses.values()) == [*["completed"] * 5, "failed", "pending", "pending"]


def test_a_snapshot_reads_each_result_once(spec, ledger):
    """However often it is used."""
    with opened() as count:
        taken = snapshot.read(spec, ledger)
        assert (len(taken.results), len(taken.stamps), len(taken.states)) == (5, 8, 8)
        assert taken.result(taken.trials[0]) is taken.results[0]
    assert list(of_name(count, "result.json").values()) == [1] * 5


def test_a_damaged_record_is_an_error_for_whoever_asks_for_it(spec, ledger):
    """The other trials can be read; everything that needs all trials raises."""
    seen_whole = snapshot.read(spec, ledger)
    damaged, whole = seen_whole.trials[0], seen_whole.trials[1]
    path = ledger.folder(damaged) / "result.json"
    path.write_text(path.read_text()[:-40])
    seen = snapshot.read(spec, ledger)
    assert seen.result(whole) == seen_whole.result(whole)
    for ask in (lambda: seen.reading(damaged), lambda: seen.results, lambda: seen.states, lambda: seen.stamps):
        with pytest.raises(DamagedError, check=naming(path)):
            ask()
    assert snapshot.state_or_damage(damaged, ledger).status == "damaged"
    assert snapshot.state_or_damage(whole, ledger) == ledger.state(whole)
