"""Makes a sweep at another scale: `--scale` replaces the sizes in the file. Pure."""

from typing import Any

from mopoe_core.config import presets
from mopoe_core.config.roles import Role
from mopoe_core.config.training_config import fields_with
from mopoe_core.spelling import choose
from orchestrator.errors import SpecError

_FIXED = (*fields_with(Role.SIZE), "scale")


def rescaled(raw: Any, scale: str) -> Any:
    """Returns a raw sweep at another scale: without its sizes, and with the scale in its base.

    The scale is added to the sweep's name, and to the names in `warm_start`, because those sweeps are run at this scale, too.
    """
    check_scale(scale)
    if not isinstance(raw, dict):
        return raw  # refused by `parse`
    _check_varies_no_size(raw)
    bare = {section: _without_sizes(raw[section]) for section in ("base", "include", "exclude") if section in raw}
    for section in ("include", "exclude"):
        _check_names_more_than_sizes(section, _entries(raw, section), _entries(bare, section))
    scaled = raw | bare
    base = bare.get("base") or {}
    scaled["base"] = base | {"scale": scale} if isinstance(base, dict) else base
    if "name" in raw:
        scaled["name"] = _renamed(raw["name"], scale)
    search = raw.get("search")
    if isinstance(search, dict) and isinstance(search.get("warm_start"), list):
        scaled["search"] = search | {"warm_start": [_renamed(name, scale) for name in search["warm_start"]]}
    return scaled


def check_scale(scale: str) -> None:
    """Raise SpecError if there is no such scale."""
    try:
        choose("--scale", scale, presets.SCALES)
    except ValueError as error:
        raise SpecError(str(error)) from None


def _renamed(name: Any, scale: str) -> Any:
    """Returns a sweep's name at another scale. A name that is no text is refused by `parse`."""
    return f"{name}-{scale}" if isinstance(name, str) else name


def _check_varies_no_size(raw: dict[str, Any]) -> None:
    for section in ("grid", "zip"):
        for field in _FIXED:
            if isinstance(raw.get(section), dict) and field in raw[section]:
                raise SpecError(f"{section}.{field}: varies, so that --scale cannot fix it; leave out one of them")


def _check_names_more_than_sizes(section: str, entries: list[Any], bare_entries: list[Any]) -> None:
    for index, (entry, bare) in enumerate(zip(entries, bare_entries, strict=True)):
        if entry and not bare:
            raise SpecError(f"{section}[{index}]: says nothing but sizes ({', '.join(entry)}), which --scale fixes; remove it")


def _entries(raw: dict[str, Any], section: str) -> list[Any]:
    entries = raw.get(section)
    return entries if isinstance(entries, list) else []


def _without_sizes(section: Any) -> Any:
    if isinstance(section, list):
        return [_without_sizes(entry) for entry in section]
    return {key: value for key, value in section.items() if key not in _FIXED} if isinstance(section, dict) else section
