"""Where the artifacts of a storage's runs lie in MLflow: in the folder `mlartifacts` of the storage, wherever that is now.

MLflow's SQLite file holds the whole address of each experiment's and each run's artifacts. It has no call that changes one (as of MLflow
3.17.2), so that after a move it would read from the old folder, and make that again to write there. `follow` changes the addresses in the
file itself. Only addresses that the orchestrator made are changed: those of local folders named `mlartifacts`. A tracking server keeps
artifacts at a place of its own, which does not move with a storage.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from mopoe_core.storage.paths import AnyPath, local_counterpart
from orchestrator.ledger.storage.identity import StorageIdentity, current
from orchestrator.tracking.mlflow.store_address import sqlite_file

FOLDER = "mlartifacts"
STORAGE_TAG = "storage_id"
"""The tag of a run that says which storage it belongs to."""
WAIT_SECONDS = 30.0
"""For another process that writes to the SQLite file."""

EXPERIMENTS = """
select experiment_id, artifact_location from experiments
where artifact_location like 'file:%/mlartifacts'
and experiment_id in (select experiment_id from experiment_tags where key = 'mlflow.experimentKind')
"""
RUNS = """
select runs.run_uuid, runs.artifact_uri, coalesce(owner.value, '') from runs
join tags kind on kind.run_uuid = runs.run_uuid and kind.key = 'kind'
left join tags owner on owner.run_uuid = runs.run_uuid and owner.key = 'storage_id'
where runs.artifact_uri like 'file:%/mlartifacts/' || runs.run_uuid || '/artifacts'
"""


def folder_of(storage: AnyPath) -> Path:
    """The local folder with the artifacts of a storage's runs. MLflow refuses an address with `..`."""
    place = local_counterpart(storage).absolute()
    return (place.resolve() if ".." in place.parts else place) / FOLDER


def is_lost(uri: str, storage: AnyPath, address: str, run_id: str) -> bool:
    """Whether a run of a SQLite store, with artifacts at this address, has none: its folder was not moved along, or deleted."""
    if sqlite_file(uri) is None or not address.startswith("file:"):
        return False
    folder = folder_of(storage) / run_id if _is_in_a_storage(address, run_id) else _path(address)
    return not folder.exists()


def place_run(uri: str, storage: AnyPath, address: str, run_id: str) -> str:
    """The address of a new run's artifacts; the store is told, where MLflow gave it a place in another storage."""
    here = _run_address(storage, run_id)
    file = sqlite_file(uri)
    if file is None or address == here or not _is_in_a_storage(address, run_id):
        return address
    if _is_same(_path(address).parent.parent, folder_of(storage)):
        return address
    with closing(sqlite3.connect(file, timeout=WAIT_SECONDS)) as store, store:
        store.execute("update runs set artifact_uri = ? where run_uuid = ?", (here, run_id))
    return here


def follow(uri: str, storage: AnyPath, owner: StorageIdentity | None) -> bool:
    """Let the SQLite file look for the storage's artifacts where the storage is now; returns whether anything changed.

    `owner` is the storage's identity, if it has one yet. An experiment follows if its folder is gone, or if the file itself lies in the
    storage. So does a run that no storage claims, if its artifacts are here or gone. A run of this storage always follows.
    """
    file = sqlite_file(uri)
    if file is None or not file.is_file():
        return False
    with closing(sqlite3.connect(file, timeout=WAIT_SECONDS)) as store:
        moves = _Moves(store, storage, owner, local_counterpart(storage).resolve() in file.resolve().parents)
        experiments, runs, copied = list(moves.experiments()), list(moves.runs()), moves.copied()
        if not (experiments or runs or copied):
            return False
        with store:
            store.executemany("update experiments set artifact_location = ? where experiment_id = ?", experiments)
            store.executemany("update runs set artifact_uri = ? where run_uuid = ?", runs)
            store.executemany("update tags set value = ? where key = 'storage_id' and value = ?", copied)
    return True


def follow_for_reading(uri: str, storage: AnyPath) -> str:
    """As `follow`, for a command that only shows; returns what kept it from doing so, or nothing."""
    try:
        follow(uri, storage, current(storage))
    except sqlite3.Error as error:
        return f"{sqlite_file(uri)}: {error}; artifacts are looked for where they were when it was written last"
    return ""


@dataclass(frozen=True)
class _Moves:
    """What is to be changed in a store."""

    store: sqlite3.Connection
    storage: AnyPath
    owner: StorageIdentity | None
    is_own: bool
    """Whether the store lies in the storage, so that what no other storage claims belongs to this one."""

    def experiments(self) -> Iterator[tuple[str, int]]:
        """New address and id."""
        here = folder_of(self.storage)
        for number, address in self.store.execute(EXPERIMENTS).fetchall():
            if not _is_same(_path(address), here) and (self.is_own or not _path(address).exists()):
                yield here.as_uri(), number

    def runs(self) -> Iterator[tuple[str, str]]:
        """New address and id."""
        here = folder_of(self.storage)
        for run_id, address, owner in self.store.execute(RUNS).fetchall():
            there = _path(address).parent.parent
            if not _is_same(there, here) and (self._claims(owner) if owner else self._finds(there, run_id)):
                yield _run_address(self.storage, run_id), run_id

    def copied(self) -> list[tuple[str, str]]:
        """New and old id of runs that this storage has as a copy of another; those in another store are the original's."""
        if self.owner is None or not (self.is_own and self.owner.copied_from):
            return []
        count = self.store.execute("select count(*) from tags where key = 'storage_id' and value = ?", (self.owner.copied_from,))
        return [(self.owner.id, self.owner.copied_from)] if count.fetchone()[0] else []

    def _claims(self, owner: str) -> bool:
        if self.owner is None:
            return False
        return owner == self.owner.id or (self.is_own and owner == self.owner.copied_from)

    def _finds(self, there: Path, run_id: str) -> bool:
        """Whether a run without a storage has its artifacts here, and not (or not only) where the store says."""
        is_here, is_gone = (folder_of(self.storage) / run_id).exists(), not (there / run_id).exists()
        if self.is_own:
            return is_here or not there.exists()
        return is_here and is_gone


def _run_address(storage: AnyPath, run_id: str) -> str:
    return f"{folder_of(storage).as_uri()}/{run_id}/artifacts"


def _is_in_a_storage(address: str, run_id: str) -> bool:
    """Whether it is where runs' artifacts lie in a storage, this one or another."""
    return address.startswith("file:") and address.endswith(f"/{FOLDER}/{run_id}/artifacts")


def _path(address: str) -> Path:
    return Path(url2pathname(urlsplit(address).path))


def _is_same(one: Path, other: Path) -> bool:
    """Whether both are one folder, by whatever names."""
    return one == other or (one.exists() and other.exists() and one.samefile(other))
