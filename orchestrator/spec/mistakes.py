"""Turns pydantic's errors into messages for users. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from mopoe_core.spelling import nearest, number_suggestion, suggestion
from orchestrator.errors import Location, Mistake
from orchestrator.spec.yaml_reader import dotted

MOST_SHOWN = 80  # characters of a value in a message


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Returns the first problem of a pydantic error as one line: the field, the value found, what is allowed, the nearest spelling."""
    return mistakes(error, model)[0].text


def mistakes(error: ValidationError, model: type[BaseModel], elsewhere: Mapping[str, str] | None = None) -> list[Mistake]:
    """Returns every problem of a pydantic error. `elsewhere` has the places of fields that belong to other parts of the file."""
    problems = [problem for problem in _problems(error) if problem["type"] != "too_short" or not _is_wrong_within(problem, error)]
    # If the file has `direction` where `goal` is meant, only `direction` is reported, and not also that `goal` is missing.
    misspelt = {(*problem["loc"][:-1], _meant(problem, model)) for problem in problems if problem["type"] == "extra_forbidden"}
    reported = [problem for problem in problems if problem["type"] != "missing" or problem["loc"] not in misspelt]
    return [_mistake(problem, model, elsewhere or {}) for problem in reported or problems]


def unknown_field(place: str, key: str, allowed: Sequence[str], elsewhere: Mapping[str, str] | None = None) -> str:
    """Returns a message that a place has no such field, with the nearest allowed field, or the place where the field belongs."""
    places = elsewhere or {}
    right_place = "" if suggestion(key, allowed, guess=False) else places.get(suggestion(key, places, guess=False), "")
    hint = f" here; it belongs to {right_place}" if right_place else nearest(key, allowed)
    return f"{place}: unknown field{hint}; allowed: {', '.join(allowed)}"


def _mistake(problem: Any, model: type[BaseModel], elsewhere: Mapping[str, str]) -> Mistake:
    at = _place(problem)
    place = dotted(at)
    if problem["type"] == "extra_forbidden":
        return Mistake(unknown_field(place, str(at[-1]), _fields_at(model, at[:-1]), elsewhere), at)
    if problem["type"] == "missing":
        return Mistake(f"{place}: is missing; it has no default", at)
    text = _text(problem)
    field = text.partition(":")[0]  # a model's own check begins its message with the field that it refuses
    if isinstance(problem["input"], dict) and field in problem["input"]:
        at = (*at, field)
    return Mistake(shortened(f"{place}: {text}" if place else text), at)


def _meant(problem: Any, model: type[BaseModel]) -> str:
    """Returns the field that an unknown field may be a misspelling of."""
    return suggestion(str(problem["loc"][-1]), _fields_at(model, _place(problem)[:-1]))


def shortened(text: str) -> str:
    """Returns the message with only the first 20 digits of very long numbers."""
    return re.sub(r"\d{60,}", lambda digits: f"{digits[0][:20]}... ({len(digits[0])} digits)", text)


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
    "int_parsing_size": "is too large",
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
"""The texts of pydantic's error types."""


def _problems(error: ValidationError) -> list[Any]:
    """Returns the problems that pydantic lists.

    If a value may have one of several types, pydantic lists the problems with each type. Only those of one type are returned: the type
    with the problem deepest inside the value.
    """
    by_field: dict[tuple[Location, int], dict[str, list[Any]]] = {}
    for index, problem in enumerate(error.errors()):
        fork = next((i for i, part in enumerate(problem["loc"]) if _is_kind(part)), None)
        if fork is None:
            by_field[problem["loc"], index] = {"": [problem]}
        else:
            kinds = by_field.setdefault((problem["loc"][:fork], -1), {})
            kinds.setdefault(str(problem["loc"][fork]), []).append(problem)
    return [problem for kinds in by_field.values() for problem in max(kinds.values(), key=_depth)]


def _depth(problems: Sequence[Any]) -> int:
    """Returns the length of the longest place of these problems."""
    return max(len(problem["loc"]) for problem in problems)


def _is_wrong_within(problem: Any, error: ValidationError) -> bool:
    """Whether an entry of the list is wrong. Pydantic does not count such entries, so it calls the list too short."""
    place = problem["loc"]
    return any(len(other["loc"]) > len(place) and other["loc"][: len(place)] == place for other in error.errors())


def _is_kind(part: int | str) -> bool:
    """Whether a part of a place is not from the file: the type that pydantic tried, such as `int`, `Replicates` or `list[int]`."""
    return isinstance(part, str) and (part in ("int", "float", "str", "bool") or "[" in part or part[:1].isupper())


def _place(problem: Any) -> Location:
    """Returns the place of a problem in the file."""
    location: Location = problem["loc"]
    is_key = problem["type"] == "extra_forbidden"  # the last part is then a key of the file, even if it looks like a type
    last = len(location) - 1
    return tuple(part for index, part in enumerate(location) if not _is_kind(part) or (is_key and index == last))


def problem_at(place: str, error: ValidationError) -> Mistake:
    """Returns the first problem with the value at `place`. The mistake's own place is relative to that value."""
    first = _problems(error)[0]
    return Mistake(shortened(f"{place}{dotted(_place(first))}: {_text(first)}"), _place(first))


def _text(problem: Any) -> str:
    """Returns the value that pydantic refused, and what is allowed."""
    value = problem["input"]
    if problem["type"] == "value_error":
        message = str(problem["ctx"]["error"])
        return message if isinstance(value, dict | list | BaseModel) else f"{kind(value)} {message}"
    if problem["type"] == "literal_error":
        allowed = [word.strip(" '") for word in str(problem["ctx"]["expected"]).replace(" or ", ",").split(",")]
        return f"{kind(value)} is not allowed{nearest(value, allowed)}; allowed: {', '.join(allowed)}"
    if problem["type"] == "float_type" and isinstance(value, int):
        return f"{kind(value)} is too large"  # pydantic calls no number what is beyond the largest float
    must = _ALLOWED.get(problem["type"], problem["msg"]).format(**problem.get("ctx", {}))
    spelling = number_suggestion(value) if problem["type"] in ("int_parsing", "float_parsing") else ""
    return f"{kind(value)} {must}{spelling}"


def _fields_at(model: type[BaseModel], location: Location) -> list[str]:
    """Returns the fields that are allowed at a place: those of each model that a value there may have."""
    models = [model]
    for part in location:
        annotations = [outer.model_fields[str(part)].annotation for outer in models if part in outer.model_fields]
        models = [inner for annotation in annotations for inner in _models_in(annotation)] or models
    return list(dict.fromkeys(name for model in models for name in model.model_fields))


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def kind(value: Any) -> str:
    """Returns a value as a message names it."""
    if value is None:
        return "an empty value"
    if isinstance(value, dict):
        return "a mapping"
    shown = "a list" if isinstance(value, list) else repr(value)
    return shown if len(shown) <= MOST_SHOWN else f"{shown[: MOST_SHOWN - 3]}..."
