"""Measures the time that MLflow takes for each trial: `python -m benchmarks.scale.tracking --trials 10000`.

A ledger of trials that have ended (60 metrics, 3 epochs of 8 values, a small checkpoint) is written to MLflow's SQLite store:

    first      all runs are created
    again      the same command, with nothing new
    look       `track`: every run is checked
    one more   one more trial has ended

For each, prints the milliseconds for each trial by part, and the growth of the process's memory.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from mopoe_core.metric_names import UNITS, Epoch, Metric
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.sweep_file import parse
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial
from orchestrator.tracking.mlflow import run_files
from orchestrator.tracking.mlflow.connection import start_writer
from orchestrator.tracking.summaries import CellSummary

SEEDS, METRICS, EPOCHS, VALUES = 5, 60, 3, 8
CHECKPOINT = bytes(20_000)
PARTS = {
    MlflowClient: ("create_run", "log_batch", "set_terminated", "update_run", "search_runs", "log_artifact", "log_artifacts"),
    Ledger: ("stamp", "state", "result", "started_ms", "ended_ms"),
    run_files: ("put",),
}


def spec(name: str, count: int) -> SweepSpec:
    """Returns a sweep of `count` trials, with five seeds for each cell."""
    betas = [1 + number / 1000 for number in range(count // SEEDS)]
    raw = {
        "name": name,
        "base": {"dataset": "mnist_svhn_text", "networks": "small", "model": "mopoe"},
        "grid": {"beta": betas},
        "seeds": SEEDS,
        "objectives": [{"metric": "coherence/joint", "goal": "max"}, {"metric": "log_likelihood/joint", "goal": "max"}],
    }
    return parse(raw)


def record(ledger: Ledger, trial: Trial) -> None:
    """Records a synthetic result of a trial."""
    number, at_ms = ledger.begin(trial), int(time.time() * 1000)
    values = {f"train/value_{n}": 1.5 * n + trial.seed for n in range(VALUES)}
    history = tuple(Epoch(n, at_ms + 1000 * n, values) for n in range(1, 1 + EPOCHS))
    metrics = tuple(
        Metric(f"probe/of_{n}", "probe", f"of_{n}", "", n / 7 + trial.seed, 0.01, 100, UNITS["probe"]) for n in range(METRICS)
    )
    ledger.checkpoint(trial).write_bytes(CHECKPOINT)
    ledger.record(TrialResult(trial, "completed", metrics, history, None, 3.0, 1.0, number, {"commit": "abc"}))


def summaries(trials: Sequence[Trial]) -> list[CellSummary]:
    """Returns synthetic summaries of all cells."""
    values = {f"probe/of_{n}": {"mean": n / 7, "sd": 0.1, "low": 0.0, "high": 1.0} for n in range(METRICS)}
    return [CellSummary(cell, SEEDS, SEEDS, values) for cell in {trial.cell: None for trial in trials}]


def project(sweep: SweepSpec, ledger: Ledger, uri: str, look: bool = False) -> float:
    """Writes the whole ledger to MLflow, as a driver does; returns the seconds."""
    started = time.perf_counter()
    tracker = start_writer(sweep.name, sweep.trials, ledger, uri, "abc", look=look)
    tracker.close(summaries(sweep.trials))
    assert not tracker.problems, tracker.problems
    return time.perf_counter() - started


@contextmanager
def timed_parts() -> Iterator[dict[str, float]]:
    """Yields the seconds spent in each of `PARTS`, which grow while the context is active."""
    seconds: dict[str, float] = {}
    originals = [(owner, name, getattr(owner, name)) for owner, names in PARTS.items() for name in names]

    def timed(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(work)
        def run(*arguments: Any, **named: Any) -> Any:
            started = time.perf_counter()
            try:
                return work(*arguments, **named)
            finally:
                seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - started

        return run

    for owner, name, work in originals:
        setattr(owner, name, timed(name, work))
    try:
        yield seconds
    finally:
        for owner, name, work in originals:
            setattr(owner, name, work)


def peak_mb() -> float:
    """Returns the peak memory of the process so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(name: str, count: int, work: Callable[[], float]) -> None:
    """Does some work and prints its cost as JSON, with the milliseconds for each trial by part."""
    peak_before, cpu_before = peak_mb(), time.process_time()
    with timed_parts() as seconds_by_part:
        seconds = work()
    cpu = time.process_time() - cpu_before
    by_time = sorted(seconds_by_part.items(), key=lambda item: -item[1])
    per_trial = {
        "ms": round(seconds / count * 1000, 2),
        "core_ms": round(cpu / count * 1000, 2),
        "parts_ms": {part: round(part_seconds / count * 1000, 2) for part, part_seconds in by_time},
    }
    growth = round(peak_mb() - peak_before)
    row = {"what": name, "trials": count, "seconds": round(seconds, 2), "a_trial": per_trial, "peak_grew_mb": growth}
    print(json.dumps(row), flush=True)


def at_scale(folder: Path, count: int) -> None:
    """Measures the four cases on one sweep."""
    sweep, ledger, uri = spec("scale", count), Ledger(folder), f"sqlite:///{folder / 'mlflow.db'}"
    for trial in sweep.trials[:-1]:
        record(ledger, trial)
    measure("first", count, lambda: project(sweep, ledger, uri))
    measure("again", count, lambda: project(sweep, ledger, uri))
    measure("look", count, lambda: project(sweep, ledger, uri, look=True))
    record(ledger, sweep.trials[-1])
    measure("one more", count, lambda: project(sweep, ledger, uri))


def main() -> None:
    """Prints the measurements."""
    parser = argparse.ArgumentParser(description="The time that MLflow takes for each trial.")
    parser.add_argument("--trials", type=int, default=1000, help=f"a multiple of {SEEDS}")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        at_scale(Path(scratch), arguments.trials)


if __name__ == "__main__":
    main()
