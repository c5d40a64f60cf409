"""The status of a trial. It follows from which files are there, so that no file can contradict it.

`completed` and `diverged` are what a result says. Without a result, the first that holds is the status:

1. `failed`: a note says so, and no attempt began after it.
2. `running`: a process that lives holds the trial.
3. `cancelled`: a note says so, and no attempt began after it.
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
    """What the ledger says of a trial now."""

    status: str
    """`pending`, `running`, `completed`, `diverged`, `failed` or `cancelled`."""
    attempts: int
    has_checkpoint: bool
    error: str = ""
    """The last line of the traceback, for a failed trial."""
    stopped_at_epoch: int | None = None
    """For a cancelled trial that a search stopped: the epochs that it was trained."""
    lost: str = ""
    """For a trial that has ended: what is wrong with its checkpoint, as far as its size tells; empty if nothing is."""
    unpublished: bool = False
    """For a trial that has ended: whether its files still have to be moved from its attempt's folder to its own."""


@dataclass(frozen=True)
class Known:
    """A trial's state and, if it has ended, its result, from one reading."""

    state: State
    result: TrialResult | None


def ended(trial: TrialRecords, result: Mapping[str, Any]) -> State:
    """The state of a trial with this record of a result."""
    status, named, lost = str(result.get("status")), checkpoint_digest(result), ""
    if status not in ENDED:
        raise records.damaged(trial.folder.result, f"status {status!r} is not one of {', '.join(ENDED)}")
    path, size = trial.checkpoint_of(result)
    if named is not None and (problem := artifact_check.lost(trial.folder.path, trial.trial.id, named, size)):
        lost = str(records.damaged(path, problem))
    unpublished = path != trial.folder.checkpoint
    return State(status, len(trial.folder.attempts()), size is not None, lost=lost, unpublished=unpublished)


def unfinished(trial: TrialRecords, is_held: Callable[[], bool]) -> State:
    """The state of a trial without a result; `is_held` says whether a process that lives holds it, and is asked if that matters."""
    if not trial.folder.path.exists():
        return State("running" if is_held() else "pending", 0, False)
    status, error, stopped = _status(trial, is_held), "", None
    if status == "failed":
        error = Failure.recorded(trial.note("failed"), trial.trial.config.dataset).last_line
    if status in ("pending", "cancelled"):
        trial.config()  # raises if the folder is another trial's: there may be no other record that tells
    if status == "cancelled":
        stopped = trial.lenient_note("cancelled").get("stopped_at_epoch")
    return State(status, len(trial.attempt_numbers()), trial.checkpoint().exists(), error, stopped)


def _status(trial: TrialRecords, is_held: Callable[[], bool]) -> str:
    if trial.is_last_word("failed"):
        return "failed"
    if is_held():
        return "running"
    return "cancelled" if trial.is_last_word("cancelled") else "pending"
