"""The rules of `exclude`, and which cells they leave out. Pure.

A point is a combination of grid and zip as the file writes it. Points are matched before they are checked, so that a rule can leave out
a combination that would be refused. Rules that name the same fields are looked up together by their values, so that 200 rules take as
long as one.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.family.registry import ALIASES, MODELS
from orchestrator.errors import Mistake, SpecError
from orchestrator.spec.fields import FIELDS, typed

_NEVER = object()
"""Stands for a value that its field cannot have. No rule names it."""


class Rules:
    """The rules of one sweep, and which cells each has left out."""

    def __init__(self, entries: Sequence[Mapping[str, Any]]) -> None:
        self._entries = entries
        self._by_fields: dict[tuple[str, ...], dict[tuple[Any, ...], list[int]]] = {}
        self._first: dict[int, int] = {}
        """The index of a rule to the index of the earliest rule that matched one of the same cells."""
        for index, entry in enumerate(entries):
            wanted = _wanted(index, entry)
            fields = tuple(sorted(wanted))
            values = tuple(wanted[field] for field in fields)
            self._by_fields.setdefault(fields, {}).setdefault(values, []).append(index)

    def leaves_out(self, fields: Mapping[str, Any], config: TrainingConfig | None) -> bool:
        """Whether a rule matches the point with these fields. `config` is what they make; None if they are refused."""
        matching = sorted(index for key, rules in self._by_fields.items() for index in self._matching(key, rules, fields, config))
        for index in matching[1:]:
            self._first.setdefault(index, matching[0])
        self._first |= {index: index for index in matching[:1]}
        return bool(matching)

    @staticmethod
    def _matching(
        key: tuple[str, ...], rules: Mapping[tuple[Any, ...], list[int]], fields: Mapping[str, Any], config: TrainingConfig | None
    ) -> set[int]:
        if config is not None:
            return set(rules.get(tuple(getattr(config, field) for field in key), ()))
        spellings = (fields, _expand(fields))
        return {i for spelling in spellings for i in rules.get(tuple(_value(spelling, field) for field in key), ())}

    def mistakes(self) -> list[Mistake]:
        """One for each rule that has left out no cell by itself."""
        return [mistake for index in range(len(self._entries)) if (mistake := self._mistake(index))]

    def _mistake(self, index: int) -> Mistake | None:
        entry, first = dict(self._entries[index]), self._first.get(index)
        if first == index:
            return None
        text = f"exclude[{index}]: {entry} matches no cell"
        advice = "; correct it or remove it" if first is None else f" that exclude[{first}] does not leave out already; remove it"
        return Mistake(text + advice, ("exclude", index))


def _wanted(index: int, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a rule names, with their values as a configuration holds them."""
    # A rule may contradict its alias, as `{model: eq5, kl: mixture}` does. It then means points that are written so.
    contradicts = any(value != entry.get(key, value) for key, value in _alias(entry).items())
    meant = dict(entry) if contradicts else _expand(entry)
    return {key: typed(f"exclude[{index}].{key}", key, value) for key, value in meant.items()}


def _value(fields: Mapping[str, Any], key: str) -> Any:
    """A field's value in a point that is refused: as the point has it, or its default."""
    model = MODELS.get(str(fields.get("model")))
    of_model = model.defaults if model else {}
    try:
        return typed(key, key, fields.get(key, of_model.get(key, FIELDS[key].default)))
    except SpecError:
        return _NEVER


def _expand(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {**fields, **ALIASES.get(str(fields.get("model")), {})}


def _alias(fields: Mapping[str, Any]) -> dict[str, str]:
    """The other fields that the model's alias sets; none if the model is no alias."""
    return {key: value for key, value in ALIASES.get(str(fields.get("model")), {}).items() if key != "model"}
