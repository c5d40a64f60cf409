"""Whole sweeps: `python -m benchmarks.speed.sweeps`.

    sweep/18 trials           `python -m orchestrator sweep` of a short quickstart, everything in it from start to report, against a pool
                              of processes that runs the reference-style trials one after another; seconds on the clock, all cores
    overhead/instant trial    what a trial costs that is neither training nor evaluation: from sweeps of few and of many trials of a
                              fraction of a second, so that what a sweep costs once drops out; workers' seconds on the clock

Data and classifiers are there before either side starts.
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

from benchmarks.reference.trial import plain_trials
from mopoe_core.data.loading import load
from mopoe_core.data.own import user_data
from mopoe_core.metrics.classifiers import trained_classifiers
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.sweep_file import parse

ROOT = Path(__file__).parents[2]
QUICK = {"epochs": 1, "test_examples": 500}
"""What is changed of the quickstart: one epoch of 250 steps in place of eight."""
BETAS = [0.5, 2.5, 10]
"""Three in place of the quickstart's two: 18 trials."""
INSTANT = {
    "base": {"dataset": "examples/tabular.py:tumours", "latent_dim": 4, "batch_size": 50, "epochs": 1, "model": "mopoe"},
    "objectives": [{"metric": "coherence/given_1", "goal": "max"}, {"metric": "log_likelihood/joint", "goal": "max"}],
}
FEW, MANY = 20, 80


@dataclass(frozen=True)
class Swept:
    """A sweep that has run to its end."""

    seconds: float
    """On the clock, of the whole command."""
    results: tuple[TrialResult, ...]

    @property
    def busy_seconds(self) -> float:
        """Spent on training and evaluation, over all trials."""
        return sum(result.train_seconds + result.evaluate_seconds for result in self.results)


@dataclass(frozen=True)
class Row:
    """One measurement by the clock."""

    name: str
    seconds: float
    reference_s: float | None
    """Of a plain loop over the reference's trials, where there is one."""
    ratio: float | None
    """Reference over ours."""


def whole(data: Path, folder: Path) -> Iterator[Row]:
    """The short quickstart, one trial a worker and stacked as `auto` chooses, and by a plain loop."""
    raw = yaml.safe_load((ROOT / "sweeps" / "quickstart.yaml").read_text(encoding="utf-8"))
    raw["base"] |= QUICK
    raw["grid"]["beta"] = BETAS
    every = parse(raw).trials
    config = every[0].config
    trained_classifiers(load(config.data_key, data), folder / "classifiers", torch.device("cpu"))
    started = time.perf_counter()
    plain_trials([(trial.config, trial.seed) for trial in every], data, folder / "classifiers")
    reference_s = time.perf_counter() - started
    for stack in (1, "auto"):
        storage = folder / f"stack_{stack}"
        storage.mkdir()
        (storage / "classifiers").symlink_to(folder / "classifiers")
        resources = {"data": str(data.absolute()), "stack": stack}
        ours = swept(raw | {"name": "short", "storage": str(storage), "resources": resources}, storage)
        yield Row(f"sweep of {len(every)} trials, stack: {stack}", ours.seconds, reference_s, reference_s / ours.seconds)


def overhead(data: Path, folder: Path) -> Row:
    """Seconds of a worker that a further trial costs beside its training and evaluation."""
    user_data.search_from(ROOT)
    raw = {**INSTANT, "resources": {"data": str(data.absolute())}, "storage": str(folder)}
    swept({**raw, "name": "first", "seeds": 1}, folder)  # data, classifiers
    few = swept({**raw, "name": "few", "seeds": list(range(1, 1 + FEW))}, folder)
    many = swept({**raw, "name": "many", "seeds": list(range(1 + FEW, 1 + FEW + MANY))}, folder)
    cores = os.cpu_count() or 1
    seconds = ((many.seconds - few.seconds) * cores - (many.busy_seconds - few.busy_seconds)) / (MANY - FEW)
    return Row("overhead of an instant trial", seconds, None, None)


def swept(raw: dict[str, Any], folder: Path) -> Swept:
    """Run a sweep as a user does."""
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
    """Every measurement of this module, as it comes."""
    yield overhead(data, folder / "instant")
    yield from whole(data, folder / "whole")


def main() -> None:
    """Print the measurements."""
    parser = argparse.ArgumentParser(description="Whole sweeps.")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of datasets")
    asked = parser.parse_args()
    with TemporaryDirectory() as scratch:
        for row in rows(asked.data, Path(scratch)):
            print(row, flush=True)


if __name__ == "__main__":
    main()
