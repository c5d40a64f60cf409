"""Tests storage before a sweep begins: does it guarantee what leases and the ledger rely on?

They rely on four guarantees. A file that was written is read back whole. A listing shows it. A file that was overwritten is read with
its new content at once. An exclusive create fails if the file exists. Storage without these guarantees would silently lose results, so
it is refused.
"""

import uuid

from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.remote_path import RemotePath
from mopoe_core.storage.whole_files import create, write_text
from orchestrator.ledger.layout import Layout

CONTENT = "written to see what this storage does\n" * 100


def broken_guarantee(storage: AnyPath) -> str:
    """Returns the guarantee that storage breaks; empty if it breaks none. Raises OSError if storage cannot be written at all."""
    layout = Layout(storage)
    earlier, probe = layout.probe(uuid.uuid4().hex), layout.probe(uuid.uuid4().hex)
    try:
        write_text(earlier, CONTENT)
        layout.probes()  # a store that caches listings would return this one again, without the next file
        return _test(layout, probe)
    finally:
        for path in (probe, earlier):
            path.unlink(missing_ok=True)


def _test(layout: Layout, probe: AnyPath) -> str:
    """Returns the guarantee that is broken for the file `probe`; empty if none is."""
    write_text(probe, CONTENT)
    if probe.read_text() != CONTENT:
        return "a file that was written is read back with another content"
    if not _is_listed(layout, probe):
        return "a listing does not show a file that was just written"
    if create(probe, b"second"):
        return "a file is created although it exists already, so that a second result could replace the first"
    for content in ("1", "2"):
        write_text(probe, content)
        if probe.read_text() != content:
            return "a file that was overwritten is still read with its old content"
    probe.unlink()
    if probe.exists() or _is_listed(layout, probe):
        return "a file that was deleted still exists"
    return ""


def _is_listed(layout: Layout, probe: AnyPath) -> bool:
    return probe.name in [path.name for path in layout.probes()]


def exclusive_create_warning(storage: AnyPath) -> str:
    """Returns a warning if this storage has no exclusive create; else an empty text."""
    if isinstance(storage, RemotePath) and not storage.is_exclusive:
        return (
            f"storage: {storage} cannot create a file exclusively{_remedy(storage)}; two workers that record the same trial at the same "
            "moment, because one of them was suspended, could both believe that theirs is the result"
        )
    return ""


def _remedy(storage: RemotePath) -> str:
    return " (S3 can with boto3: `pip install boto3`)" if str(storage).startswith("s3://") else ""
