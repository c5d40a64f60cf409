"""The driver of a sweep: plan, run what is missing, draw the report, and bring MLflow to where the ledger is."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mopoe_core.metric_names import Epoch
from mopoe_core.storage.files import AnyPath, write_text
from mopoe_core.storage.remote_path import masked
from mopoe_core.terminal import say
from orchestrator.analysis.comparable_groups import check_search
from orchestrator.driver import report_step, reset_trials, tracking_step
from orchestrator.driver.report_stamp import DrawnReport
from orchestrator.driver.report_step import Options
from orchestrator.driver.sweep_lease import only_driver, sweep_folder
from orchestrator.errors import LedgerError
from orchestrator.execution import plan, provenance
from orchestrator.execution.events import Event, Outcome
from orchestrator.ledger import snapshot, sweep_records
from orchestrator.ledger.leases import leases, overlaps
from orchestrator.ledger.leases.leases import Lease
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.proposals import resolve
from orchestrator.ledger.result import ENDED, TrialResult
from orchestrator.ledger.snapshot import Snapshot
from orchestrator.ledger.storage_identity import identify
from orchestrator.monitor.progress import Progress
from orchestrator.monitor.snapshot import Watch, slim
from orchestrator.spec.sweep_spec import SweepSpec, trials, wanted
from orchestrator.spec.trial import Trial
from orchestrator.tracking.mlflow.store_address import check_folder, default_uri

if TYPE_CHECKING:  # optuna and MLflow: seconds, which a sweep with nothing to run need not wait
    from orchestrator.search.engine import Searching
    from orchestrator.tracking.mlflow import projection

MANY_BEHIND = 200
HASTY_SECONDS = 5.0
"""What MLflow is given where the user does not want to wait; the next command writes the rest."""


@dataclass(frozen=True)
class SweepOutcome:
    """How a sweep command ended."""

    statuses: Mapping[str, str]
    """By trial id."""
    ran: int
    """Trials that this command ran to their end."""
    unfinished: int
    """Trials that neither completed nor diverged, and that no search stopped."""
    stop_reason: str
    """Why the sweep stopped before its end, if it did so by itself."""
    report: DrawnReport
    tracking_uri: str
    tracking_problems: tuple[str, ...]
    """What MLflow did not take, a line each."""
    seconds: float


def run(spec: SweepSpec, source: str, storage: AnyPath, command: str, retrain_damaged: bool = False) -> SweepOutcome:
    """Bring the ledger to where the spec wants it, then the report and MLflow to where the ledger is.

    `source` is the YAML's text, kept beside the report. Raises SweepHeldError where another driver runs the sweep, and LedgerError where
    records are damaged and are not to be set aside.
    """
    started = time.monotonic()
    ledger = Ledger(storage)
    uri = default_uri(ledger.storage)
    check_folder(uri, ledger.storage)
    with only_driver(spec, ledger) as lease:
        identify(ledger.storage)  # before anything else is written: a damaged record is refused
        spec = resolve(spec, ledger.storage)  # here, where no other driver adds to it
        made, seen = _plan(spec, ledger, lease, retrain_damaged)
        write_text(sweep_folder(ledger.storage, spec) / "sweep.yaml", _without_secrets(source, spec))
        sweep_records.remember(spec, ledger.storage)
        for trial in made.unpublished:
            ledger.publish(trial)
        done_before = {trial.id for trial in made.done}
        ending = _unchanged(seen, ledger, command) or _run_and_report(spec, made, seen, ledger, lease, command)
        statuses, spec = ending.seen.statuses, ending.seen.spec
        lease.check()
        if spec.keep == "front":
            from orchestrator.driver import retention  # pandas and scipy

            retention.delete(retention.surplus(spec, ledger.storage, ending.seen), ledger.storage)
    return SweepOutcome(
        statuses=statuses,
        ran=sum(status in ENDED and trial_id not in done_before for trial_id, status in statuses.items()),
        unfinished=sum(statuses[trial.id] not in ENDED for trial in wanted(spec)),
        stop_reason=ending.stop_reason,
        report=ending.report,
        tracking_uri=uri,
        tracking_problems=ending.tracking_problems,
        seconds=time.monotonic() - started,
    )


def _plan(spec: SweepSpec, ledger: Ledger, lease: Lease, retrain_damaged: bool) -> tuple[plan.Plan, Snapshot | None]:
    """The plan, and what it was made from; None where trials are to be run: while they run, thousands of whole results would fill the
    memory, and be out of date afterwards.

    Raises LedgerError where records are damaged and are not to be set aside, and where results of a search may not be compared.
    """
    seen = snapshot.read(spec, ledger)
    made = plan.make(wanted(spec), ledger, thorough=retrain_damaged, read=seen.known)
    if made.damaged and retrain_damaged:
        for moved in reset_trials.put_back([*made.damaged], ledger, lease, "damaged"):
            say(f"{moved.trial.label}: set aside as {moved.aside}, to be trained again")
        seen = snapshot.read(spec, ledger)
        made = plan.make(wanted(spec), ledger, read=seen.known)
    if made.damaged:
        raise LedgerError(plan.damage(made, ledger.storage))
    if spec.search:
        check_search(spec, [result for trial in made.done if (result := seen.result(trial)) is not None])
    return made, None if made.to_run else seen


def _without_secrets(source: str, spec: SweepSpec) -> str:
    """The sweep's file without key and secret of its storage; written anew where the file spells these in another way."""
    if masked(spec.storage) == spec.storage:
        return source
    if spec.storage in source:
        return source.replace(spec.storage, masked(spec.storage))
    return sweep_records.record(spec)


