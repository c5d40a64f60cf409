"""The identity of a storage: an id that is made once and stored in storage.json, together with the storage's place.

Runs in MLflow carry the id, because several storages may use the same server and the same name of a sweep. A storage that was moved
keeps its id. A copy has the id of its original until a driver uses the copy. If the original is then still in its place, the copy gets a
new id. A copy on another machine, or under another URI, cannot be told from a storage that was moved, and keeps the id.
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
    """Where the storage was when a driver last used it, without secrets."""
    copied_from: str = ""
    """For a copy that got a new id: the id of its original; else empty."""


def read_identity(storage: AnyPath) -> StorageIdentity | None:
    """Returns the identity in storage.json; None if no driver has written it yet. Raises DamagedError if it was cut or changed."""
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
    """Returns the identity that storage has at its present place; None if no driver has written one yet. Writes nothing."""
    identity, place = read_identity(storage), _place(storage)
    if identity is None or identity.place == place:
        return identity
    if _is_copy(identity, storage):
        # A hash instead of a random id, so that drivers that start at once in a new copy agree.
        return StorageIdentity(_hash(f"{identity.id} {place}"), place, copied_from=identity.id)
    return replace(identity, place=place)


def current_id(storage: AnyPath) -> str:
    """Returns the storage's id; empty if there is none or it cannot be read."""
    with suppress(OSError, DamagedError):
        identity = current(storage)
        return identity.id if identity else ""
    return ""


def identify(storage: AnyPath) -> StorageIdentity:
    """Returns the storage's identity, and writes it if it is new or has changed. Drivers that start at once get the same identity."""
    identity = current(storage)
    if identity is None:
        new = StorageIdentity(_new_id(storage), _place(storage))
        _make(storage, new)
        return read_identity(storage) or new  # another driver may have been faster
    if identity != read_identity(storage):
        records.write(Layout(storage).identity, RECORD, asdict(identity))
    return identity


def _place(storage: AnyPath) -> str:
    """Returns where a storage is. It does not depend on symbolic links, nor on options and secrets in a URI."""
    return str(storage.resolve()) if isinstance(storage, Path) else str(storage).partition("?")[0].replace("***@", "", 1)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _new_id(storage: AnyPath) -> str:
    """Returns a new id: random for a folder, and a hash of the address (with its server, without secrets) for an object store.

    Two drivers that start at once have to agree on the id, and not all object stores have an exclusive create.
    """
    return _hash(str(storage).replace("***@", "", 1)) if isinstance(storage, RemotePath) else uuid.uuid4().hex[:16]


def _make(storage: AnyPath, identity: StorageIdentity) -> None:
    """Write storage.json, unless another driver has just written it. On an object store all drivers write the same id."""
    write = records.write if isinstance(storage, RemotePath) else records.create
    write(Layout(storage).identity, RECORD, asdict(identity))


def _is_copy(identity: StorageIdentity, storage: AnyPath) -> bool:
    """Returns whether the recorded place still has a storage with this id, in another folder than this storage."""
    if isinstance(storage, RemotePath) or "://" in identity.place:
        return False
    recorded_folder = Path(identity.place)
    with suppress(OSError, DamagedError):
        recorded = read_identity(recorded_folder)
        return recorded is not None and recorded.id == identity.id and not _is_same_folder(recorded_folder, storage)
    return False


def _is_same_folder(first: Path, second: Path) -> bool:
    """Returns whether a file made in one folder appears in the other. `samefile` alone fails for a network folder mounted twice."""
    if first.samefile(second):
        return True
    probe = f".probe.{uuid.uuid4().hex}"
    try:
        (second / probe).touch()
    except OSError:  # a folder that can only be read
        return False
    try:
        return (first / probe).exists()
    finally:
        (second / probe).unlink(missing_ok=True)
