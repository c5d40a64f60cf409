"""Sweep files: YAML in, trials out. Pure: no torch, no Ray, nothing written.

Every value passes through `TrainingConfig` before it is compared or hashed, because YAML 1.1 reads `1e-1` as a string and `no` as
False, and because `exclude: [{beta: 1}]` must match a grid that says `1.0`.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
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

from mopoe_core import presets
from mopoe_core.config import ALIASES, MODEL_DEFAULTS, Number, TrainingConfig, Whole, choose
from mopoe_core.names import metric_names
from orchestrator import space
from orchestrator.errors import SpecError
from orchestrator.explaining import explain, kind
from orchestrator.fields import FIELDS, NAME, check_key, typed
from orchestrator.space import Search
from orchestrator.trial import Cell, Trial

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
MOST_VALUES = 100_000  # in a file

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

    @field_validator("seeds", mode="before")
    @classmethod
    def _no_bool(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("must be a number of seeds or a list of them, not a yes/no value")
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


class _Loader(yaml.SafeLoader):
    """YAML that refuses a key written twice, where plain PyYAML silently keeps the last."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    for key, _ in node.value:
        if key.tag == "tag:yaml.org,2002:merge":
            raise SpecError(f"line {key.start_mark.line + 1}: merge keys (<<) are not read; write the fields out, or use `base`")
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    for index, key in enumerate(keys):
        if not isinstance(key, str) or not key.isprintable():
            raise SpecError(
                f"line {node.value[index][0].start_mark.line + 1}: the key {key!r} is not plain text; put it in quotes, on one line"
            )
        if key in keys[:index]:
            raise SpecError(f"line {node.value[index][0].start_mark.line + 1}: the key {key!r} appears twice")
    return dict(zip(keys, (loader.construct_object(value, deep=True) for _, value in node.value), strict=True))


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load(path: Path, scale: str | None = None) -> SweepSpec:
    """The sweep that a YAML file describes, fully checked: its cells are built once to see that they can be.

    `scale` takes the place of what the file says of sizes. Raises SpecError: one line that names the file, the field, the value found
    and what is allowed.
    """
    try:
        raw = _read(path)
        return parse(raw if scale is None else rescaled(raw, scale))
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from None


def rescaled(raw: Any, scale: str) -> Any:
    """A raw sweep at another scale, under a name of its own: everything that it says of sizes is taken out."""
    try:
        choose("--scale", scale, presets.SCALES)
    except ValueError as error:
        raise SpecError(str(error)) from None
    if not isinstance(raw, dict):
        return raw  # refused by `parse`
    fixed = (*presets.SIZE_FIELDS, "scale")
    for section in ("grid", "zip"):
        for field in fixed:
            if field in (raw.get(section) or {}):
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


def _entries(raw: dict[str, Any], section: str) -> list[Any]:
    entries = raw.get(section)
    return entries if isinstance(entries, list) else []


def _without(section: Any, fields: tuple[str, ...]) -> Any:
    if isinstance(section, list):
        return [_without(entry, fields) for entry in section]
    return {key: value for key, value in section.items() if key not in fields} if isinstance(section, dict) else section


def parse(raw: Any) -> SweepSpec:
    """As `load`, from what YAML gave."""
    if not isinstance(raw, dict):
        raise SpecError(f"a sweep is a mapping with a name, not {kind(raw)}; see sweeps/quickstart.yaml")
    try:
        spec = SweepSpec.model_validate(raw)
    except ValidationError as error:
        raise SpecError(explain(error, SweepSpec)) from None
    _check_objectives(spec, cells(spec) if spec.search is None else _examples(spec, spec.search))
    return spec


def _examples(spec: SweepSpec, search: Search) -> list[Cell]:
    """The cells at the corners of a search's space. Raises SpecError where there can be no such search."""
    _check_keys(spec)
    most = spec.seeds.max if isinstance(spec.seeds, Replicates) else len(spec.seed_list)
    if search.cells * most > MOST_TRIALS:
        raise SpecError(f"search.cells: {search.cells} with {most} seeds are more than {MOST_TRIALS} trials; lower one of them")
    corners = space.check(search, spec.base, len(spec.objectives)).corners()
    examples = [Cell(TrainingConfig.model_validate(spec.base | corner)) for corner, _ in zip(corners, range(2), strict=False)]
    measured = [*metric_names(examples[0].config.modalities, examples[0].config.attributes), *space.MEASURED_BESIDE]
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
    return with_cells


