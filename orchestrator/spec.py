"""Sweep files: YAML in, trials out. Pure: no torch, no Ray, nothing written.

Every value passes through `TrainingConfig` before it is compared or hashed, because YAML 1.1 reads `1e-1` as a string and `no` as
False, and because `exclude: [{beta: 1}]` must match a grid that says `1.0`.
"""

import math
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from mopoe_core import presets
from mopoe_core.catalogue import DATASETS, MODELS, is_own
from mopoe_core.config import ALIASES, MODEL_DEFAULTS, Number, TrainingConfig, Whole, choose, nearest
from mopoe_core.names import metric_names
from orchestrator.errors import SpecError
from orchestrator.trial import Cell, Trial

_FIELDS = {name: info for name, info in TrainingConfig.model_fields.items() if name != "data_hash"}
_KEYS = (*_FIELDS, "preset")
"""What a cell may say: the configuration's fields, but the one that is computed, and the preset that fills in the others."""
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
MOST_SHOWN = 80  # characters of a value in a message

DEFAULT_OBJECTIVES = (
    Objective(metric="coherence/joint", goal="max", reference=0.0),
    Objective(metric="log_likelihood/joint", goal="max"),
)

_Values = Annotated[list[Any], Field(min_length=1)]


class SweepSpec(BaseModel):
    """One sweep file: a name and a set of trials."""

    model_config = _STRICT

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
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
    seeds: Annotated[int | list[Whole], Field(union_mode="left_to_right")] = 1
    """How many seeds (0, 1, ...) or a list of them."""
    objectives: Annotated[tuple[Objective, ...], Field(min_length=2, max_length=3)] = DEFAULT_OBJECTIVES
    resources: Resources = Resources()
    storage: Annotated[str, StringConstraints(min_length=1)] = "runs"
    """Folder or URI of the ledger, shared by sweeps."""
    keep: Literal["last", "front"] = "last"
    """Checkpoints that stay when the sweep is complete: each trial's last, or those of the front's cells only."""

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
    def _sensible_seeds(cls, value: int | list[int]) -> int | list[int]:
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

    @property
    def seed_list(self) -> list[int]:
        """The seeds of every cell, in ascending order."""
        return list(range(self.seeds)) if isinstance(self.seeds, int) else sorted(self.seeds)


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
        raise SpecError(f"a sweep is a mapping with a name, not {_kind(raw)}; see sweeps/quickstart.yaml")
    try:
        spec = SweepSpec.model_validate(raw)
    except ValidationError as error:
        raise SpecError(explain(error, SweepSpec)) from None
    _check_objectives(spec, cells(spec))
    return spec


def trials(spec: SweepSpec) -> list[Trial]:
    """Every trial of the sweep, cell by cell, seeds in ascending order."""
    return [Trial(cell, seed) for cell in cells(spec) for seed in spec.seed_list]


def cells(spec: SweepSpec) -> list[Cell]:
    """Every cell of the sweep: (grid x zip - exclude) + include. Raises SpecError where that does not make sense."""
    _check_keys(spec)
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
            _check_key(f"{place}.{key}", key)
    for place, entries in (("include", spec.include), ("exclude", spec.exclude)):
        for index, entry in enumerate(entries):
            if not entry:
                raise SpecError(f"{place}[{index}]: is empty; name at least one field")
            for key in entry:
                _check_key(f"{place}[{index}].{key}", key)
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


def _check_key(place: str, key: str) -> None:
    if key in ("seed", "seeds"):
        raise SpecError(f"{place}: seeds are not part of a cell; set the top-level field 'seeds'")
    if key not in _KEYS:
        raise SpecError(f"{place}: unknown field{nearest(key, _KEYS)}; allowed: {', '.join(_KEYS)}")


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
        wanted = {key: _typed(f"exclude[{index}].{key}", key, value) for key, value in meant.items()}
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
        return bool(_typed(key, key, fields.get(key, own.get(key, _FIELDS[key].default))) == value)
    except SpecError:
        return False


def _expand(fields: dict[str, Any]) -> dict[str, Any]:
    return fields | ALIASES.get(str(fields.get("model")), {})


def _alias(fields: dict[str, Any]) -> dict[str, str]:
    """What the model's alias says of the other fields; nothing where the model is no alias."""
    return {key: value for key, value in ALIASES.get(str(fields.get("model")), {}).items() if key != "model"}


