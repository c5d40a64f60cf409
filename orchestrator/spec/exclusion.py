"""Which cells the rules of `exclude` leave out. Pure.

A point is a combination of grid and zip as the file writes it. Points are matched before they are checked, so that a rule can leave out
a combination that would be refused. Rules that name the same fields are looked up by their values at once: 200 rules take as long as one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.family.registry import ALIASES, MODELS
from orchestrator.errors import Mistake, SpecError
from orchestrator.spec.fields import FIELDS, typed

_NEVER = object()
"""Stands for a value that a field cannot have, which no rule names."""


class Rules:
    """The rules of one sweep, and what each has done."""

    def __init__(self, entries: Sequence[Mapping[str, Any]]) -> None:
        self._entries = entries
        self._by_fields: dict[tuple[str, ...], dict[tuple[Any, ...], list[int]]] = {}
        self._first: dict[int, int] = {}
        """Rule to the earliest rule that left out a cell which it matches."""
        for index, entry in enumerate(entries):
            wanted = _wanted(index, entry)
            fields = tuple(sorted(wanted))
            values = tuple(wanted[field] for field in fields)
            self._by_fields.setdefault(fields, {}).setdefault(values, []).append(index)

    def leaves_out(self, fields: Mapping[str, Any], config: TrainingConfig | None) -> bool:
        """Whether a rule matches the point with these fields; `config` is what they make, None where they are refused."""
        found = sorted(index for key, rules in self._by_fields.items() for index in self._matching(key, rules, fields, config))
        for index in found[1:]:
            self._first.setdefault(index, found[0])
        self._first |= {index: index for index in found[:1]}
        return bool(found)

    @staticmethod
    def _matching(
        key: tuple[str, ...], rules: Mapping[tuple[Any, ...], list[int]], fields: Mapping[str, Any], config: TrainingConfig | None
    ) -> set[int]:
        if config is not None:
            return set(rules.get(tuple(getattr(config, field) for field in key), ()))
        spellings = (fields, _expand(fields))
        return {i for said in spellings for i in rules.get(tuple(_value(said, field) for field in key), ())}

    def mistakes(self) -> list[Mistake]:
        """Rules that have left out nothing."""
        wrong = []
        for index, entry in enumerate(self._entries):
            first = self._first.get(index)
            if first is None:
                wrong.append(
                    Mistake(f"exclude[{index}]: {dict(entry)} matches no cell; correct it or remove it", ("exclude", index))
                )
            elif first != index:
                said = (
                    f"exclude[{index}]: {dict(entry)} matches no cell that exclude[{first}] does not leave out already; remove it"
                )
                wrong.append(Mistake(said, ("exclude", index)))
        return wrong


def _wanted(index: int, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a rule names, with their values as a configuration holds them."""
    # A rule may name what its alias contradicts, `{model: eq5, kl: mixture}`: it means points that are written so.
    contradicted = any(value != entry.get(key, value) for key, value in _alias(entry).items())
    meant = dict(entry) if contradicted else _expand(entry)
    return {key: typed(f"exclude[{index}].{key}", key, value) for key, value in meant.items()}


def _value(fields: Mapping[str, Any], key: str) -> Any:
    """What a point that is refused says of a field, or what its default is."""
    model = MODELS.get(str(fields.get("model")))
    own = model.defaults if model else {}
    try:
        return typed(key, key, fields.get(key, own.get(key, FIELDS[key].default)))
    except SpecError:
        return _NEVER


def _expand(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {**fields, **ALIASES.get(str(fields.get("model")), {})}


def _alias(fields: Mapping[str, Any]) -> dict[str, str]:
    """What the model's alias says of the other fields; nothing where the model is no alias."""
    return {key: value for key, value in ALIASES.get(str(fields.get("model")), {}).items() if key != "model"}
