"""Fills in the fields that a configuration leaves out, from the preset, the scale, the model and the dataset. Pure."""

from typing import Any

from pydantic import ValidationInfo

from mopoe_core.config import presets
from mopoe_core.config.field_types import same_number, text_or_empty
from mopoe_core.data.cards import find
from mopoe_core.data.dataset_card import DatasetCard
from mopoe_core.family.registry import MODELS


def scale_fields(fields: dict[str, Any], card: DatasetCard, preset: str | None) -> dict[str, Any]:
    """Returns the values of the fields that a scale fixes or suggests. Raises ValueError if one of `fields` contradicts it."""
    scale = fields.get("scale")
    if scale is None:
        return {}
    if card.name not in presets.PAPER:
        raise ValueError(f"scale: {scale!r} is not offered for a dataset of your own; leave it out and set the sizes")
    if scale not in presets.SCALES:
        return {}  # refused by the field itself
    suggested = presets.scale_defaults(scale)
    fixed = presets.scale_fields(scale, card.name, preset or _preset_of(fields, card.name))
    with_scale = all_is_none(suggested | fields | fixed, card)
    as_written = all_is_none(suggested | fields, card)
    for field, value in fixed.items():
        if field in fields and not same_number(as_written[field], with_scale[field]):
            meaning = "all" if value is None else value
            raise ValueError(
                f"{field}: {fields[field]!r} contradicts scale {scale!r}, which means {meaning}; leave out one of them"
            )
    return suggested | {field: with_scale[field] for field in fixed}


def _preset_of(fields: dict[str, Any], dataset: str) -> str:
    """Returns the preset that has the configuration's epochs; `paper` if none has.

    A configuration that was stored has the numbers of its preset, but not the preset's name.
    """
    for preset in presets.PRESETS:
        if same_number(fields.get("epochs"), presets.preset_fields(preset, dataset, "")["epochs"]):
            return preset
    return "paper"


def preset_and_model_defaults(preset: str, dataset: str, model: str) -> dict[str, Any]:
    """Returns the fields that the preset or the model's own defaults set. If both set a field, the preset's value counts."""
    model_defaults = MODELS[model].defaults if model in MODELS else {}
    return model_defaults | presets.preset_fields(preset, dataset, model)


def with_own_data(fields: dict[str, Any], card: DatasetCard) -> dict[str, Any]:
    """Returns the configuration with the fingerprint of a user's own dataset. Raises ValueError if it has another one already."""
    if fields.get("data_hash", card.data_hash) != card.data_hash:
        raise ValueError(
            f"data_hash: {card.name} the data have changed since this configuration was made; restore the old data, or start a new sweep"
        )
    return {"source": "own", "networks": "small"} | fields | {"data_hash": card.data_hash}


def all_is_none(fields: dict[str, Any], card: DatasetCard) -> dict[str, Any]:
    """Returns the fields with None for a number that is all the dataset has: both are the same configuration."""
    source = text_or_empty(fields.get("source", "embedded"))
    if source not in card.sources:
        return fields
    test_examples = card.evaluation_examples(fields.get("evaluate_on"))
    all_there_are = {
        "train_examples": card.train_examples[source],
        "test_examples": test_examples.get(source),
        "modality_count": len(card.modalities),
    }
    is_all = {name for name, number in all_there_are.items() if name in fields and same_number(fields[name], number)}
    return {name: None if name in is_all else value for name, value in fields.items()}


def card_of(dataset: str, info: ValidationInfo) -> DatasetCard | None:
    """Returns the dataset's card: from the validation's `context={"cards": {name: card}}`, else by `find`, which runs a user's code."""
    cards: dict[str, DatasetCard] = (info.context or {}).get("cards", {})
    return cards[dataset] if dataset in cards else find(dataset)
