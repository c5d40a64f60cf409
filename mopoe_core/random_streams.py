"""Random streams: one for each use, all derived from the trial's seed, none shared."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def seed_of(*parts: int | str) -> int:
    """A 63-bit seed that any change of the parts changes altogether; the same on every machine."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(device: torch.device, *parts: int | str) -> torch.Generator:
    """A generator on `device` for the stream that the parts name, such as (seed, "noise")."""
    return torch.Generator(device=device).manual_seed(seed_of(*parts))


class GlobalStream:
    """A stream for layers that draw from torch's global generator, such as dropout: that generator is lent to it for a while."""

    def __init__(self, device: torch.device, *parts: int | str) -> None:
        self._own = generator(device, *parts)
        self._is_entered = False

    @property
    def generator(self) -> torch.Generator:
        """The generator that the stream draws from now: inside, on a CPU, the global one."""
        on_a_cpu = self._own.device.type == "cpu"
        return torch.default_generator if self._is_entered and on_a_cpu else self._own

    @property
    def state(self) -> torch.Tensor:
        """Where the stream stands; a tensor of bytes on the host."""
        return self.generator.get_state()

    @state.setter
    def state(self, state: torch.Tensor) -> None:
        self.generator.set_state(state)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """While inside, the device's global generator goes on where this stream stood; afterwards it is what it was.

        Entering again, inside, changes nothing.
        """
        if self._is_entered:
            yield
            return
        self._is_entered = True
        try:
            with self._lent_on_a_gpu() if self._own.device.type == "cuda" else self._lent_on_a_cpu():
                yield
        finally:
            self._is_entered = False

    @contextmanager
    def _lent_on_a_cpu(self) -> Iterator[None]:
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._own.get_state())
            yield
            self._own.set_state(torch.get_rng_state())

    @contextmanager
    def _lent_on_a_gpu(self) -> Iterator[None]:
        """The global generator takes this stream's state itself and no copy, which a CUDA graph could not record."""
        lent = default_generator(self._own.device)
        before = lent.graphsafe_get_state()
        lent.graphsafe_set_state(self._own.graphsafe_get_state())
        try:
            yield
        finally:
            self._own.graphsafe_set_state(lent.graphsafe_get_state())
            lent.graphsafe_set_state(before)


def default_generator(device: torch.device) -> torch.Generator:
    """The global generator of a GPU."""
    index = torch.cuda.current_device() if device.index is None else device.index
    default: torch.Generator = torch.cuda.default_generators[index]
    return default
