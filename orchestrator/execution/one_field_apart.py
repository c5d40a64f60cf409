"""Trials that are new only because one field differs from trials which the ledger has finished. Nothing but reading.

Raising `epochs` from 30 to 60 makes new trials: the old ones are not continued. That is right, because an identity is a whole
configuration, but whoever raises it may expect something else, so that `plan` and `sweep` say it.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mopoe_core.config.training_config import RECIPE, TrainingConfig
from orchestrator.spec.trial import Trial

RECIPE_FIELD = "recipe"
"""Stands for the recipe number beside the fields of a configuration."""
MOST_VALUES = 3  # in one message


@dataclass(frozen=True)
class Differing:
    """New trials that differ from finished ones in one field."""

    field: str
    trials: int
    """How many of the new ones."""
    here: tuple[Any, ...]
    """The values of the new trials."""
    there: tuple[Any, ...]
    """Those of the finished ones."""

    @property
    def said(self) -> str:
        """As one line."""
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
    """The fields in which alone new trials differ from finished ones of storage, the most trials first.

    `finished` are the ledger's identities; those of the sweep's own trials (`every`) do not count. A field that the sweep itself varies
    is passed over, because its other values are cells of their own; but not `epochs`.
    """
    old = [_fields(identity) for identity in finished if {"config", "seed", "recipe"} <= set(identity)]
    plain = _plain_fields([trial.config for trial in every]) if old else []
    without: dict[int, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for fields in old:
        for name, key in _keys(fields, [*plain, RECIPE_FIELD]):
            without[key].append((name, fields))
    found: dict[str, list[tuple[Any, list[Any]]]] = defaultdict(list)
    for fields in map(_fields_of, fresh if old else ()):
        for name, key in _keys(fields, [*plain, RECIPE_FIELD]):
            there = [one[name] for of, one in without.get(key, ()) if of == name and one[name] != fields[name]]
            if there:
                found[name].append((fields[name], there))
    rows = [
        Differing(name, len(pairs), _values(here for here, _ in pairs), _values(value for _, there in pairs for value in there))
        for name, pairs in found.items()
    ]
    return sorted(rows, key=lambda row: -row.trials)


def _plain_fields(configs: Sequence[TrainingConfig]) -> list[str]:
    """The fields that are the same in all of a sweep's cells, and the epochs."""
    dumps = [config.model_dump(mode="json") for config in configs]
    return [name for name in dumps[0] if name == "epochs" or all(dump[name] == dumps[0][name] for dump in dumps)] if dumps else []


def _fields(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Configuration, seed and recipe of a record; what was not a field then has its default."""
    defaults = {name: info.default for name, info in TrainingConfig.model_fields.items() if not info.is_required()}
    usual = {name: list(value) if isinstance(value, tuple) else value for name, value in defaults.items()}
    return usual | dict(identity["config"]) | {"seed": identity["seed"], RECIPE_FIELD: identity["recipe"]}


def _fields_of(trial: Trial) -> dict[str, Any]:
    return trial.config.model_dump(mode="json") | {"seed": trial.seed, RECIPE_FIELD: RECIPE}


def _keys(fields: Mapping[str, Any], names: Collection[str]) -> Iterable[tuple[str, int]]:
    """For each of these fields, a number that says what all the other fields are."""
    parts = {name: hash((name, json.dumps(value))) for name, value in fields.items()}
    whole = 0
    for part in parts.values():
        whole ^= part
    return [(name, hash((name, whole ^ parts[name]))) for name in names if name in parts]


def _values(found: Iterable[Any]) -> tuple[Any, ...]:
    return tuple({json.dumps(value): value for value in found}.values())


def _listed(values: tuple[Any, ...]) -> str:
    more = ", ..." if len(values) > MOST_VALUES else ""
    return ", ".join(str(value) for value in values[:MOST_VALUES]) + more
