"""The space of a search: checks its dimensions, and lists the cells of a grid over it. Pure: no Optuna."""

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import combinations, islice
from typing import Any

from pydantic import ValidationError

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.spelling import nearest
from orchestrator.errors import Mistake, SpecError
from orchestrator.spec.comparison_key import check_searched
from orchestrator.spec.fields import check_key, typed
from orchestrator.spec.mistakes import explain, kind
from orchestrator.spec.search_block import MOST_CELLS, Choice, Range, Search
from orchestrator.spec.yaml_reader import dotted

MOST_CHECKED = 4_096
"""How many combinations of the ends and choices of a space are checked to be valid configurations."""
MOST_STEPS = 1_000_000
"""How many steps a range may have."""


def check(search: Search, base: Mapping[str, Any], objectives: int) -> "Space":
    """Returns the space of a search. Raises SpecError if a dimension is wrong, or if a corner of the space is no valid configuration."""
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
        read = {field: _read(field, dimension) for field, dimension in search.space.items()}
        self.dimensions = {field: _with_typed_parents(field, dimension, read) for field, dimension in read.items()}
        self.order = _parents_first(self.dimensions)

    def active(self, field: str, chosen: Mapping[str, Any]) -> bool:
        """Whether a field is searched if the fields before it have the values in `chosen`."""
        when = self.dimensions[field].when
        return all(parent in chosen and chosen[parent] in values for parent, values in when.items())

    def holds(self, fields: Mapping[str, Any]) -> bool:
        """Whether the search could have proposed exactly these fields with these values."""
        active = [field for field in self.order if self.active(field, fields)]
        return set(active) == set(fields) and all(_holds(self.dimensions[field], fields[field]) for field in active)

    def grid_size(self) -> int:
        """Returns how many cells a grid over the space has.

        Raises SpecError if a range has neither points nor a step, or if there are more than `MOST_CELLS` cells.
        """
        for field, dimension in self.dimensions.items():
            if isinstance(dimension, Range) and dimension.points is None and dimension.step is None:
                raise SpecError(f"search.space.{field}: a grid needs 'points' or 'step'")
            if isinstance(dimension, Range) and dimension.step is not None and _steps(dimension) >= MOST_CELLS:
                raise _too_large_a_grid()
        size = sum(1 for _ in islice(self.grid(), MOST_CELLS + 1))
        if size > MOST_CELLS:
            raise _too_large_a_grid()
        return size

    def grid(self) -> Iterator[dict[str, Any]]:
        """Yields the fields of each cell of a grid over the space."""
        yield from self._combinations({field: values_of(self.dimensions[field]) for field in self.order})

    def corners(self) -> Iterator[dict[str, Any]]:
        """Yields the combinations of all choices: first with all ranges at their low ends, then with all at their high ends."""
        yield from self._choices_with_high(())
        yield from self._choices_with_high(self._ranges)

    def all_corners(self) -> Iterator[dict[str, Any]]:
        """Yields the combinations of all choices and all ends: those of `corners` first.

        Combinations with few ranges at the low end, or few at the high end, come before the others. So the first ones have every pair
        of ends of two ranges.
        """
        yield from self.corners()
        count = len(self._ranges)
        for fewer in range(1, count // 2 + 1):
            for high_count in dict.fromkeys((fewer, count - fewer)):
                for high in combinations(self._ranges, high_count):
                    yield from self._choices_with_high(high)

    @property
    def _ranges(self) -> tuple[str, ...]:
        return tuple(field for field, dimension in self.dimensions.items() if isinstance(dimension, Range))

    def _choices_with_high(self, high: Collection[str]) -> Iterator[dict[str, Any]]:
        """Yields the combinations of all choices with the ranges in `high` at their high ends, and the others at their low ends."""
        values = {
            field: dimension.choices
            if isinstance(dimension, Choice)
            else [getattr(dimension, "high" if field in high else "low")]
            for field, dimension in self.dimensions.items()
        }
        yield from self._combinations(values)

    def _combinations(self, values: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
        """Yields every combination once, and none before it is asked for. A field that is not searched does not multiply."""
        return self._extensions({}, self.order, values)

    def _extensions(
        self, chosen: dict[str, Any], fields: Sequence[str], values: Mapping[str, list[Any]]
    ) -> Iterator[dict[str, Any]]:
        """Yields the combinations that have the values in `chosen`, and vary in `fields`."""
        if not fields:
            yield chosen
        elif not self.active(fields[0], chosen):
            yield from self._extensions(chosen, fields[1:], values)
        else:
            for value in values[fields[0]]:
                yield from self._extensions(chosen | {fields[0]: value}, fields[1:], values)


def values_of(dimension: Range | Choice) -> list[Any]:
    """Returns the values of a dimension that a grid has."""
    if isinstance(dimension, Choice):
        return list(dimension.choices)
    low, high = dimension.low, dimension.high
    if dimension.points is None:
        return [_at_step(dimension, i) for i in range(_steps(dimension) + 1)]
    shares = [i / (dimension.points - 1) for i in range(dimension.points)]
    between = [low * (high / low) ** s for s in shares] if dimension.log else [low + (high - low) * s for s in shares]
    exact = [low, *between[1:-1], high]
    return list(dict.fromkeys(round(value) for value in exact)) if isinstance(low, int) else exact


def tried_values(space: Space, field: str, config: TrainingConfig, is_grid: bool) -> list[Any]:
    """Returns values of a field to try out, to see that cells with them can be built.

    These are all choices, all values of a grid, or the smallest and the largest value of a range. A field that is searched for some
    cells only has its default, too. A field that is not searched has its value in `config`, which is any cell of the space.
    """
    dimension = space.dimensions.get(field)
    if dimension is None:
        return [getattr(config, field)]
    values = values_of(dimension) if isinstance(dimension, Choice) or is_grid else [dimension.low, highest(dimension)]
    default = [TrainingConfig.model_fields[field].default] if dimension.when else []
    return list(dict.fromkeys([*values, *default]))


def highest(dimension: Range) -> Any:
    """Returns the largest value of a range: its high end, or the last step below it."""
    return dimension.high if dimension.step is None else _at_step(dimension, _steps(dimension))


def without_rounding_error(dimension: Range | Choice, value: Any) -> Any:
    """Returns the step of a range that a sum of steps stands for: 0.3 for 0.30000000000000004. Any other value is unchanged."""
    if isinstance(dimension, Choice) or dimension.step is None or not isinstance(value, float):
        return value
    nearest_step = round((value - dimension.low) / dimension.step)
    exact = _at_step(dimension, min(max(nearest_step, 0), _steps(dimension)))
    return exact if math.isclose(value, exact, abs_tol=1e-9 * dimension.step) else value


def label(value: Any) -> Any:
    """Returns a choice in a form that Optuna can store: a plain value unchanged, a list as JSON."""
    return value if value is None or isinstance(value, str | int | float) else json.dumps(value)


def _steps(dimension: Range) -> int:
    """Returns how many steps a stepped range has, counted in decimals, as Optuna counts them."""
    low, high, step = (Decimal(str(number)) for number in (dimension.low, dimension.high, dimension.step))
    return int((high - low) // step)


def _at_step(dimension: Range, count: int) -> int | float:
    """Returns the value that is `count` steps above the low end. It is never above the high end, as a sum of floats may be."""
    if isinstance(dimension.low, int):
        return dimension.low + count * int(dimension.step)
    return float(Decimal(str(dimension.low)) + count * Decimal(str(dimension.step)))


def _too_large_a_grid() -> SpecError:
    return SpecError(
        f"search.space: has more than {MOST_CELLS} cells as a grid; take fewer choices or points, or another sampler"
    )


def _read(field: str, dimension: Range | Choice) -> Range | Choice:
    """Returns a dimension with its values as the configuration would hold them. Raises SpecError."""
    place = f"search.space.{field}"
    if isinstance(dimension, Choice):
        return dimension.model_copy(update={"choices": _read_choices(place, field, dimension)})
    return dimension.model_copy(update=_read_bounds(place, field, dimension))


def _with_typed_parents(field: str, dimension: Range | Choice, dimensions: Mapping[str, Range | Choice]) -> Range | Choice:
    """Returns a dimension whose `when` has lists of values as its parents have them. Raises SpecError."""
    when = {
        parent: _parent_values(f"search.space.{field}.when.{parent}", parent, written, dimensions)
        for parent, written in dimension.when.items()
    }
    return dimension.model_copy(update={"when": when})


def _parent_values(place: str, parent: str, written: Any, dimensions: Mapping[str, Range | Choice]) -> list[Any]:
    """Returns the values of a parent for which a field is searched, typed as the parent's choices are. Raises SpecError."""
    dimension = dimensions.get(parent)
    if not isinstance(dimension, Choice):
        choices = [name for name, other in dimensions.items() if isinstance(other, Choice)]
        raise SpecError(f"{place}: is no choice of this space{nearest(parent, choices)}; allowed: {', '.join(choices) or 'none'}")
    if written == []:
        raise SpecError(f"{place}: is empty, so that the field would never be searched; name a value of {parent}")
    values = [_plain(typed(place, parent, value)) for value in (written if isinstance(written, list) else [written])]
    for value in values:
        if value not in dimension.choices:
            raise SpecError(f"{place}: {value!r} is not among its choices; allowed: {', '.join(map(repr, dimension.choices))}")
    return values


def _read_choices(place: str, field: str, dimension: Choice) -> list[Any]:
    values = [_plain(typed(f"{place}.choices[{i}]", field, value)) for i, value in enumerate(dimension.choices)]
    if len({json.dumps(value) for value in values}) < len(values):
        raise SpecError(f"{place}: a value is listed twice")
    return values


def _read_bounds(place: str, field: str, dimension: Range) -> dict[str, int | float | None]:
    """Returns the range's `low`, `high` and `step`."""
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
        if high - low > MOST_STEPS * step:
            raise SpecError(
                f"{place}.step: {step!r} gives more than {MOST_STEPS:,} values; raise it, or leave it out to allow all"
            )
    return {"low": low, "high": high, "step": step}


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
    """Returns a tuple as a list, as JSON and YAML have it; other values unchanged."""
    return list(value) if isinstance(value, tuple) else value


def _holds(dimension: Range | Choice, value: Any) -> bool:
    """Whether a dimension includes a value."""
    if isinstance(dimension, Choice):
        return _plain(value) in dimension.choices
    if isinstance(value, bool) or not isinstance(value, int | float) or not dimension.low <= value <= dimension.high:
        return False
    steps = 0.0 if dimension.step is None else (value - dimension.low) / dimension.step
    return math.isclose(steps, round(steps), abs_tol=1e-9)


def _parents_first(dimensions: Mapping[str, Range | Choice]) -> tuple[str, ...]:
    """Returns the fields in an order in which each comes after the fields that it depends on. Raises SpecError if there is none."""
    order: list[str] = []
    while len(order) < len(dimensions):
        remaining = {field: dimension for field, dimension in dimensions.items() if field not in order}
        ready = [field for field, dimension in remaining.items() if all(parent in order for parent in dimension.when)]
        if not ready:
            raise SpecError(f"search.space: {', '.join(remaining)} depend on one another; break the circle")
        order += ready
    return tuple(order)


def _check_corners(space: Space, base: Mapping[str, Any]) -> None:
    """Raise SpecError if one of the first `MOST_CHECKED` combinations of ends and choices is no valid configuration."""
    for corner in islice(space.all_corners(), MOST_CHECKED):
        try:
            TrainingConfig.model_validate({**base, **corner})
        except ValidationError as error:
            raise SpecError(_corner_mistake(corner, explain(error, TrainingConfig))) from None


def _corner_mistake(corner: Mapping[str, Any], problem: str) -> Mistake:
    """Returns the mistake of a corner. `problem` is the configuration's message, which begins with the field."""
    field = problem.partition(": ")[0]
    at = ("search", "space", field) if field in corner else ("base", field)
    others = ", ".join(f"{name}: {value}" for name, value in corner.items() if name != field)
    cause = f"; the space allows it with {others}" if others else ""
    hint = f"; take other values, or search {field} only `when` it is allowed" if field in corner and others else ""
    return Mistake(f"{dotted(at[:-1])}.{problem}{cause}{hint}", at)
