"""The fields that a cell may have, and how their values are read. Pure."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.cards import DATASETS, is_own
from mopoe_core.family.registry import ALIASES, MODELS
from mopoe_core.spelling import nearest
from orchestrator.errors import SpecError
from orchestrator.spec.mistakes import kind, problem_at, unknown_field

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""The pattern of a sweep's name."""
FIELDS = {name: info for name, info in TrainingConfig.model_fields.items() if name != "data_hash"}
KEYS = (*FIELDS, "preset")
"""The keys that a cell may have: the configuration's fields but the computed one, and the preset, which sets other fields."""


def check_key(place: str, key: str, elsewhere: Mapping[str, str] | None = None) -> None:
    """Raise SpecError if no cell has such a field. `place` is the key's place in the file; `elsewhere` has the places of other fields."""
    if key in ("seed", "seeds"):
        raise SpecError(f"{place}: seeds are not part of a cell; set the top-level field 'seeds'")
    if key not in KEYS:
        raise SpecError(unknown_field(place, key, KEYS, elsewhere))


def typed(place: str, field: str, value: Any) -> Any:
    """Returns `value` as the configuration's field would hold it. Raises SpecError if the field refuses it."""
    names = {"dataset": list(DATASETS), "model": [*MODELS, *ALIASES]}.get(field, [])
    if names and isinstance(value, str) and value not in names and not is_own(value):
        raise SpecError(f"{place}: {kind(value)} is not offered{nearest(value, names)}; allowed: {', '.join(names)}")
    try:
        return _adapter(field).validate_python(value)
    except ValidationError as error:
        raise SpecError(problem_at(place, error)) from None


def is_choice(field: str, value: Any) -> bool:
    """Whether the value of a rule in `exclude` is a list of values, any of which matches. A list of weights is one value."""
    return isinstance(value, list) and not takes_lists(field)


@lru_cache
def takes_lists(field: str) -> bool:
    """Whether a value of the field may be a list."""
    annotation = FIELDS[field].annotation
    return any(get_origin(part) is tuple for part in (annotation, *get_args(annotation)))


@lru_cache
def _adapter(field: str) -> TypeAdapter[Any]:
    info = FIELDS[field]
    return TypeAdapter(Annotated[info.annotation, info])  # type: ignore[arg-type]
