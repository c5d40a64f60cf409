"""Checkpoints on storage: a `torch.save` archive of everything that is needed to resume training, with a header beside the weights.

The header is one more member of the archive, in JSON. It has the epochs and the trial that the checkpoint belongs to, and is read without
torch. A checkpoint of an earlier version has no header, and its whole state is read instead. An earlier version can read our checkpoints;
it ignores the header.
"""

import io
import json
import pickle
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mopoe_core.config.training_config import TrainingConfig
from mopoe_core.errors import CheckpointError
from mopoe_core.metric_names import Epoch
from mopoe_core.storage.file_facts import Digest
from mopoe_core.storage.paths import AnyPath

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 2
HEADER_FIELDS = ("format", "trial", "config", "seed", "history", "diverged_at_step")
HEADER = "mopoe_header.json"
"""The header's name in the archive's folder, which torch chooses; torch refuses an archive with members outside this folder."""
UNREADABLE = (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile)
"""Errors that are raised by reading bytes that are not a checkpoint."""


def packed(state: dict[str, Any]) -> memoryview:
    """The bytes of a checkpoint with this state."""
    import torch

    content = io.BytesIO()  # into a file, `torch.save` would turn "no space left" into an error that does not say so
    torch.save(state, content)
    header = json.dumps({name: state[name] for name in HEADER_FIELDS}, sort_keys=True)
    with zipfile.ZipFile(content, "a") as archive:
        folder = archive.namelist()[0].partition("/")[0]
        archive.writestr(zipfile.ZipInfo(f"{folder}/{HEADER}"), header)  # ZipInfo's time is 1980: equal states give equal bytes
    return content.getbuffer()


def previous_checkpoint(checkpoint: AnyPath) -> AnyPath:
    """The path of the previous epoch's checkpoint."""
    return checkpoint.with_suffix(".before")


def opened(checkpoint: AnyPath) -> tuple[dict[str, Any], Digest] | None:
    """The checkpoint's state and the digest of its bytes; None if there is no checkpoint, or if it is damaged, for example because the
    machine went down before all bytes were on disk. Raises OSError if it cannot be read: it may be whole, and must not be overwritten.

    A damaged checkpoint is not used: starting again costs time, but resuming from part of a state would cost the result. `torch.load`
    does not notice a changed byte; the checksums that `torch.save` writes into the archive reveal it.
    """
    raw = _whole_bytes(checkpoint)
    if raw is None:
        return None
    state = _state_in(raw)
    return None if state is None else (state, Digest.of(raw))


def _whole_bytes(checkpoint: AnyPath) -> bytes | None:
    """The bytes of a checkpoint; None if there is none, or if its checksums are wrong."""
    try:
        raw = checkpoint.read_bytes()
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        raise CheckpointError(f"{checkpoint}: is a folder, and a checkpoint belongs there; move it away") from None
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            return raw if archive.testzip() is None else None
    except UNREADABLE:
        return None


def _state_in(raw: bytes) -> dict[str, Any] | None:
    """The state with all its tensors, on the CPU; None if the bytes are not a checkpoint of this format."""
    import torch

    try:
        state = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    except UNREADABLE:
        return None
    return state if isinstance(state, dict) and state.get("format") == FORMAT else None


def _header_in(raw: bytes) -> dict[str, Any] | None:
    """The header's fields; for a checkpoint of an earlier version, which has no header, the whole state."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        name = next((name for name in archive.namelist() if name.endswith(f"/{HEADER}")), None)
        if name is None:
            return _state_in(raw)
        try:
            header = json.loads(archive.read(name))
        except ValueError:
            return None
    usable = isinstance(header, dict) and header.get("format") == FORMAT and set(HEADER_FIELDS) <= set(header)
    return header if usable else None


@dataclass(frozen=True)
class CheckpointProgress:
    """The training progress that a checkpoint has."""

    history: tuple[Epoch, ...]
    diverged: bool

    @property
    def epochs(self) -> int:
        """The number of epochs that have been trained."""
        return len(self.history)


def progress_in(checkpoint: AnyPath, config: TrainingConfig, seed: int, trial: str = "") -> CheckpointProgress | None:
    """The progress in a trial's checkpoint; None if there is no usable one. Raises CheckpointError if it is another trial's."""
    raw = _whole_bytes(checkpoint)
    header = None if raw is None else _header_in(raw)
    if header is None:
        return None
    check_owner(header, config, seed, trial, checkpoint)
    return CheckpointProgress(tuple(Epoch(**epoch) for epoch in header["history"]), header["diverged_at_step"] is not None)


def history_in(checkpoint: AnyPath, config: TrainingConfig, seed: int, trial: str = "") -> tuple[Epoch, ...]:
    """The epochs in a trial's checkpoint; empty if there is no usable one. Raises CheckpointError if it is another trial's."""
    progress = progress_in(checkpoint, config, seed, trial)
    return () if progress is None else progress.history


def weights_in(checkpoint: AnyPath) -> "dict[str, Tensor] | None":
    """The weights and buffers in a checkpoint, by name; None if there is no usable one."""
    state_and_digest = opened(checkpoint)
    return None if state_and_digest is None else dict(state_and_digest[0]["model"])


def check_owner(state: dict[str, Any], config: TrainingConfig, seed: int, trial: str, checkpoint: AnyPath) -> None:
    """Raises CheckpointError if a checkpoint belongs to another trial. A checkpoint of an earlier version does not name its trial."""
    difference = _difference_from(state, config, seed, trial)
    if difference is not None:
        raise CheckpointError(
            f"{checkpoint}: is the checkpoint of another trial, with {difference}; move it to where it belongs, or give each trial a "
            "file of its own (`sweep --retrain-damaged` moves it out of the way)"
        )


def _difference_from(state: dict[str, Any], config: TrainingConfig, seed: int, trial: str) -> str | None:
    """The first difference between a checkpoint's trial and this one, such as `seed 1, not 2`; None if they are the same."""
    stored_trial, stored_seed = state.get("trial", ""), state.get("seed")
    if stored_trial != trial and "" not in (stored_trial, trial):
        return f"trial {stored_trial!r}, not {trial!r}"
    if stored_seed != seed:
        return f"seed {stored_seed!r}, not {seed!r}"
    stored_config = _plain(_completed(dict(state.get("config", {})), config))
    expected_config = _plain(config.model_dump())
    return None if stored_config == expected_config else _first_difference(stored_config, expected_config)


def _completed(stored: dict[str, Any], config: TrainingConfig) -> dict[str, Any]:
    """A checkpoint's configuration, with defaults for the fields that an earlier version did not have."""
    if stored.keys() >= config.model_dump().keys() or stored.get("dataset") != config.dataset:
        return stored  # completing that of another dataset would run the code that the checkpoint names
    try:
        return TrainingConfig.model_validate(stored).model_dump()
    except ValueError:
        return stored


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration with lists in place of tuples, as in JSON."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in config.items()}


def _first_difference(stored: dict[str, Any], expected: dict[str, Any]) -> str:
    """The first field in which two configurations differ, with both values."""

    def differs(field: str) -> bool:
        return field not in stored or field not in expected or stored[field] != expected[field]

    name = next(field for field in {**stored, **expected} if differs(field))
    return f"{name} {stored.get(name)!r}, not {expected.get(name)!r}"
