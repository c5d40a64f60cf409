"""Compares the samplers of a search with random cells, on a problem whose front is known.

    python -m benchmarks.quality.search

Sweep file, `SearchEngine`, proposals, ledger and Optuna's journal are the real ones. Training is replaced by a stand-in that computes the
two objectives of a cell. The problem is DTLZ2 with two objectives and five distance variables (Deb, Thiele, Laumanns and Zitzler,
Scalable multi-objective optimization test problems, CEC 2002). With every field scaled to x in [0, 1] over its range,

    g = sum over the five of (x - 1/2)^2,    f1 = (1 + g) cos(pi/2 x_beta),    f2 = (1 + g) sin(pi/2 x_beta),    both minimised;

coherence is 1 - f1, and log-likelihood is -1600 - 400 f2. The front is the quarter of the unit circle at g = 0: every beta, with mopoe
and the other fields in the middle of their ranges. Its hypervolume for the reference f = (1.1, 1.1) is 1.1^2 - pi/4 in units of f.

Each seed adds Gaussian noise to each objective, with standard deviation 0.02 in units of f. The samplers see the means over seeds. The
comparison uses the hypervolume of the true objectives of the chosen cells.
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
"""Samplers that run only on request: a proposal takes 0.6 s of core time."""
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
"""Nats of log-likelihood in one unit of f2."""
BASE = {"dataset": "mnist_svhn_text", "networks": "small", "kl": "sum", "epochs": 1}
IN_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Outcome:
    """The outcome of one search."""

    share: float
    """Share of the true front's hypervolume."""
    ask_seconds: float
    """Core seconds for each cell: to tell the study the results, to ask it for a cell and to write the proposal."""


def scaled(config: TrainingConfig) -> dict[str, float]:
    """Returns each searched field scaled to [0, 1] over its range."""
    x = {}
    for field, dimension in SPACE.items():
        value = getattr(config, field)
        if isinstance(dimension, list):
            x[field] = dimension.index(value) / (len(dimension) - 1)
        elif dimension.get("log"):
            x[field] = math.log(value / dimension["low"]) / math.log(dimension["high"] / dimension["low"])
        else:
            x[field] = (value - dimension["low"]) / (dimension["high"] - dimension["low"])
    return x


def truth(config: TrainingConfig) -> tuple[float, float]:
    """Returns coherence and log-likelihood without noise."""
    x = scaled(config)
    g = sum((value - 0.5) ** 2 for field, value in x.items() if field != "beta")
    angle = math.pi / 2 * x["beta"]
    return 1 - (1 + g) * math.cos(angle), -1600 - NATS * (1 + g) * math.sin(angle)


def trained(trial: Trial) -> TrialResult:
    """Returns the result of a trial, as a worker would record it."""
    rng = random.Random(f"{trial.cell.id} {trial.seed}")
    coherence, likelihood = truth(trial.config)
    values = {COHERENCE: coherence + rng.gauss(0, NOISE), LIKELIHOOD: likelihood + NATS * rng.gauss(0, NOISE)}
    metrics = tuple(_metric(name, value) for name, value in values.items())
    history = (Epoch(1, 1_700_000_000_000, {"train/loss": 1.0}),)
    return TrialResult(trial, "completed", metrics, history, None, 1.0, 1.0, 1, {"commit": "made up"})


def _metric(name: str, value: float) -> Metric:
    kind, _, subset = name.partition("/")
    return Metric(name, kind, subset, "", value, 0.0, 100, UNITS[kind])


def sweep(sampler: str, cells: int, seeds: int, concurrent: int, sampler_seed: int) -> SweepSpec:
    """Returns the specification of a search."""
    objectives = [
        {"metric": COHERENCE, "goal": "max", "reference": 1 - WORST},
        {"metric": LIKELIHOOD, "goal": "max", "reference": -1600 - NATS * WORST},
    ]
    search = {"space": SPACE, "cells": cells, "sampler": sampler, "concurrent": concurrent, "seed": sampler_seed}
    return sweep_file.parse({"name": "search", "base": BASE, "search": search, "seeds": seeds, "objectives": objectives})


def run(spec: SweepSpec, storage: Path) -> Outcome:
    """Runs one search to its end. The stand-in trains its cells in the order in which they were proposed."""
    ledger, results, ask_seconds = Ledger(storage), dict[str, TrialResult](), 0.0
    search = SearchEngine(spec, ledger, results, lambda wider: None, lambda line: None)
    todo = search.start()
    while not search.is_over:
        started = core_seconds()
        while more := search.next({}, 1):
            todo += more
        ask_seconds += core_seconds() - started
        for trial in todo[: len(spec.seed_list)]:
            ledger.begin(trial)
            ledger.record(trained(trial))
            result = ledger.result(trial)
            assert result is not None
            results[trial.id] = result
        del todo[: len(spec.seed_list)]
    cells = search.spec.cells
    volume = hypervolume([truth(cell.config) for cell in cells], spec.objectives)
    assert volume is not None
    return Outcome(volume / NATS / TRUE_HYPERVOLUME, ask_seconds / len(cells))


def repeated(sampler: str, cells: int, seeds: int, concurrent: int, repetitions: int) -> list[Outcome]:
    """Runs the search with the seeds 0, 1, ... of the sampler."""
    outcomes = []
    for sampler_seed in range(repetitions):
        with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as folder:
            outcomes.append(run(sweep(sampler, cells, seeds, concurrent, sampler_seed), Path(folder)))
    return outcomes


def line(sampler: str, outcomes: Sequence[Outcome], at_random: Sequence[Outcome]) -> str:
    """Returns a row of the table."""
    share = summary([outcome.share for outcome in outcomes])
    gain = summary([outcome.share - other.share for outcome, other in zip(outcomes, at_random, strict=True)])
    ask_ms = 1000 * sum(outcome.ask_seconds for outcome in outcomes) / len(outcomes)
    gain_text = "" if sampler == "random" else f"{100 * gain.mean:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
    return f"| {sampler} | {100 * share.mean:.1f} % | {gain_text} | {ask_ms:.0f} ms |"


def main() -> None:
    """Runs every sampler and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--concurrent", type=int, default=1, help="cells that are trained at once")
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS + SLOW, default=SAMPLERS)
    arguments = parser.parse_args()
    as_in_a_worker()
    budget = (arguments.cells, arguments.seeds, arguments.concurrent, arguments.repetitions)
    print(
        f"{arguments.cells} cells x {arguments.seeds} seeds, {arguments.concurrent} at a time, {arguments.repetitions} repetitions"
    )
    print(f"hypervolume of the true front {TRUE_HYPERVOLUME:.4f}\n")
    print("| sampler | of the true hypervolume | more than random, in points (95 %) | core time a proposal |\n|---|---|---|---|")
    at_random = repeated("random", *budget)
    print(line("random", at_random, at_random), flush=True)
    for sampler in arguments.samplers:
        print(line(sampler, repeated(sampler, *budget), at_random), flush=True)


if __name__ == "__main__":
    main()
