"""The sections of a sweep file that describe no cells: the objectives, the resources and the seeds."""

import re
from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, field_validator, model_validator

from mopoe_core.config.field_types import Number, Whole
from mopoe_core.spelling import list_suggestion
from mopoe_core.storage.paths import local_folder
from mopoe_core.storage.uri_secrets import masked
from orchestrator.errors import SpecError

STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
"""Every section refuses fields that it does not know."""

MOST_SEEDS = 10_000  # a larger number is a typing mistake
MOST_STACKED = 1_000
MOST_OF_A_RESOURCE = 1_000_000
"""More CPUs, GPUs, retries or trials at a time than any cluster has room for."""
LEAST_OF_A_GPU = 0.0001
"""The smallest part of a GPU that Ray hands out."""


class Objective(BaseModel):
    """One axis of the front."""

    model_config = STRICT

    metric: str
    goal: Literal["max", "min"]
    reference: Number | None = None
    """The hypervolume's reference value on this axis. The hypervolume is reported only if every axis has one."""


DEFAULT_OBJECTIVES = (
    Objective(metric="coherence/joint", goal="max", reference=0.0),
    Objective(metric="log_likelihood/joint", goal="max"),
)


class Resources(BaseModel):
    """How trials are run. No part of it is in a trial's id."""

    model_config = STRICT

    cpu: Whole = Field(default=1, ge=1, le=MOST_OF_A_RESOURCE)
    """CPUs, and torch threads, of a trial."""
    gpu: Number = Field(default=0.0, ge=0, le=MOST_OF_A_RESOURCE)
    """GPUs of a trial. A fraction shares one GPU."""
    cpu_will_do: StrictBool = False
    """Whether trials that ask for a GPU run on CPUs where no node has a GPU. Otherwise the sweep is refused there."""
    retries: Whole = Field(default=2, ge=0, le=MOST_OF_A_RESOURCE)
    """Further attempts after a failed one."""
    at_once: Whole | None = Field(default=None, ge=1, le=MOST_OF_A_RESOURCE)
    """How many trials run at a time; as many as fit when left out."""
    stack: Annotated[Literal["auto"] | Annotated[Whole, Field(ge=1, le=MOST_STACKED)], Field(union_mode="left_to_right")] = 1
    """How many trials a worker trains at once as one batched model. With `auto` the fastest number is measured."""
    data: str = "data"
    """Folder of downloaded datasets (torchvision's layout) and of what is made from them."""

    @property
    def data_folder(self) -> str:
        """The absolute path of the folder that `data` names. Raises SpecError if it names a variable that is not set, or is a URI."""
        try:
            return str(local_folder(self.data).absolute())
        except ValueError as error:
            raise SpecError(f"resources.data: {masked(self.data)!r} {error}") from None

    @field_validator("data")
    @classmethod
    def _names_a_folder(cls, value: str) -> str:
        if not value.strip() or not value.isprintable():
            raise ValueError("names no folder")
        return value

    @field_validator("gpu")
    @classmethod
    def _is_whole_above_one(cls, value: float) -> float:
        if value > 1 and value != int(value):
            raise ValueError("is not allowed: a fraction up to 1, or a whole number of GPUs")
        if 0 < value < LEAST_OF_A_GPU:
            raise ValueError(f"is less than Ray can hand out; allowed: 0, or at least {LEAST_OF_A_GPU}")
        return value


class Replicates(BaseModel):
    """Seeds of a search's cells. Every cell has `start` seeds; a cell whose place is undecided in the end gets more, up to `max`."""

    model_config = STRICT

    start: Whole = Field(ge=2, le=MOST_SEEDS)
    max: Whole = Field(le=MOST_SEEDS)
    until: Number = Field(default=0.95, gt=0.5, lt=1)
    """A cell's place is decided when it is on the front, or off it, with this probability."""

    @model_validator(mode="after")
    def _max_is_more(self) -> "Replicates":
        if self.max <= self.start:
            raise ValueError(
                f"max: {self.max} is not more than start ({self.start}); write seeds: {self.start} for a fixed number"
            )
        return self


def _number_or_list(value: Any) -> Any:
    """Returns the value of `seeds`, or raises ValueError if pydantic should not convert it. Pydantic would take `true` for 1."""
    if isinstance(value, bool):
        raise ValueError("must be a number of seeds or a list of them, not a yes/no value")
    if isinstance(value, str) and not re.fullmatch(r"[-+]?\d+(\.0*)?", value.strip()):
        raise ValueError(f"must be a number of seeds or a list of them{list_suggestion(value)}")
    if isinstance(value, list) and not all(isinstance(seed, int) and not isinstance(seed, bool) for seed in value):
        raise ValueError("a list of seeds holds whole numbers only")
    return value


def _within_limits(value: int | list[int] | Replicates) -> int | list[int] | Replicates:
    if isinstance(value, int):
        if value < 1:
            raise ValueError("makes no trial; at least 1")
        if value > MOST_SEEDS:
            raise ValueError(f"is more than {MOST_SEEDS}; name fewer")
    elif isinstance(value, list):
        _check_listed(value)
    return value


def _check_listed(seeds: list[int]) -> None:
    if not seeds:
        raise ValueError("the list is empty; name at least one seed")
    twice = [seed for seed, count in Counter(seeds).items() if count > 1]
    if twice:
        raise ValueError(f"seed {twice[0]} is listed twice")
    if any(not 0 <= seed < 2**31 for seed in seeds):
        raise ValueError("seeds are whole numbers from 0 to 2147483647")


Seeds = Annotated[
    int | list[Whole] | Replicates,
    Field(union_mode="left_to_right"),
    BeforeValidator(_number_or_list),
    AfterValidator(_within_limits),
]
"""The number of seeds (0, 1, ...), a list of seeds, or for a search a number to start with and a largest number."""