def _typed(place: str, field: str, value: Any) -> Any:
    """`value` as the configuration's field would hold it."""
    info = _FIELDS[field]
    offered: dict[str, list[str]] = {"dataset": list(DATASETS), "model": [*MODELS, *ALIASES]}
    names = offered.get(field, [])
    if names and isinstance(value, str) and value not in names and not is_own(value):
        raise SpecError(f"{place}: {value!r} is not offered{nearest(value, names)}; allowed: {', '.join(names)}")
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(Annotated[info.annotation, info])  # type: ignore[arg-type]
        return adapter.validate_python(value)
    except ValidationError as error:
        raise SpecError(f"{place}: {_problem(error)}") from None


def _check_objectives(spec: SweepSpec, cells_: list[Cell]) -> None:
    for modalities, attributes in {(cell.config.modalities, cell.config.attributes) for cell in cells_}:
        known = metric_names(modalities, attributes)
        for index, objective in enumerate(spec.objectives):
            try:
                choose(f"objectives[{index}].metric", objective.metric, known)
            except ValueError as error:
                raise SpecError(str(error)) from None
    names = [objective.metric for objective in spec.objectives]
    if len(set(names)) < len(names):
        raise SpecError(f"objectives: a metric is named twice ({', '.join(names)})")


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """The first problem of a pydantic error as one line: the field, the value found, what is allowed, the nearest spelling."""
    first = _first(error)
    place = _dotted(first["loc"])
    if first["type"] == "extra_forbidden":
        allowed = _fields_at(model, first["loc"][:-1])
        return f"{place}: unknown field{nearest(str(first['loc'][-1]), allowed)}; allowed: {', '.join(allowed)}"
    if first["type"] == "missing":
        return f"{place}: is missing; it has no default"
    return f"{place}: {_problem(error)}" if place else _problem(error)


_ALLOWED = {
    "too_short": "has too few entries; at least {min_length}",
    "too_long": "has too many entries; at most {max_length}",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "tuple_type": "must be a list",
    "string_type": "must be text",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "must be letters, digits, '.', '_' and '-', at most 64, and begin with a letter or digit",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be finite",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
}
"""What pydantic's error types mean, in the words of this project."""


def _first(error: ValidationError) -> Any:
    """The first problem; of a field that may be one of several kinds, that of the kind which got furthest into the value."""
    problems = error.errors()
    same = [problem for problem in problems if problem["loc"][:1] == problems[0]["loc"][:1]]
    return max(same, key=lambda problem: len(problem["loc"]))


def _problem(error: ValidationError) -> str:
    """What is wrong with the value, without the field."""
    first = _first(error)
    if first["type"] == "value_error":
        message = str(first["ctx"]["error"])
        return f"{first['input']!r} {message}" if first["loc"] and not isinstance(first["input"], dict | list) else message
    if first["type"] == "literal_error":
        allowed = [word.strip(" '") for word in str(first["ctx"]["expected"]).replace(" or ", ",").split(",")]
        return f"{_kind(first['input'])} is not allowed{nearest(str(first['input']), allowed)}; allowed: {', '.join(allowed)}"
    allowed_text = _ALLOWED.get(first["type"], first["msg"]).format(**first.get("ctx", {}))
    return f"{_kind(first['input'])} {allowed_text}"


def _dotted(location: tuple[int | str, ...]) -> str:
    path = ""
    location = tuple(part for part in location if not str(part).startswith(("literal[", "tuple[", "function-")))  # of a union
    for part in location if location[:1] != ("seeds",) else location[:1]:  # pydantic adds the union's member, `seeds.int`
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def _fields_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    names = [part for part in location if isinstance(part, str)]
    nested: dict[str, type[BaseModel]] = {"objectives": Objective, "resources": Resources}
    inner = nested.get(names[0], model) if names else model
    return list(inner.model_fields)


def _kind(value: Any) -> str:
    if value is None:
        return "an empty value"
    if isinstance(value, dict):
        return "a mapping"
    shown = "a list" if isinstance(value, list) else repr(value)
    return shown if len(shown) <= MOST_SHOWN else f"{shown[: MOST_SHOWN - 3]}..."
