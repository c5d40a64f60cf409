"""The MLflow experiment of a sweep, and its runs that belong to one storage.

Several storages may share a server and the name of a sweep, and so an experiment. A run belongs to the storage that its tag `storage_id`
names. A driver reads and changes no other storage's runs (see `run_ownership`).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from mlflow.entities import Run as StoredRun

from mopoe_core.storage.paths import AnyPath
from orchestrator.ledger.storage.identity import StorageIdentity
from orchestrator.tracking.mlflow import artifact_location, earlier_form
from orchestrator.tracking.mlflow.artifact_location import STORAGE_TAG
from orchestrator.tracking.mlflow.run_ownership import Owner
from orchestrator.tracking.mlflow.store_address import sqlite_file

PAGE = 200  # runs a search: half a second; MLflow reads every run's metrics, tags and parameters


class Experiment:
    """The experiment with the sweep's name; made if there is none. `show_progress` is called after each request of many."""

    def __init__(
        self, client: Any, uri: str, storage: AnyPath, identity: StorageIdentity, owner: Owner, show_progress: Callable[[], None]
    ) -> None:
        self._client, self._uri, self._storage = client, uri, storage
        self._identity, self._owner, self._show_progress = identity, owner, show_progress
        self.is_new = False
        """Whether it was made here, so that it has no runs."""
        self.whole = ""
        """The digest that `note_whole` was given last, if the experiment still has it."""
        self._whole_tag = f"projected.{identity.id}"
        self.id = self._find(owner.sweep)

    def _find(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        moved = self.follow_storage()
        if found is None:
            try:
                return self._make(name)
            except Exception:  # another storage's driver may have been faster
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage == "active":
            self.whole = "" if moved else found.tags.get(self._whole_tag, "")
        else:  # MLflow restores all its runs, deleted ones too, of every storage: so no note of completeness holds
            self._client.restore_experiment(found.experiment_id)
            for tag in [tag for tag in found.tags if tag.startswith("projected.")]:
                self._client.set_experiment_tag(found.experiment_id, tag, "")
        return str(found.experiment_id)

    def _make(self, name: str) -> str:
        # The tag makes the UI open on runs and charts; without it, it opens on traces of language models.
        tags = {"mlflow.experimentKind": "custom_model_development"}
        is_local = sqlite_file(self._uri) is not None
        location = artifact_location.folder_of(self._storage).as_uri() if is_local else None
        made = str(self._client.create_experiment(name, artifact_location=location, tags=tags))
        self.is_new = True
        return made

    def follow_storage(self) -> bool:
        """Point artifacts of the storage's runs to where the storage is now; returns whether anything changed."""
        return artifact_location.follow(self._uri, self._storage, self._identity)

    def make_bars(self, metrics: Iterable[str]) -> None:
        """Let the trials' final metrics that an earlier version wrote be bars, where the store is a SQLite file."""
        earlier_form.make_bars(self._uri, self._identity.id, metrics)

    def note_whole(self, digest: str) -> None:
        """Note with the experiment that all its runs of this storage are as the ledger has them."""
        self._client.set_experiment_tag(self.id, self._whole_tag, digest)
        self.whole = digest

    def runs(self, only: str = "") -> Iterator[StoredRun]:
        """The storage's runs, all or those that a filter of MLflow selects."""
        token = None
        while True:
            page = self._client.search_runs([self.id], only, max_results=PAGE, page_token=token)
            self._show_progress()
            yield from (run for run in page if self._owner.owns(run.data.tags, run.info.start_time))
            token = page.token
            if not token:
                return

    def runs_of(self, kind: str, key: str) -> list[StoredRun]:
        """The runs of one trial, cell or sweep: one, unless MLflow made two."""
        return list(self.runs(f"tags.kind = '{kind}' and tags.{kind}_id = '{key}'"))

    def delete(self, run_ids: Sequence[str]) -> None:
        """Mark runs as deleted."""
        for run_id in run_ids:
            self._client.delete_run(run_id)
            self._show_progress()

    def adopt(self, run: StoredRun) -> None:
        """Give a run of an earlier version the storage's tag."""
        if STORAGE_TAG not in run.data.tags:
            self._client.set_tag(run.info.run_id, STORAGE_TAG, self._identity.id)

    def has_lost_artifacts(self, run: StoredRun) -> bool:
        """Whether the folder of a run's artifacts is gone."""
        return artifact_location.is_lost(self._uri, self._storage, run.info.artifact_uri, run.info.run_id)

    def create_run(self, tags: dict[str, str], started_ms: int | None) -> StoredRun:
        """A new run of this storage."""
        return self._client.create_run(self.id, start_time=started_ms, tags={**tags, STORAGE_TAG: self._identity.id})

    def place_artifacts(self, run: StoredRun) -> str:
        """Returns where a run's artifacts go; empty if MLflow has to be asked."""
        return artifact_location.place_run(self._uri, self._storage, run.info.artifact_uri, run.info.run_id)
