"""The cells that a sweep file writes out: (grid x zip - exclude) + include. Pure.

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
    """The fields that grid and zip vary, and where in the file this point's values stand."""
    entry: int | None = None
    """The index of the entry of `include`, if the point comes from there."""

    @property
    def name(self) -> str:
        """The point's name in messages."""
        shown = ", ".join(f"{field}: {self.fields[field]}" for field in self.varied)
        return f"include[{self.entry}]" if self.entry is not None else f"grid ({shown})" if shown else "base"

    @property
    def at(self) -> Location:
        """Where it stands: its entry of `include`, its last varied value, or base."""
        return ("include", self.entry) if self.entry is not None else next(reversed(self.varied.values()), ("base",))

    def origin(self, field: str, sections: Sections) -> tuple[str, Location]:
        """Where one of its fields was written, as text for a message and as a place; base if it was written nowhere."""
        if self.entry is not None and (field in sections.include[self.entry] or field not in sections.base):
            return f"{self.name}.{field}", ("include", self.entry, field)
        if field in self.varied:
            return f"{self.varied[field][0]}.{field}", self.varied[field]
        return f"base.{field}", ("base", field)


@dataclass
class _Built:
    """Cells built so far, with the mistakes found on the way."""

    cells: dict[str, Cell] = field(default_factory=dict)
    points: dict[str, _Point] = field(default_factory=dict)
    """The point that each cell was built from, by the cell's id."""
    mistakes: dict[str, Mistake] = field(default_factory=dict)
    """By text, so that each is shown once."""

    def add(self, cell: Cell, point: _Point) -> None:
        """Keep a cell. If it is there already, that is a mistake."""
        if cell.id in self.cells:
            first = self.points[cell.id]
            text = f"{point.name}: is the same cell as {first.name} ({cell.label}); remove one of them"
            self.mistakes[text] = Mistake(text, _where_it_differs(point, first))
        else:
            self.cells[cell.id], self.points[cell.id] = cell, point

    def refuse(self, wrong: Iterable[Mistake]) -> None:
        """Keep these mistakes; of those with the same text, the first."""
        self.mistakes = {mistake.text: mistake for mistake in wrong} | self.mistakes


def expand(sections: Sections, seed_count: int) -> tuple[Cell, ...]:
    """Every cell that the sections write out, each checked. Raises SpecError with every mistake."""
    _check_count(sections, seed_count)
    rules, built = Rules(sections.exclude), _Built()
    for point in _points(sections):
        cell = _cell_or_mistakes(point, sections)
        if point.entry is None and rules.leaves_out(point.fields, cell.config if isinstance(cell, Cell) else None):
            continue
        if isinstance(cell, Cell):
            built.add(cell, point)
        else:
            built.refuse(cell)
        if len(built.mistakes) > MOST_SHOWN:
            break  # no more are shown, and rules that match nothing yet may still match
    else:
        if not sections.left_out:
            built.mistakes |= {mistake.text: mistake for mistake in rules.mistakes()}
    if built.mistakes:
        raise SpecError(*built.mistakes.values())
    if not built.cells and not sections.left_out:
        raise SpecError("exclude: leaves no cell; remove an entry")
    return tuple(built.cells.values())


def searched_cell(base: Mapping[str, Any], fields: Mapping[str, Any]) -> Cell:
    """The cell of a search that has these fields over its base. Raises SpecError."""
    point = _Point({**base, **fields}, {field: ("search", "space", field) for field in fields})
    cell = _cell_or_mistakes(point, Sections(base))
    if isinstance(cell, Cell):
        return cell
    raise SpecError(*cell)


def _points(sections: Sections) -> Iterator[_Point]:
    """Every point that the file writes out, those of `include` last, without those on datasets that are left out."""
    included = (_Point({**sections.base, **entry}, {}, index) for index, entry in enumerate(sections.include))
    for points in (_combinations(sections), included):
        yield from (point for point in points if point.fields.get("dataset") not in sections.left_out)


def _combinations(sections: Sections) -> Iterator[_Point]:
    """Each combination of grid and zip; none if only `include` makes cells."""
    if sections.grid is None and sections.zip is None and sections.include:
        return
    grid, zipped = sections.grid or {}, sections.zip or {}
    for choice in product(*(range(len(values)) for values in grid.values())):
        chosen = {field: grid[field][index] for field, index in zip(grid, choice, strict=True)}
        at: dict[str, Location] = {field: ("grid", field, index) for field, index in zip(grid, choice, strict=True)}
        for row in range(sections.zip_rows):
            below: dict[str, Location] = {field: ("zip", field, row) for field in zipped}
            yield _Point({**sections.base, **chosen, **{field: zipped[field][row] for field in zipped}}, at | below)


def _where_it_differs(point: _Point, other: _Point) -> Location:
    """Where a point stands that is the same cell as another: the last value that the file writes differently."""
    return next((at for field, at in reversed(point.varied.items()) if other.varied.get(field) != at), point.at)


def _cell_or_mistakes(point: _Point, sections: Sections) -> Cell | list[Mistake]:
    """The cell that a point makes, or what is wrong with the point."""
    try:
        return Cell(TrainingConfig.model_validate(point.fields))
    except ValidationError as error:
        return [_in_the_file(mistake, point, sections) for mistake in mistakes.mistakes(error, TrainingConfig)]


def _in_the_file(mistake: Mistake, point: _Point, sections: Sections) -> Mistake:
    """A configuration's mistake, at the place where the file has it."""
    name, _, _ = mistake.text.partition(": ")
    field = str(mistake.at[0]) if mistake.at else name
    origin, at = point.origin(field, sections)
    return Mistake(f"{origin.removesuffix(field)}{mistake.text}", (*at, *mistake.at[1:]))


def _check_count(sections: Sections, seed_count: int) -> None:
    """Refuse too many trials before anything is multiplied out."""
    lengths = {key: len(values) for key, values in (sections.grid or {}).items()}
    count = math.prod(lengths.values()) * sections.zip_rows * seed_count
    if count > MOST_TRIALS:
        shown = ", ".join(f"{key}: {length}" for key, length in lengths.items())
        raise SpecError(f"grid: makes {count} trials ({shown}; {seed_count} seeds); at most {MOST_TRIALS}")
