"""A sweep's trials as the ledger has them at one moment: read once, and given to the plan, the report and MLflow.

Of thousands of trials each reading takes seconds. Reading creates nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from orchestrator.errors import DamagedError
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.ledger.state import Known, State
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial


@dataclass(frozen=True)
class Snapshot:
    """States and results of all trials of a sweep, of one reading."""

    spec: SweepSpec
    """With the cells that a search has found."""
    trials: tuple[Trial, ...]
    readings: Mapping[str, Known | DamagedError]
    """By trial id: what the ledger has, or what is wrong with its records."""

    def known(self, trial: Trial) -> Known:
        """State and result of a trial. Raises DamagedError where its records are damaged."""
        reading = self.readings[trial.id]
        if isinstance(reading, DamagedError):
            raise reading
        return reading

    def result(self, trial: Trial) -> TrialResult | None:
        """The trial's result; None if it has not ended. Raises DamagedError as `known` does."""
        return self.known(trial).result

    @cached_property
    def states(self) -> Mapping[str, State]:
        """By trial id. Raises DamagedError where records of any trial are damaged."""
        return {trial.id: self.known(trial).state for trial in self.trials}

    @cached_property
    def statuses(self) -> Mapping[str, str]:
        """By trial id; raises DamagedError as `states` does."""
        return {trial_id: state.status for trial_id, state in self.states.items()}

    @cached_property
    def results(self) -> tuple[TrialResult, ...]:
        """Those that there are, in the order of the trials; raises DamagedError as `states` does."""
        return tuple(result for trial in self.trials if (result := self.result(trial)) is not None)

    @cached_property
    def stamps(self) -> Mapping[str, str]:
        """A checksum of each trial's result by trial id, empty where there is none; raises DamagedError as `states` does."""
        return {trial.id: self.known(trial).stamp for trial in self.trials}


def read(spec: SweepSpec, ledger: Ledger) -> Snapshot:
    """What the ledger has of a sweep's trials now."""
    every = spec.trials
    readings = ledger.each(lambda trial: _reading(trial, ledger), every)
    return Snapshot(spec, every, {trial.id: reading for trial, reading in zip(every, readings, strict=True)})


def _reading(trial: Trial, ledger: Ledger) -> Known | DamagedError:
    try:
        return ledger.known(trial)
    except DamagedError as error:
        return error


def state_or_damage(trial: Trial, ledger: Ledger) -> State:
    """A trial's state; of one with a damaged record or a lost checkpoint, the status `damaged` and what is wrong."""
    try:
        state = ledger.state(trial)
    except DamagedError as error:
        return State("damaged", 0, False, str(error))
    return State("damaged", state.attempts, state.has_checkpoint, state.lost) if state.lost else state
