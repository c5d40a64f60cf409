"""Which checkpoints stay."""

import os
import time
from dataclasses import replace

import pytest

from mopoe_core.storage.file_facts import Digest
from mopoe_core.storage.whole_files import write_text
from orchestrator.driver import retention
from orchestrator.errors import SpecError
from orchestrator.ledger import attempts, sweep_records
from orchestrator.ledger.attempts import Attempt
from orchestrator.ledger.layout import Layout
from orchestrator.ledger.leases.lease import Lease, LeaseLost
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.proposals import Proposal, Proposals, resolve
from orchestrator.ledger.storage import leftovers
from orchestrator.spec.sweep_file import parse
from tests.support.builders import COHERENCE, LIKELIHOOD, result
from tests.support.naming import naming

RAW = {
    "name": "t",
    "base": {"dataset": "mnist_svhn_text", "networks": "small", "model": "mopoe"},
    "grid": {"beta": [1, 2, 3]},
    "seeds": 2,
}
VALUES = {1.0: (0.1, -10.0), 2.0: (0.2, -20.0), 3.0: (0.1, -30.0)}
"""Coherence and log-likelihood by beta: 3 is beaten by both others."""


def stored(ledger, spec, leave=None):
    """Stores results and checkpoints of a sweep's trials, except one result, and the sweep's record."""
    for trial in spec.trials:
        ledger.begin(trial)
        write_text(ledger.checkpoint(trial), "weights")
        if trial != leave:
            coherence, likelihood = VALUES[trial.config.beta]
            ledger.record(result(trial.cell, trial.seed, {COHERENCE: coherence, LIKELIHOOD: likelihood}))
    write_text(ledger.storage / "sweeps" / spec.name / "sweep.json", sweep_records.as_json(spec))


def betas(surplus):
    """Returns the betas of the trials whose checkpoints are surplus."""
    return sorted(trial.config.beta for trial in surplus.trials)


def test_of_a_complete_sweep_the_checkpoints_of_beaten_cells_are_surplus(tmp_path):
    """Two of six checkpoints are deleted, with MLflow's link to one of them. Results, records and the front's checkpoints stay."""
    ledger, spec = Ledger(tmp_path), parse(RAW)
    stored(ledger, spec)
    artifacts = tmp_path / "mlartifacts" / "1" / "run" / "artifacts"
    artifacts.mkdir(parents=True)
    (artifacts / "checkpoint.pt").hardlink_to(ledger.checkpoint(spec.trials[-1]))
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    surplus = retention.surplus(spec, tmp_path)
    assert betas(surplus) == [3.0, 3.0]
    assert surplus.links == (artifacts / "checkpoint.pt",)
    assert surplus.megabytes == pytest.approx(14e-6)
    with Lease(tmp_path) as lease:
        assert retention.delete(surplus, tmp_path, lease) == []
    assert before - {path for path in tmp_path.rglob("*") if path.is_file()} == {*surplus.paths, *surplus.links}
    assert {ledger.state(trial).status for trial in spec.trials} == {"completed"}
    assert retention.surplus(spec, tmp_path).trials == ()


def test_nothing_is_surplus_while_a_trial_has_not_ended(tmp_path):
    """The front may still change."""
    ledger, spec = Ledger(tmp_path), parse(RAW)
    stored(ledger, spec, leave=spec.trials[0])
    assert retention.surplus(spec, tmp_path).trials == ()


def test_a_cell_that_completed_although_it_was_stopped_keeps_its_checkpoints_on_the_front(tmp_path):
    """Its workers had ended before they saw the stop, so it is on the front of the report. Another stopped cell has not completed."""
    block = {"space": {"beta": [1.0, 2.0, 3.0]}, "cells": 3}
    written = parse({field: value for field, value in RAW.items() if field != "grid"} | {"search": block})
    proposals, ledger = Proposals(tmp_path, "t"), Ledger(tmp_path)
    for number, beta in enumerate(VALUES):
        proposals.add(Proposal(number, written.cell_of({"beta": beta}).id, {"beta": beta}, {}, {}, {}))
    spec = resolve(written, tmp_path)
    stored(ledger, spec, leave=spec.trials[-1])
    for cell in spec.cells[1:]:
        proposals.stop(cell.id, 5, "for the test")
    surplus = retention.surplus(resolve(written, tmp_path), tmp_path)
    assert betas(surplus) == [3.0, 3.0]


