"""Measures core seconds and peak memory of the commands that read a ledger, for ledgers of several sizes.

    python -m benchmarks.scale.reading --trials 1000 4000 20000
    python -m benchmarks.scale.reading --trials 1000 4000 --shape cells --commands report export

The results are synthetic and of the usual size: sixty metrics and ten epochs of curves. One trial in 25 has no result, so that `plan` has
something to estimate. The ledger has one of these shapes:

    seeds     cells of four models with ten seeds each
    cells     cells of four models with two seeds each
    search    a search that has proposed cells with two seeds each

`--into` keeps the ledgers, and a later run measures the same ones again.
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
"""One trial in this many has no result."""
MODELS = ["mvae", "mmvae", "mopoe", "mvtcae"]
SEEDS = {"seeds": 10, "cells": 2, "search": 2}
"""Seeds of each cell, by shape of the ledger."""
COMMANDS = ("plan", "status", "report", "export", "track")
EPOCHS = 10
HIGHEST_BETA = 125.0
LAUNCHER = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
"""
"""Runs a command from a small process, because Linux counts the memory of the starting process as the command's."""


@dataclass(frozen=True)
class Cost:
    """The cost of one command."""

    core_seconds: float
    megabytes: float
    """Peak memory."""


def fill(trials: int, shape: str, folder: Path) -> Path:
    """Writes a ledger into `folder` if there is none yet; returns the sweep's file."""
    file = folder / "reading.yaml"
    if file.exists():
        return file
    raw = _raw(trials, shape, folder)
    spec, ledger = sweep_file.parse(raw), Ledger(folder / "runs")
    with patch("os.fsync"):  # saves time; a benchmark's ledger need not survive a power loss
        if spec.search is not None:
            _propose(spec, folder / "runs")
        for number, trial in enumerate(resolve(spec, folder / "runs").trials):
            if number % MISSING:
                attempt = ledger.begin(trial)
                ledger.record(traded_off(trial))
                ledger.end_attempt(trial, attempt, "completed")
    file.write_text(yaml.safe_dump(raw), encoding="utf-8")
    return file


def _raw(trials: int, shape: str, folder: Path) -> dict[str, Any]:
    """Returns the sweep file's content."""
    cells = trials // SEEDS[shape]
    common: dict[str, Any] = {"name": "reading", "seeds": SEEDS[shape], "storage": str(folder / "runs")}
    base = {"dataset": "mnist_svhn_text", "networks": "small", "epochs": EPOCHS}
    if shape == "search":
        space = {"model": MODELS, "beta": {"low": 0.5, "high": HIGHEST_BETA, "log": True}}
        return {**common, "base": base, "search": {"space": space, "cells": cells, "sampler": "random"}}
    step = HIGHEST_BETA / (cells // len(MODELS))
    betas = [0.5 + step * number for number in range(cells // len(MODELS))]
    return {**common, "base": base, "grid": {"model": MODELS, "beta": betas}}


def _propose(spec: SweepSpec, storage: Path) -> None:
    """Proposes the cells of a search, as the driver does."""
    assert spec.search is not None
    proposals, rng = Proposals(storage, spec.name), Random(0)
    for number in range(spec.search.cells):
        fields = {"model": rng.choice(MODELS), "beta": round(rng.uniform(0.5, HIGHEST_BETA), 4)}
        drawn, distributions = of_fields(Space(spec.search), fields)
        proposals.add(Proposal(number, spec.cell_of(fields).id, fields, drawn, distributions, {}))


def traded_off(trial: Trial) -> TrialResult:
    """Returns a synthetic result: coherence rises and likelihood falls with beta. If all cells tied, all would be on the front."""
    result, rng = made_up(trial), Random(trial.id)
    beta, model = trial.config.beta / HIGHEST_BETA, MODELS.index(trial.config.model) / 10
    joint = {
        "coherence/joint": 0.3 + 0.4 * beta + 0.3 * model + rng.gauss(0, 0.03),
        "log_likelihood/joint": -1900 - 300 * beta**2 - 100 * model + rng.gauss(0, 15),
    }
    metrics = (replace(m, value=joint.get(m.name, 0.5 + 0.3 * beta + rng.gauss(0, 0.05))) for m in result.metrics)
    return replace(result, metrics=tuple(metrics))


def measured(command: str, file: Path) -> Cost:
    """Runs one command in a separate process; returns its cost."""
    if command == "track":  # into an empty store
        for path in (file.parent / "runs").glob("ml*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    words = [sys.executable, "-c", LAUNCHER, sys.executable, "-m", "orchestrator", command, str(file)]
    completed = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    core_seconds, peak_kilobytes = completed.stdout.split()
    return Cost(float(core_seconds), int(peak_kilobytes) / 1024)


def line(cells: Sequence[str]) -> str:
    """Returns a row of the table."""
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Writes the ledgers, measures the commands, and prints a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[1_000, 4_000, 20_000])
    parser.add_argument("--shape", choices=list(SEEDS), default="seeds")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--into", type=Path, help="folder that keeps the ledgers")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        print(line(["shape", "command", "trials", "core seconds", "ms a trial", "peak MB", "kB a trial"]), flush=True)
        for command in arguments.commands:
            for trials in arguments.trials:
                file = fill(trials, arguments.shape, Path(arguments.into or scratch).absolute() / f"{arguments.shape}-{trials}")
                cost = measured(command, file)
                time_cells = [f"{cost.core_seconds:.1f}", f"{1000 * cost.core_seconds / trials:.1f}"]
                memory_cells = [f"{cost.megabytes:.0f}", f"{1024 * cost.megabytes / trials:.0f}"]
                print(line([arguments.shape, command, str(trials), *time_cells, *memory_cells]), flush=True)


if __name__ == "__main__":
    main()
