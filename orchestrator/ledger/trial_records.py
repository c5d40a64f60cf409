"""The records in one trial's folder, read and checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mopoe_core.storage.file_facts import size_if_there
from mopoe_core.storage.folders import listed
from mopoe_core.storage.paths import AnyPath
from orchestrator.errors import DamagedError, MisplacedError
from orchestrator.ledger import attempts, records
from orchestrator.ledger.layout import CHECKPOINT, TrialFolder
from orchestrator.ledger.records import Identity
from orchestrator.ledger.result import checkpoint_digest
from orchestrator.spec.trial import Trial

NOTES = ("failed", "cancelled", "deleted", "progress")
"""Kinds of records that a trial's folder may have beside its result, one of each."""


@dataclass(frozen=True)
class TrialRecords:
    """The records in one trial's folder. Reading creates nothing."""

    trial: Trial
    folder: TrialFolder

    def identity(self, kind: str, attempt: int | None = None, epoch: int | None = None) -> Identity:
        """Returns the identity of a record of this trial."""
        return Identity(kind, self.trial.id, attempt=attempt, epoch=epoch)

    def result(self) -> dict[str, Any] | None:
        """Returns the content of the result's record; None if the trial has not ended."""
        record = self.result_record()
        return None if record is None else record.content

    def result_record(self) -> records.Record | None:
        """Returns the result's record, with the text that it was read from; None if the trial has not ended."""
        path = self.folder.result
        return records.load(path, self.identity("result")) if path.exists() else None

    def config(self) -> dict[str, Any]:
        """Returns the configuration in trial.json; empty if there is no such file. Raises DamagedError if it is another trial's."""
        path = self.folder.note("trial")
        if not path.exists():
            return {}
        stored = records.read(path, self.identity("trial"))
        if not isinstance(stored.get("config"), dict):
            raise records.damaged(path, "it has no configuration")
        if stored.get("seed") != self.trial.seed:
            raise MisplacedError(
                f"{path}: is not the record that belongs here (its seed is {stored.get('seed')!r}, not {self.trial.seed})"
            )
        return dict(stored["config"])

    def note(self, kind: str) -> dict[str, Any]:
        """Returns the content of the record of a kind. Raises DamagedError if it is missing or damaged."""
        return self._load(self.folder.note(kind), self.identity(kind)).content

    def lenient_note(self, kind: str) -> dict[str, Any]:
        """Returns the content of the record of a kind; empty if it is missing or cut; see `_lenient`."""
        return self._lenient(self.folder.note(kind), self.identity(kind))

    def attempt(self, number: int) -> dict[str, Any]:
        """Returns the record of an attempt; empty if it is missing or cut; see `_lenient`."""
        return self._lenient(self.folder.attempt(number), self.identity("attempt", attempt=number))

    def last_attempt(self) -> dict[str, Any]:
        """Returns the record of the last attempt; empty if there was no attempt."""
        numbers = self.attempt_numbers()
        return self.attempt(numbers[-1]) if numbers else {}

    def attempt_numbers(self) -> list[int]:
        """Returns the numbers of the attempts that have a record."""
        return [record_number(path) for path in self.folder.attempts()]

    def at_epoch(self, epoch: int) -> dict[str, Any]:
        """Returns the record of the metrics after an epoch; empty if it is missing or cut; see `_lenient`."""
        return self._lenient(self.folder.epoch(epoch), self.identity("epoch", epoch=epoch))

    def is_of_last_attempt(self, kind: str) -> bool:
        """Returns whether the record `failed` or `cancelled` is there and belongs to the last attempt.

        A record that was cut counts as if it were. Earlier versions wrote no attempt number into these records, and no worker into those
        of attempts: a record without a number counts until an attempt of a later version begins.
        """
        if not self.folder.note(kind).exists():
            return False
        try:
            identity = self._load(self.folder.note(kind), self.identity(kind)).identity
        except MisplacedError:
            raise
        except DamagedError:
            return True
        attempt = identity.get("attempt")
        if isinstance(attempt, int):
            return attempt >= max(self.attempt_numbers(), default=0)
        return not self.last_attempt().get("worker")

    def checkpoint(self) -> AnyPath:
        """Returns the path of the trial's newest checkpoint, which need not exist."""
        newest = attempts.newest_checkpoint(self.folder)
        if newest is None:
            return self.folder.checkpoint
        result = self.result()
        return newest if result is None else self.checkpoint_of(result)[0]

    def checkpoint_of(self, result: Mapping[str, Any]) -> tuple[AnyPath, int | None]:
        """Returns the path of the checkpoint of a trial with this result, and its size in bytes; None if the checkpoint is missing.

        The checkpoint may still be in its attempt's folder.
        """
        size, named = size_if_there(self.folder.checkpoint), checkpoint_digest(result)
        if result.get("files") and named is not None and size != named.size:
            unpublished = self.folder.path / result["files"] / CHECKPOINT
            unpublished_size = size_if_there(unpublished)
            if unpublished_size is not None:
                return unpublished, unpublished_size
            size = size_if_there(self.folder.checkpoint)  # its worker may have moved it between the two looks
        return self.folder.checkpoint, size

    def samples(self) -> dict[str, AnyPath]:
        """Returns the pictures of generated samples by name. They may still be in the folder of the attempt that the result names."""
        result = self.result() if self.folder.attempt_files("*.png") else None
        files = result.get("files") if result else None
        # First the attempt's, which may be moved in the meantime: none of them is missed.
        of_attempt = listed(self.folder.path / files, "*.png") if files else []
        return {path.stem: path for path in (*of_attempt, *listed(self.folder.samples, "*.png"))}

    def check(self) -> None:
        """Raise DamagedError if any record is another trial's, or if the record `stack` was cut."""
        if self.folder.note("stack").exists():
            self.note("stack")
        for number in self.attempt_numbers():
            self.attempt(number)
        for path in self.folder.epochs():
            self.at_epoch(record_number(path))
        for kind in NOTES:
            self.lenient_note(kind)

    def _lenient(self, path: AnyPath, identity: Identity) -> dict[str, Any]:
        """Returns a record's content; empty if it is missing or was cut, because the trial can do without it.

        Raises MisplacedError if the record is another trial's.
        """
        if not path.exists():
            return {}
        try:
            return self._load(path, identity).content
        except MisplacedError:
            raise
        except DamagedError:
            return {}

    def _load(self, path: AnyPath, identity: Identity) -> records.Record:
        """Returns a record. A record of format 1 does not name its trial, so it is accepted only if trial.json has format 1 too."""
        record = records.load(path, identity)
        if record.format == 1 and self._format() > 1:
            raise MisplacedError(f"{path}: is not the record that belongs here (it does not say of which trial it is)")
        return record

    def _format(self) -> int:
        path = self.folder.note("trial")
        return records.load(path, self.identity("trial")).format if path.exists() else 1


def record_number(path: AnyPath) -> int:
    """Returns the number in a record's file name; -1, which no record has, if the name is no number."""
    return int(path.stem) if path.stem.isdecimal() else -1
