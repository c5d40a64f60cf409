"""The plan: spec minus ledger. It says what would run now, and what that would cost. Pure but for reading the ledger."""

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

MOST_NAMED = 3  # damaged records in one message
MOST_CORNERS = 64  # of a search's space, to guess how long its trials take


@dataclass(frozen=True)
class Estimate:
    """Cost of what is left to run."""

    seconds: Mapping[str, float]
    """What each trial should take, by id."""
    guessed: int
    """Trials for which no past trial of the same dataset, networks and model was found."""
    evaluation: Mapping[str, float]
    """The share of `seconds` that is evaluation, by id."""
    work: tuple[Evaluation, ...]
    """What the evaluations do, each kind once."""

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
    """Over all of them."""
    guessed: bool = True
    """Whether no past trial says how long they take."""


@dataclass(frozen=True)
class Room:
    """What a search may still propose, as its file has it."""

    cells: int
    seeds: int
    like: tuple[Trial, ...]
    """Trials that stand for those to come: the ones that it has proposed, or else trials at corners of its space."""
    trial_hours: float | None
    """The most hours of all trials, the past ones too; None for no limit."""
    ends_early: bool
    """Whether it may end before it has proposed all of its cells."""


@dataclass(frozen=True)
class Plan:
    """A sweep's trials by what has to be done for them, each in the sweep's order."""

    done: tuple[Trial, ...]
    """Completed or diverged: nothing will run."""
    resume: tuple[Trial, ...]
    """Begun earlier, with a checkpoint to go on from."""
    fresh: tuple[Trial, ...]
    """To be trained from the start."""
    damaged: Mapping[Trial, str]
    """Trials with a file that was cut, changed, exchanged or lost, and what is wrong with it."""
    estimate: Estimate
    differing: tuple[Differing, ...] = ()
    """Why some are new although storage has finished trials that are nearly the same."""
    unpublished: tuple[Trial, ...] = ()
    """Those of `done` whose files a worker had no time to move to their place."""
    failed: frozenset[str] = frozenset()
    """Ids of trials to run that an earlier command gave up."""
    untried: frozenset[str] = frozenset()
    """Ids of trials to run of which no attempt was ever begun."""
    proposals: Proposals = Proposals()

    @property
    def is_guess(self) -> bool:
        """Whether no past trial says how long any of what is left takes."""
        return self.estimate.guessed == len(self.to_run) and (self.proposals.guessed or not self.proposals.trials)

    @property
    def to_run(self) -> tuple[Trial, ...]:
        """Those with a checkpoint first."""
        return self.resume + self.fresh


def room(spec: SweepSpec) -> Room | None:
    """Returns what a search may still propose; None for a sweep that is no search, or has proposed everything."""
    if spec.search is None:
        return None
    space, stop = Space(spec.search), spec.search.stop
    most = min(spec.search.cells, space.grid_size()) if spec.search.sampler == "grid" else spec.search.cells
    if most <= len(spec.cells):
        return None
    corners = islice(space.corners(), MOST_CORNERS) if not spec.cells else ()
    cells = spec.cells or [spec.cell_of(fields) for fields in corners]
    like = tuple(Trial(cell, 0) for cell in cells)
    ends_early = stop.no_gain is not None or stop.trial_hours is not None
    return Room(most - len(spec.cells), len(spec.seed_list), like, stop.trial_hours, ends_early)


def make(
    trials: Sequence[Trial],
    ledger: Ledger,
    thorough: bool = False,
    read: Callable[[Trial], Known] | None = None,
    room: Room | None = None,
) -> Plan:
    """Compare a sweep's trials with the ledger; with `thorough`, everything of each trial is read, its checkpoint and pictures too.

    `read` gives state and result of a trial where they have been read already. `room` is what a search may still propose.
    Raises LedgerError where an identity hides another configuration.
    """
    done: list[Trial] = []
    resume: list[Trial] = []
    fresh: list[Trial] = []
    damaged: dict[Trial, str] = {}
    own: list[TrialResult] = []
    unpublished: list[Trial] = []
    failed: set[str] = set()
    untried: set[str] = set()
    checked = ledger.each(lambda trial: _checked(trial, ledger, thorough, read or ledger.known), trials)
    for trial, known in zip(trials, checked, strict=True):
        if isinstance(known, str):
            damaged[trial] = known
        elif known.result is not None:
            done.append(trial)
            own.append(known.result)
            unpublished += [trial] if known.state.unpublished else []
        else:
            (resume if known.state.has_checkpoint else fresh).append(trial)
            failed |= {trial.id} if known.state.status == "failed" else set()
            untried |= set() if known.state.attempts else {trial.id}
    left = [*resume, *fresh]
    others = ledger.finished({trial.id for trial in trials}) if left or room else []
    past = [*own, *(_costs(result) for _, result in others if result is not None)]
    differing = find(fresh, trials, (identity for identity, _ in others))
    paces = {trial.id: training_progress.pace(trial, ledger) for trial in resume}
    trained = {trial_id: pace.epoch for trial_id, pace in paces.items() if pace is not None}
    cost = estimate(left, past, trained)
    return Plan(
        tuple(done),
        tuple(resume),
        tuple(fresh),
        damaged,
        cost,
        tuple(differing),
        tuple(unpublished),
        frozenset(failed),
        frozenset(untried),
        _proposals(room, own, past, cost) if room else Proposals(),
    )


