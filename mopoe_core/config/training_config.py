"""What determines a trained model, and nothing else. Pure: no torch.

`TrainingConfig` is the configuration of one model without its seed. How it is run (threads, devices, folders, retries) is not in
here, because it must not change a trial's identity.

A field that is left out takes the first of these that says anything: an alias of the model (`eq5`), the scale, the preset, the
model's own default, the field's default.
"""

import json
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationInfo, model_validator

from mopoe_core.config import presets
from mopoe_core.data.cards import DATASETS, MODELS, DataKey, DatasetCard, find, is_own
from mopoe_core.metric_names import metric_names
from mopoe_core.spelling import choose

RECIPE = 3
"""Raised by hand when code changes what a finished trial means; it is part of every identity, so every trial is then a new one."""

ALIASES: dict[str, dict[str, str]] = {"eq5": {"model": "mopoe", "estimator": "enumerate", "kl": "sum"}}
"""Model names that stand for a model with settings. Eq. (5) is MoPoE with every component decoded: one identity, two spellings."""

MODEL_DEFAULTS: dict[str, dict[str, Any]] = {
    "mvae": {"estimator": "enumerate", "prior_expert": "all"},
    "mmvae": {},
    "mopoe": {},
    "mvtcae": {"estimator": "enumerate"},
    "mmjsd": {},
    "mmvm": {"estimator": "enumerate"},
}
"""What a model means when a field is left out, where that is not the field's own default."""

MIXTURES = ("mmvae", "mopoe", "mmjsd")
"""Models whose components are those of one mixture; the others add up ELBOs, or have one component, and decode every one."""

CHOOSES_A_MEMBER = ("mmvae", "mmjsd", "mmvm")
"""Models whose posterior given several modalities is a mixture of those given each, and no product."""

NUMBERS = (
    "model",
    "beta",
    "beta_private",
    "private_weights",
    "given_private",
    "estimator",
    "kl",
    "prior_expert",
    "alpha",
    "unimodal_reconstruction",
    "reconstruction_weights",
    "missing",
    "learning_rate",
    "weight_decay",
    "importance_samples",
)
"""Fields in which the trials of one stack may differ: they change numbers, and not the shape of a network or a batch."""

LEAST_PROBED = 500
LEAST_TESTED = 100