@dataclass(frozen=True)
class _Ending:
    """What a sweep has come to, with report and MLflow."""

    seen: Snapshot
    report: DrawnReport
    stop_reason: str = ""
    tracking_problems: tuple[str, ...] = ()


def _unchanged(seen: Snapshot | None, ledger: Ledger, command: str) -> _Ending | None:
    """The ending of a sweep with nothing to train, if its report is up to date and MLflow has everything; None where there is work.

    A search has to be asked what it would try next.
    """
    if seen is None or seen.spec.search or overlaps.noted(sweep_folder(ledger.storage, seen.spec)):
        return None
    spec = seen.spec
    report, uri = report_step.report_folder(ledger.storage, spec), default_uri(ledger.storage)
    if not tracking_step.is_complete(report, spec.name, uri):
        return None
    drawn = report_step.drawn_before(report_step.gather(seen, ledger), ledger, Options(command))
    return None if drawn is None else _Ending(seen, drawn)


def _run_and_report(
    spec: SweepSpec, made: plan.Plan, seen: Snapshot | None, ledger: Ledger, lease: Lease, command: str
) -> _Ending:
    """Run what is missing, with MLflow beside it, then bring the report up to date, which the sweep's run in MLflow has."""
    from orchestrator.tracking.mlflow import projection

    uri, commit = default_uri(ledger.storage), provenance.commit()
    notes = overlaps.noted(sweep_folder(ledger.storage, spec))
    tracker = projection.Tracker(spec, trials(spec), ledger, uri, commit, lease.check, look=bool(notes))
    stop_reason, patience, drawn = "", float("inf"), None
    try:
        if made.to_run or spec.search:
            stop_reason = _run_missing(spec, made, ledger, tracker, commit, lease)
        seen = _as_now(seen, spec, ledger)
        lease.check()
        drawn = report_step.bring_up_to_date(report_step.gather(seen, ledger), ledger, Options(command))
    except KeyboardInterrupt:  # the second one
        patience = HASTY_SECONDS
        raise
    finally:
        if tracker.behind > MANY_BEHIND and not lease.is_lost:
            say(f"MLflow is {tracker.behind} messages behind; writing them (Ctrl-C leaves that to the next command)")
        seen = _as_now(seen, spec, ledger)
        whole = None if drawn is None else tracking_step.sweep_summary(seen.spec, drawn)
        tracker.close(tracking_step.cell_summaries(seen.spec, seen.results), patience, whole)
    assert drawn is not None  # else an error has left this function
    problems = tracking_step.compare_after_overlap(seen, ledger, lease, notes, tracker.problems, drawn)
    return _Ending(seen, drawn, stop_reason, problems)


