"""Running what a sweep misses: an executor trains, and observers hear of it: MLflow, the search and the screen."""

from collections.abc import Sequence

from orchestrator.execution import plan
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
    """The executor of users' sweeps."""
    from orchestrator.execution.ray_tune import tuner  # ray and torch: seconds that a sweep with nothing to run need not wait

    return tuner.run(work, observer, search)


def run_missing(
    spec: SweepSpec,
    made: plan.Plan,
    ledger: Ledger,
    tracker: Writer,
    commit: str,
    lease: Lease,
    execute: Executor,
) -> str:
    """Run what the plan says, and what a search finds; returns why the sweep stopped before its end, if it did so by itself."""
    outcome = Outcome({})
    live = StorageWatch(spec, ledger.storage).look()
    results = {result.trial.id: result for result in live.results}
    with Progress(live) as progress:
        ended = _EndedTrials(spec, ledger, tracker, progress, results)
        search, todo = None, made.to_run
        if spec.search is not None:
            from orchestrator.search.engine import SearchEngine  # optuna, which no other sweep need wait for

            search = SearchEngine(spec, ledger, results, ended.widen, progress.say, lease.check)
            todo = tuple(search.start())
        if not todo:
            return ""
        observers = [_LeaseCheck(lease), tracker, ended, *([search] if search else []), progress]
        work = Work(
            todo,
            ended.spec.trials,
            ledger,
            spec.resources,
            commit,
            lease.holder.token,
            made.estimate.seconds,
            made.failed,
        )
        try:
            outcome = execute(work, Observers(*observers), search)
        finally:
            lease.check()  # where another driver goes on, there is nothing to settle
            _settle(resolve(ended.spec, ledger.storage).wanted, ledger, outcome, lease.holder.token)
    return outcome.stopped


class _LeaseCheck(Observer):
    """Raises LeaseLost where another driver may have taken over, before any other observer receives an event."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    def notify(self, event: Event) -> None:
        """Check, whatever the event."""
        self._lease.check()


class _EndedTrials(Observer):
    """Keeps the results of trials that have ended, for the search, and shows them. `spec` is the sweep with the cells that it has now."""

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
        """A search has found cells, or given them seeds."""
        self.spec = spec
        new = [trial for trial in spec.trials if trial.id not in self._by_id]
        self._by_id |= {trial.id: trial for trial in new}
        self._tracker.add(new)
        self._progress.add(spec, new)
        for trial in new:
            self._take(trial)

    def on_trial_ended(self, event: TrialEnded) -> None:
        """Read its result."""
        self._take(self._by_id[event.trial_id])

    def _take(self, trial: Trial) -> None:
        result = self._ledger.result(trial)
        if result is not None:
            self._results[trial.id] = condensed(result, self.spec)
            self._progress.ended(self._results[trial.id])


def _settle(todo: Sequence[Trial], ledger: Ledger, outcome: Outcome, driver: str) -> None:
    """Mark trials that neither completed nor diverged: failed if they were given up, cancelled if they had begun.

    Those that another sweep is at, and those of a sweep that stopped by itself, are left as they are.
    """
    for trial in todo:
        state = ledger.state(trial)
        if state.status in ENDED:
            continue
        claims.release(ledger.storage, ledger.folder(trial), driver)
        if trial.id in outcome.errors:
            ledger.fail(trial, ledger.last_failure(trial) or outcome.errors[trial.id])
        elif state.attempts and not outcome.stopped and ledger.holder(trial) is None:
            ledger.cancel(trial)
