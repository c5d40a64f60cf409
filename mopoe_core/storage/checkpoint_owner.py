"""Whether a checkpoint in a trial's folder of a ledger is that trial's, and the one of its result."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mopoe_core.errors import CheckpointError
from mopoe_core.storage.file_facts import Digest
from mopoe_core.storage.paths import AnyPath
from mopoe_core.storage.record_format import Identity, NotHere, NotWhole, parsed


def check_bound(state: Mapping[str, Any], digest: Digest, checkpoint: Path) -> None:
    """Raises CheckpointError if a checkpoint in a trial's folder is another trial's, or not the one of the result beside it.

    A checkpoint elsewhere is not checked, because nothing is known of it.
    """
    folder = checkpoint.absolute().parent
    trial = folder.name if folder.parent.name == "trials" else None
    result = folder / "result.json"
    _check_trial(state, checkpoint, trial)
    if not result.exists():
        return
    try:
        content = parsed(result.read_text(encoding="utf-8"), Identity("result", trial=trial)).content
    except (NotWhole, NotHere, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{result}: cannot be used ({error}), so that {checkpoint.name} cannot be checked; restore it"
        ) from None
    check_is_of_result(state, digest, checkpoint, trial, content)


def check_is_of_result(
    state: Mapping[str, Any], digest: Digest, checkpoint: AnyPath, trial: str | None, result: Mapping[str, Any]
) -> None:
    """Raises CheckpointError if a checkpoint is another trial's, or not the one of this result. `trial` is None if nobody knows it."""
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

    A result of an earlier version names none. Then its history must be the checkpoint's: losses, with the times of their epochs.
    """
    if "checkpoint" in result:
        named = result["checkpoint"]
        return "" if named is None else difference(Digest(**named), digest)
    recorded, actual = (json.dumps(history, sort_keys=True) for history in (result.get("history"), state["history"]))
    return "" if recorded == actual else "its epochs are not the result's"


def difference(named: Digest, found: Digest) -> str:
    """Returns how a file differs from the one that a result names; empty if it does not."""
    if named == found:
        return ""
    if named.size != found.size:
        return f"it has {found.size} bytes, and the result names {named.size}"
    return f"its SHA-256 is {found.sha256[:12]}…, and the result names {named.sha256[:12]}…"
