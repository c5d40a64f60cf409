"""The long table of one evaluation: every metric and its Monte-Carlo error, computed from the numbers of each example.

Shape suffixes: M modality, S subset, A class or attribute, N examples, G group of examples left out by the jackknife.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mopoe_core import metric_names
from mopoe_core.data.types import Dataset, Split
from mopoe_core.metric_names import Metric
from mopoe_core.metrics import class_shares
from mopoe_core.metrics.estimates import Estimate, Sharing, average_precisions, jackknifed, mean, mean_over_attributes

Array = NDArray[Any]


class MetricTable:
    """Collects the rows of one evaluation's long table."""

    def __init__(self, dataset: Dataset, test: Split, modalities: list[str], subsets: list[tuple[str, ...]]) -> None:
        self.attributes, self.classes, self.modalities, self.subsets = dataset.attributes, dataset.classes, modalities, subsets
        self.labels = test.labels.cpu().numpy()
        units_NM = test.units()
        self.sharing = None if units_NM is None else Sharing.of(units_NM.cpu().numpy())
        self.rows: dict[str, Metric] = {}

    def metrics(self, seen_MNA: Array, agreement_N: Array, numbers: dict[str, Array]) -> tuple[Metric, ...]:
        """Returns every metric, in the order of `metric_names.metric_names`.

        `seen_MNA` has what the classifiers see in draws from the prior, `agreement_N` how far they agree, and `numbers` the numbers of
        each test example by kind of metric.
        """
        self._add_row(metric_names.COHERENCE, "prior", "", mean(agreement_N), short=metric_names.JOINT)
        sizes = range(1, len(self.modalities) + 1)
        coherence = self._add_classified_rows(metric_names.COHERENCE, numbers[metric_names.COHERENCE], self.modalities)
        probe = self._add_classified_rows(metric_names.PROBE, numbers[metric_names.PROBE][:, None], [""])
        for size in sizes[:-1]:
            vectors = [vector for (S, m), vector in coherence.items() if len(S) == size and m not in S]
            self._add_mean_over_subsets(metric_names.COHERENCE, size, vectors)
        for size in sizes:
            self._add_mean_over_subsets(metric_names.PROBE, size, [vector for (S, _), vector in probe.items() if len(S) == size])
        for kind in (metric_names.LOG_LIKELIHOOD, metric_names.LOG_LIKELIHOOD_PAPER_VIEW):
            self._add_likelihood_rows(kind, numbers[kind], sizes)
        self._add_class_rows(seen_MNA)
        return tuple(self.rows[name] for name in metric_names.metric_names(self.modalities, self.attributes, self.classes))

    def _add_class_rows(self, seen_MNA: Array) -> None:
        """Adds how often each class or attribute is generated from the prior, and how often the test examples have it."""
        class_names = metric_names.class_names(self.attributes, self.classes)
        labels_NA = self.labels.reshape(len(self.labels), -1)
        for target, values_NA in zip(self.modalities, seen_MNA, strict=True):
            for name, share in class_shares.shares(values_NA, class_names, bool(self.attributes)):
                self._add_row(metric_names.GENERATED, "prior", target, share, attribute=name)
            self._add_row(metric_names.EFFECTIVE_CLASSES, "prior", target, class_shares.effective_classes(values_NA))
        for name, share in class_shares.shares(labels_NA, class_names, bool(self.attributes), self.sharing):
            self._add_row(metric_names.LABELS, "", "", share, attribute=name)
        effective = class_shares.effective_classes(labels_NA, self.sharing)
        self._add_row(metric_names.EFFECTIVE_CLASSES, "", metric_names.LABELS, effective)

    def _add_mean_over_subsets(self, kind: str, size: int, vectors: Sequence[Array]) -> None:
        """Adds the mean of a metric over subsets of one size."""
        self._add_row(kind, metric_names.given(size), "", self._estimate(np.mean(vectors, 0)))

    def _add_classified_rows(self, kind: str, numbers: Array, targets: Sequence[str]) -> dict[tuple[tuple[str, ...], str], Array]:
        """Adds the rows of every subset and target; returns their vectors, of which averages are taken."""
        vectors = {}
        for s, subset in enumerate(self.subsets):
            for t, target in enumerate(targets):
                vectors[subset, target] = self._vector(kind, subset, target, numbers[s, t])
                self._add_row(kind, metric_names.subset_name(subset), target, self._estimate(vectors[subset, target]))
        return vectors

    def _vector(self, kind: str, subset: tuple[str, ...], target: str, numbers: Array) -> Array:
        """Returns the examples' numbers. For attributes, adds a row for each and returns the replicates of the mean average precision."""
        if not self.attributes:
            return numbers
        precisions_AG = average_precisions(numbers, self.labels)
        for attribute, replicates in zip(self.attributes, precisions_AG, strict=True):
            estimate = jackknifed(replicates, len(self.labels))
            self._add_row(kind, metric_names.subset_name(subset), target, estimate, attribute=attribute)
        return mean_over_attributes(precisions_AG, self.labels)

    def _estimate(self, vector: Array) -> Estimate:
        """Returns the estimate from a vector of `_vector`, or from an average of such vectors."""
        return jackknifed(vector, len(self.labels)) if self.attributes else mean(vector, self.sharing)

    def _add_likelihood_rows(self, kind: str, numbers_SN: Array, sizes: range) -> None:
        for subset, values_N in zip(self.subsets, numbers_SN, strict=True):
            short = metric_names.likelihood_subset_name(subset, self.modalities)
            self._add_row(kind, metric_names.subset_name(subset), "", mean(values_N, self.sharing), short=short)
        for size in sizes:
            values_of_size = [values_N for S, values_N in zip(self.subsets, numbers_SN, strict=True) if len(S) == size]
            self._add_row(kind, metric_names.given(size), "", mean(np.mean(values_of_size, 0), self.sharing))

    def _add_row(self, kind: str, subset: str, target: str, estimate: Estimate, short: str = "", attribute: str = "") -> None:
        """Adds a metric; `short` replaces the subset in its name."""
        subset_part = short or ("" if kind in metric_names.OF_THE_PRIOR else subset)
        name = "/".join(part for part in (kind, subset_part, target, attribute) if part)
        classified = kind in (metric_names.COHERENCE, metric_names.PROBE) and subset != "prior"
        unit = metric_names.AVERAGE_PRECISION if self.attributes and classified else metric_names.UNITS[kind]
        self.rows[name] = Metric(name, kind, subset, target, estimate.value, estimate.error, estimate.n, unit, attribute)
