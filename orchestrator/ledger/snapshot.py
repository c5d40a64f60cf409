"""A snapshot of a sweep's trials in the ledger: read once, then passed to the plan, the report and MLflow.

To read thousands of trials takes seconds. Reading creates nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from orchestrator.errors import DamagedError
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.ledger.state import State, TrialReading
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial


@dataclass(frozen=True)
class Snapshot:
    """States and results of all trials of a sweep, from one reading of the ledger."""

    spec: SweepSpec
    """The sweep, with the cells that a search has proposed."""
    trials: tuple[Trial, ...]
    readings: Mapping[str, TrialReading | DamagedError]
    """By trial id: state and result, or the error if the trial's records are damaged."""

    def reading(self, trial: Trial) -> TrialReading:
        """Returns state and result of a trial. Raises DamagedError if its records are damaged."""
        reading = self.readings[trial.id]
        if isinstance(reading, DamagedError):
            raise reading
        return reading

    def result(self, trial: Trial) -> TrialResult | None:
        """Returns the trial's result; None if it has not ended. Raises DamagedError as `reading` does."""
        return self.reading(trial).result

    @cached_property
    def states(self) -> Mapping[str, State]:
        """The states by trial id. Raises DamagedError if the records of any trial are damaged."""
        return {trial.id: self.reading(trial).state for trial in self.trials}

    @cached_property
    def statuses(self) -> Mapping[str, str]:
        """The statuses by trial id. Raises DamagedError as `states` does."""
        return {trial_id: state.status for trial_id, state in self.states.items()}

    @cached_property
    def results(self) -> tuple[TrialResult, ...]:
        """The results of the trials that have ended, in the order of the trials. Raises DamagedError as `states` does."""
        return tuple(result for trial in self.trials if (result := self.result(trial)) is not None)

    @property
    def unpublished(self) -> tuple[Trial, ...]:
        """The trials whose files still have to be moved from their attempt's folder to the trial's folder."""
        readings = ((trial, self.readings[trial.id]) for trial in self.trials)
        return tuple(trial for trial, reading in readings if isinstance(reading, TrialReading) and reading.state.unpublished)

    @cached_property
    def stamps(self) -> Mapping[str, str]:
        """A checksum of each trial's result by trial id; empty if there is no result. Raises DamagedError as `states` does."""
        return {trial.id: self.reading(trial).stamp for trial in self.trials}


def read(spec: SweepSpec, ledger: Ledger) -> Snapshot:
    """Returns a snapshot of a sweep's trials."""
    trials = spec.trials
    readings = ledger.each(lambda trial: _reading(trial, ledger), trials)
    return Snapshot(spec, trials, {trial.id: reading for trial, reading in zip(trials, readings, strict=True)})


def _reading(trial: Trial, ledger: Ledger) -> TrialReading | DamagedError:
    try:
        return ledger.read(trial)
    except DamagedError as error:
        return error


def state_or_damage(trial: Trial, ledger: Ledger) -> State:
    """Returns a trial's state; with the status `damaged` and an error if a record is damaged or the checkpoint is lost."""
    try:
        state = ledger.state(trial)
    except DamagedError as error:
        return State("damaged", 0, False, str(error))
    return State("damaged", state.attempts, state.has_checkpoint, state.checkpoint_problem) if state.checkpoint_problem else state
