"""Metrics and learning curves of a result as columns: numbers in arrays, names once for all results that report the same.

Twenty thousand results of sixty metrics are 1.2 million `Metric` objects, which took more than a gigabyte. As columns they take 24 bytes
a metric and 8 a number of a curve. A `Metric` or an `Epoch` is made when somebody asks for it.
"""

import json
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Any, Generic, TypeVar, overload

from mopoe_core.metric_names import Epoch, Metric

NUMBERS = ("value", "mc_error", "n")
TEXTS = tuple(field.name for field in fields(Metric) if field.name not in NUMBERS)

_T = TypeVar("_T")


class _Rows(Sequence[_T], Generic[_T]):
    """A sequence whose items are made when they are asked for. It equals any sequence of equal items."""

    def _row(self, place: int) -> _T:
        raise NotImplementedError

    @overload
    def __getitem__(self, place: int) -> _T: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[_T, ...]: ...
    def __getitem__(self, place: int | slice) -> _T | tuple[_T, ...]:
        places = range(len(self))[place]
        return self._row(places) if isinstance(places, int) else tuple(map(self._row, places))

    def __iter__(self) -> Iterator[_T]:
        return map(self._row, range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))


@dataclass(frozen=True)
class _Names:
    """The texts of a result's metrics, without their numbers."""

    rows: tuple[tuple[str, ...], ...]
    """`TEXTS` of each metric."""

    @cached_property
    def texts(self) -> tuple[dict[str, str], ...]:
        """The same, by field."""
        return tuple(dict(zip(TEXTS, row, strict=True)) for row in self.rows)

    def column(self, field: str) -> list[str]:
        """One field of each."""
        place = TEXTS.index(field)
        return [row[place] for row in self.rows]

    @cached_property
    def places(self) -> dict[str, int]:
        """The place of the metric with each full name; if a name occurs twice, the first."""
        return {text["name"]: place for place, text in reversed(list(enumerate(self.texts)))}


class MetricValues(Mapping[str, float]):
    """The values of metrics by full name."""

    __slots__ = ("_places", "_values")

    def __init__(self, places: Mapping[str, int], values: "array[float]") -> None:
        self._places, self._values = places, values

    def __getitem__(self, name: str) -> float:
        return self._values[self._places[name]]

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class MetricColumns(_Rows[Metric]):
    """The metrics of one result."""

    __slots__ = ("_counts", "_errors", "_names", "_values")

    def __init__(self, names: _Names, values: "array[float]", errors: "array[float]", counts: "array[int]") -> None:
        self._names, self._values, self._errors, self._counts = names, values, errors, counts

    def __len__(self) -> int:
        return len(self._values)

    def _row(self, place: int) -> Metric:
        numbers = {"value": self._values[place], "mc_error": self._errors[place], "n": self._counts[place]}
        return Metric(**self._names.texts[place], **numbers)  # type: ignore[arg-type]

    def column(self, field: str) -> list[Any]:
        """One field of each metric."""
        numbers: dict[str, array[Any]] = {"value": self._values, "mc_error": self._errors, "n": self._counts}
        return numbers[field].tolist() if field in numbers else self._names.column(field)

    @property
    def by_name(self) -> MetricValues:
        """Values by full name; if a name occurs twice, the first."""
        return MetricValues(self._names.places, self._values)


class EpochColumns(_Rows[Epoch]):
    """The learning curves of one result."""

    __slots__ = ("_epochs", "_names", "_times_ms", "_values")

    def __init__(self, names: tuple[str, ...], epochs: "array[int]", times_ms: "array[int]", values: "array[float]") -> None:
        """`values` has those of the first epoch in the order of `names`, then those of the second, and so on."""
        self._names, self._epochs, self._times_ms, self._values = names, epochs, times_ms, values

    def __len__(self) -> int:
        return len(self._epochs)

    def _row(self, place: int) -> Epoch:
        start = place * len(self._names)
        values = dict(zip(self._names, self._values[start : start + len(self._names)], strict=True))
        return Epoch(self._epochs[place], self._times_ms[place], values)


def column(rows: Sequence[Metric], field: str) -> list[Any]:
    """One field of each metric."""
    return rows.column(field) if isinstance(rows, MetricColumns) else [getattr(row, field) for row in rows]


def metrics(records: Sequence[Mapping[str, Any]]) -> Sequence[Metric]:
    """The metrics of a result's record. Raises KeyError or TypeError if it holds something else."""
    if any(len(record) != len(TEXTS) + len(NUMBERS) for record in records):
        return tuple(Metric(**record) for record in records)  # an earlier version's, without every field
    names = _names(tuple(tuple(record[text] for text in TEXTS) for record in records))
    values, errors = (array("d", [record[number] for record in records]) for number in ("value", "mc_error"))
    return MetricColumns(names, values, errors, array("q", [record["n"] for record in records]))


def history(records: Sequence[Mapping[str, Any]]) -> Sequence[Epoch]:
    """The epochs of a result's record. Raises KeyError or TypeError if it holds something else."""
    names = _tuple(tuple(records[0]["values"])) if records else ()
    if any(len(record) != len(fields(Epoch)) or tuple(record["values"]) != names for record in records):
        return tuple(Epoch(**record) for record in records)  # which do not all report the same
    epochs, times_ms = (array("q", [record[field] for record in records]) for field in ("epoch", "timestamp_ms"))
    return EpochColumns(names, epochs, times_ms, array("d", [value for record in records for value in record["values"].values()]))


def provenance(record: Mapping[str, Any]) -> dict[str, Any]:
    """The provenance of a result's record. Values that thousands of results share, as versions and hardware, are one object for all."""
    return {sys.intern(name): _value(json.dumps(value)) for name, value in record.items()}


@lru_cache(maxsize=10_000)
def _value(text: str) -> Any:
    return json.loads(text)


@lru_cache(maxsize=1_000)
def _names(rows: tuple[tuple[str, ...], ...]) -> _Names:
    return _Names(rows)


@lru_cache(maxsize=1_000)
def _tuple(names: tuple[str, ...]) -> tuple[str, ...]:
    """The same object for equal tuples."""
    return names
