"""Random streams: each use of random numbers has its own generator, derived from the trial's seed."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def seed_of(*parts: int | str) -> int:
    """Returns a 63-bit hash of the parts: other parts have an unrelated seed, and every machine has the same."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(device: torch.device, *parts: int | str) -> torch.Generator:
    """Returns a generator on `device` for the stream that the parts name, such as (seed, "noise")."""
    return torch.Generator(device=device).manual_seed(seed_of(*parts))


class GlobalStream:
    """A stream for layers that draw from torch's global generator, such as dropout. Inside `entered`, that generator has its state."""

    def __init__(self, device: torch.device, *parts: int | str) -> None:
        self._generator = generator(device, *parts)
        self._is_entered = False

    @property
    def generator(self) -> torch.Generator:
        """The generator that has the stream's current state: inside `entered`, on a CPU, the global one."""
        is_on_cpu = self._generator.device.type == "cpu"
        return torch.default_generator if self._is_entered and is_on_cpu else self._generator

    @property
    def state(self) -> torch.Tensor:
        """The current state of the stream: a tensor of bytes on the host."""
        return self.generator.get_state()

    @state.setter
    def state(self, state: torch.Tensor) -> None:
        self.generator.set_state(state)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Inside, the device's global generator continues this stream. Afterwards it has its former state again.

        Entering a second time inside does nothing.
        """
        if self._is_entered:
            yield
            return
        self._is_entered = True
        try:
            with self._entered_on_gpu() if self._generator.device.type == "cuda" else self._entered_on_cpu():
                yield
        finally:
            self._is_entered = False

    @contextmanager
    def _entered_on_cpu(self) -> Iterator[None]:
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._generator.get_state())
            yield
            self._generator.set_state(torch.get_rng_state())

    @contextmanager
    def _entered_on_gpu(self) -> Iterator[None]:
        """The global generator gets this stream's state object itself. A CUDA graph could not record a copy of the state."""
        global_generator = default_generator(self._generator.device)
        former_state = global_generator.graphsafe_get_state()
        global_generator.graphsafe_set_state(self._generator.graphsafe_get_state())
        try:
            yield
        finally:
            self._generator.graphsafe_set_state(global_generator.graphsafe_get_state())
            global_generator.graphsafe_set_state(former_state)


def default_generator(device: torch.device) -> torch.Generator:
    """Returns the global generator of a GPU."""
    index = torch.cuda.current_device() if device.index is None else device.index
    default: torch.Generator = torch.cuda.default_generators[index]
    return default
