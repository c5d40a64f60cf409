"""Several runs as one batched model, with one optimiser step for all of them.

Encoders run for all trials together. Decoders and objective run together for trials whose objectives have the same layout
(`Specification.layout`). Layouts differ, for example, between MVAE, which decodes twice, and a mixture, which decodes once.

Shape suffixes: T stacked trial, B batch, M modality, S sampled component, D latent dimension.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from mopoe_core.data.types import Modality
from mopoe_core.models.draws import stack_draws
from mopoe_core.models.loss import Encoded, Loss, LossWeights, in_separate_passes, loss
from mopoe_core.models.model import MultimodalVAE, hide
from mopoe_core.models.objective import Objective
from mopoe_core.networks import precision
from mopoe_core.networks.stacked_layers import NotStackable, Stacked, StackedDropout, joined
from mopoe_core.networks.stacking import check_network, stack
from mopoe_core.random_streams import GlobalStream
from mopoe_core.training.graphed_step import GraphedStep, StepState, recorder_for
from mopoe_core.training.run import Run, Tally


def check_stackable(model: MultimodalVAE, hides: bool) -> None:
    """Raises NotStackable if models like this one cannot be stacked. `hides` says whether their trials hide modalities."""
    mixing = sorted(model.mixing_encoders | model.mixing_decoders)
    if hides and mixing:
        raise NotStackable(
            f"`missing` hides modalities, and {', '.join(mixing)} has batch norm or another layer that sees the whole batch"
        )
    for network in (*model.encoders.values(), *model.decoders.values()):
        check_network(network)


class Stack:
    """Runs that have trained the same number of epochs, and continue together.

    Each run keeps its model and its optimiser, whose tensors are views of the stack's tensors until `release`. Raises NotStackable if a
    network has a layer that does not stack.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        # Sorted, because adjacent runs with the same layout share one call, and among them those with the same learning rate.
        self.runs = sorted(runs, key=lambda run: (repr(run.model.objective.spec.layout), _adam_settings(run)))
        first = self.runs[0]
        check_stackable(first.model, any(run.present_NM is not None for run in self.runs))
        self._config, self._split, self._device = first.config, first.split, first.device
        self._modalities = first.model.modalities
        self._encoders = {
            m.name: _stacked([run.model.encoders[m.name] for run in self.runs], self.runs) for m in self._modalities
        }
        self._parts = _parts(self.runs)
        self._present_TNM = _present(self.runs)
        for run in self.runs:
            run.graphed.forget()
        self._optimiser = _Adam([*self._layers()])
        self.graphed = GraphedStep(recorder_for(self._device))

    def _networks(self) -> list[tuple[nn.Module, list[Run]]]:
        """Every stacked network, and the runs that share it."""
        encoders = [(encoder, self.runs) for encoder in self._encoders.values()]
        return encoders + [(decoder, part.runs) for part in self._parts for decoder in part.decoders.values()]

    def _layers(self) -> Iterator[tuple[Stacked, list[Run]]]:
        """Every stacked layer that has parameters, and the runs that share it."""
        for network, runs in self._networks():
            yield from ((layer, runs) for layer in network.modules() if isinstance(layer, Stacked))

    def epoch(self) -> None:
        """Make one pass of every run over its examples, each in its own order. The host waits for the device once, at the end."""
        started = time.perf_counter()
        tally = Tally(self._config, self._device, len(self.runs))
        orders_TN = torch.stack([run.shuffled() for run in self.runs])
        for rows_TB in orders_TN.split(self._config.batch_size, 1)[: self._config.steps_per_epoch]:
            tally.add(self.step(rows_TB))
        finite_T = torch.stack([run.weights_are_finite() for run in self.runs])
        results = zip(self.runs, tally.sums.tolist(), tally.first_bad.tolist(), finite_T.tolist(), strict=True)
        seconds = time.perf_counter() - started
        for run, sums, first_bad, is_finite in results:
            run.close_epoch(sums, first_bad, is_finite, seconds / len(self.runs))

    def step(self, rows_TB: Tensor) -> Tensor:
        """Take one optimiser step of every run on the examples with these indices, on a GPU as one CUDA graph. Returns the runs'
        `Loss.terms`, (T, 3 + M).
        """
        return self.graphed(self.ungraphed_step, rows_TB, self._step_state)

    def _step_state(self) -> StepState:
        networks = [network for network, _ in self._networks()]
        tensors = [tensor for network in networks for tensor in (*network.parameters(), *network.buffers())]
        generators = [run.noise for run in self.runs]
        if any(isinstance(layer, StackedDropout) for network in networks for layer in network.modules()):
            generators += [run.layers.generator for run in self.runs]  # each adds two small kernels to a launch
        return StepState(tensors, self._optimiser.fused, generators)

    def ungraphed_step(self, rows_TB: Tensor) -> Tensor:
        """`step` without a CUDA graph."""
        losses = self.losses(rows_TB)
        self._optimiser.zero_grad()
        with precision.in_backward(self._config.precision, self._device):
            torch.cat([part.total for part in losses]).sum().backward()
        self._optimiser.step()
        return torch.cat([part.terms() for part in losses])

    def losses(self, rows_TB: Tensor) -> list[Loss]:
        """The losses of a batch: one `Loss` for all runs with the same layout."""
        x = self._split.batch(rows_TB)
        present_TBM = None
        if self._present_TNM is not None:
            present_TBM = torch.take_along_dim(self._present_TNM, rows_TB[..., None], 1)
            x = hide(self._modalities, x, present_TBM)
        heads = [precision.heads(self._encoders[m.name], x[m.name], self._config.precision) for m in self._modalities]
        encoded = Encoded.of(heads, self._config.latent_dim)
        return [part.loss(x, encoded, present_TBM) for part in self._parts]

    def release(self) -> None:
        """Give every run its own copies of the stack's tensors."""
        self.graphed.forget()
        for run in self.runs:
            run.graphed.forget()
            for tensor in (*run.model.parameters(), *run.model.buffers()):
                tensor.data = tensor.data.clone()
            for state in run.optimiser.state.values():
                state.update({name: tensor.clone() for name, tensor in state.items()})


