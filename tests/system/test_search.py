"""Searches as a user runs them: real commands, Ray, MLflow and Optuna, and drivers that are really killed."""

import math
import signal

import optuna
import pytest
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.proposals import Proposals, resolve
from orchestrator.spec.sweep_file import parse
from tests.support.naming import counts, ran, unnamed
from tests.support.users import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
OBJECTIVES = [{"metric": "coherence/joint", "goal": "max", "reference": 0}, {"metric": "log_likelihood/joint", "goal": "max"}]


def searched(user, path):
    """The search with the cells that it has found."""
    return resolve(parse(yaml.safe_load(path.read_text())), user.storage)


def study(user, name):
    """What Optuna reads from the journal."""
    path = user.storage / "sweeps" / name / "study.journal"
    return optuna.load_study(study_name=name, storage=JournalStorage(JournalFileBackend(str(path))))


def kill_when(user, path, ended):
    """Type the command, and kill its process when so many trials have ended."""
    driver = user.starts("sweep", path)
    try:
        wait_for(lambda: len(list(user.storage.glob("trials/*/result.json"))) >= ended or driver.poll() is not None)
        assert driver.poll() is None, driver.communicate()
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.communicate()


@pytest.mark.parametrize(("cells", "kills"), [(9, (4,)), pytest.param(30, (5, 13, 22), marks=pytest.mark.long)])
def test_a_search_whose_driver_is_killed_tells_every_cell_once(user, cells, kills):
    """The driver is killed when so many trials have ended. In the end as many proposals as were asked for are as many cells, each trained
    once (an attempt that was killed is the only reason for another, and goes on from its checkpoint), the study has as many trials, all
    complete, with the numbers of the ledger to the last bit, and one more command changes no byte of it.
    """
    space = {"model": ["mvae", "mmvae", "mopoe"], "beta": {"low": 0.1, "high": 10, "log": True}}
    path = user.spec("killed", grid=None, objectives=OBJECTIVES, search={"space": space, "cells": cells, "concurrent": 3})
    for ended in kills:
        kill_when(user, path, ended)
    done = user.types("sweep", path)
    assert counts(done.stdout) == {"completed": cells}
    spec, ledger = searched(user, path), Ledger(user.storage)
    proposals = Proposals(user.storage, "killed").every()
    assert [proposal.number for proposal in proposals] == list(range(cells))
    assert len({proposal.cell_id for proposal in proposals}) == cells
    attempts = 0
    for trial, told, proposal in zip(spec.trials, study(user, "killed").trials, proposals, strict=True):
        result = ledger.result(trial)
        assert trial.cell.id == proposal.cell_id
        assert told.params == proposal.drawn
        assert (told.state.name, told.values) == ("COMPLETE", [result.value(o.metric) for o in spec.objectives])
        assert [epoch.epoch for epoch in result.history] == [1, 2, 3]
        ends = [yaml.safe_load(note.read_text()).get("status") for note in sorted((ledger.folder(trial) / "attempts").iterdir())]
        assert ends[-1] == "completed"
        assert set(ends[:-1]) <= {None}, "an attempt that ended by itself was followed by another"
        attempts += len(ends)
    assert attempts <= cells + 2 * len(kills), "two workers"
    journal = user.storage / "sweeps" / "killed" / "study.journal"
    before = journal.read_bytes()
    assert ran(user.types_here("sweep", path).stdout) == 0
    assert journal.read_bytes() == before
    assert user.kinds("killed")["trial", "FINISHED"] == cells


def test_cells_are_stopped_early_and_never_count_as_completed(user, undrawn):
    """One objective, halving after a third of the epochs, stacks of two seeds: of eight cells some are stopped, all trials of each,
    before their last epoch and after the first; they have no result, the study calls them pruned with their value at that epoch, no
    table counts them, and the command says that all is done. The same command again trains nothing.
    """
    objective = {"metric": "log_likelihood/joint", "goal": "max"}
    early = {"rule": "halving", "at": [0.34], "keep": 0.34}
    block = {"space": {"learning_rate": {"low": 0.00001, "high": 0.003, "log": True}}, "cells": 8, "early": early}
    resources = {"stack": 2}
    base = {"model": "mopoe", "epochs": 12}
    path = user.spec("early", grid=None, base=base, objectives=[objective], search=block, seeds=2, resources=resources)
    done = user.types_here("sweep", path)
    spec, ledger = searched(user, path), Ledger(user.storage)
    stopped = {cell_id: note.epoch for cell_id, note in Proposals(user.storage, "early").stopped().items()}
    assert 0 < len(stopped) < 8, done.stdout
    assert set(stopped.values()) == {4}
    for number, told in enumerate(study(user, "early").trials):
        own = [trial for trial in spec.trials if trial.cell.id == told.user_attrs["cell_id"]]
        assert len(own) == 2
        if own[0].cell.id in stopped:
            states = [ledger.state(trial) for trial in own]
            assert {state.status for state in states} == {"cancelled"}
            assert all(4 <= state.stopped_at_epoch < 12 for state in states)
            assert [ledger.result(trial) for trial in own] == [None, None]
            values = [ledger.at_epoch(trial, 4)[objective["metric"]] for trial in own]
            assert told.state.name == "PRUNED"
            assert told.intermediate_values == {4: pytest.approx(math.fsum(values) / 2, rel=1e-12)}
        else:
            assert told.state.name == "COMPLETE", number
    assert counts(done.stdout) == {"completed": 16 - 2 * len(stopped), "cancelled": 2 * len(stopped)}
    again = user.types_here("sweep", path)
    assert ran(again.stdout) == 0
    assert again.stdout.count("0/2") == len(stopped)
    assert user.kinds("early")["trial", "KILLED"] == 2 * len(stopped)


def test_a_bad_space_is_refused_before_anything_starts(user):
    """One line on standard error, exit code 2, and storage is as it was."""
    before = sorted(user.storage.rglob("*"))
    for space, named in (
        ({}, ["search.space"]),
        ({"beta": {"low": 2, "high": 1}}, ["search.space.beta", "low 2.0", "high 1.0"]),
        ({"beta": {"low": 0, "high": 1, "log": True}}, ["search.space.beta", "low 0.0"]),
        ({"bata": {"low": 0, "high": 1}}, ["search.space.bata", "'beta'"]),
    ):
        path = user.spec("bad", grid=None, base={"model": "mopoe"}, search={"space": space, "cells": 3})
        done = user.types_here("sweep", path, code=2)
        assert not unnamed(done.stderr, *named)
        assert done.stderr.count("\n") == 1
    assert sorted(user.storage.rglob("*")) == before
