"""Checks that the fields of a configuration agree with each other, with the dataset and with the model."""

from typing import TYPE_CHECKING

from mopoe_core.data.dataset_card import DatasetCard
from mopoe_core.family.model_card import ModelCard
from mopoe_core.family.registry import MODELS

if TYPE_CHECKING:
    from mopoe_core.config.training_config import TrainingConfig

LEAST_PROBED = 500
"""Smallest number of training examples, unless the dataset has fewer: the probes are fitted on so many."""
LEAST_TESTED = 100
"""Smallest number of test examples, unless the dataset has fewer."""


def check_consistency(config: "TrainingConfig", card: DatasetCard) -> None:
    """Raises ValueError, which begins with the name of a field, if fields contradict each other or `card`."""
    _check_modalities(config, card)
    _check_weights(config)
    _check_private(config)
    _check_model(config)
    _check_estimator(config)
    _check_sizes(config, card)


def _check_modalities(config: "TrainingConfig", card: DatasetCard) -> None:
    count = config.modality_count
    if count is not None and not card.fewest_modalities:
        raise ValueError(f"modality_count: {config.dataset} has its {len(card.modalities)} modalities only; leave it out")
    if count is not None and not card.fewest_modalities <= count <= len(card.modalities):
        allowed = f"{card.fewest_modalities} to {len(card.modalities)}"
        raise ValueError(f"modality_count: {count} is not offered for {config.dataset}; allowed: {allowed}")
    if config.evaluate_on == "validation" and not card.validation_examples:
        raise ValueError(f"evaluate_on: {config.dataset} has no validation partition; allowed: test")


def _check_weights(config: "TrainingConfig") -> None:
    """Raises ValueError if weights are not one for each modality; `private_weights` may also be empty."""
    allowed_lengths = {"private_weights": (0, config.M), "reconstruction_weights": (config.M,)}
    for field, lengths in allowed_lengths.items():
        weights = getattr(config, field)
        if isinstance(weights, tuple) and len(weights) not in lengths:
            raise ValueError(f"{field}: has {len(weights)} weights; {config.M} are needed, for {', '.join(config.modalities)}")


def _check_private(config: "TrainingConfig") -> None:
    if config.private_dim == 0 and (config.private_weights or config.beta_private != 1):
        raise ValueError("private_dim: is 0, so that there are no private latents to weight; set it, or leave the weights out")
    if config.private_dim == 0 and config.given_private != "prior":
        raise ValueError(
            "given_private: private_dim is 0, so that there are no private latents; set private_dim, or leave it out"
        )


def _check_model(config: "TrainingConfig") -> None:
    model = MODELS[config.model]
    if not model.is_mixture and config.estimator != "enumerate":
        raise ValueError(
            f"estimator: {config.estimator!r} does not apply to model {config.model!r}, which is no mixture; leave it out"
        )
    if not model.is_mixture and config.kl != "sum":
        raise ValueError(f"kl: {config.kl!r} does not apply to model {config.model!r}, which is no mixture; leave it out")
    if config.kl != "sum" and not model.pulls_to_prior_only:
        raise ValueError(
            f"kl: {config.kl!r} does not apply to model {config.model!r}, whose KLs are not to the prior; leave it out"
        )
    if model.chooses_a_member and config.prior_expert == "full":
        raise ValueError(
            f"prior_expert: 'full' does not apply to model {config.model!r}, which has no full product; allowed: none, all"
        )
    _check_fields_of_others(config, model)
    if config.unimodal_reconstruction == "unweighted" and not all(config.reconstruction_weights):
        raise ValueError(
            "reconstruction_weights: a weight of 0 cannot be taken out again, as `unimodal_reconstruction: unweighted` asks; "
            "use weights above 0, or weighted"
        )


def _check_fields_of_others(config: "TrainingConfig", model: ModelCard) -> None:
    """Raises ValueError if a field is set that only another model has."""
    for other in MODELS.values():
        for field in set(other.own_fields) - set(model.own_fields):
            if getattr(config, field) != type(config).model_fields[field].default:
                raise ValueError(f"{field}: applies to model {other.name!r} only, not to {config.model!r}; leave it out")


def _check_estimator(config: "TrainingConfig") -> None:
    if MODELS[config.model].chooses_a_member and config.importance_samples < config.M:
        raise ValueError(
            f"importance_samples: {config.importance_samples} is too few for model {config.model!r}, whose posterior is a mixture of "
            f"{config.M}; at least {config.M}"
        )
    if config.estimator == "slices" and config.missing:
        raise ValueError("estimator: 'slices' cannot leave out hidden modalities; use stratified, categorical or enumerate")
    if config.estimator == "slices" and config.batch_size < config.components:
        raise ValueError(f"batch_size: {config.batch_size} is too small for estimator 'slices': at least {config.components}")


def _check_sizes(config: "TrainingConfig", card: DatasetCard) -> None:
    test_examples = card.evaluation_examples(config.evaluate_on)
    sizes = (("train_examples", card.train_examples, LEAST_PROBED), ("test_examples", test_examples, LEAST_TESTED))
    for field, available_by_source, least in sizes:
        value, available = getattr(config, field), available_by_source[config.source]
        if value is not None and value > available:
            raise ValueError(f"{field}: {value} is more than the {available} that {config.source} {config.dataset} has")
        if value is not None and value < min(least, available):
            raise ValueError(f"{field}: {value} is too few; at least {min(least, available)}")
    if config.batch_size == 1 and config.networks in card.batch_normed:
        raise ValueError(
            f"batch_size: 1 is too small for {config.dataset}'s {config.networks} networks with batch norm; at least 2"
        )
    if config.batch_size > config.examples_per_epoch:
        raise ValueError(f"batch_size: {config.batch_size} is more than the {config.examples_per_epoch} training examples")