class _Part:
    """Runs of a stack whose objectives have the same layout. `start` is the index of the first of them in the stack."""

    def __init__(self, runs: list[Run], start: int) -> None:
        models: list[MultimodalVAE] = [run.model for run in runs]
        first = models[0]
        self.runs, self._slice, self._first = runs, slice(start, start + len(runs)), first
        self.decoders = {m.name: _stacked([model.decoders[m.name] for model in models], runs) for m in first.modalities}
        parameter = next(first.parameters())
        self._objective = Objective([model.objective.spec for model in models], parameter.device, parameter.dtype)

        def numbers(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, dtype=parameter.dtype, device=parameter.device)

        self._weights = LossWeights(
            beta=numbers([model.config.beta for model in models]),
            beta_private=numbers([model.config.beta_private for model in models]),
            reconstruction_M=[numbers(values) for values in zip(*(model.weights_M for model in models), strict=True)],
            private_M=[numbers(values) for values in zip(*(model.private_weights_M for model in models), strict=True)],
        )

    def loss(self, x: Mapping[str, Tensor], encoded: Encoded, present_TBM: Tensor | None) -> Loss:
        """The losses of these runs. `x`, `encoded` and `present_TBM` are those of all runs of the stack."""
        present = None if present_TBM is None else present_TBM[self._slice]

        def log_likelihood(m: int, z_TSBL: Tensor, used_TSB: Tensor) -> Tensor:
            return self._log_likelihood(self._first.modalities[m], z_TSBL, x)

        draws = stack_draws([run.draws() for run in self.runs])
        return loss(self._objective, self._weights, encoded.trials(self._slice), log_likelihood, draws, present)

    def _log_likelihood(self, modality: Modality, z_TSBL: Tensor, x: Mapping[str, Tensor]) -> Tensor:
        """log p(x_m|z) in nats, unweighted: (T, S, B)."""
        first, decoder = self._first, self.decoders[modality.name]
        x_T1B = x[modality.name][self._slice].unsqueeze(1)

        def decoded(z_TSBL: Tensor) -> Tensor:
            flat = precision.decoded(decoder, z_TSBL.flatten(1, 2), first.config.precision)
            raw = flat.unflatten(1, z_TSBL.shape[1:3])
            return first.likelihoods[modality.name].log_prob(raw, x_T1B, len(modality.shape))

        return in_separate_passes(decoded, z_TSBL) if modality.name in first.mixing_decoders else decoded(z_TSBL)


