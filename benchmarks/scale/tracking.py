"""MLflow's share of a trial: `python -m benchmarks.scale.tracking --trials 10000`.

A ledger of trials that have ended (60 metrics, 3 epochs of 8 values, a small checkpoint) is projected into a SQLite store:

    first      all runs are made, as by a sweep whose trials are over before MLflow is heard of
    again      the same command with nothing new
    look       `track`: every run is looked at
    one more   one trial has ended since

with milliseconds a trial by part, and how the process has grown. `--against FILE` takes turns with another version of
`orchestrator/tracking.py`, each round with new experiments; and there `live` is a driver that tells of each beginning, epoch and end,
each written before the next.
"""

import argparse
import importlib.util
import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

from mlflow import MlflowClient

from mopoe_core.metric_names import UNITS, Epoch, Metric
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.sweep_file import parse
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial
from orchestrator.tracking.mlflow import projection, run_files

SEEDS, METRICS, EPOCHS, VALUES = 5, 60, 3, 8
CHECKPOINT = bytes(20_000)
PARTS = {
    MlflowClient: ("create_run", "log_batch", "set_terminated", "update_run", "search_runs", "log_artifact", "log_artifacts"),
    Ledger: ("stamp", "state", "result", "started_ms", "ended_ms"),
    run_files: ("put",),
}


def spec(name: str, count: int) -> SweepSpec:
    """A sweep of that many trials, five a cell."""
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
    """The trial has ended."""
    number, at_ms = ledger.begin(trial), int(time.time() * 1000)
    values = {f"train/value_{n}": 1.5 * n + trial.seed for n in range(VALUES)}
    history = tuple(Epoch(n, at_ms + 1000 * n, values) for n in range(1, 1 + EPOCHS))
    metrics = tuple(
        Metric(f"probe/of_{n}", "probe", f"of_{n}", "", n / 7 + trial.seed, 0.01, 100, UNITS["probe"]) for n in range(METRICS)
    )
    ledger.checkpoint(trial).write_bytes(CHECKPOINT)
    ledger.record(TrialResult(trial, "completed", metrics, history, None, 3.0, 1.0, number, {"commit": "abc"}))


def summaries(module: ModuleType, every: Sequence[Trial]) -> list[Any]:
    """A cell's numbers, made up."""
    values = {f"probe/of_{n}": {"mean": n / 7, "sd": 0.1, "low": 0.0, "high": 1.0} for n in range(METRICS)}
    return [module.CellSummary(cell, SEEDS, SEEDS, values) for cell in {trial.cell: None for trial in every}]


def project(module: ModuleType, of: SweepSpec, every: Sequence[Trial], ledger: Ledger, uri: str, **more: bool) -> float:
    """Seconds of a driver that says that all have ended, and closes."""
    started = time.perf_counter()
    tracker = module.Tracker(of, every, ledger, uri, "abc", **more)
    tracker.close(summaries(module, every))
    assert not tracker.problems, tracker.problems
    return time.perf_counter() - started


def live(module: ModuleType, of: SweepSpec, every: Sequence[Trial], ledger: Ledger, uri: str) -> float:
    """Core seconds of a driver that hears of each beginning, each epoch and each end, when the last has been written."""
    started = time.process_time()
    tracker = module.Tracker(of, every, ledger, uri, "abc")
    for trial in every:
        for tell in calls(tracker, ledger, trial):
            tell()
            wait_until_written(tracker)
    tracker.close(summaries(module, every))
    assert not tracker.problems, tracker.problems
    return time.process_time() - started


def calls(tracker: Any, ledger: Ledger, trial: Trial) -> list[Callable[[], None]]:
    """What a driver tells of a trial that completes."""
    result = ledger.result(trial)
    epochs = [partial(tracker.epoch, trial.id, epoch) for epoch in result.history] if result else []
    return [partial(tracker.begun, trial.id), *epochs, partial(tracker.changed, trial.id)]


def wait_until_written(tracker: Any) -> None:
    """Until the thread waits for the next event: it uses no core time then."""
    before = None
    while not tracker._queue.empty() or before != (before := round(time.process_time() - time.thread_time(), 3)):
        time.sleep(0.02)


