"""Which storage this is: an id that is made once, and kept in storage.json with the place of the storage.

Runs in MLflow carry the id, because several storages may share a server and the name of a sweep. A storage that was moved keeps its id.
A copy has its original's id until a driver uses it. If the original is then still in its place, the copy is given an id of its own.
A copy on another machine, or under another URI, cannot be told from a storage that was moved, and keeps the id.
"""

import hashlib
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.remote_path import RemotePath
from orchestrator.errors import DamagedError
from orchestrator.ledger import records
from orchestrator.ledger.layout import Layout

RECORD = records.Identity("storage")


@dataclass(frozen=True)
class StorageIdentity:
    """The id of a storage, and where it is."""

    id: str
    place: str
    """Where it was when a driver last used it, without secrets."""
    copied_from: str = ""
    """The id that it had before, if it was a copy of another storage."""


def known(storage: AnyPath) -> StorageIdentity | None:
    """The storage's record; None if no driver has made one yet. Raises DamagedError if it was cut or changed."""
    path = Layout(storage).identity
    if not path.exists():
        return None
    try:
        content = records.read(path, RECORD)
        return StorageIdentity(content["id"], content["place"], content["copied_from"])
    except KeyError as error:
        raise records.damaged(path, f"it has no {error.args[0]}") from None
    except DamagedError as error:
        raise DamagedError(f"{error}; restore it, or delete it: MLflow's runs so far then count as another storage's") from None


def current(storage: AnyPath) -> StorageIdentity | None:
    """The storage's identity in its present place, for commands that only read; None if no driver has made one yet."""
    identity, place = known(storage), _place(storage)
    if identity is None or identity.place == place:
        return identity
    if _is_copy(identity, storage):
        # A hash, and not a random id, so that drivers that start at once in a new copy agree.
        return StorageIdentity(_hash(f"{identity.id} {place}"), place, copied_from=identity.id)
    return replace(identity, place=place)


def current_id(storage: AnyPath) -> str:
    """The storage's id; empty if there is none, or none that can be read."""
    with suppress(OSError, DamagedError):
        identity = current(storage)
        return identity.id if identity else ""
    return ""


def identify(storage: AnyPath) -> StorageIdentity:
    """The storage's identity, made or brought up to date if need be. Drivers that start at once get the same one."""
    identity = current(storage)
    if identity is None:
        new = StorageIdentity(_new_id(storage), _place(storage))
        _make(storage, new)
        return known(storage) or new  # another driver's, if that was faster
    if identity != known(storage):
        records.write(Layout(storage).identity, RECORD, asdict(identity))
    return identity


def _place(storage: AnyPath) -> str:
    """Where a storage is. It is the same for each name of the storage: through a link, or with other options and secrets of its URI."""
    return str(storage.resolve()) if isinstance(storage, Path) else str(storage).partition("?")[0].replace("***@", "", 1)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _new_id(storage: AnyPath) -> str:
    """A new id. For an object store it is a hash of its address without secrets, which names its server too: two drivers that start at
    once have to agree, and not all stores can create a file only where there is none.
    """
    return _hash(str(storage).replace("***@", "", 1)) if isinstance(storage, RemotePath) else uuid.uuid4().hex[:16]


def _make(storage: AnyPath, identity: StorageIdentity) -> None:
    """Write the record, unless another driver has written one meanwhile. On an object store all drivers write the same."""
    write = records.write if isinstance(storage, RemotePath) else records.first
    write(Layout(storage).identity, RECORD, asdict(identity))


def _is_copy(identity: StorageIdentity, storage: AnyPath) -> bool:
    """Whether the storage that the record names is still there, and is another folder than this one."""
    if isinstance(storage, RemotePath) or "://" in identity.place:
        return False
    original = Path(identity.place)
    with suppress(OSError, DamagedError):
        there = known(original)
        return there is not None and there.id == identity.id and not _is_same_folder(original, storage)
    return False


def _is_same_folder(one: Path, other: Path) -> bool:
    """Whether a file shows up in both. A network folder that is mounted twice has two device numbers, so that these do not tell."""
    if one.samefile(other):
        return True
    probe = f".probe.{uuid.uuid4().hex}"
    try:
        (other / probe).touch()
    except OSError:  # a folder that can only be read
        return False
    try:
        return (one / probe).exists()
    finally:
        (other / probe).unlink(missing_ok=True)
