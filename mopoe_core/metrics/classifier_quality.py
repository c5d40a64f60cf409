"""How good a classifier is on test items, compared with one that has learnt nothing.

A classifier of classes is measured by balanced accuracy: the mean over classes of the share of their items that it classifies correctly.
One that always predicts the same class reaches 1/classes, however common that class is. A classifier of attributes is measured by average
precision, whose chance level is the share of the items that have the attribute.

A permutation test shows whether a classifier is better than chance. Its outputs are assigned to the test items in 199 random orders, and
p is the share of all 200 orders (the true one included) that score at least as well as the true order. The test makes no assumption, so p
is exact for any number of items and classes. Constant outputs score the same in every order, so their p is 1.

Shape suffixes: N item, A attribute, K class, P permutation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PERMUTATIONS = 199
LEVEL = 0.01
"""A classifier with a larger p is refused."""
ROUNDING = 1e-9
"""Scores that differ by less than this count as equal: sums in another order differ in the last bits."""

Array = NDArray[Any]
Scores = Callable[[Array], NDArray[np.float64]]
"""Maps an order of the items (N,) to one score, or to a score for each attribute (A,)."""


@dataclass(frozen=True)
class Quality:
    """The scores of a classifier on test items. For attributes, means over the attributes that at least one item has."""

    accuracy: float
    """Share of the items that are classified correctly; for attributes, mean average precision."""
    balanced_accuracy: float
    """Mean over the classes that occur of the share that is classified correctly; for attributes, mean average precision."""
    chance: float
    """`balanced_accuracy` of outputs that do not depend on the item: 1/classes that occur; for attributes, their mean share."""
    majority_share: float
    """Share of the commonest class; for attributes, the mean share of the commoner answer (yes or no)."""
    p: float
    """p-value of the permutation test of `balanced_accuracy`."""
    not_better_than_chance: tuple[str, ...] = ()
    """Names of the attributes whose own test has a p above `LEVEL`."""
    attributes: int = 0
    """Number of attributes; 0 if the labels are classes."""

    @property
    def measure(self) -> str:
        """The name of the measure in `balanced_accuracy`."""
        return "mean average precision" if self.attributes else "balanced accuracy"

    @property
    def description(self) -> str:
        """The measure, and the chance level to compare it with, in words."""
        measured = f"a {self.measure} of {self.balanced_accuracy:.1%} on the test items"
        if self.attributes:
            return f"{measured} (chance is {self.chance:.1%})"
        shares = f"chance is {self.chance:.1%}, the commonest class has {self.majority_share:.1%} of them"
        return f"{measured} (right on {self.accuracy:.1%}; {shares})"

    @property
    def better_than_chance(self) -> bool:
        """Whether the test of the mean shows it; for attributes, the test of at least one attribute must show it too."""
        return self.p <= LEVEL and (not self.attributes or len(self.not_better_than_chance) < self.attributes)

    def recorded(self) -> dict[str, float | str]:
        """Returns the measures that provenance records."""
        measures: dict[str, float | str] = {
            "accuracy": self.accuracy,
            "chance": self.chance,
            "majority_share": self.majority_share,
        }
        if not self.attributes:
            measures["balanced_accuracy"] = self.balanced_accuracy
        weak = {"not_better_than_chance": ", ".join(self.not_better_than_chance)} if self.not_better_than_chance else {}
        return measures | {"p": self.p} | weak


def of_classes(logits_NK: Array, labels_N: Array) -> Quality:
    """Returns the quality of a classifier with these logits for the classes."""
    predicted_N = logits_NK.argmax(-1)
    classes, class_N, count_K = np.unique(labels_N, return_inverse=True, return_counts=True)

    def balanced_accuracy(order_N: Array) -> NDArray[np.float64]:
        correct_N = predicted_N[order_N] == labels_N
        return np.asarray(np.mean(np.bincount(class_N, weights=correct_N, minlength=len(classes)) / count_K))

    observed, p = _permutation_test(balanced_accuracy, len(labels_N))
    return Quality(
        accuracy=float(np.mean(predicted_N == labels_N)),
        balanced_accuracy=float(observed),
        chance=1 / len(classes),
        majority_share=float(count_K.max() / count_K.sum()),
        p=float(p),
    )


def of_attributes(logits_NA: Array, labels_NA: Array, names: Sequence[str]) -> Quality:
    """Returns the quality of a classifier with these logits for the attributes `names`."""
    share_A = labels_NA.mean(0)
    occurring = share_A > 0
    if not occurring.any():
        return Quality(0.0, 0.0, 0.0, 1.0, 1.0, tuple(names), len(names))
    labels = labels_NA[:, occurring]
    average_precision = _AveragePrecision(logits_NA[:, occurring])

    def each_and_mean(order_N: Array) -> NDArray[np.float64]:
        precision_A = average_precision(labels[order_N])
        return np.append(precision_A, precision_A.mean())

    observed, p = _permutation_test(each_and_mean, len(labels))
    p_A = np.ones(len(names))
    p_A[occurring] = p[:-1]
    return Quality(
        accuracy=float(observed[-1]),
        balanced_accuracy=float(observed[-1]),
        chance=float(share_A[occurring].mean()),
        majority_share=float(np.maximum(share_A, 1 - share_A)[occurring].mean()),
        p=float(p[-1]),
        not_better_than_chance=tuple(name for name, p_of_one in zip(names, p_A, strict=True) if p_of_one > LEVEL),
        attributes=len(names),
    )


def _permutation_test(scores: Scores, items: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the scores in the true order of the items, and the p of each score."""
    rng, observed = np.random.default_rng(0), scores(np.arange(items))
    at_least_as_good = [scores(rng.permutation(items)) >= observed - ROUNDING for _ in range(PERMUTATIONS)]
    return observed, np.asarray((1 + np.sum(at_least_as_good, 0)) / (1 + PERMUTATIONS))


class _AveragePrecision:
    """Average precision of fixed scores for many labellings of the items. Sorts the scores once, for all labellings.

    The same as scikit-learn's: the mean, over the items that have the attribute, of the precision among all items that score at least as
    high.
    """

    def __init__(self, scores_NA: Array) -> None:
        scores_AN = np.ascontiguousarray(scores_NA.T)
        self._order_AN = np.argsort(-scores_AN, axis=1, kind="stable")
        ranked_AN = np.take_along_axis(scores_AN, self._order_AN, 1)
        ends_tie_AN = np.ones(ranked_AN.shape, dtype=bool)  # whether an item is the last of those with its score
        ends_tie_AN[:, :-1] = ranked_AN[:, :-1] != ranked_AN[:, 1:]
        rank_N = np.arange(len(scores_NA))
        self._end_AN = np.minimum.accumulate(np.where(ends_tie_AN, rank_N, len(scores_NA))[:, ::-1], axis=1)[:, ::-1]

    def __call__(self, labels_NA: Array) -> NDArray[np.float64]:
        """Returns each attribute's average precision (A,). At least one item must have each attribute."""
        return np.array(
            [
                _average_precision(has_N[order_N], end_N)
                for has_N, order_N, end_N in zip(np.ascontiguousarray(labels_NA.T), self._order_AN, self._end_AN, strict=True)
            ]
        )


def _average_precision(has_N: Array, end_N: Array) -> float:
    """Returns the average precision of items sorted from the highest score to the lowest.

    `end_N` is each item's last rank with the same score.
    """
    positive_ends = end_N[has_N > 0]
    return float(np.mean(has_N.cumsum(dtype=np.int64)[positive_ends] / (positive_ends + 1)))
