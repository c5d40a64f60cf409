"""Tries storage before a sweep begins: whether it does what leases and the ledger rely on.

They rely on four things. A file that was written is read back whole. A listing shows it. What is written over it is seen at once. A
file is created only where there is none. A storage that does otherwise would lose results in silence, so it is refused.
"""

import uuid

from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.remote_path import RemotePath
from mopoe_core.storage.whole_files import create, write_text
from orchestrator.ledger.layout import Layout

CONTENT = "written to see what this storage does\n" * 100


def what_is_wrong(storage: AnyPath) -> str:
    """What storage does otherwise than sweeps rely on; empty if nothing. Raises OSError if it takes no files at all."""
    layout = Layout(storage)
    probe, earlier = (layout.probe(uuid.uuid4().hex) for _ in range(2))
    try:
        write_text(earlier, CONTENT)
        layout.probes()  # a store that caches its listings would show this one again
        return _try(layout, probe)
    finally:
        for path in (probe, earlier):
            path.unlink(missing_ok=True)


def _try(layout: Layout, probe: AnyPath) -> str:
    write_text(probe, CONTENT)
    if probe.read_text() != CONTENT:
        return "a file that was written is read back otherwise"
    if not _shown(layout, probe):
        return "a listing does not show a file that was written just now"
    if create(probe, b"second"):
        return "a file is created where there is one, so that a second result could replace the first"
    for beat in ("1", "2"):
        write_text(probe, beat)
        if probe.read_text() != beat:
            return "a file that was written over is still read as it was before"
    probe.unlink()
    if probe.exists() or _shown(layout, probe):
        return "a file that was deleted is still there"
    return ""


def _shown(layout: Layout, probe: AnyPath) -> bool:
    return probe.name in [path.name for path in layout.probes()]


def remark(storage: AnyPath) -> str:
    """A warning about what this storage cannot do and others can; empty if there is nothing."""
    if isinstance(storage, RemotePath) and not storage.is_exclusive:
        return (
            f"storage: {storage} cannot be asked to create a file only where there is none{_remedy(storage)}; two workers that record "
            "one trial in the same moment, after one of them stood still, could both believe that theirs is the result"
        )
    return ""


def _remedy(storage: RemotePath) -> str:
    return " (boto3 can ask S3: `pip install boto3`)" if str(storage).startswith("s3://") else ""
