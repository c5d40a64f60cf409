"""What determines a trained model, and nothing else. Pure: no torch.

`TrainingConfig` is the configuration of one model without its seed. How it is run (threads, devices, folders, retries) is not in
here, because it must not change a trial's identity.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

RECIPE = 1
"""Raised by hand when code changes what a finished trial means; it is part of every identity, so every trial is then a new one."""


@dataclass(frozen=True)
class DatasetCard:
    """What can be said of a dataset before it is loaded."""

    name: str
    modalities: tuple[str, ...]
    models: tuple[str, ...]
    sources: tuple[str, ...]
    networks: tuple[str, ...]
    train_examples: dict[str, int]
    """Training examples by source."""
    test_examples: dict[str, int]
    """Test examples by source."""


DATASETS = {
    "mnist_svhn_text": DatasetCard(
        name="mnist_svhn_text",
        modalities=("mnist", "svhn", "text"),
        models=("mvae", "mmvae", "mopoe"),
        sources=("embedded", "original"),
        networks=("paper", "small"),
        train_examples={"embedded": 80_000, "original": 1_121_360},
        test_examples={"embedded": 20_000, "original": 200_000},
    ),
}

ALIASES: dict[str, dict[str, str]] = {"eq5": {"model": "mopoe", "estimator": "enumerate"}}
"""Model names that stand for a model with a setting. Eq. (5) is MoPoE with every component decoded: one identity, two spellings."""

MODEL_DEFAULTS: dict[str, dict[str, str]] = {
    "mvae": {"estimator": "enumerate", "prior_expert": "all"},
    "mmvae": {"estimator": "stratified", "prior_expert": "none"},
    "mopoe": {"estimator": "stratified", "prior_expert": "none"},
}
"""What a model means when a field is left out."""


def _not_a_bool(value: Any) -> Any:
    """YAML reads `no` and `on` as booleans, and pydantic would read those as 0 and 1."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not a yes/no value")
    return value


def _plus_zero(value: float) -> float:
    return value + 0.0  # -0.0 would hash differently from 0.0


Number = Annotated[float, BeforeValidator(_not_a_bool), AfterValidator(_plus_zero)]
Whole = Annotated[int, BeforeValidator(_not_a_bool)]


