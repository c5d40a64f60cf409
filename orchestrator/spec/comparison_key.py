"""Which fields must be equal before two cells may be compared. Pure.

Two cells may be compared if their metrics mean the same, that is if they were evaluated on the same data and in the same way. They may
differ in how the model was trained: its size, its objective and its epochs are what a sweep compares.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mopoe_core.config.roles import Role
from mopoe_core.config.training_config import TrainingConfig, fields_with
from orchestrator.errors import SpecError

KEY_FIELDS = fields_with(Role.COMPARISON_KEY)
"""Fields of a configuration that decide what its metrics mean. `likelihood` is one, because it decides which density or probability
log p(X) measures. `scale` is one, because it stands for the size of the whole experiment."""
NOT_SEARCHED = (*KEY_FIELDS, "preset")
"""Fields that no search may vary. A preset sets some of `KEY_FIELDS`."""
SHORTEST_HASH = 8


@dataclass(frozen=True)
class MeasuredWith:
    """The data and the classifiers that results were measured with; an empty text where the provenance does not name them."""

    data: str = ""
    """Hash of the data."""
    classifiers: str = ""
    """Hash of the classifiers, which judge coherence."""

    def as_provenance(self) -> dict[str, Any]:
        """Returns the part of a result's provenance that `measured_with` turns into an equal object."""
        return {"data_hash": self.data, "classifiers": {"hash": self.classifiers}}


@dataclass(frozen=True)
class ComparisonKey:
    """What the metrics of a cell mean. Cells with equal keys may be compared; others may not."""

    values: tuple[Any, ...]
    """The values of the fields of `KEY_FIELDS`, in that order."""
    measured: MeasuredWith = MeasuredWith()
    """What the cell's results were measured with. The configuration cannot tell: it names a dataset, and the data may change."""

    def __getitem__(self, field: str) -> Any:
        return self.values[KEY_FIELDS.index(field)]


def comparison_key(config: TrainingConfig, measured: MeasuredWith | None = None) -> ComparisonKey:
    """Returns the key of a cell with this configuration."""
    return ComparisonKey(tuple(getattr(config, field) for field in KEY_FIELDS), measured or MeasuredWith())


def measured_with(provenance: Mapping[str, Any]) -> MeasuredWith:
    """Returns what a result with this provenance was measured with."""
    classifiers = provenance.get("classifiers")
    judged_by = classifiers.get("hash", "") if isinstance(classifiers, Mapping) else ""
    return MeasuredWith(str(provenance.get("data_hash", "")), str(judged_by))


def key_labels(keys: Sequence[ComparisonKey]) -> dict[ComparisonKey, str]:
    """Returns a label for each key that names only what differs between the keys. The label of a single key is empty."""
    distinct = list(dict.fromkeys(keys))
    fields = _differing_fields(distinct)
    by_values: dict[tuple[Any, ...], list[ComparisonKey]] = {}
    for key in distinct:
        by_values.setdefault(key.values, []).append(key)
    labels = {}
    for key in distinct:
        field_words = [_spelled(field, key[field]) for field in fields]
        labels[key] = ", ".join([*field_words, *measured_words(key, by_values[key.values])])
    return labels


def _differing_fields(keys: Sequence[ComparisonKey]) -> list[str]:
    fields = [field for field in KEY_FIELDS if len({key[field] for key in keys}) > 1]
    datasets = {key["dataset"] for key in keys}
    versions = {(key["dataset"], key["data_hash"]) for key in keys}
    if len(datasets) == len(versions):  # the dataset's name is enough
        fields = [field for field in fields if field != "data_hash"]
    return fields


def measured_words(key: ComparisonKey, keys: Sequence[ComparisonKey]) -> list[str]:
    """Returns which data and classifiers a key was measured with, each only if `keys` with the same values have several."""
    same_values = [other.measured for other in keys if other.values == key.values]
    words = []
    for name in ("data", "classifiers"):
        hashes = {getattr(measured, name) for measured in same_values}
        if len(hashes) > 1:
            words.append(f"{name} {_short(getattr(key.measured, name), hashes) or 'unknown'}")
    return words


def check_searched(place: str, field: str) -> None:
    """Raise SpecError if a search over this field would compare cells that cannot be compared."""
    if field in NOT_SEARCHED:
        raise SpecError(
            f"{place}: decides what is measured, so that cells cannot be compared; fix it in base, or write a grid, which has a front "
            "for each group of cells that can"
        )


def _spelled(field: str, value: Any) -> str:
    if field == "dataset":
        return str(value)
    if field == "source":
        return f"{value} data"
    if field == "scale":
        return f"{value} scale" if value else "own sizes"
    return f"{field}={'all' if value is None else value}"


def _short(digest: str, hashes: set[str]) -> str:
    """Returns the first characters of a hash, as many as are needed to tell all the hashes apart."""
    for length in range(SHORTEST_HASH, max(map(len, hashes)) + 1):
        if len({other[:length] for other in hashes}) == len(hashes):
            return digest[:length]
    return digest
