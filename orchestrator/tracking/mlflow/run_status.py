"""What MLflow calls the status of a trial."""

from orchestrator.tracking.ledger_marks import is_stamp

RUN_STATUS = {
    "pending": "SCHEDULED",
    "running": "RUNNING",
    "completed": "FINISHED",
    "diverged": "FAILED",
    "failed": "FAILED",
    "cancelled": "KILLED",
}
"""What MLflow calls a trial's status."""


def run_statuses(mark: str) -> tuple[str, ...]:
    """What MLflow may call a run of which the ledger says this."""
    return ("FINISHED", "FAILED") if is_stamp(mark) else (RUN_STATUS[mark.partition(" ")[0]],)