@pytest.mark.parametrize("complete", [True, False])
def test_what_another_sweep_wants_stays(tmp_path, complete):
    """The checkpoint of a beaten cell stays if the cell is on another sweep's front, or if that sweep has not ended."""
    ledger, spec = Ledger(tmp_path), parse(RAW)
    other = parse(RAW | {"name": "other", "grid": {"beta": [3] if complete else [3, 4]}})
    stored(ledger, spec)
    write_text(tmp_path / "sweeps" / "other" / "sweep.json", sweep_records.as_json(other))
    assert retention.surplus(spec, tmp_path).trials == ()
    assert retention.surplus(parse(RAW | {"name": "alone"}), Ledger(tmp_path).storage).trials == ()
    (tmp_path / "sweeps" / "other" / "sweep.json").unlink()
    assert betas(retention.surplus(spec, tmp_path)) == [3.0, 3.0]


def test_a_sweep_that_cannot_be_read_is_named_and_nothing_goes(tmp_path):
    """It is not known which checkpoints that sweep needs."""
    ledger, spec = Ledger(tmp_path), parse(RAW)
    stored(ledger, spec)
    write_text(tmp_path / "sweeps" / "old" / "sweep.json", '{"name": "old", "base": {"nosuch": 1}}')
    with pytest.raises(SpecError, check=naming(tmp_path / "sweeps" / "old" / "sweep.json")):
        retention.surplus(spec, tmp_path)


def test_a_checkpoint_in_use_and_young_leftovers_stay(tmp_path):
    """A checkpoint that a worker holds stays. Half-written files are deleted only after a day."""
    ledger, spec = Ledger(tmp_path), parse(RAW)
    stored(ledger, spec)
    beaten = [trial for trial in spec.trials if trial.config.beta == 3.0]
    old, young = (ledger.folder(beaten[0]) / name for name in (".checkpoint.pt.old", ".checkpoint.pt.young"))
    for path in (old, young):
        path.write_text("half")
    long_ago = time.time() - leftovers.FORGOTTEN_SECONDS - 1
    os.utime(old, (long_ago, long_ago))
    with Lease(tmp_path) as lease:
        lease.claim(ledger.folder(beaten[0]))
        surplus = retention.surplus(spec, tmp_path)
        assert surplus.trials == (beaten[1],)
        assert [path for path in surplus.leftovers if path.is_relative_to(tmp_path)] == [old]


def test_what_has_changed_since_it_was_judged_stays(tmp_path):
    """Of two beaten trials, one is reset and trained anew before its checkpoint is deleted, and one is claimed. Both checkpoints stay."""
    ledger, spec = Ledger(tmp_path), parse(RAW)
    stored(ledger, spec)
    surplus = retention.surplus(spec, tmp_path)
    retrained, claimed = surplus.trials
    ledger.set_aside(retrained)
    ledger.begin(retrained)
    write_text(ledger.checkpoint(retrained), "new weights")
    ledger.record(result(retrained.cell, retrained.seed, {COHERENCE: 0.9, LIKELIHOOD: -1.0}))
    with Lease(tmp_path) as other, Lease(tmp_path) as lease:
        assert other.claim(ledger.folder(claimed)) is None
        assert retention.delete(surplus, tmp_path, lease) == [retrained, claimed]
    assert ledger.checkpoint(retrained).read_text() == "new weights"
    assert ledger.checkpoint(claimed).exists()
    assert [ledger.state(trial).checkpoint_problem for trial in surplus.trials] == ["", ""]


