"""Which cells of a search are stopped before their last epoch. Pure.

What is compared is the mean over all seeds of a cell after the same share of its epochs; a cell of which a seed has not come that far, or
has diverged on the way, is not judged.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

from orchestrator.spec.search_block import Early
from orchestrator.spec.sections import Objective
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Cell, Trial

Values = tuple[float, ...]


def judge(spec: SweepSpec, early: Early) -> "Judge":
    """The judge that a search asks for."""
    return {"halving": Halving, "dominated": Dominated}[early.rule](spec, early)


class Judge(ABC):
    """Remembers what cells had after some epochs."""

    def __init__(self, spec: SweepSpec, early: Early) -> None:
        self._objectives, self._seeds, self._early = spec.objectives, spec.seed_list, early
        self._signs = [1.0 if objective.goal == "max" else -1.0 for objective in spec.objectives]
        self._seen: dict[tuple[str, int], dict[str, Values]] = {}
        """Cell id and epoch to its trials' objectives."""
        self._cells: dict[str, Cell] = {}

    def note(self, cell: Cell, trial_id: str, epoch: int, values: Mapping[str, float]) -> None:
        """A trial's metrics after an epoch, by name; none where it has diverged."""
        self._cells[cell.id] = cell
        if values:
            self._seen.setdefault((cell.id, epoch), {})[trial_id] = tuple(values[o.metric] for o in self._objectives)

    def course(self, cell: Cell) -> dict[int, float]:
        """The first objective of a cell after the epochs at which all its seeds were seen; empty where there are several objectives."""
        if len(self._objectives) > 1:
            return {}
        found = {epoch: self._at(cell, epoch) for epoch in self._early.epochs(cell.config)}
        return {epoch: values[0] for epoch, values in found.items() if values is not None}

    def why_stop(self, cell: Cell, epoch: int, completed: Mapping[str, Values]) -> str:
        """Why a cell is to be stopped now; empty where it is not. `completed` has the objectives of completed cells by id."""
        now = self._at(cell, epoch)
        shares = [share for share in self._early.at if self._early.epoch(share, cell.config) == epoch]
        return "" if now is None or not shares else self._why(now, self._others(cell, shares[0]), completed)

    @abstractmethod
    def _why(self, now: Values, others: Mapping[str, Values], completed: Mapping[str, Values]) -> str:
        """As `why_stop`, of a cell with these objectives; `others` has those of other cells after the same share of their epochs."""

    def _at(self, cell: Cell, epoch: int) -> Values | None:
        seen = self._seen.get((cell.id, epoch), {})
        wanted = [Trial(cell, seed).id for seed in self._seeds]
        if not set(wanted) <= seen.keys():
            return None
        return tuple(math.fsum(column) / len(wanted) for column in zip(*(seen[key] for key in wanted), strict=True))

    def _others(self, cell: Cell, share: float) -> dict[str, Values]:
        found = {other.id: self._at(other, self._early.epoch(share, other.config)) for other in self._cells.values()}
        return {cell_id: values for cell_id, values in found.items() if values is not None and cell_id != cell.id}


class Halving(Judge):
    """Asynchronous successive halving (Li et al. 2020) in its stopping form: a cell goes on if it is among the best `keep` of all that
    came to this point so far. The first cells, too few to have a part that is not kept, all go on.
    """

    def _why(self, now: Values, others: Mapping[str, Values], completed: Mapping[str, Values]) -> str:
        came = sorted((self._signs[0] * value[0] for value in [now, *others.values()]), reverse=True)
        kept = math.floor(len(came) * self._early.keep)
        place = came.index(self._signs[0] * now[0]) + 1
        if kept < 1 or place <= kept:
            return ""
        return (
            f"{self._objectives[0].metric} {now[0]:.4g} is number {place} of {len(came)} that came so far; the best {kept} go on"
        )


class Dominated(Judge):
    """A cell is stopped when a completed one is at least as good as its bound in every objective, and better in one.

    The bound: what the cell has now, and in each objective the largest gain (or none) that a completed cell had from this share of its
    epochs to its end. It assumes that no cell gains more than those did, so that it is asked only when several have been seen, and only
    cells that were seen on their way count, as those that gained and as those that dominate: so a cell that is ahead of the other in
    some objective at the same share of the epochs is never stopped for it.
    """

    def _why(self, now: Values, others: Mapping[str, Values], completed: Mapping[str, Values]) -> str:
        seen = [(others[cell_id], final) for cell_id, final in completed.items() if cell_id in others]
        if len(seen) < self._early.after:
            return ""
        bound = []
        for place, sign in enumerate(self._signs):
            gain = max(sign * (final[place] - then[place]) for then, final in seen)
            bound.append(sign * now[place] + max(gain, 0.0))
        for _, final in seen:
            better = [sign * value - limit for sign, value, limit in zip(self._signs, final, bound, strict=True)]
            if min(better) >= 0 and max(better) > 0:
                return f"even its bound ({_shown(self._objectives, bound, self._signs)}) is dominated by a completed cell"
        return ""


def _shown(objectives: tuple[Objective, ...], bound: list[float], signs: list[float]) -> str:
    return ", ".join(f"{o.metric} {sign * value:.4g}" for o, sign, value in zip(objectives, signs, bound, strict=True))
