"""Training of one model: a loop over epochs. If it is interrupted anywhere, it resumes from its checkpoint and ends with the same result.

`mopoe_core.training.stacked_training` trains many models at once.
"""

from collections.abc import Callable

import torch

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.types import Dataset
from mopoe_core.metric_names import Epoch
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.whole_files import move
from mopoe_core.training.checkpoint import check_owner, opened, previous_checkpoint
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
    """Train to `config.epochs`. Training resumes from `checkpoint` if it exists, and writes it after every epoch.

    `on_epoch` is called for each epoch, beginning with those in the checkpoint. `trial` is the trial's id, which the checkpoint names.
    Raises CheckpointError if the checkpoint belongs to another trial.
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
    """A run in the state of its newest usable checkpoint, or at its beginning if there is none. Raises CheckpointError if the checkpoint
    belongs to another trial.
    """
    run = Run(config, seed, dataset, device, trial)
    path = checkpoint
    state_and_digest = opened(path)
    if state_and_digest is None:
        path = previous_checkpoint(checkpoint)
        state_and_digest = opened(path)
    if state_and_digest is None:
        return run
    state, digest = state_and_digest
    check_owner(state, config, seed, trial, path)
    if path != checkpoint:
        move(path, checkpoint)  # otherwise the next epoch would keep the damaged checkpoint as its previous one
    run.restore(state)
    run.checkpoint = digest if run.ended else None
    return run
