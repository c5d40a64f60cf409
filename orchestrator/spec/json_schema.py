"""Makes the JSON schema of sweep files, for editors, from the models that read the files. Pure.

The schema has each field, its type and its bounds. Rules that depend on several fields, or on files, are checked only when a sweep
file is read.
"""

from typing import Any

from mopoe_core.config.presets import PRESETS
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.family.registry import ALIASES, MODELS
from orchestrator.spec.fields import takes_lists
from orchestrator.spec.sweep_spec import SweepSpec

DIALECT = "https://json-schema.org/draft/2020-12/schema"
NOT_IN_FILES = ("data_hash",)
"""Fields of a configuration that no file sets."""
BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
"""Pydantic's names of bounds, which it leaves in the schema of union members and items, and the schema's names."""


def json_schema() -> dict[str, Any]:
    """Returns the schema of a sweep file."""
    schema = _with_bounds(SweepSpec.model_json_schema())
    fields = _cell_fields()
    lists = {name: {"type": "array", "items": field, "minItems": 1} for name, field in fields.items()}
    matched = {name: field if takes_lists(name) else _one_or_many(field) for name, field in fields.items() if name != "preset"}
    cell = _object(fields)
    schema["properties"] |= {
        "base": cell,
        "grid": _object(lists),
        "zip": _object(lists),
        "include": {"type": "array", "items": cell},
        "exclude": {"type": "array", "items": _object(matched)},
    }
    space = schema["$defs"]["Search"]["properties"]["space"]
    space["propertyNames"] = {"enum": sorted(fields)}
    space["additionalProperties"] = {"anyOf": [{"type": "array", "minItems": 1}, space["additionalProperties"]]}
    return {"$schema": DIALECT, "title": "A sweep file"} | {key: value for key, value in schema.items() if key != "title"}


def _cell_fields() -> dict[str, Any]:
    """Returns the schema of each field of a cell by its name, without defaults, which depend on dataset, model and preset."""
    described = _with_bounds(TrainingConfig.model_json_schema())["properties"]
    fields = {name: _without_default(field) for name, field in described.items() if name not in NOT_IN_FILES}
    return fields | {"model": {"enum": sorted([*MODELS, *ALIASES])}, "preset": {"enum": list(PRESETS)}}


def _without_default(field: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in field.items() if key not in ("default", "title")}


def _object(fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "additionalProperties": False}


def _one_or_many(field: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [field, {"type": "array", "items": field, "minItems": 1}]}


def _with_bounds(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_with_bounds(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {BOUNDS.get(key, key): _with_bounds(value) for key, value in schema.items()}
