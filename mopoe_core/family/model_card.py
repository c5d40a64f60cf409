"""What a model's file says of it. Pure: no torch."""

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
    """All that a model of the family is, beside the configuration's fields and the formula that every model shares."""

    name: str
    """As in YAML."""
    title: str
    """As tables and claims write it."""
    rows: Callable[[ModelFields, Sequence[float]], Specification]
    """The numbers, from a configuration and the weights of the modalities' reconstructions."""
    place: int
    """Its place in legends and lists, from 0; no two models share one."""
    own_defaults: Fields = field(default_factory=dict)
    """What a field means when it is left out, where that is not the field's own default. Part of every identity: never change it."""
    own_fields: tuple[str, ...] = ()
    """Fields of the configuration that other models refuse."""
    presets: Mapping[str, Fields] = field(default_factory=dict)
    """What each preset sets for this model."""
    in_paper: bool = False
    """Whether the paper trains it, so that its tables have a row of published numbers."""
    step_factor: float = 1.0
    """Time of an optimiser step over that of MoPoE, for the estimates of `plan`."""
    aliases: Mapping[str, Alias] = field(default_factory=dict)

    @property
    def names(self) -> "dict[str, ModelCard | Alias]":
        """Every name that stands for it, its own first."""
        return {self.name: self, **self.aliases}

    @cached_property
    def _example(self) -> Specification:
        return self.rows(_ExampleFields(), (1.0, 1.0))

    @property
    def is_mixture(self) -> bool:
        """Whether its components are those of one mixture; else it adds up ELBOs, or has one component, and decodes every one."""
        return self._example.is_mixture

    @property
    def chooses_a_member(self) -> bool:
        """Whether its posterior given several modalities is a mixture of those given each, and no product."""
        return self._example.conditional == "mixture"

    @property
    def pulls_to_prior_only(self) -> bool:
        """Whether all its KLs are to the prior, so that one KL of the mixture can stand for them."""
        return self._example.references_RE == (prior_row(self._example.modalities),)

    @property
    def defaults(self) -> dict[str, Any]:
        """What the model means when a field is left out, where that is not the field's own default."""
        return ({} if self.is_mixture else {"estimator": "enumerate"}) | dict(self.own_defaults)


@dataclass(frozen=True)
class _ExampleFields:
    """Fields that show what holds of a model whatever they are."""

    prior_expert: str = "none"
    alpha: float = 0.5
    unimodal_reconstruction: str = "weighted"
