"""The plan: spec minus ledger. What would run now, and what it would cost. Pure but for reading the ledger."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from orchestrator.ledger import Ledger
from orchestrator.spec import Resources
from orchestrator.trial import Trial, TrialResult

GUESSED_STEP_SECONDS = {"paper": 0.25, "small": 0.015}
"""One optimiser step on one core of a 2026 server, measured on MNIST-SVHN-Text: 0.20-0.33 s (paper, batch 256) and 0.012-0.017 s
(small, batch 128). Only used where the ledger has no trial to go by; a GPU is faster."""
GUESSED_EVALUATION_SECONDS = 20.0


@dataclass(frozen=True)
class Estimate:
    """Cost of what is left to run."""

    trial_hours: float
    """Sum over trials of the time each would take."""
    guessed: int
    """Trials for which no past trial of the same dataset, networks and model was found."""


@dataclass(frozen=True)
class Plan:
    """A sweep's trials by what has to be done for them, each in the sweep's order."""

    done: tuple[Trial, ...]
    """Completed or diverged: nothing will run."""
    resume: tuple[Trial, ...]
    """Begun earlier, with a checkpoint to go on from."""
    fresh: tuple[Trial, ...]
    """To be trained from the start."""
    estimate: Estimate

    @property
    def to_run(self) -> tuple[Trial, ...]:
        """Those with a checkpoint first."""
        return self.resume + self.fresh


def make(trials: Sequence[Trial], ledger: Ledger) -> Plan:
    """Compare a sweep's trials with the ledger. Raises LedgerError where an identity hides another configuration."""
    done: list[Trial] = []
    resume: list[Trial] = []
    fresh: list[Trial] = []
    for trial in trials:
        ledger.check(trial)
        state = ledger.state(trial)
        if state.status in ("completed", "diverged"):
            done.append(trial)
        else:
            (resume if state.has_checkpoint else fresh).append(trial)
    left = [*resume, *fresh]
    past = list(ledger.results()) if left else []
    return Plan(tuple(done), tuple(resume), tuple(fresh), estimate(left, past))


def estimate(left: Iterable[Trial], past: Sequence[TrialResult]) -> Estimate:
    """Hours for trials that are left, from past trials of the same dataset, networks and model, or guessed."""
    seconds, guessed = 0.0, 0
    for trial in left:
        known = [result for result in past if _alike(trial, result) and result.history]
        if known:
            seconds += _seconds_from(trial, known)
        else:
            guessed += 1
            steps = trial.config.epochs * trial.config.steps_per_epoch
            seconds += steps * GUESSED_STEP_SECONDS[trial.config.networks] + GUESSED_EVALUATION_SECONDS
    return Estimate(seconds / 3600, guessed)


def wall_hours(plan: Plan, resources: Resources, cpus: int) -> float:
    """The estimate spread over the trials that run at once on `cpus` CPUs (of one machine, without counting GPUs)."""
    at_once = max(1, min(cpus // resources.cpu, resources.at_once or cpus, len(plan.to_run) or 1))
    return plan.estimate.trial_hours / at_once


def _alike(trial: Trial, result: TrialResult) -> bool:
    ours, theirs = trial.config, result.trial.config
    return (ours.dataset, ours.source, ours.networks, ours.model) == (
        theirs.dataset,
        theirs.source,
        theirs.networks,
        theirs.model,
    )


def _seconds_from(trial: Trial, known: Sequence[TrialResult]) -> float:
    """Scaled by examples seen, the evaluation added as it was."""
    ours = trial.config.epochs * trial.config.steps_per_epoch * trial.config.batch_size
    rates = [r.train_seconds / (len(r.history) * r.trial.config.steps_per_epoch * r.trial.config.batch_size) for r in known]
    return ours * median(rates) + median(r.evaluate_seconds for r in known)
