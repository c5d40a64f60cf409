"""Training of many trials at once as one batched model. Each has the same numbers as alone, up to the order of additions.

The trials of a stack share data, networks and sizes (`TrainingConfig.shape`). They differ in seed and in numbers: model, beta, learning
rate and others. Each has its own random streams, order of examples, metrics and checkpoint. The checkpoint is like that of a trial alone,
so that the trial can resume alone or in another stack. `mopoe_core.training.stack` has the batched model.

A trial that has diverged or ended leaves its stack, and the others continue. An epoch's checkpoints are written in such a way that an
interrupted stack resumes bit-equal. A trial may still be behind the others, because it was begun elsewhere; it catches up first.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.types import Dataset
from mopoe_core.metric_names import Epoch
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.whole_files import link_as, move
from mopoe_core.training.checkpoint import CheckpointProgress, previous_checkpoint, progress_in
from mopoe_core.training.run import Run, Trained
from mopoe_core.training.stack import Stack
from mopoe_core.training.training import resumed

OUT_OF_MEMORY = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
)
"""Texts of errors other than torch's own that say that memory has run out: of the host, and of CUDA, cuBLAS and cuDNN."""


@dataclass(frozen=True)
class Member:
    """A trial of a stack."""

    config: TrainingConfig
    seed: int
    checkpoint: AnyPath
    trial: str = ""
    """The trial's id, which the checkpoint names."""


def train_stack(
    members: Sequence[Member],
    dataset: Dataset,
    device: torch.device,
    on_epoch: Callable[[dict[int, Epoch]], None] = lambda epochs: None,
    on_halved: Callable[[int], None] = lambda size: None,
) -> Iterator[tuple[int, Trained]]:
    """Train every member to its end. Each resumes from its checkpoint, which is written after every epoch.

    Yields a member's index and its result as soon as it has ended or diverged; the others wait meanwhile. `on_epoch` gets each epoch by
    member's index, beginning with those in the checkpoints. If memory runs out, the stack is halved repeatedly, down to single trials;
    `on_halved` gets each size that was too large. Raises NotStackable if the networks cannot be stacked, and ValueError if the members'
    shapes differ.
    """
    if len({member.config.shape for member in members}) > 1:
        raise ValueError("members: their configurations differ in more than a stack may; see TrainingConfig.shape")
    yield from _train(dict(enumerate(members)), dataset, device, on_epoch, on_halved)


def _train(
    unfinished: dict[int, Member],
    dataset: Dataset,
    device: torch.device,
    on_epoch: Callable[[dict[int, Epoch]], None],
    on_halved: Callable[[int], None],
) -> Iterator[tuple[int, Trained]]:
    """Train the unfinished members as one stack, or, if memory runs out, as two halves one after the other."""
    try:
        yield from _train_together(unfinished, dataset, device, on_epoch)
        return
    except RuntimeError as error:
        if len(unfinished) == 1 or not is_out_of_memory(error):
            raise
    # Outside the `except` block, where the error and the tensors that it refers to are freed. The halves resume from their checkpoints.
    on_halved(len(unfinished))
    indices = list(unfinished)
    middle = (len(unfinished) + 1) // 2
    for half in (indices[:middle], indices[middle:]):
        yield from _train({index: unfinished[index] for index in half}, dataset, device, on_epoch, on_halved)


def _train_together(
    unfinished: dict[int, Member], dataset: Dataset, device: torch.device, on_epoch: Callable[[dict[int, Epoch]], None]
) -> Iterator[tuple[int, Trained]]:
    """Train as one stack. A member is removed from `unfinished` before it is yielded."""
    _align([*unfinished.values()])
    # Moved once: each run would otherwise have its own copy on the device, and 64 copies of CelebA are 130 GB.
    on_device = replace(dataset, train=dataset.train.to(device))
    runs = {
        index: resumed(member.config, member.seed, on_device, device, member.checkpoint, member.trial)
        for index, member in unfinished.items()
    }
    for index, run in runs.items():
        for epoch in run.history:
            on_epoch({index: epoch})
    while unfinished:
        fewest = min(len(run.history) for run in runs.values())
        behind = {index: run for index, run in runs.items() if len(run.history) == fewest and not run.ended}
        if behind:
            _train_until_one_ends(behind, runs, unfinished, on_epoch)
        for index in [index for index, run in runs.items() if run.ended]:
            del unfinished[index]
            yield index, runs.pop(index).trained()


def _train_until_one_ends(
    behind: dict[int, Run], runs: dict[int, Run], members: dict[int, Member], on_epoch: Callable[[dict[int, Epoch]], None]
) -> None:
    """Train the runs `behind`, which have the same number of epochs, until one has ended or all have caught up with another run."""
    stacked = Stack(list(behind.values()))
    epochs_ahead = {len(run.history) for index, run in runs.items() if index not in behind}
    while True:
        stacked.epoch()
        _save({members[index].checkpoint: run for index, run in behind.items()})
        on_epoch({index: run.history[-1] for index, run in behind.items()})
        if any(run.ended or len(run.history) in epochs_ahead for run in behind.values()):
            stacked.release()
            return


def _save(runs: dict[AnyPath, Run]) -> None:
    """Write the checkpoints of one epoch: first all of them beside the old ones, then each is moved to its place. Without this, a stack
    that is interrupted between two checkpoints would have to train one trial alone for an epoch, which adds in another order.
    """
    for checkpoint, run in runs.items():
        run.write(_next(checkpoint))
    for checkpoint in runs:
        link_as(checkpoint, previous_checkpoint(checkpoint))
        move(_next(checkpoint), checkpoint)


def _align(members: Sequence[Member]) -> None:
    """After an interruption, bring all members to the same epoch: the newest one that all of them have reached. If some member has not
    finished its first epoch, members that have finished only one start again. A diverged member stays where it is. A member that has
    no checkpoint of the common epoch keeps its newest one; whoever is behind catches up in training.

    Raises CheckpointError, and moves nothing, if a checkpoint belongs to another trial.
    """
    usable = {member.checkpoint: _usable_checkpoints(member) for member in members}
    newest = {
        checkpoint: max(by_epochs, default=0)
        for checkpoint, by_epochs in usable.items()
        if not any(progress.diverged for _, progress in by_epochs.values())
    }
    common = min(newest.values(), default=0)
    for checkpoint, by_epochs in usable.items():
        paths = {epochs: path for epochs, (path, _) in by_epochs.items()}
        if common == 0 and checkpoint in newest and 1 in paths:
            for path in paths.values():
                path.unlink()
        elif paths:
            source = paths[common if checkpoint in newest and common in paths else max(paths)]
            if source != checkpoint:
                move(source, checkpoint)
        _next(checkpoint).unlink(missing_ok=True)


def _usable_checkpoints(member: Member) -> dict[int, tuple[AnyPath, CheckpointProgress]]:
    """Every usable checkpoint of a member by its number of epochs. If two have the same number, the last of these three paths counts."""
    paths = (previous_checkpoint(member.checkpoint), _next(member.checkpoint), member.checkpoint)
    progress_by_path = {path: progress_in(path, member.config, member.seed, member.trial) for path in paths}
    return {progress.epochs: (path, progress) for path, progress in progress_by_path.items() if progress is not None}


def _next(checkpoint: AnyPath) -> AnyPath:
    """Where an epoch's checkpoint is written before it is moved to its place."""
    return checkpoint.with_suffix(".next")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device or the host has run out of memory."""
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in OUT_OF_MEMORY)
