"""The MLflow experiment of a sweep, and the runs in it that belong to one storage.

Several storages may use the same server and the same name of a sweep, and then share an experiment. A run belongs to the storage that its
tag `storage_id` names. A driver neither reads nor changes the runs of other storages (see `run_ownership`).
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

PAGE = 200  # runs per request, which takes half a second: MLflow reads every run's metrics, tags and parameters


class Experiment:
    """The experiment with the sweep's name; made if there is none.

    `show_progress` is called after each request of methods that make many.
    """

    def __init__(
        self, client: Any, uri: str, storage: AnyPath, identity: StorageIdentity, owner: Owner, show_progress: Callable[[], None]
    ) -> None:
        self._client, self._uri, self._storage = client, uri, storage
        self._identity, self._owner, self._show_progress = identity, owner, show_progress
        self.is_new = False
        """Whether this object made the experiment, so that it has no runs."""
        self.complete_digest = ""
        """The last digest given to `set_complete_digest`, if it is still valid; else empty."""
        self._complete_tag = f"projected.{identity.id}"
        self.id = self._find_or_make(owner.sweep)

    def _find_or_make(self, name: str) -> str:
        """Returns the id of the experiment. Restores it if it was deleted."""
        experiment = self._client.get_experiment_by_name(name)
        has_moved = self.follow_storage()
        if experiment is None:
            try:
                return self._make(name)
            except Exception:  # the driver of another storage may have been faster
                experiment = self._client.get_experiment_by_name(name)
                if experiment is None:
                    raise
        if experiment.lifecycle_stage == "active":
            self.complete_digest = "" if has_moved else experiment.tags.get(self._complete_tag, "")
        else:
            self._restore(experiment)
        return str(experiment.experiment_id)

    def _restore(self, experiment: Any) -> None:
        """Restore a deleted experiment, and remove the digests of all storages: MLflow also restores runs that were deleted before."""
        self._client.restore_experiment(experiment.experiment_id)
        for tag in [tag for tag in experiment.tags if tag.startswith("projected.")]:
            self._client.set_experiment_tag(experiment.experiment_id, tag, "")

    def _make(self, name: str) -> str:
        # With this tag the UI opens on runs and charts; without it, on traces of language models.
        tags = {"mlflow.experimentKind": "custom_model_development"}
        is_local = sqlite_file(self._uri) is not None
        location = artifact_location.folder_of(self._storage).as_uri() if is_local else None
        experiment_id = str(self._client.create_experiment(name, artifact_location=location, tags=tags))
        self.is_new = True
        return experiment_id

    def follow_storage(self) -> bool:
        """Change the addresses of artifacts to the storage's present folder; returns whether anything changed."""
        return artifact_location.follow(self._uri, self._storage, self._identity)

    def make_bars(self, metrics: Iterable[str]) -> None:
        """Move final metrics of trials that an earlier version wrote to step 0, so that they are bars. Only in a SQLite store."""
        earlier_form.make_bars(self._uri, self._identity.id, metrics)

    def set_complete_digest(self, digest: str) -> None:
        """Store a digest with the experiment, which says that all runs of this storage are complete; an empty one removes it."""
        self._client.set_experiment_tag(self.id, self._complete_tag, digest)
        self.complete_digest = digest

    def runs(self, only: str = "") -> Iterator[StoredRun]:
        """Yields the storage's runs: all, or those that match a filter of MLflow."""
        token = None
        while True:
            page = self._client.search_runs([self.id], only, max_results=PAGE, page_token=token)
            self._show_progress()
            yield from (run for run in page if self._owner.owns(run.data.tags, run.info.start_time))
            token = page.token
            if not token:
                return

    def runs_of(self, kind: str, key: str) -> list[StoredRun]:
        """Returns the runs of one trial, cell or sweep. There is one at most, unless MLflow made two by mistake."""
        return list(self.runs(f"tags.kind = '{kind}' and tags.{kind}_id = '{key}'"))

    def delete(self, run_ids: Sequence[str]) -> None:
        """Mark runs as deleted."""
        for run_id in run_ids:
            self._client.delete_run(run_id)
            self._show_progress()

    def adopt(self, run: StoredRun) -> None:
        """Add the storage's id to a run that an earlier version wrote without it."""
        if STORAGE_TAG not in run.data.tags:
            self._client.set_tag(run.info.run_id, STORAGE_TAG, self._identity.id)

    def has_lost_artifacts(self, run: StoredRun) -> bool:
        """Returns whether the folder of a run's artifacts is missing."""
        return artifact_location.is_lost(self._uri, self._storage, run.info.artifact_uri, run.info.run_id)

    def create_run(self, tags: dict[str, str], started_ms: int | None) -> StoredRun:
        """Create a run of this storage."""
        return self._client.create_run(self.id, start_time=started_ms, tags={**tags, STORAGE_TAG: self._identity.id})

    def place_artifacts(self, run: StoredRun) -> str:
        """Returns the address for a new run's artifacts, in this storage if the store is a SQLite file."""
        return artifact_location.place_run(self._uri, self._storage, run.info.artifact_uri, run.info.run_id)
