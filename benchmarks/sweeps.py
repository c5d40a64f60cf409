"""Whole sweeps: `python -m benchmarks.sweeps`.

    sweep/18 trials           `python -m orchestrator sweep` of a short quickstart, everything in it from start to report, against a pool
                              of processes that runs the reference-style trials one after another; seconds on the clock, all cores
    overhead/instant trial    what a trial costs that is neither training nor evaluation: from sweeps of few and of many trials of a
                              fraction of a second, so that what a sweep costs once drops out; core seconds times cores

Data and classifiers are there before either side starts.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import yaml

from benchmarks.reference_trial import plain_trials
from mopoe_core.classifiers import judges
from mopoe_core.data import own
from mopoe_core.data.loading import load
from orchestrator.ledger import Ledger
from orchestrator.spec import parse, trials
from orchestrator.trial import TrialResult

ROOT = Path(__file__).parent.parent
QUICK = {"epochs": 1, "test_examples": 500}
"""What is changed of the quickstart: one epoch of 250 steps in place of eight."""
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
class Whole:
    """A sweep against a plain loop over the reference's trials."""

    trials: int
    ours_s: float
    reference_s: float

    @property
    def ratio(self) -> float:
        """How many times as fast the sweep is."""
        return self.reference_s / self.ours_s


def whole(data: Path, folder: Path, stack: int | str) -> Whole:
    """The short quickstart both ways."""
    raw = yaml.safe_load((ROOT / "sweeps" / "quickstart.yaml").read_text(encoding="utf-8"))
    raw["base"] |= QUICK
    raw |= {"name": "short", "storage": str(folder), "resources": {"data": str(data.absolute()), "stack": stack}}
    every = trials(parse(raw))
    config = every[0].config
    judges(load(config.data_key, data), folder / "classifiers", torch.device("cpu"))
    ours = swept(raw, folder)
    started = time.perf_counter()
    plain_trials([(trial.config, trial.seed) for trial in every], data, folder / "classifiers")
    return Whole(len(every), ours.seconds, time.perf_counter() - started)


def overhead(data: Path, folder: Path) -> float:
    """Seconds of a core that a further trial costs beside its training and evaluation."""
    own.search_from(ROOT)
    raw = {**INSTANT, "resources": {"data": str(data.absolute())}, "storage": str(folder)}
    swept({**raw, "name": "first", "seeds": 1}, folder)  # data, classifiers
    few = swept({**raw, "name": "few", "seeds": list(range(1, 1 + FEW))}, folder)
    many = swept({**raw, "name": "many", "seeds": list(range(1 + FEW, 1 + FEW + MANY))}, folder)
    cores = os.cpu_count() or 1
    return ((many.seconds - few.seconds) * cores - (many.busy_seconds - few.busy_seconds)) / (MANY - FEW)


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
    results = (ledger.result(trial) for trial in trials(parse(raw)))
    return Swept(seconds, tuple(result for result in results if result is not None))


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description="Whole sweeps.")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of datasets")
    asked = parser.parse_args()
    with TemporaryDirectory() as scratch:
        print(f"overhead/instant trial {overhead(asked.data, Path(scratch) / 'instant') * 1e3:.0f} ms", flush=True)
        for stack in (1, "auto"):
            found = whole(asked.data, Path(scratch) / str(stack), stack)
            times = f"ours {found.ours_s:.0f} s, reference {found.reference_s:.0f} s, ratio {found.ratio:.2f}"
            print(f"sweep/{found.trials} trials, stack {stack}: {times}", flush=True)


if __name__ == "__main__":
    main()
