"""The ledger and the plan: what they derive from which files."""

import math
import os
import time
from dataclasses import replace

import pytest

from mopoe_core.config.training_config import TrainingConfig
from orchestrator.errors import DamagedError, LedgerError
from orchestrator.execution import estimates
from orchestrator.execution import plan as planning
from orchestrator.ledger.leases import holder
from orchestrator.ledger.leases.heartbeat import STALE_SECONDS
from orchestrator.ledger.leases.lease import Lease
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.sections import Resources
from orchestrator.spec.trial import Trial
from tests.support.builders import COHERENCE, cell, result
from tests.support.naming import naming

TRIAL = Trial(cell(), 0)


@pytest.fixture
def ledger(tmp_path):
    """An empty ledger."""
    return Ledger(tmp_path / "runs")


def test_reading_creates_nothing(ledger):
    """Reading states, results and plans creates no folder."""
    assert ledger.state(TRIAL).status == "pending"
    assert ledger.result(TRIAL) is None
    assert planning.make([TRIAL], ledger).fresh == (TRIAL,)
    assert not ledger.storage.exists()


def test_a_result_comes_back_as_it_was_recorded(ledger):
    """Every field is the same, also the NaN in a diverged history."""
    recorded = result(cell(), 0, {COHERENCE: 0.1 + 0.2})
    ledger.begin(TRIAL)
    ledger.record(recorded)
    assert ledger.result(TRIAL) == recorded
    diverged = result(cell(beta=2.0), 0, {}, status="diverged")
    diverged = replace(diverged, history=(replace(diverged.history[0], values={"train/loss": math.nan}),))
    ledger.begin(diverged.trial)
    ledger.record(diverged)
    assert math.isnan(ledger.result(diverged.trial).history[0].values["train/loss"])
    assert ledger.state(diverged.trial).status == "diverged"


def test_the_status_follows_the_files(ledger, monkeypatch):
    """It is pending; running while a live process holds the trial; pending again when a heartbeat of another machine is old; failed;
    cancelled; completed.
    """
    statuses = [ledger.state(TRIAL).status]
    number = ledger.begin(TRIAL)
    with Lease(ledger.storage) as lease:
        assert lease.claim(ledger.folder(TRIAL)) is None
        statuses.append(ledger.state(TRIAL).status)
        os.utime(ledger.storage / "alive" / lease.holder.token, (time.time() - STALE_SECONDS - 1,) * 2)
        with monkeypatch.context() as patched:
            patched.setattr(holder, "machine", lambda: "another")
            statuses.append(ledger.state(TRIAL).status)
    ledger.end_attempt(TRIAL, number, "failed", "Traceback ...\nValueError: no")
    ledger.fail(TRIAL, ledger.last_failure(TRIAL))
    statuses.append(ledger.state(TRIAL).status)
    assert ledger.state(TRIAL).error == "ValueError: no"
    assert ledger.begin(TRIAL) == 2
    ledger.cancel(TRIAL)
    statuses.append(ledger.state(TRIAL).status)
    ledger.record(result(cell(), 0, {COHERENCE: 0.5}))
    statuses.append(ledger.state(TRIAL).status)
    assert statuses == ["pending", "running", "pending", "failed", "cancelled", "completed"]


def test_a_default_that_moved_is_an_error_that_names_the_field(ledger, monkeypatch):
    """The id is the same but the configuration is not: the stored configuration is compared when a trial is reused."""
    ledger.begin(TRIAL)
    monkeypatch.setattr(TrainingConfig.model_fields["importance_samples"], "default", 50)
    TrainingConfig.model_rebuild(force=True)
    try:
        moved = Trial(cell(), 0)
        assert moved.id == TRIAL.id
        with pytest.raises(LedgerError, check=naming("importance_samples", 15, 50)):
            planning.make([moved], ledger)
    finally:
        monkeypatch.undo()
        TrainingConfig.model_rebuild(force=True)


def test_a_damaged_result_is_named(ledger):
    """A file that was cut is never used silently."""
    ledger.begin(TRIAL)
    ledger.record(result(cell(), 0, {COHERENCE: 0.5}))
    path = ledger.folder(TRIAL) / "result.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(DamagedError, check=naming(path)):
        ledger.result(TRIAL)