def _parts(runs: Sequence[Run]) -> list[_Part]:
    """The runs, grouped by layout; runs with the same layout must be adjacent."""
    parts: list[_Part] = []
    start = 0
    for _, group in groupby(runs, key=lambda run: run.model.objective.spec.layout):
        part = _Part(list(group), start)
        parts.append(part)
        start += len(part.runs)
    return parts


class _Adam:
    """Fused Adam over stacked parameters, with each run's learning rate. The state of each run's optimiser is a view of its state."""

    def __init__(self, layers: Sequence[tuple[Stacked, list[Run]]]) -> None:
        self._groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        """The optimiser's parameters by learning rate and weight decay."""
        self._leaves: list[nn.Parameter] = []
        """The stacked parameters, which get gradients from the backward pass."""
        self._views: list[tuple[nn.Parameter, nn.Parameter, slice]] = []
        """A view, its leaf and its slice of the leaf, for each slice of runs with the same settings that is not the whole leaf."""
        states: dict[Tensor, dict[str, Tensor]] = {}
        for layer, runs in layers:
            for name, sources in layer.sources.items():
                leaf = layer.get_parameter(name)
                self._leaves.append(leaf)
                for which in _slices_with_one_setting(runs):
                    parameter = self._register(leaf, which, runs)
                    states[parameter] = _joined_state(sources[which], runs[which])
        groups = [{"params": params, "lr": lr, "weight_decay": decay} for (lr, decay), params in self._groups.items()]
        self.fused = torch.optim.Adam(groups, fused=True)
        self.fused.state.update(states)

    def _register(self, leaf: nn.Parameter, which: slice, runs: list[Run]) -> nn.Parameter:
        """The optimiser's parameter for these runs of a leaf: the leaf itself if they are all its runs, else a view."""
        parameter = leaf
        if which != slice(0, len(runs)):
            parameter = nn.Parameter(leaf.detach()[which])
            self._views.append((parameter, leaf, which))
        self._groups.setdefault(_adam_settings(runs[which][0]), []).append(parameter)
        return parameter

    def zero_grad(self) -> None:
        """Remove the gradients."""
        for leaf in self._leaves:
            leaf.grad = None

    def step(self) -> None:
        """Update all parameters."""
        for view, leaf, which in self._views:
            view.grad = None if leaf.grad is None else leaf.grad[which]
        self.fused.step()


def _adam_settings(run: Run) -> tuple[float, float]:
    return run.config.learning_rate, run.config.weight_decay


def _slices_with_one_setting(runs: Sequence[Run]) -> Iterator[slice]:
    """The longest slices of adjacent runs with the same settings of Adam."""
    start = 0
    for _, group in groupby(runs, key=_adam_settings):
        stop = start + len(list(group))
        yield slice(start, stop)
        start = stop


def _joined_state(sources: Sequence[nn.Parameter], runs: Sequence[Run]) -> dict[str, Tensor]:
    """Adam's state for the runs' parameters `sources`, stacked. Each run's state becomes a view of it."""
    states: list[dict[str, Any]] = [run.optimiser.state[source] for run, source in zip(runs, sources, strict=True)]
    averages = {}
    for name in ("exp_avg", "exp_avg_sq"):
        tensors = [state.get(name, torch.zeros_like(source)) for state, source in zip(states, sources, strict=True)]
        averages[name] = joined(tensors, sources[0])
        for state, view in zip(states, averages[name].unbind(), strict=True):
            state[name] = view
    step = torch.as_tensor(states[0].get("step", 0.0), dtype=torch.float32, device=sources[0].device).clone()
    for state in states:
        state["step"] = step  # shared, because all runs have taken the same number of steps
    return {"step": step, **averages}


def _stacked(networks: Sequence[nn.Module], runs: Sequence[Run]) -> nn.Module:
    streams: list[GlobalStream] = [run.layers for run in runs]
    return stack(networks, streams)


def _present(runs: Sequence[Run]) -> Tensor | None:
    """A mask (T, N, M) that is true where a modality is observed; None if no run hides any."""
    masks = [run.present_NM for run in runs]
    shape = next((mask.shape for mask in masks if mask is not None), None)
    if shape is None:
        return None
    nothing_hidden_NM = torch.ones(shape, dtype=torch.bool, device=runs[0].device)
    return torch.stack([nothing_hidden_NM if mask is None else mask for mask in masks])
