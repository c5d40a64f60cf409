"""The space of a search: its dimensions, checked, and the cells that a grid over it has. Pure: no Optuna."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.spelling import nearest
from orchestrator.errors import Mistake, SpecError
from orchestrator.spec.comparison_key import check_searched
from orchestrator.spec.fields import check_key, typed
from orchestrator.spec.mistakes import explain, kind
from orchestrator.spec.search_block import MOST_CELLS, Choice, Range, Search

MOST_CHECKED = 4_096  # corners of a space that are built, to see that they can be


def check(search: Search, base: Mapping[str, Any], objectives: int) -> "Space":
    """The space of a search, fully checked. Its corners are built once to see that they can be. Raises SpecError."""
    for field in search.space:
        place = f"search.space.{field}"
        check_key(place, field)
        check_searched(place, field)
        if field in base:
            raise SpecError(f"{place}: is also in base; keep it in one of them")
    if search.early and search.early.rule == "halving" and objectives > 1:
        raise SpecError("search.early.rule: 'halving' ranks by one objective; use 'dominated', or one objective")
    space = Space(search)
    if search.sampler == "grid":
        space.grid_size()
    _check_corners(space, base)
    return space


class Space:
    """The dimensions of a search with their values as the configuration would hold them."""

    def __init__(self, search: Search) -> None:
        self.dimensions = {field: _read(field, dimension) for field, dimension in search.space.items()}
        self.order = _parents_first(self.dimensions)

    def active(self, field: str, chosen: Mapping[str, Any]) -> bool:
        """Whether a field is searched, given the values that were chosen before it."""
        when = self.dimensions[field].when
        return all(parent in chosen and chosen[parent] in values for parent, values in when.items())

    def holds(self, fields: Mapping[str, Any]) -> bool:
        """Whether the search could have proposed exactly these fields with these values."""
        active = [field for field in self.order if self.active(field, fields)]
        return set(active) == set(fields) and all(_holds(self.dimensions[field], fields[field]) for field in active)

    def grid_size(self) -> int:
        """How many cells a grid over the space has. Raises SpecError if a range does not say which values it takes."""
        for field, dimension in self.dimensions.items():
            if isinstance(dimension, Range) and dimension.points is None and dimension.step is None:
                raise SpecError(f"search.space.{field}: a grid needs 'points' or 'step'")
        return sum(1 for _ in self.grid())

    def grid(self) -> Iterator[dict[str, Any]]:
        """Every cell of a grid over the space."""
        yield from self._combinations({field: values_of(self.dimensions[field]) for field in self.order})

    def corners(self) -> Iterator[dict[str, Any]]:
        """Every combination of choices, with the ranges all at their low and all at their high end."""
        for end in (0, -1):
            values = {f: d.choices if isinstance(d, Choice) else [(d.low, d.high)[end]] for f, d in self.dimensions.items()}
            yield from self._combinations({field: values[field] for field in self.order})

    def _combinations(self, values: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
        """Every combination once. A field that is not searched at a combination does not multiply it."""
        combinations: list[dict[str, Any]] = [{}]
        for field in self.order:
            combinations = [
                chosen | more
                for chosen in combinations
                for more in ([{field: value} for value in values[field]] if self.active(field, chosen) else [{}])
            ]
            if len(combinations) > MOST_CELLS:
                raise SpecError(f"search.space: has more than {MOST_CELLS} combinations; take fewer choices or points")
        yield from combinations


def values_of(dimension: Range | Choice) -> list[Any]:
    """The values that a grid takes of a dimension."""
    if isinstance(dimension, Choice):
        return list(dimension.choices)
    low, high = dimension.low, dimension.high
    if dimension.points is None:
        count = math.floor((high - low) / dimension.step + 1e-9) + 1
        return [low + i * dimension.step for i in range(count)]
    shares = [i / (dimension.points - 1) for i in range(dimension.points)]
    between = [low * (high / low) ** s for s in shares] if dimension.log else [low + (high - low) * s for s in shares]
    exact = [low, *between[1:-1], high]
    return list(dict.fromkeys(round(value) for value in exact)) if isinstance(low, int) else exact


def tried_values(space: Space, field: str, config: TrainingConfig, is_grid: bool) -> list[Any]:
    """Returns the values of a field for which it is worth trying whether a cell can be built at all.

    That is each choice, each value of a grid, and else the smallest and the largest of a range. A field that is not searched has its
    value in `config`, which is any cell of the space; one that is searched for some cells only has its default as well.
    """
    dimension = space.dimensions.get(field)
    if dimension is None:
        return [getattr(config, field)]
    if isinstance(dimension, Choice) or is_grid or dimension.step is not None:
        values = values_of(dimension)
    else:
        values = [dimension.low, dimension.high]
    if isinstance(dimension, Range) and not is_grid:
        values = [values[0], values[-1]]
    usual = [TrainingConfig.model_fields[field].default] if dimension.when else []
    return list(dict.fromkeys([*values, *usual]))


def label(value: Any) -> Any:
    """A choice as Optuna can hold it: as it is if it is a plain value, otherwise as JSON."""
    return value if value is None or isinstance(value, str | int | float) else json.dumps(value)


def _read(field: str, dimension: Range | Choice) -> Range | Choice:
    """A dimension with its values as the configuration would hold them."""
    place = f"search.space.{field}"
    when = {parent: values if isinstance(values, list) else [values] for parent, values in dimension.when.items()}
    if isinstance(dimension, Choice):
        values = [_plain(typed(f"{place}.choices[{i}]", field, value)) for i, value in enumerate(dimension.choices)]
        if len({json.dumps(value) for value in values}) < len(values):
            raise SpecError(f"{place}: a value is listed twice")
        return dimension.model_copy(update={"choices": values, "when": when})
    low, high = (_number(f"{place}.{end}", field, getattr(dimension, end)) for end in ("low", "high"))
    if low >= high:
        raise SpecError(f"{place}: low {low!r} is not below high {high!r}; a single value belongs into base")
    if dimension.log and low <= 0:
        raise SpecError(f"{place}: low {low!r} has no logarithm; begin above 0, or leave out log")
    step = None
    if dimension.step is not None:
        step = _positive(f"{place}.step", dimension.step, whole=isinstance(low, int))
        if dimension.log or dimension.points:
            raise SpecError(f"{place}.step: does not go with {'log' if dimension.log else 'points'}; leave out one of them")
        if step > high - low:
            raise SpecError(f"{place}.step: {step!r} is more than the range; lower it")
    return dimension.model_copy(update={"low": low, "high": high, "step": step, "when": when})


def _number(place: str, field: str, value: Any) -> int | float:
    number = typed(place, field, value)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise SpecError(f"{place}: {field} takes no numbers; write a list of values")
    return number


def _positive(place: str, value: Any, whole: bool) -> int | float:
    try:
        number = (int if whole and float(value) == int(float(value)) else float)(value)
    except (TypeError, ValueError, OverflowError):
        raise SpecError(f"{place}: {kind(value)} must be a number") from None
    if isinstance(value, bool) or not 0 < number < math.inf or (whole and not isinstance(number, int)):
        raise SpecError(f"{place}: {kind(value)} must be a {'whole number' if whole else 'number'} above 0")
    return number


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _holds(dimension: Range | Choice, value: Any) -> bool:
    if isinstance(dimension, Choice):
        return _plain(value) in dimension.choices
    if isinstance(value, bool) or not isinstance(value, int | float) or not dimension.low <= value <= dimension.high:
        return False
    steps = 0.0 if dimension.step is None else (value - dimension.low) / dimension.step
    return math.isclose(steps, round(steps), abs_tol=1e-9)


def _parents_first(dimensions: Mapping[str, Range | Choice]) -> tuple[str, ...]:
    """The fields in an order in which each comes after those that it depends on. Raises SpecError if there is no such order."""
    for field, dimension in dimensions.items():
        for parent, values in dimension.when.items():
            _check_parent(f"search.space.{field}.when.{parent}", parent, values, dimensions)
    order: list[str] = []
    while len(order) < len(dimensions):
        ready = [f for f, d in dimensions.items() if f not in order and all(parent in order for parent in d.when)]
        if not ready:
            circle = ", ".join(field for field in dimensions if field not in order)
            raise SpecError(f"search.space: {circle} depend on one another; break the circle")
        order += ready
    return tuple(order)


def _check_parent(place: str, parent: str, values: list[Any], dimensions: Mapping[str, Range | Choice]) -> None:
    dimension = dimensions.get(parent)
    if not isinstance(dimension, Choice):
        choices = [field for field, other in dimensions.items() if isinstance(other, Choice)]
        raise SpecError(f"{place}: is no choice of this space{nearest(parent, choices)}; allowed: {', '.join(choices) or 'none'}")
    for value in values:
        if typed(place, parent, value) not in dimension.choices:
            raise SpecError(f"{place}: {value!r} is not among its choices; allowed: {', '.join(map(repr, dimension.choices))}")


def _check_corners(space: Space, base: Mapping[str, Any]) -> None:
    for index, corner in enumerate(space.corners()):
        if index == MOST_CHECKED:
            return
        try:
            TrainingConfig.model_validate({**base, **corner})
        except ValidationError as error:
            shown = ", ".join(f"{field}: {value}" for field, value in corner.items())
            field = explain(error, TrainingConfig).partition(": ")[0]
            hint = f"; search {field} only `when` it is allowed" if field in corner and len(corner) > 1 else ""
            text = f"search.space ({shown}): {explain(error, TrainingConfig)}{hint}"
            raise SpecError(Mistake(text, ("search", "space", field) if field in corner else ("base", field))) from None
