"""Records: JSON files that carry a checksum of themselves, so that one that was cut or changed is named, and never used."""

import hashlib
import json
from typing import Any

from mopoe_core.files import AnyPath, write_text
from orchestrator.errors import DamagedError


def _checksum(content: dict[str, Any]) -> str:
    """By a spelling that does not depend on how the file was indented. A diverged trial's history holds NaN, which `json` can spell."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write(path: AnyPath, content: dict[str, Any]) -> None:
    """Write a record, whole or not at all."""
    write_text(path, json.dumps(content | {"sha256": _checksum(content)}, indent=1))


def read(path: AnyPath) -> dict[str, Any]:
    """A record without its checksum. Raises DamagedError where it was cut or changed, or is missing."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise damaged(path, "it is missing") from None
    except ValueError as error:
        raise damaged(path, str(error)) from None
    if not isinstance(content, dict):
        raise damaged(path, "it holds no mapping")
    if content.pop("sha256", None) != _checksum(content):
        raise damaged(path, "its checksum is not that of its content")
    return content


def damaged(path: AnyPath, why: str) -> DamagedError:
    """The error that names a record, and what is wrong with it."""
    return DamagedError(f"{path}: is damaged ({why})")
