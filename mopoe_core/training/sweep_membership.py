"""Which trials belong to a sweep, as the sweep's record in a storage says. It does not import torch.

The record of a grid lists the ids of its trials. Those of a search are the ones whose cells its proposals name.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mopoe_core.errors import CheckpointError
from mopoe_core.spelling import nearest
from mopoe_core.storage.folders import listed
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.record_format import Identity, NotHere, NotWhole, parsed


@dataclass(frozen=True)
class RecordedSweep:
    """The trials of a sweep, by its record."""

    trial_ids: frozenset[str] = frozenset()
    """Those of a grid; none for a search."""
    cell_ids: frozenset[str] = frozenset()
    """The cells that a search has proposed; none for a grid."""
    seeds: Collection[int] = ()
    """The seeds that a cell of a search may have."""

    @classmethod
    def read(cls, storage: AnyPath, name: str) -> "RecordedSweep":
        """The sweep of that name.

        Raises CheckpointError if the storage does not know it, if its record is damaged, or if an earlier version wrote it without ids.
        """
        there = {path.parent.name: path for path in listed(storage, "sweeps/*/sweep.json")}
        if name not in there:
            names = ", ".join(there) or "none"
            raise CheckpointError(f"{storage}: knows no sweep {name!r}{nearest(name, there)}; there: {names}")
        try:
            record = parsed(there[name].read_text(encoding="utf-8"), Identity("sweep", sweep=name), bare=True)
            fields = record.content if record.format == 1 else record.content["sweep"]
            if fields.get("search"):
                return cls(cell_ids=frozenset(_proposed(storage, name)), seeds=_seeds(fields.get("seeds", 1)))
        except (NotWhole, NotHere, UnicodeDecodeError, KeyError) as error:
            raise CheckpointError(f"{there[name]}: cannot be used ({error}); {_what_to_do()}") from None
        if "trials" not in record.content:
            raise CheckpointError(f"{there[name]}: an earlier version wrote it, without the ids of its trials; {_what_to_do()}")
        return cls(frozenset(record.content["trials"]))

    def has(self, trial_id: str, cell_id: str, seed: int) -> bool:
        """Whether a trial is of the sweep."""
        return trial_id in self.trial_ids or (cell_id in self.cell_ids and seed in self.seeds)


def _what_to_do() -> str:
    return "type the sweep's `mopoe sweep` again, which trains nothing that is there, or leave out sweep="


def _proposed(storage: AnyPath, name: str) -> Iterator[str]:
    """The ids of the cells that a search has proposed; a damaged proposal is passed over."""
    for path in listed(storage / "sweeps" / name / "search", "[0-9]*.json"):
        try:
            expected = Identity("proposal", sweep=name, proposal=int(path.stem))
            yield str(parsed(path.read_text(encoding="utf-8"), expected).content.get("cell_id"))
        except (NotWhole, NotHere, ValueError):
            continue


def _seeds(written: Any) -> Collection[int]:
    """The seeds of a search's cell: a number of them, a list, or as many as a cell may be given."""
    if isinstance(written, list):
        return frozenset(int(seed) for seed in written)
    return range(int(written["max"] if isinstance(written, Mapping) else written))
