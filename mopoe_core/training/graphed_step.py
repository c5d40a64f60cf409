"""A training step as one CUDA graph: it is recorded once, and later launched as a whole instead of as some hundred kernels.

A graph always uses the memory with which it was recorded. So the indices of the examples are copied into the graph's buffer before each
launch, and code that replaces a weight, a buffer or Adam's state must call `forget`. Before a recording, the step is taken a few times to
let libraries initialise. These steps leave weights and Adam's state alone, and all else that they change is restored to the bit: a
graphed run has the same numbers as an ungraphed one.

A recorded step must not wait for the device. In the last warm-up step waiting is an error, so that a step which cannot be recorded is
refused in time: a recording that fails midway leaves generators and the allocator in an undefined state. Such a run uses no graph.
"""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from mopoe_core.random_streams import default_generator
from mopoe_core.terminal import complain

SWITCH = "MOPOE_CUDA_GRAPHS"
"""An environment variable: with `off`, training uses no graphs and has the same numbers."""
WARM_UPS = 3

Step = Callable[[Tensor], Tensor]
"""Takes a step on the examples with these indices, and returns the terms of its loss."""
Launch = Callable[[], Tensor]
"""Takes a step on the indices in the buffer, and returns the terms of its loss in memory that the next launch overwrites."""


@dataclass(frozen=True)
class StepState:
    """All state that a step reads and changes."""

    tensors: Sequence[Tensor]
    """Weights and buffers."""
    optimiser: Optimizer
    generators: Sequence[torch.Generator]


class Recorder(Protocol):
    """Records steps as graphs on one device."""

    def warm_up(self, step: Launch) -> None:
        """Take the step a few times. Raises RuntimeError if it waits for the device."""

    def record(self, step: Launch, generators: Sequence[torch.Generator]) -> Launch:
        """Record the step without taking it. Raises RuntimeError if that fails, and then leaves the generators unchanged."""

    def wait(self) -> None:
        """Wait until the device has finished all its work."""


class GraphedStep:
    """A step that is recorded at its first call and launched at each later call.

    Callers pass the step to each call, and this object stores no reference to it. A run that refers to itself would hold its memory on
    the device until Python collects cycles.
    """

    def __init__(self, recorder: Recorder | None) -> None:
        self._recorder = recorder
        self._rows: Tensor | None = None
        self._launch: Launch | None = None

    @property
    def possible(self) -> bool:
        """Whether a graph is in use, or will be recorded at the next step."""
        return self._recorder is not None

    def __call__(self, step: Step, rows: Tensor, state: Callable[[], StepState]) -> Tensor:
        """Take the step on these rows and return its terms. Rows of another shape than the recorded ones do not use the graph."""
        if self._launch is None and self._recorder is not None:
            self._launch = self._recorded(self._recorder, step, rows, state())
        if self._launch is None or self._rows is None or self._rows.shape != rows.shape:
            return step(rows)
        self._rows.copy_(rows)
        return self._launch().clone()

    def forget(self) -> None:
        """Free the graph and its memory; the next step is recorded again."""
        if self._launch is not None and self._recorder is not None:
            self._recorder.wait()
        self._launch, self._rows = None, None

    def _recorded(self, recorder: Recorder, step: Step, rows: Tensor, state: StepState) -> Launch | None:
        """Record the step; None if it cannot be recorded, and then no later step is."""
        buffer = rows.clone()
        try:
            _warm_up(recorder, lambda: step(buffer), state)
            with _capturable(state.optimiser):
                launch = recorder.record(lambda: step(buffer), state.generators)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            complain(f"a training step cannot be recorded as a CUDA graph, and is taken without ({_first_line(error)})")
            self._recorder = None
            return None
        self._rows = buffer
        return launch


def recorder_for(device: torch.device, is_static: bool = True) -> Recorder | None:
    """A recorder for a device. It is None on a CPU, if the user has switched graphs off, and if the shapes of a step's tensors depend on
    the data (`is_static` is false).
    """
    return CudaRecorder(device) if device.type == "cuda" and is_static and os.environ.get(SWITCH) != "off" else None


class CudaRecorder:
    """Records steps with `torch.cuda.CUDAGraph`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def warm_up(self, step: Launch) -> None:
        """Take the step a few times, on the stream of the recording, because cuBLAS sets up a workspace for each stream."""
        side = _side_stream(self._device)
        side.wait_stream(torch.cuda.current_stream(self._device))
        try:
            with torch.cuda.stream(side):
                for _ in range(WARM_UPS - 1):
                    step()
                with _waiting_is_an_error():
                    step()
        finally:  # what the steps have changed is restored on the current stream
            torch.cuda.current_stream(self._device).wait_stream(side)

    def record(self, step: Launch, generators: Sequence[torch.Generator]) -> Launch:
        """Record the step. Each launch advances the generators as much as an ungraphed step does."""
        graph = torch.cuda.CUDAGraph()
        if torch.__version__ < "2.14":  # later a graph finds the generators itself, and the call only warns
            for generator in generators:
                graph.register_generator_state(generator)
        all_generators = [*generators, default_generator(self._device)]
        pool = torch.cuda.graph_pool_handle()
        stream_before = torch.cuda.current_stream(self._device)  # an error may leave the stream of the recording in its place
        with (
            torch.cuda.stream(stream_before),
            _released_after_an_error(graph, pool, self._device),
            _restored_after_an_error(all_generators),
            torch.cuda.graph(graph, pool=pool, stream=_side_stream(self._device)),
        ):
            terms = step()

        def launch() -> Tensor:
            graph.replay()
            return terms

        return launch

    def wait(self) -> None:
        """Wait for the device: a graph's memory may be reused only after its last launch has finished."""
        torch.cuda.synchronize(self._device)


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """The stream on which all graphs of a device are recorded. Another stream would need another 32 MB or so of cuBLAS workspaces."""
    return torch.cuda.Stream(device)


