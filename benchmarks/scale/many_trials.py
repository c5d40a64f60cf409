"""Measures what a trial costs besides training and evaluation, and whether this grows, with trials that take no time.

    python -m benchmarks.scale.many_trials --trials 10000

Specification, plan, Ray Tune, leases, ledger, MLflow and report are the real ones. An attempt does not train: it records a synthetic
result with three epochs of curves and sixty metrics.
"""

import argparse
import os
import resource
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mopoe_core.metric_names import UNITS, Epoch, Metric
from orchestrator.driver import sweep
from orchestrator.execution.events import EpochsEnded, TrialEnded, TrialsBegun
from orchestrator.execution.queue.job import Job, WorkerContext
from orchestrator.execution.ray_tune import tuner, worker
from orchestrator.execution.ray_tune.worker import JobEnded, Messages
from orchestrator.ledger.leases.lease import Lease
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.spec import sweep_file
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial

EPOCHS, CURVES, METRICS = 3, 8, 60
SAMPLING_SECONDS = 10.0
"""Seconds between two samples of the driver."""


class Instant(worker.Worker):
    """A worker whose attempts record synthetic results."""

    @staticmethod
    def _attempt(config: dict[str, Any], context: WorkerContext, messages: Messages) -> None:
        ledger = Ledger(context.storage)
        with Lease(ledger.storage, context.driver) as lease:
            for trial in Job(**config["job"]).trials:
                assert lease.claim(ledger.folder(trial)) is None
                attempt = ledger.begin(trial)
                messages.put(TrialsBegun({trial.id: attempt}, lease.holder.token))
                result = made_up(trial)
                for epoch in result.history:
                    messages.put(EpochsEnded({trial.id: epoch}))
                ledger.record(result)
                ledger.end_attempt(trial, attempt, result.status)
                messages.put(TrialEnded(trial.id, result.status))
        messages.put(JobEnded())


def made_up(trial: Trial) -> TrialResult:
    """Returns a synthetic result of the usual size."""
    now, value = int(time.time() * 1000), trial.seed % 97
    names = ["train/loss", "train/seconds", *(f"train/part{i}" for i in range(CURVES - 2))]
    history = tuple(Epoch(e, now + e, {name: value + 1.0 / e for name in names}) for e in range(1, trial.config.epochs + 1))
    objectives = ("coherence/joint", "log_likelihood/joint")
    others = [f"coherence/given_{i}" for i in range(METRICS - len(objectives))]
    metrics = tuple(_metric(name, value / 97) for name in (*objectives, *others))
    return TrialResult(trial, "completed", metrics, history, None, 0.0, 0.0, 1, {"commit": "made up"})


def _metric(name: str, value: float) -> Metric:
    kind, _, subset = name.partition("/")
    return Metric(name, kind, subset, "", value, 0.01, 100, UNITS[kind])


@dataclass
class Watch:
    """Samples the driver while it runs."""

    storage: Path
    rows: list[tuple[float, int, float]] = field(default_factory=list)
    """Seconds since the start, trials that have ended, and the driver's memory in megabytes."""

    @contextmanager
    def active(self) -> Iterator[None]:
        """Samples from a separate thread while the context is active."""
        stop, started = threading.Event(), time.monotonic()

        def sample() -> None:
            while not stop.wait(SAMPLING_SECONDS):
                ended = sum(1 for _ in self.storage.glob("trials/*/result.json"))
                self.rows.append((time.monotonic() - started, ended, megabytes()))

        thread = threading.Thread(target=sample, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def megabytes() -> float:
    """Returns the memory of this process now, in megabytes."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


def _spec(trials: int) -> SweepSpec:
    """Returns a sweep of that many trials, with 100 seeds for each cell."""
    raw = {
        "name": "scale",
        "base": {"dataset": "mnist_svhn_text", "model": "mopoe", "networks": "small", "epochs": EPOCHS},
        "grid": {"beta": [1.0 + i for i in range(trials // 100)]},
        "seeds": 100,
    }
    return sweep_file.parse(raw)


def _print_samples(watch: Watch, trials: int) -> None:
    for seconds, ended, memory_mb in watch.rows:
        print(f"{seconds:7.0f} s  {ended:6d} ended  {memory_mb:6.0f} MB")
    busy = [row for row in watch.rows if 0 < row[1] < trials]
    (start, first_ended, _), (end, last_ended, _) = busy[0], busy[-1]
    if last_ended > first_ended:
        print(f"{1000 * (end - start) / (last_ended - first_ended):.0f} ms a trial on the clock while trials ran")


def main() -> None:
    """Runs the sweep twice and prints the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    trials = parser.parse_args().trials
    os.environ["PYTHONPATH"] = os.getcwd()  # workers import this file
    worker.Worker = Instant  # type: ignore[misc]
    tuner.prepare = lambda *arguments: None  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as folder:
        storage, spec = Path(folder), _spec(trials)
        watch = Watch(storage)
        with watch.active():
            first = sweep.run(spec, "", storage, "benchmark")
        again = sweep.run(spec, "", storage, "benchmark")
        size = sum(path.stat().st_size for path in storage.rglob("*") if path.is_file())
    _print_samples(watch, trials)
    print(f"{first.seconds:.0f} s the whole command, {1000 * first.seconds / trials:.0f} ms a trial; {first.ran} ran")
    print(f"{again.seconds:.0f} s the same command again; {again.ran} ran; MLflow problems: {len(first.tracking_problems)}")
    print(f"{size / trials / 1000:.0f} kB a trial in storage")


if __name__ == "__main__":
    main()
