"""What pydantic found wrong, in the words of this project. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from mopoe_core.spelling import nearest, number, suggestion
from orchestrator.errors import Location, Mistake
from orchestrator.spec.yaml_reader import dotted

MOST_SHOWN = 80  # characters of a value in a message


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """The first problem of a pydantic error as one line: the field, the value found, what is allowed, the nearest spelling."""
    return mistakes(error, model)[0].text


def mistakes(error: ValidationError, model: type[BaseModel], elsewhere: Mapping[str, str] | None = None) -> list[Mistake]:
    """Every problem of a pydantic error. `elsewhere` has the places of fields that may stand at a wrong one."""
    problems = [one for one in _problems(error) if one["type"] != "too_short" or not _is_wrong_within(one, error)]
    found = [_mistake(one, model, elsewhere or {}) for one in problems]
    meant = {(*one["loc"][:-1], _meant(one, model)) for one in problems if one["type"] == "extra_forbidden"}
    # Where `direction` stands for `goal`, it does not have to be said that `goal` is missing.
    return [m for m, one in zip(found, problems, strict=True) if one["type"] != "missing" or one["loc"] not in meant] or found


def unknown_field(place: str, key: str, allowed: Sequence[str], elsewhere: Mapping[str, str] | None = None) -> str:
    """That there is no such field at a place, with the nearest one that there is, or where it belongs."""
    places = elsewhere or {}
    belongs = "" if suggestion(key, allowed, guess=False) else places.get(suggestion(key, places, guess=False), "")
    hint = f" here; it belongs to {belongs}" if belongs else nearest(key, allowed)
    return f"{place}: unknown field{hint}; allowed: {', '.join(allowed)}"


def _mistake(one: Any, model: type[BaseModel], elsewhere: Mapping[str, str]) -> Mistake:
    at = _place(one)
    place = dotted(at)
    if one["type"] == "extra_forbidden":
        return Mistake(unknown_field(place, str(at[-1]), _fields_at(model, at[:-1]), elsewhere), at)
    if one["type"] == "missing":
        return Mistake(f"{place}: is missing; it has no default", at)
    said = _said(one)
    within = said.partition(":")[0]  # a model names the field that it refuses
    at = (*at, within) if isinstance(one["input"], dict) and within in one["input"] else at
    return Mistake(shortened(f"{place}: {said}" if place else said), at)


def _meant(one: Any, model: type[BaseModel]) -> str:
    return suggestion(str(one["loc"][-1]), _fields_at(model, _place(one)[:-1]))


def shortened(text: str) -> str:
    """A message in which no number fills a page."""
    return re.sub(r"\d{60,}", lambda found: f"{found[0][:20]}... ({len(found[0])} digits)", text)


_ALLOWED = {
    "too_short": "has too few entries; at least {min_length}",
    "too_long": "has too many entries; at most {max_length}",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "tuple_type": "must be a list",
    "string_type": "must be text; put it in quotes",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "must be letters, digits, '.', '_' and '-', at most 64, and begin with a letter or digit",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be finite",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
}
"""What pydantic's error types mean, in the words of this project."""


def _problems(error: ValidationError) -> list[Any]:
    """What pydantic found; of a field that may be one of several kinds, what the kind says which got furthest into the value."""
    kinds: dict[tuple[Location, int], dict[str, list[Any]]] = {}
    for index, one in enumerate(error.errors()):
        fork = next((i for i, part in enumerate(one["loc"]) if _is_kind(part)), None)
        if fork is None:
            kinds[one["loc"], index] = {"": [one]}
        else:
            kinds.setdefault((one["loc"][:fork], -1), {}).setdefault(str(one["loc"][fork]), []).append(one)
    return [one for of in kinds.values() for one in max(of.values(), key=lambda found: max(len(p["loc"]) for p in found))]


def _is_wrong_within(one: Any, error: ValidationError) -> bool:
    """Whether an entry of a list is wrong: pydantic does not count such entries, and calls the list too short."""
    place = one["loc"]
    return any(len(other["loc"]) > len(place) and other["loc"][: len(place)] == place for other in error.errors())


def _is_kind(part: int | str) -> bool:
    """Whether pydantic added a part of a place, to say which of several kinds it tried: `int`, `Replicates`, `list[int]`."""
    return isinstance(part, str) and (part in ("int", "float", "str", "bool") or "[" in part or part[:1].isupper())


def _place(one: Any) -> Location:
    location: Location = one["loc"]
    return tuple(part for part in location[:-1] if not _is_kind(part)) + tuple(
        part for part in location[-1:] if one["type"] == "extra_forbidden" or not _is_kind(part)
    )


def problem(place: str, error: ValidationError) -> Mistake:
    """What is wrong with the value at a place; the mistake says where within that value."""
    first = _problems(error)[0]
    return Mistake(shortened(f"{place}{dotted(_place(first))}: {_said(first)}"), _place(first))


def _said(first: Any) -> str:
    if first["type"] == "value_error":
        message = str(first["ctx"]["error"])
        of_one_value = not isinstance(first["input"], dict | list | BaseModel)
        return f"{kind(first['input'])} {message}" if of_one_value else message
    if first["type"] == "literal_error":
        allowed = [word.strip(" '") for word in str(first["ctx"]["expected"]).replace(" or ", ",").split(",")]
        return f"{kind(first['input'])} is not allowed{nearest(first['input'], allowed)}; allowed: {', '.join(allowed)}"
    allowed_text = _ALLOWED.get(first["type"], first["msg"]).format(**first.get("ctx", {}))
    return f"{kind(first['input'])} {allowed_text}{_spelled(first)}"


def _spelled(first: Any) -> str:
    """How a number, or a list of them, is written, where a text looks as if one was meant."""
    if first["type"] not in ("int_parsing", "float_parsing"):
        return ""
    return number(first["input"])


def _fields_at(model: type[BaseModel], location: Location) -> list[str]:
    """The fields of the model, or of each of the models, that may stand at a place within another."""
    models = [model]
    for part in location:
        named = [one.model_fields[str(part)].annotation for one in models if part in one.model_fields]
        models = [inner for annotation in named for inner in _models_in(annotation)] or models
    return list(dict.fromkeys(name for one in models for name in one.model_fields))


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def kind(value: Any) -> str:
    """A value as a message names it."""
    if value is None:
        return "an empty value"
    if isinstance(value, dict):
        return "a mapping"
    shown = "a list" if isinstance(value, list) else repr(value)
    return shown if len(shown) <= MOST_SHOWN else f"{shown[: MOST_SHOWN - 3]}..."