def test_a_process_that_was_taken_over_deletes_nothing(tmp_path):
    """It was suspended after it had judged the checkpoints, and its heartbeat is gone."""
    ledger, spec = Ledger(tmp_path), parse(RAW)
    stored(ledger, spec)
    surplus = retention.surplus(spec, tmp_path)
    with Lease(tmp_path) as lease:
        Layout(tmp_path).heartbeat(lease.holder.token).unlink()
        lease._beat()  # as its thread will before long
        with pytest.raises(LeaseLost):
            retention.delete(surplus, tmp_path, lease)
    assert all(ledger.checkpoint(trial).exists() for trial in spec.trials)


def test_a_clock_that_is_days_ahead_removes_no_file_of_today(tmp_path, monkeypatch):
    """Files count as old by the storage's clock, also if this machine's clock is ahead of it."""
    ledger, spec = Ledger(tmp_path), parse(RAW)
    stored(ledger, spec)
    (tmp_path / "alive").mkdir(exist_ok=True)
    fresh, old = tmp_path / "alive" / "of-another-machine", tmp_path / "alive" / "of-a-dead-process"
    for path in (fresh, old):
        path.write_text("1")
    os.utime(old, (time.time() - 2 * leftovers.FORGOTTEN_SECONDS,) * 2)
    now = time.time() + 3 * leftovers.FORGOTTEN_SECONDS
    monkeypatch.setattr(time, "time", lambda: now)
    surplus = retention.surplus(spec, tmp_path)
    with Lease(tmp_path) as lease:
        retention.delete(surplus, tmp_path, lease)
    assert (fresh.exists(), old.exists()) == (True, False)


def test_pictures_that_were_not_moved_stay_when_the_checkpoint_beside_them_is_deleted(tmp_path, monkeypatch):
    """A worker died between the result of a beaten cell and the move of its files. Its pictures move to their place."""
    ledger, spec = Ledger(tmp_path), parse(RAW)
    stored(ledger, spec, leave=spec.trials[-1])
    trial = spec.trials[-1]
    attempt = Attempt.of(ledger.folder(trial), ledger.begin(trial, "worker-a"), "worker-a")
    write_text(attempt.checkpoint, "weights")
    write_text(attempt.folder / "joint.png", "picture")
    of_trial = result(trial.cell, trial.seed, {COHERENCE: 0.1, LIKELIHOOD: -30.0})
    named = replace(of_trial, checkpoint=Digest.of(b"weights"), samples={"joint": Digest.of(b"picture").sha256})
    (ledger.folder(trial) / "checkpoint.pt").unlink()
    with monkeypatch.context() as patched:
        patched.setattr(attempts, "publish", lambda *_: None)
        ledger.record(named, attempt)
    assert ledger.state(trial).unpublished
    surplus = retention.surplus(spec, tmp_path)
    assert trial in surplus.trials
    with Lease(tmp_path) as lease:
        assert retention.delete(surplus, tmp_path, lease) == []
    assert {name: path.read_text() for name, path in ledger.samples(trial).items()} == {"joint": "picture"}
    assert [*ledger.folder(trial).rglob("checkpoint.pt")] == []
    assert (ledger.state(trial).checkpoint_problem, ledger.state(trial).has_checkpoint) == ("", False)


def test_a_sweep_is_remembered_with_its_scale_and_without_its_storage(tmp_path):
    """The record gives the same trials when it is read, and has no URI, and so no secret."""
    spec = parse(RAW | {"storage": "s3://key:secret@bucket/x", "keep": "front"})
    text = sweep_records.as_json(spec)
    assert "secret" not in text
    write_text(tmp_path / "sweeps" / "t" / "sweep.json", text)
    (again,) = sweep_records.read_sweeps(tmp_path)
    assert [trial.id for trial in again.trials] == [trial.id for trial in spec.trials]
    assert again.keep == "front"
