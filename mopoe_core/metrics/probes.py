"""Linear probes: scikit-learn's logistic regressions on the posterior means of every subset, fitted together and judged as one tensor.

The fits are scikit-learn's own, at its default tolerance, as the paper's were. That tolerance stops short of the optimum where a
latent dimension varies little, and what a probe then says depends on the path there: on embedded MNIST-SVHN-Text, regressions fitted
to convergence differ from it on up to 23 of 1,000 test examples, with an accuracy lower by as many, and its own fits in float64 from
those in float32 by up to 7. A better solver, however fast, would measure something else.

Shape suffixes: B batch, S subset, D latent dimension, A class or attribute, N examples.
"""

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor

ITERATIONS = 1000

Array = NDArray[Any]


@dataclass(frozen=True)
class _Fit:
    """One regression: scores are means @ weights + intercepts."""

    weights_DA: Array
    intercepts_A: Array


@dataclass(frozen=True)
class Probes:
    """The fitted probes of all subsets, on the device of the means that they were fitted to."""

    weights_SDA: Tensor
    intercepts_SA: Tensor
    classes_A: Tensor | None
    """The class that each score is for; None where the scores are of attributes."""

    def judge(self, means_SBD: Tensor, labels: Tensor) -> Tensor:
        """Of classes, whether each probe is right (S, B); of attributes, their scores (S, B, A)."""
        scores_SBA = torch.baddbmm(self.intercepts_SA[:, None], means_SBD.double(), self.weights_SDA)
        return scores_SBA if self.classes_A is None else self.classes_A[scores_SBA.argmax(-1)] == labels


def fit_probes(means_SND: Tensor, labels: Tensor) -> Probes:
    """A probe for each subset: of the class (N,), or of every attribute (N, A)."""
    device, means = means_SND.device, list(means_SND.cpu().numpy())
    known = labels.cpu().numpy()
    if known.ndim == 1:
        fits = _fit_all([(of_subset, known) for of_subset in means])
        classes = torch.from_numpy(np.unique(known)).to(device)
    else:
        fits = [_attributes(part) for part in _chunks(_fit_all([(m, has) for m in means for has in known.T]), known.shape[1])]
        classes = None
    weights = torch.from_numpy(np.stack([fit.weights_DA for fit in fits])).double().to(device)
    return Probes(weights, torch.from_numpy(np.stack([fit.intercepts_A for fit in fits])).double().to(device), classes)


def _chunks(fits: list[_Fit], size: int) -> list[list[_Fit]]:
    return [fits[start : start + size] for start in range(0, len(fits), size)]


def _attributes(fits: Sequence[_Fit]) -> _Fit:
    """One subset's regressions as one: of each the score for having the attribute."""
    weights, intercepts = [fit.weights_DA[:, -1] for fit in fits], [fit.intercepts_A[-1] for fit in fits]
    return _Fit(np.stack(weights, -1), np.stack(intercepts))


def _fit_all(tasks: Sequence[tuple[Array, Array]]) -> list[_Fit]:
    """Side by side, in as many threads as torch may use, each with BLAS on one thread.

    Left alone, BLAS takes every core for matrices that are too small for it: on two cores that made MNIST-SVHN-Text's seven probes
    take 13.4 s in place of 0.5 s, and PolyMNIST's 31 take 72 s in place of 2.4 s.
    """
    # The filter is the whole process's and is set once, not in each thread: the protocol stops at 1000 iterations, and a probe that is
    # not converged then is what the paper reports as well.
    with threadpool_limits(1, "blas"), warnings.catch_warnings(), ThreadPoolExecutor(torch.get_num_threads()) as threads:
        warnings.simplefilter("ignore", ConvergenceWarning)
        return list(threads.map(lambda task: _fit(*task), tasks))


def _fit(means_ND: Array, labels_N: Array) -> _Fit:
    """A column a class that occurs; where only one does, its label is the score."""
    classes = np.unique(labels_N)
    if len(classes) == 1:
        return _Fit(np.zeros((means_ND.shape[1], 1)), classes.astype(np.float64))
    found = LogisticRegression(max_iter=ITERATIONS).fit(means_ND, labels_N)
    weights_DA, intercepts_A = found.coef_.T, found.intercept_
    if len(classes) == 2:  # scikit-learn scores the second class alone, against zero
        weights_DA, intercepts_A = np.pad(weights_DA, ((0, 0), (1, 0))), np.pad(intercepts_A, (1, 0))
    return _Fit(weights_DA, intercepts_A)
