"""Training one model: a loop over epochs that can be cut anywhere and goes on from its checkpoint as if it had not been.

`mopoe_core.training.stacked_training` trains many at once.
"""

from collections.abc import Callable

import torch

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.types import Dataset
from mopoe_core.metric_names import Epoch
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.whole_files import move
from mopoe_core.training.checkpoint import before, check_owner, opened
from mopoe_core.training.run import Run, Trained


def train(
    config: TrainingConfig,
    seed: int,
    dataset: Dataset,
    device: torch.device,
    checkpoint: AnyPath,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    trial: str = "",
) -> Trained:
    """Train to `config.epochs`, going on from `checkpoint` if it is there and writing it after every epoch.

    `on_epoch` is told of each epoch, first of those that the checkpoint remembers. `trial` is the id that the checkpoint names as its
    trial's. Raises CheckpointError where the checkpoint is that of another trial.
    """
    run = resumed(config, seed, dataset, device, checkpoint, trial)
    for epoch in run.history:
        on_epoch(epoch)
    while not run.ended:
        run.epoch()
        run.save(checkpoint)
        on_epoch(run.history[-1])
    return run.trained()


def resumed(
    config: TrainingConfig, seed: int, dataset: Dataset, device: torch.device, checkpoint: AnyPath, trial: str = ""
) -> Run:
    """A run where its checkpoint left it, or at its beginning. Raises CheckpointError where the checkpoint is that of another trial."""
    run, found, place = Run(config, seed, dataset, device, trial), opened(checkpoint), checkpoint
    if found is None:
        found, place = opened(before(checkpoint)), before(checkpoint)
    if found is None:
        return run
    state, digest = found
    check_owner(state, config, seed, trial, place)
    if place != checkpoint:
        move(place, checkpoint)  # else the damaged one would next be kept as the one before
    run.restore(state)
    run.checkpoint = digest if run.ended else None
    return run