class TrainingConfig(BaseModel):
    """One configuration of dataset, model and training, without a seed.

    Fields that are left out take the value of `MODEL_DEFAULTS` for their model, then the default written here. Fields that a model
    cannot have are refused, never ignored.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    dataset: str
    """Name in `DATASETS`."""
    source: str = "embedded"
    """Where the data come from: `embedded` needs no download, `original` is the published data."""
    model: str
    """`mvae`, `mmvae`, `mopoe`, or `eq5` for MoPoE trained on Eq. (5)."""
    networks: Literal["paper", "small"] = "paper"
    """`paper`: the released layer sizes; `small`: perceptrons derived from a modality's shape."""
    beta: Number = Field(default=1.0, ge=0)
    """Weight of the KL terms."""
    latent_dim: Whole = Field(default=20, ge=1, le=100_000)
    """Dimensions of the shared latent."""
    estimator: Literal["stratified", "categorical", "slices", "enumerate"] = "stratified"
    """How the expectation under the mixture is estimated; see `mopoe_core.objective`."""
    kl: Literal["sum", "mixture"] = "sum"
    """`sum`: weighted sum of the components' KLs (Eq. 12); `mixture`: KL of the mixture itself (Eq. 6), by Monte Carlo."""
    prior_expert: Literal["none", "full", "all"] = "none"
    """Which products include the expert N(0, I): none, the full set's only (as MoPoE's released code), or all."""
    likelihood: Literal["laplace", "normal", "bernoulli"] = "laplace"
    """Likelihood of image modalities; text is always categorical over characters."""
    reconstruction_weights: Literal["size", "equal"] = "size"
    """`size`: the largest modality's number of elements over this one's (Appendix B); `equal`: 1 each."""
    missing: Number = Field(default=0.0, ge=0, lt=1)
    """Share of the training set's entries (example, modality) that are hidden; an example always keeps one modality."""
    epochs: Whole = Field(default=150, ge=1, le=1_000_000)
    """Passes over the training examples."""
    batch_size: Whole = Field(default=256, ge=1)
    """Examples a step; the last, partial batch of an epoch is dropped."""
    learning_rate: Number = Field(default=1e-3, gt=0)
    """Adam's step size."""
    train_examples: Whole | None = Field(default=None, ge=500)
    """Train on this many examples (a fixed random selection); all when left out. At least 500: the linear probe needs them."""
    test_examples: Whole | None = Field(default=None, ge=100)
    """Evaluate on this many test examples (a fixed random selection); all when left out."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        filled = dict(values)
        model = _text(filled.get("model"))
        for field, value in ALIASES.get(model, {}).items():
            if field != "model" and filled.get(field, value) != value:
                raise ValueError(f"{field}: {filled[field]!r} contradicts model {model!r}, which means {field}: {value}")
            filled[field] = value
        for field, value in MODEL_DEFAULTS.get(_text(filled.get("model")), {}).items():
            filled.setdefault(field, value)
        return filled

    @model_validator(mode="after")
    def _agree(self) -> "TrainingConfig":
        card = choose("dataset", self.dataset, DATASETS)
        choose("source", self.source, card.sources)
        choose("model", self.model, [*card.models, *ALIASES])
        choose("networks", self.networks, card.networks)
        if self.model == "mvae":
            self._refuse_for_mvae()
        if self.estimator == "slices" and self.missing:
            raise ValueError("estimator: 'slices' cannot leave out hidden modalities; use stratified, categorical or enumerate")
        if self.estimator == "slices" and self.batch_size < self.components:
            raise ValueError(f"batch_size: {self.batch_size} is too small for estimator 'slices': at least {self.components}")
        self._check_sizes(card)
        return self

    def _refuse_for_mvae(self) -> None:
        if self.estimator != "enumerate":
            raise ValueError(f"estimator: {self.estimator!r} does not apply to model 'mvae', which is no mixture; leave it out")
        if self.kl != "sum":
            raise ValueError(f"kl: {self.kl!r} does not apply to model 'mvae', which is no mixture; leave it out")

    def _check_sizes(self, card: DatasetCard) -> None:
        sizes = (("train_examples", card.train_examples), ("test_examples", card.test_examples))
        for field, available in sizes:
            value = getattr(self, field)
            if value is not None and value > available[self.source]:
                raise ValueError(
                    f"{field}: {value} is more than the {available[self.source]} that {self.source} {self.dataset} has"
                )
        if self.batch_size > self.examples_per_epoch:
            raise ValueError(f"batch_size: {self.batch_size} is more than the {self.examples_per_epoch} training examples")

    @property
    def modalities(self) -> tuple[str, ...]:
        """The dataset's modalities, in its order."""
        return DATASETS[self.dataset].modalities

    @property
    def components(self) -> int:
        """Number of mixture components (for MVAE: of ELBOs that are added)."""
        count = len(self.modalities)
        by_model = {"mvae": count + 1, "mmvae": count, "mopoe": int(2**count) - 1}
        return by_model[self.model]

    @property
    def examples_per_epoch(self) -> int:
        """Training examples that one epoch draws from."""
        return self.train_examples or DATASETS[self.dataset].train_examples[self.source]

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in one epoch."""
        return self.examples_per_epoch // self.batch_size

    def canonical(self) -> dict[str, Any]:
        """The fields that differ from their defaults, as plain values: what an identity is a hash of.

        A new field with a default therefore changes no identity. `MODEL_DEFAULTS` count as defaults.
        """
        own = MODEL_DEFAULTS[self.model]
        fields = type(self).model_fields
        return {
            name: value
            for name, value in self.model_dump().items()
            if fields[name].is_required() or value != own.get(name, fields[name].default)
        }


def choose(field: str, value: str, allowed: Any) -> Any:
    """`allowed[value]` for a mapping, else `value`; a value that is not allowed raises ValueError with the nearest spelling."""
    if value not in allowed:
        raise ValueError(f"{field}: {value!r} is not offered{nearest(value, allowed)}; allowed: {', '.join(allowed)}")
    return allowed[value] if isinstance(allowed, dict) else value


def nearest(value: str, allowed: Any) -> str:
    """` (did you mean 'x'?)` for the nearest allowed spelling, or nothing."""
    from difflib import get_close_matches

    close = get_close_matches(value, list(allowed), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
