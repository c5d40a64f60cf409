"""What the ledger knows of a trial, or what is damaged, with as little of a result as its reader needs."""

from collections.abc import Callable, Collection
from dataclasses import replace

from orchestrator.errors import DamagedError
from orchestrator.ledger.integrity import inspection
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.ledger.state import TrialReading
from orchestrator.spec.trial import Trial


def checked(
    trial: Trial, ledger: Ledger, thorough: bool, read: Callable[[Trial], TrialReading], kept: Collection[str]
) -> TrialReading | str:
    """Returns what the ledger knows of a trial, or what is damaged. Its result has no metrics but those in `kept`."""
    try:
        ledger.check(trial)
        reading = read(trial)
        if thorough:
            _inspect(trial, ledger)
    except DamagedError as error:
        return str(error)
    if reading.state.checkpoint_problem:
        return reading.state.checkpoint_problem
    return reading if reading.result is None else replace(reading, result=without_metrics(reading.result, kept))


def is_damaged(trial: Trial, ledger: Ledger) -> bool:
    """Returns whether any file of a trial is damaged, by every check."""
    return isinstance(checked(trial, ledger, True, ledger.read, ()), str)


def _inspect(trial: Trial, ledger: Ledger) -> None:
    """Inspect a trial. A second look decides, because its worker may move files during the first."""
    try:
        inspection.inspect(trial, ledger)
    except DamagedError:
        inspection.inspect(trial, ledger)


def without_metrics(result: TrialResult, kept: Collection[str] = ()) -> TrialResult:
    """Returns a result without its metrics and provenance, except those in `kept`."""
    metrics = tuple(metric for metric in result.metrics if metric.name in kept) if kept else ()
    return replace(result, metrics=metrics, provenance={key: result.provenance[key] for key in kept if key in result.provenance})
