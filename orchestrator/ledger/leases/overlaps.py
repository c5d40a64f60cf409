"""Notes that two drivers may have run a sweep at once: one stood still, was taken for dead, and woke.

The driver that takes over writes such a note, and so does the one that finds itself taken over. The ledger is not harmed, but MLflow may
have runs twice. While there is such a note, MLflow is compared with the ledger run by run; then the notes are removed.
"""

import time

from mopoe_core.storage.paths import AnyPath
from orchestrator.ledger import records
from orchestrator.ledger.layout import SweepFolder
from orchestrator.ledger.leases.holder import Holder
from orchestrator.ledger.records import Identity


def note(sweep_folder: AnyPath, this: Holder, other: str) -> None:
    """Note that the process `this` and another may have driven a sweep at once."""
    identity = Identity("overlap", sweep=sweep_folder.name, key=this.token)
    content = {"this": str(this), "other": other, "noted_ms": int(time.time() * 1000)}
    records.write(SweepFolder(sweep_folder).overlap(this.token), identity, content)


def noted(sweep_folder: AnyPath) -> list[AnyPath]:
    """The notes that there are."""
    return SweepFolder(sweep_folder).overlaps()
