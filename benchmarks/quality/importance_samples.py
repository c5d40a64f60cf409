"""How much tighter the log-likelihood's bound gets with more importance samples, for trained models of a storage.

    python -m benchmarks.quality.importance_samples --storage runs --sweep mst-small --model mopoe --beta 0.5 5

Prints a row for each beta and number of samples: log_likelihood/joint in nats, on the same test examples. It tells a loose bound from
a model that is worse.
"""

import argparse
from pathlib import Path

import torch

import mopoe_core
from benchmarks.arguments import add_data
from mopoe_core.data.loading import load
from mopoe_core.data.types import Dataset
from mopoe_core.metrics.classifiers import Classifiers, trained_classifiers
from mopoe_core.metrics.evaluation import evaluate
from mopoe_core.models.model import MultimodalVAE

CPU = torch.device("cpu")
METRIC = "log_likelihood/joint"


def bound(model: MultimodalVAE, seed: int, dataset: Dataset, judges: Classifiers) -> float:
    """Returns log_likelihood/joint in nats, as the model's configuration says that it is evaluated."""
    values = {metric.name: metric.value for metric in evaluate(model, seed, dataset, judges, CPU)}
    return values[METRIC]


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(description="log_likelihood/joint with more and more importance samples.")
    parser.add_argument("--storage", type=Path, required=True)
    parser.add_argument("--sweep", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--beta", type=float, nargs="+", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--samples", type=int, nargs="+", default=[15, 150, 1500])
    parser.add_argument("--examples", type=int, default=100, help="test examples")
    add_data(parser)
    asked = parser.parse_args()
    for beta in asked.beta:
        model = mopoe_core.load(asked.storage, sweep=asked.sweep, model=asked.model, beta=beta, seed=asked.seed)
        dataset = load(model.config.data_key, asked.data)
        judges = trained_classifiers(dataset, asked.storage / "classifiers", CPU)
        for count in asked.samples:
            model.config = model.config.model_copy(update={"importance_samples": count, "test_examples": asked.examples})
            nats = bound(model, asked.seed, dataset, judges)
            print(f"{asked.model} beta={beta:g} samples={count}: {METRIC} {nats:.1f}", flush=True)


if __name__ == "__main__":
    main()
