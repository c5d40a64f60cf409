"""The plan: spec minus ledger. It says what would run now, and what that would cost. Pure, except that it reads the ledger."""

from collections.abc import Callable, Iterable, Mapping, Sequence
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
from orchestrator.ledger import training_progress
from orchestrator.ledger.integrity import inspection
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.ledger.state import Known
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
    """What a search may still propose by its sweep file."""

    cells: int
    seeds: int
    like: tuple[Trial, ...]
    """Trials like those to come, for the estimate: the proposed ones, or trials at corners of the space if there are none."""
    trial_hours: float | None
    """The most hours that all trials may take, with the past ones; None for no limit."""
    ends_early: bool
    """Whether it may end before it has proposed all of its cells."""


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
    """Returns what a search may still propose; None if the sweep is no search, or has proposed all its cells."""
    if spec.search is None:
        return None
    space = Space(spec.search)
    stop = spec.search.stop
    most_cells = min(spec.search.cells, space.grid_size()) if spec.search.sampler == "grid" else spec.search.cells
    if most_cells <= len(spec.cells):
        return None
    cells = spec.cells or [spec.cell_of(fields) for fields in islice(space.corners(), MOST_CORNERS)]
    return Room(
        cells=most_cells - len(spec.cells),
        seeds=len(spec.seed_list),
        like=tuple(Trial(cell, 0) for cell in cells),
        trial_hours=stop.trial_hours,
        ends_early=stop.no_gain is not None or stop.trial_hours is not None,
    )


def make(
    trials: Sequence[Trial],
    ledger: Ledger,
    thorough: bool = False,
    read: Callable[[Trial], Known] | None = None,
    room: Room | None = None,
) -> Plan:
    """Compare a sweep's trials with the ledger. With `thorough`, every file of each trial is read, its checkpoint and pictures too.

    `read` returns state and result of a trial if the caller has read them already. `room` is what a search may still propose.
    Raises LedgerError if a trial's id stands for another configuration in the ledger.
    """
    checked = ledger.each(lambda trial: _checked(trial, ledger, thorough, read or ledger.known), trials)
    pairs = list(zip(trials, checked, strict=True))
    damaged = {trial: known for trial, known in pairs if isinstance(known, str)}
    intact = [(trial, known) for trial, known in pairs if not isinstance(known, str)]
    unfinished = [(trial, known.state) for trial, known in intact if known.result is None]
    resume = [trial for trial, state in unfinished if state.has_checkpoint]
    fresh = [trial for trial, state in unfinished if not state.has_checkpoint]
    results = [known.result for _, known in intact if known.result is not None]
    finished_others = ledger.finished({trial.id for trial in trials}) if unfinished or room else []
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
        proposals=_proposals(room, results, past, cost) if room else Proposals(),
    )


def _epochs_trained(trials: Iterable[Trial], ledger: Ledger) -> dict[str, int]:
    """Returns how many epochs each trial has been trained, by id; trials of which this is not known are left out."""
    paces = {trial.id: training_progress.pace(trial, ledger) for trial in trials}
    return {trial_id: pace.epoch for trial_id, pace in paces.items() if pace is not None}


def _proposals(room: Room, results: Sequence[TrialResult], past: Iterable[TrialResult], left: Estimate) -> Proposals:
    """Returns the trials that a search may still propose. `results` are the search's own, `left` is the cost of its open trials.

    A search that may end early counts as ended if all its trials have ended.
    """
    if results and not left.seconds and room.ends_early:
        return Proposals()
    cost = estimate(room.like, past)
    trials = room.cells * room.seeds
    seconds = trials * sum(cost.seconds.values()) / len(room.like)
    if room.trial_hours is not None:
        spent = sum(result.train_seconds + result.evaluate_seconds for result in results) + sum(left.seconds.values())
        seconds = min(seconds, max(0.0, room.trial_hours * 3600 - spent))
    return Proposals(room.cells, trials, seconds, guessed=cost.guessed == len(room.like))


def damage(plan: Plan, storage: AnyPath) -> str:
    """Returns what is damaged and what to do about it, as one line."""
    named = "; ".join(list(plan.damaged.values())[:MOST_NAMED])
    more = f"; and {len(plan.damaged) - MOST_NAMED} more" if len(plan.damaged) > MOST_NAMED else ""
    aside = storage / "damaged"
    return f"{named}{more}; `sweep --retrain-damaged` moves such trials to {aside} and trains only them again"


def _checked(trial: Trial, ledger: Ledger, thorough: bool, read: Callable[[Trial], Known]) -> Known | str:
    """Returns what the ledger knows of a trial, with only those parts of its result that an estimate needs; or what is damaged."""
    try:
        ledger.check(trial)
        known = read(trial)
        if thorough:
            inspection.inspect(trial, ledger)
    except DamagedError as error:
        return str(error)
    if known.state.lost:
        return known.state.lost
    return known if known.result is None else replace(known, result=_costs(known.result))


def _costs(result: TrialResult) -> TrialResult:
    return replace(result, metrics=(), provenance={})


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
