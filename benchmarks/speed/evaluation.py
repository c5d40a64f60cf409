"""Compares the evaluation with the reference's: `python -m benchmarks.speed.evaluation`.

    evaluation/MODEL/DATASET/NETWORKS    probes, all coherences and the log-likelihoods of all subsets with 15 samples, of one model

The package also computes `log_likelihood_paper_view` and every Monte-Carlo error; the reference does not. One thread, core seconds.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.arguments import add_classifiers, add_data
from benchmarks.reference.evaluation import evaluate as reference_evaluate
from benchmarks.reference.models import Reference
from benchmarks.speed.measure import Row, as_in_a_worker, row, timed
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.loading import load
from mopoe_core.data.types import Dataset
from mopoe_core.metrics.classifiers import Classifiers, trained_classifiers
from mopoe_core.metrics.evaluation import evaluate
from mopoe_core.models.model import MultimodalVAE
from mopoe_core.training.run import new_model

CPU = torch.device("cpu")
CASES = (
    ("mopoe", "mnist_svhn_text", "small", 1000),
    ("mmvae", "mnist_svhn_text", "small", 1000),
    ("mopoe", "mnist_svhn_text", "paper", 250),
    ("mopoe", "polymnist", "small", 200),
    ("mopoe", "polymnist", "paper", 100),
)
"""Model, dataset, networks, test examples."""


def untrained(
    model: str, dataset: str, networks: str, tested: int, data: Path, classifiers: Path
) -> tuple[MultimodalVAE, Dataset, Classifiers]:
    """Returns an untrained model that is evaluated on `tested` test examples, its dataset and its judges."""
    fields = {"dataset": dataset, "model": model, "networks": networks, "test_examples": tested, "kl": "sum"}
    config = TrainingConfig.model_validate(fields)
    loaded = load(config.data_key, data)
    return new_model(config, 0, loaded, CPU).eval(), loaded, trained_classifiers(loaded, classifiers, CPU)


def evaluation(model: str, dataset: str, networks: str, tested: int, data: Path, classifiers: Path, rounds: int) -> Row:
    """Compares both evaluations of one untrained model."""
    ours, loaded, judges = untrained(model, dataset, networks, tested, data, classifiers)
    reference = Reference(ours)
    ours_s, reference_s = [], []
    for _ in range(rounds):  # an evaluation takes seconds, so no round warms up
        ours_s.append(timed(lambda: evaluate(ours, 0, loaded, judges, CPU)))
        reference_s.append(timed(lambda: reference_evaluate(reference, 0, loaded, judges)))
    return row(f"evaluation/{model}/{dataset}/{networks}", ours_s, reference_s)


def rows(data: Path, classifiers: Path, rounds: int = 3) -> Iterator[Row]:
    """Yields every comparison of this module."""
    for model, dataset, networks, tested in CASES:
        yield evaluation(model, dataset, networks, tested, data, classifiers, rounds)


def main() -> None:
    """Prints the comparisons."""
    parser = argparse.ArgumentParser(description="Compares the evaluation with the reference's.")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each comparison, at least 2")
    add_data(parser)
    add_classifiers(parser)
    arguments = parser.parse_args()
    as_in_a_worker()
    with tempfile.TemporaryDirectory() as scratch:
        for result in rows(arguments.data, arguments.classifiers or Path(scratch), arguments.rounds):
            times = f"ours {result.ours_s:6.2f} s  reference {result.reference_s:6.2f} s"
            print(f"{result.name:45} {times}  ratio {result.ratio:5.2f} ({result.low:.2f} to {result.high:.2f})", flush=True)


if __name__ == "__main__":
    main()
