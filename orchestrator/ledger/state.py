"""The status of a trial. It is derived from the trial's files, so that no file can contradict it.

If there is a result, it has the status: `completed` or `diverged`. Otherwise the first that applies:

1. `failed`: a record says so, and no attempt began after it.
2. `running`: a process that is alive holds the trial.
3. `cancelled`: a record says so, and no attempt began after it.
4. `pending`: otherwise.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.ledger import records
from orchestrator.ledger.failure import Failure
from orchestrator.ledger.integrity import artifact_check
from orchestrator.ledger.result import ENDED, TrialResult, checkpoint_digest
from orchestrator.ledger.trial_records import TrialRecords


@dataclass(frozen=True)
class State:
    """The status of a trial, with details."""

    status: str
    """`pending`, `running`, `completed`, `diverged`, `failed` or `cancelled`."""
    attempts: int
    has_checkpoint: bool
    error: str = ""
    """For a failed trial: the last line of the traceback."""
    stopped_at_epoch: int | None = None
    """For a cancelled trial that a search stopped: the number of epochs that it was trained."""
    checkpoint_problem: str = ""
    """For a trial that has ended: what is wrong with its checkpoint, judged by its size alone; empty if nothing is."""
    unpublished: bool = False
    """For a trial that has ended: whether its files still have to be moved from its attempt's folder to the trial's folder."""


@dataclass(frozen=True)
class TrialReading:
    """A trial's state and, if it has ended, its result, from one reading."""

    state: State
    result: TrialResult | None
    stamp: str = ""
    """The checksum that `Ledger.stamp` returns; empty if the trial has not ended."""


def ended(trial: TrialRecords, result: Mapping[str, Any]) -> State:
    """Returns the state of a trial with this content of a result's record."""
    status = str(result.get("status"))
    if status not in ENDED:
        raise records.damaged(trial.folder.result, f"status {status!r} is not one of {', '.join(ENDED)}")
    path, size = trial.checkpoint_of(result)
    named = checkpoint_digest(result)
    checkpoint_problem = ""
    if named is not None and (problem := artifact_check.checkpoint_problem(trial.folder.path, trial.trial.id, named, size)):
        checkpoint_problem = str(records.damaged(path, problem))
    unpublished = path != trial.folder.checkpoint
    return State(
        status, len(trial.folder.attempts()), size is not None, checkpoint_problem=checkpoint_problem, unpublished=unpublished
    )


def unfinished(trial: TrialRecords, is_held: Callable[[], bool]) -> State:
    """Returns the state of a trial without a result. `is_held` says whether a live process holds it, and is called only if needed."""
    if not trial.folder.path.exists():
        return State("running" if is_held() else "pending", 0, False)
    status = _status(trial, is_held)
    error, stopped_at_epoch = "", None
    if status == "failed":
        error = Failure.recorded(trial.note("failed"), trial.trial.config.dataset).last_line
    if status in ("pending", "cancelled"):
        trial.config()  # raises if the folder is another trial's; there may be no other record to check
    if status == "cancelled":
        stopped_at_epoch = trial.lenient_note("cancelled").get("stopped_at_epoch")
    return State(status, len(trial.attempt_numbers()), trial.checkpoint().exists(), error, stopped_at_epoch)


def _status(trial: TrialRecords, is_held: Callable[[], bool]) -> str:
    if trial.is_of_last_attempt("failed"):
        return "failed"
    if is_held():
        return "running"
    return "cancelled" if trial.is_of_last_attempt("cancelled") else "pending"
