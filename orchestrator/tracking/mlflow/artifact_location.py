"""Keeps MLflow's addresses of artifacts correct when a storage moves. The artifacts are in the storage's folder `mlartifacts`.

MLflow's SQLite file has the absolute address of each experiment's and each run's artifacts, and no call that changes one (as of MLflow
3.17.2). After a move MLflow would read from the old folder, and make that folder again to write to it. So `follow` changes the addresses
in the file itself. It changes only addresses that the orchestrator made: those of local folders named `mlartifacts`. A tracking server
has its own place for artifacts, which does not move with a storage.
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
"""The tag with the id of the storage that a run belongs to."""
WAIT_SECONDS = 30.0
"""How long to wait for another process that writes to the SQLite file."""

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
    """Returns the local folder with the artifacts of a storage's runs, without `..`, which MLflow refuses in an address."""
    local_folder = local_counterpart(storage).absolute()
    return (local_folder.resolve() if ".." in local_folder.parts else local_folder) / FOLDER


def is_lost(uri: str, storage: AnyPath, address: str, run_id: str) -> bool:
    """Returns whether the artifact folder of a run in a SQLite store is missing, because it was deleted or not moved with the storage."""
    if sqlite_file(uri) is None or not address.startswith("file:"):
        return False
    folder = folder_of(storage) / run_id if _is_in_a_storage(address, run_id) else _path(address)
    return not folder.exists()


def place_run(uri: str, storage: AnyPath, address: str, run_id: str) -> str:
    """Returns the address of a new run's artifacts. If MLflow put them into another storage, first changes that in the SQLite file."""
    own_address = _run_address(storage, run_id)
    file = sqlite_file(uri)
    if file is None or address == own_address or not _is_in_a_storage(address, run_id):
        return address
    if _is_same(_path(address).parent.parent, folder_of(storage)):
        return address
    with closing(sqlite3.connect(file, timeout=WAIT_SECONDS)) as store, store:
        store.execute("update runs set artifact_uri = ? where run_uuid = ?", (own_address, run_id))
    return own_address


def follow(uri: str, storage: AnyPath, owner: StorageIdentity | None) -> bool:
    """Change the addresses in the SQLite file to the storage's present folder; returns whether anything changed.

    `owner` is the storage's identity, if it has one yet. The address of an experiment changes if its folder is gone, or if the SQLite
    file is in the storage. The address of a run without a storage changes if its artifacts are here or gone. The address of a run of
    this storage always changes.
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
    """Call `follow` for a command that only reads. Returns the problem if the SQLite file cannot be changed; else an empty text."""
    try:
        follow(uri, storage, current(storage))
    except sqlite3.Error as error:
        return f"{sqlite_file(uri)}: {error}; artifacts are looked for where they were when it was written last"
    return ""


@dataclass(frozen=True)
class _Moves:
    """The changes that a SQLite store needs after a storage has moved."""

    store: sqlite3.Connection
    storage: AnyPath
    owner: StorageIdentity | None
    is_own: bool
    """Whether the store is in the storage. Then everything in it that names no other storage belongs to this one."""

    def experiments(self) -> Iterator[tuple[str, int]]:
        """Yields new address and id of each experiment to change."""
        new_folder = folder_of(self.storage)
        for experiment_id, address in self.store.execute(EXPERIMENTS).fetchall():
            old_folder = _path(address)
            if not _is_same(old_folder, new_folder) and (self.is_own or not old_folder.exists()):
                yield new_folder.as_uri(), experiment_id

    def runs(self) -> Iterator[tuple[str, str]]:
        """Yields new address and id of each run to change."""
        new_folder = folder_of(self.storage)
        for run_id, address, owner_id in self.store.execute(RUNS).fetchall():
            old_folder = _path(address).parent.parent
            if _is_same(old_folder, new_folder):
                continue
            belongs_here = self._is_own_id(owner_id) if owner_id else self._has_moved(old_folder, run_id)
            if belongs_here:
                yield _run_address(self.storage, run_id), run_id

    def copied(self) -> list[tuple[str, str]]:
        """Returns new and old storage id if this storage is a copy, and its store still has runs with the original's id.

        In a store outside of the storage, runs with the original's id belong to the original.
        """
        if self.owner is None or not (self.is_own and self.owner.copied_from):
            return []
        count = self.store.execute("select count(*) from tags where key = 'storage_id' and value = ?", (self.owner.copied_from,))
        return [(self.owner.id, self.owner.copied_from)] if count.fetchone()[0] else []

    def _is_own_id(self, storage_id: str) -> bool:
        if self.owner is None:
            return False
        return storage_id == self.owner.id or (self.is_own and storage_id == self.owner.copied_from)

    def _has_moved(self, old_folder: Path, run_id: str) -> bool:
        """Returns whether the artifacts of a run without a storage belong to this storage: they are here, or their folder is gone."""
        is_here, is_gone = (folder_of(self.storage) / run_id).exists(), not (old_folder / run_id).exists()
        if self.is_own:
            return is_here or not old_folder.exists()
        return is_here and is_gone


def _run_address(storage: AnyPath, run_id: str) -> str:
    return f"{folder_of(storage).as_uri()}/{run_id}/artifacts"


def _is_in_a_storage(address: str, run_id: str) -> bool:
    """Returns whether an address has the form of a run's artifacts in any storage."""
    return address.startswith("file:") and address.endswith(f"/{FOLDER}/{run_id}/artifacts")


def _path(address: str) -> Path:
    return Path(url2pathname(urlsplit(address).path))


def _is_same(first: Path, second: Path) -> bool:
    """Returns whether two paths are the same folder, also through links."""
    return first == second or (first.exists() and second.exists() and first.samefile(second))
