"""Writes and reads the ledger's records. `mopoe_core.storage.record_format` defines their format."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.record_format import DamagedRecord, Identity, MisplacedRecord, Record, dumped, parsed
from mopoe_core.storage.whole_files import create as create_file
from mopoe_core.storage.whole_files import write_text, write_whole
from orchestrator.errors import DamagedError, MisplacedError

NOTES = ("attempt", "progress", "claim", "stack")
"""Kinds of records whose file names are not synced: if the machine goes down, so do their writers. To sync them took 13 ms a trial."""

__all__ = ["Identity", "Record", "create", "damaged", "load", "read", "update", "write"]


def write(path: AnyPath, identity: Identity, content: dict[str, Any]) -> None:
    """Write a record, whole or not at all."""
    write_text(path, dumped(identity, content), durable=identity.kind not in NOTES)


def create(path: AnyPath, identity: Identity, content: dict[str, Any], draft_folder: AnyPath | None = None) -> bool:
    """Write a record, unless it exists already; returns whether it was written. The first of several writers wins.

    `draft_folder` is as in `whole_files.create`.
    """
    return create_file(path, dumped(identity, content).encode(), identity.kind not in NOTES, draft_folder)


def update(path: AnyPath, identity: Identity, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
    """Replace a record's content by what `change` makes of it; None leaves it as it is.

    A local record is read after its draft was made beside it. So if its folder is moved at any moment, nothing is written.
    """

    def write_changed(draft: Path) -> None:
        changed = change(read(path, identity))
        if changed is None:
            raise _Unchanged
        draft.write_text(dumped(identity, changed), encoding="utf-8")

    with suppress(_Unchanged, FileNotFoundError):
        write_whole(path, write_changed, durable=identity.kind not in NOTES)


class _Unchanged(Exception):
    """Ends the writing of a record that stays as it is."""


def read(path: AnyPath, expected: Identity, bare: bool = False) -> dict[str, Any]:
    """Returns a record's content. Raises DamagedError if it is missing, cut or changed, MisplacedError if it is another record."""
    return load(path, expected, bare).content


def load(path: AnyPath, expected: Identity, bare: bool = False) -> Record:
    """Returns a whole record, and raises as `read` does. With `bare`, the file may be plain JSON, as earlier versions wrote it."""
    try:
        return parsed(path.read_text(encoding="utf-8"), expected, bare)
    except FileNotFoundError:
        raise damaged(path, "it is missing") from None
    except IsADirectoryError:
        raise damaged(path, "it is a folder") from None
    except MisplacedRecord as error:
        raise MisplacedError(f"{path}: is not the record that belongs here ({error})") from None
    except (DamagedRecord, UnicodeDecodeError) as error:
        raise damaged(path, str(error)) from None


def damaged(path: AnyPath, why: str) -> DamagedError:
    """Returns an error that names a file and says what is wrong with it."""
    return DamagedError(f"{path}: is damaged ({why})")
