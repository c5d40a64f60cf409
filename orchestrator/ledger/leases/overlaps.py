"""Records that two drivers may have run a sweep at once: one was suspended, was taken for dead, and woke up.

The driver that takes over writes such a record, and so does the one that loses its lease. The ledger is unharmed, but MLflow may have
runs twice. While there is such a record, MLflow is compared with the ledger run by run. Then the record is removed.
"""

import time

from mopoe_core.storage.paths import AnyPath
from orchestrator.ledger import records
from orchestrator.ledger.layout import SweepFolder
from orchestrator.ledger.leases.holder import Holder
from orchestrator.ledger.records import Identity


def note(sweep_folder: AnyPath, this: Holder, other: str) -> None:
    """Record that the process `this` and another may have driven a sweep at once."""
    identity = Identity("overlap", sweep=sweep_folder.name, key=this.token)
    content = {"this": str(this), "other": other, "noted_ms": int(time.time() * 1000)}
    records.write(SweepFolder(sweep_folder).overlap(this.token), identity, content)


def noted(sweep_folder: AnyPath) -> list[AnyPath]:
    """Returns the paths of a sweep's records of overlaps."""
    return SweepFolder(sweep_folder).overlaps()
