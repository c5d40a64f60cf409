"""The progress of a trial in training, as displays show it."""

import json
import math
import time

import pytest

from mopoe_core.metric_names import Epoch
from mopoe_core.storage.paths import storage_path
from orchestrator.ledger import records, training_progress
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.records import Identity
from orchestrator.ledger.training_progress import ProgressWriter, TrainingProgress, read_progress
from orchestrator.spec.trial import Trial
from tests.support.builders import cell, result
from tests.support.users import wait_for

TRIAL = Trial(cell(epochs=40), 0)


def epoch(number):
    """An epoch that has ended."""
    return Epoch(number, 1000 * number, {"train/loss": 1.0, "train/seconds": 0.5})


def test_the_latest_epoch_is_noted_and_not_each(tmp_path, monkeypatch):
    """Of forty epochs within an interval, the last is written, once."""
    monkeypatch.setattr(training_progress, "NOTE_SECONDS", 0.2)
    ledger, written = Ledger(tmp_path), []
    write = training_progress.records.write
    monkeypatch.setattr(training_progress.records, "write", lambda path, *rest: (written.append(rest), write(path, *rest)))
    with ProgressWriter([TRIAL], ledger) as writer:
        for number in range(1, 41):
            writer({TRIAL.id: epoch(number)})
        wait_for(lambda: read_progress(TRIAL, ledger) is not None, 10)
    assert read_progress(TRIAL, ledger) == TrainingProgress(40, 40, 0.5, 40_000, 1.0)
    assert len(written) == 1


def test_notes_of_other_versions_are_read(tmp_path):
    """One record lacks the loss, and one has a field that this version does not know."""
    ledger, note = Ledger(tmp_path), {"epoch": 4, "epochs": 40, "seconds": 0.5, "time_ms": 7}
    for more, loss in (({}, None), ({"loss": 2.0, "later": 1}, 2.0)):
        records.write(ledger.layout.trial(TRIAL.id).note("progress"), Identity("progress", TRIAL.id), note | more)
        assert read_progress(TRIAL, ledger) == TrainingProgress(4, 40, 0.5, 7, loss)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_no_number_is_left_out(loss):
    """JSON has no NaN and no infinity."""
    assert training_progress.finite_loss(Epoch(1, 0, {"train/loss": loss})) is None


def test_training_does_not_wait_for_a_slow_disk(tmp_path, monkeypatch):
    """While a record takes half a second to be written, passing on an epoch takes no time."""
    monkeypatch.setattr(training_progress, "NOTE_SECONDS", 0.01)
    busy = []
    monkeypatch.setattr(training_progress.records, "write", lambda *arguments: (busy.append(1), time.sleep(0.5)))
    with ProgressWriter([TRIAL], Ledger(tmp_path)) as writer:
        writer({TRIAL.id: epoch(1)})
        wait_for(lambda: busy, 10)
        started = time.perf_counter()
        writer({TRIAL.id: epoch(2)})
        assert time.perf_counter() - started < 0.25


def test_a_full_disk_does_not_end_a_trial(tmp_path, monkeypatch):
    """A record that cannot be written is left out, and the next one is tried."""
    monkeypatch.setattr(training_progress, "NOTE_SECONDS", 0.01)
    tried = []

    def write(path, identity, content):
        tried.append(content)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(training_progress.records, "write", write)
    with ProgressWriter([TRIAL], Ledger(tmp_path)) as writer:
        for number in (1, 2):
            writer({TRIAL.id: epoch(number)})
            wait_for(lambda number=number: len(tried) == number, 10)


def test_a_note_goes_with_the_result_and_is_not_written_after_it(tmp_path, monkeypatch):
    """After the trial has ended there is no record, not even of an epoch that is passed on late."""
    monkeypatch.setattr(training_progress, "NOTE_SECONDS", 0.05)
    ledger = Ledger(tmp_path)
    with ProgressWriter([TRIAL], ledger) as writer:
        writer({TRIAL.id: epoch(1)})
        wait_for(lambda: read_progress(TRIAL, ledger) is not None, 10)
        ledger.record(result(TRIAL.cell, 0, {}))
        writer({TRIAL.id: epoch(2)})
        time.sleep(0.3)
    assert sorted(path.name for path in ledger.folder(TRIAL).iterdir()) == ["result.json"]


def test_a_note_that_was_cut_is_no_note(tmp_path):
    """If the record is cut, has another shape or is missing, the trial is shown without an epoch."""
    ledger = Ledger(tmp_path)
    assert read_progress(TRIAL, ledger) is None
    path = ledger.folder(TRIAL) / "progress.json"
    for content in ('{"epoch": 3', json.dumps({"epoch": 3})):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        assert read_progress(TRIAL, ledger) is None
    training_progress.records.write(path, Identity("progress", TRIAL.id), {"epoch": 3})
    assert read_progress(TRIAL, ledger) is None


def test_object_stores_are_written_less_often():
    """Each request costs money, so progress is written every 30 s at most, and locally every 2 s."""
    assert training_progress.interval(storage_path("memory://bucket/x")) == 30
    assert training_progress.interval(storage_path("/tmp/x")) == 2
