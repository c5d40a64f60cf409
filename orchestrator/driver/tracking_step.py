"""MLflow brought to where the ledger is: what is told of cells and sweep, by `sweep` at its end and by `track`.

A note beside the report says that MLflow had everything, and what its database was like then:

    <report>/.mlflow.json

While the report and the database are unchanged, `sweep` need not load MLflow. A new report comes without the note. Of a server nothing is
noted: its runs may be deleted by others, so it is asked each time.
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
from orchestrator.ledger import records, snapshot
from orchestrator.ledger.leases import overlaps
from orchestrator.ledger.leases.lease import Lease
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.proposals import resolve
from orchestrator.ledger.records import Identity
from orchestrator.ledger.result import TrialResult
from orchestrator.ledger.snapshot import Snapshot
from orchestrator.ledger.storage.identity import identify
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.tracking.mlflow.store_address import check_folder, default_uri, sqlite_file
from orchestrator.tracking.summaries import CellSummary, SweepSummary
from orchestrator.tracking.writer import Writer

StartTracking = Callable[[SweepSpec, Ledger, Lease, bool], Writer]
"""Starts the writer to a tracker; the last argument asks for a comparison of every run with the ledger."""

NOTE = ".mlflow.json"
SPREAD = ("mean", "sd", "low", "high")
"""What MLflow shows of each metric of a cell."""


def on_mlflow(spec: SweepSpec, ledger: Ledger, lease: Lease, look: bool) -> Writer:
    """Starts the writer to MLflow, the tracker of users' sweeps."""
    from orchestrator.tracking.mlflow.connection import start_writer  # MLflow: seconds, for which nobody waits with nothing new

    uri = default_uri(ledger.storage)
    return start_writer(spec.name, spec.trials, ledger, uri, provenance.commit(), lease.check, look)


def is_complete(report: Path, sweep: str, uri: str) -> bool:
    """Whether MLflow is noted to have everything that the ledger and this report have, and its database is unchanged since."""
    with suppress(DamagedError, OSError):
        database = _database(uri)
        return database is not None and records.read(report / NOTE, Identity("projection", sweep=sweep)) == database
    return False


def note_complete(report: Path, sweep: str, uri: str) -> None:
    """Note that MLflow has everything."""
    with suppress(OSError):  # then the next command loads MLflow and asks
        if (database := _database(uri)) is not None:
            records.write(report / NOTE, Identity("projection", sweep=sweep), database)


def _database(uri: str) -> dict[str, Any] | None:
    """Where MLflow's file is, and what tells it from any other state of it; None for a server."""
    path = sqlite_file(uri)
    if path is None:
        return None
    stat = path.stat()
    return {"uri": uri, "inode": stat.st_ino, "size": stat.st_size, "changed_ns": stat.st_mtime_ns}


def cell_summaries(spec: SweepSpec, results: Sequence[TrialResult]) -> list[CellSummary]:
    """What MLflow shows of each cell, by the results that may be compared."""
    from orchestrator.analysis import aggregation  # pandas

    seeds, summaries = spec.seeds_by_cell, {}
    for group in groups_of(spec, results).groups:
        table = aggregation.cell_table(group.cells, {cell.id: seeds[cell.id] for cell in group.cells}, group.results)
        rows: dict[str, list[tuple[Any, ...]]] = {cell.id: [] for cell in group.cells}
        for cell_id, *row in zip(*(table[name].tolist() for name in ("cell_id", "n", "name", *SPREAD)), strict=True):
            rows[cell_id].append(tuple(row))
        for cell in group.cells:
            n = max((row[0] for row in rows[cell.id]), default=0)
            values = {name: dict(zip(SPREAD, numbers, strict=True)) for _, name, *numbers in rows[cell.id]}
            counts = {name: count for count, name, *_ in rows[cell.id] if count != n}
            summaries[cell.id] = CellSummary(cell, n, len(seeds[cell.id]), values if n else {}, group.label, counts)
    return [summaries[cell.id] for cell in spec.cells]


def sweep_summary(spec: SweepSpec, drawn: DrawnReport) -> SweepSummary:
    """What MLflow shows of the whole sweep: the report, and what was reached after each cell."""
    return SweepSummary(spec.name, drawn.parameters, drawn.cells, drawn.courses, drawn.counts, drawn.files, drawn.page)


def compare_after_overlap(
    seen: Snapshot, ledger: Ledger, lease: Lease, notes: Sequence[AnyPath], problems: Sequence[str], drawn: DrawnReport
) -> tuple[str, ...]:
    """Compare MLflow with the ledger once more where another driver woke while this one ran; returns all that could not be written.

    `notes` are the notes of overlaps that MLflow was compared for, and `problems` is what could not be written then. Notes are removed
    when nothing is left to write.
    """
    new = [path for path in overlaps.noted(sweep_folder(ledger.storage, seen.spec)) if path not in notes]
    later: tuple[str, ...] = ()
    if new:
        later = _catch_up(seen, ledger, lease, drawn)
    if not (later if new else problems):
        for path in (*notes, *new):
            path.unlink(missing_ok=True)
    if not problems and not later:
        note_complete(drawn.page.parent, seen.spec.name, default_uri(ledger.storage))
    return (*problems, *later)


def track(spec: SweepSpec, storage: AnyPath, command: str, rebuild: bool) -> tuple[str, tuple[str, ...]]:
    """Bring report and MLflow to where the ledger is, or write every run anew; returns MLflow's address, and what could not be written.

    `command` is the one that runs the sweep, for the report to say.
    Raises SweepHeldError where a driver runs the sweep: MLflow has one writer.
    """
    ledger = Ledger(storage)
    uri = default_uri(ledger.storage)
    check_folder(uri, ledger.storage)
    with only_driver(spec, ledger) as lease:
        identify(ledger.storage)
        seen = snapshot.read(resolve(spec, ledger.storage), ledger)
        notes = overlaps.noted(sweep_folder(ledger.storage, spec))
        drawn = report_step.bring_up_to_date(report_step.gather(seen, ledger), ledger, report_step.Options(command))
        problems = _catch_up(seen, ledger, lease, drawn, anew=rebuild)
        return uri, compare_after_overlap(seen, ledger, lease, notes, problems, drawn)


def _catch_up(seen: Snapshot, ledger: Ledger, lease: Lease, drawn: DrawnReport, anew: bool = False) -> tuple[str, ...]:
    """Bring MLflow up to date with a whole sweep; returns what could not be written."""
    from orchestrator.tracking.mlflow.connection import catch_up  # MLflow: seconds

    spec, uri = seen.spec, default_uri(ledger.storage)
    cells, summary = cell_summaries(spec, seen.results), sweep_summary(spec, drawn)
    return catch_up(spec.name, spec.trials, ledger, uri, provenance.commit(), cells, summary, lease.check, anew)
