"""The share of each class (or attribute) and the effective number of classes, with Monte-Carlo errors.

The effective number of classes is the exponential of the entropy of their shares. It is K if K classes are equally common, and 1 if all
examples are of one class. Each attribute has two classes, yes and no; the metric is the geometric mean over the attributes, from 1 to 2.

Shape suffixes: N example or draw, A attribute (1 for classes), K distinct value.
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
    """Yields each name with the share of the examples that are of that class or have that attribute.

    `names[k]` names class k, or the attribute in column k.
    """
    for k, name in enumerate(names):
        has_N = values_NA[:, k] if attributes else values_NA[:, 0] == k
        yield name, mean(has_N.astype(np.float64), sharing)


def effective_classes(values_NA: Array, sharing: Sharing | None = None) -> Estimate:
    """Returns the effective number of classes: exp of the examples' mean surprise -log p.

    Its error is the error of that mean times the number itself (the delta method).
    """
    surprise_N = np.mean([_surprise(column_N) for column_N in values_NA.T], 0)
    entropy = mean(surprise_N, sharing)
    value = math.exp(entropy.value)
    return Estimate(value, value * entropy.error, entropy.n)


def _surprise(values_N: Array) -> Array:
    """Returns for each example -log of the share of the examples that have its value, (N,)."""
    _, class_N, count_K = np.unique(values_N, return_inverse=True, return_counts=True)
    return -np.log(count_K / len(values_N))[class_N]
