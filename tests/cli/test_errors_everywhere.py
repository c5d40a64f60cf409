"""One call to storage fails, in driver or worker, wherever it is made: nothing is lost, and no command ends with a traceback.

`python -m benchmarks.robustness.storage_errors --every call` does so for every call, and with report and MLflow.
"""

import errno
import tempfile
from pathlib import Path

import pytest

from benchmarks.robustness import storage_errors
from benchmarks.robustness.injection import Injection

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def template():
    """A sweep with classifiers and without trials; its trials run in this process."""
    with tempfile.TemporaryDirectory(prefix="e-") as folder, storage_errors.quick_sweeps(with_report=False, with_mlflow=False):
        made = storage_errors.Sweep(Path(folder) / "home", Path(folder) / "template")
        made.make()
        yield made


PASSING, LASTING = ("EIO", "ESTALE"), ("EACCES", "ENOSPC")
"""Errors that pass in a moment, and errors that stay."""


@pytest.mark.parametrize(
    ("names", "first", "step"),
    [
        pytest.param(PASSING, 0, 2, id="passing at even lines"),
        pytest.param(LASTING, 1, 2, id="lasting at odd lines"),
        pytest.param(PASSING, 0, 1, id="passing at every line", marks=pytest.mark.long),
        pytest.param(LASTING, 0, 1, id="lasting at every line", marks=pytest.mark.long),
    ],
)
def test_one_error_at_any_line_loses_nothing(names, first, step, template):
    """For one line of code after another, its first call to storage fails. The same command again completes all trials, with the weights
    and numbers of a run without errors. No command prints a traceback, and each exits with 0 or names the failure. An error that passes
    in a moment is not printed.
    """
    failures = storage_errors.Plan(names, in_turns=True, first=first, step=step)
    outcomes = list(storage_errors.tried(template, failures, template.storage.parent))
    assert len({outcome.call.site for outcome in outcomes}) > 50 / step
    assert [outcome for outcome in outcomes if not storage_errors.is_well(outcome)] == []
    for outcome in outcomes:
        lines = [line for line in outcome.first.error.splitlines() if line.startswith("error: ")]
        assert bool(lines) == (outcome.first.code != 0), outcome
        if names == PASSING:
            assert outcome.first.code == 0, outcome


def test_a_worker_whose_storage_stays_away_has_failed_a_try_and_no_more(template):
    """Six errors in a row are more than the four tries of one call, so the trial is tried again, and completes."""
    victim = template.copy(template.storage.parent / "away")
    left = [6]

    def strikes(number, call):
        struck = call.path.endswith("checkpoint.pt") and left[0] > 0
        left[0] -= struck
        return struck

    with Injection(victim.storage, errno.EIO, strikes, every=True).active():
        assert victim.types().code == 0
    assert left == [0]
    assert [state[0] for state in victim.state().values()] == ["completed"] * 3
