"""A dataset of your own, to be replaced: two groups of numbers that belong together, of three classes."""

import numpy as np

from mopoe_core.data.own import OwnDataset, OwnModality

CLASSES, TRAIN, TEST = 3, 600, 200


def dataset() -> OwnDataset:
    """Returns named arrays, an example a row: the modalities for training and test, and the classes that coherence is measured by.

    Vectors should be standardised, because their likelihood has a scale of 0.75. Images are (N, channels, height, width), as bytes.
    """
    random = np.random.default_rng(0)
    labels = np.arange(TRAIN + TEST) % CLASSES
    left = random.normal(size=(CLASSES, 6))[labels] + 0.3 * random.normal(size=(TRAIN + TEST, 6))
    right = random.normal(size=(CLASSES, 4))[labels] + 0.3 * random.normal(size=(TRAIN + TEST, 4))
    modalities = (
        OwnModality("left", "vector", left[:TRAIN], left[TRAIN:]),
        OwnModality("right", "vector", right[:TRAIN], right[TRAIN:]),
    )
    return OwnDataset(modalities, labels[:TRAIN], labels[TRAIN:])
