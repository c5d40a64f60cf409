"""Sweeps as storage remembers them: the file of each, with its scale applied and without where storage is."""

import json
from collections.abc import Iterator
from typing import Any

from mopoe_core.storage.files import AnyPath, listed
from orchestrator.errors import DamagedError, SpecError
from orchestrator.ledger import records
from orchestrator.ledger.proposals import resolve
from orchestrator.ledger.records import Identity
from orchestrator.spec import sweep_file
from orchestrator.spec.sweep_spec import SweepSpec


def record(spec: SweepSpec) -> str:
    """A sweep as text, with its scale applied and without where storage is."""
    return json.dumps(_plain(spec), indent=1)


def remember(spec: SweepSpec, storage: AnyPath) -> None:
    """Let storage remember a sweep, as `record` has it."""
    records.write(storage / "sweeps" / spec.name / "sweep.json", Identity("sweep", sweep=spec.name), {"sweep": _plain(spec)})


def _plain(spec: SweepSpec) -> dict[str, Any]:
    return spec.model_dump(mode="json", exclude_unset=True, exclude={"storage"})


def recorded(storage: AnyPath, name: str, code_of: frozenset[str] = frozenset()) -> SweepSpec:
    """The sweep of that name as storage remembers it. Raises FileNotFoundError where there is none, SpecError where it cannot be read.

    A record is not the user's word: code runs of the datasets `code_of` only, and cells on others of a user's own are left out.
    """
    return read(storage, storage / "sweeps" / name / "sweep.json", code_of)


def read(storage: AnyPath, path: AnyPath, code_of: frozenset[str] = frozenset()) -> SweepSpec:
    """As `recorded`, from the file of the record."""
    name = path.parent.name
    if not path.exists():
        raise FileNotFoundError(path)
    try:
        stored = records.load(path, Identity("sweep", sweep=name), bare=True)
        spec = sweep_file.parse(stored.content if stored.format == 1 else stored.content["sweep"], code_of)
        if spec.name != name:
            raise SpecError(f"it is the sweep {spec.name!r}, in the folder of {name!r}")
        return spec if spec.left_out and spec.search else resolve(spec, storage)
    except (ValueError, KeyError, SpecError, DamagedError) as error:
        said = str(error).replace("\n", "; ")
        raise SpecError(f"{path}: cannot be read ({said}); delete {path.parent} if that sweep is no longer wanted") from None


def recorded_sweeps(storage: AnyPath, code_of: frozenset[str] = frozenset()) -> Iterator[SweepSpec]:
    """Every sweep that storage remembers, without cells on datasets that are no other sweep's: of those no trial can be in question."""
    for path in listed(storage, "sweeps/*/sweep.json"):
        yield read(storage, path, code_of)
