"""The records in one trial's folder, read and checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mopoe_core.storage.file_facts import size_if_there
from mopoe_core.storage.paths import AnyPath
from orchestrator.errors import DamagedError, MisplacedError
from orchestrator.ledger import attempts, records
from orchestrator.ledger.layout import CHECKPOINT, TrialFolder
from orchestrator.ledger.records import Identity
from orchestrator.ledger.result import checkpoint_digest
from orchestrator.spec.trial import Trial

NOTES = ("failed", "cancelled", "deleted", "progress")
"""Kinds of records that a trial may have beside its result, and of which the folder has one."""


@dataclass(frozen=True)
class TrialRecords:
    """The records in one trial's folder. Reading creates nothing."""

    trial: Trial
    folder: TrialFolder

    def identity(self, kind: str, attempt: int | None = None, epoch: int | None = None) -> Identity:
        """The identity of a record of this trial."""
        return Identity(kind, self.trial.id, attempt=attempt, epoch=epoch)

    def result(self) -> dict[str, Any] | None:
        """What the record of the trial's result has; None if the trial has not ended."""
        record = self.result_record()
        return None if record is None else record.content

    def result_record(self) -> records.Record | None:
        """The record of the trial's result, with the text that it was read from; None if the trial has not ended."""
        path = self.folder.result
        return records.load(path, self.identity("result")) if path.exists() else None

    def config(self) -> dict[str, Any]:
        """The configuration that trial.json has; empty if there is no such file. Raises DamagedError if it is another trial's."""
        path = self.folder.note("trial")
        if not path.exists():
            return {}
        stored = records.read(path, self.identity("trial"))
        if not isinstance(stored.get("config"), dict):
            raise records.damaged(path, "it holds no configuration")
        if stored.get("seed") != self.trial.seed:
            raise MisplacedError(
                f"{path}: is not the record that belongs here (its seed is {stored.get('seed')!r}, not {self.trial.seed})"
            )
        return dict(stored["config"])

    def note(self, kind: str) -> dict[str, Any]:
        """The content of a record of which the folder has one. Raises DamagedError if it is missing or damaged."""
        return self._load(self.folder.note(kind), self.identity(kind)).content

    def lenient_note(self, kind: str) -> dict[str, Any]:
        """As `note`, but empty if the record is missing or damaged; see `_lenient`."""
        return self._lenient(self.folder.note(kind), self.identity(kind))

    def attempt(self, number: int) -> dict[str, Any]:
        """The record of an attempt; empty if it is missing or damaged; see `_lenient`."""
        return self._lenient(self.folder.attempt(number), self.identity("attempt", attempt=number))

    def last_attempt(self) -> dict[str, Any]:
        """The record of the last attempt; empty if there was none."""
        numbers = self.attempt_numbers()
        return self.attempt(numbers[-1]) if numbers else {}

    def attempt_numbers(self) -> list[int]:
        """The numbers of the attempts that have a record."""
        return [record_number(path) for path in self.folder.attempts()]

    def at_epoch(self, epoch: int) -> dict[str, Any]:
        """The record of the metrics after an epoch; empty if it is missing or damaged; see `_lenient`."""
        return self._lenient(self.folder.epoch(epoch), self.identity("epoch", epoch=epoch))

    def is_last_word(self, kind: str) -> bool:
        """Whether the note that the trial has failed, or was cancelled, is of its last attempt.

        A note without the number of its attempt was written before attempts had files of their own. It counts until an attempt has such.
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
        """The trial's newest checkpoint, whether it is there or not."""
        newest = attempts.newest_checkpoint(self.folder)
        if newest is None:
            return self.folder.checkpoint
        result = self.result()
        return newest if result is None else self.checkpoint_of(result)[0]

    def checkpoint_of(self, result: Mapping[str, Any]) -> tuple[AnyPath, int | None]:
        """The checkpoint of a trial with this result, and its size; None if it is missing. It may still be in its attempt's folder."""
        size, named = size_if_there(self.folder.checkpoint), checkpoint_digest(result)
        if result.get("files") and named is not None and size != named.size:
            unpublished = self.folder.path / result["files"] / CHECKPOINT
            unpublished_size = size_if_there(unpublished)
            if unpublished_size is not None:
                return unpublished, unpublished_size
        return self.folder.checkpoint, size

    def check(self) -> None:
        """Raise DamagedError if a note belongs elsewhere, or if the stack's was cut."""
        if self.folder.note("stack").exists():
            self.note("stack")
        for number in self.attempt_numbers():
            self.attempt(number)
        for path in self.folder.epochs():
            self.at_epoch(record_number(path))
        for kind in NOTES:
            self.lenient_note(kind)

    def _lenient(self, path: AnyPath, identity: Identity) -> dict[str, Any]:
        """A note's content. Empty if it is missing or was cut, because the trial is none the worse for it.

        Raises MisplacedError if it is another trial's.
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
        """A record. One of format 1 does not say which trial it is of, and is believed only in a folder that was begun with format 1."""
        record = records.load(path, identity)
        if record.format == 1 and self._format() > 1:
            raise MisplacedError(f"{path}: is not the record that belongs here (it does not say of which trial it is)")
        return record

    def _format(self) -> int:
        path = self.folder.note("trial")
        return records.load(path, self.identity("trial")).format if path.exists() else 1


def record_number(path: AnyPath) -> int:
    """The number that a record's name is; -1, which no record has, for any other name."""
    return int(path.stem) if path.stem.isdecimal() else -1
