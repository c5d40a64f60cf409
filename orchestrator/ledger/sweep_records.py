"""Sweeps as storage remembers them: the content of each sweep file, with its scale applied and without the place of the storage.

The record of a grid also lists the ids of its trials, so that `mopoe_core.load` finds them without the orchestrator. That of a search
does not, because its proposals name its cells.
"""

import json
from collections.abc import Iterator
from typing import Any

from mopoe_core.storage.paths import AnyPath
from orchestrator.errors import DamagedError, SpecError
from orchestrator.ledger import records
from orchestrator.ledger.layout import Layout
from orchestrator.ledger.proposals import resolve
from orchestrator.ledger.records import Identity
from orchestrator.spec import sweep_file
from orchestrator.spec.sweep_spec import SweepSpec


def record(spec: SweepSpec) -> str:
    """A sweep as text, with its scale applied and without the place of the storage."""
    return json.dumps(_plain(spec), indent=1)


def remember(spec: SweepSpec, storage: AnyPath) -> None:
    """Let storage remember a sweep, as `record` has it, and which trials it has."""
    trials = {} if spec.search else {"trials": [trial.id for trial in spec.trials]}
    records.write(Layout(storage).sweep(spec.name).record, Identity("sweep", sweep=spec.name), {"sweep": _plain(spec)} | trials)


def _plain(spec: SweepSpec) -> dict[str, Any]:
    return spec.model_dump(mode="json", exclude_unset=True, exclude={"storage"})


def recorded(storage: AnyPath, name: str, code_of: frozenset[str] = frozenset()) -> SweepSpec:
    """The sweep of that name as storage remembers it. Raises FileNotFoundError if there is none, SpecError if it cannot be read.

    The user did not name the code that a record names. So only the datasets `code_of` may run code, and cells on others of the user's
    own are left out.
    """
    return read(storage, Layout(storage).sweep(name).record, code_of)


def read(storage: AnyPath, path: AnyPath, code_of: frozenset[str] = frozenset()) -> SweepSpec:
    """As `recorded`, from the record's path."""
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
        why = str(error).replace("\n", "; ")
        raise SpecError(f"{path}: cannot be read ({why}); delete {path.parent} if that sweep is no longer wanted") from None


def recorded_sweeps(storage: AnyPath, code_of: frozenset[str] = frozenset()) -> Iterator[SweepSpec]:
    """Every sweep that storage remembers, without cells on the user's own datasets other than `code_of`."""
    for path in Layout(storage).sweep_records():
        yield read(storage, path, code_of)
