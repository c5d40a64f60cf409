"""Samplers of a search against random cells, on a problem whose front is known.

    python -m benchmarks.quality.search

Everything is the real thing (sweep file, `SearchEngine`, proposals, ledger, Optuna's journal) but training: a stand-in computes the two
objectives of a cell. It is DTLZ2 with two objectives and five distance variables (Deb, Thiele, Laumanns and Zitzler, Scalable
multi-objective optimization test problems, CEC 2002): with every field scaled to x in [0, 1] over its range,

    g = sum over the five of (x - 1/2)^2,    f1 = (1 + g) cos(pi/2 x_beta),    f2 = (1 + g) sin(pi/2 x_beta),    both to be small;

coherence is 1 - f1, log-likelihood is -1600 - 400 f2. The front is the quarter of the unit circle, at g = 0: every beta, with mopoe and
the other fields in the middle of their ranges. Against the reference f = (1.1, 1.1) its hypervolume is 1.1^2 - pi/4 in units of f.

Each seed adds Gaussian noise, of standard deviation 0.02 in units of f, to either objective. The samplers see the means over seeds; what
is compared is the hypervolume of the true objectives of the cells that they chose.
"""

import argparse
import math
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.speed.measure import as_in_a_worker, core_seconds
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.metric_names import UNITS, Epoch, Metric
from orchestrator.analysis.hypervolume import hypervolume
from orchestrator.analysis.intervals import summary
from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.search.engine import SearchEngine
from orchestrator.spec import sweep_file
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial

SAMPLERS = ("tpe", "nsga2", "nsga3", "qmc")
SLOW = ("gp",)
"""Only when asked for: a proposal takes 0.6 s of core time."""
MODELS = ["mvae", "mopoe", "mmvae"]
SPACE: dict[str, Any] = {
    "beta": {"low": 0.1, "high": 20, "log": True},
    "model": MODELS,
    "latent_dim": {"low": 4, "high": 64},
    "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "weight_decay": {"low": 0, "high": 0.1},
    "missing": {"low": 0, "high": 0.8},
}
NOISE = 0.02
WORST = 1.1
TRUE_HYPERVOLUME = WORST**2 - math.pi / 4
COHERENCE, LIKELIHOOD = "coherence/joint", "log_likelihood/joint"
NATS = 400.0
"""Of log-likelihood, that are one unit of f2."""
BASE = {"dataset": "mnist_svhn_text", "networks": "small", "kl": "sum", "epochs": 1}
IN_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Found:
    """What one search came to."""

    share: float
    """Of the hypervolume of the true front."""
    ask_seconds: float
    """Core seconds a cell, of telling the study, asking it and writing the answer down."""


def places(config: TrainingConfig) -> dict[str, float]:
    """Each searched field within its range, from 0 to 1."""
    found = {}
    for field, dimension in SPACE.items():
        value = getattr(config, field)
        if isinstance(dimension, list):
            found[field] = dimension.index(value) / (len(dimension) - 1)
        elif dimension.get("log"):
            found[field] = math.log(value / dimension["low"]) / math.log(dimension["high"] / dimension["low"])
        else:
            found[field] = (value - dimension["low"]) / (dimension["high"] - dimension["low"])
    return found


def truth(config: TrainingConfig) -> tuple[float, float]:
    """Coherence and log-likelihood without noise."""
    x = places(config)
    g = sum((place - 0.5) ** 2 for field, place in x.items() if field != "beta")
    angle = math.pi / 2 * x["beta"]
    return 1 - (1 + g) * math.cos(angle), -1600 - NATS * (1 + g) * math.sin(angle)


