"""Labels and sentences as a reader of the paper knows their models. Pure."""

import re

from mopoe_core.family.registry import TITLES

DATASET_TITLES = {"mnist_svhn_text": "MNIST-SVHN-Text", "polymnist": "PolyMNIST", "celeba": "bimodal CelebA"}
"""The datasets as the paper calls them."""
_MODEL = re.compile(rf"(?<![\w./=-])({'|'.join(sorted(TITLES, key=len, reverse=True))})(?![\w/=-]|\.\w)")
"""A model's name that stands alone: no part of a path, of a field or of another name."""


def proper(text: str) -> str:
    """Returns the label, or the sentence with labels, with the titles of models: `MoPoE β=2.5` for `mopoe beta=2.5`."""
    return _MODEL.sub(lambda name: TITLES[name[0]], text).replace("beta=", "β=")


def proper_dataset(name: str) -> str:
    """Returns the paper's name of a dataset; one of the user's own has the name that it was given."""
    return DATASET_TITLES.get(name, name)
