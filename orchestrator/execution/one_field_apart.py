"""Trials that are new only because one field differs from finished trials in the ledger. Only reads.

Raising `epochs` from 30 to 60 makes new trials: the old ones are not continued. That is right, because an identity is a whole
configuration. But whoever raises it may expect something else, so `plan` and `sweep` say it.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mopoe_core.config.training_config import RECIPE, TrainingConfig
from orchestrator.spec.trial import Trial

RECIPE_FIELD = "recipe"
"""The recipe number, as a field beside those of a configuration."""
MOST_VALUES = 3  # in one message


@dataclass(frozen=True)
class Differing:
    """New trials that differ from finished ones in one field."""

    field: str
    trials: int
    """How many new ones."""
    here: tuple[Any, ...]
    """The values of the new trials."""
    there: tuple[Any, ...]
    """Those of the finished ones."""

    @property
    def said(self) -> str:
        """One line for the user."""
        some = f"{self.trials} of the new trials are" if self.trials != 1 else "1 of the new trials is"
        if self.field == RECIPE_FIELD:
            return (
                f"{some} finished in storage by an earlier version of this program (recipe {_listed(self.there)}; now "
                f"{_listed(self.here)}): those are not used, and the new ones are trained from the start"
            )
        return (
            f"{some} finished in storage but for {self.field} ({_listed(self.there)} there, {_listed(self.here)} here): those are not "
            "continued, and the new ones are trained from the start"
        )


def find(fresh: Sequence[Trial], every: Iterable[Trial], finished: Iterable[Mapping[str, Any]]) -> list[Differing]:
    """Returns the fields which alone tell new trials from finished ones in storage, that of the most trials first.

    `finished` are the ledger's identities; those of the sweep's own trials (`every`) do not count. A field that the sweep itself varies
    is passed over, because its other values are cells of their own; but not `epochs`.
    """
    old = [_fields(identity) for identity in finished if {"config", "seed", "recipe"} <= set(identity)]
    if not old:
        return []
    names = [*_constant_fields([trial.config for trial in every]), RECIPE_FIELD]
    old_by_rest: dict[tuple[str, int], list[Any]] = defaultdict(list)
    """A field and what all others are, to the field's values in finished trials."""
    for fields in old:
        for name, rest in _rests(fields, names):
            old_by_rest[name, rest].append(fields[name])
    pairs: dict[str, list[tuple[Any, list[Any]]]] = defaultdict(list)
    """A field to its value in a new trial and its values in finished ones."""
    for fields in map(_fields_of, fresh):
        for name, rest in _rests(fields, names):
            others = [value for value in old_by_rest.get((name, rest), ()) if value != fields[name]]
            if others:
                pairs[name].append((fields[name], others))
    rows = [
        Differing(
            name, len(of_name), _values(new for new, _ in of_name), _values(value for _, others in of_name for value in others)
        )
        for name, of_name in pairs.items()
    ]
    return sorted(rows, key=lambda row: -row.trials)


def _constant_fields(configs: Sequence[TrainingConfig]) -> list[str]:
    """Returns the fields that are the same in all of a sweep's cells, and `epochs`."""
    dumps = [config.model_dump(mode="json") for config in configs]
    return [name for name in dumps[0] if name == "epochs" or all(dump[name] == dumps[0][name] for dump in dumps)] if dumps else []


def _fields(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Returns configuration, seed and recipe of a record; what was not a field then has its default."""
    defaults = {name: info.default for name, info in TrainingConfig.model_fields.items() if not info.is_required()}
    usual = {name: list(value) if isinstance(value, tuple) else value for name, value in defaults.items()}
    return usual | dict(identity["config"]) | {"seed": identity["seed"], RECIPE_FIELD: identity["recipe"]}


def _fields_of(trial: Trial) -> dict[str, Any]:
    return trial.config.model_dump(mode="json") | {"seed": trial.seed, RECIPE_FIELD: RECIPE}


def _rests(fields: Mapping[str, Any], names: Collection[str]) -> Iterable[tuple[str, int]]:
    """Returns each of these fields with a number that stands for what all the other fields are."""
    parts = {name: hash((name, json.dumps(value))) for name, value in fields.items()}
    whole = 0
    for part in parts.values():
        whole ^= part
    return [(name, hash((name, whole ^ parts[name]))) for name in names if name in parts]


def _values(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple({json.dumps(value): value for value in values}.values())


def _listed(values: tuple[Any, ...]) -> str:
    more = ", ..." if len(values) > MOST_VALUES else ""
    return ", ".join(str(value) for value in values[:MOST_VALUES]) + more
