"""Which storage this is: an id that is made once, and kept at the storage's root.

    <storage>/storage.json      the id, and where the storage was when a driver last used it

Runs in MLflow carry the id, because several storages may share a server and the name of a sweep. A storage that was moved keeps its id.
A copy has the id of its original until a driver uses it: if the original is still where the record says, the copy is given an id of its
own. A copy on another machine, or under another URI, cannot be told from a storage that was moved, and keeps the id.
"""

import hashlib
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mopoe_core.storage.files import AnyPath
from mopoe_core.storage.remote_path import RemotePath
from orchestrator.errors import DamagedError
from orchestrator.ledger import records

NAME = "storage.json"
RECORD = records.Identity("storage")


@dataclass(frozen=True)
class Identity:
    """What a storage's record says."""

    id: str
    place: str
    """Where it was when a driver last used it, without secrets."""
    copied_from: str = ""
    """The id that it had as a copy of another storage."""


def known(storage: AnyPath) -> Identity | None:
    """The storage's record; None where no driver has made one yet. Raises DamagedError where it was cut or changed."""
    path = storage / NAME
    if not path.exists():
        return None
    try:
        content = records.read(path, RECORD)
        return Identity(content["id"], content["place"], content["copied_from"])
    except KeyError as error:
        raise records.damaged(path, f"it has no {error.args[0]}") from None
    except DamagedError as error:
        raise DamagedError(f"{error}; restore it, or delete it: MLflow's runs so far then count as another storage's") from None


def current(storage: AnyPath) -> Identity | None:
    """The storage's identity where it is now, for commands that only read; None where no driver has made one yet."""
    identity, place = known(storage), _place(storage)
    if identity is None or identity.place == place:
        return identity
    if _is_copy(identity, storage):
        # By a hash and not by chance: drivers that start at once in a new copy agree.
        return Identity(_hash(f"{identity.id} {place}"), place, copied_from=identity.id)
    return replace(identity, place=place)


def current_id(storage: AnyPath) -> str:
    """The storage's id; empty where there is none, or none that can be read."""
    with suppress(OSError, DamagedError):
        identity = current(storage)
        return identity.id if identity else ""
    return ""


def identify(storage: AnyPath) -> Identity:
    """The storage's identity, made or brought up to date where need be. Drivers that start at once get the same one."""
    identity = current(storage)
    if identity is None:
        made = Identity(_new_id(storage), _place(storage))
        _make(storage, made)
        return known(storage) or made  # another driver's, if that was faster
    if identity != known(storage):
        records.write(storage / NAME, RECORD, asdict(identity))
    return identity


def _place(storage: AnyPath) -> str:
    """The same however the storage was named: through a link, or with other options and secrets of its URI."""
    return str(storage.resolve()) if isinstance(storage, Path) else str(storage).partition("?")[0].replace("***@", "", 1)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _new_id(storage: AnyPath) -> str:
    """Of an object store the hash of its address without secrets, which names its server too: not all stores can create a file only
    where there is none, and two drivers that start at once have to agree.
    """
    return _hash(str(storage).replace("***@", "", 1)) if isinstance(storage, RemotePath) else uuid.uuid4().hex[:16]


def _make(storage: AnyPath, identity: Identity) -> None:
    """Write the record, whole. A local one not where another driver has written one meanwhile; of an object store all write the same."""
    write = records.write if isinstance(storage, RemotePath) else records.first
    write(storage / NAME, RECORD, asdict(identity))


def _is_copy(identity: Identity, storage: AnyPath) -> bool:
    """Whether the storage that the record names is still there, and is another folder than this one."""
    if isinstance(storage, RemotePath) or "://" in identity.place:
        return False
    original = Path(identity.place)
    with suppress(OSError, DamagedError):
        there = known(original)
        return there is not None and there.id == identity.id and not _is_same_folder(original, storage)
    return False


def _is_same_folder(one: Path, other: Path) -> bool:
    """By a file that shows up in both: a network folder that is mounted twice has two device numbers."""
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
