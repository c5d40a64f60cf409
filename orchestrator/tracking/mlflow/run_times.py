"""The times of runs in MLflow, from the ledger. Does not import MLflow."""

from collections.abc import Sequence

from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.trial import Trial


class RunTimes:
    """When the trials of a ledger started and ended, in milliseconds since 1970."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def ended_ms(self, result: TrialResult) -> int:
        """Returns when the trial's evaluation ended; if it diverged in its first epoch, when its attempt ended."""
        if result.history:
            return result.history[-1].timestamp_ms + int(result.evaluate_seconds * 1000)
        return self._ledger.ended_ms(result.trial) or self._ledger.started_ms(result.trial) or 0

    def stopped_ms(self, trial: Trial, status: str) -> int | None:
        """Returns when a trial without a result stopped; None if it is pending and no record has a time."""
        return self._ledger.ended_ms(trial) or (None if status == "pending" else self._ledger.started_ms(trial))

    def cell_ended_ms(self, trials: Sequence[Trial]) -> int:
        """Returns when the last of a cell's completed trials ended; if none completed, when the last of its trials stopped."""
        results = [result for trial in trials if (result := self._ledger.result(trial)) is not None]
        completed = [self.ended_ms(result) for result in results if result.status == "completed"]
        stopped = [ms for trial in trials if (ms := self._ledger.ended_ms(trial) or self._ledger.started_ms(trial))]
        return max(completed or stopped, default=0)

    def first_start_ms(self, trials: Sequence[Trial]) -> int | None:
        """Returns when the first of these trials started; None if none has."""
        return min((ms for trial in trials if (ms := self._ledger.started_ms(trial))), default=None)
