"""A sweep at another scale: `--scale` takes the place of what the file says of sizes. Pure."""

from typing import Any

from mopoe_core.config import presets
from mopoe_core.config.roles import Role
from mopoe_core.config.training_config import fields_with
from mopoe_core.spelling import choose
from orchestrator.errors import SpecError

_FIXED = (*fields_with(Role.SIZE), "scale")


def rescaled(raw: Any, scale: str) -> Any:
    """A raw sweep at another scale and under a name of its own: without the sizes that it says, and with the scale in its base."""
    check_scale(scale)
    if not isinstance(raw, dict):
        return raw  # refused by `parse`
    _check_varies_no_size(raw)
    bare = {section: _without_sizes(raw[section]) for section in ("base", "include", "exclude") if section in raw}
    for section in ("include", "exclude"):
        _check_says_more_than_sizes(section, _entries(raw, section), _entries(bare, section))
    base = bare.get("base") or {}
    name = {"name": f"{raw['name']}-{scale}"} if isinstance(raw.get("name"), str) else {}
    return raw | bare | name | {"base": base | {"scale": scale} if isinstance(base, dict) else base}


def check_scale(scale: str) -> None:
    """Raise SpecError if there is no such scale."""
    try:
        choose("--scale", scale, presets.SCALES)
    except ValueError as error:
        raise SpecError(str(error)) from None


def _check_varies_no_size(raw: dict[str, Any]) -> None:
    for section in ("grid", "zip"):
        for field in _FIXED:
            if isinstance(raw.get(section), dict) and field in raw[section]:
                raise SpecError(f"{section}.{field}: varies, so that --scale cannot fix it; leave out one of them")


def _check_says_more_than_sizes(section: str, entries: list[Any], bare: list[Any]) -> None:
    for index, (entry, rest) in enumerate(zip(entries, bare, strict=True)):
        if entry and not rest:
            raise SpecError(f"{section}[{index}]: says nothing but sizes ({', '.join(entry)}), which --scale fixes; remove it")


def _entries(raw: dict[str, Any], section: str) -> list[Any]:
    entries = raw.get(section)
    return entries if isinstance(entries, list) else []


def _without_sizes(section: Any) -> Any:
    if isinstance(section, list):
        return [_without_sizes(entry) for entry in section]
    return {key: value for key, value in section.items() if key not in _FIXED} if isinstance(section, dict) else section
