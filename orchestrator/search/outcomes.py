"""The outcomes of the cells of a search. Pure.

A cell has numbers only if all the seeds that every cell has are completed. For any other cell, the outcome says how it ended.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from mopoe_core.storage.paths import AnyPath
from orchestrator.analysis import dominance, fronts
from orchestrator.analysis import hypervolume as volume_of
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.proposals import Proposal, Proposals, Stopped, cell_of
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.search_block import Constraint
from orchestrator.spec.search_constraints import excess
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Cell, Trial


@dataclass(frozen=True)
class CellOutcome:
    """The outcome of a cell, in the form in which Optuna is told it."""

    kind: str
    """`completed`, `diverged`, `stopped`, `failed` (also for a repeated cell), or `open` while the cell has not ended."""
    values: tuple[float, ...] = ()
    """The mean over the seeds of each objective; empty unless the cell completed."""
    excess: Mapping[str, float] = field(default_factory=dict)
    """By how much the cell breaks each constraint, by its name; zero or less if it keeps to it."""
    epochs: Mapping[int, float] = field(default_factory=dict)
    """The objective after some epochs, if the cell was stopped and there is only one objective."""

    @property
    def label(self) -> str:
        """The kind for tables and figures: `infeasible` instead of `completed` if the cell breaks a constraint."""
        return "infeasible" if self.kind == "completed" and not self.is_feasible else self.kind

    @property
    def is_feasible(self) -> bool:
        """Whether the cell has completed and keeps to every constraint."""
        return self.kind == "completed" and all(value <= 0 for value in self.excess.values())


@dataclass(frozen=True)
class ProposedCell:
    """A proposed cell with its outcome."""

    proposal: Proposal
    cell: Cell
    outcome: CellOutcome
    stopped: Stopped | None = None
    """When and why the cell was stopped early. Only `of_search` fills it in."""
    means_when_stopped: tuple[float, ...] = ()
    """The mean over the seeds of each objective when the cell was stopped; empty for any other cell."""


def of_cell(
    cell: Cell, spec: SweepSpec, results_by_id: Mapping[str, TrialResult], stopped: bool, given_up: Collection[str] = ()
) -> CellOutcome:
    """Returns the outcome of a cell. `stopped` is whether the search has stopped it early.

    `results_by_id` has the results so far by trial id, `given_up` the ids of trials that have failed for good.
    """
    trials = [Trial(cell, seed) for seed in spec.seed_list]
    results = [results_by_id[trial.id] for trial in trials if trial.id in results_by_id]
    if len(results) == len(trials):
        return of_results(results, spec)
    if stopped:
        return CellOutcome("stopped")
    failed = [trial for trial in trials if trial.id in given_up and trial.id not in results_by_id]
    return CellOutcome("failed" if len(failed) + len(results) == len(trials) else "open")


def of_search(
    spec: SweepSpec, storage: AnyPath, results: Sequence[TrialResult], given_up: Collection[str] = ()
) -> list[ProposedCell]:
    """Returns every cell that a search has proposed with its outcome, in the order of the proposals; `given_up` is as in `of_cell`."""
    proposals, ledger = Proposals(storage, spec.name), Ledger(storage)
    results_by_id = {result.trial.id: result for result in results}
    stopped = proposals.stopped()
    cells = []
    for proposal in proposals.every():
        if proposal.same_as is None:
            cell = cell_of(proposal, spec)
            stop = stopped.get(cell.id)
            means_when_stopped = _means_at(stop.epoch, cell, spec, ledger) if stop else ()
            outcome = of_cell(cell, spec, results_by_id, stop is not None, given_up)
            cells.append(ProposedCell(proposal, cell, outcome, stop, means_when_stopped))
    return cells


def _means_at(epoch: int, cell: Cell, spec: SweepSpec, ledger: Ledger) -> tuple[float, ...]:
    """Returns the mean over the seeds of each objective after an epoch; empty if a seed lacks one of them."""
    recorded = [ledger.at_epoch(Trial(cell, seed), epoch) for seed in spec.seed_list]
    metrics = [objective.metric for objective in spec.objectives]
    values = [[at_epoch[metric] for metric in metrics] for at_epoch in recorded if at_epoch and set(metrics) <= at_epoch.keys()]
    if len(values) < len(recorded):
        return ()
    return tuple(math.fsum(column) / len(values) for column in zip(*values, strict=True))


def of_results(results: Sequence[TrialResult], spec: SweepSpec) -> CellOutcome:
    """Returns the outcome of a cell with results for all its seeds. Each diverged seed breaks the constraint `diverged` by one."""
    diverged = sum(result.status == "diverged" for result in results)
    if diverged:
        return CellOutcome("diverged", excess={"diverged": float(diverged)})
    return CellOutcome("completed", fronts.means(results, spec.objectives), excess(results, _constraints(spec)))


def feasible(spec: SweepSpec, results: Sequence[TrialResult]) -> list[Cell]:
    """Returns the cells of a sweep without those that break a constraint of its search."""
    infeasible = broken(spec, results)
    return [cell for cell in spec.cells if cell.id not in infeasible]


def broken(spec: SweepSpec, results: Sequence[TrialResult]) -> dict[str, dict[str, float]]:
    """Returns by how much cells break the constraints of their search, by cell id and constraint's name; without those that are kept."""
    constraints = _constraints(spec)
    if not constraints:
        return {}
    by_cell: dict[str, list[TrialResult]] = {}
    for result in results:
        if result.status == "completed" and result.trial.seed in spec.seed_list:
            by_cell.setdefault(result.trial.cell.id, []).append(result)
    broken_by_cell = {}
    for cell_id, completed in by_cell.items():
        broken_ones = {name: value for name, value in excess(completed, constraints).items() if value > 0}
        if broken_ones:
            broken_by_cell[cell_id] = broken_ones
    return broken_by_cell


