"""Which checkpoints stay. While a trial trains, it has its last checkpoint and the one before; when it has ended, its last.

When all trials of a sweep have ended, `gc` leaves the checkpoints of the cells on its fronts. Those of cells that another cell of their
group (`comparable_groups`) beats on every objective are surplus, unless another sweep in the same storage has use for them. Results,
pictures and records always stay.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mopoe_core.storage.file_facts import size
from mopoe_core.storage.paths import AnyPath, local_counterpart
from orchestrator.analysis import fronts
from orchestrator.analysis.comparable_groups import groups_of
from orchestrator.ledger import sweep_records
from orchestrator.ledger.integrity import artifact_check
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.ledger.snapshot import Snapshot
from orchestrator.ledger.storage import leftovers
from orchestrator.search.outcomes import feasible
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial


@dataclass(frozen=True)
class Surplus:
    """Checkpoints that no sweep has use for, and what killed processes left behind."""

    trials: tuple[Trial, ...]
    paths: tuple[AnyPath, ...]
    links: tuple[AnyPath, ...]
    """The same files among MLflow's artifacts, where these are links: the disk has room again only when both are gone."""
    leftovers: tuple[AnyPath, ...]
    """What killed processes left behind."""

    @property
    def megabytes(self) -> float:
        """What the checkpoints take on disk."""
        return sum(map(size, self.paths)) / 1e6


def surplus(spec: SweepSpec, storage: AnyPath, seen: Snapshot | None = None) -> Surplus:
    """What of a sweep need not stay; `seen` has its results where they have been read already.

    Raises SpecError where another sweep's record cannot be read, so that its wishes are unknown.
    """
    ledger = Ledger(storage)
    wanted = {
        trial.id
        for other in (spec, *sweep_records.recorded_sweeps(storage, spec.own_datasets))
        for trial in wanted_trials(other, ledger, seen)
    }
    unwanted = [trial for trial in spec.trials if trial.id not in wanted and ledger.holder(trial) is None]
    paths = {trial: path for trial in unwanted if (path := ledger.checkpoint(trial)).exists()}
    links = tuple(mlflow_links(storage, tuple(paths.values())))
    return Surplus(tuple(paths), tuple(paths.values()), links, tuple(leftovers.find(storage)))


def delete(surplus: Surplus, storage: AnyPath) -> None:
    """Remove what is surplus. Each checkpoint is first noted as deleted, so that nobody takes it for lost."""
    ledger = Ledger(storage)
    for trial in surplus.trials:
        _note_deleted(trial, ledger, "no front has use for it")
    for path in (*surplus.paths, *surplus.links):
        path.unlink(missing_ok=True)
    for path in surplus.leftovers:
        leftovers.remove(path)


def accept_lost(spec: SweepSpec, storage: AnyPath) -> list[Trial]:
    """Note for each lost checkpoint of a sweep that its result counts without it, and remove what is left of it; returns the trials."""
    ledger, accepted = Ledger(storage), []
    for trial in spec.trials:
        if ledger.state(trial).lost:
            _note_deleted(trial, ledger, "it was lost")
            ledger.checkpoint(trial).unlink(missing_ok=True)
            accepted.append(trial)
    return accepted


def _note_deleted(trial: Trial, ledger: Ledger, reason: str) -> None:
    result = ledger.result(trial)
    artifact_check.note_deleted(ledger.folder(trial), trial.id, None if result is None else result.checkpoint, reason)


def wanted_trials(spec: SweepSpec, ledger: Ledger, seen: Snapshot | None = None) -> Iterator[Trial]:
    """The trials whose checkpoints a sweep has use for: those of the cells on its fronts, one front for each group of cells that may be
    compared. All of them while some have not ended, or where some were left out, so that it is not known whether they have.
    """
    every = spec.wanted
    results = _results_of(every, ledger, seen)
    if spec.left_out or len(results) < len(every):
        yield from every
        return
    grouped, seeds = groups_of(spec, results), spec.seeds_by_cell
    allowed = {cell.id for cell in feasible(spec, grouped.results)}
    best: set[str] = set()
    for group in grouped.groups:
        cells = [cell for cell in group.cells if cell.id in allowed]
        front = fronts.front(spec.objectives, cells, {cell.id: seeds[cell.id] for cell in cells}, group.results)
        best |= {point.cell_id for point in front.points if point.on_front}
    yield from (trial for trial in every if trial.cell.id in best)


def _results_of(every: Sequence[Trial], ledger: Ledger, seen: Snapshot | None) -> list[TrialResult]:
    """The results that there are; those in a snapshot are not read again."""
    if seen is None:
        return ledger.results_of(every)
    readings = seen.readings
    results = ledger.each(lambda trial: seen.result(trial) if trial.id in readings else ledger.result(trial), every)
    return [result for result in results if result is not None]


def mlflow_links(storage: AnyPath, paths: Sequence[AnyPath]) -> Iterator[AnyPath]:
    """Yields the names under which MLflow's artifacts hold these files too, as hard links."""
    wanted = {path.stat().st_ino for path in paths if isinstance(path, Path)}
    for path in local_counterpart(storage).glob("mlartifacts/**/artifacts/checkpoint.pt"):
        if path.stat().st_ino in wanted:
            yield path
