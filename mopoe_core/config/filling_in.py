"""What the fields that a configuration leaves out are filled with: by the preset, the scale, the model and the dataset. Pure."""

from typing import Any

from pydantic import ValidationInfo

from mopoe_core.config import presets
from mopoe_core.config.field_types import same_number, text_or_empty
from mopoe_core.data.cards import find
from mopoe_core.data.dataset_card import DatasetCard
from mopoe_core.family.registry import MODELS


def scale_fields(fields: dict[str, Any], card: DatasetCard, preset: str | None) -> dict[str, Any]:
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
    meant, written = all_is_none(usual | fields | fixed, card), all_is_none(usual | fields, card)
    for field, value in fixed.items():
        if field in fields and not same_number(written[field], meant[field]):
            said = "all" if value is None else value
            raise ValueError(f"{field}: {fields[field]!r} contradicts scale {scale!r}, which means {said}; leave out one of them")
    return usual | {field: meant[field] for field in fixed}


def _preset_of(fields: dict[str, Any], dataset: str) -> str:
    """The preset whose epochs are written; a configuration that is read back says the numbers and not where they came from."""
    found = (p for p in presets.PRESETS if same_number(fields.get("epochs"), presets.preset_fields(p, dataset, "")["epochs"]))
    return next(found, "paper")


def preset_and_model_defaults(preset: str, dataset: str, model: str) -> dict[str, Any]:
    """What the preset says, over the model's own defaults."""
    own = MODELS[model].defaults if model in MODELS else {}
    return own | presets.preset_fields(preset, dataset, model)


def with_own_data(fields: dict[str, Any], card: DatasetCard) -> dict[str, Any]:
    """The configuration with the fingerprint of the user's data, which may not be another one than a trial was made with."""
    if fields.get("data_hash", card.data_hash) != card.data_hash:
        raise ValueError(f"data_hash: {card.name} holds other data now than when this was made; restore them, or start anew")
    return {"source": "own", "networks": "small"} | fields | {"data_hash": card.data_hash}


def all_is_none(fields: dict[str, Any], card: DatasetCard) -> dict[str, Any]:
    """All, spelled out as a number, is the same configuration as leaving the number out."""
    source = text_or_empty(fields.get("source", "embedded"))
    if source not in card.sources:
        return fields
    tested = card.validation_examples if fields.get("evaluate_on") == "validation" else card.test_examples
    everything = {
        "train_examples": card.train_examples[source],
        "test_examples": tested.get(source),
        "modality_count": len(card.modalities),
    }
    return {
        name: None if name in everything and same_number(value, everything[name]) else value for name, value in fields.items()
    }


def card_of(dataset: str, info: ValidationInfo) -> DatasetCard | None:
    """The dataset's card: the one that `context={"cards": {name: card}}` gives, else what `find` finds, which runs a user's code."""
    cards: dict[str, DatasetCard] = (info.context or {}).get("cards", {})
    return cards[dataset] if dataset in cards else find(dataset)
