"""Decides which cells the rules of `exclude` leave out. Pure.

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
    """The rules of one sweep. They remember which of them have matched a cell."""

    def __init__(self, entries: Sequence[Mapping[str, Any]]) -> None:
        self._entries = entries
        self._by_fields: dict[tuple[str, ...], dict[tuple[Any, ...], list[int]]] = {}
        self._first: dict[int, int] = {}
        """By the index of each rule that matched a cell: its own index if no earlier rule matched that cell, else the earlier rule's."""
        for index, entry in enumerate(entries):
            named = _named_fields(index, entry)
            fields = tuple(sorted(named))
            values = tuple(named[field] for field in fields)
            self._by_fields.setdefault(fields, {}).setdefault(values, []).append(index)

    def leaves_out(self, fields: Mapping[str, Any], config: TrainingConfig | None) -> bool:
        """Whether a rule matches the point with these fields. `config` is the configuration that they make; None if it is refused."""
        matching = sorted(self._matching(fields, config))
        if not matching:
            return False
        for index in matching[1:]:
            self._first.setdefault(index, matching[0])
        self._first[matching[0]] = matching[0]
        return True

    def _matching(self, fields: Mapping[str, Any], config: TrainingConfig | None) -> set[int]:
        """Returns the indices of the rules that match a point."""
        indices: set[int] = set()
        for names, rules in self._by_fields.items():
            if config is not None:
                indices.update(rules.get(tuple(getattr(config, name) for name in names), ()))
                continue
            for spelling in (fields, _expand(fields)):
                indices.update(rules.get(tuple(_value(spelling, name) for name in names), ()))
        return indices

    def mistakes(self) -> list[Mistake]:
        """Returns a mistake for each rule that matched no cell, or only cells that earlier rules matched."""
        return [mistake for index in range(len(self._entries)) if (mistake := self._mistake(index))]

    def _mistake(self, index: int) -> Mistake | None:
        entry = dict(self._entries[index])
        first = self._first.get(index)
        if first == index:
            return None
        text = f"exclude[{index}]: {entry} matches no cell"
        advice = "; correct it or remove it" if first is None else f" that exclude[{first}] does not leave out already; remove it"
        return Mistake(text + advice, ("exclude", index))


def _named_fields(index: int, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields that a rule names, with their values as a configuration holds them."""
    # A rule may contradict its alias, as `{model: eq5, kl: mixture}` does. It then matches points that are written in this way.
    contradicts = any(value != entry.get(key, value) for key, value in _alias(entry).items())
    fields = dict(entry) if contradicts else _expand(entry)
    return {key: typed(f"exclude[{index}].{key}", key, value) for key, value in fields.items()}


def _value(fields: Mapping[str, Any], key: str) -> Any:
    """Returns a field's value in a point that is refused: the value in the point, or the default."""
    model = MODELS.get(str(fields.get("model")))
    model_defaults = model.defaults if model else {}
    default = model_defaults.get(key, FIELDS[key].default)
    try:
        return typed(key, key, fields.get(key, default))
    except SpecError:
        return _NEVER


def _expand(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields with a model's alias replaced by the fields that it stands for."""
    return {**fields, **ALIASES.get(str(fields.get("model")), {})}


def _alias(fields: Mapping[str, Any]) -> dict[str, str]:
    """Returns the fields other than `model` that the model's alias sets; none if the model is no alias."""
    return {key: value for key, value in ALIASES.get(str(fields.get("model")), {}).items() if key != "model"}