def trained(trial: Trial) -> TrialResult:
    """The result of a trial, as a worker would record it."""
    chance = random.Random(f"{trial.cell.id} {trial.seed}")
    coherence, likelihood = truth(trial.config)
    values = {COHERENCE: coherence + chance.gauss(0, NOISE), LIKELIHOOD: likelihood + NATS * chance.gauss(0, NOISE)}
    metrics = tuple(_metric(name, value) for name, value in values.items())
    history = (Epoch(1, 1_700_000_000_000, {"train/loss": 1.0}),)
    return TrialResult(trial, "completed", metrics, history, None, 1.0, 1.0, 1, {"commit": "made up"})


def _metric(name: str, value: float) -> Metric:
    kind, _, subset = name.partition("/")
    return Metric(name, kind, subset, "", value, 0.0, 100, UNITS[kind])


def sweep(sampler: str, cells: int, seeds: int, concurrent: int, chance: int) -> SweepSpec:
    """The search, as a sweep file would have it."""
    objectives = [
        {"metric": COHERENCE, "goal": "max", "reference": 1 - WORST},
        {"metric": LIKELIHOOD, "goal": "max", "reference": -1600 - NATS * WORST},
    ]
    search = {"space": SPACE, "cells": cells, "sampler": sampler, "concurrent": concurrent, "seed": chance}
    return sweep_file.parse({"name": "search", "base": BASE, "search": search, "seeds": seeds, "objectives": objectives})


def run(spec: SweepSpec, storage: Path) -> Found:
    """One search to its end, its cells trained by the stand-in in the order in which they were proposed."""
    ledger, found, spent = Ledger(storage), dict[str, TrialResult](), 0.0
    search = SearchEngine(spec, ledger, found, lambda wider: None, lambda line: None)
    todo = search.start()
    while not search.over:
        started = core_seconds()
        while more := search.next({}, 1):
            todo += more
        spent += core_seconds() - started
        for trial in todo[: len(spec.seed_list)]:
            ledger.begin(trial)
            ledger.record(trained(trial))
            result = ledger.result(trial)
            assert result is not None
            found[trial.id] = result
        del todo[: len(spec.seed_list)]
    cells = search.spec.cells
    volume = hypervolume([truth(cell.config) for cell in cells], spec.objectives)
    assert volume is not None
    return Found(volume / NATS / TRUE_HYPERVOLUME, spent / len(cells))


def repeated(sampler: str, cells: int, seeds: int, concurrent: int, repetitions: int) -> list[Found]:
    """The search with the seeds 0, 1, ... of the sampler."""
    every = []
    for chance in range(repetitions):
        with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as folder:
            every.append(run(sweep(sampler, cells, seeds, concurrent, chance), Path(folder)))
    return every


def line(sampler: str, ours: Sequence[Found], at_random: Sequence[Found]) -> str:
    """A row of the table."""
    share = summary([one.share for one in ours])
    gain = summary([one.share - other.share for one, other in zip(ours, at_random, strict=True)])
    ask = 1000 * sum(one.ask_seconds for one in ours) / len(ours)
    shown = "" if sampler == "random" else f"{100 * gain.mean:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
    return f"| {sampler} | {100 * share.mean:.1f} % | {shown} | {ask:.0f} ms |"


def main() -> None:
    """Run every sampler, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--concurrent", type=int, default=1, help="cells that are trained at a time")
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS + SLOW, default=SAMPLERS)
    asked = parser.parse_args()
    as_in_a_worker()
    budget = (asked.cells, asked.seeds, asked.concurrent, asked.repetitions)
    print(f"{asked.cells} cells x {asked.seeds} seeds, {asked.concurrent} at a time, {asked.repetitions} repetitions")
    print(f"hypervolume of the true front {TRUE_HYPERVOLUME:.4f}\n")
    print("| sampler | of the true hypervolume | more than random, in points (95 %) | core time a proposal |\n|---|---|---|---|")
    at_random = repeated("random", *budget)
    print(line("random", at_random, at_random), flush=True)
    for sampler in asked.samplers:
        print(line(sampler, repeated(sampler, *budget), at_random), flush=True)


if __name__ == "__main__":
    main()
