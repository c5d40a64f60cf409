"""Writes models and datasets in labels and sentences as the paper calls them. Pure."""

import re

from mopoe_core.family.registry import TITLES

DATASET_TITLES = {"mnist_svhn_text": "MNIST-SVHN-Text", "polymnist": "PolyMNIST", "celeba": "bimodal CelebA"}
"""The datasets as the paper calls them."""
_MODEL = re.compile(rf"(?<![\w./=-])({'|'.join(sorted(TITLES, key=len, reverse=True))})(?![\w/=-]|\.\w)")
"""A model's name that is a word alone, and not part of a path, of a field or of another name."""


def proper(text: str) -> str:
    """Returns the label, or the sentence with labels, with the titles of models: `MoPoE β=2.5` for `mopoe beta=2.5`."""
    return _MODEL.sub(lambda name: TITLES[name[0]], text).replace("beta=", "β=")


def proper_dataset(name: str) -> str:
    """Returns the paper's name of a dataset; the name unchanged if the paper has no such dataset."""
    return DATASET_TITLES.get(name, name)


def proper_group(label: str) -> str:
    """Returns the label of a group of cells, which begins with a dataset, with the paper's name of it."""
    dataset, comma, setting = label.partition(", ")
    return proper_dataset(dataset) + comma + setting
