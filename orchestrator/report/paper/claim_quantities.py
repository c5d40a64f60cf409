"""Sums of metrics of models, and what a rule claims of them. Pure.

A quantity is a sum of terms, each a number times a metric of a model. Quantities can be added, subtracted and scaled:

    of("mopoe", metric) - 1.5 * of("mvae", metric)

Its sample is a number for each seed that all of its models have completed.

    MEMBER    log-likelihood as the paper measures it: for MMVAE with one member of its mixture as the proposal, for others with q(z|X_S).
              A member is the posterior of one modality. The mean over the members is therefore the mean of the bounds given a single
              modality, which is a bound itself. Table 4 agrees: MMVAE's means over members are -1954, -1922, -2003 and -1938 nats, and
              the paper prints -1941, -1912, -2002 and -1925 for the columns of more than one modality.
    MIXTURE   with MMVAE's whole mixture as the proposal, which is about as good as its best member
    VIEW      as the released code computes it, which is no bound; it takes one member an example
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from mopoe_core import metric_names
from orchestrator.analysis.model_groups import ModelGroup, Sample
from orchestrator.analysis.significance.hypotheses import ABOVE, DECIDES, SHOWN, Measured, Region
from orchestrator.spec.trial import Cell

MEMBER, MIXTURE, VIEW = "member", "mixture", "view"
TOLERANCE = 1e-12  # weights that cancel to less are zero


@dataclass(frozen=True)
class Term:
    """A number times a metric of a model."""

    weight: float
    model: str
    metric: str


@dataclass(frozen=True)
class Quantity:
    """A sum of terms; no two are of the same metric and model."""

    terms: tuple[Term, ...]

    def __add__(self, other: "Quantity") -> "Quantity":
        """The sum, with the terms of one metric and model put together."""
        weights: dict[tuple[str, str], float] = {}
        for term in (*self.terms, *other.terms):
            key = term.model, term.metric
            weights[key] = weights.get(key, 0.0) + term.weight
        return Quantity(tuple(Term(weight, *key) for key, weight in weights.items() if abs(weight) > TOLERANCE))

    def __rmul__(self, factor: float) -> "Quantity":
        """Every term times the factor."""
        return Quantity(tuple(Term(factor * term.weight, term.model, term.metric) for term in self.terms))

    def __sub__(self, other: "Quantity") -> "Quantity":
        """The difference."""
        return self + -1.0 * other

    def __str__(self) -> str:
        """As a formula; a model or a metric that all terms share is named once."""
        return _text(self.terms)

    @property
    def models(self) -> list[str]:
        """The models of its terms."""
        return list(dict.fromkeys(term.model for term in self.terms))

    @property
    def unit(self) -> str:
        """The unit of its metrics, which is one."""
        return metric_names.UNITS[self.terms[0].metric.partition("/")[0]]

    def sample(self, group: ModelGroup, cells: Mapping[str, Cell]) -> Sample:
        """Its value in each seed in which every model of `cells` reports what it needs."""
        samples = [group.sample(cells[term.model], term.metric) for term in self.terms]
        seeds = sorted(set.intersection(*(set(sample) for sample in samples)))
        return {seed: sum(t.weight * sample[seed] for t, sample in zip(self.terms, samples, strict=True)) for seed in seeds}


@dataclass(frozen=True)
class Contrast:
    """A quantity, and where its mean is claimed to be."""

    quantity: Quantity
    claimed: Region = ABOVE
    opposed: tuple[Quantity, ...] = ()
    """The quantities that contradict the claim if all of them lie outside; empty if the quantity itself does."""
    role: str = DECIDES

    @property
    def counts(self) -> bool:
        """Whether the verdict on the claim depends on it."""
        return self.role != SHOWN

    def measured(self, group: ModelGroup, cells: Mapping[str, Cell]) -> Measured:
        """The contrast on the trials of one cell for each model."""
        sample, opposed = self.quantity.sample(group, cells), tuple(other.sample(group, cells) for other in self.opposed)
        return Measured(str(self.quantity), self.quantity.unit, sample, self.claimed, opposed, role=self.role)


def of(model: str, metric: str) -> Quantity:
    """One metric of one model."""
    return Quantity((Term(1.0, model, metric),))


def mean_over_size(kind: str, size: int, modalities: Sequence[str]) -> str:
    """The name of the metric that is the mean over all subsets of so many modalities; of all modalities it is a single metric."""
    is_joint = size == len(modalities) and kind.startswith(metric_names.LOG_LIKELIHOOD)
    return f"{kind}/{metric_names.JOINT if is_joint else metric_names.given(size)}"


def likelihood(model: str, size: int, modalities: Sequence[str], reading: str = MEMBER) -> Quantity:
    """The log-likelihood of all modalities, as a mean over the subsets of so many given modalities."""
    if reading == VIEW:
        return of(model, mean_over_size(metric_names.LOG_LIKELIHOOD_PAPER_VIEW, size, modalities))
    counted = 1 if reading == MEMBER and model == "mmvae" else size  # each member is in as many of the subsets as every other
    return of(model, mean_over_size(metric_names.LOG_LIKELIHOOD, counted, modalities))


def likelihood_given(model: str, subset: Sequence[str], modalities: Sequence[str]) -> Quantity:
    """The log-likelihood of all modalities given one subset, as the paper measures it."""
    if model == "mmvae":
        singles = [Term(1 / len(subset), model, f"{metric_names.LOG_LIKELIHOOD}/{name}") for name in subset]
        return Quantity(tuple(singles))
    return of(model, f"{metric_names.LOG_LIKELIHOOD}/{metric_names.likelihood_subset_name(subset, modalities)}")


@cache
def _text(terms: tuple[Term, ...]) -> str:
    models, metrics = {term.model for term in terms}, {term.metric for term in terms}
    if len(models) == 1:
        return f"{terms[0].model}: {_formula([(term.weight, term.metric) for term in terms])}"
    if len(metrics) == 1:
        return f"{_formula([(term.weight, term.model) for term in terms])}: {terms[0].metric}"
    return _formula([(term.weight, f"{term.model} {term.metric}") for term in terms])


def _formula(parts: Sequence[tuple[float, str]]) -> str:
    return " ".join(_signed(weight, name, place == 0) for place, (weight, name) in enumerate(parts))


def _signed(weight: float, name: str, is_first: bool) -> str:
    sign = "−" if weight < 0 else "" if is_first else "+"
    size = "" if abs(abs(weight) - 1) < TOLERANCE else f"{abs(weight):.3g} × "
    return " ".join(part for part in (sign, f"{size}{name}") if part)
