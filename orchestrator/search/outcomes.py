"""What has come of the cells of a search. Pure.

A cell counts with all the seeds that every cell has, or not at all: one that lost a seed has no number, and is told as what it is.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from mopoe_core.storage.paths import AnyPath
from orchestrator.analysis import dominance, fronts
from orchestrator.analysis import hypervolume as volume_of
from orchestrator.errors import LedgerError
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.proposals import Proposal, Proposals, Stopped, cell_of
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.search_block import PARAMETERS, SECONDS, Constraint
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Cell, Trial


@dataclass(frozen=True)
class Telling:
    """What is told of a proposal."""

    kind: str
    """`completed`, `diverged`, `stopped`, `failed` (also of a cell that was told before), or `open` while nothing is to be told."""
    values: tuple[float, ...] = ()
    """Means over the seeds, an objective each; only of a completed cell."""
    excess: Mapping[str, float] = field(default_factory=dict)
    """How far it is on the wrong side of each constraint; zero or less where it keeps to it."""
    epochs: Mapping[int, float] = field(default_factory=dict)
    """The single objective after some epochs, of a cell that was stopped."""

    @property
    def is_feasible(self) -> bool:
        """Whether the cell has completed and keeps to every constraint."""
        return self.kind == "completed" and all(value <= 0 for value in self.excess.values())


@dataclass(frozen=True)
class Told:
    """A cell that was proposed, and what has come of it."""

    proposal: Proposal
    cell: Cell
    telling: Telling
    stopped: Stopped | None = None
    """When and why it was stopped early, where that is asked for."""
    so_far: tuple[float, ...] = ()
    """Means over the seeds when it was stopped, an objective each; empty of any other cell."""

    @property
    def outcome(self) -> str:
        """The telling's kind, or `infeasible` of a completed cell that breaks a constraint."""
        return "infeasible" if self.telling.kind == "completed" and not self.telling.is_feasible else self.telling.kind


def of_cell(
    cell: Cell, spec: SweepSpec, found: Mapping[str, TrialResult], stopped: bool, given_up: Collection[str] = ()
) -> Telling:
    """Of a cell whose results so far are `found`, by trial id; `given_up` has the trials that have failed for good."""
    trials = [Trial(cell, seed) for seed in spec.seed_list]
    results = [found[trial.id] for trial in trials if trial.id in found]
    if len(results) == len(trials):
        return of_results(results, spec)
    if stopped:
        return Telling("stopped")
    lost = [trial for trial in trials if trial.id in given_up and trial.id not in found]
    return Telling("failed" if len(lost) + len(results) == len(trials) else "open")


def of_search(spec: SweepSpec, storage: AnyPath, results: Sequence[TrialResult], given_up: Collection[str] = ()) -> list[Told]:
    """Every cell that a search has proposed, in order, with what has come of it; `given_up` as in `of_cell`."""
    kept, found = Proposals(storage, spec.name), {result.trial.id: result for result in results}
    ledger, stopped = Ledger(storage), kept.stopped()
    told = []
    for proposal in kept.every():
        if proposal.same_as is None:
            cell = cell_of(proposal, spec)
            stop = stopped.get(cell.id)
            so_far = _at(stop.epoch, cell, spec, ledger) if stop else ()
            told.append(Told(proposal, cell, of_cell(cell, spec, found, stop is not None, given_up), stop, so_far))
    return told


def _at(epoch: int, cell: Cell, spec: SweepSpec, ledger: Ledger) -> tuple[float, ...]:
    """Means over the seeds after an epoch, an objective each; empty where a seed lacks them."""
    seen = [ledger.at_epoch(Trial(cell, seed), epoch) for seed in spec.seed_list]
    values = [[one[o.metric] for o in spec.objectives] for one in seen if one and all(o.metric in one for o in spec.objectives)]
    if len(values) < len(seen):
        return ()
    return tuple(math.fsum(column) / len(values) for column in zip(*values, strict=True))


