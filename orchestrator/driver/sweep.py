"""The driver of a sweep: makes the plan, runs the missing trials, draws the report, and brings MLflow up to date with the ledger."""

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
from orchestrator.execution import plan as planning
from orchestrator.execution import provenance
from orchestrator.execution.checked_trials import is_damaged
from orchestrator.execution.executor import Executor
from orchestrator.ledger import sweep_records
from orchestrator.ledger.leases import overlaps
from orchestrator.ledger.leases.lease import Lease
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.proposals import resolve
from orchestrator.ledger.result import ENDED
from orchestrator.ledger.snapshot import Snapshot
from orchestrator.ledger.snapshot import read as read_snapshot
from orchestrator.ledger.storage.identity import identify
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tracking.mlflow.store_address import check_address, default_uri

MANY_BEHIND = 200
"""Unwritten messages to MLflow from which the user is told about the wait."""
HASTY_SECONDS = 5.0
"""How long MLflow may still write after a second Ctrl-C; the next command writes the rest."""


@dataclass(frozen=True)
class SweepOutcome:
    """How a sweep command ended."""

    statuses: Mapping[str, str]
    """Each trial's status by its id."""
    ran: int
    """Number of trials that completed or diverged in this command."""
    unfinished: int
    """Number of trials that neither completed nor diverged, and that no search stopped."""
    stop_reason: str
    """Why the sweep stopped early by itself; empty if it did not."""
    report: DrawnReport
    tracking_uri: str
    tracking_problems: tuple[str, ...]
    """One line for each thing that could not be written to MLflow."""
    seconds: float
    """Duration of the command."""


def run(
    spec: SweepSpec,
    source: str,
    storage: AnyPath,
    command: str,
    retrain_damaged: bool = False,
    execute: Executor | None = None,
    track: StartTracking = on_mlflow,
) -> SweepOutcome:
    """Run the missing trials of a sweep, then bring its report and MLflow up to date with the ledger.

    `source` is the text of the sweep file, stored beside the report. `execute` runs the trials; the default is Ray Tune. `track` starts
    the writer to a tracker. Raises SweepHeldError if another driver runs the sweep. Raises LedgerError if records are damaged and
    `retrain_damaged` is false.
    """
    started = time.monotonic()
    ledger = Ledger(storage)
    uri = default_uri(ledger.storage)
    check_address(uri, ledger.storage)
    with only_driver(spec, ledger) as lease:
        identify(ledger.storage)  # before anything else is written: raises if storage.json is damaged
        spec = resolve(spec, ledger.storage)  # under the lease, so that no other driver adds proposals
        plan, snapshot = _make_plan(spec, ledger, lease, retrain_damaged)
        lease.check()  # a plan of thousands of trials takes minutes: another driver may have a newer sweep by now
        write_text(sweep_folder(ledger.storage, spec) / "sweep.yaml", _without_secrets(source, spec))
        sweep_records.write(spec, ledger.storage)
        for trial in plan.unpublished:
            ledger.publish(trial)
        ending = _unchanged(snapshot, ledger, command)
        if ending is None:
            ending = _run_and_report(spec, plan, snapshot, ledger, lease, command, execute or on_ray_tune, track)
        lease.check()
        if ending.snapshot.spec.keep == "front":
            _delete_surplus(ending.snapshot, ledger, lease)
    return _outcome(plan, ending, uri, time.monotonic() - started)


def _make_plan(spec: SweepSpec, ledger: Ledger, lease: Lease, retrain_damaged: bool) -> tuple[planning.Plan, Snapshot | None]:
    """Returns the plan and the snapshot that it was made from.

    The snapshot is None if there are trials to run: in the meantime thousands of whole results would fill the memory, and afterwards they
    would be out of date. Raises LedgerError if records are damaged and `retrain_damaged` is false, or if results of a search may not be
    compared.
    """
    snapshot = read_snapshot(spec, ledger)
    plan = planning.make(spec.wanted, ledger, thorough=retrain_damaged, read=snapshot.reading)
    if plan.damaged and retrain_damaged:
        for moved in reset_trials.reset([*plan.damaged], ledger, lease, "damaged", lambda trial: is_damaged(trial, ledger)):
            if not moved.has_changed:
                say(f"{moved.trial.label}: set aside as {moved.aside}, to be trained again")
        snapshot = read_snapshot(spec, ledger)
        plan = planning.make(spec.wanted, ledger, read=snapshot.reading)
    if plan.damaged:
        raise LedgerError(planning.damage_message(plan, ledger.storage))
    if spec.search:
        check_search(spec, [result for trial in plan.done if (result := snapshot.result(trial)) is not None])
    return plan, None if plan.to_run else snapshot


