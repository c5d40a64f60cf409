"""Builds the cells that a sweep file writes out: (grid x zip - exclude) + include. Pure.

Every value passes through `TrainingConfig` before it is compared or hashed, because a number may be written as a text, and because
`exclude: [{beta: 1}]` must match a grid that says `1.0`.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from pydantic import ValidationError

from mopoe_core.config.training_config import TrainingConfig
from orchestrator.errors import Location, Mistake, SpecError
from orchestrator.spec import mistakes
from orchestrator.spec.exclusion import Rules
from orchestrator.spec.trial import Cell
from orchestrator.spec.yaml_reader import MOST_SHOWN

MOST_TRIALS = 100_000


@dataclass(frozen=True)
class Sections:
    """The sections of a sweep file that write cells out, as the file has them."""

    base: Mapping[str, Any]
    grid: Mapping[str, list[Any]] | None = None
    zip: Mapping[str, list[Any]] | None = None
    include: tuple[Mapping[str, Any], ...] = ()
    exclude: tuple[Mapping[str, Any], ...] = ()
    left_out: frozenset[str] = frozenset()
    """Datasets whose cells are not built, because their code may not run."""

    @property
    def zip_rows(self) -> int:
        """How many rows `zip` has."""
        return 1 if self.zip is None else min(map(len, self.zip.values()))


@dataclass(frozen=True)
class _Point:
    """The fields of one cell as the file writes them."""

    fields: dict[str, Any]
    varied: dict[str, Location]
    """The fields that grid and zip vary, with the place of this point's value in the file."""
    entry: int | None = None
    """The index of the entry of `include`, if the point comes from there."""

    @property
    def name(self) -> str:
        """The point's name in messages."""
        shown = ", ".join(f"{field}: {self.fields[field]}" for field in self.varied)
        return f"include[{self.entry}]" if self.entry is not None else f"grid ({shown})" if shown else "base"

    @property
    def at(self) -> Location:
        """The point's place in the file: its entry of `include`, its last varied value, or base."""
        return ("include", self.entry) if self.entry is not None else next(reversed(self.varied.values()), ("base",))

    def origin(self, field: str, sections: Sections) -> tuple[str, Location]:
        """Returns where the file sets a field, as text for a message and as a place; base if the file does not set it."""
        if self.entry is not None and (field in sections.include[self.entry] or field not in sections.base):
            return f"{self.name}.{field}", ("include", self.entry, field)
        if field in self.varied:
            return f"{self.varied[field][0]}.{field}", self.varied[field]
        return f"base.{field}", ("base", field)


@dataclass
class _Built:
    """The cells built so far, and the mistakes met so far."""

    cells: dict[str, Cell] = field(default_factory=dict)
    points: dict[str, _Point] = field(default_factory=dict)
    """The point that each cell was built from, by the cell's id."""
    mistakes: dict[str, Mistake] = field(default_factory=dict)
    """By their texts, so that each text is shown once."""

    def add(self, cell: Cell, point: _Point) -> None:
        """Add a cell, or a mistake if the same cell was added before."""
        if cell.id in self.cells:
            first = self.points[cell.id]
            text = f"{point.name}: is the same cell as {first.name} ({cell.label}); remove one of them"
            self.mistakes[text] = Mistake(text, _where_it_differs(point, first))
        else:
            self.cells[cell.id], self.points[cell.id] = cell, point

    def refuse(self, wrong: Iterable[Mistake]) -> None:
        """Add mistakes. An earlier mistake with the same text stays."""
        self.mistakes = {mistake.text: mistake for mistake in wrong} | self.mistakes


def expand(sections: Sections, seed_count: int) -> tuple[Cell, ...]:
    """Returns the cells that the sections write out, all checked. Raises SpecError with all mistakes."""
    _check_count(sections, seed_count)
    rules, built = Rules(sections.exclude), _Built()
    for point in _points(sections):
        _build(point, sections, rules, built)
        if len(built.mistakes) > MOST_SHOWN:  # a message shows no more
            break
    else:  # all points were matched, so a rule without a match is a mistake
        if not sections.left_out:
            built.mistakes |= {mistake.text: mistake for mistake in rules.mistakes()}
    if built.mistakes:
        raise SpecError(*built.mistakes.values())
    if not built.cells and not sections.left_out:
        raise SpecError("exclude: leaves no cell; remove an entry")
    return tuple(built.cells.values())


