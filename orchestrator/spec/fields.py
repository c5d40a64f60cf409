"""What a cell may say, and how a value is read. Pure."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.cards import DATASETS, is_own
from mopoe_core.family.registry import ALIASES, MODELS
from mopoe_core.spelling import nearest
from orchestrator.errors import SpecError
from orchestrator.spec.mistakes import kind, problem, unknown_field

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""The pattern of a sweep's name."""
FIELDS = {name: info for name, info in TrainingConfig.model_fields.items() if name != "data_hash"}
KEYS = (*FIELDS, "preset")
"""What a cell may say: the configuration's fields, but the one that is computed, and the preset that fills in the others."""


def check_key(place: str, key: str, elsewhere: Mapping[str, str] | None = None) -> None:
    """Raise SpecError where no cell has such a field; `place` is where in the file it stands, `elsewhere` where other fields belong."""
    if key in ("seed", "seeds"):
        raise SpecError(f"{place}: seeds are not part of a cell; set the top-level field 'seeds'")
    if key not in KEYS:
        raise SpecError(unknown_field(place, key, KEYS, elsewhere))


def typed(place: str, field: str, value: Any) -> Any:
    """`value` as the configuration's field would hold it."""
    offered: dict[str, list[str]] = {"dataset": list(DATASETS), "model": [*MODELS, *ALIASES]}
    names = offered.get(field, [])
    if names and isinstance(value, str) and value not in names and not is_own(value):
        raise SpecError(f"{place}: {kind(value)} is not offered{nearest(value, names)}; allowed: {', '.join(names)}")
    try:
        return _adapter(field).validate_python(value)
    except ValidationError as error:
        raise SpecError(problem(place, error)) from None


@lru_cache
def _adapter(field: str) -> TypeAdapter[Any]:
    info = FIELDS[field]
    return TypeAdapter(Annotated[info.annotation, info])  # type: ignore[arg-type]
