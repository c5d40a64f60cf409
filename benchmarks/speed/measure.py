"""Compares two pieces of work in alternating rounds, by core time, in the environment of a worker.

Core time is used and not wall time, because the machine may be shared. A ratio is computed for each round, because work on another core
slows both sides of a round equally.
"""

import os
import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

import torch

MALLOC = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**30)}
"""The variables that `orchestrator.execution.ray_tune.environment` sets for workers. glibc reads them when a process starts."""
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""The variable that Ray sets for a worker with one CPU. BLAS reads it when it is loaded."""


@dataclass(frozen=True)
class Row:
    """A comparison of the package's code with the reference."""

    name: str
    ours_s: float
    """Core seconds of the package's code, median over the rounds."""
    reference_s: float
    """Core seconds of the reference, median over the rounds."""
    ratio: float
    """Time of the reference over time of the package's code, median of the rounds' ratios."""
    low: float
    """Lower quartile of the rounds' ratios."""
    high: float
    """Upper quartile of the rounds' ratios."""
    n: int
    """Number of rounds."""


def row(name: str, ours_s: Sequence[float], reference_s: Sequence[float]) -> Row:
    """Returns the comparison of the times of at least two rounds."""
    ratios = [reference / ours for ours, reference in zip(ours_s, reference_s, strict=True)]
    low, middle, high = quantiles(ratios, n=4, method="inclusive")
    return Row(name, median(ours_s), median(reference_s), middle, low, high, len(ratios))


def core_seconds() -> float:
    """Returns the core time so far of this process with all its threads, and of its children that have ended."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def timed(work: Callable[[], object], times: int = 1) -> float:
    """Returns the mean core seconds of a piece of work that is done `times` times."""
    started = core_seconds()
    for _ in range(times):
        work()
    return (core_seconds() - started) / times


def interleaved(name: str, ours: Callable[[], object], reference: Callable[[], object], rounds: int, times: int) -> Row:
    """Compares two pieces of work, each done `times` times a round. The first of a round alternates; an extra round warms up."""
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
    """Sets one thread and a worker's allocator settings. Restarts this program if they are missing from its environment."""
    settings = MALLOC | ONE_THREAD
    if any(os.environ.get(name) != value for name, value in settings.items()):
        os.environ.update(settings)
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    torch.set_num_threads(1)
