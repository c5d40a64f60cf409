"""Finds every mistake in the single fields and values of a sweep, before any are combined. Pure.

It works on the value that YAML gave and not on a parsed sweep, so that a misspelt section does not hide a misspelt field.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mopoe_core.config import presets
from mopoe_core.data.cards import DATASETS, is_own
from mopoe_core.data.dataset_card import DatasetCard
from mopoe_core.metric_names import metric_names
from mopoe_core.spelling import choose, nearest
from orchestrator.errors import Location, Mistake, SpecError
from orchestrator.spec.fields import FIELDS, check_key, typed
from orchestrator.spec.mistakes import kind
from orchestrator.spec.yaml_reader import dotted


def field_mistakes(raw: Mapping[str, Any], elsewhere: Mapping[str, str]) -> list[Mistake]:
    """Every mistake in a field or a value. `elsewhere` has the places of the fields that do not belong to a cell."""
    return list(dict.fromkeys([*_fields(raw, elsewhere), *_overlaps(raw), *_metrics(raw)]))


def own_datasets(raw: Mapping[str, Any]) -> frozenset[str]:
    """The user's own datasets that a sweep names, in any of its sections."""
    named = (value for _, key, values in _written(raw) if key == "dataset" for _, _, value in values)
    return frozenset(value for value in named if isinstance(value, str) and is_own(value))


def _fields(raw: Mapping[str, Any], elsewhere: Mapping[str, str]) -> Iterator[Mistake]:
    for at, key, values in _written(raw):
        place = dotted(at)
        try:
            check_key(place, key, elsewhere)
            if at[0] == "exclude" and key == "preset":
                raise SpecError(f"{place}: a preset is no field of a cell; name the fields that it sets")
        except SpecError as error:
            yield Mistake(str(error), at)
            continue
        yield from _values(key, values)
    for section in ("include", "exclude"):
        for index, entry in enumerate(_list(raw, section)):
            if entry == {}:
                yield Mistake(f"{section}[{index}]: is empty; name at least one field", (section, index))


def _values(key: str, values: list[tuple[str, Location, Any]]) -> Iterator[Mistake]:
    for place, at, value in values:
        try:
            if key == "preset":
                choose(place, str(value), presets.PRESETS)
            elif key in FIELDS:
                typed(place, key, value)
        except SpecError as error:
            yield Mistake(str(error), (*at, *error.mistakes[0].at))
        except ValueError as error:
            yield Mistake(str(error), at)


def _written(raw: Mapping[str, Any]) -> Iterator[tuple[Location, str, list[tuple[str, Location, Any]]]]:
    """Each field of a cell in the file: its place, its name, and its values. A value comes with its place as text and as a place."""
    for key, value in _mapping(raw, "base").items():
        yield ("base", key), key, [(f"base.{key}", ("base", key), value)]
    for section in ("grid", "zip"):
        for key, values in _mapping(raw, section).items():
            listed = enumerate(values) if isinstance(values, list) else ()
            yield (section, key), key, [(f"{section}.{key}", (section, key, index), value) for index, value in listed]
    for section in ("include", "exclude"):
        for index, entry in enumerate(_list(raw, section)):
            for key, value in entry.items() if isinstance(entry, dict) else ():
                at = (section, index, key)
                yield at, key, [(dotted(at), at, value)]
    for key, dimension in _mapping(_mapping(raw, "search"), "space").items():
        yield ("search", "space", key), key, list(_dimension(("search", "space", key), dimension))


def _dimension(at: Location, dimension: Any) -> Iterator[tuple[str, Location, Any]]:
    """The values of a field that is searched."""
    choices, below = (dimension, at) if isinstance(dimension, list) else (None, at)
    if isinstance(dimension, dict):
        choices, below = dimension.get("choices"), (*at, "choices")
        for end in ("low", "high"):
            if end in dimension:
                yield dotted((*at, end)), (*at, end), dimension[end]
    if isinstance(choices, list):
        for index, value in enumerate(choices):
            yield f"{dotted(at)}.choices[{index}]", (*below, index), value


def _overlaps(raw: Mapping[str, Any]) -> Iterator[Mistake]:
    """Fields that two sections have, and lists of `zip` that cannot vary together."""
    base, grid, zipped = (_mapping(raw, section) for section in ("base", "grid", "zip"))
    for first, fields, second, others in (
        ("base", base, "grid", grid),
        ("base", base, "zip", zipped),
        ("grid", grid, "zip", zipped),
    ):
        for key in others:
            if key in fields:
                yield Mistake(f"{second}.{key}: is also in {first}; keep it in one of them", (second, key))
    lengths = {key: len(values) for key, values in zipped.items() if isinstance(values, list)}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{key}: {length}" for key, length in lengths.items())
        yield Mistake(f"zip: the lists differ in length ({shown})", ("zip",))


def _metrics(raw: Mapping[str, Any]) -> Iterator[Mistake]:
    """Objectives that are a metric of no dataset of the sweep. The metrics of a user's own dataset are not known yet."""
    named = [value for _, key, values in _written(raw) if key == "dataset" for _, _, value in values]
    if not named or any(not isinstance(name, str) or name not in DATASETS for name in named):
        return
    cards = [DATASETS[name] for name in named]
    known = dict.fromkeys(name for card in cards for name in _metrics_of(card))
    for index, objective in enumerate(_list(raw, "objectives")):
        metric = objective.get("metric") if isinstance(objective, dict) else None
        if isinstance(metric, str) and metric not in known:
            place: Location = ("objectives", index, "metric")
            yield Mistake(unknown_metric(dotted(place), metric, known), place)


def unknown_metric(place: str, metric: str, known: Iterable[str]) -> str:
    """Returns the line for a metric that is not offered. There are dozens: only the nearest is named, and the command that lists all."""
    return f"{place}: {kind(metric)} is not offered{nearest(metric, known)}; `mopoe metrics FILE` lists those that are"


def _metrics_of(card: DatasetCard) -> Iterator[str]:
    """Every metric that a dataset has, whatever its source."""
    for attributes in card.attributes.values() or [()]:
        yield from metric_names(card.modalities, attributes, card.classes)


def _mapping(raw: Mapping[str, Any], section: str) -> dict[str, Any]:
    value = raw.get(section)
    return {key: inner for key, inner in value.items() if isinstance(key, str)} if isinstance(value, dict) else {}


def _list(raw: Mapping[str, Any], section: str) -> list[Any]:
    value = raw.get(section)
    return value if isinstance(value, list) else []
