"""Trials and results made by hand, for tests of what comes after training."""

from collections.abc import Mapping, Sequence

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.metric_names import UNITS, Epoch, Metric
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.trial import Cell, Trial

COHERENCE, LIKELIHOOD = "coherence/joint", "log_likelihood/joint"
PAGE = {
    "name": "page",
    "base": {"dataset": "mnist_svhn_text", "networks": "small"},
    "grid": {"model": ["mvae", "mmvae", "mopoe"], "beta": [0.5, 2.5]},
    "seeds": 3,
    "objectives": [
        {"metric": COHERENCE, "goal": "max", "reference": 0},
        {"metric": LIKELIHOOD, "goal": "max", "reference": -2600},
    ],
}
"""A sweep of six cells, as a file has it."""


def cell(model: str = "mopoe", beta: float = 1.0, **more: object) -> Cell:
    """A cell of small networks."""
    fields = {"dataset": "mnist_svhn_text", "networks": "small", "model": model, "beta": beta, **more}
    return Cell(TrainingConfig.model_validate(fields))


def metric(name: str, value: float, mc_error: float = 0.01) -> Metric:
    """A metric of that full name."""
    kind, _, rest = name.partition("/")
    subset, _, target = rest.partition("/")
    return Metric(name, kind, subset, target, value, mc_error, 100, UNITS[kind])


def result(of: Cell, seed: int, values: Mapping[str, float], status: str = "completed", **provenance: str) -> TrialResult:
    """A trial's result with these metrics."""
    history = (Epoch(1, 1_700_000_000_000 + seed, {"train/loss": 10.0 + seed, "train/seconds": 2.0}),)
    metrics = tuple(metric(name, value) for name, value in values.items()) if status == "completed" else ()
    where = {"commit": "abc", "data_hash": "d", **provenance}
    return TrialResult(Trial(of, seed), status, metrics, history, None if status == "completed" else 7, 2.0, 1.0, 1, where)


def grid_results(cells: Sequence[Cell], seeds: int) -> list[TrialResult]:
    """Plausible results: coherence grows and likelihood falls with beta, differently for each model."""
    shift = {"mvae": (0.1, -1900.0), "mmvae": (0.3, -2050.0), "mopoe": (0.32, -1950.0)}
    found = []
    for of in cells:
        coherence, likelihood = shift[of.config.model]
        for seed in range(seeds):
            values = {
                COHERENCE: coherence + 0.01 * of.config.beta + 0.01 * seed,
                LIKELIHOOD: likelihood - 8 * of.config.beta + 3 * seed,
                "coherence/mnist/svhn": 0.2 + 0.01 * seed,
                "coherence/given_1": 0.4,
                "probe/given_1": 0.9,
                "probe/mnist": 0.9,
                "log_likelihood/mnist": -2300.0,
                "log_likelihood_paper_view/joint": likelihood + 100,
            }
            found.append(result(of, seed, values))
    return found