def of_results(results: Sequence[TrialResult], spec: SweepSpec) -> Telling:
    """Of a cell with results for all its seeds. A diverged seed breaks a constraint of its own: there shall be none."""
    diverged = sum(result.status == "diverged" for result in results)
    if diverged:
        return Telling("diverged", excess={"diverged": float(diverged)})
    return Telling("completed", fronts.means(results, spec.objectives), _excess(results, _constraints(spec)))


def feasible(spec: SweepSpec, results: Sequence[TrialResult]) -> list[Cell]:
    """The cells of a sweep without those that break a constraint of its search."""
    out = broken(spec, results)
    return [cell for cell in spec.cells if cell.id not in out]


def broken(spec: SweepSpec, results: Sequence[TrialResult]) -> dict[str, dict[str, float]]:
    """Cells that break a constraint of their search, by id, with how far they are on the wrong side of each that they break."""
    if not _constraints(spec):
        return {}
    by_cell: dict[str, list[TrialResult]] = {}
    for result in results:
        if result.status == "completed" and result.trial.seed in spec.seed_list:
            by_cell.setdefault(result.trial.cell.id, []).append(result)
    excess = {cell_id: _excess(own, _constraints(spec)) for cell_id, own in by_cell.items()}
    wrong = {cell_id: {name: value for name, value in found.items() if value > 0} for cell_id, found in excess.items()}
    return {cell_id: found for cell_id, found in wrong.items() if found}


def hypervolumes(told: Sequence[Told], spec: SweepSpec) -> list[float]:
    """The hypervolume after each of these cells, in their order; zeros where an objective has no reference."""
    front: list[tuple[float, ...]] = []
    volumes: list[float] = []
    for one in told:
        wider = dominance.front_of([*front, one.telling.values], spec.objectives) if one.telling.is_feasible else front
        if wider != front or not volumes:  # what is dominated adds nothing: the volume of all cells each time took n^2
            volumes.append(volume_of.hypervolume(wider, spec.objectives) or 0.0)
        else:
            volumes.append(volumes[-1])
        front = wider
    return volumes


def best_so_far(told: Sequence[Told], spec: SweepSpec, objective: int) -> list[float]:
    """The best value of an objective after each of these cells, among those that keep to the constraints; NaN before the first."""
    better, best, found = max if spec.objectives[objective].goal == "max" else min, math.nan, []
    for one in told:
        if one.telling.is_feasible:
            value = one.telling.values[objective]
            best = value if math.isnan(best) else better(best, value)
        found.append(best)
    return found


def courses(told: Sequence[Told], spec: SweepSpec) -> dict[str, list[float]]:
    """What a search has reached after each of these cells: the `hypervolume`; `best <metric>` of each objective where that is the
    only one, or one has no reference.
    """
    if len(spec.objectives) > 1 and all(objective.reference is not None for objective in spec.objectives):
        return {"hypervolume": hypervolumes(told, spec)}
    return {f"best {objective.metric}": best_so_far(told, spec, place) for place, objective in enumerate(spec.objectives)}


def _constraints(spec: SweepSpec) -> Sequence[Constraint]:
    return spec.search.constraints if spec.search else ()


def _excess(results: Sequence[TrialResult], constraints: Sequence[Constraint]) -> dict[str, float]:
    """By how much the means of completed trials break each constraint."""
    return {c.metric: c.excess(math.fsum(_measured(r, c.metric) for r in results) / len(results)) for c in constraints}


def _measured(result: TrialResult, name: str) -> float:
    if name == SECONDS:
        return result.train_seconds
    value = result.provenance.get(PARAMETERS) if name == PARAMETERS else result.value(name)
    if value is None:
        raise LedgerError(
            f"search.constraints: {result.trial.label} was trained before {name} was recorded; leave that constraint out"
        )
    return float(value)