@contextmanager
def _waiting_is_an_error() -> Iterator[None]:
    """A context in which waiting for the device raises RuntimeError."""
    before = torch.cuda.get_sync_debug_mode()
    _set_sync_debug_mode("error")
    try:
        yield
    finally:
        _set_sync_debug_mode(before)


def _set_sync_debug_mode(mode: int | str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the warning says that this is a prototype, which does not detect every wait
        torch.cuda.set_sync_debug_mode(mode)


@contextmanager
def _restored_after_an_error(generators: Sequence[torch.Generator]) -> Iterator[None]:
    """A context that restores the generators after an error inside: torch may leave them as if the recording were still in progress."""
    states = [generator.get_state() for generator in generators]
    try:
        yield
    except RuntimeError:
        for generator, state in zip(generators, states, strict=True):
            fresh = torch.Generator(generator.device)
            fresh.set_state(state)
            generator.graphsafe_set_state(fresh.graphsafe_get_state())
        raise


@contextmanager
def _released_after_an_error(graph: torch.cuda.CUDAGraph, pool: Any, device: torch.device) -> Iterator[None]:
    """A context that ends the use of the graph's memory after an error inside. Up to some version torch's allocator goes on as if the
    recording were still in progress, and then no unused memory can be freed any more.
    """
    try:
        yield
    except RuntimeError:
        graph.reset()  # newer versions end it here
        try:
            torch.cuda.empty_cache()
        except RuntimeError:
            with suppress(RuntimeError):
                torch._C._cuda_endAllocateToPool(_index(device), pool)
        raise


def _index(device: torch.device) -> int:
    return torch.cuda.current_device() if device.index is None else device.index


def _warm_up(recorder: Recorder, step: Launch, state: StepState) -> None:
    """Take the step a few times and restore all that it changes. Afterwards the optimiser's state exists, and no gradient does."""
    snapshot = _Snapshot(state)
    try:
        with _without_updates(state.optimiser):
            recorder.warm_up(step)
    finally:
        snapshot.restore()
        _drop_gradients(state)


class _Snapshot:
    """A copy of what the steps before a recording change: buffers and random streams. It is restored in place, into the memory with which
    a graph is recorded.

    It holds no weights that are trained and nothing of Adam's, which these steps do not change (`_without_updates`): a stack that just
    fits on a GPU would not fit there twice.
    """

    def __init__(self, state: StepState) -> None:
        self._tensors = [(tensor, tensor.detach().clone()) for tensor in state.tensors if not tensor.requires_grad]
        self._generators = [(generator, generator.get_state()) for generator in state.generators]

    @torch.no_grad()
    def restore(self) -> None:
        """Restore all values."""
        for tensor, before in self._tensors:
            tensor.copy_(before)
        for generator, state in self._generators:
            generator.set_state(state)


@contextmanager
def _without_updates(optimiser: Optimizer) -> Iterator[None]:
    """A context in which the optimiser's steps change nothing. Its state comes into being, as zeros, where it is not there yet.

    Fused Adam leaves out an update whose gradients are marked as infinite, which is how torch's gradient scaler leaves out steps.
    """
    device = optimiser.param_groups[0]["params"][0].device
    optimiser.found_inf = torch.ones((), device=device)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del optimiser.found_inf  # type: ignore[attr-defined]


def _drop_gradients(state: StepState) -> None:
    """Free the gradients: a recording has memory of its own, and could not use theirs."""
    in_groups = [parameter for group in state.optimiser.param_groups for parameter in group["params"]]
    for tensor in (*state.tensors, *in_groups):
        if tensor.is_leaf:
            tensor.grad = None


@contextmanager
def _capturable(optimiser: Optimizer) -> Iterator[None]:
    """A context in which the optimiser is marked as capturable. Fused Adam computes the same with and without the mark, which is removed
    afterwards, so that the checkpoints of graphed and ungraphed runs are the same.
    """
    before = [group.get("capturable", False) for group in optimiser.param_groups]
    for group in optimiser.param_groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group, capturable in zip(optimiser.param_groups, before, strict=True):
            group["capturable"] = capturable


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
