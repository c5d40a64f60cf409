"""The plan: spec minus ledger. It says what would run now, and what that would cost. Reads the ledger and writes nothing."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapreplace

from mopoe_core.storage.paths import AnyPath
from orchestrator.execution import node_slots
from orchestrator.execution.checked_trials import checked, without_metrics
from orchestrator.execution.estimates import Estimate, estimate
from orchestrator.execution.one_field_apart import Differing, find
from orchestrator.execution.queue.job import rank
from orchestrator.execution.trials_to_come import TrialsToCome, count_cells_to_come, limiting_names, trials_to_come
from orchestrator.ledger import training_progress
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.state import TrialReading
from orchestrator.spec.sections import Resources
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial

MOST_NAMED = 3  # damaged records that one message names


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
    to_come: TrialsToCome = TrialsToCome()

    @property
    def is_guess(self) -> bool:
        """Whether no past trial tells how long any of the remaining trials takes."""
        return self.estimate.guessed == len(self.to_run) and (self.to_come.guessed or not self.to_come.trials)

    @property
    def to_run(self) -> tuple[Trial, ...]:
        """The trials to run, those with a checkpoint first."""
        return self.resume + self.fresh


def make(
    trials: Sequence[Trial],
    ledger: Ledger,
    thorough: bool = False,
    read: Callable[[Trial], TrialReading] | None = None,
    spec: SweepSpec | None = None,
) -> Plan:
    """Compare a sweep's trials with the ledger. With `thorough`, every file of each trial is read, its checkpoint and pictures too.

    `read` returns state and result of a trial if the caller has read them already. With `spec`, the cells that its search may still
    propose are counted. Raises LedgerError if a trial's id stands for another configuration in the ledger.
    """
    kept = limiting_names(spec)
    readings = ledger.each(lambda trial: checked(trial, ledger, thorough, read or ledger.read, kept), trials)
    pairs = list(zip(trials, readings, strict=True))
    damaged = {trial: reading for trial, reading in pairs if isinstance(reading, str)}
    intact = [(trial, reading) for trial, reading in pairs if not isinstance(reading, str)]
    unfinished = [(trial, reading.state) for trial, reading in intact if reading.result is None]
    resume = [trial for trial, state in unfinished if state.has_checkpoint]
    fresh = [trial for trial, state in unfinished if not state.has_checkpoint]
    results = [reading.result for _, reading in intact if reading.result is not None]
    cell_count = count_cells_to_come(spec, ledger, {result.trial.id: result for result in results}) if spec else 0
    finished_others = ledger.finished({trial.id for trial in trials}) if unfinished or cell_count else []
    past = [*results, *(without_metrics(result) for _, result in finished_others if result is not None)]
    cost = estimate([*resume, *fresh], past, _epochs_trained(resume, ledger))
    return Plan(
        done=tuple(trial for trial, reading in intact if reading.result is not None),
        resume=tuple(resume),
        fresh=tuple(fresh),
        damaged=damaged,
        estimate=cost,
        differing=tuple(find(fresh, trials, (identity for identity, _ in finished_others))),
        unpublished=tuple(trial for trial, reading in intact if reading.result is not None and reading.state.unpublished),
        failed=frozenset(trial.id for trial, state in unfinished if state.status == "failed"),
        untried=frozenset(trial.id for trial, state in unfinished if not state.attempts),
        to_come=trials_to_come(spec, cell_count, results, past, cost) if spec and cell_count else TrialsToCome(),
    )


def _epochs_trained(trials: Iterable[Trial], ledger: Ledger) -> dict[str, int]:
    """Returns how many epochs each trial has been trained, by id; trials of which this is not known are left out."""
    by_id = {trial.id: training_progress.read_progress(trial, ledger) for trial in trials}
    return {trial_id: progress.epoch for trial_id, progress in by_id.items() if progress is not None}


def damage_message(plan: Plan, storage: AnyPath) -> str:
    """Returns what is damaged and what to do about it, as one line."""
    named = "; ".join(list(plan.damaged.values())[:MOST_NAMED])
    more = f"; and {len(plan.damaged) - MOST_NAMED} more" if len(plan.damaged) > MOST_NAMED else ""
    aside = storage / "damaged"
    return f"{named}{more}; `sweep --retrain-damaged` moves such trials to {aside} and trains only them again"


def wall_hours(plan: Plan, resources: Resources, cpus: int, gpus: int | None = None) -> float:
    """Returns how many hours one machine with `cpus` CPUs and `gpus` GPUs needs for the rest of a plan.

    Each trial goes to the worker that is free first, in the order of the queue: seed by seed, and the longest trial of a seed first. The
    trials that a search has still to propose follow. If `gpus` is None (not known), only CPUs limit how many trials run at once.
    """
    slots = node_slots.slots(resources, resources.gpu if gpus else 0.0, [{"CPU": cpus, "GPU": gpus or 0}])
    seconds, to_come = plan.estimate.seconds, plan.to_come
    ordered = sorted(plan.to_run, key=lambda trial: rank([trial], seconds, plan.failed))
    lengths = [seconds[trial.id] for trial in ordered]
    lengths += [to_come.seconds / max(1, to_come.trials)] * to_come.trials
    free_at = [0.0] * slots
    for length in lengths:
        heapreplace(free_at, free_at[0] + length)
    return max(free_at) / 3600
