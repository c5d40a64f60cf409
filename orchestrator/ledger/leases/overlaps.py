"""Notes that two drivers may have run a sweep at once: one stood still, was taken for dead, and woke.

    <storage>/sweeps/<name>/overlaps/<token>.json

The driver that takes over makes one, and so does the one that finds itself taken over. Storage is none the worse for it, but MLflow may
have runs twice. As long as there is such a note, MLflow is compared with the ledger run by run. Then the notes are removed.
"""

import time

from mopoe_core.storage.files import AnyPath, listed
from orchestrator.ledger import records
from orchestrator.ledger.leases.leases import Holder
from orchestrator.ledger.records import Identity


def note(sweep_folder: AnyPath, this: Holder, other: str) -> None:
    """Note that the process `this` and another may have driven a sweep at once."""
    identity = Identity("overlap", sweep=sweep_folder.name, key=this.token)
    content = {"this": str(this), "other": other, "noted_ms": int(time.time() * 1000)}
    records.write(sweep_folder / "overlaps" / f"{this.token}.json", identity, content)


def noted(sweep_folder: AnyPath) -> list[AnyPath]:
    """The notes that there are."""
    return listed(sweep_folder / "overlaps", "*.json")
