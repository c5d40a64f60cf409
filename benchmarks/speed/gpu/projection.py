"""Projects the hours of `sweeps/mst.yaml` at the paper's scale on the card, from the measured times."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.speed.gpu.cases import CASES
from benchmarks.speed.gpu.measurements import EvaluationTime, StepTime
from orchestrator.spec import sweep_file

SWEEP = Path(__file__).parents[3] / "sweeps" / "mst.yaml"
CASE = CASES[0]
GOAL_HOURS = 11.0


@dataclass(frozen=True)
class Projection:
    """Hours of all trials in sequence, with MoPoE's measured times of a step and of an evaluation."""

    precision: str
    way: str
    trials: int
    steps: int
    """Steps of one trial."""
    training_hours: float
    evaluation_hours: float | None
    """None if the evaluation was not measured in this precision."""

    @property
    def hours(self) -> float:
        """Hours of training, plus those of the evaluation if they are known."""
        return self.training_hours + (self.evaluation_hours or 0.0)


def projections(steps: Sequence[StepTime], evaluations: Sequence[EvaluationTime]) -> list[Projection]:
    """Returns a projection for each way and precision in which a step of the sweep's networks was measured."""
    trials = sweep_file.load(SWEEP, "paper").trials
    config = trials[0].config
    trial_steps, test_examples = config.steps_per_epoch * config.epochs, config.card.test_examples[config.source]
    evaluation_hours = {
        e.precision: len(trials) * e.seconds_for(test_examples) / 3600 for e in evaluations if e.case == CASE.name
    }
    return [
        Projection(
            step.precision,
            step.way,
            len(trials),
            trial_steps,
            trial_steps * seconds_of_a_step(len(trials), step, steps) / 3600,
            evaluation_hours.get(step.precision),
        )
        for step in steps
        if step.case == CASE.name and step.seconds is not None
    ]


def seconds_of_a_step(trials: int, way: StepTime, measured: Sequence[StepTime]) -> float:
    """Returns the seconds in which all trials take one step in one way. Those that do not fill a stack of it take theirs in the fastest
    way that was measured for the same networks in the same precision.
    """
    full, rest = divmod(trials, way.trials)
    ways = [other for other in (way, *measured) if (other.case, other.precision) == (way.case, way.precision)]
    rests = [math.ceil(rest / other.trials) * other.seconds for other in ways if other.seconds is not None]
    return full * (way.seconds or math.nan) + min(rests)
