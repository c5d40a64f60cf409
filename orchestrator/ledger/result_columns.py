"""Metrics and learning curves of a result as columns: numbers in arrays, and names shared by all results with the same metrics.

Twenty thousand results of sixty metrics are 1.2 million `Metric` objects, which took more than a gigabyte. As columns they take 24 bytes
a metric and 8 a number of a curve. A `Metric` or an `Epoch` is made only when it is read.
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
    """A sequence whose items are made when they are read. It equals any sequence of equal items."""

    def _row(self, index: int) -> _T:
        raise NotImplementedError

    @overload
    def __getitem__(self, index: int) -> _T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[_T, ...]: ...
    def __getitem__(self, index: int | slice) -> _T | tuple[_T, ...]:
        selected = range(len(self))[index]
        return self._row(selected) if isinstance(selected, int) else tuple(map(self._row, selected))

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
    """The text fields of a result's metrics, without their numbers."""

    rows: tuple[tuple[str, ...], ...]
    """For each metric the values of the fields `TEXTS`."""

    @cached_property
    def texts(self) -> tuple[dict[str, str], ...]:
        """For each metric its text fields by name."""
        return tuple(dict(zip(TEXTS, row, strict=True)) for row in self.rows)

    def column(self, field: str) -> list[str]:
        """Returns one field of each metric."""
        index = TEXTS.index(field)
        return [row[index] for row in self.rows]

    @cached_property
    def indices(self) -> dict[str, int]:
        """The index of each metric by its full name; if a name occurs twice, the first index."""
        return {text["name"]: index for index, text in reversed(list(enumerate(self.texts)))}


class MetricValues(Mapping[str, float]):
    """The values of metrics by full name."""

    __slots__ = ("_indices", "_values")

    def __init__(self, indices: Mapping[str, int], values: "array[float]") -> None:
        self._indices, self._values = indices, values

    def __getitem__(self, name: str) -> float:
        return self._values[self._indices[name]]

    def __contains__(self, name: object) -> bool:
        return name in self._indices

    def __iter__(self) -> Iterator[str]:
        return iter(self._indices)

    def __len__(self) -> int:
        return len(self._indices)


class MetricColumns(_Rows[Metric]):
    """The metrics of one result."""

    __slots__ = ("_counts", "_errors", "_names", "_values")

    def __init__(self, names: _Names, values: "array[float]", errors: "array[float]", counts: "array[int]") -> None:
        self._names, self._values, self._errors, self._counts = names, values, errors, counts

    def __len__(self) -> int:
        return len(self._values)

    def _row(self, index: int) -> Metric:
        numbers = {"value": self._values[index], "mc_error": self._errors[index], "n": self._counts[index]}
        return Metric(**self._names.texts[index], **numbers)  # type: ignore[arg-type]

    def column(self, field: str) -> list[Any]:
        """Returns one field of each metric."""
        numbers: dict[str, array[Any]] = {"value": self._values, "mc_error": self._errors, "n": self._counts}
        return numbers[field].tolist() if field in numbers else self._names.column(field)

    @property
    def by_name(self) -> MetricValues:
        """The values by full name; if a name occurs twice, the first value."""
        return MetricValues(self._names.indices, self._values)


class EpochColumns(_Rows[Epoch]):
    """The learning curves of one result."""

    __slots__ = ("_epochs", "_names", "_times_ms", "_values")

    def __init__(self, names: tuple[str, ...], epochs: "array[int]", times_ms: "array[int]", values: "array[float]") -> None:
        """`values` has the values of the first epoch in the order of `names`, then those of the second epoch, and so on."""
        self._names, self._epochs, self._times_ms, self._values = names, epochs, times_ms, values

    def __len__(self) -> int:
        return len(self._epochs)

    def _row(self, index: int) -> Epoch:
        start = index * len(self._names)
        values = dict(zip(self._names, self._values[start : start + len(self._names)], strict=True))
        return Epoch(self._epochs[index], self._times_ms[index], values)


def column(rows: Sequence[Metric], field: str) -> list[Any]:
    """Returns one field of each metric."""
    return rows.column(field) if isinstance(rows, MetricColumns) else [getattr(row, field) for row in rows]


def metrics(records: Sequence[Mapping[str, Any]]) -> Sequence[Metric]:
    """Returns the metrics of a result's record. Raises KeyError or TypeError if the records are no metrics."""
    if any(len(record) != len(TEXTS) + len(NUMBERS) for record in records):
        return tuple(Metric(**record) for record in records)  # an earlier version wrote fewer fields
    names = _names(tuple(tuple(record[text] for text in TEXTS) for record in records))
    values, errors = (array("d", [record[number] for record in records]) for number in ("value", "mc_error"))
    return MetricColumns(names, values, errors, array("q", [record["n"] for record in records]))


def history(records: Sequence[Mapping[str, Any]]) -> Sequence[Epoch]:
    """Returns the epochs of a result's record. Raises KeyError or TypeError if the records are no epochs."""
    names = _shared(tuple(records[0]["values"])) if records else ()
    if any(len(record) != len(fields(Epoch)) or tuple(record["values"]) != names for record in records):
        return tuple(Epoch(**record) for record in records)  # not all epochs have the same values
    epochs, times_ms = (array("q", [record[field] for record in records]) for field in ("epoch", "timestamp_ms"))
    return EpochColumns(names, epochs, times_ms, array("d", [value for record in records for value in record["values"].values()]))


def provenance(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the provenance of a result's record. Equal values, such as versions and hardware, are one object for all results."""
    return {sys.intern(name): _value(json.dumps(value)) for name, value in record.items()}


@lru_cache(maxsize=10_000)
def _value(text: str) -> Any:
    return json.loads(text)


@lru_cache(maxsize=1_000)
def _names(rows: tuple[tuple[str, ...], ...]) -> _Names:
    return _Names(rows)


@lru_cache(maxsize=1_000)
def _shared(names: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the same object for equal tuples."""
    return names
