"""Core seconds and peak memory of the commands that read a large ledger, for ledgers of several sizes.

    python -m benchmarks.scale.reading --trials 1000 4000 20000
    python -m benchmarks.scale.reading --trials 1000 4000 --shape cells --commands report export

Results are made up, of the usual size: sixty metrics and ten epochs of curves. One trial in 25 is missing, so that `plan` has something
to estimate. The ledger has one of these shapes:

    seeds     cells of four models with ten seeds each
    cells     cells of four models with two seeds each
    search    a search that has proposed cells with two seeds each

`--into` keeps the ledgers, and a later call measures the same ones again.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import yaml

from benchmarks.scale.many_trials import made_up
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.proposals import Proposal, Proposals, resolve
from orchestrator.ledger.result import TrialResult
from orchestrator.search.distributions import of_fields
from orchestrator.spec import sweep_file
from orchestrator.spec.search_space import Space
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial

MISSING = 25
"""One trial in so many is left out."""
MODELS = ["mvae", "mmvae", "mopoe", "mvtcae"]
SEEDS = {"seeds": 10, "cells": 2, "search": 2}
"""Seeds a cell, by shape."""
COMMANDS = ("plan", "status", "report", "export", "track")
EPOCHS = 10
HIGHEST_BETA = 125.0
LAUNCHER = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
"""
"""Runs a command from a small process: Linux counts the memory of the process that starts another as the other's."""


@dataclass(frozen=True)
class Cost:
    """What one command took."""

    core_seconds: float
    megabytes: float
    """At the peak."""


def fill(trials: int, shape: str, folder: Path) -> Path:
    """Makes a ledger in `folder`, if there is none, and returns the sweep's file."""
    file = folder / "reading.yaml"
    if file.exists():
        return file
    raw = _raw(trials, shape, folder)
    spec, ledger = sweep_file.parse(raw), Ledger(folder / "runs")
    with patch("os.fsync"):  # it takes time, and nothing is lost here if the machine goes down
        if spec.search is not None:
            _propose(spec, folder / "runs")
        for place, trial in enumerate(resolve(spec, folder / "runs").trials):
            if place % MISSING:
                attempt = ledger.begin(trial)
                ledger.record(traded_off(trial))
                ledger.end_attempt(trial, attempt, "completed")
    file.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return file


def _raw(trials: int, shape: str, folder: Path) -> dict[str, Any]:
    """The sweep file's content."""
    cells = trials // SEEDS[shape]
    common: dict[str, Any] = {"name": "reading", "seeds": SEEDS[shape], "storage": str(folder / "runs")}
    base = {"dataset": "mnist_svhn_text", "networks": "small", "epochs": EPOCHS}
    if shape == "search":
        space = {"model": MODELS, "beta": {"low": 0.5, "high": HIGHEST_BETA, "log": True}}
        return {**common, "base": base, "search": {"space": space, "cells": cells, "sampler": "random"}}
    step = HIGHEST_BETA / (cells // len(MODELS))
    betas = [0.5 + step * place for place in range(cells // len(MODELS))]
    return {**common, "base": base, "grid": {"model": MODELS, "beta": betas}}


def _propose(spec: SweepSpec, storage: Path) -> None:
    """Proposes the cells of a search, as its driver does."""
    assert spec.search is not None
    kept, rng = Proposals(storage, spec.name), Random(0)
    for number in range(spec.search.cells):
        fields = {"model": rng.choice(MODELS), "beta": round(rng.uniform(0.5, HIGHEST_BETA), 4)}
        drawn, distributions = of_fields(Space(spec.search), fields)
        kept.add(Proposal(number, spec.cell_of(fields).id, fields, drawn, distributions, {}))


def traded_off(trial: Trial) -> TrialResult:
    """A made-up result in which coherence rises and likelihood falls with beta: if all cells tied, all would be on the front."""
    result, chance = made_up(trial), Random(trial.id)
    place, model = trial.config.beta / HIGHEST_BETA, MODELS.index(trial.config.model) / 10
    joint = {
        "coherence/joint": 0.3 + 0.4 * place + 0.3 * model + chance.gauss(0, 0.03),
        "log_likelihood/joint": -1900 - 300 * place**2 - 100 * model + chance.gauss(0, 15),
    }
    metrics = (replace(m, value=joint.get(m.name, 0.5 + 0.3 * place + chance.gauss(0, 0.05))) for m in result.metrics)
    return replace(result, metrics=tuple(metrics))


def measured(command: str, file: Path) -> Cost:
    """Runs one command in a process of its own, and returns what it took."""
    if command == "track":  # from nothing
        for path in (file.parent / "runs").glob("ml*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    words = [sys.executable, "-m", "orchestrator", command, str(file)]
    told = subprocess.run([sys.executable, "-c", LAUNCHER, *words], check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    return Cost(float(told[0]), int(told[1]) / 1024)


def line(words: Sequence[str]) -> str:
    """A row of the table."""
    return "| " + " | ".join(words) + " |"


def main() -> None:
    """Make the ledgers, measure the commands, and print a row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[1_000, 4_000, 20_000])
    parser.add_argument("--shape", choices=list(SEEDS), default="seeds")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--into", type=Path, help="folder that keeps the ledgers")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        print(line(["shape", "command", "trials", "core seconds", "ms a trial", "peak MB", "kB a trial"]), flush=True)
        for command in asked.commands:
            for trials in asked.trials:
                file = fill(trials, asked.shape, Path(asked.into or scratch).absolute() / f"{asked.shape}-{trials}")
                cost = measured(command, file)
                spent = [f"{cost.core_seconds:.1f}", f"{1000 * cost.core_seconds / trials:.1f}"]
                held = [f"{cost.megabytes:.0f}", f"{1024 * cost.megabytes / trials:.0f}"]
                print(line([asked.shape, command, str(trials), *spent, *held]), flush=True)


if __name__ == "__main__":
    main()
