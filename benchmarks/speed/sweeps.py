"""Measures whole sweeps: `python -m benchmarks.speed.sweeps`.

    sweep of 18 trials              `python -m orchestrator sweep` of a short quickstart, from start to report, against a pool of
                                    processes that runs the reference's trials; wall time with all cores
    overhead of an instant trial    a trial's cost besides training and evaluation, from sweeps of few and of many trials of a
                                    fraction of a second, so that the fixed cost of a sweep cancels; wall time of a worker

Both sides start with prepared data and classifiers.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import yaml

from benchmarks.arguments import add_data
from benchmarks.reference.trial import plain_trials
from mopoe_core.data.loading import load
from mopoe_core.data.own import user_data
from mopoe_core.metrics.classifiers import trained_classifiers
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.sweep_file import parse

ROOT = Path(__file__).parents[2]
QUICK = {"epochs": 1, "test_examples": 500}
"""Fields that shorten the quickstart: one epoch of 250 steps instead of eight."""
BETAS = [0.5, 2.5, 10]
"""Three betas instead of the quickstart's two, which gives 18 trials."""
INSTANT = {
    "base": {"dataset": "examples/tabular.py:tumours", "latent_dim": 4, "batch_size": 50, "epochs": 1, "model": "mopoe"},
    "objectives": [{"metric": "coherence/given_1", "goal": "max"}, {"metric": "log_likelihood/joint", "goal": "max"}],
}
FEW, MANY = 20, 80
"""Trials of the two sweeps from whose difference the overhead is computed."""


@dataclass(frozen=True)
class Swept:
    """A sweep that has run to its end."""

    seconds: float
    """Wall time of the whole command."""
    results: tuple[TrialResult, ...]

    @property
    def busy_seconds(self) -> float:
        """Seconds of training and evaluation, over all trials."""
        return sum(result.train_seconds + result.evaluate_seconds for result in self.results)


@dataclass(frozen=True)
class Row:
    """One measurement, in wall time."""

    name: str
    seconds: float
    reference_s: float | None
    """Seconds of the reference's trials; None if there is no reference."""
    ratio: float | None
    """`reference_s` over `seconds`."""


def whole(data: Path, folder: Path) -> Iterator[Row]:
    """Compares the short quickstart, with and without stacks, with the reference's trials."""
    raw = yaml.safe_load((ROOT / "sweeps" / "quickstart.yaml").read_text(encoding="utf-8"))
    raw["base"] |= QUICK
    raw["grid"]["beta"] = BETAS
    trials = parse(raw).trials
    config = trials[0].config
    trained_classifiers(load(config.data_key, data), folder / "classifiers", torch.device("cpu"))
    started = time.perf_counter()
    plain_trials([(trial.config, trial.seed) for trial in trials], data, folder / "classifiers")
    reference_s = time.perf_counter() - started
    for stack in (1, "auto"):
        storage = folder / f"stack_{stack}"
        storage.mkdir()
        (storage / "classifiers").symlink_to(folder / "classifiers")
        resources = {"data": str(data.absolute()), "stack": stack}
        ours = swept(raw | {"name": "short", "storage": str(storage), "resources": resources}, storage)
        yield Row(f"sweep of {len(trials)} trials, stack: {stack}", ours.seconds, reference_s, reference_s / ours.seconds)


def overhead(data: Path, folder: Path) -> Row:
    """Returns the seconds of a worker that each further trial costs besides its training and evaluation."""
    user_data.search_from(ROOT)
    raw = {**INSTANT, "resources": {"data": str(data.absolute())}, "storage": str(folder)}
    swept({**raw, "name": "first", "seeds": 1}, folder)  # prepares data and classifiers
    few = swept({**raw, "name": "few", "seeds": list(range(1, 1 + FEW))}, folder)
    many = swept({**raw, "name": "many", "seeds": list(range(1 + FEW, 1 + FEW + MANY))}, folder)
    cores = os.cpu_count() or 1
    seconds = ((many.seconds - few.seconds) * cores - (many.busy_seconds - few.busy_seconds)) / (MANY - FEW)
    return Row("overhead of an instant trial", seconds, None, None)


def swept(raw: dict[str, Any], folder: Path) -> Swept:
    """Runs a sweep as a user does; returns its time and results."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{raw['name']}.yaml"
    path.write_text(yaml.safe_dump(raw), encoding="utf-8")
    command: Sequence[str] = [sys.executable, "-m", "orchestrator", "sweep", str(path)]
    started = time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - started
    ledger = Ledger(folder)
    results = (ledger.result(trial) for trial in parse(raw).trials)
    return Swept(seconds, tuple(result for result in results if result is not None))


def rows(data: Path, folder: Path) -> Iterator[Row]:
    """Yields every measurement of this module."""
    yield overhead(data, folder / "instant")
    yield from whole(data, folder / "whole")


def main() -> None:
    """Prints the measurements."""
    parser = argparse.ArgumentParser(description="Measures whole sweeps.")
    add_data(parser)
    arguments = parser.parse_args()
    with TemporaryDirectory() as scratch:
        for row in rows(arguments.data, Path(scratch)):
            print(row, flush=True)


if __name__ == "__main__":
    main()