def _as_now(seen: Snapshot | None, spec: SweepSpec, ledger: Ledger) -> Snapshot:
    """The snapshot, if it has the trials that the sweep has now; else a new one."""
    spec = resolve(spec, ledger.storage)
    if seen is not None and (seen.trials, seen.spec.found) == (tuple(trials(spec)), spec.found):
        return seen
    return snapshot.read(spec, ledger)


def _run_missing(spec: SweepSpec, made: plan.Plan, ledger: Ledger, tracker: projection.Tracker, commit: str, lease: Lease) -> str:
    """Run what the plan says, and what a search finds; returns why the sweep stopped before its end, if it did so by itself."""
    outcome = Outcome({})
    seen = Watch(spec, ledger.storage).look()
    found = {result.trial.id: result for result in seen.results}
    with Progress(seen) as progress:
        listener = _Listener(spec, ledger, tracker, progress, found, lease)
        search, todo = None, made.to_run
        if spec.search is not None:
            from orchestrator.search.engine import Searching  # optuna, which no other sweep need wait for

            search = Searching(spec, ledger, found, listener.widen, progress.say, lease.check)
            todo = tuple(search.start())
            listener.search = search
        if not todo:
            return ""
        from orchestrator.execution.ray_tune import tuner  # ray and torch: seconds that a sweep with nothing to run need not wait

        try:
            outcome = tuner.run(
                todo,
                trials(listener.spec),
                ledger,
                spec.resources,
                commit,
                lease.holder.token,
                made.estimate.seconds,
                listener,
                search,
            )
        finally:
            lease.check()  # where another driver goes on, there is nothing to settle
            _settle(wanted(resolve(listener.spec, ledger.storage)), ledger, outcome, lease.holder.token)
    return outcome.stopped


