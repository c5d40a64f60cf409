"""The evaluation against the reference's: `python -m benchmarks.speed.evaluation`.

    evaluation/MODEL/DATASET/NETWORKS    probes, all coherences and the log-likelihoods of all subsets with 15 samples, of one model

Ours also gives `log_likelihood_paper_view` and every Monte-Carlo error, which the reference does not. One thread, core seconds.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.reference.evaluation import evaluate as reference_evaluate
from benchmarks.reference.models import Reference
from benchmarks.speed.measure import Row, as_in_a_worker, row, timed
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.loading import load
from mopoe_core.metrics.classifiers import trained_classifiers
from mopoe_core.metrics.evaluation import evaluate
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


def evaluation(model: str, dataset: str, networks: str, tested: int, data: Path, classifiers: Path, rounds: int) -> Row:
    """One model, evaluated both ways."""
    fields = {"dataset": dataset, "model": model, "networks": networks, "test_examples": tested, "kl": "sum"}
    config = TrainingConfig.model_validate(fields)
    loaded = load(config.data_key, data)
    jury = trained_classifiers(loaded, classifiers, CPU)
    ours = new_model(config, 0, loaded, CPU).eval()
    reference = Reference(ours)
    name = f"evaluation/{model}/{dataset}/{networks}"
    turns = [  # seconds each: no round to warm up
        (timed(lambda: evaluate(ours, 0, loaded, jury, CPU)), timed(lambda: reference_evaluate(reference, 0, loaded, jury)))
        for _ in range(rounds)
    ]
    return row(name, *zip(*turns, strict=True))


def rows(data: Path, classifiers: Path, rounds: int = 3) -> Iterator[Row]:
    """Every comparison of this module, as it comes."""
    for model, dataset, networks, tested in CASES:
        yield evaluation(model, dataset, networks, tested, data, classifiers, rounds)


def main() -> None:
    """Print the comparisons."""
    parser = argparse.ArgumentParser(description="The evaluation against the reference's.")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each comparison, at least 2")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of datasets")
    parser.add_argument("--classifiers", type=Path, help="folder of classifiers; a temporary one when left out")
    asked = parser.parse_args()
    as_in_a_worker()
    with tempfile.TemporaryDirectory() as scratch:
        for found in rows(asked.data, asked.classifiers or Path(scratch), asked.rounds):
            times = f"ours {found.ours_s:6.2f} s  reference {found.reference_s:6.2f} s"
            print(f"{found.name:45} {times}  ratio {found.ratio:5.2f} ({found.low:.2f} to {found.high:.2f})", flush=True)


if __name__ == "__main__":
    main()
