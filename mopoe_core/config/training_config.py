"""The configuration of one model without its seed: all that determines a trained model, and nothing else. It does not import torch.

How a model is trained (threads, devices, folders, retries) is not part of it, because that must not change a trial's identity.

A field that is left out takes its value from the first of these that has one: an alias of the model (`eq5`), the scale, the preset, the
model's own default, the field's default.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationInfo, model_validator

from mopoe_core.config import presets
from mopoe_core.config.consistency import check_consistency
from mopoe_core.config.field_types import Number, Weight, Whole, same_number, text_or_empty
from mopoe_core.config.filling_in import all_is_none, card_of, preset_and_model_defaults, scale_fields, with_own_data
from mopoe_core.config.roles import Role
from mopoe_core.data.cards import DATASETS, find, is_own
from mopoe_core.data.dataset_card import DataKey, DatasetCard
from mopoe_core.family.registry import ALIASES, MODELS
from mopoe_core.metric_names import metric_names
from mopoe_core.spelling import choose

RECIPE = 3
"""Raised by hand when code changes what a finished trial means. It is part of every identity, so every trial is then a new one."""


class TrainingConfig(BaseModel):
    """One configuration of dataset, model and training, without a seed.

    `preset` (`paper`, the default, or `released_code`) may be given beside the fields. It fills in those that are left out. A field that
    has no effect for the model or dataset is refused, never ignored.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dataset: Annotated[str, Role.COMPARISON_KEY | Role.GROUP_LABELLED]
    """Name in `DATASETS`, or `file.py:function` for a dataset of the user's own (`mopoe_core.data.own.user_data`)."""
    data_hash: Annotated[str, Role.COMPARISON_KEY | Role.NO_EFFECT_ON_SPEED] = ""
    """Fingerprint of a user's own dataset, which is filled in; empty for other datasets."""
    source: Annotated[str, Role.COMPARISON_KEY | Role.GROUP_LABELLED] = "embedded"
    """Where the data come from: `embedded` needs no download, `original` is the published data, `own` the user's."""
    scale: Annotated[
        Literal["paper", "small", "smoke"] | None,
        Role.COMPARISON_KEY | Role.GROUP_LABELLED | Role.LABELLED | Role.NO_EFFECT_ON_SPEED,
    ] = None
    """How much data and how many epochs are used, as `presets.SIZES` fixes them; None if the user sets the sizes."""
    modality_count: Annotated[Whole | None, Role.COMPARISON_KEY | Role.LABELLED] = None
    """How many modalities are used, from the first on, if the dataset allows a choice; None for all."""
    evaluate_on: Annotated[Literal["test", "validation"], Role.COMPARISON_KEY | Role.NO_EFFECT_ON_SPEED] = "test"
    """Which partition the final metrics are computed on; `validation` (CelebA only) as in the released code."""
    model: Annotated[str, Role.STACKABLE | Role.OBJECTIVE]
    """One of `MODELS`, or `eq5` for MoPoE trained on Eq. (5)."""
    networks: Annotated[Literal["paper", "small"], Role.GROUP_LABELLED] = "paper"
    """`paper`: the released layer sizes; `small`: perceptrons derived from a modality's shape."""
    precision: Annotated[Literal["fp32", "tf32", "bf16"], Role.LABELLED] = "fp32"
    """In which precision the networks compute; see `mopoe_core.networks.precision`. Losses and likelihoods are always float32."""
    beta: Annotated[Number, Role.STACKABLE | Role.OBJECTIVE] = Field(default=1.0, ge=0)
    """Weight of the KL terms."""
    latent_dim: Annotated[Whole, Role.LABELLED] = Field(default=20, ge=1, le=100_000)
    """Dimensions of the shared latent."""
    private_dim: Annotated[Whole, Role.LABELLED] = Field(default=0, ge=0, le=100_000)
    """Dimensions of each modality's private latent (Eq. 34); 0 for none."""
    beta_private: Annotated[Weight, Role.STACKABLE] = 1.0
    """Weight of the private latents' KLs, relative to `beta`."""
    private_weights: Annotated[tuple[Weight, ...], Role.STACKABLE] = ()
    """Weights of the modalities' private KLs, in the dataset's order; 1 each when left out."""
    given_private: Annotated[Literal["prior", "posterior"], Role.STACKABLE | Role.LABELLED | Role.COMPARISON_KEY] = "prior"
    """From which distribution conditional generation draws the private latent of a given modality: the `prior`, as published, or its own
    `posterior`. The private latent of a modality that is not given always comes from the prior."""
    estimator: Annotated[
        Literal["stratified", "categorical", "slices", "enumerate"], Role.STACKABLE | Role.LABELLED | Role.OBJECTIVE
    ] = "stratified"
    """How the expectation under the mixture is estimated; see `mopoe_core.models.objective`."""
    kl: Annotated[Literal["sum", "mixture"], Role.STACKABLE | Role.LABELLED | Role.OBJECTIVE] = "sum"
    """`sum`: weighted sum of the components' KLs (Eq. 12); `mixture`: KL of the mixture itself (Eq. 6), by Monte Carlo."""
    prior_expert: Annotated[Literal["none", "full", "all"], Role.STACKABLE | Role.LABELLED | Role.OBJECTIVE] = "none"
    """Which products include the expert N(0, I): `none`, the full set's only (`full`, as in MoPoE's released code), or `all`."""
    alpha: Annotated[Number, Role.STACKABLE | Role.LABELLED | Role.OBJECTIVE] = Field(default=5 / 6, ge=0, le=1)
    """Only for MVTCAE: share of the KLs to the unimodal posteriors. 5/6 is what its authors use for five modalities."""
    unimodal_reconstruction: Annotated[Literal["weighted", "unweighted"], Role.STACKABLE | Role.OBJECTIVE] = "weighted"
    """Only for MVAE: whether its unimodal ELBOs have the reconstruction weights too. The released code has `unweighted`."""
    likelihood: Annotated[Literal["laplace", "normal", "bernoulli"], Role.LABELLED | Role.COMPARISON_KEY] = "laplace"
    """Likelihood of image modalities; text is always categorical over characters."""
    reconstruction_weights: Annotated[Literal["size", "equal"] | tuple[Weight, ...], Role.STACKABLE | Role.LABELLED] = "size"
    """`size`: the largest modality's size divided by this modality's (Appendix B); `equal`: 1 each; or a weight for each modality."""
    missing: Annotated[Number, Role.STACKABLE | Role.LABELLED] = Field(default=0.0, ge=0, lt=1)
    """Probability p with which an entry (example, modality) of the training set is hidden. An example that loses all M modalities gets
    one back, so that a share of p - p^M / M is hidden."""
    epochs: Annotated[Whole, Role.SIZE | Role.NO_EFFECT_ON_SPEED] = Field(default=150, ge=1, le=1_000_000)
    """Passes over the training examples."""
    batch_size: Annotated[Whole, Role.NONE] = Field(default=256, ge=1)
    """Examples in each step; the last, partial batch of an epoch is dropped."""
    learning_rate: Annotated[Number, Role.STACKABLE] = Field(default=1e-3, gt=0)
    """Adam's step size."""
    weight_decay: Annotated[Number, Role.STACKABLE] = Field(default=0.0, ge=0)
    """Adam's L2 penalty."""
    train_examples: Annotated[Whole | None, Role.SIZE | Role.NO_EFFECT_ON_SPEED] = Field(default=None, ge=1)
    """Train on this many examples (a fixed random selection); all when left out."""
    test_examples: Annotated[Whole | None, Role.SIZE | Role.NO_EFFECT_ON_SPEED | Role.COMPARISON_KEY] = Field(default=None, ge=1)
    """Evaluate on this many test examples (a fixed random selection); all when left out."""
    importance_samples: Annotated[Whole, Role.STACKABLE | Role.COMPARISON_KEY] = Field(default=15, ge=1, le=10_000)
    """Samples for each example and subset, for the log-likelihoods."""
    _card: DatasetCard | None = PrivateAttr(None)
    """The card of a user's own dataset, stored so that the user's code runs once."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any, info: ValidationInfo) -> Any:
        if not isinstance(values, dict):
            return values
        filled = dict(values)
        preset, name = filled.pop("preset", None), filled.get("model")
        choose("preset", preset or "paper", presets.PRESETS)
        for field, value in ALIASES.get(text_or_empty(name), {}).items():
            if field != "model" and filled.get(field, value) != value:
                raise ValueError(f"{field}: {filled[field]!r} contradicts model {name!r}, which means {field}: {value}")
            filled[field] = value
        dataset, model = text_or_empty(filled.get("dataset")), text_or_empty(filled.get("model"))
        card = card_of(dataset, info)
        if card is None:
            return filled  # `_agree` refuses it with the nearest spelling
        if card.data_hash:
            filled = with_own_data(filled, card)
        filled = preset_and_model_defaults(preset or "paper", dataset, model) | scale_fields(filled, card, preset) | filled
        if "private_weights" not in values and "beta_private" not in values and same_number(filled.get("private_dim"), 0):
            filled = {field: value for field, value in filled.items() if field not in ("private_weights", "beta_private")}
        return all_is_none(filled, card)

    @model_validator(mode="after")
    def _agree(self, info: ValidationInfo) -> "TrainingConfig":
        if is_own(self.dataset):
            self._card = card_of(self.dataset, info)
        card = self._card or choose("dataset", self.dataset, DATASETS)
        choose("source", self.source, card.sources)
        choose("model", self.model, [*MODELS, *ALIASES])
        choose("networks", self.networks, card.networks)
        check_consistency(self, card)
        return self

    @property
    def card(self) -> DatasetCard:
        """The dataset's card."""
        card = self._card or find(self.dataset)
        assert card is not None  # `_agree` has checked it
        return card

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities that are used, in the dataset's order."""
        return self.card.modalities[: self.modality_count]

    @property
    def M(self) -> int:
        """Number of modalities."""
        return len(self.modalities)

    @property
    def published_model(self) -> str:
        """The model's name, or the alias that means this model with its settings: `eq5` for MoPoE trained on Eq. (5)."""
        for alias, meaning in ALIASES.items():
            if all(getattr(self, field) == value for field, value in meaning.items()):
                return alias
        return self.model

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the attributes; empty if labels are classes."""
        return self.card.attributes.get(self.source, ())

    @property
    def metrics(self) -> list[str]:
        """Names of all final metrics that a trial reports."""
        return metric_names(self.modalities, self.attributes, self.card.classes)

    @property
    def data_key(self) -> DataKey:
        """The key of the arrays that the model is trained and evaluated on."""
        return DataKey(self.dataset, self.source, self.M, self.evaluate_on)

    @property
    def components(self) -> int:
        """Number of components of the mixture; for a sum of ELBOs, the number of ELBOs."""
        return len(MODELS[self.model].rows(self, (1.0,) * self.M).weights_C)

    @property
    def examples_per_epoch(self) -> int:
        """Training examples that one epoch draws from."""
        return self.train_examples or self.card.train_examples[self.source]

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in one epoch."""
        return self.examples_per_epoch // self.batch_size

    @property
    def shape(self) -> str:
        """JSON text that all trials of one stack have in common: the fields that are not stackable, and whether modalities are hidden."""
        stackable = fields_with(Role.STACKABLE)
        shared = {name: value for name, value in self.model_dump(mode="json").items() if name not in stackable}
        if self.missing:
            shared["hides"] = True
        return json.dumps(shared, sort_keys=True)

    def canonical(self) -> dict[str, Any]:
        """Returns the fields that differ from their defaults, as plain values. An identity is a hash of them.

        A new field with a default therefore changes no identity. A model's own defaults count as defaults; presets do not.
        """
        model_defaults = MODELS[self.model].defaults
        fields = type(self).model_fields
        return {
            name: value
            for name, value in self.model_dump(mode="json").items()
            if fields[name].is_required() or getattr(self, name) != model_defaults.get(name, fields[name].default)
        }


def with_defaults(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a stored configuration with defaults for missing fields: those that were added to `TrainingConfig` after it was stored."""
    defaults = {name: info.default for name, info in TrainingConfig.model_fields.items() if not info.is_required()}
    model = text_or_empty(stored.get("model"))
    return defaults | (MODELS[model].defaults if model in MODELS else {}) | dict(stored)


@cache
def fields_with(role: Role) -> tuple[str, ...]:
    """Returns the fields that have a role, in the order of `TrainingConfig`."""
    return tuple(name for name, field in TrainingConfig.model_fields.items() if role in role_of(name, field.metadata))


def role_of(name: str, metadata: list[Any]) -> Role:
    """Returns the role in a field's annotation. Raises TypeError if there is none (`Role.NONE` counts as one) or several."""
    roles = [mark for mark in metadata if isinstance(mark, Role)]
    if len(roles) != 1:
        raise TypeError(f"{name}: needs one Role in its annotation (several are joined by |; Role.NONE for none)")
    return roles[0]