def seeds_of(spec: SweepSpec) -> dict[str, tuple[int, ...]]:
    """The seeds of each cell, by its id, in ascending order."""
    if spec.search is None:
        return dict.fromkeys((cell.id for cell in cells(spec)), tuple(spec.seed_list))
    return {found.cell.id: found.seeds for found in spec.found}


def trials(spec: SweepSpec) -> list[Trial]:
    """Every trial of the sweep, cell by cell, seeds in ascending order."""
    seeds = seeds_of(spec)
    return [Trial(cell, seed) for cell in cells(spec) for seed in seeds[cell.id]]


def wanted(spec: SweepSpec) -> list[Trial]:
    """The trials that are to end: of a search without those of the cells that it stopped."""
    stopped = {found.cell.id for found in spec.found if found.stopped}
    return [trial for trial in trials(spec) if trial.cell.id not in stopped]


def cells(spec: SweepSpec) -> list[Cell]:
    """Every cell of the sweep: (grid x zip - exclude) + include, or what a search has found. Raises SpecError where that makes no
    sense.
    """
    _check_keys(spec)
    if spec.search is not None:
        return [found.cell for found in spec.found]
    _check_count(spec)
    points = _exclude(spec, list(_combinations(spec)))
    points += [(f"include[{index}]", spec.base | entry) for index, entry in enumerate(spec.include)]
    kept = [(place, _cell(spec, place, fields)) for place, fields in points]
    if not kept:
        raise SpecError("exclude: leaves no cell; remove an entry")
    first: dict[str, str] = {}
    for place, cell in kept:
        if cell.id in first:
            raise SpecError(f"{place}: is the same cell as {first[cell.id]} ({cell.label}); remove one of them")
        first[cell.id] = place
    return [cell for _, cell in kept]


def cell_of(spec: SweepSpec, fields: dict[str, Any]) -> Cell:
    """The cell of a search that has these fields over its base."""
    return _cell(spec, "search.space", spec.base | fields)


def _read(path: Path) -> Any:
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - _Loader is a SafeLoader
    except FileNotFoundError:
        raise SpecError("there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot be read as text: {error}".replace("\n", " ")) from None
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}: " if error.problem_mark else ""
        raise SpecError(f"{where}not valid YAML: {error.problem}") from None
    except ValueError as error:  # a number of thousands of digits, an impossible date
        raise SpecError(f"not valid YAML: {error}".replace("\n", " ")) from None
    except RecursionError:
        raise SpecError("not a sweep: it is nested too deeply") from None
    except yaml.YAMLError as error:
        raise SpecError(f"not valid YAML: {error}".replace("\n", " ")) from None
    _check_size(raw)
    return raw


def _check_size(raw: Any) -> None:
    """Nested aliases make gigabytes of a few lines, as soon as somebody writes them out."""
    waiting, count = [raw], 0
    while waiting:
        value = waiting.pop()
        count += 1
        if count > MOST_VALUES:
            raise SpecError(f"holds more than {MOST_VALUES} values, those of an alias counted wherever it stands; write fewer")
        if isinstance(value, dict | list | tuple | set):
            waiting += value.values() if isinstance(value, dict) else value


