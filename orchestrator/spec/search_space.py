"""The `search` block of a sweep file: what is searched, how, and when to stop. Pure: no Optuna.

A search is a sweep whose cells are proposed one after another instead of being written out. Everything else is as in any sweep: `base`
holds what all cells share, `seeds` how often each is trained, `objectives` what is sought.
"""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from mopoe_core.config.field_types import Number, Whole
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.spelling import nearest, suggestion
from orchestrator.errors import Mistake, SpecError
from orchestrator.spec.comparison_key import check_searched
from orchestrator.spec.fields import NAME, check_key, typed
from orchestrator.spec.mistakes import explain, kind

_STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

MOST_CHECKED = 4_096  # corners of a space that are built, to see that they can be
MOST_CELLS = 10_000
SECONDS, PARAMETERS = "train_seconds", "parameters"
MEASURED_BESIDE = (SECONDS, PARAMETERS)
"""What a constraint may be about, beside metrics: seconds of training and the number of a model's weights, both a trial."""
MULTI = ("nsga2", "nsga3")


class Range(BaseModel):
    """Numbers between two ends, both included."""

    model_config = _STRICT

    low: Any
    high: Any
    log: bool = False
    """Whether a factor is as likely anywhere: for betas and learning rates."""
    step: Any = None
    """Only multiples of this above `low`."""
    points: Whole | None = Field(default=None, ge=2, le=1_000)
    """How many values the sampler `grid` takes of it."""
    when: dict[str, Any] = Field(default_factory=dict)
    """Fields of the space and the values, one or a list, at which this one is searched; else it has its default."""


class Choice(BaseModel):
    """One of some values."""

    model_config = _STRICT

    choices: Annotated[list[Any], Field(min_length=1)]
    when: dict[str, Any] = Field(default_factory=dict)


def _discriminated(value: Any) -> Any:
    if isinstance(value, Range | Choice):
        return value
    value = {"choices": value} if isinstance(value, list) else value
    if not isinstance(value, dict):
        raise ValueError("is no part of a space; write a list of values, or {low: ..., high: ...}")
    listed = any(suggestion(key, ["choices"], guess=False) for key in value)  # or what other tools call it
    return (Choice if listed else Range).model_validate(value)


Dimension = Annotated[Range | Choice, BeforeValidator(_discriminated)]


class Constraint(BaseModel):
    """What the mean over a cell's seeds has to keep to; a cell that does not is told as infeasible, and is on no front of the search."""

    model_config = _STRICT

    metric: str
    at_most: Number | None = None
    at_least: Number | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> "Constraint":
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError(f"{self.metric}: needs exactly one of at_most and at_least")
        return self

    def excess(self, value: float) -> float:
        """How far a value is on the wrong side; zero or less where it keeps to it."""
        return value - self.at_most if self.at_most is not None else (self.at_least or 0.0) - value


class Stop(BaseModel):
    """When no further cell is proposed, beside the number of cells."""

    model_config = _STRICT

    trial_hours: Number | None = Field(default=None, gt=0)
    """Training and evaluation, added up over the trials of the search; those that were there before it count."""
    no_gain: Whole | None = Field(default=None, ge=1)
    """So many cells, one after another, that have not raised the hypervolume."""


class Early(BaseModel):
    """Stopping cells before their last epoch. What is compared is the mean over all seeds of a cell, at the same epoch."""

    model_config = _STRICT

    rule: Literal["dominated", "halving"]
    """`dominated`: a cell is stopped when its bound is dominated by a completed cell. The bound is, in each objective, what the cell has
    now and the largest gain that a completed cell of this search had from the same share of its epochs to its end. It assumes that no
    cell gains more.
    `halving` (one objective): a cell is stopped unless it is among the best `keep` of those that came so far (asynchronous successive
    halving)."""
    at: Annotated[list[Number], Field(min_length=1)]
    """Shares of the epochs after which cells are judged."""
    keep: Number = Field(default=1 / 3, gt=0, lt=1)
    """Share of the cells that `halving` keeps at each point."""
    after: Whole = Field(default=5, ge=2)
    """`dominated`: completed cells before the first is stopped."""

    @field_validator("at")
    @classmethod
    def _shares(cls, value: list[float]) -> list[float]:
        if any(not 0 < share < 1 for share in value) or sorted(set(value)) != value:
            raise ValueError("must be shares between 0 and 1, in ascending order")
        return value

    @staticmethod
    def epoch(share: float, config: TrainingConfig) -> int:
        """The epoch that is this share of a cell's epochs."""
        return max(1, round(share * config.epochs))

    def epochs(self, config: TrainingConfig) -> tuple[int, ...]:
        """The epochs after which a cell is judged."""
        found = {self.epoch(share, config) for share in self.at}
        return tuple(sorted(epoch for epoch in found if epoch < config.epochs))


