"""The plan: spec minus ledger. It says what would run now, and what that would cost. Pure, except that it reads the ledger."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heapreplace
from itertools import islice
from statistics import median

from mopoe_core.storage.paths import AnyPath
from orchestrator.errors import DamagedError
from orchestrator.execution import costs
from orchestrator.execution.costs import Evaluation
from orchestrator.execution.one_field_apart import Differing, find
from orchestrator.execution.ray_tune import node_slots
from orchestrator.ledger import proposals as recorded
from orchestrator.ledger import training_progress
from orchestrator.ledger.integrity import inspection
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.ledger.state import Known
from orchestrator.spec.search_block import Search, Stop
from orchestrator.spec.search_constraints import excess
from orchestrator.spec.search_limits import Means, cells_to_come, own_cells, why_exhausted, why_stopped
from orchestrator.spec.search_space import Space
from orchestrator.spec.sections import Resources
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial

MOST_NAMED = 3  # damaged records that one message names
MOST_CORNERS = 64  # corners of a search's space that are used to guess how long its trials take


@dataclass(frozen=True)
class Estimate:
    """Cost of the trials that are left to run."""

    seconds: Mapping[str, float]
    """How long each trial should take, by id."""
    guessed: int
    """The number of trials for which there is no past trial of the same dataset, networks and model."""
    evaluation: Mapping[str, float]
    """How many of these `seconds` are evaluation, by id."""
    work: tuple[Evaluation, ...]
    """The work of the evaluations; evaluations with the same work are listed once."""

    @property
    def trial_hours(self) -> float:
        """Sum over the trials."""
        return sum(self.seconds.values()) / 3600

    @property
    def evaluation_hours(self) -> float:
        """Sum over the trials' evaluations."""
        return sum(self.evaluation.values()) / 3600


@dataclass(frozen=True)
class Proposals:
    """Trials that a search may still propose, and their cost."""

    cells: int = 0
    trials: int = 0
    seconds: float = 0.0
    """The sum over these trials."""
    guessed: bool = True
    """Whether no past trial says how long they take."""


@dataclass(frozen=True)
class Room:
    """A search whose further cells a plan counts."""

    spec: SweepSpec
    """With the cells so far."""
    search: Search


@dataclass(frozen=True)
class Plan:
    """A sweep's trials by what has to be done for them, each in the sweep's order."""

    done: tuple[Trial, ...]
    """Completed or diverged: nothing will run."""
    resume: tuple[Trial, ...]
    """Begun earlier, with a checkpoint to continue from."""
    fresh: tuple[Trial, ...]
    """To be trained from the start."""
    damaged: Mapping[Trial, str]
    """Trials with a file that was cut, changed, exchanged or lost, and what is wrong with it."""
    estimate: Estimate
    differing: tuple[Differing, ...] = ()
    """Why some trials are new although storage has finished trials that differ in one field only."""
    unpublished: tuple[Trial, ...] = ()
    """Trials of `done` whose files a worker had no time to move to their place."""
    failed: frozenset[str] = frozenset()
    """Ids of trials to run that an earlier command gave up."""
    untried: frozenset[str] = frozenset()
    """Ids of trials to run that have no attempt yet."""
    proposals: Proposals = Proposals()

    @property
    def is_guess(self) -> bool:
        """Whether no past trial tells how long any of the remaining trials takes."""
        return self.estimate.guessed == len(self.to_run) and (self.proposals.guessed or not self.proposals.trials)

    @property
    def to_run(self) -> tuple[Trial, ...]:
        """The trials to run, those with a checkpoint first."""
        return self.resume + self.fresh


def room(spec: SweepSpec) -> Room | None:
    """Returns the search whose further cells `make` shall count; None if the sweep is no search."""
    return None if spec.search is None else Room(spec, spec.search)


