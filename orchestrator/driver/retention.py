"""Decides which checkpoints stay. A trial in training has its last two checkpoints; a trial that has ended has its last one.

When all trials of a sweep have ended, `gc` keeps the checkpoints of the cells on its fronts. The checkpoints of all other cells are
surplus, unless another sweep in the same storage needs them. Each group of cells that may be compared has a front
(`comparable_groups`). Results, pictures and records always stay.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mopoe_core.storage.file_facts import modified, size
from mopoe_core.storage.paths import AnyPath, local_counterpart
from orchestrator.analysis import fronts
from orchestrator.analysis.comparable_groups import groups_of
from orchestrator.ledger import sweep_records
from orchestrator.ledger.integrity import artifact_check
from orchestrator.ledger.layout import Layout
from orchestrator.ledger.leases.lease import Lease
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.ledger.snapshot import Snapshot
from orchestrator.ledger.snapshot import read as read_snapshot
from orchestrator.ledger.storage import leftovers
from orchestrator.search.outcomes import feasible
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial


@dataclass(frozen=True)
class Surplus:
    """Checkpoints that no sweep needs, and files that killed processes left behind."""

    trials: tuple[Trial, ...]
    """The trials of the checkpoints."""
    stamps: tuple[str, ...]
    """The stamps (`Ledger.stamp`) of the results by which the trials were judged, in the order of `trials`."""
    paths: tuple[AnyPath, ...]
    """The checkpoints, in the order of `trials`."""
    links: tuple[AnyPath, ...]
    """Hard links to the same files among MLflow's artifacts. The disk space is free only when both are deleted."""
    leftovers: tuple[AnyPath, ...]
    """Files that killed processes left behind."""

    @property
    def megabytes(self) -> float:
        """Size of the checkpoints, in megabytes (10^6 bytes)."""
        return sum(map(size, self.paths)) / 1e6


def surplus(spec: SweepSpec, storage: AnyPath, snapshot: Snapshot | None = None) -> Surplus:
    """Returns the surplus of a sweep. `snapshot` has its results, if they have been read already.

    Raises SpecError if the record of another sweep in storage cannot be read, because that sweep may need the checkpoints.
    """
    ledger = Ledger(storage)
    snapshot = snapshot or read_snapshot(spec, ledger)
    wanted_ids = {
        trial.id
        for sweep in (spec, *sweep_records.read_sweeps(storage, spec.own_datasets))
        for trial in wanted_trials(sweep, ledger, snapshot)
    }
    unwanted = [trial for trial in spec.trials if trial.id not in wanted_ids and ledger.holder(trial) is None]
    paths = {trial: path for trial in unwanted if (path := ledger.checkpoint(trial)).exists()}
    links = tuple(mlflow_links(storage, tuple(paths.values())))
    stamps = tuple(snapshot.reading(trial).stamp for trial in paths)
    return Surplus(tuple(paths), stamps, tuple(paths.values()), links, tuple(leftovers.find(storage)))


def delete(surplus: Surplus, storage: AnyPath, lease: Lease) -> list[Trial]:
    """Delete the surplus. Returns the trials whose checkpoints stay, because they are being trained, or have another result by now.

    Records first that each checkpoint is deleted, so that it does not count as lost. A checkpoint may still be in its attempt's folder,
    beside the pictures, which stay. So they are first moved to their place. Raises LeaseLost if this process was suspended for so long
    that another may have taken over.
    """
    ledger, kept = Ledger(storage), []
    for trial, stamp, path in zip(surplus.trials, surplus.stamps, surplus.paths, strict=True):
        with _claimed(trial, ledger, lease) as is_claimed:
            if not is_claimed or ledger.stamp(trial) != stamp:
                kept.append(trial)
                continue
            ledger.publish(trial)
            _note_deleted(trial, ledger, "no front has use for it")
            lease.confirm()
            ledger.layout.trial(trial.id).checkpoint.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
    for path in surplus.links:
        path.unlink(missing_ok=True)
    still_old = set(leftovers.find(storage, _storage_time(lease))) if surplus.leftovers else set()
    for path in surplus.leftovers:
        if path in still_old:
            leftovers.remove(path)
    return kept


