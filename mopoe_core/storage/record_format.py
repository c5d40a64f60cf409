"""Records: JSON files that contain their own identity and a checksum.

    {"record": {"format": 2, "kind": "result", "trial": "4f0c…", "attempt": 1}, …, "sha256": "…"}

A reader gives the identity that it expects, so that a file that was cut, changed or moved from another place is reported and never used.
Records of format 1 have no `record`. Their identity is read from other fields (`FORMAT_1_FIELDS`).
"""

import hashlib
import json
from dataclasses import dataclass, fields
from typing import Any

FORMAT = 2
FORMAT_1_FIELDS: dict[str, dict[str, str]] = {
    "trial": {"trial": "id"},
    "result": {"trial": "id"},
    "epoch": {"epoch": "epoch"},
    "proposal": {"proposal": "number"},
}
"""By kind, the fields of the identity that a record of format 1 has, with their names there. Records of other kinds have none."""
SINCE_FORMAT_2 = ("deleted", "storage", "overlap", "report", "projection")
"""Kinds of records that did not exist in format 1."""


class DamagedRecord(ValueError):
    """A record was cut or changed, or this version cannot read it; the message says how."""


class MisplacedRecord(ValueError):
    """A record is undamaged, but not the one that the reader expects."""


@dataclass(frozen=True)
class Identity:
    """The kind of a record, and its trial, cell or sweep. A field is None if it does not apply, or if the reader does not know it."""

    kind: str
    trial: str | None = None
    """The trial's id."""
    attempt: int | None = None
    epoch: int | None = None
    sweep: str | None = None
    """The sweep's name."""
    cell: str | None = None
    """The cell's id."""
    proposal: int | None = None
    """The proposal's number."""
    folder: str | None = None
    """Only for a claim: the folder that it claims, such as `trials/4f0c…`."""
    key: str | None = None
    """The rest of the file's name, if it has one."""

    def known(self) -> dict[str, Any]:
        """Returns the fields that are not None."""
        pairs = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in pairs if value is not None}

    def __str__(self) -> str:
        return spelled(self.known())


@dataclass(frozen=True)
class Record:
    """A record that was read and checked."""

    content: dict[str, Any]
    """Without identity and checksum."""
    format: int
    identity: dict[str, Any]
    """As it is written in the record; empty for format 1."""
    text: str = ""
    """The text that the record was read from."""


def spelled(identity: dict[str, Any]) -> str:
    """Returns an identity for a message: `result of trial 4f0c, attempt 1`."""
    rest = ", ".join(f"{name} {value}" for name, value in identity.items() if name not in ("kind", "format"))
    return f"{identity.get('kind')!s}{' of ' if rest else ''}{rest}"


def dumped(identity: Identity, content: dict[str, Any]) -> str:
    """Returns the text of a record."""
    whole = {"record": {"format": FORMAT, **identity.known()}, **content}
    return json.dumps(whole | {"sha256": _checksum(whole)}, indent=1)


def parsed(text: str, expected: Identity, bare: bool = False) -> Record:
    """Returns the record that a text holds. With `bare`, the text may be plain JSON, as this kind was written before it was a record.

    Raises DamagedRecord if it was cut or changed, and MisplacedRecord if it is not the expected record.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedRecord(str(error)) from None
    if not isinstance(content, dict):
        raise DamagedRecord("it holds no mapping")
    if bare and not {"record", "sha256"} & content.keys():
        return Record(content, 1, {}, text)
    try:
        is_whole = content.pop("sha256", None) == _checksum(content)
    except RecursionError:
        raise DamagedRecord("it is nested too deeply") from None
    if not is_whole:
        raise DamagedRecord("its checksum is not that of its content")
    identity = content.get("record") or {}
    return Record(content, _compared(content, expected), identity, text)


def _compared(content: dict[str, Any], expected: Identity) -> int:
    """Compares the record's identity, takes it out of `content`, and returns the record's format."""
    identity = content.pop("record", None)
    if identity is None:
        _compare_format_1(content, expected)
        return 1
    if not isinstance(identity, dict) or not isinstance(identity.get("format"), int) or identity["format"] < FORMAT:
        raise DamagedRecord(f"its identity is {identity!r}")
    if identity["format"] > FORMAT:
        raise DamagedRecord(f"it has format {identity['format']}; this version reads formats up to {FORMAT}")
    _compare(identity, expected.known())
    return int(identity["format"])


def _compare_format_1(content: dict[str, Any], expected: Identity) -> None:
    if expected.kind in SINCE_FORMAT_2:
        raise DamagedRecord("it does not say what it is of")
    old_names = FORMAT_1_FIELDS.get(expected.kind, {})
    identity = {name: content[old_name] for name, old_name in old_names.items() if old_name in content}
    if len(identity) < len(old_names):
        raise DamagedRecord("it does not say what it is of")
    comparable = {name: value for name, value in expected.known().items() if name in old_names}
    _compare({"kind": expected.kind, **identity}, comparable)


def _compare(actual: dict[str, Any], expected: dict[str, Any]) -> None:
    if any(name not in actual or actual[name] != value for name, value in expected.items()):
        raise MisplacedRecord(
            f"it is the {spelled(actual)}; here belongs the {spelled({'kind': actual.get('kind'), **expected})}"
        )


def _checksum(content: dict[str, Any]) -> str:
    """Returns a checksum that does not depend on the file's indentation. A diverged trial's history holds NaN, which `json` can write."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
