"""A sweep over two datasets of the user's own, with results that are known, and the same cells as a sweep for each dataset."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.ledger.ledger import Ledger
from orchestrator.ledger.result import TrialResult
from orchestrator.spec.sweep_file import parse
from orchestrator.spec.sweep_spec import SweepSpec
from orchestrator.spec.trial import Trial
from tests.support.builders import COHERENCE, LIKELIHOOD, result

FIRST, SECOND = "first.py:made", "second.py:made"
SOURCE = Path(__file__).parent / "own_data.py"


def write_datasets(home: Path) -> None:
    """`first.py` and `second.py`, which differ in their numbers alone."""
    text = SOURCE.read_text()
    (home / "first.py").write_text(text)
    (home / "second.py").write_text(text.replace("default_rng(0)", "default_rng(1)"))


def raw(name: str, datasets: Sequence[str] = (FIRST, SECOND), **more: Any) -> dict[str, Any]:
    """A sweep file: two models, three betas and three seeds on each dataset."""
    return {
        "name": name,
        "base": {"latent_dim": 4, "epochs": 2},
        "grid": {"dataset": list(datasets), "model": ["mvae", "mopoe"], "beta": [0.5, 1, 2.5]},
        "seeds": 3,
        "objectives": [
            {"metric": COHERENCE, "goal": "max", "reference": 0},
            {"metric": LIKELIHOOD, "goal": "max", "reference": -3000},
        ],
        **more,
    }


def numbers(trial: Trial) -> dict[str, float]:
    """What a trial reports: every cell of the second dataset is better in both objectives than every cell of the first."""
    config, is_mopoe, is_second = trial.config, trial.config.model == "mopoe", trial.config.dataset == SECOND
    lost = 80 if config.beta == 1 and is_mopoe else 0  # so that one cell of each dataset is on no front
    wobble = (trial.seed * 7 + round(config.beta * 3)) % 4  # so that seeds differ in their order
    return {
        COHERENCE: 0.2 + 0.1 * is_mopoe + 0.02 * config.beta + 0.3 * is_second + 0.01 * wobble,
        LIKELIHOOD: -1900 - 30 * is_mopoe - 8 * config.beta - lost + 500 * is_second + 3 * wobble,
        "coherence/given_1": 0.4 + 0.1 * is_mopoe - 0.1 * is_second,
        "probe/given_1": 0.9 - 0.01 * config.beta,
        "coherence/a/b": 0.3 + 0.1 * config.beta,
    }


def recorded(trial: Trial, **provenance: Any) -> TrialResult:
    """Its result, measured on the data that its configuration names."""
    where = {"data_hash": trial.config.data_hash, "classifiers": {"hash": f"judges of {trial.config.dataset}"}, **provenance}
    return result(trial.cell, trial.seed, numbers(trial), **where)


def record_all(spec: SweepSpec, ledger: Ledger) -> None:
    """Every trial has completed."""
    for trial in spec.trials:
        ledger.begin(trial)
        ledger.record(recorded(trial))


def swept(storage: Path, *words: Any, **more: Any) -> tuple[SweepSpec, Ledger]:
    """A sweep (see `raw`) of which every trial has completed."""
    spec, ledger = parse(raw(*words, **more)), Ledger(storage)
    record_all(spec, ledger)
    return spec, ledger