def _storage_time(lease: Lease) -> float:
    """Returns the time now by the storage's clock, in seconds since 1970; by this machine's clock if that is earlier."""
    heartbeat = modified(Layout(lease.storage).heartbeat(lease.holder.token))
    return time.time() if heartbeat is None else min(time.time(), heartbeat)


@contextmanager
def _claimed(trial: Trial, ledger: Ledger, lease: Lease) -> Iterator[bool]:
    """Hold a trial, if nobody else does; gives whether this process holds it."""
    lease.check()
    is_claimed = lease.claim(ledger.folder(trial)) is None
    try:
        yield is_claimed
    finally:
        if is_claimed:
            lease.release(ledger.folder(trial))


def accept_lost(spec: SweepSpec, storage: AnyPath, lease: Lease) -> list[Trial]:
    """Accept results whose checkpoint is lost: record it as deleted, and remove what is left of it. Returns the trials.

    Raises LeaseLost as `delete` does.
    """
    ledger, accepted = Ledger(storage), []
    for trial in spec.trials:
        if not ledger.state(trial).checkpoint_problem:
            continue
        with _claimed(trial, ledger, lease) as is_claimed:
            if is_claimed and ledger.state(trial).checkpoint_problem:
                _note_deleted(trial, ledger, "it was lost")
                lease.confirm()
                ledger.checkpoint(trial).unlink(missing_ok=True)
                accepted.append(trial)
    return accepted


def _note_deleted(trial: Trial, ledger: Ledger, reason: str) -> None:
    result = ledger.result(trial)
    artifact_check.note_deleted(ledger.folder(trial), trial.id, None if result is None else result.checkpoint, reason)


def wanted_trials(spec: SweepSpec, ledger: Ledger, snapshot: Snapshot | None = None) -> Iterator[Trial]:
    """Yields the trials whose checkpoints a sweep needs: those of the cells on the front of each group.

    Yields all trials if some have not ended, or if cells were left out, because then it is not known whether they have ended.
    """
    results = _results_of(spec.trials, ledger, snapshot)  # a cell may have completed before its workers saw that it was stopped
    ended_ids = {result.trial.id for result in results}
    if spec.left_out or any(trial.id not in ended_ids for trial in spec.wanted):
        yield from spec.trials
        return
    grouped, seeds = groups_of(spec, results), spec.seeds_by_cell
    feasible_ids = {cell.id for cell in feasible(spec, grouped.results)}
    on_fronts: set[str] = set()
    for group in grouped.groups:
        cells = [cell for cell in group.cells if cell.id in feasible_ids]
        front = fronts.front(spec.objectives, cells, {cell.id: seeds[cell.id] for cell in cells}, group.results)
        on_fronts |= {point.cell_id for point in front.points if point.on_front}
    yield from (trial for trial in spec.trials if trial.cell.id in on_fronts)


def _results_of(trials: Sequence[Trial], ledger: Ledger, snapshot: Snapshot | None) -> list[TrialResult]:
    """Returns the results of the trials that have ended. Those in the snapshot are not read again."""
    if snapshot is None:
        return ledger.results_of(trials)
    in_snapshot = snapshot.readings
    results = ledger.each(lambda trial: snapshot.result(trial) if trial.id in in_snapshot else ledger.result(trial), trials)
    return [result for result in results if result is not None]


def mlflow_links(storage: AnyPath, paths: Sequence[AnyPath]) -> Iterator[AnyPath]:
    """Yields the hard links to these files among MLflow's artifacts."""
    inodes = {path.stat().st_ino for path in paths if isinstance(path, Path)}
    for path in local_counterpart(storage).glob("mlartifacts/**/artifacts/checkpoint.pt"):
        if path.stat().st_ino in inodes:
            yield path