def _not_a_bool(value: Any) -> Any:
    """YAML reads `no` and `on` as booleans, and pydantic would read those as 0 and 1."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not a yes/no value")
    return value


def _a_whole_number(value: Any) -> Any:
    """Refuse a range: pydantic reads the text `0-4` as -4."""
    if isinstance(value, str) and re.search(r"\d\s*[-+]", value):
        raise ValueError("must be a whole number")
    return value


def _plus_zero(value: float) -> float:
    return value + 0.0  # -0.0 would hash differently from 0.0


Number = Annotated[float, BeforeValidator(_not_a_bool), AfterValidator(_plus_zero)]
Whole = Annotated[int, BeforeValidator(_a_whole_number), BeforeValidator(_not_a_bool)]
Weight = Annotated[Number, Field(ge=0)]


class TrainingConfig(BaseModel):
    """One configuration of dataset, model and training, without a seed.

    `preset` (`paper`, the default, or `released_code`) may be given beside the fields: it fills in what they leave out. Fields that a
    model or dataset cannot have are refused, never ignored.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dataset: str
    """Name in `DATASETS`, or `file.py:function` for a dataset of the user's own (`mopoe_core.data.own.user_data`)."""
    data_hash: str = ""
    """Fingerprint of a dataset of the user's own, filled in; empty for the others."""
    source: str = "embedded"
    """Where the data come from: `embedded` needs no download, `original` is the published data, `own` the user's."""
    scale: Literal["paper", "small", "smoke"] | None = None
    """How much data and how many epochs: fixed by `presets.SIZES`; None for sizes of the user's own."""
    modality_count: Whole | None = None
    """The first so many modalities, where a dataset allows it; all when left out."""
    evaluate_on: Literal["test", "validation"] = "test"
    """Which partition the final metrics are taken on; `validation` (CelebA only) as the released code."""
    model: str
    """One of `MODELS`, or `eq5` for MoPoE trained on Eq. (5)."""
    networks: Literal["paper", "small"] = "paper"
    """`paper`: the released layer sizes; `small`: perceptrons derived from a modality's shape."""
    beta: Number = Field(default=1.0, ge=0)
    """Weight of the KL terms."""
    latent_dim: Whole = Field(default=20, ge=1, le=100_000)
    """Dimensions of the shared latent."""
    private_dim: Whole = Field(default=0, ge=0, le=100_000)
    """Dimensions of each modality's private latent (Eq. 34); 0 for none."""
    beta_private: Weight = 1.0
    """Weight of the private latents' KLs, relative to `beta`."""
    private_weights: tuple[Weight, ...] = ()
    """Weights of the modalities' private KLs, in the dataset's order; 1 each when left out."""
    given_private: Literal["prior", "posterior"] = "prior"
    """Where conditional generation draws the private latent of a given modality from: the `prior`, as published, or its own `posterior`.
    That of a modality that is not given always comes from the prior."""
    estimator: Literal["stratified", "categorical", "slices", "enumerate"] = "stratified"
    """How the expectation under the mixture is estimated; see `mopoe_core.models.objective`."""
    kl: Literal["sum", "mixture"] = "sum"
    """`sum`: weighted sum of the components' KLs (Eq. 12); `mixture`: KL of the mixture itself (Eq. 6), by Monte Carlo."""
    prior_expert: Literal["none", "full", "all"] = "none"
    """Which products include the expert N(0, I): none, the full set's only (as MoPoE's released code), or all."""
    alpha: Number = Field(default=5 / 6, ge=0, le=1)
    """MVTCAE: share of the KLs to the unimodal posteriors; 5/6 as its authors use for five modalities."""
    unimodal_reconstruction: Literal["weighted", "unweighted"] = "weighted"
    """MVAE: whether its unimodal ELBOs have the reconstruction weights too; `unweighted` as released."""
    likelihood: Literal["laplace", "normal", "bernoulli"] = "laplace"
    """Likelihood of image modalities; text is always categorical over characters."""
    reconstruction_weights: Literal["size", "equal"] | tuple[Weight, ...] = "size"
    """`size`: the largest modality's number of elements over this one's (Appendix B); `equal`: 1 each; or a weight a modality."""
    missing: Number = Field(default=0.0, ge=0, lt=1)
    """Share of the training set's entries (example, modality) that are hidden; an example always keeps one modality."""
    epochs: Whole = Field(default=150, ge=1, le=1_000_000)
    """Passes over the training examples."""
    batch_size: Whole = Field(default=256, ge=1)
    """Examples a step; the last, partial batch of an epoch is dropped."""
    learning_rate: Number = Field(default=1e-3, gt=0)
    """Adam's step size."""
    weight_decay: Number = Field(default=0.0, ge=0)
    """Adam's L2 penalty."""
    train_examples: Whole | None = Field(default=None, ge=1)
    """Train on this many examples (a fixed random selection); all when left out."""
    test_examples: Whole | None = Field(default=None, ge=1)
    """Evaluate on this many test examples (a fixed random selection); all when left out."""
    importance_samples: Whole = Field(default=15, ge=1, le=10_000)
    """Samples an example and subset, for the log-likelihoods."""
    _card: DatasetCard | None = PrivateAttr(None)
    """Of a dataset of the user's own, so that no later question runs the user's code."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any, info: ValidationInfo) -> Any:
        if not isinstance(values, dict):
            return values
        filled = dict(values)
        preset, name = filled.pop("preset", None), filled.get("model")
        choose("preset", preset or "paper", presets.PRESETS)
        for field, value in ALIASES.get(_text(name), {}).items():
            if field != "model" and filled.get(field, value) != value:
                raise ValueError(f"{field}: {filled[field]!r} contradicts model {name!r}, which means {field}: {value}")
            filled[field] = value
        dataset, model = _text(filled.get("dataset")), _text(filled.get("model"))
        card = _card_of(dataset, info)
        if card is None:
            return filled  # refused below, with the nearest spelling
        if card.data_hash:
            filled = _of_own(filled, card)
        filled = _usual(preset or "paper", dataset, model) | _sized(filled, card, preset) | filled
        if "private_weights" not in values and "beta_private" not in values and _same(filled.get("private_dim"), 0):
            filled = {field: value for field, value in filled.items() if field not in ("private_weights", "beta_private")}
        return _all_is_none(filled, card)

    @model_validator(mode="after")
    def _agree(self, info: ValidationInfo) -> "TrainingConfig":
        if is_own(self.dataset):
            self._card = _card_of(self.dataset, info)
        card = self._card or choose("dataset", self.dataset, DATASETS)
        choose("source", self.source, card.sources)
        choose("model", self.model, [*MODELS, *ALIASES])
        choose("networks", self.networks, card.networks)
        self._check_modalities(card)
        self._check_model()
        self._check_estimator()
        self._check_sizes(card)
        return self

    def _check_modalities(self, card: DatasetCard) -> None:
        count = self.modality_count
        if count is not None and not card.fewest_modalities:
            raise ValueError(f"modality_count: {self.dataset} has its {len(card.modalities)} modalities only; leave it out")
        if count is not None and not card.fewest_modalities <= count <= len(card.modalities):
            allowed = f"{card.fewest_modalities} to {len(card.modalities)}"
            raise ValueError(f"modality_count: {count} is not offered for {self.dataset}; allowed: {allowed}")
        if self.evaluate_on == "validation" and not card.validation_examples:
            raise ValueError(f"evaluate_on: {self.dataset} has no validation partition; allowed: test")
        for field in ("private_weights", "reconstruction_weights"):
            weights = getattr(self, field)
            if isinstance(weights, tuple) and len(weights) not in ((0, self.M) if field == "private_weights" else (self.M,)):
                raise ValueError(f"{field}: has {len(weights)} weights; {self.M} are needed, for {', '.join(self.modalities)}")
        if self.private_dim == 0 and (self.private_weights or self.beta_private != 1):
            raise ValueError(
                "private_dim: is 0, so that there are no private latents to weight; set it, or leave the weights out"
            )
        if self.private_dim == 0 and self.given_private != "prior":
            raise ValueError(
                "given_private: private_dim is 0, so that there are no private latents; set private_dim, or leave it out"
            )

    def _check_model(self) -> None:
        if self.model not in MIXTURES:
            if self.estimator != "enumerate":
                raise ValueError(
                    f"estimator: {self.estimator!r} does not apply to model {self.model!r}, which is no mixture; leave it out"
                )
            if self.kl != "sum":
                raise ValueError(f"kl: {self.kl!r} does not apply to model {self.model!r}, which is no mixture; leave it out")
        if self.model == "mmjsd" and self.kl != "sum":
            raise ValueError(f"kl: {self.kl!r} does not apply to model 'mmjsd', whose KLs are to the dynamic prior; leave it out")
        if self.model in CHOOSES_A_MEMBER and self.prior_expert == "full":
            raise ValueError(
                f"prior_expert: 'full' does not apply to model {self.model!r}, which has no full product; allowed: none, all"
            )
        for field, only in (("alpha", "mvtcae"), ("unimodal_reconstruction", "mvae")):
            if self.model != only and getattr(self, field) != type(self).model_fields[field].default:
                raise ValueError(f"{field}: applies to model {only!r} only, not to {self.model!r}; leave it out")
        if self.unimodal_reconstruction == "unweighted" and not all(self.reconstruction_weights):
            raise ValueError(
                "reconstruction_weights: a weight of 0 cannot be taken out again, as `unimodal_reconstruction: unweighted` asks; "
                "use weights above 0, or weighted"
            )

    def _check_estimator(self) -> None:
        if self.model in CHOOSES_A_MEMBER and self.importance_samples < self.M:
            raise ValueError(
                f"importance_samples: {self.importance_samples} is too few for model {self.model!r}, whose posterior is a mixture of "
                f"{self.M}; at least {self.M}"
            )
        if self.estimator == "slices" and self.missing:
            raise ValueError("estimator: 'slices' cannot leave out hidden modalities; use stratified, categorical or enumerate")
        if self.estimator == "slices" and self.batch_size < self.components:
            raise ValueError(f"batch_size: {self.batch_size} is too small for estimator 'slices': at least {self.components}")

    def _check_sizes(self, card: DatasetCard) -> None:
        tested = card.validation_examples if self.evaluate_on == "validation" else card.test_examples
        sizes = (("train_examples", card.train_examples, LEAST_PROBED), ("test_examples", tested, LEAST_TESTED))
        for field, available, least in sizes:
            value, most = getattr(self, field), available[self.source]
            if value is not None and value > most:
                raise ValueError(f"{field}: {value} is more than the {most} that {self.source} {self.dataset} has")
            if value is not None and value < min(least, most):
                raise ValueError(f"{field}: {value} is too few; at least {min(least, most)}")
        if self.batch_size > self.examples_per_epoch:
            raise ValueError(f"batch_size: {self.batch_size} is more than the {self.examples_per_epoch} training examples")

    @property
    def card(self) -> DatasetCard:
        """What is known of the dataset."""
        card = self._card or find(self.dataset)
        assert card is not None  # validation has seen to it
        return card

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that are used, in the dataset's order."""
        return self.card.modalities[: self.modality_count]

    @property
    def M(self) -> int:
        """Number of modalities."""
        return len(self.modalities)

    @property
    def published_model(self) -> str:
        """The model, or the alias that stands for it with its settings: `eq5` for MoPoE trained on Eq. (5)."""
        aliases = (name for name, meant in ALIASES.items() if all(getattr(self, f) == value for f, value in meant.items()))
        return next(aliases, self.model)

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the attributes, where labels are attributes and not one class."""
        return self.card.attributes.get(self.source, ())

    @property
    def metrics(self) -> list[str]:
        """The name of every final metric that a trial reports."""
        return metric_names(self.modalities, self.attributes, self.card.classes)

    @property
    def data_key(self) -> DataKey:
        """Which arrays it is trained and evaluated on."""
        return DataKey(self.dataset, self.source, self.M, self.evaluate_on)

    @property
    def components(self) -> int:
        """Number of components: of a mixture, or of ELBOs that are added."""
        return {
            "mvae": self.M + 1,
            "mmvae": self.M,
            "mopoe": int(2**self.M) - 1,
            "mvtcae": 1,
            "mmjsd": self.M + 1,
            "mmvm": self.M,
        }[self.model]

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
        """What the trials of one stack have in common: every field but those in `NUMBERS`, and whether modalities are hidden."""
        common = {name: value for name, value in self.model_dump(mode="json").items() if name not in NUMBERS}
        if self.missing:
            common["hides"] = True
        return json.dumps(common, sort_keys=True)

    def canonical(self) -> dict[str, Any]:
        """The fields that differ from their defaults, as plain values: what an identity is a hash of.

        A new field with a default therefore changes no identity. `MODEL_DEFAULTS` count as defaults; presets do not.
        """
        own = MODEL_DEFAULTS[self.model]
        fields = type(self).model_fields
        return {
            name: value
            for name, value in self.model_dump(mode="json").items()
            if fields[name].is_required() or getattr(self, name) != own.get(name, fields[name].default)
        }


def deviations(config: TrainingConfig) -> tuple[str, ...]:
    """How a configuration differs from the paper's own for its dataset and model, in words; empty for a reproduction's setting.

    Model, beta, estimator of Eq. (5) and seed are what the paper varies.
    """
    if config.dataset not in presets.PAPER:
        return ("a dataset that the paper does not have",)
    foreign = () if config.published_model in presets.PAPER_MODEL_NAMES else (f"model {config.model}, which it does not have",)
    varied = {"dataset": config.dataset, "model": config.published_model, "beta": config.beta, "scale": "paper"}
    paper = TrainingConfig.model_validate(varied).model_dump()
    ours = config.model_dump()
    differing = [field for field in ours if ours[field] != paper[field]]
    return (*foreign, *(f"{field} {_said(field, ours[field])} instead of {_said(field, paper[field])}" for field in differing))


def _said(field: str, value: Any) -> str:
    if value is None:
        return "all" if field in presets.SIZE_FIELDS else "left out"
    return str(value)


def _sized(fields: dict[str, Any], card: DatasetCard, preset: str | None) -> dict[str, Any]:
    """What the scale says of the fields; ValueError where one of them contradicts it."""
    scale = fields.get("scale")
    if scale is None:
        return {}
    if card.name not in presets.PAPER:
        raise ValueError(f"scale: {scale!r} is not offered for a dataset of your own; leave it out and set the sizes")
    if scale not in presets.SCALES:
        return {}  # refused by the field itself
    usual = presets.scale_defaults(scale)
    fixed = presets.scale_fields(scale, card.name, preset or _preset_of(fields, card.name))
    meant, written = _all_is_none(usual | fields | fixed, card), _all_is_none(usual | fields, card)
    for field, value in fixed.items():
        if field in fields and not _same(written[field], meant[field]):
            said = _said(field, value)
            raise ValueError(f"{field}: {fields[field]!r} contradicts scale {scale!r}, which means {said}; leave out one of them")
    return usual | {field: meant[field] for field in fixed}


def _preset_of(fields: dict[str, Any], dataset: str) -> str:
    """The preset whose epochs are written; a configuration that is read back says the numbers and not where they came from."""
    found = (p for p in presets.PRESETS if _same(fields.get("epochs"), presets.preset_fields(p, dataset, "")["epochs"]))
    return next(found, "paper")


def _same(written: Any, meant: Any) -> bool:
    """Whether two values of a number's field, as YAML may spell them, are one."""
    try:
        return float(written) == float(meant)
    except (TypeError, ValueError, OverflowError):
        return bool(written == meant)


