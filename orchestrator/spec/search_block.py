"""The `search` block of a sweep file: what is searched, how, and when to stop. Pure: no Optuna.

The cells of a search are proposed one after another instead of being written out. Everything else is as in any sweep: `base` holds what
all cells share, `seeds` how often each is trained, `objectives` what is sought.
"""

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, StrictBool, StringConstraints, field_validator, model_validator

from mopoe_core.config.field_types import Number, Whole
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.spelling import suggestion
from orchestrator.spec.fields import NAME
from orchestrator.spec.sections import STRICT

MOST_CELLS = 10_000
SECONDS, PARAMETERS = "train_seconds", "parameters"
MEASURED_BESIDE = (SECONDS, PARAMETERS)
"""What a constraint may bound beside metrics: a trial's seconds of training, and the number of its model's weights."""
GENETIC = ("nsga2", "nsga3")


class Range(BaseModel):
    """Numbers between two ends, both included."""

    model_config = STRICT

    low: Any
    high: Any
    log: StrictBool = False
    """Whether values are spread evenly on a logarithmic scale, as betas and learning rates should be."""
    step: Any = None
    """Distance between two allowed values, counted from `low`. When left out, all values are allowed."""
    points: Whole | None = Field(default=None, ge=2, le=1_000)
    """How many values the sampler `grid` takes."""
    when: dict[str, Any] = Field(default_factory=dict)
    """Other fields of the space, each with a value or a list of values. Only at these is this field searched; else it has its default."""


class Choice(BaseModel):
    """One of several values."""

    model_config = STRICT

    choices: Annotated[list[Any], Field(min_length=1)]
    when: dict[str, Any] = Field(default_factory=dict)


def _range_or_choice(value: Any) -> Any:
    if isinstance(value, Range | Choice):
        return value
    value = {"choices": value} if isinstance(value, list) else value
    if not isinstance(value, dict):
        raise ValueError("is no part of a space; write a list of values, or {low: ..., high: ...}")
    has_choices = any(suggestion(key, ["choices"], guess=False) for key in value)  # under this name or that of another tool
    return (Choice if has_choices else Range).model_validate(value)


Dimension = Annotated[Range | Choice, BeforeValidator(_range_or_choice)]


class Constraint(BaseModel):
    """A bound on the mean over a cell's seeds. A cell that breaks it is infeasible, and on no front of the search."""

    model_config = STRICT

    metric: str
    at_most: Number | None = None
    at_least: Number | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> "Constraint":
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError(f"{self.metric}: needs exactly one of at_most and at_least")
        return self

    @property
    def name(self) -> str:
        """The metric and the bound: what tells it from the search's other constraints."""
        return f"{self.metric} {'at_least' if self.at_most is None else 'at_most'}"

    def excess(self, value: float) -> float:
        """Returns how far a value is beyond the bound; zero or less if it keeps to the bound."""
        if self.at_most is not None:
            return value - self.at_most
        return (self.at_least or 0.0) - value


class Stop(BaseModel):
    """When the search ends before it has proposed all its cells."""

    model_config = STRICT

    trial_hours: Number | None = Field(default=None, gt=0)
    """Hours of training and evaluation, summed over the trials of the search. Trials that had run before the search count, too."""
    no_gain: Whole | None = Field(default=None, ge=1)
    """After how many cells in a row that did not raise the hypervolume the search ends."""


class Early(BaseModel):
    """Stopping cells before their last epoch. Cells are compared by their means over all seeds, at the same epoch."""

    model_config = STRICT

    rule: Literal["dominated", "halving"]
    """`dominated`: a cell is stopped when a completed cell dominates its bound. In each objective, the bound is the cell's value now plus
    the largest gain that a completed cell of this search made from the same share of its epochs to its end. The rule assumes that no
    cell gains more.
    `halving` (one objective): a cell is stopped unless it is among the best share `keep` of the cells that have reached this epoch
    (asynchronous successive halving)."""
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

    @model_validator(mode="after")
    def _rule_knows_its_fields(self) -> "Early":
        for field, rule in (("keep", "halving"), ("after", "dominated")):
            if getattr(self, field) != type(self).model_fields[field].default and self.rule != rule:
                raise ValueError(f"{field}: is for the rule {rule}, not for {self.rule}; leave it out")
        return self

    @staticmethod
    def epoch(share: float, config: TrainingConfig) -> int:
        """Returns the epoch, from 1, at which a cell has done this share of its epochs."""
        return max(1, round(share * config.epochs))

    def epochs(self, config: TrainingConfig) -> tuple[int, ...]:
        """Returns the epochs after which a cell is judged, in ascending order."""
        epochs = {self.epoch(share, config) for share in self.at}
        return tuple(sorted(epoch for epoch in epochs if epoch < config.epochs))


class Search(BaseModel):
    """How cells are found."""

    model_config = STRICT

    space: Annotated[dict[str, Dimension], Field(min_length=1)]
    cells: Whole = Field(ge=1, le=MOST_CELLS)
    """How many cells are proposed in all. To continue a finished search, raise the number."""
    sampler: Literal["tpe", "nsga2", "nsga3", "gp", "random", "qmc", "grid"] = "tpe"
    startup: Whole | None = Field(default=None, ge=1)
    """`tpe`, `gp`: cells of Sobol's sequence before the first that is modelled. When left out, a third of `cells`, at most 10."""
    population: Whole | None = Field(default=None, ge=2)
    """`nsga2`, `nsga3`: cells a generation. When left out, an eighth of `cells`, 8 to 50. With few generations they choose little."""
    seed: Whole = 0
    """The seed of the sampler."""
    concurrent: Whole | None = Field(default=None, ge=1)
    """How many cells are trained at a time. When left out, as many as keep all workers busy. Fewer make proposals better informed."""
    constraints: list[Constraint] = Field(default_factory=list)
    """Bounds that cells have to keep. A metric may have two: one `at_most` and one `at_least`."""
    warm_start: list[Annotated[str, StringConstraints(pattern=NAME)]] = Field(default_factory=list)
    """Names of sweeps in the same storage. The sampler learns from their completed cells in the space before its first proposal."""
    stop: Stop = Stop()
    early: Early | None = None

    @model_validator(mode="before")
    @classmethod
    def _has_no_misplaced_field(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        for key in ("seeds", "objectives"):
            if key in values:
                raise ValueError(f"{key}: belongs to the whole sweep; set the top-level field '{key}'")
        if "trials" in values:
            raise ValueError("trials: a trial is a cell with one of its seeds; set 'cells', the number of cells to propose")
        return values

    @field_validator("constraints")
    @classmethod
    def _one_constraint_a_bound(cls, value: list[Constraint]) -> list[Constraint]:
        repeated = [name for name, count in Counter(constraint.name for constraint in value).items() if count > 1]
        if repeated:
            metric, bound = repeated[0].rsplit(" ", 1)
            raise ValueError(f"{metric} has more than one {bound}; keep one of them")
        return value

    @model_validator(mode="after")
    def _sampler_knows_its_fields(self) -> "Search":
        for field, samplers in (("startup", ("tpe", "gp")), ("population", GENETIC)):
            if getattr(self, field) is not None and self.sampler not in samplers:
                raise ValueError(f"{field}: is for the samplers {' and '.join(samplers)}, not for {self.sampler}; leave it out")
        return self

    @property
    def startup_cells(self) -> int:
        """How many cells of Sobol's sequence come before the first that is modelled."""
        return self.startup or max(1, min(10, self.cells // 3))

    @property
    def generation(self) -> int:
        """How many cells a generation of a genetic sampler has."""
        return self.population or max(8, min(50, self.cells // 8))
