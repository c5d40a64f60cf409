"""The lines that a sweep prints while it runs."""

import time

import pytest

from orchestrator.execution.events import TrialRetried, TrialsBegun
from orchestrator.ledger.state import State
from orchestrator.monitor.live_state import LiveSweep, LiveTrial
from orchestrator.monitor.progress import FRONT_REST, FRONT_SECONDS, Progress
from orchestrator.spec.sweep_file import parse
from tests.support.builders import COHERENCE, LIKELIHOOD, result
from tests.support.naming import unnamed

SPEC = parse({"name": "t", "base": {"dataset": "mnist_svhn_text", "networks": "small", "model": "mopoe"}, "seeds": 200})
EVERY = SPEC.trials


def running(some):
    """Returns progress on trials that all run."""
    return LiveSweep(SPEC, some, {trial.id: LiveTrial(State("running", 1, False)) for trial in some}, None)


def test_ten_thousand_short_trials_do_not_wait_for_the_front(capsys, monkeypatch):
    """If two hundred trials end within moments, a front that takes 20 ms is computed, but not for each of them."""
    asked = []

    def front(spec, found):
        asked.append(time.monotonic())
        time.sleep(0.02)
        return []

    monkeypatch.setattr("orchestrator.monitor.current_front.current_fronts", front)
    progress = Progress(running(EVERY))
    started = time.monotonic()
    for trial in EVERY:
        progress.ended(result(trial.cell, trial.seed, {COHERENCE: 0.5, LIKELIHOOD: -1.0}))
    allowed = 1 + (time.monotonic() - started) / (FRONT_SECONDS + 0.02 * FRONT_REST)
    assert 1 <= len(asked) <= allowed
    assert capsys.readouterr().out.count("completed") == len(EVERY)


def test_why_a_trial_is_tried_again_is_said(capsys):
    """The line of the trial ends with the reason."""
    progress = Progress(running(EVERY[:1]))
    progress.on_trial_retried(TrialRetried(EVERY[0].id, "ValueError: no"))
    assert not unnamed(capsys.readouterr().out.rstrip().splitlines()[-1], "pending", "seed=0", "ValueError: no")


@pytest.mark.parametrize(("worker", "said"), [("one", "1 core"), ("two", "2 cores")])
def test_trials_of_one_stack_occupy_one_worker(worker, said, capsys, monkeypatch):
    """Two trials of one worker use one core; two trials of two workers use two."""
    monkeypatch.setenv("RAY_ADDRESS", "auto")  # where nobody knows how many cores there are
    progress = Progress(
        LiveSweep(SPEC, EVERY[:2], {trial.id: LiveTrial(State("pending", 0, False)) for trial in EVERY[:2]}, None)
    )
    progress.on_trials_begun(TrialsBegun({EVERY[0].id: 1}, "one"))
    progress.on_trials_begun(TrialsBegun({EVERY[1].id: 1}, worker))
    progress.tell()
    assert not unnamed(capsys.readouterr().out, "2 running", said)
