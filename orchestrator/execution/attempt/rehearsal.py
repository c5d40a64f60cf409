"""A rehearsal: a few steps of training and evaluation, so that an error that every seed would raise shows within seconds."""

from collections.abc import Sequence
from pathlib import Path

from mopoe_core.config.consistency import LEAST_PROBED, LEAST_TESTED
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.metrics.pictures import write_pictures
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.scratch import scratch
from orchestrator.execution.attempt.materials import Materials, finite_metrics
from orchestrator.execution.attempt.train_stack import train_stack
from orchestrator.spec.trial import Cell, Trial


def rehearse(trials: Sequence[Trial], materials: Materials) -> None:
    """Train the stack for a few steps with checkpoints, and evaluate each model once, on few examples."""
    small_trials = [Trial(Cell(_small(trial.config, len(materials.dataset.test))), trial.seed) for trial in trials]
    evaluated_models = set()
    with scratch("rehearsal") as folder:
        checkpoints: dict[str, AnyPath] = {trial.id: Path(folder) / f"{trial.id}.pt" for trial in small_trials}
        for trial, trained in train_stack(small_trials, checkpoints, materials.dataset, materials.device):
            # A trial that diverges is not evaluated, and does not fail the rehearsal: divergence is a result.
            if trained.diverged_at_step is None and trial.config.model not in evaluated_models:
                finite_metrics(trained, trial.seed, materials)
                write_pictures(trained.model, trial.seed, materials.dataset, materials.device, Path(folder))
                evaluated_models.add(trial.config.model)


def _small(config: TrainingConfig, test_examples: int) -> TrainingConfig:
    """Returns the configuration with one epoch, and with as few examples as training and evaluation can do with."""
    train_examples = min(max(LEAST_PROBED, config.batch_size), config.examples_per_epoch)
    sizes = {"scale": None, "epochs": 1, "train_examples": train_examples, "test_examples": min(LEAST_TESTED, test_examples)}
    return TrainingConfig.model_validate(config.model_dump() | sizes)