def make(
    trials: Sequence[Trial],
    ledger: Ledger,
    thorough: bool = False,
    read: Callable[[Trial], Known] | None = None,
    room: Room | None = None,
) -> Plan:
    """Compare a sweep's trials with the ledger. With `thorough`, every file of each trial is read, its checkpoint and pictures too.

    `read` returns state and result of a trial if the caller has read them already. With `room`, the cells that a search may still
    propose are counted. Raises LedgerError if a trial's id stands for another configuration in the ledger.
    """
    kept = _limiting_names(room)
    checked = ledger.each(lambda trial: _checked(trial, ledger, thorough, read or ledger.known, kept), trials)
    pairs = list(zip(trials, checked, strict=True))
    damaged = {trial: known for trial, known in pairs if isinstance(known, str)}
    intact = [(trial, known) for trial, known in pairs if not isinstance(known, str)]
    unfinished = [(trial, known.state) for trial, known in intact if known.result is None]
    resume = [trial for trial, state in unfinished if state.has_checkpoint]
    fresh = [trial for trial, state in unfinished if not state.has_checkpoint]
    results = [known.result for _, known in intact if known.result is not None]
    to_come = _to_come(room, ledger, {result.trial.id: result for result in results}) if room else 0
    finished_others = ledger.finished({trial.id for trial in trials}) if unfinished or to_come else []
    past = [*results, *(_costs(result) for _, result in finished_others if result is not None)]
    cost = estimate([*resume, *fresh], past, _epochs_trained(resume, ledger))
    return Plan(
        done=tuple(trial for trial, known in intact if known.result is not None),
        resume=tuple(resume),
        fresh=tuple(fresh),
        damaged=damaged,
        estimate=cost,
        differing=tuple(find(fresh, trials, (identity for identity, _ in finished_others))),
        unpublished=tuple(trial for trial, known in intact if known.result is not None and known.state.unpublished),
        failed=frozenset(trial.id for trial, state in unfinished if state.status == "failed"),
        untried=frozenset(trial.id for trial, state in unfinished if not state.attempts),
        proposals=_proposals(room, to_come, results, past, cost) if room and to_come else Proposals(),
    )


def _epochs_trained(trials: Iterable[Trial], ledger: Ledger) -> dict[str, int]:
    """Returns how many epochs each trial has been trained, by id; trials of which this is not known are left out."""
    paces = {trial.id: training_progress.pace(trial, ledger) for trial in trials}
    return {trial_id: pace.epoch for trial_id, pace in paces.items() if pace is not None}


def _limiting_names(room: Room | None) -> frozenset[str]:
    """Returns the names of what a result must keep, so that it can be seen whether a search has ended early."""
    if room is None or not room.search.stop.no_gain:
        return frozenset()
    return frozenset({o.metric for o in room.spec.objectives} | {c.metric for c in room.search.constraints})


def _to_come(room: Room, ledger: Ledger, results: Mapping[str, TrialResult]) -> int:
    """Returns how many cells a search may still propose. `results` has the results of the trials that are to be completed, by id."""
    proposals = recorded.Proposals(ledger.storage, room.spec.name).every()
    cells = cells_to_come(room.search, own_cells(proposals))
    if not cells or why_exhausted(proposals):
        return 0
    return 0 if has_ended_early(room.spec, {**results, **_of_stopped(room, ledger)}) else cells


def _of_stopped(room: Room, ledger: Ledger) -> dict[str, TrialResult]:
    """Returns the results of cells that were stopped early, by trial id: a trial may have ended before its worker saw the stop."""
    if room.search.stop == Stop():
        return {}
    wanted, kept = {trial.id for trial in room.spec.wanted}, _limiting_names(room)
    stopped = [trial for trial in room.spec.trials if trial.id not in wanted]
    checked = ledger.each(lambda trial: _checked(trial, ledger, False, ledger.known, kept), stopped)
    results = [known.result for known in checked if not isinstance(known, str)]
    return {result.trial.id: result for result in results if result is not None}


def has_ended_early(spec: SweepSpec, results: Mapping[str, TrialResult]) -> bool:
    """Whether a search has reached a limit of `stop`. `results` has the results so far by trial id."""
    assert spec.search is not None
    stop = spec.search.stop
    spent = (result.train_seconds + result.evaluate_seconds for trial in spec.trials if (result := results.get(trial.id)))
    ended = _means_of_ended(spec, results) if stop.no_gain else ()
    return bool(why_stopped(stop, spec.objectives, math.fsum(spent) / 3600, ended))


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


def _proposals(room: Room, cells: int, results: Sequence[TrialResult], past: Iterable[TrialResult], left: Estimate) -> Proposals:
    """Returns the trials of the `cells` that a search may still propose.

    `results` are the search's own, `left` is the cost of its open trials.
    """
    like = _like_those_to_come(room)
    cost = estimate(like, past)
    trials = cells * len(room.spec.seed_list)
    seconds = trials * sum(cost.seconds.values()) / len(like)
    if room.search.stop.trial_hours is not None:
        spent = sum(result.train_seconds + result.evaluate_seconds for result in results) + sum(left.seconds.values())
        seconds = min(seconds, max(0.0, room.search.stop.trial_hours * 3600 - spent))
    return Proposals(cells, trials, seconds, guessed=cost.guessed == len(like))


def _like_those_to_come(room: Room) -> list[Trial]:
    """Returns trials of the proposed cells, for the estimate; trials at corners of the space if no cell was proposed."""
    corners = islice(Space(room.search).corners(), MOST_CORNERS)
    return [Trial(cell, 0) for cell in room.spec.cells or map(room.spec.cell_of, corners)]


