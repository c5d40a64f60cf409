"""How often classes (or attributes) are shown, and how many there are effectively, with Monte-Carlo errors.

The effective number of classes is the exponential of the entropy of their shares: K where K classes are equally common, 1 where all
examples show one. Of attributes it is that of one attribute's answers, yes or no, in the geometric mean over the attributes: 1 to 2.

Shape suffixes: N example or draw, A attribute; with classes A is 1.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mopoe_core.metrics.estimates import Estimate, Sharing, mean

Array = NDArray[Any]


def shares(
    values_NA: Array, names: Sequence[str], attributes: bool, sharing: Sharing | None = None
) -> Iterator[tuple[str, Estimate]]:
    """Each name with the share of the examples that are of that class, numbered in the order of `names`, or have that attribute."""
    for place, name in enumerate(names):
        has_N = values_NA[:, place] if attributes else values_NA[:, 0] == place
        yield name, mean(has_N.astype(np.float64), sharing)


def effective_classes(values_NA: Array, sharing: Sharing | None = None) -> Estimate:
    """The effective number of classes: the exponential of the examples' mean surprise -log p, whose error it has times itself."""
    surprise_N = np.mean([_surprise(column_N) for column_N in values_NA.T], 0)
    entropy = mean(surprise_N, sharing)
    value = math.exp(entropy.value)
    return Estimate(value, value * entropy.error, entropy.n)


def _surprise(values_N: Array) -> Array:
    """-log of the share of the examples that have the same value."""
    _, place_N, count = np.unique(values_N, return_inverse=True, return_counts=True)
    return -np.log(count / len(values_N))[place_N]
