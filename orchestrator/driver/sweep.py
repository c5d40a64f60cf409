"""The driver of a sweep: plan, run what is missing, draw the report, and bring MLflow to where the ledger is."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.uri_secrets import masked
from mopoe_core.storage.whole_files import write_text
from mopoe_core.terminal import say
from orchestrator.analysis.comparable_groups import check_search
from orchestrator.driver import report_step, reset_trials, tracking_step
from orchestrator.driver.report_stamp import DrawnReport
from orchestrator.driver.report_step import Options
from orchestrator.driver.run_missing import on_ray_tune, run_missing
from orchestrator.driver.sweep_lease import only_driver, sweep_folder
from orchestrator.driver.tracking_step import StartTracking, on_mlflow
from orchestrator.errors import LedgerError
from orchestrator.execution import plan, provenance
from orchestrator.execution.executor import Executor
from orchestrator.ledger import snapshot, sweep_records
from orchestrator.ledger.leases import overlaps
from orchestrator.ledger.leases.lease import Lease
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.proposals import resolve
from orchestrator.ledger.result import ENDED
from orchestrator.ledger.snapshot import Snapshot
from orchestrator.ledger.storage.identity import identify
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tracking.mlflow.store_address import check_folder, default_uri

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


def run(
    spec: SweepSpec,
    source: str,
    storage: AnyPath,
    command: str,
    retrain_damaged: bool = False,
    execute: Executor | None = None,
    track: StartTracking = on_mlflow,
) -> SweepOutcome:
    """Bring the ledger to where the spec wants it, then the report and MLflow to where the ledger is.

    `source` is the YAML's text, kept beside the report; `execute` runs the trials, on Ray Tune if it is left out; `track` starts the
    writer to a tracker. Raises SweepHeldError if another driver runs the sweep, and LedgerError if records are damaged and are not to
    be set aside.
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
        ending = _unchanged(seen, ledger, command)
        if ending is None:
            ending = _run_and_report(spec, made, seen, ledger, lease, command, execute or on_ray_tune, track)
        statuses, spec = ending.seen.statuses, ending.seen.spec
        lease.check()
        if spec.keep == "front":
            from orchestrator.driver import retention  # pandas and scipy

            retention.delete(retention.surplus(spec, ledger.storage, ending.seen), ledger.storage)
    return SweepOutcome(
        statuses=statuses,
        ran=sum(status in ENDED and trial_id not in done_before for trial_id, status in statuses.items()),
        unfinished=sum(statuses[trial.id] not in ENDED for trial in spec.wanted),
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
    made = plan.make(spec.wanted, ledger, thorough=retrain_damaged, read=seen.known)
    if made.damaged and retrain_damaged:
        for moved in reset_trials.put_back([*made.damaged], ledger, lease, "damaged"):
            say(f"{moved.trial.label}: set aside as {moved.aside}, to be trained again")
        seen = snapshot.read(spec, ledger)
        made = plan.make(spec.wanted, ledger, read=seen.known)
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
    spec: SweepSpec,
    made: plan.Plan,
    seen: Snapshot | None,
    ledger: Ledger,
    lease: Lease,
    command: str,
    execute: Executor,
    track: StartTracking,
) -> _Ending:
    """Run what is missing, with MLflow beside it, then bring the report up to date, which the sweep's run in MLflow has."""
    notes = overlaps.noted(sweep_folder(ledger.storage, spec))
    tracker = track(spec, ledger, lease, bool(notes))
    stop_reason, patience, drawn = "", float("inf"), None
    try:
        if made.to_run or spec.search:
            stop_reason = run_missing(spec, made, ledger, tracker, provenance.commit(), lease, execute)
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
    if seen is not None and (seen.trials, seen.spec.wanted) == (spec.trials, spec.wanted):
        return seen
    return snapshot.read(spec, ledger)
