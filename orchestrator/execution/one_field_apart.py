"""Finds trials that are new only because one field differs from finished trials in the ledger.

Raising `epochs` from 30 to 60 makes new trials: the old ones are not continued. That is right, because an identity is a whole
configuration. But a user who raises it may expect the old trials to go on, so `plan` and `sweep` print a message.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mopoe_core.config.training_config import RECIPE, TrainingConfig, with_defaults
from orchestrator.spec.trial import Trial

RECIPE_FIELD = "recipe"
"""The recipe number, treated as one more field of a configuration."""
MOST_VALUES = 3  # shown in one message


@dataclass(frozen=True)
class Differing:
    """New trials that differ from finished ones in one field."""

    field: str
    trials: int
    """The number of new trials."""
    here: tuple[Any, ...]
    """The field's values in the new trials."""
    there: tuple[Any, ...]
    """The field's values in the finished trials."""

    @property
    def explanation(self) -> str:
        """The difference as one line for the user."""
        subject = f"{self.trials} of the new trials are" if self.trials != 1 else "1 of the new trials is"
        if self.field == RECIPE_FIELD:
            return (
                f"{subject} finished in storage by an earlier version of this program (recipe {_listed(self.there)}; now "
                f"{_listed(self.here)}): those are not used, and the new ones are trained from the start"
            )
        return (
            f"{subject} finished in storage but for {self.field} ({_listed(self.there)} there, {_listed(self.here)} here): those are "
            "not continued, and the new ones are trained from the start"
        )


def find(fresh: Sequence[Trial], every: Iterable[Trial], finished: Iterable[Mapping[str, Any]]) -> list[Differing]:
    """Returns the fields that alone distinguish new trials from finished ones in storage, the field with the most trials first.

    `finished` are the ledger's identities without those of the sweep's own trials (`every`). A field that the sweep itself varies is
    skipped, because its other values are cells of the sweep; `epochs` is never skipped.
    """
    finished_fields = [_fields(identity) for identity in finished if {"config", "seed", "recipe"} <= set(identity)]
    if not finished_fields:
        return []
    names = [*_constant_fields([trial.config for trial in every]), RECIPE_FIELD]
    finished_values: dict[tuple[str, int], list[Any]] = defaultdict(list)
    """A field's values in finished trials, by the field's name and the hash of all other fields."""
    for fields in finished_fields:
        for name, hash_of_others in _hashes_of_others(fields, names):
            finished_values[name, hash_of_others].append(fields[name])
    pairs: dict[str, list[tuple[Any, list[Any]]]] = defaultdict(list)
    """By a field's name, its value in each new trial with its values in finished ones."""
    for fields in map(_fields_of, fresh):
        for name, hash_of_others in _hashes_of_others(fields, names):
            others = [value for value in finished_values.get((name, hash_of_others), ()) if value != fields[name]]
            if others:
                pairs[name].append((fields[name], others))
    rows = [_differing(name, of_name) for name, of_name in pairs.items()]
    return sorted(rows, key=lambda row: -row.trials)


def _differing(name: str, pairs: Sequence[tuple[Any, list[Any]]]) -> Differing:
    new_values = _distinct(new for new, _ in pairs)
    old_values = _distinct(value for _, others in pairs for value in others)
    return Differing(name, len(pairs), new_values, old_values)


def _constant_fields(configs: Sequence[TrainingConfig]) -> list[str]:
    """Returns the fields that are the same in all of a sweep's cells, and `epochs`."""
    if not configs:
        return []
    first, *others = [config.model_dump(mode="json") for config in configs]
    return [name for name in first if name == "epochs" or all(other[name] == first[name] for other in others)]


def _fields(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Returns configuration, seed and recipe of a record; a field that did not exist when it was written has its default."""
    config = with_defaults(identity["config"])
    as_json = {name: list(value) if isinstance(value, tuple) else value for name, value in config.items()}
    return as_json | {"seed": identity["seed"], RECIPE_FIELD: identity["recipe"]}


def _fields_of(trial: Trial) -> dict[str, Any]:
    return trial.config.model_dump(mode="json") | {"seed": trial.seed, RECIPE_FIELD: RECIPE}


def _hashes_of_others(fields: Mapping[str, Any], names: Collection[str]) -> Iterable[tuple[str, int]]:
    """Returns each name in `names` with a hash of all fields except that one."""
    hashes = {name: hash((name, json.dumps(value))) for name, value in fields.items()}
    hash_of_all = 0
    for field_hash in hashes.values():
        hash_of_all ^= field_hash
    return [(name, hash((name, hash_of_all ^ hashes[name]))) for name in names if name in hashes]


def _distinct(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple({json.dumps(value): value for value in values}.values())


def _listed(values: tuple[Any, ...]) -> str:
    more = ", ..." if len(values) > MOST_VALUES else ""
    return ", ".join(str(value) for value in values[:MOST_VALUES]) + more
