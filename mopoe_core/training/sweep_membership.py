"""Reads from a sweep's record in a storage which trials belong to the sweep. Does not import torch.

The record of a grid lists the ids of its trials. The trials of a search are those whose cells its proposals name.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mopoe_core.errors import CheckpointError
from mopoe_core.spelling import nearest
from mopoe_core.storage.folders import listed
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.record_format import DamagedRecord, Identity, MisplacedRecord, parsed


@dataclass(frozen=True)
class RecordedSweep:
    """The trials that belong to a sweep."""

    trial_ids: frozenset[str] = frozenset()
    """The trials of a grid; empty for a search."""
    cell_ids: frozenset[str] = frozenset()
    """The cells that a search has proposed; empty for a grid."""
    seeds: Collection[int] = ()
    """The seeds that a cell of a search may have."""

    @classmethod
    def read(cls, storage: AnyPath, name: str) -> "RecordedSweep":
        """The sweep with this name.

        Raises CheckpointError if the storage has no such sweep, if its record is damaged, or if an earlier version wrote it without ids.
        """
        path = _record_path(storage, name)
        try:
            record = parsed(path.read_text(encoding="utf-8"), Identity("sweep", sweep=name), bare=True)
            fields = record.content if record.format == 1 else record.content["sweep"]
            if fields.get("search"):
                return cls(cell_ids=frozenset(_proposed(storage, name)), seeds=_seeds(fields.get("seeds", 1)))
        except (DamagedRecord, MisplacedRecord, UnicodeDecodeError, KeyError) as error:
            raise CheckpointError(f"{path}: cannot be used ({error}); {_REMEDY}") from None
        if "trials" not in record.content:
            raise CheckpointError(f"{path}: an earlier version wrote it, without the ids of its trials; {_REMEDY}")
        return cls(frozenset(record.content["trials"]))

    def has(self, trial_id: str, cell_id: str, seed: int) -> bool:
        """Whether a trial belongs to the sweep."""
        return trial_id in self.trial_ids or (cell_id in self.cell_ids and seed in self.seeds)


_REMEDY = "type the sweep's `mopoe sweep` again, which trains nothing that is there, or leave out sweep="


def _record_path(storage: AnyPath, name: str) -> AnyPath:
    """The sweep.json of a sweep. Raises CheckpointError if the storage has no such sweep."""
    paths = {path.parent.name: path for path in listed(storage, "sweeps/*/sweep.json")}
    if name not in paths:
        names = ", ".join(paths) or "none"
        raise CheckpointError(f"{storage}: knows no sweep {name!r}{nearest(name, paths)}; there: {names}")
    return paths[name]


def _proposed(storage: AnyPath, name: str) -> Iterator[str]:
    """The ids of the cells that a search has proposed, without damaged proposals."""
    for path in listed(storage / "sweeps" / name / "search", "[0-9]*.json"):
        try:
            expected = Identity("proposal", sweep=name, proposal=int(path.stem))
            yield str(parsed(path.read_text(encoding="utf-8"), expected).content.get("cell_id"))
        except (DamagedRecord, MisplacedRecord, ValueError):
            continue


def _seeds(value: Any) -> Collection[int]:
    """The seeds of a search's cell. The `seeds` of a search are a list, a number of seeds, or a mapping with a largest number `max`."""
    if isinstance(value, list):
        return frozenset(int(seed) for seed in value)
    return range(int(value["max"] if isinstance(value, Mapping) else value))
