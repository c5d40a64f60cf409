"""What a driver does beside running trials."""

from dataclasses import replace

import yaml

from mopoe_core.storage.file_facts import Digest
from mopoe_core.storage.whole_files import write_bytes
from orchestrator.driver import sweep
from orchestrator.execution.executor import Outcome
from orchestrator.ledger import attempts
from orchestrator.ledger.attempts import Attempt
from orchestrator.ledger.ledger import Ledger
from orchestrator.spec.sweep_file import parse
from orchestrator.tracking.writer import Writer
from tests.support.builders import COHERENCE, LIKELIHOOD, result
from tests.tracking import json_lines_tracker

RAW = {"name": "t", "base": {"dataset": "mnist_svhn_text", "networks": "small", "model": "mopoe"}, "seeds": 2}


def test_files_that_a_worker_did_not_move_are_moved_at_the_end_of_the_same_command(tmp_path, monkeypatch, undrawn):
    """A worker dies after each result. At the end of the command the trials have their checkpoints and pictures."""
    spec, ledger = parse(RAW), Ledger(tmp_path / "runs")

    def cut_after_results(work, observer, search=None):
        with monkeypatch.context() as patched:
            patched.setattr(attempts, "publish", lambda *_: None)
            for trial in work.todo:
                attempt = Attempt.of(ledger.folder(trial), ledger.begin(trial, "worker-a"), "worker-a")
                write_bytes(attempt.checkpoint, b"weights")
                write_bytes(attempt.folder / "joint.png", b"picture")
                ended = result(trial.cell, trial.seed, {COHERENCE: 0.5, LIKELIHOOD: -1900.0})
                named = {"checkpoint": Digest.of(b"weights"), "samples": {"joint": Digest.of(b"picture").sha256}}
                assert ledger.record(replace(ended, **named), attempt)
                assert ledger.state(trial).unpublished
        return Outcome({})

    def track(spec, ledger, lease, look):
        return Writer(json_lines_tracker.connect(tmp_path / "lines", ledger), spec.trials, ledger)

    ended = sweep.run(spec, yaml.safe_dump(RAW), ledger.storage, "command", execute=cut_after_results, track=track)
    assert ended.ran == 2
    for trial in spec.trials:
        folder = ledger.folder(trial)
        assert not ledger.state(trial).unpublished
        assert ((folder / "checkpoint.pt").read_bytes(), (folder / "samples" / "joint.png").read_bytes()) == (
            b"weights",
            b"picture",
        )
