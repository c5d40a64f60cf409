"""The description that each model's file gives of its model. Pure: no torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mopoe_core.family.specification import ModelFields, Specification, prior_row

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Alias:
    """Another name for a model with some of its fields set: one identity, two spellings."""

    title: str
    fields: Fields
    in_paper: bool = False


@dataclass(frozen=True)
class ModelCard:
    """Everything that distinguishes a model from the others of the family."""

    name: str
    """The name in YAML."""
    title: str
    """The name in tables and claims."""
    rows: Callable[[ModelFields, Sequence[float]], Specification]
    """Makes the model's numbers from a configuration and the modalities' reconstruction weights."""
    place: int
    """Its place in legends and lists, from 0; no two models share one."""
    own_defaults: Fields = field(default_factory=dict)
    """Defaults of this model that replace the fields' usual defaults. They are part of every identity: never change them."""
    own_fields: tuple[str, ...] = ()
    """Fields of the configuration that other models refuse."""
    presets: Mapping[str, Fields] = field(default_factory=dict)
    """The fields that each preset sets for this model."""
    in_paper: bool = False
    """Whether the paper trains it, so that its tables have a row of published numbers."""
    step_factor: float = 1.0
    """The time of an optimiser step, divided by that of MoPoE, for the estimates of `plan`."""
    aliases: Mapping[str, Alias] = field(default_factory=dict)

    @property
    def names(self) -> "dict[str, ModelCard | Alias]":
        """The model's own name and then its aliases, each with its card."""
        return {self.name: self, **self.aliases}

    @cached_property
    def _example(self) -> Specification:
        return self.rows(_ExampleFields(), (1.0, 1.0))

    @property
    def is_mixture(self) -> bool:
        """Whether its components form one mixture. A model of another kind decodes every component."""
        return self._example.is_mixture

    @property
    def chooses_a_member(self) -> bool:
        """Whether its posterior given several modalities is a mixture of unimodal posteriors; else it is a product."""
        return self._example.conditional == "mixture"

    @property
    def pulls_to_prior_only(self) -> bool:
        """Whether all its KLs are to the prior, so that one KL of the mixture can stand for them."""
        return self._example.references_RE == (prior_row(self._example.modalities),)

    @property
    def defaults(self) -> dict[str, Any]:
        """All defaults of this model that replace the fields' usual defaults."""
        return ({} if self.is_mixture else {"estimator": "enumerate"}) | dict(self.own_defaults)


@dataclass(frozen=True)
class _ExampleFields:
    """Fields for an example specification; the properties read from it do not depend on them."""

    prior_expert: str = "none"
    alpha: float = 0.5
    unimodal_reconstruction: str = "weighted"
