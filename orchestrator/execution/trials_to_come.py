"""The trials that a search may still propose: how many, and how long they take. Reads the ledger and writes nothing."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from orchestrator.execution.checked_trials import checked
from orchestrator.execution.estimates import Estimate, estimate
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.proposals import Proposals
from orchestrator.ledger.result import TrialResult
from orchestrator.spec import search_limits
from orchestrator.spec.search_block import Stop
from orchestrator.spec.search_constraints import excess
from orchestrator.spec.search_limits import Means
from orchestrator.spec.search_space import Space
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial

MOST_CORNERS = 64  # corners of a search's space that are used to guess how long its trials take


@dataclass(frozen=True)
class TrialsToCome:
    """Trials that a search may still propose, and their cost."""

    cells: int = 0
    trials: int = 0
    seconds: float = 0.0
    """The sum over these trials."""
    guessed: bool = True
    """Whether no past trial says how long they take."""


def limiting_names(spec: SweepSpec | None) -> frozenset[str]:
    """Returns the names of what a result must keep, so that it can be seen whether a search has ended early."""
    if spec is None or spec.search is None or not spec.search.stop.no_gain:
        return frozenset()
    return frozenset({o.metric for o in spec.objectives} | {c.metric for c in spec.search.constraints})


def count_cells_to_come(spec: SweepSpec, ledger: Ledger, results: Mapping[str, TrialResult]) -> int:
    """Returns how many cells the sweep's search may still propose; 0 for a sweep without a search.

    `results` has the results of the trials that are to be completed, by id.
    """
    if spec.search is None:
        return 0
    proposals = Proposals(ledger.storage, spec.name).every()
    cells = search_limits.cells_to_come(spec.search, search_limits.own_cells(proposals))
    if not cells or search_limits.why_exhausted(proposals):
        return 0
    return 0 if has_ended_early(spec, {**results, **_of_stopped(spec, ledger)}) else cells


def _of_stopped(spec: SweepSpec, ledger: Ledger) -> dict[str, TrialResult]:
    """Returns the results of cells that were stopped early, by trial id: a trial may have ended before its worker saw the stop."""
    if spec.search is None or spec.search.stop == Stop():
        return {}
    wanted, kept = {trial.id for trial in spec.wanted}, limiting_names(spec)
    stopped = [trial for trial in spec.trials if trial.id not in wanted]
    readings = ledger.each(lambda trial: checked(trial, ledger, False, ledger.read, kept), stopped)
    results = [reading.result for reading in readings if not isinstance(reading, str)]
    return {result.trial.id: result for result in results if result is not None}


def has_ended_early(spec: SweepSpec, results: Mapping[str, TrialResult]) -> bool:
    """Whether a search has reached a limit of `stop`. `results` has the results so far by trial id."""
    assert spec.search is not None
    stop = spec.search.stop
    spent = (result.seconds for trial in spec.trials if (result := results.get(trial.id)))
    ended = _means_of_ended(spec, results) if stop.no_gain else ()
    return bool(search_limits.why_stopped(stop, spec.objectives, math.fsum(spent) / 3600, ended))


def _means_of_ended(spec: SweepSpec, results: Mapping[str, TrialResult]) -> list[Means]:
    """Returns the means of the objectives of each cell that has ended; empty for a cell without feasible means."""
    starting_seeds, wanted = frozenset(spec.seed_list), {trial.cell.id for trial in spec.wanted}
    by_cell: dict[str, list[TrialResult | None]] = {}
    for trial in spec.trials:
        if trial.seed in starting_seeds:
            by_cell.setdefault(trial.cell.id, []).append(results.get(trial.id))
    ended = []
    for cell_id, of_cell in by_cell.items():
        present = [result for result in of_cell if result is not None]
        if len(present) == len(of_cell):
            ended.append(_feasible_means(spec, present))
        elif cell_id not in wanted:
            ended.append(())
    return ended


def _feasible_means(spec: SweepSpec, results: Sequence[TrialResult]) -> Means:
    """Returns the means of the objectives over a cell's results; empty if one diverged, or if the means break a constraint."""
    from orchestrator.analysis.fronts import means  # imports pandas, which other plans do not need

    if any(result.status == "diverged" for result in results):
        return ()
    broken = excess(results, spec.search.constraints if spec.search else ())
    return () if any(value > 0 for value in broken.values()) else means(results, spec.objectives)


def trials_to_come(
    spec: SweepSpec, cells: int, results: Sequence[TrialResult], past: Iterable[TrialResult], left: Estimate
) -> TrialsToCome:
    """Returns the trials of the `cells` that a search may still propose.

    `results` are the search's own, `left` is the cost of its open trials.
    """
    assert spec.search is not None
    stop = spec.search.stop
    like = _like_those_to_come(spec)
    cost = estimate(like, past)
    trials = cells * len(spec.seed_list)
    seconds = trials * sum(cost.seconds.values()) / len(like)
    if stop.trial_hours is not None:
        spent = sum(result.seconds for result in results) + sum(left.seconds.values())
        seconds = min(seconds, max(0.0, stop.trial_hours * 3600 - spent))
    return TrialsToCome(cells, trials, seconds, guessed=cost.guessed == len(like))


def _like_those_to_come(spec: SweepSpec) -> list[Trial]:
    """Returns trials of the proposed cells, for the estimate; trials at corners of the space if no cell was proposed."""
    assert spec.search is not None
    corners = islice(Space(spec.search).corners(), MOST_CORNERS)
    return [Trial(cell, 0) for cell in spec.cells or map(spec.cell_of, corners)]
