"""A model of the family as rows of numbers, and functions that make rows which several models share. Pure: no torch.

`mopoe_core.models.objective` has the formula that uses the numbers.

Shape suffixes: M modality, E expert (prior first), C component, R reference of a KL. The 2 of `M2` is an axis of two: KLs to the prior,
KLs to the experts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Rows = tuple[tuple[float, ...], ...]


class ModelFields(Protocol):
    """The fields of a configuration that a model's rows may depend on."""

    @property
    def prior_expert(self) -> str:
        """Which products include the prior."""

    @property
    def alpha(self) -> float:
        """MVTCAE: the share of its KLs that pulls towards the experts; the rest pulls towards the prior."""

    @property
    def unimodal_reconstruction(self) -> str:
        """MVAE: whether its unimodal ELBOs use the reconstruction weights, `weighted` or `unweighted`."""


@dataclass(frozen=True)
class Specification:
    """A model of the family as numbers. Index 0 of an expert axis is the prior."""

    name: str
    experts_CE: Rows
    """A: exponents of the experts in each component."""
    weights_C: tuple[float, ...]
    """lambda: weights of the components in the reconstruction term."""
    decoded_CM: Rows
    """D: which modalities each component reconstructs."""
    references_RE: Rows
    """The distributions that the KL terms pull towards, as exponents of a product of experts; the prior is (1, 0, ..., 0)."""
    kl_CR: Rows
    """B: weight of KL(component || reference)."""
    is_mixture: bool
    """Whether `weights_C` weight the components of one mixture; else they weight ELBOs that are added. The two treat a hidden modality
    differently."""
    conditional: str
    """The form of q(z|X_S): `product` or `mixture` of the subset's experts."""
    prior_expert: str
    """Which conditional products include the prior: `none`, `full` (all modalities given) or `all`."""
    estimator: str
    """Estimator of the reconstruction term: `stratified`, `categorical`, `slices` or `enumerate`."""
    kl: str = "sum"
    """`sum` of the components' KLs, or the KL of the `mixture`."""
    factor_when_present_M: tuple[float, ...] = ()
    """Factors on the reconstruction of an example that has 1, 2, ..., M modalities; all 1 if the tuple is empty."""
    kl_factors_when_present_M2: Rows = ()
    """Factors on the KLs to the prior and to the experts for an example that has 1, 2, ..., M modalities; all 1 if empty."""

    @property
    def modalities(self) -> int:
        """The number of modalities M."""
        return len(self.decoded_CM[0])

    @property
    def layout(self) -> tuple[Any, ...]:
        """All that specifications of one stack must share: the rows' shapes, which component decodes which modality, the estimators."""
        is_decoded_CM = tuple(tuple(number > 0 for number in row) for row in self.decoded_CM)
        return len(self.weights_C), len(self.references_RE), is_decoded_CM, self.estimator, self.kl, self.is_mixture

    def conditional_rows(self, subset: Sequence[int]) -> Rows:
        """Exponents of the components whose uniform mixture is q(z|X_S); `subset` has the modalities' indices, from 0."""
        if self.conditional == "mixture":
            return tuple(product_row(self.modalities, [m], self.prior_expert) for m in subset)
        return (product_row(self.modalities, subset, self.prior_expert),)


def product_row(modalities: int, subset: Sequence[int], prior_expert: str) -> tuple[float, ...]:
    """Exponents of the product of a subset's experts, including the prior if `prior_expert` asks for it."""
    with_prior = prior_expert == "all" or (prior_expert == "full" and len(subset) == modalities)
    return (float(with_prior), *(float(m in subset) for m in range(modalities)))


def prior_row(modalities: int) -> tuple[float, ...]:
    """Exponents of the prior alone."""
    return product_row(modalities, (), "all")


def expert_rows(modalities: int, prior_expert: str = "none") -> Rows:
    """Exponents of each unimodal posterior."""
    return tuple(product_row(modalities, [m], prior_expert) for m in range(modalities))


def own_modality_rows(modalities: int) -> Rows:
    """Rows of D by which component m decodes modality m and no other."""
    return tuple(tuple(float(m == n) for n in range(modalities)) for m in range(modalities))


def to_prior(modalities: int, weights_C: tuple[float, ...]) -> tuple[Rows, Rows]:
    """References and weights of the KLs, if all of them are to the prior."""
    return (prior_row(modalities),), tuple((weight,) for weight in weights_C)


def uniform_mixture(
    name: str, modalities: int, subsets: Sequence[tuple[int, ...]], prior_expert: str, conditional: str
) -> Specification:
    """A uniform mixture of products over `subsets`. Each component decodes every modality; the KLs are to the prior."""
    weights = (1.0 / len(subsets),) * len(subsets)
    references, kl = to_prior(modalities, weights)
    return Specification(
        name=name,
        experts_CE=tuple(product_row(modalities, subset, prior_expert) for subset in subsets),
        weights_C=weights,
        decoded_CM=((1.0,) * modalities,) * len(subsets),
        references_RE=references,
        kl_CR=kl,
        is_mixture=True,
        conditional=conditional,
        prior_expert=prior_expert,
        estimator="stratified",
    )