def _build(point: _Point, sections: Sections, rules: Rules, built: _Built) -> None:
    """Add the cell of a point, or its mistakes, unless a rule leaves the point out."""
    cell = _cell_or_mistakes(point, sections)
    config = cell.config if isinstance(cell, Cell) else None
    if point.entry is None and rules.leaves_out(point.fields, config):
        return
    if isinstance(cell, Cell):
        built.add(cell, point)
    else:
        built.refuse(cell)


def searched_cell(base: Mapping[str, Any], fields: Mapping[str, Any]) -> Cell:
    """Returns the cell of a search whose fields are these, and else those of `base`. Raises SpecError."""
    point = _Point({**base, **fields}, {field: ("search", "space", field) for field in fields})
    cell = _cell_or_mistakes(point, Sections(base))
    if isinstance(cell, Cell):
        return cell
    raise SpecError(*cell)


def _points(sections: Sections) -> Iterator[_Point]:
    """Yields the points that the file writes out, those of `include` last. Points on datasets that are left out are skipped."""
    included = (_Point({**sections.base, **entry}, {}, index) for index, entry in enumerate(sections.include))
    for points in (_combinations(sections), included):
        yield from (point for point in points if point.fields.get("dataset") not in sections.left_out)


def _combinations(sections: Sections) -> Iterator[_Point]:
    """Yields each combination of grid and zip; none if only `include` makes cells."""
    if sections.grid is None and sections.zip is None and sections.include:
        return
    grid, zipped = sections.grid or {}, sections.zip or {}
    for indices in product(*(range(len(values)) for values in grid.values())):
        of_grid = {field: grid[field][index] for field, index in zip(grid, indices, strict=True)}
        grid_places: dict[str, Location] = {field: ("grid", field, index) for field, index in zip(grid, indices, strict=True)}
        for row in range(sections.zip_rows):
            of_zip = {field: values[row] for field, values in zipped.items()}
            zip_places: dict[str, Location] = {field: ("zip", field, row) for field in zipped}
            yield _Point({**sections.base, **of_grid, **of_zip}, grid_places | zip_places)


def _where_it_differs(point: _Point, other: _Point) -> Location:
    """Returns the place of the point's last value that is not at the same place for the other point; else the point's place."""
    return next((at for field, at in reversed(point.varied.items()) if other.varied.get(field) != at), point.at)


def _cell_or_mistakes(point: _Point, sections: Sections) -> Cell | list[Mistake]:
    """Returns the cell that a point makes, or the mistakes in the point."""
    try:
        return Cell(TrainingConfig.model_validate(point.fields))
    except ValidationError as error:
        return [_in_the_file(mistake, point, sections) for mistake in mistakes.mistakes(error, TrainingConfig)]


def _in_the_file(mistake: Mistake, point: _Point, sections: Sections) -> Mistake:
    """Returns a configuration's mistake with its place in the file."""
    name, _, _ = mistake.text.partition(": ")
    field = str(mistake.at[0]) if mistake.at else name
    origin, at = point.origin(field, sections)
    return Mistake(f"{origin.removesuffix(field)}{mistake.text}", (*at, *mistake.at[1:]))


def _check_count(sections: Sections, seed_count: int) -> None:
    """Raise SpecError if there are too many trials, before any combination is made."""
    lengths = {key: len(values) for key, values in (sections.grid or {}).items()}
    count = math.prod(lengths.values()) * sections.zip_rows * seed_count
    if count > MOST_TRIALS:
        shown = ", ".join(f"{key}: {length}" for key, length in lengths.items())
        raise SpecError(f"grid: makes {count} trials ({shown}; {seed_count} seeds); at most {MOST_TRIALS}")
