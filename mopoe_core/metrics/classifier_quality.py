"""How good a classifier is on test items, against what one that has learnt nothing would reach.

Classes are judged by balanced accuracy, the mean over classes of the share that is right: a classifier that always says one class has
1/classes, however common that class is. Attributes are judged by average precision, whose chance level is the share of the items that
have the attribute.

Whether a classifier is better than chance is a permutation test: its outputs are given to the test items in 199 random orders, and p is
the share of all 200 orders (its own is one of them) that score at least as well. No assumption is made, so that p is exact for any
number of items and classes. Outputs that are the same for every item score the same in every order: p is 1.

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
"""Two orders whose scores differ by less score the same: sums in another order differ in the last bits."""

Array = NDArray[Any]
Scores = Callable[[Array], NDArray[np.float64]]
"""From an order of the items (N,) to a score, or a score for each attribute (A,)."""


@dataclass(frozen=True)
class Quality:
    """What a classifier reaches on test items. Where labels are attributes, the means over the attributes that some item has."""

    accuracy: float
    """Share of the items that are right; where labels are attributes, mean average precision."""
    balanced_accuracy: float
    """Mean over the classes among the items of the share that is right; where labels are attributes, mean average precision."""
    chance: float
    """What outputs that say nothing of the item reach: 1/classes among the items; of attributes, the mean share that has them."""
    majority_share: float
    """Share of the commonest class; of attributes, the mean share of the commoner answer."""
    p: float
    """Of the permutation test of `balanced_accuracy`."""
    not_better_than_chance: tuple[str, ...] = ()
    """Attributes whose own test has a p above `LEVEL`."""
    attributes: int = 0
    """How many there are; 0 where labels are classes."""

    @property
    def measure(self) -> str:
        """What `balanced_accuracy` holds, in words."""
        return "mean average precision" if self.attributes else "balanced accuracy"

    @property
    def said(self) -> str:
        """The measure beside what it has to be compared with."""
        found = f"a {self.measure} of {self.balanced_accuracy:.1%} on the test items"
        if self.attributes:
            return f"{found} (chance is {self.chance:.1%})"
        shares = f"chance is {self.chance:.1%}, the commonest class has {self.majority_share:.1%} of them"
        return f"{found} (right on {self.accuracy:.1%}; {shares})"

    @property
    def better_than_chance(self) -> bool:
        """Whether it is, by its test and, where labels are attributes, by that of at least one of them."""
        return self.p <= LEVEL and (not self.attributes or len(self.not_better_than_chance) < self.attributes)

    def recorded(self) -> dict[str, float | str]:
        """What provenance says of it."""
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
    """The quality of a classifier of classes with these logits."""
    said_N = logits_NK.argmax(-1)
    classes, place_N, count_K = np.unique(labels_N, return_inverse=True, return_counts=True)

    def balanced(order_N: Array) -> NDArray[np.float64]:
        right_N = said_N[order_N] == labels_N
        return np.asarray(np.mean(np.bincount(place_N, weights=right_N, minlength=len(classes)) / count_K))

    observed, p = _tested(balanced, len(labels_N))
    accuracy, majority = float(np.mean(said_N == labels_N)), float(count_K.max() / count_K.sum())
    return Quality(accuracy, float(observed), 1 / len(classes), majority, float(p))


def of_attributes(logits_NA: Array, labels_NA: Array, names: Sequence[str]) -> Quality:
    """The quality of a classifier of attributes with these logits; `names` are those of the attributes."""
    share_A = labels_NA.mean(0)
    occurring = share_A > 0
    if not occurring.any():
        return Quality(0.0, 0.0, 0.0, 1.0, 1.0, tuple(names), len(names))
    labels = labels_NA[:, occurring]
    precision = _AveragePrecision(logits_NA[:, occurring])

    def each_and_mean(order_N: Array) -> NDArray[np.float64]:
        found = precision(labels[order_N])
        return np.append(found, found.mean())

    observed, p = _tested(each_and_mean, len(labels))
    tested = dict(zip(np.flatnonzero(occurring).tolist(), p.tolist(), strict=False))
    weak = tuple(name for a, name in enumerate(names) if tested.get(a, 1.0) > LEVEL)
    chance, majority = float(share_A[occurring].mean()), float(np.maximum(share_A, 1 - share_A)[occurring].mean())
    return Quality(float(observed[-1]), float(observed[-1]), chance, majority, float(p[-1]), weak, len(names))


def _tested(scores: Scores, items: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The scores in the items' own order, and the p of each."""
    rng, observed = np.random.default_rng(0), scores(np.arange(items))
    every = [scores(rng.permutation(items)) >= observed - ROUNDING for _ in range(PERMUTATIONS)]
    return observed, np.asarray((1 + np.sum(every, 0)) / (1 + PERMUTATIONS))


class _AveragePrecision:
    """Average precision of fixed scores, for one labelling of the items after another: their order is found once.

    The mean over the items that have the attribute of the precision among all that score at least as much; as scikit-learn's.
    """

    def __init__(self, scores_NA: Array) -> None:
        scores_AN = np.ascontiguousarray(scores_NA.T)
        self._order_AN = np.argsort(-scores_AN, axis=1, kind="stable")
        ranked_AN = np.take_along_axis(scores_AN, self._order_AN, 1)
        last_AN = np.ones(ranked_AN.shape, dtype=bool)  # of the items that score the same
        last_AN[:, :-1] = ranked_AN[:, :-1] != ranked_AN[:, 1:]
        places_N = np.arange(len(scores_NA))
        self._end_AN = np.minimum.accumulate(np.where(last_AN, places_N, len(scores_NA))[:, ::-1], axis=1)[:, ::-1]

    def __call__(self, labels_NA: Array) -> NDArray[np.float64]:
        """(A,), of attributes that some item has."""
        return np.array(
            [
                _average_precision(has_N[order_N], end_N)
                for has_N, order_N, end_N in zip(np.ascontiguousarray(labels_NA.T), self._order_AN, self._end_AN, strict=True)
            ]
        )


def _average_precision(has_N: Array, end_N: Array) -> float:
    """Of items from the highest score to the lowest; `end_N` is the place of the last that scores the same."""
    end_of_those = end_N[has_N > 0]
    return float(np.mean(has_N.cumsum(dtype=np.int64)[end_of_those] / (end_of_those + 1)))
