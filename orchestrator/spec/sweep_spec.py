"""Sweep files: YAML in, trials out. Pure: no torch, no Ray, nothing written.

Every value passes through `TrainingConfig` before it is compared or hashed, because a number may be written as a text, and because
`exclude: [{beta: 1}]` must match a grid that says `1.0`. `yaml_reading` reads the file, and knows the line of each value.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from mopoe_core.config import presets
from mopoe_core.config.field_types import Number, Whole
from mopoe_core.config.roles import Role
from mopoe_core.config.training_config import TrainingConfig, fields_with
from mopoe_core.data.cards import is_own
from mopoe_core.data.own.user_code import permit
from mopoe_core.errors import DataError
from mopoe_core.spelling import choose, several
from mopoe_core.storage.files import expand
from orchestrator.errors import Location, Mistake, SpecError
from orchestrator.spec import mistakes, search_space, yaml_reader
from orchestrator.spec.exclusion import Rules
from orchestrator.spec.field_checks import field_mistakes, own_datasets
from orchestrator.spec.fields import FIELDS, NAME
from orchestrator.spec.mistakes import kind
from orchestrator.spec.search_space import Search
from orchestrator.spec.trial import Cell, Trial
from orchestrator.spec.yaml_reader import MOST_SHOWN, Document

_STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Objective(BaseModel):
    """One axis of the front."""

    model_config = _STRICT

    metric: str
    goal: Literal["max", "min"]
    reference: Number | None = None
    """The hypervolume's reference value on this axis; without one on every axis no hypervolume is reported."""


MOST_STACKED = 1_000


class Resources(BaseModel):
    """How trials are run; never part of an identity."""

    model_config = _STRICT

    cpu: Whole = Field(default=1, ge=1)
    """CPUs, and torch threads, a trial."""
    gpu: Number = Field(default=0.0, ge=0)
    """GPUs a trial; a fraction shares one."""
    cpu_will_do: bool = False
    """Whether trials that ask for a GPU run on CPUs where no node has one, instead of being refused."""
    retries: Whole = Field(default=2, ge=0)
    """Further attempts after a failed one."""
    at_once: Whole | None = Field(default=None, ge=1)
    """Trials at a time; as many as fit when left out."""
    stack: Annotated[Literal["auto"] | Annotated[Whole, Field(ge=1, le=MOST_STACKED)], Field(union_mode="left_to_right")] = 1
    """Trials that a worker trains at once as one batched model; `auto` measures what is fastest here."""
    data: str = "data"
    """Folder of downloaded datasets (torchvision's layout) and of what is made from them."""

    @property
    def data_folder(self) -> str:
        """The folder that `data` names. Raises SpecError where it names a variable that is not set."""
        try:
            return str(Path(expand(self.data)).absolute())
        except ValueError as error:
            raise SpecError(f"resources.data: {self.data!r} {error}") from None

    @field_validator("data")
    @classmethod
    def _a_folder(cls, value: str) -> str:
        if not value.strip() or not value.isprintable():
            raise ValueError("names no folder")
        return value

    @field_validator("gpu")
    @classmethod
    def _whole_above_one(cls, value: float) -> float:
        if value > 1 and value != int(value):
            raise ValueError("is not allowed: a fraction up to 1, or a whole number of GPUs")
        return value


MOST_SEEDS = 10_000  # a slip of the keyboard, not a sweep

MOST_TRIALS = 100_000

DEFAULT_OBJECTIVES = (
    Objective(metric="coherence/joint", goal="max", reference=0.0),
    Objective(metric="log_likelihood/joint", goal="max"),
)

_Values = Annotated[list[Any], Field(min_length=1)]


