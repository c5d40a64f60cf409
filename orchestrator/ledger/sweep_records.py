"""Records of sweeps: the fields of each sweep file, with its scale applied and without `storage`.

The record of a grid also lists the ids of its trials, so that `mopoe_core.load` finds them without the orchestrator. The record of a
search does not, because the proposals name its cells.
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


def as_json(spec: SweepSpec) -> str:
    """Returns the fields of a sweep as JSON, with its scale applied and without `storage`."""
    return json.dumps(_fields(spec), indent=1)


def write(spec: SweepSpec, storage: AnyPath) -> None:
    """Write the record of a sweep to storage."""
    trials = {} if spec.search else {"trials": [trial.id for trial in spec.trials]}
    records.write(Layout(storage).sweep(spec.name).record, Identity("sweep", sweep=spec.name), {"sweep": _fields(spec)} | trials)


def _fields(spec: SweepSpec) -> dict[str, Any]:
    return spec.model_dump(mode="json", exclude_unset=True, exclude={"storage"})


def read_sweep(storage: AnyPath, name: str, code_of: frozenset[str] = frozenset()) -> SweepSpec:
    """Returns the sweep that storage has under a name. Raises FileNotFoundError if there is none, SpecError if it cannot be read.

    A record may name code that the user of this command never named. So only the datasets `code_of` may run code, and cells on other
    datasets of the user's own are left out.
    """
    return _read_record(storage, Layout(storage).sweep(name).record, code_of)


def _read_record(storage: AnyPath, path: AnyPath, code_of: frozenset[str] = frozenset()) -> SweepSpec:
    """Returns the sweep in a record, and raises as `read_sweep` does."""
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


def read_sweeps(storage: AnyPath, code_of: frozenset[str] = frozenset()) -> Iterator[SweepSpec]:
    """Yields all sweeps that storage has a record of, without cells on the user's own datasets other than `code_of`."""
    for path in Layout(storage).sweep_records():
        yield _read_record(storage, path, code_of)
