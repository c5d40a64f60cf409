"""Which cells of a search are stopped before their last epoch. Pure.

The rules compare cells by their means over all seeds after the same share of their epochs. A cell is not judged until all its seeds have
reached that share, and never if one of them has diverged before it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

from orchestrator.spec.search_block import Early
from orchestrator.spec.sections import Objective
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Cell, Trial

Values = tuple[float, ...]


def stopping_rule(spec: SweepSpec, early: Early) -> "StoppingRule":
    """Returns the stopping rule that a search asks for."""
    return {"halving": Halving, "dominated": Dominated}[early.rule](spec, early)


class StoppingRule(ABC):
    """Remembers the objectives of cells after some of their epochs, and decides which cells to stop."""

    def __init__(self, spec: SweepSpec, early: Early) -> None:
        self._objectives, self._seeds, self._early = spec.objectives, spec.seed_list, early
        self._signs = [1.0 if objective.goal == "max" else -1.0 for objective in spec.objectives]
        self._seen: dict[tuple[str, int], dict[str, Values]] = {}
        """The objectives of trials, by cell id and epoch, then by trial id."""
        self._cells: dict[str, Cell] = {}

    def note(self, cell: Cell, trial_id: str, epoch: int, values: Mapping[str, float]) -> None:
        """Remember the metrics (`values`, by name) of a trial after an epoch; they are empty if the trial has diverged."""
        self._cells[cell.id] = cell
        if values:
            self._seen.setdefault((cell.id, epoch), {})[trial_id] = tuple(values[o.metric] for o in self._objectives)

    def course(self, cell: Cell) -> dict[int, float]:
        """Returns a cell's objective by evaluated epoch, as far as all its seeds have come; empty if there are several objectives."""
        if len(self._objectives) > 1:
            return {}
        means = {epoch: self._means_at(cell, epoch) for epoch in self._early.epochs(cell.config)}
        return {epoch: values[0] for epoch, values in means.items() if values is not None}

    def why_stop(self, cell: Cell, epoch: int, completed: Mapping[str, Values]) -> str:
        """Returns why to stop a cell after an epoch; empty if it goes on. `completed` has the objectives of completed cells, by id."""
        means = self._means_at(cell, epoch)
        shares = [share for share in self._early.at if self._early.epoch(share, cell.config) == epoch]
        if means is None or not shares:
            return ""
        return self._why(means, self._others(cell, shares[0]), completed)

    @abstractmethod
    def _why(self, now: Values, others: Mapping[str, Values], completed: Mapping[str, Values]) -> str:
        """Returns why to stop a cell with the objectives `now`; empty if it goes on.

        `others` has the objectives of other cells after the same share of their epochs, by cell id.
        """

    def _means_at(self, cell: Cell, epoch: int) -> Values | None:
        """Returns the mean over the seeds of each objective after an epoch; None if a seed lacks it."""
        values_by_trial = self._seen.get((cell.id, epoch), {})
        trial_ids = [Trial(cell, seed).id for seed in self._seeds]
        if not set(trial_ids) <= values_by_trial.keys():
            return None
        columns = zip(*(values_by_trial[trial_id] for trial_id in trial_ids), strict=True)
        return tuple(math.fsum(column) / len(trial_ids) for column in columns)

    def _others(self, cell: Cell, share: float) -> dict[str, Values]:
        """Returns the means of the other cells that have reached this share of their epochs, by cell id."""
        means = {other.id: self._means_at(other, self._early.epoch(share, other.config)) for other in self._cells.values()}
        return {cell_id: values for cell_id, values in means.items() if values is not None and cell_id != cell.id}


class Halving(StoppingRule):
    """Asynchronous successive halving (Li et al. 2020) in its stopping form.

    A cell goes on if it is in the best share `keep` of all cells that have reached this point so far. The first cells all go on, because
    this share of a few cells is less than one cell.
    """

    def _why(self, now: Values, others: Mapping[str, Values], completed: Mapping[str, Values]) -> str:
        ranking = sorted((self._signs[0] * values[0] for values in [now, *others.values()]), reverse=True)
        count = math.floor(len(ranking) * self._early.keep)
        place = ranking.index(self._signs[0] * now[0]) + 1
        if count < 1 or place <= count:
            return ""
        metric = self._objectives[0].metric
        return f"{metric} {now[0]:.4g} is number {place} of {len(ranking)} that came so far; the best {count} go on"


class Dominated(StoppingRule):
    """Stops a cell if a completed cell is at least as good as its bound in every objective, and better in one.

    The bound adds to each objective of the cell the largest gain (or none) that a completed cell had from this share of its epochs to its
    end. The rule assumes that no cell gains more than those did, so it waits until `after` completed cells have been seen at this
    share. Only these cells count, for the gain and for the domination. So no cell is stopped because of a cell that was behind it in
    some objective at the same share of the epochs.
    """

    def _why(self, now: Values, others: Mapping[str, Values], completed: Mapping[str, Values]) -> str:
        then_and_final = [(others[cell_id], final) for cell_id, final in completed.items() if cell_id in others]
        if len(then_and_final) < self._early.after:
            return ""
        bound = []
        for place, sign in enumerate(self._signs):
            gain = max(sign * (final[place] - then[place]) for then, final in then_and_final)
            bound.append(sign * now[place] + max(gain, 0.0))
        for _, final in then_and_final:
            lead = [sign * value - limit for sign, value, limit in zip(self._signs, final, bound, strict=True)]
            if min(lead) >= 0 and max(lead) > 0:
                return f"even its bound ({_bound_text(self._objectives, bound, self._signs)}) is dominated by a completed cell"
        return ""


def _bound_text(objectives: tuple[Objective, ...], bound: list[float], signs: list[float]) -> str:
    return ", ".join(f"{o.metric} {sign * value:.4g}" for o, sign, value in zip(objectives, signs, bound, strict=True))