class Replicates(BaseModel):
    """Seeds of the cells of a search: all have `start`, and those whose place is undecided in the end have more, up to `max`."""

    model_config = _STRICT

    start: Whole = Field(ge=2, le=MOST_SEEDS)
    max: Whole = Field(le=MOST_SEEDS)
    until: Number = Field(default=0.95, gt=0.5, lt=1)
    """A cell's place is decided when it is on the front, or off it, with this probability."""

    @model_validator(mode="after")
    def _more(self) -> "Replicates":
        if self.max <= self.start:
            raise ValueError(
                f"max: {self.max} is not more than start ({self.start}); write seeds: {self.start} for a fixed number"
            )
        return self


@dataclass(frozen=True)
class Proposed:
    """A cell of a search, as storage remembers it."""

    cell: Cell
    seeds: tuple[int, ...]
    stopped: bool
    """Whether it was stopped early, so that its trials are not to be completed."""


class SweepSpec(BaseModel):
    """One sweep file: a name and a set of trials."""

    model_config = _STRICT

    name: Annotated[str, StringConstraints(pattern=NAME)]
    base: dict[str, Any] = Field(default_factory=dict)
    """Fields that all cells share."""
    grid: dict[str, _Values] | None = None
    """Fields with lists of values: every combination is a cell."""
    zip: dict[str, _Values] | None = None
    """Fields with lists of equal length that vary together; crossed with the grid."""
    include: list[dict[str, Any]] = Field(default_factory=list)
    """Further cells, each over `base`."""
    exclude: list[dict[str, Any]] = Field(default_factory=list)
    """Cells of grid and zip that match every field of an entry are left out."""
    search: Search | None = None
    """How cells are found, in place of grid, zip and include."""
    seeds: Annotated[int | list[Whole] | Replicates, Field(union_mode="left_to_right")] = 1
    """How many seeds (0, 1, ...), a list of them, or in a search a number to start with and one to end with."""
    objectives: Annotated[tuple[Objective, ...], Field(min_length=1, max_length=3)] = DEFAULT_OBJECTIVES
    resources: Resources = Resources()
    storage: Annotated[str, StringConstraints(min_length=1)] = "runs"
    """Folder or URI of the ledger, shared by sweeps."""
    keep: Literal["last", "front"] = "last"
    """Checkpoints that stay when the sweep is complete: each trial's last, or those of the front's cells only."""
    _proposed: tuple[Proposed, ...] = PrivateAttr(())
    """The cells that a search has found so far; see `proposed`."""
    _cells: tuple[Cell, ...] | None = PrivateAttr(None)
    """What `cells` gives, from when it is first asked for."""
    _trials: "tuple[Trial, ...] | None" = PrivateAttr(None)
    """Likewise its trials: each hashes its configuration for its id, once."""
    _document: Document | None = PrivateAttr(None)
    """The file that it was read from."""
    _own_datasets: frozenset[str] = PrivateAttr(frozenset())
    _left_out: frozenset[str] = PrivateAttr(frozenset())

    @field_validator("seeds", mode="before")
    @classmethod
    def _no_bool(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("must be a number of seeds or a list of them, not a yes/no value")
        if isinstance(value, str) and not re.fullmatch(r"[-+]?\d+(\.0*)?", value.strip()):
            raise ValueError(f"must be a number of seeds or a list of them{several(value)}")
        if isinstance(value, list) and not all(isinstance(seed, int) and not isinstance(seed, bool) for seed in value):
            raise ValueError("a list of seeds holds whole numbers only")
        return value

    @field_validator("seeds")
    @classmethod
    def _sensible_seeds(cls, value: int | list[int] | Replicates) -> int | list[int] | Replicates:
        if isinstance(value, Replicates):
            return value
        if isinstance(value, int):
            if value < 1:
                raise ValueError("makes no trial; at least 1")
            if value > MOST_SEEDS:
                raise ValueError(f"is more than {MOST_SEEDS}; name fewer")
            return value
        if not value:
            raise ValueError("the list is empty; name at least one seed")
        doubled = [seed for seed, count in Counter(value).items() if count > 1]
        if doubled:
            raise ValueError(f"seed {doubled[0]} is listed twice")
        if any(not 0 <= seed < 2**31 for seed in value):
            raise ValueError("seeds are whole numbers from 0 to 2147483647")
        return value

    @model_validator(mode="after")
    def _not_empty(self) -> "SweepSpec":
        for field in ("grid", "zip"):
            if field in self.model_fields_set and not getattr(self, field):
                raise ValueError(f"{field}: is empty; give it fields with lists of values, or leave it out")
        return self

    @model_validator(mode="after")
    def _search_or_not(self) -> "SweepSpec":
        if self.search is None:
            if isinstance(self.seeds, Replicates):
                raise ValueError("seeds: only a search spends further seeds; write a number, or a search with the sampler grid")
            if len(self.objectives) < 2:
                raise ValueError("objectives: a list has too few entries; at least 2 outside a search")
            return self
        for field in ("grid", "zip", "include", "exclude"):
            if getattr(self, field):
                raise ValueError(f"{field}: a search finds its own cells; put what varies into search.space, or leave out search")
        if self.search.stop.no_gain and any(objective.reference is None for objective in self.objectives):
            raise ValueError("search.stop.no_gain: needs a hypervolume; give every objective a reference")
        return self

    @property
    def seed_list(self) -> list[int]:
        """The seeds that every cell has, in ascending order."""
        if isinstance(self.seeds, Replicates):
            return list(range(self.seeds.start))
        return list(range(self.seeds)) if isinstance(self.seeds, int) else sorted(self.seeds)

    @property
    def adaptive(self) -> bool:
        """Whether cells have further seeds where these matter."""
        return isinstance(self.seeds, Replicates)

    @property
    def found(self) -> tuple[Proposed, ...]:
        """The cells that a search has found so far; see `proposed`."""
        return self._proposed

    @property
    def source(self) -> str:
        """The text of the file that it was read from; empty for a sweep that comes from no file."""
        return self._document.text if self._document else ""

    @property
    def own_datasets(self) -> frozenset[str]:
        """The datasets of a user's own that it names."""
        return self._own_datasets

    @property
    def left_out(self) -> frozenset[str]:
        """Those of them whose cells it was made without, because their code may not run; see `parse`."""
        return self._left_out

    def pointed(self, error: SpecError) -> SpecError:
        """The error with file and line, where the sweep was read from a file."""
        return self._document.pointed(error.mistakes) if self._document else error


PLACES = {
    **{field: f"search.{field}" for field in Search.model_fields},
    **{field: f"resources.{field}" for field in Resources.model_fields},
    **{field: f"objectives[0].{field}" for field in Objective.model_fields},
    **{field: f"base.{field}" for field in FIELDS},
    **{field: f"the top level, as {field}" for field in SweepSpec.model_fields},
}
"""Where each field of a sweep file belongs."""


def load(path: Path, scale: str | None = None) -> SweepSpec:
    """The sweep that a YAML file describes, fully checked: its cells are built once to see that they can be.

    `scale` takes the place of what the file says of sizes. Raises SpecError: one line a mistake, which names the file, the line, the
    field, the value found and what is allowed.
    """
    if scale is not None:
        _check_scale(scale)
    document = yaml_reader.read(path)
    try:
        raw = document.value
        permit(own_datasets(raw) if isinstance(raw, dict) else ())  # the user named the file, and so what it names
        spec = parse(raw if scale is None else rescaled(raw, scale))
    except SpecError as error:
        raise document.pointed(error.mistakes) from None
    except DataError as error:  # of a dataset of the user's own
        raise DataError(f"{document.file}:{_line_of_data(document, str(error))}: {error}") from None
    if document.mistakes:
        raise document.pointed(())
    spec._document = document
    return spec


def _line_of_data(document: Document, message: str) -> int:
    """The line that names the dataset which a message is about."""
    names = {at: str(value) for at, value in yaml_reader.values(document.value) if "dataset" in at}
    return next((document.lines[at] for at, name in names.items() if is_own(name) and name.rpartition(":")[0] in message), 1)


def rescaled(raw: Any, scale: str) -> Any:
    """A raw sweep at another scale, under a name of its own: everything that it says of sizes is taken out."""
    _check_scale(scale)
    if not isinstance(raw, dict):
        return raw  # refused by `parse`
    fixed = (*fields_with(Role.SIZE), "scale")
    for section in ("grid", "zip"):
        for field in fixed:
            if isinstance(raw.get(section), dict) and field in raw[section]:
                raise SpecError(f"{section}.{field}: varies, so that --scale cannot fix it; leave out one of them")
    bare = {section: _without(raw[section], fixed) for section in ("base", "include", "exclude") if section in raw}
    for section in ("include", "exclude"):
        for index, (entry, left) in enumerate(zip(_entries(raw, section), _entries(bare, section), strict=True)):
            if entry and not left:
                raise SpecError(
                    f"{section}[{index}]: says nothing but sizes ({', '.join(entry)}), which --scale fixes; remove it"
                )
    base = bare.get("base") or {}
    named = {"name": f"{raw['name']}-{scale}"} if isinstance(raw.get("name"), str) else {}
    return raw | bare | named | {"base": base | {"scale": scale} if isinstance(base, dict) else base}


def _check_scale(scale: str) -> None:
    try:
        choose("--scale", scale, presets.SCALES)
    except ValueError as error:
        raise SpecError(str(error)) from None


def _entries(raw: dict[str, Any], section: str) -> list[Any]:
    entries = raw.get(section)
    return entries if isinstance(entries, list) else []


def _without(section: Any, fields: tuple[str, ...]) -> Any:
    if isinstance(section, list):
        return [_without(entry, fields) for entry in section]
    return {key: value for key, value in section.items() if key not in fields} if isinstance(section, dict) else section


def parse(raw: Any, code_of: frozenset[str] | None = None) -> SweepSpec:
    """As `load`, from what YAML gave.

    With `code_of`, code runs of these datasets only: cells on other datasets of a user's own are left out.
    """
    if not isinstance(raw, dict):
        raise SpecError(f"a sweep is a mapping with a name, not {kind(raw)}; see sweeps/quickstart.yaml")
    found: list[Mistake] = []
    try:
        spec = SweepSpec.model_validate(raw)
    except ValidationError as error:
        found += mistakes.mistakes(error, SweepSpec, PLACES)
    found += field_mistakes(raw, PLACES)
    if found:
        raise SpecError(*dict.fromkeys(found))
    spec._own_datasets = own_datasets(raw)
    spec._left_out = frozenset() if code_of is None else spec._own_datasets - code_of
    _check_objectives(spec, cells(spec) if spec.search is None else _examples(spec, spec.search))
    return spec


def _examples(spec: SweepSpec, search: Search) -> list[Cell]:
    """The cells at the corners of a search's space. Raises SpecError where there can be no such search."""
    most = spec.seeds.max if isinstance(spec.seeds, Replicates) else len(spec.seed_list)
    if search.cells * most > MOST_TRIALS:
        raise SpecError(f"search.cells: {search.cells} with {most} seeds are more than {MOST_TRIALS} trials; lower one of them")
    if spec.left_out:
        return []
    corners = search_space.check(search, spec.base, len(spec.objectives)).corners()
    examples = [Cell(TrainingConfig.model_validate(spec.base | corner)) for corner, _ in zip(corners, range(2), strict=False)]
    measured = [*examples[0].config.metrics, *search_space.MEASURED_BESIDE]
    for index, constraint in enumerate(search.constraints):
        try:
            choose(f"search.constraints[{index}].metric", constraint.metric, measured)
        except ValueError as error:
            raise SpecError(str(error)) from None
    return examples


def proposed(spec: SweepSpec, found: Sequence[Proposed]) -> SweepSpec:
    """A search with the cells that it has found so far: from here on a sweep like any other."""
    with_cells = spec.model_copy()
    with_cells._proposed = tuple(found)
    with_cells._trials = None
    return with_cells


def seeds_of(spec: SweepSpec) -> dict[str, tuple[int, ...]]:
    """The seeds of each cell, by its id, in ascending order."""
    if spec.search is None:
        return dict.fromkeys((cell.id for cell in cells(spec)), tuple(spec.seed_list))
    return {found.cell.id: found.seeds for found in spec.found}


def trials(spec: SweepSpec) -> list[Trial]:
    """Every trial of the sweep, cell by cell, seeds in ascending order."""
    if spec._trials is None:
        seeds = seeds_of(spec)
        spec._trials = tuple(Trial(cell, seed) for cell in cells(spec) for seed in seeds[cell.id])
    return list(spec._trials)


def wanted(spec: SweepSpec) -> list[Trial]:
    """The trials that are to end: of a search without those of the cells that it stopped."""
    stopped = {found.cell.id for found in spec.found if found.stopped}
    return [trial for trial in trials(spec) if trial.cell.id not in stopped]


def cells(spec: SweepSpec) -> list[Cell]:
    """Every cell of the sweep: (grid x zip - exclude) + include, or what a search has found. Raises SpecError where that makes no
    sense.
    """
    if spec.search is not None:
        return [found.cell for found in spec.found]
    if spec._cells is None:
        spec._cells = tuple(_built(spec))
    return list(spec._cells)


def cell_of(spec: SweepSpec, fields: dict[str, Any]) -> Cell:
    """The cell of a search that has these fields over its base."""
    cell = _configured(_Point(spec.base | fields, {field: ("search", "space", field) for field in fields}), spec)
    if isinstance(cell, list):
        raise SpecError(*cell)
    return cell


@dataclass(frozen=True)
class _Point:
    """What the file writes of one cell."""

    fields: dict[str, Any]
    varied: dict[str, Location]
    """The fields that grid and zip vary, and where the values of this point stand."""
    entry: int | None = None
    """Which entry of `include` it is, if it is one."""

    @property
    def name(self) -> str:
        """How a message names it."""
        shown = ", ".join(f"{field}: {self.fields[field]}" for field in self.varied)
        return f"include[{self.entry}]" if self.entry is not None else f"grid ({shown})" if shown else "base"

    @property
    def at(self) -> Location:
        """Where it stands, as nearly as can be said."""
        return ("include", self.entry) if self.entry is not None else next(reversed(self.varied.values()), ("base",))

    def origin(self, field: str, spec: SweepSpec) -> tuple[str, Location]:
        """Where in the file a field of it was written, as a message names it and as a place; in base if nowhere."""
        if self.entry is not None and (field in spec.include[self.entry] or field not in spec.base):
            return f"{self.name}.{field}", ("include", self.entry, field)
        if field in self.varied:
            return f"{self.varied[field][0]}.{field}", self.varied[field]
        return f"base.{field}", ("base", field)


def _combinations(spec: SweepSpec) -> Iterator[_Point]:
    """Each combination of grid and zip; nothing if only `include` makes cells."""
    if spec.grid is None and spec.zip is None and spec.include:
        return
    grid, zipped = spec.grid or {}, spec.zip or {}
    for choice in product(*(range(len(values)) for values in grid.values())):
        point = {field: grid[field][index] for field, index in zip(grid, choice, strict=True)}
        at: dict[str, Location] = {field: ("grid", field, index) for field, index in zip(grid, choice, strict=True)}
        for row in range(_rows(spec)):
            below: dict[str, Location] = {field: ("zip", field, row) for field in zipped}
            yield _Point(spec.base | point | {field: zipped[field][row] for field in zipped}, at | below)


def _rows(spec: SweepSpec) -> int:
    """How many rows `zip` has."""
    return 1 if spec.zip is None else min(map(len, spec.zip.values()))


def _built(spec: SweepSpec) -> Iterator[Cell]:
    """The cells that the file writes out, each checked. Raises SpecError with every mistake that is found."""
    _check_count(spec)
    rules, wrong, first, cell_ids = Rules(spec.exclude), dict[str, Mistake](), dict[str, _Point](), dict[str, Cell]()
    included = [_Point(spec.base | entry, {}, index) for index, entry in enumerate(spec.include)]
    for point in (*_combinations(spec), *included):
        if point.fields.get("dataset") in spec.left_out:
            continue
        cell = _configured(point, spec)
        config = None if isinstance(cell, list) else cell.config
        if point.entry is None and rules.leaves_out(point.fields, config):
            continue
        if isinstance(cell, list):
            wrong = {mistake.text: mistake for mistake in cell} | wrong  # the first of each
        elif cell.id in first:
            said = f"{point.name}: is the same cell as {first[cell.id].name} ({cell.label}); remove one of them"
            wrong[said] = Mistake(said, _where_it_parts(point, first[cell.id]))
        else:
            first[cell.id], cell_ids[cell.id] = point, cell
        if len(wrong) > MOST_SHOWN:
            break  # no more are shown
    else:
        wrong |= {} if spec.left_out else {mistake.text: mistake for mistake in rules.mistakes()}
    if wrong:
        raise SpecError(*wrong.values())
    if not cell_ids and not spec.left_out:
        raise SpecError("exclude: leaves no cell; remove an entry")
    yield from cell_ids.values()


def _where_it_parts(point: _Point, other: _Point) -> Location:
    """Where a point stands that is the same cell as another: the last value in which they are written differently."""
    return next((at for field, at in reversed(point.varied.items()) if other.varied.get(field) != at), point.at)


def _configured(point: _Point, spec: SweepSpec) -> Cell | list[Mistake]:
    """The cell that a point makes, or what is wrong with it."""
    try:
        return Cell(TrainingConfig.model_validate(point.fields))
    except ValidationError as error:
        return [_of_cell(mistake, point, spec) for mistake in mistakes.mistakes(error, TrainingConfig)]


def _of_cell(mistake: Mistake, point: _Point, spec: SweepSpec) -> Mistake:
    """A configuration's mistake, where the file has it."""
    name, _, _ = mistake.text.partition(": ")
    field = str(mistake.at[0]) if mistake.at else name
    section, at = point.origin(field, spec)
    return Mistake(f"{section.removesuffix(field)}{mistake.text}", (*at, *mistake.at[1:]))


def _check_count(spec: SweepSpec) -> None:
    """Before anything is multiplied out."""
    lengths = {key: len(values) for key, values in (spec.grid or {}).items()}
    count = math.prod(lengths.values()) * _rows(spec) * len(spec.seed_list)
    if count > MOST_TRIALS:
        said = ", ".join(f"{key}: {length}" for key, length in lengths.items())
        raise SpecError(f"grid: makes {count} trials ({said}; {len(spec.seed_list)} seeds); at most {MOST_TRIALS}")


def _check_objectives(spec: SweepSpec, cells_: list[Cell]) -> None:
    kinds = {cell.config.data_key: cell.config for cell in cells_}
    for key, config in kinds.items():
        known = config.metrics
        for index, objective in enumerate(spec.objectives):
            try:
                choose(f"objectives[{index}].metric", objective.metric, known)
            except ValueError as error:
                raise SpecError(f"{error}{f'; of {key.dataset}' if len(kinds) > 1 else ''}") from None
    names = [objective.metric for objective in spec.objectives]
    if len(set(names)) < len(names):
        raise SpecError(f"objectives: a metric is named twice ({', '.join(names)})")
