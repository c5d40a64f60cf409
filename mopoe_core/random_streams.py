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
        self._cuda = [device] if device.type == "cuda" else []
        self.state = generator(device, *parts).get_state()
        """Of the device's generator; a tensor of bytes on the host."""

    @contextmanager
    def entered(self) -> Iterator[None]:
        """While inside, the device's global generator goes on where this stream stood; afterwards it is what it was."""
        with torch.random.fork_rng(devices=self._cuda):
            if self._cuda:
                torch.cuda.set_rng_state(self.state, self._cuda[0])
            else:
                torch.set_rng_state(self.state)
            yield
            self.state = torch.cuda.get_rng_state(self._cuda[0]) if self._cuda else torch.get_rng_state()
