"""How long the commands take that read a large ledger: one of made-up results of the usual size, of which a few are missing.

python -m benchmarks.reading --trials 5000
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from random import Random
from unittest.mock import patch

import yaml

from benchmarks.scale import made_up
from orchestrator import spec as specs
from orchestrator.ledger import Ledger
from orchestrator.trial import Trial, TrialResult

SEEDS = 10
MISSING = 25
"""One trial in so many is left out, so that `plan` has something to estimate."""
MODELS = ["mvae", "mmvae", "mopoe", "mvtcae"]
COMMANDS = (["plan"], ["status"], ["status", "--trials"], ["report"])


def fill(trials: int, folder: Path) -> Path:
    """Make a ledger in `folder`, and return the sweep's file."""
    betas = [0.5 + place for place in range(trials // (SEEDS * len(MODELS)))]
    raw = {
        "name": "reading",
        "base": {"dataset": "mnist_svhn_text", "networks": "small", "epochs": 3},
        "grid": {"model": MODELS, "beta": betas},
        "seeds": SEEDS,
        "storage": str(folder / "runs"),
    }
    file, ledger = folder / "reading.yaml", Ledger(folder / "runs")
    file.write_text(yaml.safe_dump(raw), encoding="utf-8")
    with patch("os.fsync"):  # a machine that goes down here costs nobody anything
        for place, trial in enumerate(specs.trials(specs.parse(raw))):
            if place % MISSING:
                attempt = ledger.begin(trial)
                ledger.record(traded_off(trial))
                ledger.end_attempt(trial, attempt, "completed")
    return file


def traded_off(trial: Trial) -> TrialResult:
    """A made-up result in which coherence rises and likelihood falls with beta: if all cells tied, all would be on the front."""
    result, chance = made_up(trial), Random(trial.id)
    place, model = trial.config.beta / 125, MODELS.index(trial.config.model) / 10
    joint = {
        "coherence/joint": 0.3 + 0.4 * place + 0.3 * model + chance.gauss(0, 0.03),
        "log_likelihood/joint": -1900 - 300 * place**2 - 100 * model + chance.gauss(0, 15),
    }
    metrics = (replace(m, value=joint.get(m.name, 0.5 + 0.3 * place + chance.gauss(0, 0.05))) for m in result.metrics)
    return replace(result, metrics=tuple(metrics))


def timed(words: list[str], file: Path) -> tuple[float, float]:
    """Seconds on the clock, and of the processor, of one command."""
    before, started = _cpu(), time.perf_counter()
    command = [sys.executable, "-m", "orchestrator", words[0], str(file), *words[1:]]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": os.getcwd()})
    return time.perf_counter() - started, _cpu() - before


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Make the ledger, and time the commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=5_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = fill(asked.trials, Path(folder))
        for words in COMMANDS:
            clock, cpu = timed(words, file)
            print(f"{' '.join(words):<16}  {clock:6.1f} s on the clock, {cpu:6.1f} s of a core", flush=True)


if __name__ == "__main__":
    main()
