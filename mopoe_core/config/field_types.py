"""Types of the configuration's fields, and comparisons with values as YAML reads them. Pure."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field


def _not_a_bool(value: Any) -> Any:
    """Refuses a boolean: YAML reads `no` and `on` as booleans, and pydantic would read these as 0 and 1."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not a yes/no value")
    return value


def _a_whole_number(value: Any) -> Any:
    """Refuses a range: pydantic reads the text `0-4` as -4."""
    if isinstance(value, str) and re.search(r"\d\s*[-+]", value):
        raise ValueError("must be a whole number")
    return value


def _plus_zero(value: float) -> float:
    return value + 0.0  # -0.0 would hash differently from 0.0


Number = Annotated[float, BeforeValidator(_not_a_bool), AfterValidator(_plus_zero)]
Whole = Annotated[int, BeforeValidator(_a_whole_number), BeforeValidator(_not_a_bool)]
Weight = Annotated[Number, Field(ge=0)]


def same_number(first: Any, second: Any) -> bool:
    """Whether two values of a field for numbers are equal. Either may be text, as YAML may read it."""
    try:
        return float(first) == float(second)
    except (TypeError, ValueError, OverflowError):
        return bool(first == second)


def text_or_empty(value: Any) -> str:
    """Returns the value if it is text, else an empty text."""
    return value if isinstance(value, str) else ""
