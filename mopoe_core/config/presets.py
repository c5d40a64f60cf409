"""Published settings. Pure. Source: `hyperparameters_paper_vs_code.csv` of the package, which has paper and released code side by side.

A preset fills in the fields that a configuration leaves out. Its name is not stored, so that the same numbers are the same trial, whoever
set them. A scale fixes how much data and how many epochs are used, and is part of the identity.
"""

from typing import Any

from mopoe_core.family.registry import MODELS

Fields = dict[str, Any]

PAPER: dict[str, Fields] = {
    "mnist_svhn_text": {"latent_dim": 20, "beta": 5.0, "epochs": 150, "learning_rate": 1e-3, "batch_size": 256},
    "polymnist": {"latent_dim": 512, "beta": 2.5, "epochs": 300, "learning_rate": 1e-3, "batch_size": 256},
    "celeba": {
        "latent_dim": 32,
        "private_dim": 32,
        "beta": 2.5,
        "epochs": 200,
        "learning_rate": 5e-4,
        "batch_size": 256,
    },
}

RELEASED: dict[str, Fields] = {
    "mnist_svhn_text": PAPER["mnist_svhn_text"] | {"beta": 2.5, "epochs": 200},
    "polymnist": PAPER["polymnist"] | {"learning_rate": 5e-4},
    "celeba": PAPER["celeba"]
    | {
        "latent_dim": 20,
        "epochs": 250,
        "beta_private": 2.0,
        "private_weights": (1.0, 5.0),
        "reconstruction_weights": (1 / 3, 16.0),
        "evaluate_on": "validation",
    },
}
"""What the released code sets for each dataset."""
RELEASED_FOR_EVERY_DATASET: Fields = {"importance_samples": 12}

PRESETS = ("paper", "released_code")

SIZES: dict[str, dict[str, Fields]] = {
    "mnist_svhn_text": {
        "small": {"train_examples": 32_000, "test_examples": 1_000, "epochs": 24},
        "smoke": {"train_examples": 512, "test_examples": 100, "epochs": 2},
    },
    "polymnist": {
        "small": {"train_examples": None, "test_examples": 500, "epochs": 40},
        "smoke": {"train_examples": 512, "test_examples": 100, "epochs": 2},
    },
    "celeba": {
        "small": {"train_examples": None, "test_examples": 1_000, "epochs": 60},
        "smoke": {"train_examples": 512, "test_examples": 100, "epochs": 2},
    },
}
"""The fields that a scale below the paper's fixes; `None` means all examples. `small` for MNIST-SVHN-Text has 3,000 steps, so that the
ninety trials of `sweeps/mst.yaml` take an hour and a half to three hours on two cores."""
SCALES = ("paper", "small", "smoke")


def preset_fields(preset: str, dataset: str, model: str) -> Fields:
    """Returns the fields that a preset sets for a dataset and a model; none for a user's own dataset.

    A model that the paper does not have gets only those of the dataset.
    """
    _check("preset", preset, PRESETS)
    if dataset not in PAPER:
        return {}
    of_dataset = PAPER[dataset] if preset == "paper" else RELEASED[dataset] | RELEASED_FOR_EVERY_DATASET
    return of_dataset | dict(MODELS[model].presets.get(preset, {}) if model in MODELS else {})


def scale_fields(scale: str, dataset: str, preset: str) -> Fields:
    """Returns the fields that a scale fixes. The paper's scale has the epochs of the preset."""
    _check("scale", scale, SCALES)
    if scale == "paper":
        return {"epochs": preset_fields(preset, dataset, "")["epochs"], "train_examples": None, "test_examples": None}
    return SIZES[dataset][scale]


def scale_defaults(scale: str) -> Fields:
    """Returns the fields that a scale suggests and a configuration may overrule: the paper's scale has the published data and networks.

    The paper's CelebA networks have 70 million parameters; below full scale they would not take a step in a minute on two cores.
    """
    _check("scale", scale, SCALES)
    if scale == "paper":
        return {"source": "original", "networks": "paper"}
    return {"source": "embedded", "networks": "small"}


def _check(field: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{field}: {value!r} is not offered; allowed: {', '.join(allowed)}")
