"""Linear probes: scikit-learn's logistic regressions on the posterior means of every subset, fitted side by side, applied as one tensor.

The fits are scikit-learn's own at its default tolerance, as in the paper. With this tolerance a fit stops before the optimum if a latent
dimension varies little, and the probe's predictions then depend on the solver's path. On embedded MNIST-SVHN-Text, regressions fitted to
convergence differ from these fits on up to 23 of 1,000 test examples, and have up to 23 fewer correct. scikit-learn's fits in float64
differ from those in float32 on up to 7. A better solver, however fast, would measure something else.

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
    """One fitted regression. Its scores are means @ weights + intercepts."""

    weights_DA: Array
    intercepts_A: Array


@dataclass(frozen=True)
class Probes:
    """The fitted probes of all subsets, on the device of the means to which they were fitted."""

    weights_SDA: Tensor
    intercepts_SA: Tensor
    classes_A: Tensor | None
    """The class of each score; None if the scores are of attributes."""

    def correct_or_scores(self, means_SBD: Tensor, labels: Tensor) -> Tensor:
        """Returns whether each probe predicts the right class, (S, B); for attributes, the scores (S, B, A)."""
        scores_SBA = torch.baddbmm(self.intercepts_SA[:, None], means_SBD.double(), self.weights_SDA)
        return scores_SBA if self.classes_A is None else self.classes_A[scores_SBA.argmax(-1)] == labels


def fit_probes(means_SND: Tensor, labels: Tensor) -> Probes:
    """Returns a probe for each subset: of the class (N,), or of every attribute (N, A)."""
    device, means = means_SND.device, list(means_SND.cpu().numpy())
    known_labels = labels.cpu().numpy()
    if known_labels.ndim == 1:
        fits = _fit_all([(means_ND, known_labels) for means_ND in means])
        classes_A = torch.from_numpy(np.unique(known_labels)).to(device)
    else:
        fits = _fit_attributes(means, known_labels)
        classes_A = None
    weights_SDA = torch.from_numpy(np.stack([fit.weights_DA for fit in fits])).double().to(device)
    intercepts_SA = torch.from_numpy(np.stack([fit.intercepts_A for fit in fits])).double().to(device)
    return Probes(weights_SDA, intercepts_SA, classes_A)


def _fit_attributes(means: Sequence[Array], labels_NA: Array) -> list[_Fit]:
    """Returns one fit for each subset, with a column for each attribute."""
    fits = _fit_all([(means_ND, labels_N) for means_ND in means for labels_N in labels_NA.T])
    attributes = labels_NA.shape[1]
    return [_as_columns(fits[start : start + attributes]) for start in range(0, len(fits), attributes)]


def _as_columns(fits: Sequence[_Fit]) -> _Fit:
    """Returns one subset's regressions as one fit: a column for each attribute, with the score for having it."""
    weights, intercepts = [fit.weights_DA[:, -1] for fit in fits], [fit.intercepts_A[-1] for fit in fits]
    return _Fit(np.stack(weights, -1), np.stack(intercepts))


def _fit_all(tasks: Sequence[tuple[Array, Array]]) -> list[_Fit]:
    """Fits all tasks (means, labels) in as many threads as torch may use, each with one BLAS thread.

    By default BLAS uses every core, for matrices that are too small for it: on two cores MNIST-SVHN-Text's seven probes then took 13.4 s
    instead of 0.5 s, and PolyMNIST's 31 took 72 s instead of 2.4 s.
    """
    # Warning filters belong to the whole process, so this one is set once and not in each thread. The protocol stops at 1000 iterations,
    # and the paper too reports probes that have not converged by then.
    with threadpool_limits(1, "blas"), warnings.catch_warnings(), ThreadPoolExecutor(torch.get_num_threads()) as threads:
        warnings.simplefilter("ignore", ConvergenceWarning)
        return list(threads.map(lambda task: _fit(*task), tasks))


def _fit(means_ND: Array, labels_N: Array) -> _Fit:
    """Returns a fit with one column for each class that occurs. If only one occurs, its label is the score."""
    classes = np.unique(labels_N)
    if len(classes) == 1:
        return _Fit(np.zeros((means_ND.shape[1], 1)), classes.astype(np.float64))
    regression = LogisticRegression(max_iter=ITERATIONS).fit(means_ND, labels_N)
    weights_DA, intercepts_A = regression.coef_.T, regression.intercept_
    if len(classes) == 2:  # scikit-learn scores the second class alone, against zero
        weights_DA, intercepts_A = np.pad(weights_DA, ((0, 0), (1, 0))), np.pad(intercepts_A, (1, 0))
    return _Fit(weights_DA, intercepts_A)