class _Listener:
    """Tells MLflow and the screen what happens in the workers: one method a kind of event."""

    def __init__(
        self,
        spec: SweepSpec,
        ledger: Ledger,
        tracker: projection.Tracker,
        progress: Progress,
        found: dict[str, TrialResult],
        lease: Lease,
    ) -> None:
        self.spec = spec
        """The sweep with the cells that it has now."""
        self.search: Searching | None = None
        self._by_id = {trial.id: trial for trial in trials(spec)}
        self._ledger, self._tracker, self._progress, self._found = ledger, tracker, progress, found
        self._lease = lease

    def widen(self, spec: SweepSpec) -> None:
        """A search has found cells, or given them seeds."""
        self.spec = spec
        new = [trial for trial in trials(spec) if trial.id not in self._by_id]
        self._by_id |= {trial.id: trial for trial in new}
        self._tracker.add(new)
        self._progress.add(spec, new)
        for trial in new:
            result = self._ledger.result(trial)
            if result is not None:
                self._has_ended(result)

    def __call__(self, event: Event) -> None:
        """Raises LeaseLost where another driver may have taken over."""
        self._lease.check()
        kinds = {
            "preparing": self._preparing,
            "prepared": self._prepared,
            "stacks": self._stacks,
            "halved": self._halved,
            "begun": self._begun,
            "epoch": self._epoch,
            "ended": self._ended,
            "judged": self._judged,
            "stopped": self._stopped,
            "elsewhere": self._elsewhere,
            "full": self._full,
            "node": self._node,
            "retried": self._retried,
            "failed": self._failed,
        }
        kinds[event.kind](event)

    def _preparing(self, event: Event) -> None:
        self._progress.say("preparing data and classifiers; a minute or two where storage does not hold them yet")

    def _prepared(self, event: Event) -> None:
        reached = ", ".join(f"{name} {quality.balanced_accuracy:.1%}" for name, quality in event.report["quality"].items())
        measure = " or ".join(sorted({quality.measure for quality in event.report["quality"].values()}))
        which = f"{event.report['source']} {event.report['dataset']}"
        self._progress.say(f"{which}; {measure} of the classifiers on the test items: {reached}")

    def _stacks(self, event: Event) -> None:
        said = event.report
        if said["why_not"]:
            self._progress.say(f"trials like {said['label']} are trained one by one: {said['why_not']}")
        elif said["size"] > 1:
            gain = said.get("gain", {}).get(str(said["size"]))
            measured = f", measured to be {gain:.1f} times as fast as one by one" if gain else ""
            self._progress.say(f"trials like {said['label']} are stacked, up to {said['size']} at once{measured}")

    def _halved(self, event: Event) -> None:
        self._progress.say(f"a stack of {event.report['size']} did not fit into memory; it goes on as two halves")

    def _begun(self, event: Event) -> None:
        self._tracker.begun(event.trial_id)
        self._progress.begun(event.trial_id, event.report["worker"])

    def _epoch(self, event: Event) -> None:
        epoch = Epoch(event.report["epoch"], event.report["timestamp_ms"], event.report["values"])
        self._tracker.epoch(event.trial_id, epoch)
        self._progress.epoch(event.trial_id, epoch.epoch, epoch.values["train/seconds"])

    def _ended(self, event: Event) -> None:
        self._tracker.changed(event.trial_id)
        result = self._ledger.result(self._by_id[event.trial_id])
        if result is not None:
            self._has_ended(result)

    def _has_ended(self, result: TrialResult) -> None:
        self._found[result.trial.id] = slim(result, self.spec)
        self._progress.ended(self._found[result.trial.id])

    def _judged(self, event: Event) -> None:
        if self.search is not None:
            self.search.judged(event.trial_id, event.report["epoch"], event.report["values"])

    def _stopped(self, event: Event) -> None:
        self._tracker.changed(event.trial_id)
        if self.search is not None:
            self.search.halted(event.trial_id)
        self._progress.stopped(event.trial_id, event.report["epoch"])

    def _elsewhere(self, event: Event) -> None:
        self._progress.elsewhere(event.trial_id, event.report["holder"])

    def _full(self, event: Event) -> None:
        self._progress.say(event.report["error"])

    def _node(self, event: Event) -> None:
        self._progress.say(
            f"a node was lost ({event.report['node'][:8]}); its trials go on elsewhere, and have not failed by that"
        )

    def _retried(self, event: Event) -> None:
        self._unless_ended(event, "pending")

    def _failed(self, event: Event) -> None:
        self._unless_ended(event, "failed")

    def _unless_ended(self, event: Event, status: str) -> None:
        """What befalls a stack concerns those of its trials that have not ended."""
        if event.trial_id not in self._found:
            self._progress.status(event.trial_id, status, event.report["why"])


def _settle(todo: Sequence[Trial], ledger: Ledger, outcome: Outcome, driver: str) -> None:
    """Mark trials that neither completed nor diverged: failed if they were given up, cancelled if they had begun.

    Those that another sweep is at, and those of a sweep that stopped by itself, are left as they are.
    """
    for trial in todo:
        state = ledger.state(trial)
        if state.status in ENDED:
            continue
        leases.release(ledger.storage, ledger.folder(trial), driver)
        if trial.id in outcome.errors:
            ledger.fail(trial, ledger.last_error(trial) or outcome.errors[trial.id])
        elif state.attempts and not outcome.stopped and ledger.holder(trial) is None:
            ledger.cancel(trial)