def _usual(preset: str, dataset: str, model: str) -> dict[str, Any]:
    """What the preset says, over the model's own defaults."""
    own = MODEL_DEFAULTS.get(model, {})
    return own | presets.preset_fields(preset, dataset, model)


def _of_own(fields: dict[str, Any], card: DatasetCard) -> dict[str, Any]:
    """The configuration with the fingerprint of the user's data, which may not be another one than a trial was made with."""
    if fields.get("data_hash", card.data_hash) != card.data_hash:
        raise ValueError(f"data_hash: {card.name} holds other data now than when this was made; restore them, or start anew")
    return {"source": "own", "networks": "small"} | fields | {"data_hash": card.data_hash}


def _all_is_none(fields: dict[str, Any], card: DatasetCard) -> dict[str, Any]:
    """All, spelled out as a number, is the same configuration as leaving the number out."""
    source = _text(fields.get("source", "embedded"))
    if source not in card.sources:
        return fields
    tested = card.validation_examples if fields.get("evaluate_on") == "validation" else card.test_examples
    everything = {
        "train_examples": card.train_examples[source],
        "test_examples": tested.get(source),
        "modality_count": len(card.modalities),
    }
    return {name: None if name in everything and _same(value, everything[name]) else value for name, value in fields.items()}


def _card_of(dataset: str, info: ValidationInfo) -> DatasetCard | None:
    """The dataset's card: the one that `context={"cards": {name: card}}` gives, else what `find` finds, which runs a user's code."""
    cards: dict[str, DatasetCard] = (info.context or {}).get("cards", {})
    return cards[dataset] if dataset in cards else find(dataset)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
