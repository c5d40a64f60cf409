"""Decides which cells the rules of `exclude` leave out. Pure.

A point is a combination of grid and zip as the file writes it. Points are matched before they are checked, so that a rule can leave out
a combination that would be refused. A point is compared with all rules at once, field by field, so that 200 rules take as long as one.

A value may be named as the point writes it, or as the configuration holds it: 5 modalities of 5 are held as None. A model is only
named as the point writes it, because `mopoe` and its alias `eq5` are two models of a comparison.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mopoe_core.config.filling_in import all_is_none
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.cards import DATASETS
from mopoe_core.family.registry import ALIASES, MODELS
from orchestrator.errors import Mistake, SpecError
from orchestrator.spec.fields import FIELDS, is_choice, typed

_NEVER = object()
"""Stands for a value that its field cannot have. No rule names it."""
_Accepted = Mapping[str, Sequence[Any]]
"""The values that a rule accepts, by field."""


class Rules:
    """The rules of one sweep. They remember which of them have matched a cell."""

    def __init__(self, entries: Sequence[Mapping[str, Any]]) -> None:
        self._entries = entries
        self._first: dict[int, int] = {}
        """By the index of each rule that matched a cell: its own index if no earlier rule matched that cell, else the earlier rule's."""
        self._rules: list[int] = []
        """The index of the rule that each bit of the numbers below stands for. A rule has a bit for each model that it names."""
        self._naming: dict[str, int] = {}
        """By field, the rules that name it."""
        self._accepting: dict[str, dict[Any, int]] = {}
        """By field and value, the rules that name the field and accept the value."""
        for index, entry in enumerate(entries):
            for accepted in _by_model(index, entry):
                self._add(index, accepted)

    def _add(self, index: int, accepted: _Accepted) -> None:
        bit = 1 << len(self._rules)
        self._rules.append(index)
        for field, values in accepted.items():
            self._naming[field] = self._naming.get(field, 0) | bit
            accepting = self._accepting.setdefault(field, {})
            for value in values:
                accepting[value] = accepting.get(value, 0) | bit

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
        held = vars(config) if config is not None else _meant(fields)
        bits = (1 << len(self._rules)) - 1
        for field, naming in self._naming.items():
            accepting = 0
            for value in _values(field, fields, held):
                accepting |= self._accepting[field].get(value, 0)
            bits &= accepting | ~naming
        return {self._rules[position] for position in _positions(bits)}

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


def _positions(bits: int) -> Iterator[int]:
    """Yields the positions of the bits that are set, from 0."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def _by_model(index: int, entry: Mapping[str, Any]) -> Iterator[_Accepted]:
    """Yields, for each model that a rule names, the values that it accepts; these once if it names no model."""
    accepted = {field: _choices(f"exclude[{index}].{field}", field, value) for field, value in entry.items()}
    for model in accepted.pop("model", ()):
        yield _with_model(model, accepted)
    if "model" not in entry:
        yield accepted


def _choices(place: str, field: str, value: Any) -> list[Any]:
    """Returns the values of a field that a rule accepts, as a configuration holds them."""
    return [typed(place, field, choice) for choice in (value if is_choice(field, value) else [value])]


def _with_model(model: str, accepted: _Accepted) -> _Accepted:
    """Returns the values that a rule on this model accepts, with the fields of an alias and the names by which a point may have it."""
    alias = _alias(model)
    # A rule may contradict its alias, as `{model: eq5, kl: mixture}` does. It then matches points that are written in this way.
    if any(value not in accepted.get(field, [value]) for field, value in alias.items()):
        return {**accepted, "model": [model]}
    with_alias = {**accepted, **{field: [value] for field, value in alias.items()}}
    meant = _without_alias(model)
    aliases = [name for name in ALIASES if _without_alias(name) == meant and with_alias.keys() >= _alias(name).keys()]
    return {**with_alias, "model": [meant, *aliases]}


def _values(field: str, fields: Mapping[str, Any], held: Mapping[str, Any]) -> Iterator[Any]:
    """Yields the values by which a rule may name a field of a point. `held` has the values that the point means."""
    if field in fields:
        yield _value(field, fields[field])
    if field != "model":
        yield held[field] if field in held else _value(field, _default(field, fields))


def _value(field: str, value: Any) -> Any:
    """Returns a value as a configuration would hold it."""
    try:
        return typed(field, field, value)
    except SpecError:
        return _NEVER


def _meant(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of a point that is refused: with those of its model's alias, and None for all that a dataset has."""
    with_alias = {**fields, **_alias(fields.get("model"))}
    card = DATASETS.get(str(fields.get("dataset")))
    filled = all_is_none(with_alias, card) if card else with_alias
    return {field: _value(field, value) for field, value in filled.items() if field in FIELDS}


def _default(field: str, fields: Mapping[str, Any]) -> Any:
    """Returns the default of a field that a point leaves out."""
    model = MODELS.get(_without_alias(str(fields.get("model"))))
    return (model.defaults if model else {}).get(field, FIELDS[field].default)


def _without_alias(model: str) -> str:
    """Returns the model that an alias stands for, and any other model unchanged."""
    return str(ALIASES.get(model, {"model": model})["model"])


def _alias(model: Any) -> dict[str, Any]:
    """Returns the fields other than `model` that a model's alias sets; none if the model is no alias."""
    return {field: value for field, value in ALIASES.get(str(model), {}).items() if field != "model"}
