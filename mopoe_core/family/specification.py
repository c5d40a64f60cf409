"""What a model of the family is: rows of numbers, and the parts that several models build theirs from. Pure: no torch.

`mopoe_core.models.objective` has the formula in which the numbers stand.

Shape suffixes: M modality, E expert (prior first), C component, R reference of a KL.
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
        """MVTCAE's."""

    @property
    def unimodal_reconstruction(self) -> str:
        """MVAE's."""


@dataclass(frozen=True)
class Specification:
    """A member of the family as numbers. Index 0 of an expert axis is the prior."""

    name: str
    experts_CE: Rows
    """A: exponents of the experts in each component."""
    weights_C: tuple[float, ...]
    """lambda: weights of the components in the reconstruction term."""
    decoded_CM: Rows
    """D: which modalities each component reconstructs."""
    references_RE: Rows
    """What the KL terms pull towards, as products of experts; the prior is (1, 0, ..., 0)."""
    kl_CR: Rows
    """B: weight of KL(component || reference)."""
    is_mixture: bool
    """Whether `weights_C` are the weights of one mixture, or of ELBOs that are added. It decides what a hidden modality does."""
    conditional: str
    """q(z|X_S): `product` of the subset's experts, or `mixture` of them."""
    prior_expert: str
    """Which conditional products include the prior: `none`, `full` (all modalities given) or `all`."""
    estimator: str
    """`stratified`, `categorical`, `slices` or `enumerate`."""
    kl: str = "sum"
    """`sum` or `mixture`."""
    factor_when_present_M: tuple[float, ...] = ()
    """Factor on the reconstruction where 1, 2, ..., M modalities are present; 1 each when left out."""
    kl_factors_when_present_M2: Rows = ()
    """Factors on the KLs to the prior and to the experts where 1, 2, ..., M modalities are present; 1 each when left out."""

    @property
    def modalities(self) -> int:
        """M."""
        return len(self.decoded_CM[0])

    @property
    def layout(self) -> tuple[Any, ...]:
        """What must be the same for specifications to be stacked: the shapes of their rows, who decodes what, how it is estimated."""
        decodes = tuple(tuple(number > 0 for number in row) for row in self.decoded_CM)
        return len(self.weights_C), len(self.references_RE), decodes, self.estimator, self.kl, self.is_mixture

    def conditional_rows(self, subset: Sequence[int]) -> Rows:
        """Exponents of the components whose uniform mixture is q(z|X_S); `subset` holds modality indices from 0."""
        if self.conditional == "mixture":
            return tuple(product_row(self.modalities, [m], self.prior_expert) for m in subset)
        return (product_row(self.modalities, subset, self.prior_expert),)


def product_row(modalities: int, subset: Sequence[int], prior_expert: str) -> tuple[float, ...]:
    """Exponents of the product over a subset, with the prior where `prior_expert` says so."""
    with_prior = prior_expert == "all" or (prior_expert == "full" and len(subset) == modalities)
    return (float(with_prior), *(float(m in subset) for m in range(modalities)))


def prior_row(modalities: int) -> tuple[float, ...]:
    """Exponents of the prior alone."""
    return product_row(modalities, (), "all")


def expert_rows(modalities: int, prior_expert: str = "none") -> Rows:
    """Exponents of each unimodal posterior."""
    return tuple(product_row(modalities, [m], prior_expert) for m in range(modalities))


def own_modality_rows(modalities: int) -> Rows:
    """Who decodes what, where component m decodes modality m alone."""
    return tuple(tuple(float(m == n) for n in range(modalities)) for m in range(modalities))


def to_prior(modalities: int, weights_C: tuple[float, ...]) -> tuple[Rows, Rows]:
    """References and weights for KLs to the prior alone."""
    return (prior_row(modalities),), tuple((weight,) for weight in weights_C)


def uniform_mixture(
    name: str, modalities: int, subsets: Sequence[tuple[int, ...]], prior_expert: str, conditional: str
) -> Specification:
    """A uniform mixture of products over `subsets`, each decoded into everything, with KLs to the prior."""
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
