"""A training step as one CUDA graph: recorded once, and from then on launched as a whole in place of some hundred kernels.

A graph always works on the memory that it was recorded with. So the indices of the examples are copied into a buffer of its own before
each launch, and whatever exchanges a weight, a buffer or Adam's state must call `forget`. Before a recording the step is taken a few
times, so that libraries set themselves up. What this changes is put back to the bit: a graphed run has the numbers of an ungraphed one.

A recorded step must not wait for the device. The last of the steps before is taken where waiting is an error, so that a step which cannot
be recorded is refused in time: a recording that breaks off leaves generators and allocator in an odd state. Such a run has no graph.
"""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from mopoe_core.random_streams import default_generator
from mopoe_core.terminal import complain

SWITCH = "MOPOE_CUDA_GRAPHS"
"""A variable of the environment: `off` trains without graphs, with the same numbers."""
WARM_UPS = 3

Step = Callable[[Tensor], Tensor]
"""From the indices of a batch to the terms of its loss."""
Launch = Callable[[], Tensor]
"""Takes the step on what stands in the buffer, and returns its terms in memory that the next launch overwrites."""


@dataclass(frozen=True)
class StepState:
    """All that a step reads and changes."""

    tensors: Sequence[Tensor]
    """Weights and buffers."""
    optimiser: Optimizer
    generators: Sequence[torch.Generator]


class Recorder(Protocol):
    """How a step becomes a graph on one device."""

    def warm_up(self, step: Launch) -> None:
        """Take the step a few times. Raises RuntimeError where it waits for the device."""

    def record(self, step: Launch, generators: Sequence[torch.Generator]) -> Launch:
        """Record the step without taking it. Raises RuntimeError where that fails; the generators are then as they were."""

    def wait(self) -> None:
        """Wait until the device has done what it was given."""


class GraphedStep:
    """A step that is recorded at its first call and launched from then on.

    It is given the step at each call and keeps no reference to it: a run that refers to itself would keep its memory on the device until
    Python looks for cycles.
    """

    def __init__(self, recorder: Recorder | None) -> None:
        self._recorder = recorder
        self._rows: Tensor | None = None
        self._launch: Launch | None = None

    @property
    def possible(self) -> bool:
        """Whether a graph is used, or will be at the next step."""
        return self._recorder is not None

    def __call__(self, step: Step, rows: Tensor, state: Callable[[], StepState]) -> Tensor:
        """The terms of the step on these rows. Rows of another shape than the recorded ones are taken without the graph."""
        if self._launch is None and self._recorder is not None:
            self._launch = self._recorded(self._recorder, step, rows, state())
        if self._launch is None or self._rows is None or self._rows.shape != rows.shape:
            return step(rows)
        self._rows.copy_(rows)
        return self._launch().clone()

    def forget(self) -> None:
        """Let go of the graph and its memory; the next step is recorded anew."""
        if self._launch is not None and self._recorder is not None:
            self._recorder.wait()
        self._launch, self._rows = None, None

    def _recorded(self, recorder: Recorder, step: Step, rows: Tensor, state: StepState) -> Launch | None:
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
    """How steps on a device are recorded; None where they are not: on a CPU, where the user has switched graphs off, and where the shapes
    of a step's tensors depend on the data (`is_static` is false).
    """
    return CudaRecorder(device) if device.type == "cuda" and is_static and os.environ.get(SWITCH) != "off" else None


class CudaRecorder:
    """Records steps with `torch.cuda.CUDAGraph`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def warm_up(self, step: Launch) -> None:
        """On the stream that is recorded on, because cuBLAS sets up a workspace for each stream."""
        side = _side_stream(self._device)
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS - 1):
                step()
            with _waiting_is_an_error():
                step()
        torch.cuda.current_stream(self._device).wait_stream(side)

    def record(self, step: Launch, generators: Sequence[torch.Generator]) -> Launch:
        """The generators go on, launch by launch, as if the step had been taken by them."""
        graph = torch.cuda.CUDAGraph()
        for generator in generators:
            graph.register_generator_state(generator)
        every = [*generators, default_generator(self._device)]
        with _put_back_after_an_error(every), torch.cuda.graph(graph, stream=_side_stream(self._device)):
            terms = step()

        def launch() -> Tensor:
            graph.replay()
            return terms

        return launch

    def wait(self) -> None:
        """A graph's memory may be given to others only when its last launch has ended."""
        torch.cuda.synchronize(self._device)


@cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """One for all graphs of a device: each further stream would have cuBLAS workspaces of its own, some 32 MB."""
    return torch.cuda.Stream(device)


@contextmanager
def _waiting_is_an_error() -> Iterator[None]:
    before = torch.cuda.get_sync_debug_mode()
    _set_waiting("error")
    try:
        yield
    finally:
        _set_waiting(before)


def _set_waiting(mode: int | str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this is a prototype, which does not see every wait
        torch.cuda.set_sync_debug_mode(mode)


@contextmanager
def _put_back_after_an_error(generators: Sequence[torch.Generator]) -> Iterator[None]:
    """After an error inside, give the generators states of their own again: torch may leave them as if the recording still went on."""
    before = [generator.get_state() for generator in generators]
    try:
        yield
    except RuntimeError:
        for generator, state in zip(generators, before, strict=True):
            fresh = torch.Generator(generator.device)
            fresh.set_state(state)
            generator.graphsafe_set_state(fresh.graphsafe_get_state())
        raise


def _warm_up(recorder: Recorder, step: Launch, state: StepState) -> None:
    """Take the step a few times and put back what that changes; whatever the optimiser keeps is there afterwards."""
    before = _Snapshot(state)
    try:
        recorder.warm_up(step)
    finally:
        before.restore()


class _Snapshot:
    """What a step changes, as it was. It is put back in place, into the memory that a graph is recorded with.

    It lies on the host: a stack that just fits on a GPU would not fit there twice.
    """

    def __init__(self, state: StepState) -> None:
        self._optimiser = state.optimiser
        self._tensors = [(tensor, _on_the_host(tensor)) for tensor in state.tensors]
        self._kept = {id(value): _on_the_host(value) for value in self._optimiser_tensors()}
        self._generators = [(generator, generator.get_state()) for generator in state.generators]

    def _optimiser_tensors(self) -> Iterator[Tensor]:
        for kept in self._optimiser.state.values():
            yield from kept.values()

    @torch.no_grad()
    def restore(self) -> None:
        """What Adam begins with is zero, also its number of steps."""
        for tensor, before in self._tensors:
            tensor.copy_(before)
        for value in self._optimiser_tensors():
            if id(value) in self._kept:
                value.copy_(self._kept[id(value)])
            else:
                value.zero_()
        for generator, state in self._generators:
            generator.set_state(state)


@contextmanager
def _capturable(optimiser: Optimizer) -> Iterator[None]:
    """While inside, the optimiser says that it can be recorded. Fused Adam does the same with and without; a checkpoint of a graphed run
    thus says what that of an ungraphed one says.
    """
    before = [group.get("capturable", False) for group in optimiser.param_groups]
    for group in optimiser.param_groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group, capturable in zip(optimiser.param_groups, before, strict=True):
            group["capturable"] = capturable


def _on_the_host(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
