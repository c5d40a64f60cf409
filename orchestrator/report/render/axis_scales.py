"""Scales that map the values of fields and objectives to positions between 0 and 1, with labels. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.report.render.numbers import field_value, with_minus
from orchestrator.spec.search_block import Choice, Range
from orchestrator.spec.trial import spelled

LONGEST = 16  # characters of a label
MANTISSAS = ((1, 2, 3, 5), (1, 2, 5), (1, 3), (1,))


@dataclass(frozen=True)
class Scale:
    """A range of numbers, or choices one after another."""

    name: str
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    whole: bool = False
    ends: bool = False
    """Whether labels are at the ends and in the middle; otherwise they are at round numbers."""
    choices: tuple[Any, ...] = ()

    def position(self, value: Any) -> float:
        """Returns the position of a value, between 0 and 1; NaN for a value that is not among the choices."""
        if self.choices:
            return self._place(self.choices.index(value)) if value in self.choices else math.nan
        if self.high <= self.low:
            return 0.5
        low, high, at = (math.log(v) if self.log else v for v in (self.low, self.high, float(value)))
        return (at - low) / (high - low)

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """Returns positions with labels: all choices, or about `most` round numbers."""
        if self.choices:
            return [(self._place(index), text) for index, text in enumerate(_choice_texts(self.choices))]
        if self.high <= self.low:
            return [(0.5, with_minus(spelled(self.low)))]
        if self.ends:
            return _ends(self.low, self.high)
        values = self._log(most) if self.log else self._even(most)
        return [(self.position(value), with_minus(spelled(value))) for value in values]

    def _place(self, index: int) -> float:
        return index / (len(self.choices) - 1) if len(self.choices) > 1 else 0.5

    def _even(self, most: int) -> list[float]:
        """Returns about `most` evenly spaced round numbers."""
        rough = (self.high - self.low) / most
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough * 0.999)
        step = max(1.0, step) if self.whole else step
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [float(f"{index * step:.15g}") for index in range(first, last + 1)]

    def _log(self, most: int) -> list[float]:
        """Returns at most about `most` round numbers, or both ends if there are fewer than two round numbers."""
        for mantissas in MANTISSAS:
            numbers = self._round_numbers(mantissas)
            if len(numbers) <= most:
                break
        thinned = numbers[:: -(-len(numbers) // most)] if numbers else []
        return thinned if len(thinned) > 1 else [self.low, self.high]

    def _round_numbers(self, mantissas: Sequence[int]) -> list[float]:
        """Returns the numbers on the scale that are one of the mantissas times a power of ten."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        numbers = [float(f"{mantissa}e{power}") for power in powers for mantissa in mantissas]
        return [number for number in numbers if self.low <= number <= self.high]


def of_field(name: str, dimension: Range | Choice) -> Scale:
    """Returns the scale of a field of a search space."""
    if isinstance(dimension, Choice):
        return Scale(name, choices=tuple(dimension.choices))
    return Scale(name, dimension.low, dimension.high, dimension.log, isinstance(dimension.low, int))


def of_values(name: str, values: Sequence[float]) -> Scale:
    """Returns a scale from the lowest to the highest of the values."""
    return Scale(name, min(values, default=0.0), max(values, default=0.0), ends=True)


def _ends(low: float, high: float) -> list[tuple[float, str]]:
    """Returns both ends and the middle, with four digits, or with more if they would otherwise read the same."""
    for digits in range(4, 18):
        texts = [f"{value:.{digits}g}" for value in (low, (low + high) / 2, high)]
        if len(set(texts)) == 3:
            break
    return [(position, with_minus(text)) for position, text in zip((0.0, 0.5, 1.0), texts, strict=True)]


def _choice_texts(choices: Sequence[Any]) -> list[str]:
    """Returns each choice as text. The texts are shortened unless two different choices would then read the same."""
    whole = [field_value(value) for value in choices]
    short = [shortened(text) for text in whole]
    return short if len(set(short)) == len(set(whole)) else whole


def shortened(text: str) -> str:
    """Returns the text, cut to `LONGEST` characters."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def broken(name: str, width: int) -> str:
    """Returns the name, broken into lines of at most `width` characters after each `/`, and after `_` if that is not enough."""
    lines = []
    for part in [name] if len(name) <= width else name.replace("/", "/\0").split("\0"):
        lines.append("")
        for piece in [part] if len(part) <= width else part.replace("_", "_\0").split("\0"):
            if lines[-1] and len(lines[-1]) + len(piece) > width:
                lines.append("")
            lines[-1] += piece
    return "\n".join(lines)