def _combinations(spec: SweepSpec) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each combination of grid and zip with the words that name it; nothing if only `include` makes cells."""
    if spec.grid is None and spec.zip is None and spec.include:
        return
    grid = spec.grid or {}
    for values in product(*grid.values()):
        point = dict(zip(grid, values, strict=True))
        for row in _rows(spec):
            place = ", ".join(f"{k}: {v}" for k, v in (point | row).items())
            yield (f"grid ({place})" if place else "base"), spec.base | point | row


def _rows(spec: SweepSpec) -> list[dict[str, Any]]:
    if spec.zip is None:
        return [{}]
    return [dict(zip(spec.zip, values, strict=True)) for values in zip(*spec.zip.values(), strict=True)]


def _check_keys(spec: SweepSpec) -> None:
    grid, zipped = spec.grid or {}, spec.zip or {}
    for place, keys in (("base", spec.base), ("grid", grid), ("zip", zipped)):
        for key in keys:
            check_key(f"{place}.{key}", key)
    for place, entries in (("include", spec.include), ("exclude", spec.exclude)):
        for index, entry in enumerate(entries):
            if not entry:
                raise SpecError(f"{place}[{index}]: is empty; name at least one field")
            for key in entry:
                check_key(f"{place}[{index}].{key}", key)
                if place == "exclude" and key == "preset":
                    raise SpecError(f"exclude[{index}].preset: a preset is no field of a cell; name the fields that it sets")
    for first, second, both in (("base", "grid", spec.base), ("base", "zip", spec.base), ("grid", "zip", grid)):
        for key in both:
            if key in (grid if second == "grid" else zipped):
                raise SpecError(f"{second}.{key}: is also in {first}; keep it in one of them")
    lengths = {key: len(values) for key, values in zipped.items()}
    if len(set(lengths.values())) > 1:
        raise SpecError(f"zip: the lists differ in length ({', '.join(f'{k}: {n}' for k, n in lengths.items())})")


def _check_count(spec: SweepSpec) -> None:
    """Before anything is multiplied out."""
    lengths = {key: len(values) for key, values in (spec.grid or {}).items()}
    count = math.prod(lengths.values()) * len(_rows(spec)) * len(spec.seed_list)
    if count > MOST_TRIALS:
        said = ", ".join(f"{key}: {length}" for key, length in lengths.items())
        raise SpecError(f"grid: makes {count} trials ({said}; {len(spec.seed_list)} seeds); at most {MOST_TRIALS}")


def _cell(spec: SweepSpec, place: str, fields: dict[str, Any]) -> Cell:
    try:
        return Cell(TrainingConfig.model_validate(fields))
    except ValidationError as error:
        field, _, problem = explain(error, TrainingConfig).partition(": ")
        raise SpecError(f"{_origin(spec, place, field)}: {problem}") from None


def _origin(spec: SweepSpec, place: str, field: str) -> str:
    """Where in the file a cell's field was written: `grid.beta`, `include[0].beta`; `base.beta` if nowhere."""
    if place.startswith("include") and field not in spec.base:
        return f"{place}.{field}"
    section = next((name for name, keys in (("grid", spec.grid), ("zip", spec.zip)) if field in (keys or {})), "base")
    return f"{section}.{field}"


def _exclude(spec: SweepSpec, points: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    """The points that no entry of `exclude` matches; points are matched before they are checked, so that a rule can leave out a
    combination that would be refused."""
    for index, entry in enumerate(spec.exclude):
        # A rule may name what its alias contradicts, `{model: eq5, kl: mixture}`: it means points that are written so.
        meant = entry if any(value != entry.get(key, value) for key, value in _alias(entry).items()) else _expand(entry)
        wanted = {key: typed(f"exclude[{index}].{key}", key, value) for key, value in meant.items()}
        kept = [(place, fields) for place, fields in points if not _matches(fields, wanted)]
        if len(kept) == len(points):
            raise SpecError(f"exclude[{index}]: {entry} matches no cell; correct it or remove it")
        points = kept
    return points


def _matches(fields: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether a cell, with everything filled in, has these values; one that would be refused is compared as it is written."""
    try:
        config = TrainingConfig.model_validate(fields)
    except ValidationError:
        return any(all(_says(said, key, value) for key, value in wanted.items()) for said in (fields, _expand(fields)))
    return all(getattr(config, key) == value for key, value in wanted.items())


def _says(fields: dict[str, Any], key: str, value: Any) -> bool:
    own = MODEL_DEFAULTS.get(str(fields.get("model")), {})
    try:
        return bool(typed(key, key, fields.get(key, own.get(key, FIELDS[key].default))) == value)
    except SpecError:
        return False


def _expand(fields: dict[str, Any]) -> dict[str, Any]:
    return fields | ALIASES.get(str(fields.get("model")), {})


def _alias(fields: dict[str, Any]) -> dict[str, str]:
    """What the model's alias says of the other fields; nothing where the model is no alias."""
    return {key: value for key, value in ALIASES.get(str(fields.get("model")), {}).items() if key != "model"}


def _check_objectives(spec: SweepSpec, cells_: list[Cell]) -> None:
    kinds = {(cell.config.modalities, cell.config.attributes): cell.config.dataset for cell in cells_}
    for (modalities, attributes), dataset in kinds.items():
        known = metric_names(modalities, attributes)
        for index, objective in enumerate(spec.objectives):
            try:
                choose(f"objectives[{index}].metric", objective.metric, known)
            except ValueError as error:
                raise SpecError(f"{error}{f'; of {dataset}' if len(kinds) > 1 else ''}") from None
    names = [objective.metric for objective in spec.objectives]
    if len(set(names)) < len(names):
        raise SpecError(f"objectives: a metric is named twice ({', '.join(names)})")
