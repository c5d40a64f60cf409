"""An attempt at a job whose trials another worker has ended."""

from orchestrator.execution.attempt import attempt
from orchestrator.execution.events import TrialEnded
from orchestrator.execution.queue.job import Job, WorkerContext
from orchestrator.ledger.ledger import Ledger
from tests.ledger.test_attempts import PICTURES, TRIAL, WEIGHTS, unmoved


def test_a_retry_moves_the_files_of_the_worker_that_died_after_its_result(tmp_path, monkeypatch):
    """The retry finds the result, trains nothing, and reports the end of the trial, whose folder has the files then."""
    ledger, events = Ledger(tmp_path / "runs"), []
    unmoved(ledger, monkeypatch)
    context = WorkerContext(ledger.storage, "data", str(tmp_path), 1, 0.0, "commit", driver="")
    attempt.run(Job([(TRIAL.config.model_dump(), TRIAL.seed)], False), context, events.append)
    assert events == [TrialEnded(TRIAL.id, "completed")]
    assert (ledger.folder(TRIAL) / "checkpoint.pt").read_bytes() == WEIGHTS
    assert {path.stem: path.read_bytes() for path in (ledger.folder(TRIAL) / "samples").iterdir()} == PICTURES
    assert not ledger.state(TRIAL).unpublished
    assert len(ledger.of(TRIAL).attempt_numbers()) == 1
