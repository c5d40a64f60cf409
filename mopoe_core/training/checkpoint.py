"""Checkpoints on storage: a `torch.save` archive of everything that is needed to go on, with a header beside the weights.

The header is one more member of the archive, JSON: all of the state that is no tensor. A question about epochs, or about whose checkpoint
it is, reads the header and needs no torch. An earlier version's checkpoint has none, and is read whole; an earlier version reads ours,
and passes over the header.
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
"""The header's name in the folder that torch gives the archive's members; torch refuses an archive with members outside of it."""
UNREADABLE = (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile)
"""What reading bytes that are no checkpoint raises."""


def packed(state: dict[str, Any]) -> memoryview:
    """The bytes of a checkpoint with this state."""
    import torch

    content = io.BytesIO()  # to a file, `torch.save` turns "no space left" into an error that does not say so
    torch.save(state, content)
    header = json.dumps({name: state[name] for name in HEADER_FIELDS}, sort_keys=True)
    with zipfile.ZipFile(content, "a") as archive:
        folder = archive.namelist()[0].partition("/")[0]
        archive.writestr(zipfile.ZipInfo(f"{folder}/{HEADER}"), header)  # its time is 1980: the same state is the same bytes
    return content.getbuffer()


def before(checkpoint: AnyPath) -> AnyPath:
    """Where the checkpoint of the epoch before is kept."""
    return checkpoint.with_suffix(".before")


def opened(checkpoint: AnyPath) -> tuple[dict[str, Any], Digest] | None:
    """What the checkpoint holds, with the digest of its bytes; None if there is none, or if the machine went down before its bytes
    were all on disk. Raises OSError where it cannot be read: it may be whole, and nothing is to be trained over it.

    Starting over then costs time; going on from part of a state would cost the result. `torch.load` does not notice a changed byte; the
    checksums that `torch.save` writes into the archive tell.
    """
    raw = _whole_bytes(checkpoint)
    state = None if raw is None else _state_in(raw)
    return None if raw is None or state is None else (state, Digest.of(raw))


def _whole_bytes(checkpoint: AnyPath) -> bytes | None:
    """The bytes of a checkpoint whose checksums are right; None if there is none."""
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
    """The state with all its tensors, on the CPU."""
    import torch

    try:
        state = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    except UNREADABLE:
        return None
    return state if isinstance(state, dict) and state.get("format") == FORMAT else None


def _header_in(raw: bytes) -> dict[str, Any] | None:
    """What the header says, or, of a checkpoint of an earlier version, the whole state."""
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
class Held:
    """What a checkpoint says of itself."""

    history: tuple[Epoch, ...]
    diverged: bool

    @property
    def epochs(self) -> int:
        """How many epochs it has behind it."""
        return len(self.history)


def held(checkpoint: AnyPath, config: TrainingConfig, seed: int, trial: str = "") -> Held | None:
    """What a trial's checkpoint holds; None where there is none that can be used. Raises CheckpointError where it is another trial's."""
    raw = _whole_bytes(checkpoint)
    header = None if raw is None else _header_in(raw)
    if header is None:
        return None
    check_owner(header, config, seed, trial, checkpoint)
    return Held(tuple(Epoch(**epoch) for epoch in header["history"]), header["diverged_at_step"] is not None)


def history_in(checkpoint: AnyPath, config: TrainingConfig, seed: int, trial: str = "") -> tuple[Epoch, ...]:
    """The epochs that a trial's checkpoint holds; none where there is none that can be used. Raises CheckpointError where it is another
    trial's.
    """
    found = held(checkpoint, config, seed, trial)
    return () if found is None else found.history


def weights_in(checkpoint: AnyPath) -> "dict[str, Tensor] | None":
    """The weights and buffers that a checkpoint holds, by name; None where there is none that can be used."""
    found = opened(checkpoint)
    return None if found is None else dict(found[0]["model"])


def check_owner(state: dict[str, Any], config: TrainingConfig, seed: int, trial: str, checkpoint: AnyPath) -> None:
    """Raise CheckpointError where a checkpoint is that of another trial. One of an earlier version does not name its trial's id."""
    stored = dict(state.get("config", {}))
    said = {"trial": state.get("trial", ""), "seed": state.get("seed"), "config": _plain(_completed(stored, config))}
    wanted: dict[str, Any] = {"trial": trial, "seed": seed, "config": _plain(config.model_dump())}
    for name, value in wanted.items():
        if said[name] != value and not (name == "trial" and "" in (said[name], value)):
            found = (
                _first_difference(said["config"], wanted["config"])
                if name == "config"
                else f"{name} {said[name]!r}, not {value!r}"
            )
            raise CheckpointError(
                f"{checkpoint}: is the checkpoint of another trial, with {found}; move it to where it belongs, or give each trial a "
                "file of its own (`sweep --retrain-damaged` moves it out of the way)"
            )


def _completed(stored: dict[str, Any], config: TrainingConfig) -> dict[str, Any]:
    """A checkpoint's configuration; of one that was written before a field was there, with that field's default."""
    if stored.keys() >= config.model_dump().keys() or stored.get("dataset") != config.dataset:
        return stored  # of another dataset nothing is completed: to do so would run the code that the checkpoint names
    try:
        return TrainingConfig.model_validate(stored).model_dump()
    except ValueError:
        return stored


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration with lists for tuples, as JSON has it."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in config.items()}


def _first_difference(was: dict[str, Any], now: dict[str, Any]) -> str:
    """The first field in which two configurations differ."""
    name = next(field for field in {**was, **now} if field not in was or field not in now or was[field] != now[field])
    return f"{name} {was.get(name)!r}, not {now.get(name)!r}"