def damage(plan: Plan, storage: AnyPath) -> str:
    """Returns what is damaged and what to do about it, as one line."""
    named = "; ".join(list(plan.damaged.values())[:MOST_NAMED])
    more = f"; and {len(plan.damaged) - MOST_NAMED} more" if len(plan.damaged) > MOST_NAMED else ""
    aside = storage / "damaged"
    return f"{named}{more}; `sweep --retrain-damaged` moves such trials to {aside} and trains only them again"


def _checked(trial: Trial, ledger: Ledger, thorough: bool, read: Callable[[Trial], Known], kept: Collection[str]) -> Known | str:
    """Returns what the ledger knows of a trial, or what is damaged. Of its result only the costs stay, and metrics in `kept`."""
    try:
        ledger.check(trial)
        known = read(trial)
        if thorough:
            inspection.inspect(trial, ledger)
    except DamagedError as error:
        return str(error)
    if known.state.lost:
        return known.state.lost
    return known if known.result is None else replace(known, result=_costs(known.result, kept))


def _costs(result: TrialResult, kept: Collection[str] = ()) -> TrialResult:
    """Returns a result without its metrics and provenance, except those in `kept`."""
    metrics = tuple(metric for metric in result.metrics if metric.name in kept) if kept else ()
    return replace(result, metrics=metrics, provenance={key: result.provenance[key] for key in kept if key in result.provenance})


def estimate(left: Iterable[Trial], past: Iterable[TrialResult], trained: Mapping[str, int] | None = None) -> Estimate:
    """Returns the cost of the trials in `left`; `trained` has how many epochs trials have been trained already, by id.

    The cost is the seconds of `costs` for one core, scaled by what past trials of the same dataset, networks and model took. If there
    are no such trials, the seconds of `costs` are a guess.
    """
    past_by_kind: dict[tuple[str, ...], list[TrialResult]] = {}
    for result in past:
        if result.history:
            past_by_kind.setdefault(_kind(result.trial), []).append(result)
    factors = {kind: _factors(results) for kind, results in past_by_kind.items()}
    seconds: dict[str, float] = {}
    evaluation: dict[str, float] = {}
    guessed = 0
    work: dict[Evaluation, None] = {}
    for trial in left:
        train_factor, evaluate_factor = factors.get(_kind(trial), (1.0, 1.0))
        guessed += _kind(trial) not in factors
        evaluation[trial.id] = evaluate_factor * costs.evaluation_seconds(trial.config)
        epochs_left = max(0, trial.config.epochs - (trained or {}).get(trial.id, 0))
        seconds[trial.id] = train_factor * costs.training_seconds(trial.config, epochs_left) + evaluation[trial.id]
        work[costs.evaluation(trial.config)] = None
    return Estimate(seconds, guessed, evaluation, tuple(work))


def wall_hours(plan: Plan, resources: Resources, cpus: int, gpus: int | None = None) -> float:
    """Returns how many hours one machine with `cpus` CPUs and `gpus` GPUs needs for the rest of a plan.

    Each trial goes to the worker that is free first, in the order of the queue: seed by seed, and the longest trial of a seed first. The
    trials that a search has still to propose follow. If `gpus` is None (not known), only CPUs limit how many trials run at once.
    """
    slots = node_slots.slots(resources, resources.gpu if gpus else 0.0, [{"CPU": cpus, "GPU": gpus or 0}])
    seconds, proposals = plan.estimate.seconds, plan.proposals
    ordered = sorted(plan.to_run, key=lambda trial: (trial.id in plan.failed, trial.seed, -seconds[trial.id]))
    lengths = [seconds[trial.id] for trial in ordered]
    lengths += [proposals.seconds / max(1, proposals.trials)] * proposals.trials
    free_at = [0.0] * slots
    for length in lengths:
        heapreplace(free_at, free_at[0] + length)
    return max(free_at) / 3600


def _kind(trial: Trial) -> tuple[str, ...]:
    config = trial.config
    return config.dataset, config.source, config.networks, config.model


def _factors(past: Sequence[TrialResult]) -> tuple[float, float]:
    """Returns the measured time of past trials divided by that of `costs`: for training, and for evaluation.

    Diverged trials have not been evaluated, so they count for training only.
    """
    train = [result.train_seconds / costs.training_seconds(result.trial.config, len(result.history)) for result in past]
    completed = [result for result in past if result.status == "completed"]
    evaluate = [result.evaluate_seconds / costs.evaluation_seconds(result.trial.config) for result in completed]
    return median(train), median(evaluate) if evaluate else 1.0
