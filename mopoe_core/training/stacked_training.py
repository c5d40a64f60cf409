"""Training many trials at once as one batched model: the same numbers as each alone, up to the order of additions.

The trials of a stack share data, networks and sizes (`TrainingConfig.shape`) and differ in seed and in what is a number: model, beta,
learning rate and the like. Each keeps its own streams, order of examples, metrics and checkpoint, which is that of a run alone, so that
it can go on alone or in another stack. Encoders run for all trials together; decoders and objective run together for trials whose
objective has the same layout (`Specification.layout`): MVAE decodes twice where a mixture decodes once.

A trial that has diverged or ended leaves its stack, and the rest go on. The checkpoints of an epoch are written so that a stack that is
cut goes on bit-equal; a trial that is behind the others all the same (it was begun elsewhere) catches up first.

Shape suffixes: T stacked trial, B batch, M modality, S sampled component, D latent dimension, P private dimension.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, cast

import torch
from torch import Tensor, nn

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.types import Dataset
from mopoe_core.metric_names import Epoch
from mopoe_core.models.draws import stack_draws
from mopoe_core.models.loss import Encoded, Loss, LossWeights, in_separate_passes, loss
from mopoe_core.models.model import MultimodalVAE, hide
from mopoe_core.models.objective import Objective
from mopoe_core.networks.stacked_modules import NotStackable, Stacked, check_network, joined, stack
from mopoe_core.random_streams import GlobalStream
from mopoe_core.storage.files import AnyPath, keep, move
from mopoe_core.training.checkpoint import Held, before, held
from mopoe_core.training.run import Run, Tally, Trained
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
    epoch before. One that has diverged stays where it is, and one that is further behind than the others catches up in training.

    Raises CheckpointError, and moves nothing, where one is that of another trial.
    """
    found = {member.checkpoint: _kept(member) for member in members}
    newest = {path: max(kept, default=0) for path, kept in found.items() if not any(one.diverged for _, one in kept.values())}
    common = min(newest.values(), default=0)
    for path, kept in found.items():
        wanted = common if path in newest and common in kept else max(kept, default=0)
        source = kept[wanted][0] if kept else path
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


def check_stackable(model: MultimodalVAE, hides: bool) -> None:
    """Raise NotStackable where models like this one do not stack; `hides` says whether their trials hide modalities."""
    mixing = sorted(model.mixing_encoders | model.mixing_decoders)
    if hides and mixing:
        raise NotStackable(
            f"`missing` hides modalities, and {', '.join(mixing)} has batch norm or another layer that sees the whole batch"
        )
    for network in (*model.encoders.values(), *model.decoders.values()):
        check_network(network)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device, or the host, has no memory left."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


