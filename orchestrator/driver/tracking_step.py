"""Brings MLflow up to date with the ledger, at the end of `sweep` and in `track`.

A record in the report's folder says that MLflow had everything, and describes its database file at that time:

    <report>/.mlflow.json

While report and database are unchanged, `sweep` does not load MLflow. A new report has no such record. None is written for a server:
others may delete runs there, so it is asked each time.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mopoe_core.storage.paths import AnyPath
from orchestrator.analysis.comparable_groups import groups_of
from orchestrator.driver import report_step
from orchestrator.driver.report_stamp import DrawnReport
from orchestrator.driver.sweep_lease import only_driver, sweep_folder
from orchestrator.errors import DamagedError
from orchestrator.execution import provenance
from orchestrator.ledger import records
from orchestrator.ledger.leases import overlaps
from orchestrator.ledger.leases.lease import Lease
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.proposals import resolve
from orchestrator.ledger.records import Identity
from orchestrator.ledger.result import TrialResult
from orchestrator.ledger.snapshot import Snapshot
from orchestrator.ledger.snapshot import read as read_snapshot
from orchestrator.ledger.storage.identity import identify
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Cell
from orchestrator.tracking.mlflow.store_address import check_address, default_uri, sqlite_file
from orchestrator.tracking.summaries import CellSummary, SweepSummary
from orchestrator.tracking.writer import Writer

StartTracking = Callable[[SweepSpec, Ledger, Lease, bool], Writer]
"""Starts the writer to a tracker. If the last argument is true, the writer compares every run with the ledger."""

NOTE = ".mlflow.json"
"""Name of the record that MLflow has everything."""
SPREAD = ("mean", "sd", "low", "high")
"""The columns of the cell table that MLflow shows for each metric of a cell."""


def on_mlflow(spec: SweepSpec, ledger: Ledger, lease: Lease, look: bool) -> Writer:
    """Start the writer to MLflow, the tracker of users' sweeps."""
    from orchestrator.tracking.mlflow.connection import start_writer  # imports MLflow, for seconds; not needed with nothing new

    uri = default_uri(ledger.storage)
    return start_writer(spec.name, spec.trials, ledger, uri, provenance.commit(), lease.check, look)


def is_complete(report: Path, sweep: str, uri: str) -> bool:
    """Returns whether a record says that MLflow has everything, and MLflow's database has not changed since."""
    with suppress(DamagedError, OSError):
        database = _database(uri)
        return database is not None and records.read(report / NOTE, Identity("projection", sweep=sweep)) == database
    return False


def note_complete(report: Path, sweep: str, uri: str) -> None:
    """Record that MLflow has everything."""
    with suppress(OSError):  # without the record, the next command loads MLflow and checks
        if (database := _database(uri)) is not None:
            records.write(report / NOTE, Identity("projection", sweep=sweep), database)


def _database(uri: str) -> dict[str, Any] | None:
    """Returns address, inode, size and modification time of MLflow's database file; None for a server."""
    path = sqlite_file(uri)
    if path is None:
        return None
    stat = path.stat()
    return {"uri": uri, "inode": stat.st_ino, "size": stat.st_size, "changed_ns": stat.st_mtime_ns}


def cell_summaries(spec: SweepSpec, results: Sequence[TrialResult]) -> list[CellSummary]:
    """Returns a summary of each cell, made from the results that may be compared."""
    from orchestrator.analysis import aggregation  # imports pandas

    seeds, summaries = spec.seeds_by_cell, {}
    for group in groups_of(spec, results).groups:
        table = aggregation.cell_table(group.cells, {cell.id: seeds[cell.id] for cell in group.cells}, group.results)
        columns = (table[name].tolist() for name in ("cell_id", "n", "name", *SPREAD))
        rows: dict[str, list[tuple[Any, ...]]] = {cell.id: [] for cell in group.cells}
        for cell_id, *row in zip(*columns, strict=True):
            rows[cell_id].append(tuple(row))
        for cell in group.cells:
            summaries[cell.id] = _cell_summary(cell, len(seeds[cell.id]), rows[cell.id], group.label)
    return [summaries[cell.id] for cell in spec.cells]


def _cell_summary(cell: Cell, n_planned: int, rows: Sequence[tuple[Any, ...]], group: str) -> CellSummary:
    """Returns the summary of a cell. Each row has the number of seeds, the metric's name, and its `SPREAD`."""
    n = max((count for count, *_ in rows), default=0)
    values = {name: dict(zip(SPREAD, numbers, strict=True)) for _, name, *numbers in rows}
    other_counts = {name: count for count, name, *_ in rows if count != n}
    return CellSummary(cell, n, n_planned, values if n else {}, group, other_counts)


def sweep_summary(spec: SweepSpec, report: DrawnReport) -> SweepSummary:
    """Returns the summary of the whole sweep: its report, and the course of its objectives over the cells."""
    return SweepSummary(spec.name, report.parameters, report.cells, report.courses, report.counts, report.files, report.page)


def compare_after_overlap(
    snapshot: Snapshot, ledger: Ledger, lease: Lease, notes: Sequence[AnyPath], problems: Sequence[str], report: DrawnReport
) -> tuple[str, ...]:
    """Compare MLflow with the ledger again if another driver woke up meanwhile; returns a line for each thing that was not written.

    `notes` are the records of overlaps for which MLflow has been compared already, and `problems` are the lines of that comparison. The
    records are removed if the last comparison left nothing unwritten.
    """
    new_notes = [path for path in overlaps.noted(sweep_folder(ledger.storage, snapshot.spec)) if path not in notes]
    new_problems = _catch_up(snapshot, ledger, lease, report) if new_notes else ()
    last_problems = new_problems if new_notes else problems
    if not last_problems:
        for path in (*notes, *new_notes):
            path.unlink(missing_ok=True)
    if not problems and not new_problems:
        note_complete(report.page.parent, snapshot.spec.name, default_uri(ledger.storage))
    return (*problems, *new_problems)


def track(spec: SweepSpec, storage: AnyPath, command: str, rebuild: bool) -> tuple[str, tuple[str, ...]]:
    """Bring report and MLflow up to date with the ledger; with `rebuild`, write every run anew.

    Returns MLflow's address, and a line for each thing that could not be written. `command` is the command that runs the sweep, which the
    report shows. Raises SweepHeldError if a driver runs the sweep, because MLflow may have only one writer.
    """
    ledger = Ledger(storage)
    uri = default_uri(ledger.storage)
    check_address(uri, ledger.storage)
    with only_driver(spec, ledger) as lease:
        identify(ledger.storage)
        snapshot = read_snapshot(resolve(spec, ledger.storage), ledger)
        notes = overlaps.noted(sweep_folder(ledger.storage, spec))
        report = report_step.bring_up_to_date(report_step.gather(snapshot, ledger), ledger, report_step.Options(command))
        problems = _catch_up(snapshot, ledger, lease, report, anew=rebuild)
        return uri, compare_after_overlap(snapshot, ledger, lease, notes, problems, report)


def _catch_up(snapshot: Snapshot, ledger: Ledger, lease: Lease, report: DrawnReport, anew: bool = False) -> tuple[str, ...]:
    """Bring MLflow up to date with a whole sweep; returns a line for each thing that could not be written."""
    from orchestrator.tracking.mlflow.connection import catch_up  # imports MLflow, for seconds

    spec, uri = snapshot.spec, default_uri(ledger.storage)
    summaries = cell_summaries(spec, snapshot.results)
    summary = sweep_summary(spec, report)
    return catch_up(spec.name, spec.trials, ledger, uri, provenance.commit(), summaries, summary, lease.check, anew)
