"""A sweep as storage has it at one moment: for `status`, from any terminal, whether or not a driver runs.

Each result is read once, however often one looks, and of a trial that has one nothing else is read again.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mopoe_core.storage.paths import AnyPath
from orchestrator.analysis import collapse
from orchestrator.errors import DamagedError
from orchestrator.execution import cpus
from orchestrator.ledger import training_progress
from orchestrator.ledger.leases import claims
from orchestrator.ledger.leases.holder import Holder, surely_lives
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.proposals import resolve
from orchestrator.ledger.result import TrialResult
from orchestrator.ledger.state import State
from orchestrator.ledger.training_progress import Pace
from orchestrator.monitor.eta import FINAL, Capacity, capacity_of
from orchestrator.spec.comparison_key import measured_with
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial


@dataclass(frozen=True)
class LiveTrial:
    """One trial at one moment."""

    state: State
    result: TrialResult | None = None
    holder: Holder | None = None
    """Who trains it."""
    pace: Pace | None = None
    reason: str = ""
    """Why it is not as it should be: the last line of the error that ended its last attempt, or what is damaged; empty for nothing."""


@dataclass(frozen=True)
class LiveSweep:
    """A sweep at one moment."""

    spec: SweepSpec
    """With the cells that a search has found."""
    trials: Sequence[Trial]
    live_trials: Mapping[str, LiveTrial]
    """By trial id."""
    driver: Holder | None
    """Who drives the sweep now."""

    @property
    def is_over(self) -> bool:
        """Whether nobody drives the sweep and nothing is left to train: what a search has stopped early is not."""
        states = [live.state for live in self.live_trials.values()]
        left = [state for state in states if state.status not in FINAL and state.stopped_at_epoch is None]
        return self.driver is None and bool(states) and not left

    @property
    def results(self) -> list[TrialResult]:
        """Of the trials that have ended, condensed."""
        return [live.result for live in self.live_trials.values() if live.result is not None]

    @property
    def capacity(self) -> Capacity:
        """Of this machine, where driver and workers are all on it; else of a cluster."""
        holders = [holder for holder in (self.driver, *(live.holder for live in self.live_trials.values())) if holder is not None]
        here = all(map(surely_lives, holders)) and "RAY_ADDRESS" not in os.environ
        return capacity_of(self.spec.resources, cpus.usable() if here else None)


class StorageWatch:
    """Looks at one sweep again and again."""

    def __init__(self, spec: SweepSpec, storage: AnyPath) -> None:
        self._spec, self._ledger = spec, Ledger(storage)
        self._ended: dict[str, LiveTrial] = {}

    def look(self) -> LiveSweep:
        """The sweep as it is now. Raises OSError where storage cannot be reached."""
        storage = self._ledger.storage
        spec = resolve(self._spec, storage)
        every = spec.trials
        left = [trial for trial in every if trial.id not in self._ended]
        looks = self._ledger.each(lambda trial: self._look(trial, spec), left)
        live = {trial.id: look for trial, look in zip(left, looks, strict=True)}
        self._ended |= {trial_id: look for trial_id, look in live.items() if look.result is not None}
        live |= self._ended
        driver = claims.living(storage, self._ledger.layout.sweep(spec.name).path)
        return LiveSweep(spec, every, {trial.id: live[trial.id] for trial in every}, driver)

    def _look(self, trial: Trial, spec: SweepSpec) -> LiveTrial:
        try:
            known = self._ledger.known(trial)
        except DamagedError as error:
            return LiveTrial(State("damaged", 0, False, str(error)), reason=str(error))
        state = known.state
        if state.lost:
            return LiveTrial(State("damaged", 0, False, state.lost), reason=state.lost)
        if known.result is not None:
            return LiveTrial(state, condensed(known.result, spec))
        if state.status == "running":
            return LiveTrial(state, None, self._ledger.holder(trial), training_progress.pace(trial, self._ledger))
        reason = state.error
        if state.status == "pending" and state.attempts:
            failure = self._ledger.last_failure(trial)
            reason = failure.last_line if failure else ""
        return LiveTrial(state, pace=training_progress.pace(trial, self._ledger) if state.attempts else None, reason=reason)


def condensed(result: TrialResult, spec: SweepSpec) -> TrialResult:
    """A result without what the front so far, collapses, a search and the time to go do not need: ten thousand whole ones take hundreds
    of MB.
    """
    wanted = {objective.metric for objective in spec.objectives}
    wanted |= collapse.evidence(result)
    wanted |= {constraint.metric for constraint in (spec.search.constraints if spec.search else ())}
    provenance = {key: value for key, value in result.provenance.items() if key in wanted}
    provenance |= measured_with(result.provenance).as_provenance()
    return replace(result, metrics=tuple(m for m in result.metrics if m.name in wanted), history=(), provenance=provenance)
