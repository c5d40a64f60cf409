"""Checks that a checkpoint in a trial's folder belongs to that trial and to its result."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mopoe_core.errors import CheckpointError
from mopoe_core.storage.file_facts import Digest
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.record_format import DamagedRecord, Identity, MisplacedRecord, parsed


def check_bound(state: Mapping[str, Any], digest: Digest, checkpoint: Path) -> None:
    """Raises CheckpointError if a checkpoint in a trial's folder is another trial's, or not the one of the result beside it.

    A checkpoint in another folder is not checked, because no trial and no result are known for it.
    """
    folder = checkpoint.absolute().parent
    trial = folder.name if folder.parent.name == "trials" else None
    result = folder / "result.json"
    _check_trial(state, checkpoint, trial)
    if not result.exists():
        return
    try:
        content = parsed(result.read_text(encoding="utf-8"), Identity("result", trial=trial)).content
    except (DamagedRecord, MisplacedRecord, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{result}: cannot be used ({error}), so that {checkpoint.name} cannot be checked; restore it"
        ) from None
    check_is_of_result(state, digest, checkpoint, trial, content)


def check_is_of_result(
    state: Mapping[str, Any], digest: Digest, checkpoint: AnyPath, trial: str | None, result: Mapping[str, Any]
) -> None:
    """Raises CheckpointError if a checkpoint is another trial's, or not the one of this result. `trial` is None if it is not known."""
    _check_trial(state, checkpoint, trial)
    if reason := mismatch(result, state, digest):
        raise CheckpointError(
            f"{checkpoint}: is not the checkpoint of the result beside it ({reason}); restore it, or let `sweep --retrain-damaged` train "
            "the trial again"
        )


def _check_trial(state: Mapping[str, Any], checkpoint: AnyPath, trial: str | None) -> None:
    if trial is not None and state.get("trial", "") not in ("", trial):
        raise CheckpointError(
            f"{checkpoint}: is the checkpoint of trial {state['trial']}, not {trial}; move it to where it belongs"
        )


def mismatch(result: Mapping[str, Any], state: Mapping[str, Any], digest: Digest) -> str:
    """Returns how a checkpoint differs from the one that a result names; empty if it is that one.

    A result of an earlier version names no checkpoint. Then its history (losses and times of the epochs) must be the checkpoint's.
    """
    if "checkpoint" in result:
        recorded_digest = result["checkpoint"]
        return "" if recorded_digest is None else difference(Digest(**recorded_digest), digest)
    recorded, actual = (json.dumps(history, sort_keys=True) for history in (result.get("history"), state["history"]))
    return "" if recorded == actual else "its epochs are not the result's"


def difference(recorded: Digest, actual: Digest) -> str:
    """Returns how a file differs from the one that a result names; empty if it does not."""
    if recorded == actual:
        return ""
    if recorded.size != actual.size:
        return f"it has {actual.size} bytes, and the result names {recorded.size}"
    return f"its SHA-256 is {actual.sha256[:12]}…, and the result names {recorded.sha256[:12]}…"
