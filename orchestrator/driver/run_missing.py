"""Runs the trials that a sweep still lacks: an executor trains them, and MLflow, the search and the screen observe its events."""

from collections.abc import Sequence

from orchestrator.execution import plan as planning
from orchestrator.execution.events import Event, Observer, Observers, TrialEnded
from orchestrator.execution.executor import Executor, Outcome, Work
from orchestrator.execution.queue.search_jobs import Proposer
from orchestrator.ledger.leases import claims
from orchestrator.ledger.leases.lease import Lease
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.proposals import resolve
from orchestrator.ledger.result import ENDED, TrialResult
from orchestrator.monitor.live_state import StorageWatch, condensed
from orchestrator.monitor.progress import Progress
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial
from orchestrator.tracking.writer import Writer


def on_ray_tune(work: Work, observer: Observer, search: Proposer | None = None) -> Outcome:
    """Run the work on Ray Tune, as users' sweeps do."""
    from orchestrator.execution.ray_tune import tuner  # imports ray and torch, for seconds; a sweep with nothing to run does not

    return tuner.run(work, observer, search)


def run_missing(
    spec: SweepSpec,
    plan: planning.Plan,
    ledger: Ledger,
    tracker: Writer,
    commit: str,
    lease: Lease,
    execute: Executor,
) -> str:
    """Run the trials of the plan, and those that a search proposes.

    Returns why the sweep stopped early; empty if it ran to its end.
    """
    outcome = Outcome({})
    live = StorageWatch(spec, ledger.storage).look()
    results = {result.trial.id: result for result in live.results}
    with Progress(live) as progress:
        ended_trials = _EndedTrials(spec, ledger, tracker, progress, results)
        observers: list[Observer] = [_LeaseCheck(lease), tracker, ended_trials]
        search, trials = None, plan.to_run
        if spec.search is not None:
            from orchestrator.search.engine import SearchEngine  # imports optuna, which other sweeps do not need

            search = SearchEngine(spec, ledger, results, ended_trials.widen, progress.say, lease.check)
            observers.append(search)
            trials = tuple(search.start())
        if not trials:
            return ""
        work = Work(
            trials,
            ended_trials.spec.trials,
            ledger,
            spec.resources,
            commit,
            lease.holder.token,
            plan.estimate.seconds,
            plan.failed,
        )
        try:
            outcome = execute(work, Observers(*observers, progress), search)
        finally:
            lease.confirm()  # if another driver has taken over, this one must not change any status
            _settle(resolve(ended_trials.spec, ledger.storage).wanted, ledger, outcome, lease.holder.token)
    return outcome.stopped


class _LeaseCheck(Observer):
    """Raises LeaseLost if another driver may have taken over, before any other observer receives an event."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    def notify(self, event: Event) -> None:
        """Check the lease, whatever the event."""
        self._lease.check()


class _EndedTrials(Observer):
    """Collects the results of trials that have ended, for the search and the screen. `spec` has all cells that a search has proposed."""

    def __init__(
        self,
        spec: SweepSpec,
        ledger: Ledger,
        tracker: Writer,
        progress: Progress,
        results: dict[str, TrialResult],
    ) -> None:
        self.spec = spec
        self._by_id = {trial.id: trial for trial in spec.trials}
        self._ledger, self._tracker, self._progress, self._results = ledger, tracker, progress, results

    def widen(self, spec: SweepSpec) -> None:
        """Add the trials of a search's new cells and seeds. `spec` is the sweep that has them."""
        self.spec = spec
        new = [trial for trial in spec.trials if trial.id not in self._by_id]
        self._by_id |= {trial.id: trial for trial in new}
        self._tracker.add(new)
        self._progress.add(spec, new)
        for trial in new:
            self._read_result(trial)  # another sweep may have trained it already

    def on_trial_ended(self, event: TrialEnded) -> None:
        """Read the trial's result."""
        self._read_result(self._by_id[event.trial_id])

    def _read_result(self, trial: Trial) -> None:
        result = self._ledger.result(trial)
        if result is not None:
            self._results[trial.id] = condensed(result, self.spec)
            self._progress.ended(self._results[trial.id])


def _settle(trials: Sequence[Trial], ledger: Ledger, outcome: Outcome, driver: str) -> None:
    """Record the end of trials that neither completed nor diverged: failed if their last attempt failed, cancelled if they had begun.

    Cancels no trial that another sweep is training, and none if this sweep stopped by itself.
    """
    for trial in trials:
        state = ledger.state(trial)
        if state.status in ENDED:
            continue
        claims.release(ledger.storage, ledger.folder(trial), driver)
        if trial.id in outcome.errors:
            ledger.fail(trial, ledger.last_failure(trial) or outcome.errors[trial.id])
        elif state.attempts and not outcome.stopped and ledger.holder(trial) is None:
            ledger.cancel(trial)