def _proposals(room: Room, own: Sequence[TrialResult], past: Iterable[TrialResult], left: Estimate) -> Proposals:
    """Returns what a search may still propose. One whose trials have all ended, and that may end early, is taken to have ended."""
    if own and not left.seconds and room.ends_early:
        return Proposals()
    cost, count = estimate(room.like, past), room.cells * room.seeds
    seconds = count * sum(cost.seconds.values()) / len(room.like)
    if room.trial_hours is not None:
        spent = sum(result.train_seconds + result.evaluate_seconds for result in own) + sum(left.seconds.values())
        seconds = min(seconds, max(0.0, room.trial_hours * 3600 - spent))
    return Proposals(room.cells, count, seconds, cost.guessed == len(room.like))


def damage(made: Plan, storage: AnyPath) -> str:
    """What is damaged, as one line that says what to do."""
    shown = "; ".join(list(made.damaged.values())[:MOST_NAMED])
    more = f"; and {len(made.damaged) - MOST_NAMED} more" if len(made.damaged) > MOST_NAMED else ""
    aside = storage / "damaged"
    return f"{shown}{more}; `sweep --retrain-damaged` moves such trials to {aside} and trains only them again"


def _checked(trial: Trial, ledger: Ledger, thorough: bool, read: Callable[[Trial], Known]) -> Known | str:
    """What the ledger has of a trial, of its result no more than an estimate needs; or what is wrong with it."""
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
    """Returns the cost of trials that are left: the seconds of `costs` for one core, scaled by what past trials of the same dataset,
    networks and model took. Where there are none, `costs` alone is a guess. `trained` has the epochs that trials have behind them, by id.
    """
    known: dict[tuple[str, ...], list[TrialResult]] = {}
    for result in past:
        if result.history:
            known.setdefault(_kind(result.trial), []).append(result)
    factors = {kind: _factors(results) for kind, results in known.items()}
    seconds, evaluation, guessed, work = {}, {}, 0, dict[Evaluation, None]()
    for trial in left:
        train, evaluate = factors.get(_kind(trial), (1.0, 1.0))
        guessed += _kind(trial) not in factors
        evaluation[trial.id] = evaluate * costs.evaluation_seconds(trial.config)
        epochs_left = max(0, trial.config.epochs - (trained or {}).get(trial.id, 0))
        seconds[trial.id] = train * costs.training_seconds(trial.config, epochs_left) + evaluation[trial.id]
        work[costs.evaluation(trial.config)] = None
    return Estimate(seconds, guessed, evaluation, tuple(work))


def wall_hours(plan: Plan, resources: Resources, cpus: int, gpus: int | None = None) -> float:
    """Returns how long one machine with so many CPUs and GPUs needs for what is left.

    Trials are handed out as the queue does, each to the worker that is free first: seed by seed, and of a seed the longest first. What a
    search has still to propose follows. `gpus` is None where they are not known, and then only CPUs bound what runs at once.
    """
    slots = node_slots.slots(resources, resources.gpu if gpus else 0.0, [{"CPU": cpus, "GPU": gpus or 0}])
    seconds, proposals = plan.estimate.seconds, plan.proposals
    ordered = sorted(plan.to_run, key=lambda trial: (trial.id in plan.failed, trial.seed, -seconds[trial.id]))
    lengths = [seconds[trial.id] for trial in ordered] + [proposals.seconds / max(1, proposals.trials)] * proposals.trials
    free_at = [0.0] * slots
    for length in lengths:
        heapreplace(free_at, free_at[0] + length)
    return max(free_at) / 3600


def _kind(trial: Trial) -> tuple[str, ...]:
    config = trial.config
    return config.dataset, config.source, config.networks, config.model


def _factors(known: Sequence[TrialResult]) -> tuple[float, float]:
    """Returns how many times as long as `costs` says past trials took: training, and evaluation, which a diverged trial has not had."""
    train = [result.train_seconds / costs.training_seconds(result.trial.config, len(result.history)) for result in known]
    ended = [result for result in known if result.status == "completed"]
    evaluate = [result.evaluate_seconds / costs.evaluation_seconds(result.trial.config) for result in ended]
    return median(train), median(evaluate) if evaluate else 1.0