def _delete_surplus(snapshot: Snapshot, ledger: Ledger, lease: Lease) -> None:
    from orchestrator.driver import retention  # imports pandas and scipy

    retention.delete(retention.surplus(snapshot.spec, ledger.storage, snapshot), ledger.storage, lease)


def _without_secrets(source: str, spec: SweepSpec) -> str:
    """Returns the sweep file's text without the secrets of its storage.

    If the file spells the storage in another way, so that the secrets cannot be found in it, returns the sweep's fields as JSON.
    """
    if masked(spec.storage) == spec.storage:
        return source
    if spec.storage in source:
        return source.replace(spec.storage, masked(spec.storage))
    return sweep_records.as_json(spec)


@dataclass(frozen=True)
class _Ending:
    """State and report of a sweep at the end of a command."""

    snapshot: Snapshot
    report: DrawnReport
    stop_reason: str = ""
    tracking_problems: tuple[str, ...] = ()


def _outcome(plan: planning.Plan, ending: _Ending, tracking_uri: str, seconds: float) -> SweepOutcome:
    statuses = ending.snapshot.statuses
    done_before = {trial.id for trial in plan.done}
    return SweepOutcome(
        statuses=statuses,
        ran=sum(status in ENDED and trial_id not in done_before for trial_id, status in statuses.items()),
        unfinished=sum(statuses[trial.id] not in ENDED for trial in ending.snapshot.spec.wanted),
        stop_reason=ending.stop_reason,
        report=ending.report,
        tracking_uri=tracking_uri,
        tracking_problems=ending.tracking_problems,
        seconds=seconds,
    )


def _unchanged(snapshot: Snapshot | None, ledger: Ledger, command: str) -> _Ending | None:
    """Returns the ending of a sweep with nothing to do: no trial to run, and report and MLflow up to date; else None.

    Always None for a search, which first has to be asked for its next proposals.
    """
    if snapshot is None or snapshot.spec.search or overlaps.noted(sweep_folder(ledger.storage, snapshot.spec)):
        return None
    spec = snapshot.spec
    folder, uri = report_step.report_folder(ledger.storage, spec), default_uri(ledger.storage)
    if not tracking_step.is_complete(folder, spec.name, uri):
        return None
    report = report_step.drawn_before(report_step.gather(snapshot, ledger), ledger, Options(command))
    return None if report is None else _Ending(snapshot, report)


def _run_and_report(
    spec: SweepSpec,
    plan: planning.Plan,
    snapshot: Snapshot | None,
    ledger: Ledger,
    lease: Lease,
    command: str,
    execute: Executor,
    track: StartTracking,
) -> _Ending:
    """Run the missing trials while MLflow is written, then draw the report, and write it and all summaries to MLflow."""
    overlap_notes = overlaps.noted(sweep_folder(ledger.storage, spec))
    tracker = track(spec, ledger, lease, bool(overlap_notes))
    stop_reason, patience_seconds, report = "", float("inf"), None
    try:
        if plan.to_run or spec.search:
            stop_reason = run_missing(spec, plan, ledger, tracker, provenance.commit(), lease, execute)
        snapshot = _current(snapshot, spec, ledger)
        lease.check()
        for trial in snapshot.unpublished:  # a worker died in this command, after its result and before it had moved its files
            ledger.publish(trial)
        report = report_step.bring_up_to_date(report_step.gather(snapshot, ledger), ledger, Options(command))
    except KeyboardInterrupt:  # the user does not want to wait; the first Ctrl-C in training only stops the trials
        patience_seconds = HASTY_SECONDS
        raise
    finally:
        if tracker.behind > MANY_BEHIND and not lease.is_lost:
            say(f"MLflow is {tracker.behind} messages behind; writing them (Ctrl-C leaves that to the next command)")
        snapshot = _current(snapshot, spec, ledger)
        sweep_summary = None if report is None else tracking_step.sweep_summary(snapshot.spec, report)
        tracker.close(tracking_step.cell_summaries(snapshot.spec, snapshot.results), patience_seconds, sweep_summary)
    assert report is not None  # otherwise an exception has left this function
    problems = tracking_step.compare_after_overlap(snapshot, ledger, lease, overlap_notes, tracker.problems, report)
    return _Ending(snapshot, report, stop_reason, problems)


def _current(snapshot: Snapshot | None, spec: SweepSpec, ledger: Ledger) -> Snapshot:
    """Returns the snapshot if it has all trials that the sweep has now; else reads a new one."""
    spec = resolve(spec, ledger.storage)
    if snapshot is not None and (snapshot.trials, snapshot.spec.wanted) == (spec.trials, spec.wanted):
        return snapshot
    return read_snapshot(spec, ledger)
