"""How two sides are compared: alternately, in rounds, by the core time they use, in the environment of a worker.

Core time and not time on the clock, because the machine may be shared; and a ratio a round, because a neighbour on the other core
slows both sides of a round alike.
"""

import os
import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

import torch

MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(32 * 2**20), "MALLOC_TRIM_THRESHOLD_": str(2**30)}
"""What `orchestrator.execution.ray_tune.environment` sets for workers; glibc reads it when a process starts."""
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""What Ray sets for a worker with one CPU; BLAS reads it when it is loaded."""


@dataclass(frozen=True)
class Row:
    """One comparison."""

    name: str
    ours_s: float
    """Median over the rounds, in core seconds."""
    reference_s: float
    ratio: float
    """Reference over ours: median of the rounds' ratios."""
    low: float
    """Lower quartile of the rounds' ratios."""
    high: float
    """Upper quartile."""
    n: int
    """Rounds."""


def row(name: str, ours_s: Sequence[float], reference_s: Sequence[float]) -> Row:
    """The comparison of the rounds' times, at least two of each."""
    ratios = [theirs / ours for ours, theirs in zip(ours_s, reference_s, strict=True)]
    low, middle, high = quantiles(ratios, n=4, method="inclusive")
    return Row(name, median(ours_s), median(reference_s), middle, low, high, len(ratios))


def core_seconds() -> float:
    """Core time used so far by this process, all its threads, and those of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def timed(work: Callable[[], object], times: int = 1) -> float:
    """Core seconds of one piece of work, from doing it several times."""
    started = core_seconds()
    for _ in range(times):
        work()
    return (core_seconds() - started) / times


def interleaved(name: str, ours: Callable[[], object], reference: Callable[[], object], rounds: int, times: int) -> Row:
    """Compare two pieces of work, each done `times` in a row, now the one first and now the other; one round warms up."""
    ours_s, reference_s = [], []
    for number in range(rounds + 1):
        if number % 2:
            ours_s.append(timed(ours, times))
            reference_s.append(timed(reference, times))
        else:
            reference_s.append(timed(reference, times))
            ours_s.append(timed(ours, times))
    return row(name, ours_s[1:], reference_s[1:])


def as_in_a_worker() -> None:
    """One thread, and the allocator's settings of a worker: starts this program anew if they are not in its environment."""
    settings = MALLOC | ONE_THREAD
    if any(os.environ.get(name) != value for name, value in settings.items()):
        os.environ.update(settings)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    torch.set_num_threads(1)
