"""The state of a sweep at one moment, read from storage: for `status`, from any terminal, also if no driver runs.

Each result is read only once, however often the state is read. Nothing else is read again for a trial that has a result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mopoe_core.storage.paths import AnyPath
from orchestrator.analysis import collapse
from orchestrator.errors import DamagedError
from orchestrator.execution import cluster, cpus
from orchestrator.ledger import training_progress
from orchestrator.ledger.leases import claims
from orchestrator.ledger.leases.holder import Holder, surely_lives
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.proposals import resolve
from orchestrator.ledger.result import TrialResult
from orchestrator.ledger.state import State
from orchestrator.ledger.training_progress import TrainingProgress
from orchestrator.monitor.eta import FINAL, Capacity, capacity_of
from orchestrator.spec.comparison_key import measured_with
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial


@dataclass(frozen=True)
class LiveTrial:
    """The state of one trial at one moment."""

    state: State
    result: TrialResult | None = None
    holder: Holder | None = None
    """The worker that trains it."""
    progress: TrainingProgress | None = None
    reason: str = ""
    """The last line of the error that ended its last attempt, or what is damaged; empty if there is neither."""


@dataclass(frozen=True)
class LiveSweep:
    """The state of a sweep at one moment."""

    spec: SweepSpec
    """With the cells that a search has found."""
    trials: Sequence[Trial]
    live_trials: Mapping[str, LiveTrial]
    """By trial id."""
    driver: Holder | None
    """The driver that runs the sweep now."""

    @property
    def is_over(self) -> bool:
        """Whether no driver runs and no trial is left to train. Trials that a search has stopped early are not left to train."""
        states = [live.state for live in self.live_trials.values()]
        left = [state for state in states if state.status not in FINAL and state.stopped_at_epoch is None]
        return self.driver is None and bool(states) and not left

    @property
    def results(self) -> list[TrialResult]:
        """The condensed results of the trials that have ended."""
        return [live.result for live in self.live_trials.values() if live.result is not None]

    @property
    def capacity(self) -> Capacity:
        """The capacity of this machine, if driver and workers are all on it; else of a cluster."""
        workers = [live.holder for live in self.live_trials.values()]
        holders = [holder for holder in (self.driver, *workers) if holder is not None]
        is_here = all(map(surely_lives, holders)) and not cluster.is_named()
        return capacity_of(self.spec.resources, cpus.usable() if is_here else None)


class StorageWatch:
    """Reads the state of one sweep again and again."""

    def __init__(self, spec: SweepSpec, storage: AnyPath) -> None:
        self._spec, self._ledger = spec, Ledger(storage)
        self._ended: dict[str, LiveTrial] = {}
        """Trials with a result, by id."""

    def look(self) -> LiveSweep:
        """Returns the state of the sweep now. Raises OSError if storage cannot be reached."""
        storage = self._ledger.storage
        spec = resolve(self._spec, storage)
        trials = spec.trials
        left = [trial for trial in trials if trial.id not in self._ended]
        live_trials = self._ledger.each(lambda trial: self._look(trial, spec), left)
        by_id = {trial.id: live for trial, live in zip(left, live_trials, strict=True)}
        self._ended |= {trial_id: live for trial_id, live in by_id.items() if live.result is not None}
        by_id |= self._ended
        driver = claims.apparent_holder(storage, self._ledger.layout.sweep(spec.name).path)
        return LiveSweep(spec, trials, {trial.id: by_id[trial.id] for trial in trials}, driver)

    def _look(self, trial: Trial, spec: SweepSpec) -> LiveTrial:
        try:
            reading = self._ledger.read(trial)
        except DamagedError as error:
            return _damaged(str(error))
        state = reading.state
        if state.checkpoint_problem:
            return _damaged(state.checkpoint_problem)
        if reading.result is not None:
            return LiveTrial(state, condensed(reading.result, spec))
        if state.status == "running":
            return LiveTrial(state, None, self._ledger.holder(trial), training_progress.read_progress(trial, self._ledger))
        reason = state.error
        if state.status == "pending" and state.attempts:
            failure = self._ledger.last_failure(trial)
            reason = failure.last_line if failure else ""
        return LiveTrial(
            state, progress=training_progress.read_progress(trial, self._ledger) if state.attempts else None, reason=reason
        )


def _damaged(what: str) -> LiveTrial:
    return LiveTrial(State("damaged", 0, False, what), reason=what)


def condensed(result: TrialResult, spec: SweepSpec) -> TrialResult:
    """Returns a result with only those parts that fronts, collapses, searches and the remaining time need.

    Ten thousand whole results take hundreds of MB.
    """
    names = {objective.metric for objective in spec.objectives}
    names |= collapse.evidence(result)
    names |= {constraint.metric for constraint in (spec.search.constraints if spec.search else ())}
    provenance = {key: value for key, value in result.provenance.items() if key in names}
    provenance |= measured_with(result.provenance).as_provenance()
    return replace(result, metrics=tuple(m for m in result.metrics if m.name in names), history=(), provenance=provenance)
