"""How long trials should take, from the arithmetic of their configurations and from what past trials took. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from orchestrator.execution import costs
from orchestrator.execution.costs import Evaluation
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.trial import Trial


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
