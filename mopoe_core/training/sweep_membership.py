"""Which trials belong to a sweep, as the sweep's record in a storage says. It does not import torch.

The cells of a grid are written out again from the record: base, grid, zip, include and exclude. Those of a search are the ones that its
proposals name. A dataset of the user's own is code, which is not run. Its cells are made of the fields that the record writes and of
defaults, without the fingerprint of the data.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from pydantic import ValidationError

from mopoe_core.config.field_types import same_number, text_or_empty
from mopoe_core.config.filling_in import preset_and_model_defaults
from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.data.cards import is_own
from mopoe_core.errors import CheckpointError
from mopoe_core.family.registry import ALIASES, MODELS
from mopoe_core.spelling import nearest
from mopoe_core.storage.folders import listed
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.record_format import Identity, NotHere, NotWhole, parsed

Fields = Mapping[str, Any]


def same(stored: Any, wanted: Any) -> bool:
    """Whether a field of a stored configuration has this value. `1`, `1.0` and `"1"` are one number, a tuple is a list."""
    return same_number(stored, list(wanted) if isinstance(wanted, tuple) else wanted)


def completed(config: Fields) -> dict[str, Any]:
    """A configuration with defaults for the fields that it lacks, as one lacks them that an earlier version stored."""
    defaults = {name: known.default for name, known in TrainingConfig.model_fields.items() if not known.is_required()}
    model = text_or_empty(config.get("model"))
    return defaults | (MODELS[model].defaults if model in MODELS else {}) | dict(config)


@dataclass(frozen=True)
class RecordedSweep:
    """The trials of a sweep, by its record."""

    configs: frozenset[str]
    """The configurations of its cells, as `_key` writes them."""
    cell_ids: frozenset[str]
    """The ids of the cells that a search has proposed."""
    seeds: Collection[int]

    @classmethod
    def read(cls, storage: AnyPath, name: str) -> "RecordedSweep":
        """The sweep of that name. Raises CheckpointError if the storage does not know it, or if its record is damaged."""
        there = {path.parent.name: path for path in listed(storage, "sweeps/*/sweep.json")}
        if name not in there:
            names = ", ".join(there) or "none"
            raise CheckpointError(f"{storage}: knows no sweep {name!r}{nearest(name, there)}; there: {names}")
        raw = _sweep_in(there[name], name)
        cells = [cell for point in _points(raw) if (cell := _cell(point)) is not None]
        excluded = [_with_alias(entry) for entry in raw.get("exclude", ())]
        cells = [cell for cell in cells if not any(_matches(cell, entry) for entry in excluded)]
        cells += [cell for entry in raw.get("include", ()) if (cell := _cell({**raw.get("base", {}), **entry})) is not None]
        return cls(frozenset(map(_key, cells)), frozenset(_proposed(storage, name)), _seeds(raw.get("seeds", 1)))

    def has(self, cell_id: str, values: Fields) -> bool:
        """Whether a trial with this cell, configuration and seed is of the sweep."""
        return values["seed"] in self.seeds and (cell_id in self.cell_ids or _key(values) in self.configs)


def _matches(cell: Fields, entry: Fields) -> bool:
    """Whether a cell has all values that an entry of `exclude` names."""
    return all(same(cell[field], value) for field, value in entry.items())


def _sweep_in(path: AnyPath, name: str) -> dict[str, Any]:
    """The fields of the sweep file, from the sweep's record."""
    try:
        record = parsed(path.read_text(encoding="utf-8"), Identity("sweep", sweep=name), bare=True)
        sweep = record.content if record.format == 1 else record.content["sweep"]
    except (NotWhole, NotHere, UnicodeDecodeError, KeyError) as error:
        raise CheckpointError(
            f"{path}: cannot be used ({error}); type the sweep's `mopoe sweep` again, or leave out sweep="
        ) from None
    return dict(sweep)


def _points(raw: Fields) -> Iterator[dict[str, Any]]:
    """Each combination of grid and zip over the base; none of a search, or if only `include` makes cells."""
    grid, zipped, base = raw.get("grid") or {}, raw.get("zip") or {}, raw.get("base", {})
    if raw.get("search") or not (grid or zipped) and raw.get("include"):
        return
    rows = [dict(zip(zipped, row, strict=True)) for row in zip(*zipped.values(), strict=False)] or [{}]
    for choice in product(*grid.values()):
        yield from ({**base, **dict(zip(grid, choice, strict=True)), **row} for row in rows)


def _cell(point: Fields) -> dict[str, Any] | None:
    """The configuration that these fields make; None if they make none, as a combination may that `exclude` leaves out."""
    dataset, model = text_or_empty(point.get("dataset")), text_or_empty(point.get("model"))
    if not is_own(dataset):
        try:
            return TrainingConfig.model_validate(point).model_dump(mode="json")
        except ValidationError:
            return None
    written = {field: value for field, value in _with_alias(point).items() if field != "preset"}
    usual = preset_and_model_defaults(str(point.get("preset") or "paper"), dataset, text_or_empty(written.get("model", model)))
    return completed({"source": "own", "networks": "small", **usual, **written})


def _with_alias(fields: Fields) -> dict[str, Any]:
    return {**fields, **ALIASES.get(text_or_empty(fields.get("model")), {})}


def _proposed(storage: AnyPath, name: str) -> Iterator[str]:
    """The ids of the cells that a search has proposed; a damaged proposal is passed over."""
    for path in listed(storage / "sweeps" / name / "search", "[0-9]*.json"):
        try:
            expected = Identity("proposal", sweep=name, proposal=int(path.stem))
            yield str(parsed(path.read_text(encoding="utf-8"), expected).content.get("cell_id"))
        except (NotWhole, NotHere, ValueError):
            continue


def _seeds(written: Any) -> Collection[int]:
    """The seeds that a cell may have: a number of them, a list, or for a search as many as a cell may be given."""
    if isinstance(written, list):
        return frozenset(int(seed) for seed in written)
    return range(int(written["max"] if isinstance(written, dict) else written))


def _key(values: Fields) -> str:
    """A configuration as text: the same for the same values, however they were written, and without the fingerprint of own data."""
    names = [name for name in TrainingConfig.model_fields if name != "data_hash"]
    return json.dumps([_plain(values.get(name)) for name in names])


def _plain(value: Any) -> Any:
    """A value as JSON has it; numbers, also those written as text, as floats."""
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    try:
        return float(value)
    except (TypeError, ValueError):
        return value
