"""A sweep as storage tells of it: for `status`, from whatever terminal, whether or not a driver runs.

A result that has been read is kept, and of a trial that has one nothing is read again.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mopoe_core.storage.files import AnyPath
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
from orchestrator.monitor.eta import OVER, Room, room
from orchestrator.spec.comparison_key import measured_with
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial


@dataclass(frozen=True)
class Sight:
    """What is known of one trial at one moment."""

    state: State
    result: TrialResult | None = None
    holder: Holder | None = None
    """Who trains it."""
    pace: Pace | None = None
    why: str = ""
    """The last line of the error that ended its last attempt; empty for none."""


@dataclass(frozen=True)
class Seen:
    """A sweep at one moment."""

    spec: SweepSpec
    """With the cells that a search has found."""
    trials: Sequence[Trial]
    sights: Mapping[str, Sight]
    """By trial id."""
    driver: Holder | None
    """Who drives the sweep now."""

    @property
    def over(self) -> bool:
        """Whether nobody drives the sweep and nothing is left to train: what a search has stopped early is not."""
        left = [s for s in self.sights.values() if s.state.status not in OVER and s.state.stopped_at_epoch is None]
        return self.driver is None and bool(self.sights) and not left

    @property
    def results(self) -> list[TrialResult]:
        """Of the trials that have ended; no more of each than the front and the time to go need."""
        return [sight.result for sight in self.sights.values() if sight.result is not None]

    @property
    def room(self) -> Room:
        """What the workers occupy: of this machine where all of them, and the driver, are on it."""
        holders = [one for one in (self.driver, *(sight.holder for sight in self.sights.values())) if one is not None]
        here = all(map(surely_lives, holders)) and "RAY_ADDRESS" not in os.environ
        return room(self.spec.resources, cpus.usable() if here else None)


class Watch:
    """Looks at one sweep again and again."""

    def __init__(self, spec: SweepSpec, storage: AnyPath) -> None:
        self._spec, self._ledger = spec, Ledger(storage)
        self._kept: dict[str, Sight] = {}

    def look(self) -> Seen:
        """The sweep as it is now. Raises OSError where storage cannot be reached."""
        storage = self._ledger.storage
        spec = resolve(self._spec, storage)
        every = spec.trials
        left = [trial for trial in every if trial.id not in self._kept]
        sights = dict(zip((t.id for t in left), self._ledger.each(lambda trial: self._look(trial, spec), left), strict=True))
        self._kept |= {trial_id: sight for trial_id, sight in sights.items() if sight.result is not None}
        both = self._kept | sights
        driver = claims.living(storage, storage / "sweeps" / spec.name)
        return Seen(spec, every, {trial.id: both[trial.id] for trial in every}, driver)

    def _look(self, trial: Trial, spec: SweepSpec) -> Sight:
        try:
            known = self._ledger.known(trial)
        except DamagedError as error:
            return Sight(State("damaged", 0, False, str(error)), why=str(error))
        state = known.state
        if state.lost:
            return Sight(State("damaged", 0, False, state.lost), why=state.lost)
        if known.result is not None:
            return Sight(state, slim(known.result, spec))
        if state.status == "running":
            return Sight(state, None, self._ledger.holder(trial), training_progress.pace(trial, self._ledger))
        why = state.error
        if state.status == "pending" and state.attempts:
            failure = self._ledger.last_failure(trial)
            why = failure.last_line if failure else ""
        return Sight(state, pace=training_progress.pace(trial, self._ledger) if state.attempts else None, why=why)


def slim(result: TrialResult, spec: SweepSpec) -> TrialResult:
    """What the front so far, collapses, a search and the time to go need of a result: ten thousand whole ones take hundreds of MB."""
    wanted = {objective.metric for objective in spec.objectives}
    wanted |= collapse.evidence(result)
    wanted |= {constraint.metric for constraint in (spec.search.constraints if spec.search else ())}
    kept = {key: value for key, value in result.provenance.items() if key in wanted}
    kept |= measured_with(result.provenance).as_provenance()
    return replace(result, metrics=tuple(m for m in result.metrics if m.name in wanted), history=(), provenance=kept)
