"""Measures time on the device and the card's peak rates, and keeps the budget of the whole run."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from mopoe_core.networks import precision

Result = TypeVar("Result")

ROUND_SECONDS = 0.15
PEAK_SECONDS = 0.5
MOST_CALLS = 1000
RESERVE = 2.0
"""Seconds of the budget that are reserved for writing the page."""
LONG = 10.0
"""Work begins if the budget has so many seconds left, however long earlier work took: work that does not end in time is broken off."""


AGAIN = 5.0
"""Seconds between the attempts to break work off."""


@dataclass
class Budget:
    """The seconds that the run may take, and how they are used."""

    seconds: float
    started: float = field(default_factory=time.monotonic)
    left_out: list[str] = field(default_factory=list)
    """Names of the measurements that were not made or not finished."""
    _longest: float = 0.0
    """Seconds of the longest measurement so far."""

    @property
    def used(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def measure(self, name: str, work: Callable[[], Result]) -> Result | None:
        """Returns the result of the work; None, with its name in `left_out`, if there is not enough time.

        The work does not start if the time left is less than both the longest work so far and `LONG`. It is broken off if it does not
        end in time itself.
        """
        if self.used + max(min(self._longest, LONG), RESERVE) < self.seconds:
            started = time.monotonic()
            try:
                with _alarm(self.seconds - RESERVE / 2 - self.used):
                    return work()
            except TimeIsUp:
                pass
            finally:
                self._longest = max(self._longest, time.monotonic() - started)
        self.left_out.append(name)
        return None


class TimeIsUp(Exception):
    """The budget ends in the middle of a measurement."""


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raises TimeIsUp in the main thread if the context is active for longer than `seconds`, and again every `AGAIN` seconds: an error
    while a recording is broken off may take the place of the first.
    """

    def ring(*_: object) -> None:
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def synchronize(device: torch.device) -> None:
    """Waits until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_a_call(call: Callable[[], object], device: torch.device, at_least: float = ROUND_SECONDS) -> float:
    """Returns the mean seconds of a call, over as many calls as take about `at_least` seconds, after one call to warm up.

    The number of calls comes from timing one synchronised call, which is the result if one call is enough. A host that called until the
    time is up would queue minutes of graphs.
    """
    call()
    once = _seconds(call, device, 1)
    calls = min(MOST_CALLS, round(at_least / once))
    return once if calls <= 1 else _seconds(call, device, calls) / calls


def _seconds(call: Callable[[], object], device: torch.device, calls: int) -> float:
    synchronize(device)
    started = time.perf_counter()
    for _ in range(calls):
        call()
    synchronize(device)
    return time.perf_counter() - started


def peak_flops(policy: str, device: torch.device, size: int) -> float:
    """Returns the floating-point operations per second of a large square matrix product in this precision."""
    dtype = torch.bfloat16 if policy == "bf16" else torch.float32
    rng = torch.Generator(device).manual_seed(0)
    a, b = (torch.randn(size, size, generator=rng, device=device).to(dtype) for _ in range(2))
    with precision.in_backward(policy, device):
        return 2 * size**3 / seconds_a_call(lambda: torch.mm(a, b), device, PEAK_SECONDS)


def peak_bytes(device: torch.device, numbers: int) -> float:
    """Returns the bytes per second, read plus written, of a large copy within the device's memory."""
    source = torch.ones(numbers, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds_a_call(lambda: target.copy_(source), device, PEAK_SECONDS)
