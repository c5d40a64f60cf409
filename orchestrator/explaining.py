"""What pydantic found wrong, in the words of this project. Pure."""

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from mopoe_core.config import nearest

MOST_SHOWN = 80  # characters of a value in a message


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """The first problem of a pydantic error as one line: the field, the value found, what is allowed, the nearest spelling."""
    first = _first(error)
    place = _dotted(first["loc"])
    if first["type"] == "extra_forbidden":
        allowed = _fields_at(model, first["loc"][:-1])
        return f"{place}: unknown field{nearest(str(first['loc'][-1]), allowed)}; allowed: {', '.join(allowed)}"
    if first["type"] == "missing":
        return f"{place}: is missing; it has no default"
    return f"{place}: {problem(error)}" if place else problem(error)


_ALLOWED = {
    "too_short": "has too few entries; at least {min_length}",
    "too_long": "has too many entries; at most {max_length}",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "tuple_type": "must be a list",
    "string_type": "must be text",
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
}
"""What pydantic's error types mean, in the words of this project."""


def _first(error: ValidationError) -> Any:
    """The first problem; of a field that may be one of several kinds, that of the kind which got furthest into the value."""
    problems = error.errors()
    same = [problem for problem in problems if problem["loc"][:1] == problems[0]["loc"][:1]]
    return max(same, key=lambda problem: len(problem["loc"]))


def problem(error: ValidationError) -> str:
    """What is wrong with the value, without the field."""
    first = _first(error)
    if first["type"] == "value_error":
        message = str(first["ctx"]["error"])
        return f"{first['input']!r} {message}" if first["loc"] and not isinstance(first["input"], dict | list) else message
    if first["type"] == "literal_error":
        allowed = [word.strip(" '") for word in str(first["ctx"]["expected"]).replace(" or ", ",").split(",")]
        return f"{kind(first['input'])} is not allowed{nearest(str(first['input']), allowed)}; allowed: {', '.join(allowed)}"
    allowed_text = _ALLOWED.get(first["type"], first["msg"]).format(**first.get("ctx", {}))
    return f"{kind(first['input'])} {allowed_text}"


def _dotted(location: tuple[int | str, ...]) -> str:
    path = ""
    location = tuple(part for part in location if not str(part).startswith(("literal[", "tuple[", "function-")))  # of a union
    for part in location if location[:1] != ("seeds",) else location[:1]:  # pydantic adds the union's member, `seeds.int`
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def _fields_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The fields of the model that stands at a place within another."""
    for part in (part for part in location if part in model.model_fields):
        model = next(_models_in(model.model_fields[str(part)].annotation), model)
    return list(model.model_fields)


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
