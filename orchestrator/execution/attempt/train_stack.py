"""Trains the trials of a stack, or one trial alone."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch

from mopoe_core.data.types import Dataset
from mopoe_core.metric_names import Epoch
from mopoe_core.storage.paths import AnyPath
from mopoe_core.training import stacked_training
from mopoe_core.training.run import Trained
from mopoe_core.training.stacked_training import Member
from mopoe_core.training.training import train
from orchestrator.spec.trial import Trial


def train_stack(
    trials: Sequence[Trial],
    checkpoints: Mapping[str, AnyPath],
    dataset: Dataset,
    device: torch.device,
    on_epoch: Callable[[dict[str, Epoch]], None] = lambda epochs: None,
    on_halved: Callable[[int], None] = lambda size: None,
) -> Iterator[tuple[Trial, Trained]]:
    """Train a stack, or one trial alone; yields each trial when it ends.

    `checkpoints` has the path of each trial's checkpoint, by trial id. `on_epoch` is called with the epochs that have ended, by trial id,
    and `on_halved` with the size of a stack that did not fit into memory.
    """
    if len(trials) == 1:
        (trial,) = trials
        path = checkpoints[trial.id]
        yield trial, train(trial.config, trial.seed, dataset, device, path, lambda epoch: on_epoch({trial.id: epoch}), trial.id)
        return
    members = [Member(trial.config, trial.seed, checkpoints[trial.id], trial.id) for trial in trials]

    def on_epoch_of_members(epochs: dict[int, Epoch]) -> None:
        on_epoch({trials[place].id: epoch for place, epoch in epochs.items()})

    for place, trained in stacked_training.train_stack(members, dataset, device, on_epoch_of_members, on_halved):
        yield trials[place], trained
