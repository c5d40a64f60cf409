"""What `sweeps/mst.yaml` would take at the paper's scale on the card, from the measured times."""

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
    """Hours for all trials, one after another, at MoPoE's time a step and an evaluation."""

    precision: str
    way: str
    trials: int
    steps: int
    """Of one trial."""
    training_hours: float
    evaluation_hours: float | None
    """None where the evaluation was not measured in this precision."""

    @property
    def hours(self) -> float:
        """Training, and the evaluation as far as it is known."""
        return self.training_hours + (self.evaluation_hours or 0.0)


def projections(steps: Sequence[StepTime], evaluations: Sequence[EvaluationTime]) -> list[Projection]:
    """One for each way and precision in which a step of the sweep's networks was measured."""
    trials = sweep_file.load(SWEEP, "paper").trials
    config = trials[0].config
    taken, tested = config.steps_per_epoch * config.epochs, config.card.test_examples[config.source]
    seconds = {e.precision: e.seconds * tested / e.examples for e in evaluations if e.case == CASE.name}
    return [
        Projection(
            step.precision,
            step.way,
            len(trials),
            taken,
            len(trials) * taken * step.seconds / step.trials / 3600,
            len(trials) * seconds[step.precision] / 3600 if step.precision in seconds else None,
        )
        for step in steps
        if step.case == CASE.name and step.seconds is not None
    ]
