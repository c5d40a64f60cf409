"""Which checkpoints stay. While a trial trains it has its last one and the one before; when it has ended, its last.

`gc` then leaves those of the front's cells: of a sweep whose trials have all ended, the checkpoints of cells that another cell of their
group (`front_groups`) beats on every objective are surplus, unless another sweep in the same storage has use for them. Results, pictures
and records always stay.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mopoe_core.storage.files import AnyPath, near, size
from orchestrator.analysis import fronts
from orchestrator.analysis.comparable_groups import groups_of
from orchestrator.ledger import sweep_records
from orchestrator.ledger.integrity import artifact_check
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.storage import leftovers
from orchestrator.search.outcomes import feasible
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial


@dataclass(frozen=True)
class Surplus:
    """Checkpoints that nobody has use for."""

    trials: tuple[Trial, ...]
    paths: tuple[AnyPath, ...]
    links: tuple[AnyPath, ...]
    """The same files among MLflow's artifacts, where these are links: the disk has room again when both are gone."""
    leftovers: tuple[AnyPath, ...]
    """Of processes that were killed."""

    @property
    def megabytes(self) -> float:
        """What they take."""
        return sum(map(size, self.paths)) / 1e6


def surplus(spec: SweepSpec, storage: AnyPath) -> Surplus:
    """What of a sweep need not stay. Raises SpecError where another sweep's record cannot be read, so that its wishes are unknown."""
    ledger = Ledger(storage)
    wanted = {
        trial.id
        for other in (spec, *sweep_records.recorded_sweeps(storage, spec.own_datasets))
        for trial in wanted_trials(other, ledger)
    }
    found = [trial for trial in spec.trials if trial.id not in wanted and ledger.holder(trial) is None]
    paths = {trial: path for trial in found if (path := ledger.checkpoint(trial)).exists()}
    links = tuple(mlflow_links(storage, tuple(paths.values())))
    return Surplus(tuple(paths), tuple(paths.values()), links, tuple(leftovers.find(storage)))


def delete(found: Surplus, storage: AnyPath) -> None:
    """Remove them. Of each checkpoint it is noted first, so that nobody takes it for lost."""
    ledger = Ledger(storage)
    for trial in found.trials:
        _note_deleted(trial, ledger, "no front has use for it")
    for path in (*found.paths, *found.links):
        path.unlink(missing_ok=True)
    for path in found.leftovers:
        leftovers.remove(path)


def accept_lost(spec: SweepSpec, storage: AnyPath) -> list[Trial]:
    """Note of each lost checkpoint of a sweep that its result counts without it, and remove what is left of it; returns the trials."""
    ledger, found = Ledger(storage), []
    for trial in spec.trials:
        if ledger.state(trial).lost:
            _note_deleted(trial, ledger, "it was lost")
            ledger.checkpoint(trial).unlink(missing_ok=True)
            found.append(trial)
    return found


def _note_deleted(trial: Trial, ledger: Ledger, why: str) -> None:
    result = ledger.result(trial)
    artifact_check.note_deleted(ledger.folder(trial), trial.id, None if result is None else result.checkpoint, why)


def wanted_trials(spec: SweepSpec, ledger: Ledger) -> Iterator[Trial]:
    """Trials whose checkpoints a sweep has use for: of the cells on its fronts, one of each group of cells that may be compared; all of
    them while some have not ended, or where some were left out, of which it is not known whether they have.
    """
    every = spec.wanted
    results = ledger.results_of(every)
    if spec.left_out or len(results) < len(every):
        yield from every
        return
    grouped, seeds = groups_of(spec, results), spec.seeds_by_cell
    kept = {cell.id for cell in feasible(spec, grouped.results)}
    best: set[str] = set()
    for group in grouped.groups:
        own = [cell for cell in group.cells if cell.id in kept]
        front = fronts.front(spec.objectives, own, {cell.id: seeds[cell.id] for cell in own}, group.results)
        best |= {point.cell_id for point in front.points if point.on_front}
    yield from (trial for trial in every if trial.cell.id in best)


def mlflow_links(storage: AnyPath, paths: Sequence[AnyPath]) -> Iterator[AnyPath]:
    """Yields the names under which MLflow's artifacts hold these files too, as hard links."""
    wanted = {path.stat().st_ino for path in paths if isinstance(path, Path)}
    for path in near(storage).glob("mlartifacts/**/artifacts/checkpoint.pt"):
        if path.stat().st_ino in wanted:
            yield path
