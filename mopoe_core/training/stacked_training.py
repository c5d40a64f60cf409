"""Training many trials at once as one batched model: the same numbers as each alone, up to the order of additions.

The trials of a stack share data, networks and sizes (`TrainingConfig.shape`) and differ in seed and in what is a number: model, beta,
learning rate and the like. Each keeps its own streams, order of examples, metrics and checkpoint, which is that of a run alone, so that
it can go on alone or in another stack. `mopoe_core.training.stack` has the batched model.

A trial that has diverged or ended leaves its stack, and the rest go on. The checkpoints of an epoch are written so that a stack that is
cut goes on bit-equal; a trial that is behind the others all the same (it was begun elsewhere) catches up first.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.types import Dataset
from mopoe_core.metric_names import Epoch
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.whole_files import keep, move
from mopoe_core.training.checkpoint import Held, before, held
from mopoe_core.training.run import Run, Trained
from mopoe_core.training.stack import Stack
from mopoe_core.training.training import resumed


@dataclass(frozen=True)
class Member:
    """A trial of a stack."""

    config: TrainingConfig
    seed: int
    checkpoint: AnyPath
    trial: str = ""
    """The id that the checkpoint names as its trial's."""


def train_stack(
    members: Sequence[Member],
    dataset: Dataset,
    device: torch.device,
    on_epoch: Callable[[dict[int, Epoch]], None] = lambda epochs: None,
    on_halved: Callable[[int], None] = lambda size: None,
) -> Iterator[tuple[int, Trained]]:
    """Train every member to its end, each going on from its checkpoint and writing it after every epoch.

    Yields a member's place and what came of it when it has ended, by itself or diverged, while the rest wait. `on_epoch` is told of each
    epoch, by place; first of those that the checkpoints remember. Where memory runs out the stack is halved, and halved again, down to
    single trials; `on_halved` is told the size that was too much. Raises NotStackable where the networks do not stack, and ValueError
    where the members' shapes differ.
    """
    if len({member.config.shape for member in members}) > 1:
        raise ValueError("members: their configurations differ in more than a stack may; see TrainingConfig.shape")
    yield from _train(dict(enumerate(members)), dataset, device, on_epoch, on_halved)


def _train(
    left: dict[int, Member],
    dataset: Dataset,
    device: torch.device,
    on_epoch: Callable[[dict[int, Epoch]], None],
    on_halved: Callable[[int], None],
) -> Iterator[tuple[int, Trained]]:
    try:
        yield from _together(left, dataset, device, on_epoch)
        return
    except RuntimeError as error:
        if len(left) == 1 or not is_out_of_memory(error):
            raise
    # Here, where the error and all that it holds is gone. What the halves had not saved is trained again.
    on_halved(len(left))
    places = list(left)
    for half in (places[: (len(left) + 1) // 2], places[(len(left) + 1) // 2 :]):
        yield from _train({place: left[place] for place in half}, dataset, device, on_epoch, on_halved)


def _together(
    left: dict[int, Member], dataset: Dataset, device: torch.device, on_epoch: Callable[[dict[int, Epoch]], None]
) -> Iterator[tuple[int, Trained]]:
    """Train as one stack; a member that has been yielded is no longer in `left`."""
    _settle([*left.values()])
    runs = {place: resumed(one.config, one.seed, dataset, device, one.checkpoint, one.trial) for place, one in left.items()}
    for place, run in runs.items():
        for epoch in run.history:
            on_epoch({place: epoch})
    while left:
        fewest = min(len(run.history) for run in runs.values())
        behind = {place: run for place, run in runs.items() if len(run.history) == fewest and not run.ended}
        if behind:
            _until_one_ends(behind, runs, left, on_epoch)
        for place in [place for place, run in runs.items() if run.ended]:
            del left[place]
            yield place, runs.pop(place).trained()


def _until_one_ends(
    behind: dict[int, Run], runs: dict[int, Run], members: dict[int, Member], on_epoch: Callable[[dict[int, Epoch]], None]
) -> None:
    """Train these runs, which have equally many epochs, until one has ended or all have caught up with another."""
    stacked = Stack(list(behind.values()))
    ahead = {len(run.history) for place, run in runs.items() if place not in behind}
    while True:
        stacked.epoch()
        _save({members[place].checkpoint: run for place, run in behind.items()})
        on_epoch({place: run.history[-1] for place, run in behind.items()})
        if any(run.ended or len(run.history) in ahead for run in behind.values()):
            stacked.release()
            return


def _save(runs: dict[AnyPath, Run]) -> None:
    """Write the checkpoints of one epoch: all beside the old ones first, then each in its place. A stack that is cut between two
    checkpoints would else have to train one trial alone for an epoch, which adds up in another order.
    """
    for checkpoint, run in runs.items():
        run.write(_next(checkpoint))
    for checkpoint in runs:
        keep(checkpoint, before(checkpoint))
        move(_next(checkpoint), checkpoint)


def _settle(members: Sequence[Member]) -> None:
    """After a cut, put every member where all of them can be: at the newest epoch that each has a checkpoint of, if need be that of the
    epoch before, which for the first epoch is the start. One that has diverged stays where it is, and one that is further behind than
    the others catches up in training.

    Raises CheckpointError, and moves nothing, where one is that of another trial.
    """
    found = {member.checkpoint: _kept(member) for member in members}
    newest = {path: max(kept, default=0) for path, kept in found.items() if not any(one.diverged for _, one in kept.values())}
    common = min(newest.values(), default=0)
    for path, kept in found.items():
        places = {epochs: place for epochs, (place, _) in kept.items()}
        if common == 0 and path in newest and 1 in kept:
            for place in places.values():
                place.unlink()
        elif kept:
            source = places[common if path in newest and common in kept else max(kept)]
            if source != path:
                move(source, path)
        _next(path).unlink(missing_ok=True)


def _kept(member: Member) -> dict[int, tuple[AnyPath, Held]]:
    """Every usable checkpoint of a member by its number of epochs; where two have the same, the one in its place."""
    places = (before(member.checkpoint), _next(member.checkpoint), member.checkpoint)
    found = {place: held(place, member.config, member.seed, member.trial) for place in places}
    return {one.epochs: (place, one) for place, one in found.items() if one is not None}


def _next(checkpoint: AnyPath) -> AnyPath:
    return checkpoint.with_suffix(".next")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device, or the host, has no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