@contextmanager
def timed_parts() -> Iterator[dict[str, float]]:
    """Seconds in each part, while inside."""
    spent: dict[str, float] = {}
    originals = [(owner, name, getattr(owner, name)) for owner, names in PARTS.items() for name in names]

    def timed(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(work)
        def run(*arguments: Any, **more: Any) -> Any:
            started = time.perf_counter()
            try:
                return work(*arguments, **more)
            finally:
                spent[name] = spent.get(name, 0.0) + time.perf_counter() - started

        return run

    for owner, name, work in originals:
        setattr(owner, name, timed(name, work))
    try:
        yield spent
    finally:
        for owner, name, work in originals:
            setattr(owner, name, work)


def peak_mb() -> float:
    """Of the process, so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(name: str, count: int, work: Callable[[], float]) -> None:
    """Print what a piece of work took, a trial and by part."""
    before, cpu = peak_mb(), time.process_time()
    with timed_parts() as spent:
        seconds = work()
    cpu = time.process_time() - cpu
    parts = {part: round(used / count * 1000, 2) for part, used in sorted(spent.items(), key=lambda item: -item[1])}
    a_trial = {"ms": round(seconds / count * 1000, 2), "core_ms": round(cpu / count * 1000, 2), "parts_ms": parts}
    found = {"what": name, "trials": count, "seconds": round(seconds, 2), "a_trial": a_trial}
    print(json.dumps(found | {"peak_grew_mb": round(peak_mb() - before)}), flush=True)


def at_scale(folder: Path, count: int) -> None:
    """The four commands on one sweep."""
    of, ledger, uri = spec("scale", count), Ledger(folder), f"sqlite:///{folder / 'mlflow.db'}"
    every = of.trials
    for trial in every[:-1]:
        record(ledger, trial)
    measure("first", count, lambda: project(projection, of, every, ledger, uri))
    measure("again", count, lambda: project(projection, of, every, ledger, uri))
    measure("look", count, lambda: project(projection, of, every, ledger, uri, look=True))
    record(ledger, every[-1])
    measure("one more", count, lambda: project(projection, of, every, ledger, uri))


def against(folder: Path, count: int, reference: Path, rounds: int) -> None:
    """Both versions in turn; the first round warms up."""
    loaded = importlib.util.spec_from_file_location("reference_tracking", reference)
    assert loaded is not None
    assert loaded.loader is not None
    other = importlib.util.module_from_spec(loaded)
    loaded.loader.exec_module(other)
    ledger, every = Ledger(folder), spec("any", count).trials
    for trial in every:
        record(ledger, trial)
    for module in (projection, other):
        module.BATCH_SECONDS = 0.0  # type: ignore[attr-defined]
    ratios: dict[str, list[float]] = {"live, core": [], "first": [], "again": []}
    for number in range(rounds + 1):
        seconds: dict[tuple[str, str], float] = {}
        sides = [("ours", projection), ("theirs", other)]
        for side, module in sides[:: 1 if number % 2 else -1]:
            of, uri = spec(f"{side}_{number}", count), f"sqlite:///{folder / f'{side}.db'}"
            seconds["live, core", side] = live(module, spec(f"{side}_{number}_live", count), every, ledger, uri)
            for what in ("first", "again"):
                seconds[what, side] = project(module, of, every, ledger, uri)
        for what in ratios:
            ours, theirs = seconds[what, "ours"] / count * 1000, seconds[what, "theirs"] / count * 1000
            print(f"round {number} {what}: {ours:.2f} and {theirs:.2f} ms a trial", flush=True)
            ratios[what] += [theirs / ours] if number else []
    print({what: round(median(found), 2) for what, found in ratios.items()})


def main() -> None:
    """Print the measurements."""
    parser = argparse.ArgumentParser(description="MLflow's share of a trial.")
    parser.add_argument("--trials", type=int, default=1000, help=f"a multiple of {SEEDS}")
    parser.add_argument("--against", type=Path, help="another version of orchestrator/tracking.py, to take turns with")
    parser.add_argument("--rounds", type=int, default=3, help="of these turns")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if asked.against:
            against(Path(scratch), asked.trials, asked.against, asked.rounds)
        else:
            at_scale(Path(scratch), asked.trials)


if __name__ == "__main__":
    main()
