"""Fields and objectives as places between 0 and 1, with labels. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.search_tables import spelled_value
from orchestrator.space import Choice, Range

LONGEST = 16  # characters of a label
MANTISSAS = ((1, 2, 3, 5), (1, 2, 5), (1, 3), (1,))


@dataclass(frozen=True)
class Scale:
    """A range of numbers, or some choices one after another."""

    name: str
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    whole: bool = False
    ends: bool = False
    """Whether it is labelled at its ends and in the middle, instead of at round numbers."""
    choices: tuple[Any, ...] = ()

    def position(self, value: Any) -> float:
        """Between 0 and 1; NaN of what is no choice."""
        if self.choices:
            return self._place(self.choices.index(value)) if value in self.choices else math.nan
        if self.high <= self.low:
            return 0.5
        low, high, at = (math.log(v) if self.log else v for v in (self.low, self.high, float(value)))
        return (at - low) / (high - low)

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """Positions and labels: all choices, or up to about so many round numbers."""
        if self.choices:
            return [(self._place(index), shortened(spelled_value(value))) for index, value in enumerate(self.choices)]
        if self.high <= self.low:
            return [(0.5, _short(self.low))]
        if self.ends:
            return [(at, _short(self.low + at * (self.high - self.low))) for at in (0.0, 0.5, 1.0)]
        return [(self.position(value), _short(value)) for value in (self._log(most) if self.log else self._even(most))]

    def _place(self, index: int) -> float:
        return index / (len(self.choices) - 1) if len(self.choices) > 1 else 0.5

    def _even(self, most: int) -> list[float]:
        rough = (self.high - self.low) / most
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= rough * 0.999)
        step = max(1.0, step) if self.whole else step
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [float(f"{index * step:.10g}") for index in range(first, last + 1)]

    def _log(self, most: int) -> list[float]:
        """Round numbers; both ends where there are not two of them."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        inside = [[m * 10.0**p for p in powers for m in of if self.low <= m * 10.0**p <= self.high] for of in MANTISSAS]
        fewest = next((found for found in inside if len(found) <= most), inside[-1])
        thinned = fewest[:: -(-len(fewest) // most)] if fewest else []
        return thinned if len(thinned) > 1 else [self.low, self.high]


def of_field(name: str, dimension: Range | Choice) -> Scale:
    """A field of a space."""
    if isinstance(dimension, Choice):
        return Scale(name, choices=tuple(dimension.choices))
    return Scale(name, dimension.low, dimension.high, dimension.log, isinstance(dimension.low, int))


def of_values(name: str, values: Sequence[float]) -> Scale:
    """From the lowest to the highest of these."""
    return Scale(name, min(values, default=0.0), max(values, default=0.0), ends=True)


def _short(value: float) -> str:
    """With a minus as matplotlib has it."""
    text = f"{value:.4g}"
    return text.replace("-", "\N{MINUS SIGN}")


def shortened(text: str) -> str:
    """At most so many characters."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def broken(name: str, width: int) -> str:
    """A name over several lines where it is longer than so many characters: after each `/`, and after `_` where that is not enough."""
    lines = []
    for part in [name] if len(name) <= width else name.replace("/", "/\0").split("\0"):
        lines.append("")
        for piece in [part] if len(part) <= width else part.replace("_", "_\0").split("\0"):
            if lines[-1] and len(lines[-1]) + len(piece) > width:
                lines.append("")
            lines[-1] += piece
    return "\n".join(lines)