class Stack:
    """Runs with the same number of epochs behind them, trained together from where they stand.

    Their models and optimisers stay their own, and hold views of the stack's tensors until `release`. Raises NotStackable where a
    network has a layer that does not stack.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        # Those that decode alike side by side, and among them those of one learning rate: each such stretch is one call.
        self.runs = sorted(runs, key=lambda run: (repr(run.model.objective.spec.layout), _adam_settings(run)))
        first = self.runs[0]
        check_stackable(first.model, any(run.present_NM is not None for run in self.runs))
        self._config, self._split, self._device = first.config, first.split, first.device
        self._modalities = first.model.modalities
        self._encoders = {
            m.name: _stacked([run.model.encoders[m.name] for run in self.runs], self.runs) for m in self._modalities
        }
        self._parts, start = [], 0
        for _, alike in groupby(self.runs, key=lambda run: run.model.objective.spec.layout):
            part = _Part(list(alike), start)
            self._parts.append(part)
            start += len(part.runs)
        self._present_TNM = _present(self.runs)
        self._optimiser = _Adam([*self._layers()])

    def _layers(self) -> Iterator[tuple[Stacked, list[Run]]]:
        networks = [(encoder, self.runs) for encoder in self._encoders.values()]
        networks += [(decoder, part.runs) for part in self._parts for decoder in part.decoders.values()]
        for network, runs in networks:
            yield from ((layer, runs) for layer in network.modules() if isinstance(layer, Stacked))

    def epoch(self) -> None:
        """One pass of every run over its examples, each in its own order. The host waits for the device once, at the end."""
        started = time.perf_counter()
        tally = Tally(self._config, self._device, len(self.runs))
        orders_TN = torch.stack([run.shuffled() for run in self.runs])
        for rows_TB in orders_TN.split(self._config.batch_size, 1)[: self._config.steps_per_epoch]:
            tally.add(self.step(rows_TB))
        sound_T = torch.stack([run.sound() for run in self.runs])
        numbers = zip(self.runs, tally.sums.tolist(), tally.first_bad.tolist(), sound_T.tolist(), strict=True)
        seconds = time.perf_counter() - started
        for run, sums, first_bad, sound in numbers:
            run.close_epoch(sums, first_bad, sound, seconds / len(self.runs))

    def step(self, rows_TB: Tensor) -> Tensor:
        """One optimiser step of every run, on the examples with these indices; returns their `Loss.terms`, (T, 3 + M)."""
        losses = self.losses(rows_TB)
        self._optimiser.zero_grad()
        torch.cat([part.total for part in losses]).sum().backward()
        self._optimiser.step()
        return torch.cat([part.terms() for part in losses])

    def losses(self, rows_TB: Tensor) -> list[Loss]:
        """The losses of a batch, a part with one layout at a time."""
        x = self._split.batch(rows_TB)
        present_TBM = None
        if self._present_TNM is not None:
            present_TBM = torch.take_along_dim(self._present_TNM, rows_TB[..., None], 1)
            x = hide(self._modalities, x, present_TBM)
        heads = [cast(tuple[Tensor, Tensor], self._encoders[m.name](x[m.name])) for m in self._modalities]
        encoded = Encoded.of(heads, self._config.latent_dim)
        return [part.loss(x, encoded, present_TBM) for part in self._parts]

    def release(self) -> None:
        """Give every run tensors of its own."""
        for run in self.runs:
            for tensor in (*run.model.parameters(), *run.model.buffers()):
                tensor.data = tensor.data.clone()
            for state in run.optimiser.state.values():
                state.update({name: tensor.clone() for name, tensor in state.items()})


class _Part:
    """The runs of a stack whose objectives have one layout."""

    def __init__(self, runs: list[Run], start: int) -> None:
        models: list[MultimodalVAE] = [run.model for run in runs]
        first = models[0]
        self.runs, self._which, self._first = runs, slice(start, start + len(runs)), first
        self.decoders = {m.name: _stacked([model.decoders[m.name] for model in models], runs) for m in first.modalities}
        parameter = next(first.parameters())
        self._objective = Objective([model.objective.spec for model in models], parameter.device, parameter.dtype)

        def numbers(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, dtype=parameter.dtype, device=parameter.device)

        self._weights = LossWeights(
            beta=numbers([model.config.beta for model in models]),
            beta_private=numbers([model.config.beta_private for model in models]),
            reconstruction_M=[numbers(each) for each in zip(*(model.weights_M for model in models), strict=True)],
            private_M=[numbers(each) for each in zip(*(model.private_weights_M for model in models), strict=True)],
        )

    def loss(self, x: Mapping[str, Tensor], encoded: Encoded, present_TBM: Tensor | None) -> Loss:
        """The losses of these runs, from what all runs of the stack see and encode."""
        present = None if present_TBM is None else present_TBM[self._which]

        def log_likelihood(m: int, z_TSBL: Tensor) -> Tensor:
            modality = self._first.modalities[m]

            def decoded(z_TSBL: Tensor) -> Tensor:
                raw = self.decoders[modality.name](z_TSBL.flatten(1, 2)).unflatten(1, z_TSBL.shape[1:3])
                seen = x[modality.name][self._which].unsqueeze(1)
                return self._first.likelihoods[modality.name].log_prob(raw, seen, len(modality.shape))

            mixes = modality.name in self._first.mixing_decoders
            return in_separate_passes(decoded, z_TSBL) if mixes else decoded(z_TSBL)

        draws = stack_draws([run.draws() for run in self.runs])
        return loss(self._objective, self._weights, encoded.trials(self._which), log_likelihood, draws, present)


class _Adam:
    """Fused Adam over stacked parameters, with each run's own learning rate, and its state in each run's own optimiser."""

    def __init__(self, layers: Sequence[tuple[Stacked, list[Run]]]) -> None:
        self._groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        self._leaves: list[nn.Parameter] = []
        self._views: list[tuple[nn.Parameter, nn.Parameter, slice]] = []
        """Stretches of leaves whose runs share their settings, where these are not the whole leaf."""
        states: dict[Tensor, dict[str, Tensor]] = {}
        for layer, runs in layers:
            for name, sources in layer.sources.items():
                leaf = layer.get_parameter(name)
                self._leaves.append(leaf)
                for which in _stretches(runs):
                    own = self._own(leaf, which, runs)
                    states[own] = _joined_state(sources[which], runs[which])
        groups = [{"params": own, "lr": lr, "weight_decay": decay} for (lr, decay), own in self._groups.items()]
        self._optimiser = torch.optim.Adam(groups, fused=True)
        self._optimiser.state.update(states)

    def _own(self, leaf: nn.Parameter, which: slice, runs: list[Run]) -> nn.Parameter:
        """What the optimiser is given of a leaf for these runs: itself, or a view."""
        own = leaf
        if which != slice(0, len(runs)):
            own = nn.Parameter(leaf.detach()[which])
            self._views.append((own, leaf, which))
        self._groups.setdefault(_adam_settings(runs[which][0]), []).append(own)
        return own

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for leaf in self._leaves:
            leaf.grad = None

    def step(self) -> None:
        """One update."""
        for own, leaf, which in self._views:
            own.grad = None if leaf.grad is None else leaf.grad[which]
        self._optimiser.step()


def _adam_settings(run: Run) -> tuple[float, float]:
    return run.config.learning_rate, run.config.weight_decay


def _stretches(runs: Sequence[Run]) -> Iterator[slice]:
    """The longest stretches of runs that share their settings."""
    start = 0
    for _, alike in groupby(runs, key=_adam_settings):
        stop = start + len(list(alike))
        yield slice(start, stop)
        start = stop


def _joined_state(sources: Sequence[nn.Parameter], runs: Sequence[Run]) -> dict[str, Tensor]:
    """Adam's state for some stacked parameters, of which each run's own becomes a view."""
    kept: list[dict[str, Any]] = [run.optimiser.state[source] for run, source in zip(runs, sources, strict=True)]
    whole = {}
    for name in ("exp_avg", "exp_avg_sq"):
        whole[name] = joined([s.get(name, torch.zeros_like(p)) for s, p in zip(kept, sources, strict=True)], sources[0])
        for state, part in zip(kept, whole[name].unbind(), strict=True):
            state[name] = part
    step = torch.as_tensor(kept[0].get("step", 0.0), dtype=torch.float32, device=sources[0].device).clone()
    for state in kept:
        state["step"] = step  # one for all: they have taken the same number
    return {"step": step, **whole}


def _stacked(networks: Sequence[nn.Module], runs: Sequence[Run]) -> nn.Module:
    streams: list[GlobalStream] = [run.layers for run in runs]
    return stack(networks, streams)


def _present(runs: Sequence[Run]) -> Tensor | None:
    """(T, N, M), true where a modality is observed; None if nothing is hidden in any run."""
    masks = [run.present_NM for run in runs]
    shape = next((mask.shape for mask in masks if mask is not None), None)
    if shape is None:
        return None
    everything = torch.ones(shape, dtype=torch.bool, device=runs[0].device)
    return torch.stack([everything if mask is None else mask for mask in masks])
