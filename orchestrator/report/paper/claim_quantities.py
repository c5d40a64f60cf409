"""Sums of metrics of models, and the claims of rules about them. Pure.

A quantity is a sum of terms. A term is a number times a metric of a model. Quantities can be added, subtracted and scaled:

    of("mopoe", metric) - 1.5 * of("mvae", metric)

The sample of a quantity has a number for each seed that all of its models completed. A log-likelihood can be measured in three ways:

    MEMBER    as the paper measures it: for MMVAE with one member of its mixture as the proposal, for others with q(z|X_S). A member is
              the posterior of one modality. So the mean over the members is the mean of the bounds given a single modality, which is a
              bound itself. Table 4 agrees: MMVAE's means over members are -1954, -1922, -2003 and -1938 nats, and the paper prints
              -1941, -1912, -2002 and -1925 for the columns of more than one modality.
    MIXTURE   with MMVAE's whole mixture as the proposal, which is about as good as its best member
    VIEW      as the released code computes it, with one member for each example; this is no bound
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from mopoe_core import metric_names
from orchestrator.analysis.model_groups import ModelGroup, Sample
from orchestrator.analysis.significance.hypotheses import ABOVE, DECIDES, SHOWN, Measured, Region
from orchestrator.spec.trial import Cell

MEMBER, MIXTURE, VIEW = "member", "mixture", "view"
TOLERANCE = 1e-12  # smaller weights count as zero


@dataclass(frozen=True)
class Term:
    """A number times a metric of a model."""

    weight: float
    model: str
    metric: str


@dataclass(frozen=True)
class Quantity:
    """A sum of terms. No two terms have the same model and metric."""

    terms: tuple[Term, ...]

    def __add__(self, other: "Quantity") -> "Quantity":
        """Returns the sum. Terms with the same model and metric are merged."""
        weights: dict[tuple[str, str], float] = {}
        for term in (*self.terms, *other.terms):
            key = term.model, term.metric
            weights[key] = weights.get(key, 0.0) + term.weight
        return Quantity(tuple(Term(weight, *key) for key, weight in weights.items() if abs(weight) > TOLERANCE))

    def __rmul__(self, factor: float) -> "Quantity":
        """Returns every term times the factor."""
        return Quantity(tuple(Term(factor * term.weight, term.model, term.metric) for term in self.terms))

    def __sub__(self, other: "Quantity") -> "Quantity":
        """Returns the difference."""
        return self + -1.0 * other

    def __str__(self) -> str:
        """Returns a formula. A model or a metric that all terms share is named once."""
        return _text(self.terms)

    @property
    def models(self) -> list[str]:
        """The models of the terms."""
        return list(dict.fromkeys(term.model for term in self.terms))

    @property
    def unit(self) -> str:
        """The unit, which all metrics of the terms share."""
        return metric_names.UNITS[self.terms[0].metric.partition("/")[0]]

    def sample(self, group: ModelGroup, cells: Mapping[str, Cell]) -> Sample:
        """Returns the value with each seed that has all metrics of the terms. `cells` has the cell of each model."""
        samples = [group.sample(cells[term.model], term.metric) for term in self.terms]
        seeds = sorted(set.intersection(*(set(sample) for sample in samples)))
        weighted = list(zip([term.weight for term in self.terms], samples, strict=True))
        return {seed: sum(weight * sample[seed] for weight, sample in weighted) for seed in seeds}


@dataclass(frozen=True)
class Contrast:
    """A quantity, and the claim about its mean."""

    quantity: Quantity
    claimed: Region = ABOVE
    opposed: tuple[Quantity, ...] = ()
    """Quantities that together contradict the claim if the means of all are outside the region; empty if `quantity` alone decides."""
    role: str = DECIDES

    @property
    def counts(self) -> bool:
        """Whether the verdict on the claim depends on this contrast."""
        return self.role != SHOWN

    def measured(self, group: ModelGroup, cells: Mapping[str, Cell]) -> Measured:
        """Returns the contrast with the numbers of a group's trials. `cells` has the cell of each model."""
        sample = self.quantity.sample(group, cells)
        opposed = tuple(quantity.sample(group, cells) for quantity in self.opposed)
        return Measured(str(self.quantity), self.quantity.unit, sample, self.claimed, opposed, role=self.role)


def of(model: str, metric: str) -> Quantity:
    """Returns one metric of one model as a quantity."""
    return Quantity((Term(1.0, model, metric),))


def mean_over_size(kind: str, size: int, modalities: Sequence[str]) -> str:
    """Returns the name of the metric that is the mean over all subsets of `size` modalities."""
    is_joint = size == len(modalities) and kind.startswith(metric_names.LOG_LIKELIHOOD)
    return f"{kind}/{metric_names.JOINT if is_joint else metric_names.given(size)}"


def likelihood(model: str, size: int, modalities: Sequence[str], reading: str = MEMBER) -> Quantity:
    """Returns the log-likelihood of all modalities, as a mean over the subsets of `size` given modalities."""
    if reading == VIEW:
        return of(model, mean_over_size(metric_names.LOG_LIKELIHOOD_PAPER_VIEW, size, modalities))
    if reading == MEMBER and model == "mmvae":
        size = 1  # each member is in equally many subsets, so the mean is the same for every size
    return of(model, mean_over_size(metric_names.LOG_LIKELIHOOD, size, modalities))


def likelihood_given(model: str, subset: Sequence[str], modalities: Sequence[str]) -> Quantity:
    """Returns the log-likelihood of all modalities given one subset, as the paper measures it."""
    if model == "mmvae":
        singles = [Term(1 / len(subset), model, f"{metric_names.LOG_LIKELIHOOD}/{name}") for name in subset]
        return Quantity(tuple(singles))
    return of(model, f"{metric_names.LOG_LIKELIHOOD}/{metric_names.likelihood_subset_name(subset, modalities)}")


@cache
def _text(terms: tuple[Term, ...]) -> str:
    """Returns the formula of a sum of terms."""
    models, metrics = {term.model for term in terms}, {term.metric for term in terms}
    if len(models) == 1:
        return f"{terms[0].model}: {_formula([(term.weight, term.metric) for term in terms])}"
    if len(metrics) == 1:
        return f"{_formula([(term.weight, term.model) for term in terms])}: {terms[0].metric}"
    return _formula([(term.weight, f"{term.model} {term.metric}") for term in terms])


def _formula(parts: Sequence[tuple[float, str]]) -> str:
    return " ".join(_signed(weight, name, place == 0) for place, (weight, name) in enumerate(parts))


def _signed(weight: float, name: str, is_first: bool) -> str:
    """Returns a term of a formula: `mopoe`, `+ mopoe` or `− 1.5 × mvae`."""
    sign = "−" if weight < 0 else "" if is_first else "+"
    size = "" if abs(abs(weight) - 1) < TOLERANCE else f"{abs(weight):.3g} × "
    return " ".join(part for part in (sign, f"{size}{name}") if part)