def hypervolumes(cells: Sequence[ProposedCell], spec: SweepSpec) -> list[float]:
    """Returns the hypervolume after each of these cells, in their order; zeros if an objective has no reference."""
    front: list[tuple[float, ...]] = []
    volumes: list[float] = []
    for proposed in cells:
        outcome = proposed.outcome
        wider = dominance.front_of([*front, outcome.values], spec.objectives) if outcome.is_feasible else front
        if wider != front or not volumes:  # a dominated cell adds nothing; to compute the volume for every cell took time of n^2
            volumes.append(volume_of.hypervolume(wider, spec.objectives) or 0.0)
        else:
            volumes.append(volumes[-1])
        front = wider
    return volumes


def best_so_far(cells: Sequence[ProposedCell], spec: SweepSpec, objective: int) -> list[float]:
    """Returns the best value of an objective after each of these cells, among cells that keep to the constraints; NaN before the first.

    `objective` is the objective's place in the sweep.
    """
    better = max if spec.objectives[objective].goal == "max" else min
    best = math.nan
    course = []
    for proposed in cells:
        if proposed.outcome.is_feasible:
            value = proposed.outcome.values[objective]
            best = value if math.isnan(best) else better(best, value)
        course.append(best)
    return course


def courses(cells: Sequence[ProposedCell], spec: SweepSpec) -> dict[str, list[float]]:
    """Returns how far a search had come after each of these cells, by the name of the measure.

    The measure is the `hypervolume`, or `best <metric>` for each objective if there is only one objective, or one without a reference.
    """
    if len(spec.objectives) > 1 and all(objective.reference is not None for objective in spec.objectives):
        return {"hypervolume": hypervolumes(cells, spec)}
    return {f"best {objective.metric}": best_so_far(cells, spec, place) for place, objective in enumerate(spec.objectives)}


def _constraints(spec: SweepSpec) -> Sequence[Constraint]:
    return spec.search.constraints if spec.search else ()