class Search(BaseModel):
    """How cells are found."""

    model_config = _STRICT

    space: Annotated[dict[str, Dimension], Field(min_length=1)]
    cells: Whole = Field(ge=1, le=MOST_CELLS)
    """How many are proposed in all. Raise it to go on."""
    sampler: Literal["tpe", "nsga2", "nsga3", "gp", "random", "qmc", "grid"] = "tpe"
    startup: Whole | None = Field(default=None, ge=1)
    """`tpe`, `gp`: cells of Sobol's sequence before the first that is modelled; a third of `cells`, at most 10, when left out."""
    population: Whole | None = Field(default=None, ge=2)
    """`nsga2`, `nsga3`: cells a generation; an eighth of `cells`, 8 to 50, when left out. With fewer generations they choose little."""
    seed: Whole = 0
    """Of the sampler's chance."""
    concurrent: Whole | None = Field(default=None, ge=1)
    """Cells that are trained at a time; as many as keep all workers busy when left out. Fewer make each proposal better informed."""
    constraints: list[Constraint] = Field(default_factory=list)
    warm_start: list[Annotated[str, StringConstraints(pattern=NAME)]] = Field(default_factory=list)
    """Names of sweeps in the same storage. Their completed cells that lie in the space are told before the first proposal."""
    stop: Stop = Stop()
    early: Early | None = None

    @model_validator(mode="before")
    @classmethod
    def _words(cls, values: Any) -> Any:
        for key, instead in (("seeds", "the top-level field 'seeds'"), ("objectives", "the top-level field 'objectives'")):
            if isinstance(values, dict) and key in values:
                raise ValueError(f"{key}: belongs to the whole sweep; set {instead}")
        if isinstance(values, dict) and "trials" in values:
            raise ValueError("trials: a trial is a cell with one of its seeds; set 'cells', the number of cells to propose")
        return values

    @model_validator(mode="after")
    def _agree(self) -> "Search":
        for field, samplers in (("startup", ("tpe", "gp")), ("population", MULTI)):
            if getattr(self, field) is not None and self.sampler not in samplers:
                raise ValueError(f"{field}: is for the samplers {' and '.join(samplers)}, not for {self.sampler}; leave it out")
        return self

    @property
    def startup_cells(self) -> int:
        """Cells of Sobol's sequence before the first that is modelled."""
        return self.startup or max(1, min(10, self.cells // 3))

    @property
    def generation(self) -> int:
        """Cells a generation of a genetic sampler."""
        return self.population or max(8, min(50, self.cells // 8))


def check(search: Search, base: Mapping[str, Any], objectives: int) -> "Space":
    """The space of a search, fully checked: its corners are built once to see that they can be. Raises SpecError."""
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
        """Whether a field is searched, given those that were chosen before it."""
        when = self.dimensions[field].when
        return all(parent in chosen and chosen[parent] in values for parent, values in when.items())

    def holds(self, fields: Mapping[str, Any]) -> bool:
        """Whether these fields, and no others, could have been proposed."""
        wanted = [field for field in self.order if self.active(field, fields)]
        return set(wanted) == set(fields) and all(_holds(self.dimensions[field], fields[field]) for field in wanted)

    def grid_size(self) -> int:
        """How many cells a grid over the space has. Raises SpecError where a range does not say which values."""
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
        """Each once: a field that is not searched at a combination does not multiply it."""
        found: list[dict[str, Any]] = [{}]
        for field in self.order:
            found = [
                chosen | more
                for chosen in found
                for more in ([{field: value} for value in values[field]] if self.active(field, chosen) else [{}])
            ]
            if len(found) > MOST_CELLS:
                raise SpecError(f"search.space: has more than {MOST_CELLS} combinations; take fewer choices or points")
        yield from found


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


def label(value: Any) -> Any:
    """A choice as Optuna can hold it: what is no plain value is spelled as JSON."""
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
    """The fields in an order in which each comes after those that it depends on. Raises SpecError where there is none."""
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