@pytest.mark.parametrize("content", ["{}", "[]", '{"status": "completed"}', '{"status": "great"}', "", "{"])
def test_damage_of_any_kind_is_named_and_stops_no_other_sweep(ledger, content):
    """An incomplete result is one clear error for its own trial. Estimates for other trials skip it."""
    ledger.begin(TRIAL)
    (ledger.folder(TRIAL) / "result.json").write_text(content)
    with pytest.raises(DamagedError, check=naming(ledger.folder(TRIAL) / "result.json")):
        ledger.result(TRIAL)
    other = Trial(cell(beta=9.0), 0)
    assert planning.make([other], ledger).fresh == (other,)
    (ledger.folder(TRIAL) / "trial.json").unlink()
    assert planning.make([other], ledger).fresh == (other,)


def _forge(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


FORGERIES = {
    "a better number": ("result.json", lambda path: _forge(path, '"value": 0.5', '"value": 0.9')),
    "another status": ("result.json", lambda path: _forge(path, "completed", "diverged")),
    "no checksum": ("result.json", lambda path: _forge(path, '"sha256"', '"sha255"')),
    "another configuration": ("trial.json", lambda path: _forge(path, '"latent_dim": 20', '"latent_dim": 21')),
    "half a configuration": ("trial.json", lambda path: os.truncate(path, path.stat().st_size // 2)),
    "half a result": ("result.json", lambda path: os.truncate(path, path.stat().st_size // 2)),
}


@pytest.mark.parametrize("how", FORGERIES)
def test_what_was_tampered_with_is_found_named_and_trained_again_only_if_asked(ledger, how):
    """The plan names the damaged trial and its file. Set aside, the trial is new. The other trial is unchanged; nothing was deleted."""
    other = Trial(cell(beta=9.0), 0)
    for trial in (TRIAL, other):
        ledger.begin(trial)
        ledger.record(result(trial.cell, 0, {COHERENCE: 0.5}))
    name, forge = FORGERIES[how]
    forge(ledger.folder(TRIAL) / name)
    plan = planning.make([TRIAL, other], ledger)
    assert (plan.done, plan.to_run, list(plan.damaged)) == ((other,), (), [TRIAL])
    message = planning.damage_message(plan, ledger.storage)
    assert str(ledger.folder(TRIAL) / name) in message
    assert "--retrain-damaged" in message
    before = {path.name: path.read_bytes() for path in ledger.folder(TRIAL).glob("*.json")}
    aside = ledger.set_aside(TRIAL)
    plan = planning.make([TRIAL, other], ledger)
    assert (plan.done, plan.fresh, plan.damaged) == ((other,), (TRIAL,), {})
    assert {path.name: path.read_bytes() for path in aside.glob("*.json")} == before


def test_a_plan_is_the_spec_minus_the_ledger(ledger):
    """Completed and diverged trials are done, those with a checkpoint resume, failed ones are tried again."""
    cells = [cell(beta=beta) for beta in (1, 2, 3, 4, 5)]
    trials = [Trial(one, 0) for one in cells]
    for one in trials[:4]:
        ledger.begin(one)
    ledger.record(result(cells[0], 0, {COHERENCE: 0.5}))
    ledger.record(result(cells[1], 0, {}, status="diverged"))
    ledger.checkpoint(trials[2]).write_bytes(b"x")
    ledger.fail(trials[3], "no")
    plan = planning.make(trials, ledger)
    assert (plan.done, plan.resume, plan.fresh) == (tuple(trials[:2]), (trials[2],), tuple(trials[3:]))


def test_estimates_come_from_past_trials_and_scale_with_epochs(ledger):
    """A past trial had one epoch of 2 s and an evaluation of 1 s, so 10 epochs cost 21 s. The cost of another model is guessed."""
    past = result(cell(epochs=1), 0, {})
    planned = Trial(cell(epochs=10), 1)
    estimate = estimates.estimate([planned], [past])
    assert estimate.guessed == 0
    assert estimate.trial_hours * 3600 == pytest.approx(21.0)
    assert estimates.estimate([Trial(cell("mvae"), 0)], [past]).guessed == 1


def test_wall_hours_divide_by_what_runs_at_once(ledger):
    """With 8 CPUs and 2 for each trial, 4 trials run at once, or fewer if the spec limits them."""
    trials = [Trial(cell(), seed) for seed in range(12)]
    plan = planning.make(trials, ledger)
    hours = plan.estimate.trial_hours
    assert planning.wall_hours(plan, Resources(cpu=2), 8) == pytest.approx(hours / 4)
    assert planning.wall_hours(plan, Resources(cpu=2, at_once=3), 8) == pytest.approx(hours / 3)
