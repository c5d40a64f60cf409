"""Finds the mistakes in the single fields and values of a sweep, before combinations are built. Pure.

The checks read the plain value that YAML gives, not a parsed sweep. So a misspelt section does not hide a misspelt field.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mopoe_core.config import presets
from mopoe_core.data.cards import DATASETS, is_own
from mopoe_core.data.dataset_card import DatasetCard
from mopoe_core.metric_names import metric_names
from mopoe_core.spelling import choose, nearest
from orchestrator.errors import Location, Mistake, SpecError
from orchestrator.spec.fields import FIELDS, check_key, is_choice, typed
from orchestrator.spec.mistakes import kind
from orchestrator.spec.yaml_reader import dotted


def field_mistakes(raw: Mapping[str, Any], elsewhere: Mapping[str, str]) -> list[Mistake]:
    """Returns every mistake in a field or a value. `elsewhere` has the places of the fields that do not belong to a cell."""
    return list(dict.fromkeys([*_fields(raw, elsewhere), *_overlaps(raw), *_metrics(raw)]))


def own_datasets(raw: Mapping[str, Any]) -> frozenset[str]:
    """Returns the user's own datasets that a sweep names, in any of its sections."""
    return frozenset(name for name in _datasets(raw) if isinstance(name, str) and is_own(name))


def _datasets(raw: Mapping[str, Any]) -> list[Any]:
    return [value for _, key, values in _written(raw) if key == "dataset" for _, _, value in values]


def _fields(raw: Mapping[str, Any], elsewhere: Mapping[str, str]) -> Iterator[Mistake]:
    for at, key, values in _written(raw):
        place = dotted(at)
        try:
            check_key(place, key, elsewhere)
            if at[0] == "exclude" and key == "preset":
                raise SpecError(f"{place}: a preset is no field of a cell; name the fields that it sets")
            if at[0] == "exclude" and not values:
                raise SpecError(f"{place}: the list is empty; name at least one value")
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
                if value is None:
                    raise SpecError(f"{place}: is empty; allowed: {', '.join(presets.PRESETS)}; name one, or leave the field out")
                choose(place, str(value), presets.PRESETS)
            elif key in FIELDS:
                typed(place, key, value)
        except SpecError as error:
            yield Mistake(str(error), (*at, *error.mistakes[0].at))
        except ValueError as error:
            yield Mistake(str(error), at)


def _written(raw: Mapping[str, Any]) -> Iterator[tuple[Location, str, list[tuple[str, Location, Any]]]]:
    """Yields each field of a cell in the file: its place, its name, and its values, each with its place as text and as a `Location`."""
    for key, value in _mapping(raw, "base").items():
        yield ("base", key), key, [(f"base.{key}", ("base", key), value)]
    for section in ("grid", "zip"):
        for key, values in _mapping(raw, section).items():
            indexed = enumerate(values) if isinstance(values, list) else ()
            yield (section, key), key, [(f"{section}.{key}", (section, key, index), value) for index, value in indexed]
    for section in ("include", "exclude"):
        for index, entry in enumerate(_list(raw, section)):
            for key, value in entry.items() if isinstance(entry, dict) else ():
                at = (section, index, key)
                yield at, key, list(_matched(at, key, value) if section == "exclude" else [(dotted(at), at, value)])
    for key, dimension in _mapping(_mapping(raw, "search"), "space").items():
        yield ("search", "space", key), key, list(_dimension(("search", "space", key), dimension))


def _matched(at: Location, key: str, value: Any) -> Iterator[tuple[str, Location, Any]]:
    """Yields the values of a field that a rule of `exclude` matches, each with its place as text and as a `Location`."""
    if key in FIELDS and is_choice(key, value):
        for index, choice in enumerate(value):
            yield dotted((*at, index)), (*at, index), choice
    else:
        yield dotted(at), at, value


def _dimension(at: Location, dimension: Any) -> Iterator[tuple[str, Location, Any]]:
    """Yields the values of a field that is searched, each with its place as text and as a `Location`."""
    choices, choices_at = dimension, at
    if isinstance(dimension, dict):
        choices, choices_at = dimension.get("choices"), (*at, "choices")
        for end in ("low", "high"):
            if end in dimension:
                yield dotted((*at, end)), (*at, end), dimension[end]
    if isinstance(choices, list):
        for index, value in enumerate(choices):
            yield f"{dotted(at)}.choices[{index}]", (*choices_at, index), value


def _overlaps(raw: Mapping[str, Any]) -> Iterator[Mistake]:
    """Yields a mistake for each field that two sections have, and one if the lists of `zip` cannot vary together."""
    base, grid, zipped = (_mapping(raw, section) for section in ("base", "grid", "zip"))
    for first, first_fields, second, second_fields in (
        ("base", base, "grid", grid),
        ("base", base, "zip", zipped),
        ("grid", grid, "zip", zipped),
    ):
        for key in second_fields:
            if key in first_fields:
                yield Mistake(f"{second}.{key}: is also in {first}; keep it in one of them", (second, key))
    lengths = {key: len(values) for key, values in zipped.items() if isinstance(values, list)}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{key}: {length}" for key, length in lengths.items())
        yield Mistake(f"zip: the lists differ in length ({shown})", ("zip",))


def _metrics(raw: Mapping[str, Any]) -> Iterator[Mistake]:
    """Yields a mistake for each objective that no dataset of the sweep has as a metric.

    Nothing is checked if the sweep names a user's own dataset, because its metrics are not known yet.
    """
    names = _datasets(raw)
    if not names or any(not isinstance(name, str) or name not in DATASETS for name in names):
        return
    known = dict.fromkeys(metric for name in names for metric in _metrics_of(DATASETS[name]))
    for index, objective in enumerate(_list(raw, "objectives")):
        metric = objective.get("metric") if isinstance(objective, dict) else None
        if isinstance(metric, str) and metric not in known:
            place: Location = ("objectives", index, "metric")
            yield Mistake(unknown_metric(dotted(place), metric, known), place)


def unknown_metric(place: str, metric: str, known: Iterable[str]) -> str:
    """Returns the message for a metric that is not offered. It names the nearest metric only, because there are dozens."""
    return f"{place}: {kind(metric)} is not offered{nearest(metric, known)}; `mopoe metrics FILE` lists those that are"


def _metrics_of(card: DatasetCard) -> Iterator[str]:
    """Yields every metric that a dataset has, in any of its sources."""
    for attributes in card.attributes.values() or [()]:
        yield from metric_names(card.modalities, attributes, card.classes)


def _mapping(raw: Mapping[str, Any], section: str) -> dict[str, Any]:
    """Returns a section without the keys that are not text; empty if it is no mapping."""
    value = raw.get(section)
    return {key: inner for key, inner in value.items() if isinstance(key, str)} if isinstance(value, dict) else {}


def _list(raw: Mapping[str, Any], section: str) -> list[Any]:
    value = raw.get(section)
    return value if isinstance(value, list) else []
