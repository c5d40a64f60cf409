"""What a sweep says while it runs."""

import time

from orchestrator.progress import FRONT_REST, FRONT_SECONDS, Progress
from orchestrator.trial import Trial
from tests.builders import cell

EVERY = [Trial(cell(), seed) for seed in range(200)]


def test_ten_thousand_short_trials_do_not_wait_for_the_front(capsys):
    """A front that takes 20 ms is not made anew for each of two hundred trials that end within moments, but it is made once."""
    asked = []

    def front():
        asked.append(time.monotonic())
        time.sleep(0.02)
        return ["one cell"]

    progress = Progress(EVERY, {trial.id: "running" for trial in EVERY}, 2, front)
    started = time.monotonic()
    for trial in EVERY:
        progress.status(trial.id, "completed")
    allowed = 1 + (time.monotonic() - started) / (FRONT_SECONDS + 0.02 * FRONT_REST)
    assert 1 <= len(asked) <= allowed
    assert capsys.readouterr().out.count("completed") == len(EVERY)


def test_why_a_trial_is_tried_again_is_said(capsys):
    """The reason stands behind the trial."""
    progress = Progress(EVERY[:1], {EVERY[0].id: "running"}, 1, list)
    progress.status(EVERY[0].id, "pending", "ValueError: no")
    assert capsys.readouterr().out.rstrip().endswith("seed=0 (ValueError: no)")
