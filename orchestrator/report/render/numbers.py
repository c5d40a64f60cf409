"""Writes numbers as text, with the digits that a reader can use. Pure.

`orchestrator.spec.trial.spelled` is for numbers that must stay exact, such as betas.
"""

import json
import math
from typing import Any

from orchestrator.analysis.intervals import Summary
from orchestrator.spec.trial import spelled

MISSING = "–"
MINUS = "\N{MINUS SIGN}"


def with_minus(text: str) -> str:
    """Returns the text of a number with a minus sign in place of a hyphen."""
    return text.replace("-", MINUS)


def decimals(value: float) -> int:
    """Returns how many decimals the spread over seeds supports: three for shares, one for nats."""
    return 1 if abs(value) >= 10 else 3


def number(value: float) -> str:
    """Returns the value with the number of decimals that fits its size (`decimals`)."""
    return f"{value:.{decimals(value)}f}"


def mean_and_sd(mean: float, sd: float, plus_minus: str = "±") -> str:
    """Returns mean and sd with the decimals of the mean; the mean alone for one seed, which has no spread."""
    return number(mean) if math.isnan(sd) else f"{number(mean)} {plus_minus} {sd:.{decimals(mean)}f}"


def unit_decimals(unit: str) -> int:
    """Returns the decimals for all numbers of a column: one for nats, three for shares."""
    return 1 if unit == "nats" else 3


def signed(value: float, unit: str) -> str:
    """Returns the value with its sign and the decimals of its unit; a dash for NaN. A value that rounds to zero has the sign `+`."""
    places = unit_decimals(unit)
    return MISSING if math.isnan(value) else with_minus(f"{round(value, places) + 0.0:+.{places}f}")


def to_spread(spread: float, *numbers: float) -> list[str]:
    """Returns the numbers with as many decimals as show two digits of `spread`, at most six; a dash for NaN.

    Without a spread, they have one decimal if a number is at least 10, and three otherwise.
    """
    has_spread = spread > 0
    places = min(6, max(0, 1 - math.floor(math.log10(spread)))) if has_spread else min(map(decimals, numbers))
    return [MISSING if math.isnan(value) else with_minus(f"{value:.{places}f}") for value in numbers]


def summary_texts(over_seeds: Summary) -> tuple[str, str, str]:
    """Returns mean, sd and interval, with the digits that the sd supports."""
    mean, sd, low, high = to_spread(over_seeds.sd, *over_seeds)
    return mean, sd, MISSING if low == MISSING else f"{low} to {high}"


def three_digits(*numbers: float) -> list[str]:
    """Returns the numbers with as many decimals as give the largest of them three digits."""
    largest = max((abs(value) for value in numbers if value and not math.isnan(value)), default=1.0)
    places = max(0, 2 - math.floor(math.log10(largest)))
    return [with_minus(f"{value:.{places}f}") for value in numbers]


def field_value(value: Any) -> str:
    """Returns the value of a configuration's field as text: a text unchanged, a number exactly, anything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return json.dumps(value)
    return spelled(value)
