"""MLflow's statuses for the statuses of trials."""

from orchestrator.tracking.ledger_marks import is_stamp

RUN_STATUS = {
    "pending": "SCHEDULED",
    "running": "RUNNING",
    "completed": "FINISHED",
    "diverged": "FAILED",
    "failed": "FAILED",
    "cancelled": "KILLED",
}
"""MLflow's status of a run, by the status of its trial."""


def run_statuses(mark: str) -> tuple[str, ...]:
    """Returns the statuses that MLflow may show for a run with this mark."""
    return ("FINISHED", "FAILED") if is_stamp(mark) else (RUN_STATUS[mark.partition(" ")[0]],)
